//! What the engine's actors share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Histogram};

use super::apply::Hands;
use super::board::Board;
use super::outcome::Outcome;
use super::record::Records;
use crate::actors::Router;
use crate::actors::gate::Gate;
use crate::monitor::{Events, Metrics};
use crate::registry::Registry;
use crate::store::audit::AuditLog;

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
    pub(super) stopping: AtomicBool,
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts an activation that ended.
    pub(super) fn record(&self, outcome: Outcome, took: Duration) {
        let ended: Counter = self.metrics.counter("replug_activations_total", &[("outcome", outcome.name())]);
        ended.increment(1);
        let seconds: Histogram = self.metrics.histogram("replug_activation_seconds", &[]);
        seconds.record(took.as_secs_f64());
    }
}
