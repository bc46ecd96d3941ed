//! The steps of the two activation strategies, by the specification's names.

use serde::Serialize;

use crate::manifest::ActivationStrategy;

/// A step of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
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
