//! The event bus: each event owns its log line.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

mod following;

use following::Followers;
pub use following::Following;

/// Events that a slow reader may lag behind before it loses the oldest.
const BACKLOG: usize = 1024;

/// Which running version is meant. Two generations of a version may run at once while one of them drains.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct InstanceKey {
    /// The module's id.
    pub id: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// Counts the starts of this module, from 1; never used twice for one data directory.
    pub generation: u64,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.id, self.version, self.generation)
    }
}

/// Something that happened in the runtime.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A version was registered.
    Registered {
        /// The module's id.
        id: String,
        /// Its version.
        version: String,
        /// BLAKE3 of its files.
        digest: String,
    },
    /// A version was unregistered.
    Unregistered {
        /// The module's id.
        id: String,
        /// Its version.
        version: String,
    },
    /// An instance went from one state to another.
    StateChanged {
        /// Which.
        instance: InstanceKey,
        /// The state it left.
        from: &'static str,
        /// The state it is in.
        to: &'static str,
        /// Why, where there is more to say than the states.
        reason: Option<String>,
    },
    /// An activation or a rollback began: the instance is the one that is to serve.
    ActivationBegan {
        /// Which instance is to serve.
        instance: InstanceKey,
        /// `gradual` or `instant`.
        strategy: &'static str,
        /// The version that serves until then.
        from: Option<String>,
    },
    /// The heap of one of an instance's VMs grows from call to call.
    LeakSuspected {
        /// Which.
        instance: InstanceKey,
        /// Bytes that lived before these calls.
        from: u64,
        /// Bytes that live now.
        to: u64,
        /// The calls.
        calls: u64,
    },
    /// A candidate's share of the traffic changed.
    TrafficShifted {
        /// The candidate.
        instance: InstanceKey,
        /// Its share, in percent.
        weight: u8,
    },
    /// Somebody steered a traffic shift.
    ShiftSteered {
        /// The candidate.
        instance: InstanceKey,
        /// `paused`, `resumed`, `promoted` or `aborted`.
        done: &'static str,
        /// Its share then, in percent.
        weight: u8,
    },
    /// An interval of a traffic shift was judged.
    Judged {
        /// The candidate.
        instance: InstanceKey,
        /// Its share while it was judged, in percent.
        weight: u8,
        /// `pass`, `fail` or `inconclusive`.
        verdict: String,
        /// What the verdict rests on; empty when there is nothing to say.
        detail: String,
    },
    /// An activation or a rollback ended.
    ActivationEnded {
        /// Which instance was to serve.
        instance: InstanceKey,
        /// How it ended, by the name in reports.
        outcome: &'static str,
        /// Why, when the version does not serve.
        reason: Option<String>,
    },
    /// A version was taken back, failed, or is frozen; told where its manifest's `lifecycle.rollback.notificationChannels` name
    /// `events`.
    RolledBack {
        /// Which.
        instance: InstanceKey,
        /// `rolled-back`, `failed`, `failed-to-restore` or `frozen`.
        outcome: &'static str,
        /// Why.
        reason: String,
        /// The version that serves then.
        serving: Option<String>,
    },
    /// Something calls to return from a provisional version, and a migration that cannot be taken back forbids it.
    Frozen {
        /// Which instance serves on.
        instance: InstanceKey,
        /// The migration.
        migration: String,
        /// What calls for it.
        reason: String,
    },
    /// Another module is called for a capability from now on, once it serves.
    ProviderChosen {
        /// The capability.
        capability: String,
        /// The module that is chosen; none: whichever serves.
        module: Option<String>,
        /// The one that was chosen before.
        before: Option<String>,
    },
    /// What the end of the runtime before had interrupted was decided.
    Recovered {
        /// The module's id.
        id: String,
        /// What was decided.
        note: String,
    },
    /// A step of an activation or a rollback began.
    StepBegan {
        /// Which instance it is about.
        instance: InstanceKey,
        /// The step's name.
        step: &'static str,
        /// How long it and what follows may take, in milliseconds.
        left_ms: f64,
    },
    /// A step of an activation or a rollback ended.
    StepEnded {
        /// Which instance it is about.
        instance: InstanceKey,
        /// The step's name.
        step: &'static str,
        /// How long it took, in milliseconds.
        ms: f64,
        /// What was wrong; nothing when it succeeded.
        fault: Option<String>,
    },
    /// A worker died and was, or will be, started again.
    WorkerFailed {
        /// Of which instance.
        instance: InstanceKey,
        /// The child's id in its supervisor.
        child: String,
        /// Why.
        reason: String,
    },
    /// An actor of a script failed.
    ActorFailed {
        /// In which instance.
        instance: InstanceKey,
        /// The actor's name.
        actor: String,
        /// What failed: `init`, `upgrade` or `handle`; `panic`, by a bug of the runtime's; `stop`, where a permanent one ended.
        cause: &'static str,
        /// Why.
        reason: String,
        /// What follows: `restarted`, `held` for a while, `ended`, `state kept`, when an upgrade of its state failed, or `state of
        /// before the swap`, when the version before did not take its state back.
        next: &'static str,
        /// The actors that went down with it, by the strategy of the manifest.
        with: Vec<String>,
    },
    /// An instance's tree exceeded its restart intensity, or the actors of its slot did.
    CriticalError {
        /// Which.
        instance: InstanceKey,
        /// The last failure.
        reason: String,
    },
    /// The health of an instance changed.
    HealthChanged {
        /// Which.
        instance: InstanceKey,
        /// What it is now.
        status: super::HealthStatus,
        /// What the checks said.
        detail: String,
    },
    /// Something that needs a person.
    Alarm {
        /// What it is about: a module, a version, the store.
        subject: String,
        /// What happened and what to do.
        message: String,
    },
}

