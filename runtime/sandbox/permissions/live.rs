//! One running instance: what it may reach at this moment, and what it met.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use prometheus::IntCounter;

use super::compiled::Grants;
use super::decisions::{Decisions, effective};
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::sandbox::Halt;
use crate::sandbox::audit::{IncidentLog, Incidents};

mod met;

pub use met::At;

/// The time in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an instance may reach. A decision changes it from the instance's next host call on.
pub struct Live {
    key: InstanceKey,
    manifest: Manifest,
    grants: ArcSwap<Grants>,
    allowed: IntCounter,
    pub(super) denied: IntCounter,
    incidents: Incidents,
    clock: Clock,
    halt: Arc<Halt>,
}

impl Live {
    pub(super) fn new(
        key: &InstanceKey,
        manifest: &Manifest,
        decisions: &Decisions,
        (log, clock, metrics): (IncidentLog, Clock, &Metrics),
    ) -> Self {
        Self {
            key: key.clone(),
            manifest: manifest.clone(),
            grants: ArcSwap::from_pointee(compiled(manifest, decisions)),
            allowed: metrics.permission_checks(key, "allowed"),
            denied: metrics.permission_checks(key, "denied"),
            incidents: Incidents::new(log, key),
            clock,
            halt: Arc::default(),
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

    /// Whether its scripts are to end, and what is done for them.
    #[must_use]
    pub const fn halt(&self) -> &Arc<Halt> {
        &self.halt
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

    /// Has those repeats of incidents written whose minute is over.
    pub(super) fn flush(&self) {
        self.incidents.flush((self.clock)());
    }
}

pub(super) fn compiled(manifest: &Manifest, decisions: &Decisions) -> Grants {
    let ruled = decisions.rule(manifest);
    Grants::compile(manifest, &effective(manifest, &ruled)).explained_by(ruled)
}
