//! The steps of the two activation strategies and of a rollback, by the specification's names.

use serde::Serialize;

use crate::manifest::ActivationStrategy;

/// A step of an activation or of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepName {
    /// Check dependencies, conflicts, routes and migrations; nothing is changed.
    Validate,
    /// Prepare resources and connections.
    Prepare,
    /// Compile the scripts, make the first VM, start the actors.
    Load,
    /// Bind routes, APIs and services; not yet visible.
    Register,
    /// Run database migrations.
    Migrate,
    /// Warm up caches and connections.
    Warmup,
    /// Take the traffic.
    Activate,
    /// Check that it serves well.
    Verify,
    /// Of a rollback: give the traffic back and let those inside finish.
    StopTraffic,
    /// Of a rollback: stop the actors.
    Deactivate,
    /// Of a rollback: take migrations back, where data is not preserved.
    Rollback,
    /// Of a rollback: take the bindings back.
    Unregister,
    /// Of a rollback: release resources and connections.
    Cleanup,
    /// Of a rollback: see that the version before serves.
    Restore,
}

impl StepName {
    /// The specification's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Register => "register",
            Self::Migrate => "migrate",
            Self::Warmup => "warmup",
            Self::Activate => "activate",
            Self::Verify => "verify",
            Self::StopTraffic => "stopTraffic",
            Self::Deactivate => "deactivate",
            Self::Rollback => "rollback",
            Self::Unregister => "unregister",
            Self::Cleanup => "cleanup",
            Self::Restore => "restore",
        }
    }
}

const GRADUAL: [StepName; 8] = [
    StepName::Validate,
    StepName::Prepare,
    StepName::Load,
    StepName::Register,
    StepName::Migrate,
    StepName::Warmup,
    StepName::Activate,
    StepName::Verify,
];
const INSTANT: [StepName; 5] =
    [StepName::Validate, StepName::Prepare, StepName::Load, StepName::Register, StepName::Activate];

/// What brings back a version that served when the runtime ended: all but the judgement, since it was judged before.
pub(super) const RESUME: &[StepName] = GRADUAL.split_at(GRADUAL.len() - 1).0;

/// The steps of a strategy, in order.
#[must_use]
pub const fn steps(strategy: ActivationStrategy) -> &'static [StepName] {
    match strategy {
        ActivationStrategy::Gradual => &GRADUAL,
        ActivationStrategy::Instant => &INSTANT,
    }
}

/// The steps of a rollback, in order.
pub(super) const ROLLBACK: [StepName; 6] = [
    StepName::StopTraffic,
    StepName::Deactivate,
    StepName::Rollback,
    StepName::Unregister,
    StepName::Cleanup,
    StepName::Restore,
];
