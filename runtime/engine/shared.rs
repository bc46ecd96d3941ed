//! What the engine's actors share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::SetOnce;

use super::EngineError;
use super::apply::Hands;
use super::board::Board;
use super::outcome::Outcome;
use super::record::Records;
use crate::actors::Router;
use crate::actors::gate::Gate;
use crate::monitor::{Event, Events, InstanceKey, Metrics};
use crate::registry::Registry;
use crate::store::audit::{AuditLog, Entry, Kind, Who};

pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) records: Records,
    pub(super) audit: AuditLog,
    pub(super) board: Board,
    pub(super) router: Arc<Router>,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) hands: Hands,
    /// Counts the drains that run apart from their commands; closed when the engine stops.
    pub(super) drains: Arc<Gate>,
    /// Set when the runtime stops: from then on nothing new begins, and what was begun is not kept.
    pub(super) stopping: SetOnce<()>,
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.initialized()
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        now()
    }

    /// Counts and tells an activation that ended.
    pub(super) fn ended(&self, key: &InstanceKey, outcome: Outcome, reason: Option<String>, took: Duration) {
        self.metrics.activation(key).ended(outcome.name(), took);
        self.told(key, outcome, reason);
    }

    /// Tells what became of a version. A return and a switch to what stands by activate nothing, so they are not counted
    /// among the activations.
    pub(super) fn told(&self, key: &InstanceKey, outcome: Outcome, reason: Option<String>) {
        self.events.emit(Event::ActivationEnded { instance: key.clone(), outcome: outcome.name(), reason });
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    /// Writes what was, or is to be, done to the audit log; it is on the disk when this returns.
    pub(super) async fn audit(
        &self,
        kind: Kind,
        who: Who,
        subject: String,
        data: serde_json::Value,
    ) -> Result<(), EngineError> {
        self.audit.append(Entry::new(kind, who, subject).with(data)).await.map(drop).map_err(EngineError::from)
    }
}
