//! What the slots are now, for readers: an immutable snapshot that the coordinator replaces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::actors::Instance;
use crate::manifest::ActivationStrategy;
use crate::monitor::health::Report;

/// One row of `list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotView {
    /// The module.
    pub id: String,
    /// The version that serves; if none does, the one that did last.
    pub version: String,
    /// That version's state.
    pub state: State,
    /// Its share of the traffic in percent.
    pub weight: u8,
    /// The version that a rollback returns to.
    pub previous: Option<String>,
    /// How it was activated.
    pub strategy: ActivationStrategy,
    /// What its prober found last.
    pub health: &'static str,
    /// Since when it has this state, in milliseconds since 1970.
    pub since: u64,
    /// Why it would have been returned from, where it serves on since a migration cannot be taken back.
    pub frozen: Option<String>,
    /// A version on its way.
    pub candidate: Option<CandidateView>,
    /// The other modules that took over with it as one set, until they are confirmed; absent: it did so alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
}

/// A version that is being activated beside the one that serves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// Its version.
    pub version: String,
    /// Its state.
    pub state: State,
    /// Its share of the traffic in percent.
    pub weight: u8,
    /// Whether somebody keeps it at this share.
    pub paused: bool,
}

/// The health of what a module runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    /// The module.
    pub id: String,
    /// The version that serves.
    #[serde(flatten)]
    pub serving: InstanceHealth,
    /// The version on its way, once it runs.
    pub candidate: Option<InstanceHealth>,
}

/// The health of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceHealth {
    /// Its version.
    pub version: String,
    /// For how long it runs, in milliseconds.
    pub uptime: u64,
    /// What its checks said last.
    #[serde(flatten)]
    pub report: Arc<Report>,
}

impl InstanceHealth {
    pub(super) fn of(instance: &Instance) -> Self {
        let uptime = SystemTime::now().duration_since(instance.since).unwrap_or_default().as_millis();
        Self {
            version: instance.key.version.to_string(),
            uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
            report: instance.health.report(),
        }
    }
}

/// The state of one version, that of its newest instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionState {
    /// The state.
    pub state: State,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// Since when, in milliseconds since 1970; 0 for a version that was never activated.
    pub since: u64,
    /// Which start of the module it is; 0 for a version that was never activated.
    pub generation: u64,
}

/// The states of all versions that were ever activated, by module and version.
pub type States = BTreeMap<String, BTreeMap<String, VersionState>>;
