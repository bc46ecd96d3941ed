//! Why a call to an instance gave no result.

use std::time::Duration;

use replug_scripts::{HostErrorKind, ScriptError, Verdict};

use crate::monitor::InstanceKey;
use crate::sandbox::quota::heap::{HeapFull, NoRoom};

/// Why a call to a module's script ended without its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The queue of the instance is full.
    #[error("the queue of {instance} is full ({queue} waiting)")]
    Overloaded {
        /// The instance.
        instance: String,
        /// How many may wait.
        queue: usize,
    },
    /// As many streams are open as may be.
    #[error(
        "{instance} has {streams} open streams, which is all it may have; `runtime.limits.streams` in module.manifest.yaml \
         allows more"
    )]
    Crowded {
        /// The instance.
        instance: String,
        /// How many may be open.
        streams: usize,
    },
    /// There is no room for the state of a stream.
    #[error("{instance} cannot begin a stream: {source}")]
    NoRoom {
        /// The instance.
        instance: String,
        /// The numbers.
        source: NoRoom,
    },
    /// The deadline passed while the call waited or ran.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The worker that held the call died.
    #[error("the worker that held this call of {0} died")]
    Crashed(String),
    /// The VM that held the call, with others, ran out of memory in another one's hands.
    #[error("another call filled the memory of the VM of {0} that held this one")]
    Displaced(String),
    /// The VM that held the call had less than an equal share of its module's memory, and that was too little.
    #[error(
        "{instance} had {room} bytes of memory for this call, and needed more: others of the module have the rest; \
         `permissions.resources.memory.maxHeapSize` in module.manifest.yaml asks for more"
    )]
    Cramped {
        /// The instance.
        instance: String,
        /// What its VM might hold, in bytes.
        room: u64,
    },
    /// The module has used up its share of the processor.
    #[error(
        "{instance} has used up its share of the processor; it may run again in {} ms; \
         `permissions.resources.cpu.maxCpuUsage` in module.manifest.yaml asks for more", .wait.as_millis()
    )]
    Throttled {
        /// The instance.
        instance: String,
        /// Until it may run again.
        wait: Duration,
    },
    /// The module has used up its memory.
    #[error("no VM of {instance} can run: {source}")]
    HeapFull {
        /// The instance.
        instance: String,
        /// The numbers.
        source: HeapFull,
    },
    /// There was no VM for it, and the `init` of a new one found full what clients fill. Nothing of it was begun.
    #[error("no VM of {instance} can begin: {source}")]
    Unready {
        /// The instance.
        instance: String,
        /// What `init` met.
        source: Box<ScriptError>,
    },
    /// The instance takes no more calls. A caller looks the slot up again.
    #[error("{0} takes no more calls")]
    Closed(String),
    /// Nothing serves this.
    #[error("no module serves {0}")]
    NoModule(String),
    /// The script failed.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// Whom a call that gave no result counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The instance: it failed, met a limit, or took too long.
    Instance,
    /// Whoever called: the script said so on purpose.
    Caller,
    /// Admission turned the call away; the instance never saw it.
    Admission,
    /// Nobody: the call goes elsewhere, and is counted where it ends up.
    Nobody,
}

impl CallError {
    /// What the script of `instance` made of a call, where a VM with less than `equal` bytes is crowded. Only of a full heap is it asked.
    #[must_use]
    pub fn of_script(error: ScriptError, instance: &InstanceKey, equal: impl FnOnce() -> u64) -> Self {
        match error {
            ScriptError::Limit(Verdict::Memory(room)) if (room as u64) < equal() => {
                Self::Cramped { instance: instance.to_string(), room: room as u64 }
            }
            error => Self::Script(error),
        }
    }

    /// Whom it counts against when the call is a request of a client.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Script(ScriptError::Problem { status, .. }) if *status < 500 => Blame::Caller,
            Self::Script(ScriptError::Limit(Verdict::Stopped)) => Blame::Nobody,
            // who has nothing but small rooms could hide in them a handler without end
            Self::Cramped { .. } => Blame::Instance,
            Self::Script(_) | Self::Timeout(_) | Self::Crashed(_) | Self::Displaced(_) => Blame::Instance,
            Self::Overloaded { .. }
            | Self::Crowded { .. }
            | Self::NoRoom { .. }
            | Self::Throttled { .. }
            | Self::HeapFull { .. }
            | Self::Unready { .. } => Blame::Admission,
            Self::Closed(_) | Self::NoModule(_) => Blame::Nobody,
        }
    }

    /// Whom it counts against when another module calls. A service refuses with an error that names what is wrong with
    /// the call, which a request has a status for.
    #[must_use]
    pub const fn blame_of_service(&self) -> Blame {
        use HostErrorKind::{Conflict, InvalidArgument, NotFound};
        match self {
            Self::Script(ScriptError::Host { error, .. })
                if matches!(error.kind, InvalidArgument | NotFound | Conflict) =>
            {
                Blame::Caller
            }
            _ => self.blame(),
        }
    }
}

/// Why an instance did not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The first VM did not come up.
    #[error("{module} does not start: {source}")]
    FirstVm {
        /// `id@version`.
        module: String,
        /// What its top level or `init` said.
        source: CallError,
    },
    /// The actor tree did not come up.
    #[error("the actors of {module} do not start: {message}")]
    Actors {
        /// `id@version`.
        module: String,
        /// What ractor said.
        message: String,
    },
}
