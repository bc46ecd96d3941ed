//! One running instance: what it may reach at this moment, and what it was denied.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use prometheus::IntCounter;
use replug_scripts::CallContext;

use super::compiled::Grants;
use super::decisions::{Decisions, effective};
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::sandbox::audit::{DenialLog, Denials};
use crate::store::audit::Who;

/// The time in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an instance may reach. A decision changes it from the instance's next host call on.
pub struct Live {
    key: InstanceKey,
    manifest: Manifest,
    grants: ArcSwap<Grants>,
    allowed: IntCounter,
    denied: IntCounter,
    denials: Denials,
    clock: Clock,
}

impl Live {
    pub(super) fn new(
        key: &InstanceKey,
        manifest: &Manifest,
        decisions: &Decisions,
        (log, clock, metrics): (DenialLog, Clock, &Metrics),
    ) -> Self {
        Self {
            key: key.clone(),
            manifest: manifest.clone(),
            grants: ArcSwap::from_pointee(compiled(manifest, decisions)),
            allowed: metrics.permission_checks(key, "allowed"),
            denied: metrics.permission_checks(key, "denied"),
            denials: Denials::new(log, key.clone()),
            clock,
        }
    }

    pub(super) fn decided(&self, decisions: &Decisions) {
        self.grants.store(Arc::new(compiled(&self.manifest, decisions)));
    }

    /// Which instance.
    #[must_use]
    pub const fn key(&self) -> &InstanceKey {
        &self.key
    }

    /// Its manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it may reach now. Look it up for each call, and do not keep it.
    #[must_use]
    pub fn grants(&self) -> Guard<Arc<Grants>> {
        self.grants.load()
    }

    /// Counts a call that was not denied.
    pub fn allow(&self) {
        self.allowed.inc();
    }

    /// Counts a denial, and has it written to the audit log as `who`'s.
    pub fn deny(&self, who: Who, function: &str, reason: &str, call: Option<&CallContext>) {
        self.denied.inc();
        self.denials.note(who, function, reason, call, (self.clock)());
    }

    /// Has those repeats of denials written whose minute is over.
    pub(super) fn flush(&self) {
        self.denials.flush((self.clock)());
    }
}

fn compiled(manifest: &Manifest, decisions: &Decisions) -> Grants {
    let ruled = decisions.rule(manifest);
    Grants::compile(manifest, &effective(manifest, &ruled)).explained_by(ruled)
}