impl Event {
    /// The instance whose condition it tells of.
    fn condition_of(&self) -> Option<&InstanceKey> {
        match self {
            Self::HealthChanged { instance, .. } | Self::CriticalError { instance, .. } => Some(instance),
            // messages that fail are many, and nobody is returned from for them
            Self::ActorFailed { instance, cause: "upgrade", .. } => Some(instance),
            _ => None,
        }
    }

    /// Writes the event's log line.
    fn log(&self) {
        match self {
            Self::Registered { id, version, digest } => tracing::info!(%id, %version, %digest, "registered"),
            Self::Unregistered { id, version } => tracing::info!(%id, %version, "unregistered"),
            Self::StateChanged { instance, from, to, reason } => {
                tracing::info!(%instance, from, to, reason = reason.as_deref(), "state changed");
            }
            Self::ActivationBegan { instance, strategy, from } => {
                tracing::info!(%instance, strategy, from = from.as_deref(), "activation began");
            }
            // a line of the log is a channel of its own
            Self::RolledBack { .. } => {}
            Self::Frozen { instance, migration, reason } => {
                tracing::error!(%instance, %migration, %reason, "frozen");
            }
            Self::ProviderChosen { capability, module, before } => {
                tracing::info!(%capability, module = module.as_deref(), before = before.as_deref(), "provider chosen");
            }
            Self::Recovered { id, note } => tracing::info!(%id, %note, "recovered"),
            Self::LeakSuspected { instance, from, to, calls } => {
                tracing::warn!(%instance, from, to, calls, "the heap grows from call to call");
            }
            Self::TrafficShifted { instance, weight } => tracing::info!(%instance, weight, "traffic shifted"),
            Self::ShiftSteered { instance, done, weight } => tracing::info!(%instance, done, weight, "shift steered"),
            Self::Judged { instance, weight, verdict, detail } => {
                tracing::info!(%instance, weight, %verdict, %detail, "interval judged");
            }
            Self::ActivationEnded { instance, outcome, reason } => {
                tracing::info!(%instance, outcome, reason = reason.as_deref(), "activation ended");
            }
            Self::StepBegan { instance, step, left_ms } => tracing::debug!(%instance, step, left_ms, "step begins"),
            Self::StepEnded { instance, step, ms, fault: None } => tracing::debug!(%instance, step, ms, "step done"),
            Self::StepEnded { instance, step, ms, fault: Some(fault) } => {
                tracing::warn!(%instance, step, ms, %fault, "step failed");
            }
            Self::WorkerFailed { instance, child, reason } => {
                tracing::warn!(%instance, %child, %reason, "worker failed");
            }
            Self::ActorFailed { instance, actor, cause, reason, next, with } => {
                tracing::warn!(%instance, %actor, cause, %reason, next, ?with, "actor failed");
            }
            Self::CriticalError { instance, reason } => tracing::error!(%instance, %reason, "critical error"),
            Self::HealthChanged { instance, status, detail } => {
                tracing::info!(%instance, ?status, %detail, "health changed");
            }
            Self::Alarm { subject, message } => tracing::error!(%subject, %message, "alarm"),
        }
    }
}

/// The bus. Emitting never waits: a reader that lags loses the oldest events and is told how many.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Arc<Event>>,
    followers: Followers,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, followers: Followers::default() }
    }
}

impl Events {
    /// Logs `event` and hands it to every subscriber.
    pub fn emit(&self, event: Event) {
        event.log();
        let event = Arc::new(event);
        self.followers.tell(&event);
        // no subscriber is no fault
        let _ = self.sender.send(event);
    }

    /// Everything from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }

    /// From now on what is told of the condition of one instance: that its health changed, its tree gave up, or an actor does
    /// not take its state.
    #[must_use]
    pub fn follow(&self, key: &InstanceKey) -> Following {
        self.followers.follow(key)
    }
}
