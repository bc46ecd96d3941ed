//! What the engine's actors share.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::SetOnce;

use super::EngineError;
use super::apply::Hands;
use super::board::Board;
use super::outcome::Outcome;
use super::record::Records;
use super::state::State;
use super::steer::Helms;
use crate::actors::Router;
use crate::actors::gate::Gate;
use crate::monitor::{Event, Events, InstanceKey, Metrics};
use crate::registry::Registry;
use crate::store::audit::{AuditLog, By, Entry, Kind, MAX_DATA};

/// The longest reason of a refusal in the audit log, in characters.
const LONGEST_REASON: usize = 4096;

pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) records: Records,
    pub(super) audit: AuditLog,
    pub(super) board: Board,
    pub(super) router: Arc<Router>,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) hands: Hands,
    /// The shifts that can be steered.
    pub(super) helms: Helms,
    /// Counts the drains that run apart from their commands; closed when the engine stops.
    pub(super) drains: Arc<Gate>,
    /// Set when the runtime stops: from then on nothing new begins, and what was begun is not kept.
    pub(super) stopping: SetOnce<()>,
    #[cfg(test)]
    pub(super) probe: Arc<super::probe::Probe>,
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

impl Shared {
    /// Tells that an instance went from one state to another, and why.
    pub(super) async fn changed(
        &self,
        instance: InstanceKey,
        (from, to): (State, State),
        reason: Option<String>,
        by: &By,
    ) {
        let (from, to) = (from.name(), to.name());
        let data = json!({ "from": from, "to": to, "reason": reason, "generation": instance.generation });
        self.queue(Kind::StateChanged, by, &instance, data).await;
        self.events.emit(Event::StateChanged { instance, from, to, reason });
    }

    /// Tells that a candidate's share of the traffic is another.
    pub(super) async fn shifted(&self, instance: InstanceKey, weight: u8, by: &By) {
        let data = json!({ "weight": weight, "generation": instance.generation });
        self.queue(Kind::TrafficShifted, by, &instance, data).await;
        self.events.emit(Event::TrafficShifted { instance, weight });
    }

    /// Tells that a command was refused, and why. The refusal is the answer, whatever comes of this; that the runtime stops is
    /// none.
    pub(super) async fn refused(&self, kind: Kind, by: &By, subject: String, (command, error): (&str, &EngineError)) {
        if matches!(error, EngineError::Stopped) {
            return;
        }
        let reason: String = error.to_string().chars().take(LONGEST_REASON).collect();
        let told = json!({ "command": command, "reason": reason });
        if let Err(error) = self.audit(kind, by.clone(), subject, told).await {
            tracing::error!(%error, command, "a refused command is not in the audit log");
        }
    }

    /// Puts an entry into the audit log behind those before it. What it tells happens all the same, and that the log takes
    /// nothing is an alarm of its own.
    async fn queue(&self, kind: Kind, by: &By, key: &InstanceKey, data: serde_json::Value) {
        let entry = Entry::new(kind, by.clone(), format!("{}@{}", key.id, key.version)).with(data);
        if let Err(error) = self.audit.queue(entry).await {
            tracing::error!(instance = %key, kind = kind.name(), %error, "it is not in the audit log");
        }
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
        by: By,
        subject: String,
        data: serde_json::Value,
    ) -> Result<(), EngineError> {
        self.audit.append(Entry::new(kind, by, subject).with(data)).await.map(drop).map_err(EngineError::from)
    }

    /// What the log is told of the end of an activation; of a version that is to be confirmed also what a start decides by.
    pub(super) fn told_of_end(
        &self,
        id: &str,
        entry: &super::journal::Entry,
        outcome: Outcome,
        reason: Option<&str>,
    ) -> serde_json::Value {
        let mut told = json!({ "outcome": outcome.name(), "reason": reason, "number": entry.number });
        let provisional = self.board.slot(id).record.and_then(|record| record.provisional);
        if let Some(provisional) = provisional.filter(|_| outcome == Outcome::Provisional) {
            provisional.tell(&mut told, entry.owed.as_ref());
            let members = self.told_of_members(id, &provisional.set);
            if !members.is_empty() {
                told["members"] = members.into();
                // a log that takes no entry so large has the ends of the others, if it is not cut before them
                if told.to_string().len() > MAX_DATA {
                    told["members"].take();
                }
            }
        }
        told
    }

    /// What a start decides by of the others of a set, which took over by the same write: the log may end before it is told of
    /// their ends, and some without the others is what no set comes to.
    fn told_of_members(&self, id: &str, set: &[String]) -> Vec<serde_json::Value> {
        let member = |other: &String| {
            let record = self.board.slot(other).record?;
            let provisional = record.provisional.filter(|it| it.set == set)?;
            let entry = self.records.entry(other, provisional.entry).ok()??;
            let (version, number) = (provisional.version.to_string(), provisional.entry);
            let mut told = json!({ "module": other, "version": version, "number": number, "instant": record.instant });
            provisional.tell(&mut told, entry.owed.as_ref());
            Some(told)
        };
        set.iter().filter(|other| *other != id).filter_map(member).collect()
    }
}
