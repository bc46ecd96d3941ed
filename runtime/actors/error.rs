//! Why a call to an instance gave no result.

use std::time::Duration;

use replug_scripts::ScriptError;

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
    /// The deadline passed while the call waited or ran.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The worker that held the call died.
    #[error("the worker that held this call of {0} died")]
    Crashed(String),
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
