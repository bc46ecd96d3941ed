//! Entries: as they are given, and as they are read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::AuditError;

/// The largest `data` of an entry, in bytes of JSON.
pub const MAX_DATA: usize = 64 * 1024;

/// The longest `subject` of an entry, in bytes.
pub const MAX_SUBJECT: usize = 1024;

/// Kinds of entries. An entry of what changes a module is written before the change: what has none did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A version is registered; `data` has the `digest` of its files.
    Registered,
    /// A version is forgotten.
    Unregistered,
    /// An activation or a rollback begins.
    ActivationBegan,
    /// An activation or a rollback ended.
    ActivationEnded,
    /// An instance went from one state to another; `data` has both, `from` and `to`, with the `reason` and the `generation`.
    StateChanged,
    /// A candidate's share of the traffic changed; `data` has the `weight` in percent and the `generation`.
    TrafficShifted,
    /// Somebody steers a traffic shift; `data` has what is `done` to it, the `weight` it has then and the `generation`.
    ShiftSteered,
    /// The version that served provisionally is confirmed.
    Confirmed,
    /// A version was taken back, and what served before serves.
    RolledBack,
    /// A module is chosen among those that offer a capability, which is the subject; `data` has the `provider`, or null.
    ProviderChosen,
    /// A module is taken out of service.
    Deactivated,
    /// A piece of code is run beside a module; `data` has its `digest` and its first `line`.
    Evaluated,
    /// A start put an interrupted activation right.
    Recovered,
    /// A permission that a module asks for is granted; `data` has the `permission`.
    PermissionGranted,
    /// It is narrowed; `data` has what it is narrowed `to`.
    PermissionNarrowed,
    /// It is denied.
    PermissionDenied,
    /// The last version of a module was unregistered, and what was decided about it is forgotten.
    PermissionsForgotten,
    /// A host call of a script was denied; `data` has the `call`, the `reason`, the `requestId` and the `count`.
    CallDenied,
    /// A limit of the module's manifest ended a call or turned one away; `data` has the `limit` by its path there, its `value`,
    /// the `handler`, the `requestId` and the `count`.
    LimitExceeded,
    /// A quota of the module refused a call; `data` has the `quota` by its name in permissions, its `value`, the `call` of the
    /// host or the `handler`, the `requestId` and the `count`.
    QuotaExceeded,
    /// The heap of a VM grows from call to call; `data` has what lived before and now, `from` and `to`, in bytes, and the `calls`.
    LeakSuspected,
    /// A part of an instance failed, or does not end; `data` has the `child`, the `reason` and the `count`.
    WorkerFailed,
    /// A script's actor failed; `data` has the `actor`, the `reason`, what comes `next` and the `count`.
    ActorFailed,
    /// The admin API did not let a request in; `data` has the `reason`, the `method`, the `path`, the `requestId` and the `count`.
    AccessDenied,
    /// Incidents came faster than they could be written and have no entry; `data` has the `count`.
    IncidentsDropped,
    /// An activation or a rollback was refused; `data` has the `reason`.
    ActivationRefused,
    /// Another command was refused; `data` has the `command` and the `reason`.
    CommandRefused,
    /// Something that needs a person; `data` has the `message`.
    Alarm,
    /// A backup was made; `data` has when its records were as they are in it, and its size and `hash`.
    BackedUp,
    /// What the data directory held was replaced by a backup; `data` has which, and where what was there is `kept`.
    Restored,
    /// The store was damaged and is made anew of a snapshot and this log; `data` has the `cause`, and what is `left` out.
    StoreRebuilt,
    /// A runtime started on the data directory.
    RuntimeStarted,
    /// It stopped, as it should.
    RuntimeStopped,
}

impl Kind {
    /// The name as it stands in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Unregistered => "unregistered",
            Self::ActivationBegan => "activation-began",
            Self::ActivationEnded => "activation-ended",
            Self::StateChanged => "state-changed",
            Self::TrafficShifted => "traffic-shifted",
            Self::ShiftSteered => "shift-steered",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled-back",
            Self::ProviderChosen => "provider-chosen",
            Self::Deactivated => "deactivated",
            Self::Evaluated => "evaluated",
            Self::Recovered => "recovered",
            Self::PermissionGranted => "permission-granted",
            Self::PermissionNarrowed => "permission-narrowed",
            Self::PermissionDenied => "permission-denied",
            Self::PermissionsForgotten => "permissions-forgotten",
            Self::CallDenied => "call-denied",
            Self::LimitExceeded => "limit-exceeded",
            Self::QuotaExceeded => "quota-exceeded",
            Self::LeakSuspected => "leak-suspected",
            Self::WorkerFailed => "worker-failed",
            Self::ActorFailed => "actor-failed",
            Self::AccessDenied => "access-denied",
            Self::IncidentsDropped => "incidents-dropped",
            Self::ActivationRefused => "activation-refused",
            Self::CommandRefused => "command-refused",
            Self::Alarm => "alarm",
            Self::BackedUp => "backed-up",
            Self::Restored => "restored",
            Self::StoreRebuilt => "store-rebuilt",
            Self::RuntimeStarted => "runtime-started",
            Self::RuntimeStopped => "runtime-stopped",
        }
    }
}

/// Who had it done; `actor` in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// An administrator, by command line, HTTP or console.
    Admin,
    /// The application that embeds the runtime.
    Host,
    /// The runtime itself: what it starts with, its triggers and its clocks.
    Runtime,
}

impl Who {
    /// The name as it stands in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Host => "host",
            Self::Runtime => "runtime",
        }
    }
}

/// Who had something done, and in which request of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub who: Who,
    /// The request's id, where it has one.
    pub request: Option<Arc<str>>,
}

impl From<Who> for By {
    fn from(who: Who) -> Self {
        Self { who, request: None }
    }
}

impl By {
    /// The same in the request of this id.
    #[must_use]
    pub fn asked_in(self, request: Arc<str>) -> Self {
        Self { request: Some(request), ..self }
    }
}

/// An entry to append.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub(super) kind: Kind,
    pub(super) by: By,
    pub(super) subject: String,
    pub(super) data: Value,
}

impl Entry {
    /// An entry about `subject`: `id@version`, a module's id, or `runtime`. Its data has the `requestId` of whoever had it
    /// done, if there is one.
    #[must_use]
    pub fn new(kind: Kind, by: impl Into<By>, subject: impl Into<String>) -> Self {
        let entry = Self { kind, by: by.into(), subject: subject.into(), data: Value::Null };
        entry.with(Value::Object(serde_json::Map::new()))
    }

    /// The same with `data`, a JSON object.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = data;
        if let (Some(request), Some(data)) = (&self.by.request, self.data.as_object_mut()) {
            data.insert("requestId".to_owned(), Value::from(&**request));
        }
        self
    }

    pub(super) fn check_size(&self) -> Result<(), AuditError> {
        let data = self.data.to_string().len();
        for (what, size, limit) in [("data", data, MAX_DATA), ("subject", self.subject.len(), MAX_SUBJECT)] {
            if size > limit {
                return Err(AuditError::TooLarge { what, size, limit });
            }
        }
        Ok(())
    }
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970.
    pub at: u64,
    /// The hash of the entry before.
    pub prev: String,
    /// What happened.
    pub kind: Kind,
    /// Who had it done.
    #[serde(rename = "actor")]
    pub who: Who,
    /// What it is about.
    pub subject: String,
    /// More, by kind: a JSON object.
    pub data: Box<RawValue>,
    /// Its hash.
    pub hash: String,
}
