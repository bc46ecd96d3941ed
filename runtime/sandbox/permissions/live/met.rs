//! What an instance met, for the audit log. Nothing of it waits for the log, and repeats are counted: see
//! [`Incidents`](crate::sandbox::audit::Incidents).

use std::fmt::Display;

use replug_scripts::CallContext;
use serde_json::{Value, json};

use super::Live;
use crate::sandbox::audit::Incident;
use crate::sandbox::permissions::resource::{ResourceType, UNLIMITED};
use crate::store::audit::{Kind, Who};

/// Where a quota refused.
#[derive(Clone, Copy)]
pub enum At<'a> {
    /// A host function, such as `kv.put`.
    Call(&'a str),
    /// A handler, which did not run.
    Handler(&'a dyn Display),
    /// A question to the permission manager.
    Question,
}

impl Live {
    /// Counts a denial, and has it written to the audit log as `who`'s.
    pub fn deny(&self, who: Who, function: &str, reason: &str, call: Option<&CallContext>) {
        self.denied.inc();
        let incident = Incident { kind: Kind::CallDenied, who, name: reason, call };
        self.note(&incident, |reason| json!({ "call": function, "reason": reason }));
    }

    /// The limit at this path of the manifest ended a call of `handler`, or turned it away. `value` is the limit: a number,
    /// milliseconds or bytes.
    pub fn limit(&self, limit: &str, value: u64, handler: &dyn Display, call: &CallContext) {
        let (handler, call) = (handler.to_string(), Some(call));
        let name = format!("{limit} {handler}");
        let incident = Incident { kind: Kind::LimitExceeded, who: Who::Runtime, name: &name, call };
        self.note(&incident, |_| json!({ "limit": limit, "value": value, "handler": handler }));
    }

    /// A host function met the limit at this path of the manifest, or of this name where no manifest has it.
    pub fn limit_of_host(&self, limit: &str, value: u64, function: &str, call: &CallContext) {
        let name = format!("{limit} {function}");
        let incident = Incident { kind: Kind::LimitExceeded, who: Who::Runtime, name: &name, call: Some(call) };
        self.note(&incident, |_| json!({ "limit": limit, "value": value, "call": function }));
    }

    /// `inside` calls were cut off, since the version that goes gives them no more time: `value` milliseconds.
    pub fn cut_off(&self, value: u64, inside: usize) {
        let limit = "lifecycle.deactivation.timeout";
        self.note(&own(Kind::LimitExceeded, limit), |_| json!({ "limit": limit, "value": value, "inFlight": inside }));
    }

    /// Its parts failed more often than `value` times within the period of its manifest, the last one for this reason.
    pub fn gave_up(&self, value: u64, reason: &str) {
        let limit = "runtime.supervision.intensity";
        let incident = own(Kind::LimitExceeded, limit);
        self.note(&incident, |_| json!({ "limit": limit, "value": value, "reason": cut(reason) }));
    }

    /// A quota refused a call.
    pub fn exceed(&self, resource: ResourceType, at: At<'_>, call: Option<&CallContext>) {
        let (key, place) = (resource.key(), at.place());
        let name = place.as_ref().map_or_else(|| key.to_owned(), |(_, place)| format!("{key} {place}"));
        let incident = Incident { kind: Kind::QuotaExceeded, who: Who::Runtime, name: &name, call };
        self.note(&incident, |_| {
            let mut told = json!({ "quota": key, "value": self.quota(resource) });
            if let Some((kind, place)) = place {
                told[kind] = place.into();
            }
            told
        });
    }

    /// The heap of a VM grew from call to call.
    pub fn leak(&self, from: u64, to: u64, calls: u64) {
        self.note(&own(Kind::LeakSuspected, "heap"), |_| json!({ "from": from, "to": to, "calls": calls }));
    }

    /// A part of it failed.
    pub fn worker_failed(&self, child: &str, reason: &str) {
        self.note(&own(Kind::WorkerFailed, child), |child| json!({ "child": child, "reason": cut(reason) }));
    }

    /// An actor of its script failed; what comes `next`, and who goes down with it.
    pub fn actor_failed(&self, actor: &str, reason: &str, (next, with): (&str, &[String])) {
        let name = format!("{actor} {next}");
        let incident = own(Kind::ActorFailed, &name);
        self.note(&incident, |_| {
            let mut told = json!({ "actor": actor, "reason": cut(reason), "next": next });
            if !with.is_empty() {
                told["with"] = with.iter().take(MOST).map(String::as_str).collect();
            }
            told
        });
    }

    /// What it may use, in the unit of the resource, but the processor in cores; null where it has no bound.
    fn quota(&self, resource: ResourceType) -> Value {
        match resource.amount(&self.manifest, self.grants().effective()) {
            UNLIMITED => Value::Null,
            micros if resource == ResourceType::CpuUsage => (micros as f64 / 1e6).into(),
            amount => amount.into(),
        }
    }

    fn note(&self, incident: &Incident<'_>, data: impl FnOnce(&str) -> Value) {
        self.incidents.note(incident, (self.clock)(), data);
    }
}

impl At<'_> {
    fn place(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Call(function) => Some(("call", (*function).to_owned())),
            Self::Handler(handler) => Some(("handler", handler.to_string())),
            Self::Question => None,
        }
    }
}

/// Something that is in no call.
const fn own(kind: Kind, name: &str) -> Incident<'_> {
    Incident { kind, who: Who::Runtime, name, call: None }
}

/// The most names in one entry.
const MOST: usize = 16;
/// The longest reason, in characters.
const LONGEST: usize = 1024;

fn cut(reason: &str) -> String {
    reason.chars().take(LONGEST).collect()
}
