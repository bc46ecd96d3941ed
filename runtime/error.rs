//! What a runtime can fail with at its start and at its surface.

use std::path::PathBuf;

use replug_scripts::Misfit;

use crate::actors::CallError;
use crate::admin::commands::CommandError;
use crate::app::BackupError;
use crate::engine::{EngineError, NotServing};
use crate::integration::host::OfferError;
use crate::registry::RegistryError;
use crate::sandbox::permissions::PermissionError;
use crate::store::StoreError;
use crate::store::audit::AuditError;

/// A failure of the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store could not be opened or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log could not be opened or failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The registry failed or refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The engine failed or refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A decision about permissions was refused, or could not be written.
    #[error(transparent)]
    Permission(Box<PermissionError>),
    /// A question about what runs was refused.
    #[error(transparent)]
    Command(Box<CommandError>),
    /// A directory could not be made or read.
    #[error("{}: {action} failed: {cause}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What was tried, such as `creating`.
        action: &'static str,
        /// What the system said.
        cause: String,
    },
    /// There is an audit log and no store.
    #[error(
        "{}: the store is missing, and the audit log beside it has {entries} entries; put the store back, or choose another \
         data directory: an empty one would forget what was done",
        store.display()
    )]
    StoreMissing {
        /// Where the store should be.
        store: PathBuf,
        /// How much the log knows.
        entries: u64,
    },
    /// The store is damaged, and there is no snapshot of which it could be made anew.
    #[error(
        "{}: the store is damaged and cannot be made anew: {cause}; {snapshots}; nothing was changed: restore a backup with \
         `replug restore FILE --replace`, which keeps what is there",
        store.display()
    )]
    StoreDamaged {
        /// The store.
        store: PathBuf,
        /// What shows that it is damaged.
        cause: String,
        /// What is wrong with the snapshots.
        snapshots: String,
    },
    /// A restore was cut off and could not be gone on with, or a backup could not be made.
    #[error(transparent)]
    Backup(Box<BackupError>),
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {cause}; choose another address with {option}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The option that chooses it.
        option: &'static str,
        /// What the system said.
        cause: String,
    },
    /// A service of the host application cannot be offered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// A service could not be called, or failed.
    #[error("{service}: {source}")]
    Call {
        /// `capability.method`.
        service: String,
        /// Why.
        source: CallError,
    },
    /// A call from a service of the host would wait for itself.
    #[error("{service}: {circle} call each other in a circle and no worker of the last is free; break the circle")]
    Circle {
        /// `capability.method`.
        service: String,
        /// The modules, the outermost first, such as `a -> b -> a`.
        circle: String,
    },
    /// The arguments of a call cannot reach a script.
    #[error("{service}: wrong arguments: {source}")]
    Arguments {
        /// `capability.method`.
        service: String,
        /// What does not fit, and where.
        source: Misfit,
    },
    /// The answer of a call is not of the type that was asked for.
    #[error("{service}: the answer is no {wanted}: {source}")]
    Answer {
        /// `capability.method`.
        service: String,
        /// The type.
        wanted: &'static str,
        /// What does not fit, and where.
        source: Misfit,
    },
    /// A version does not serve; [`ActivationReport::ensure_serves`](crate::engine::ActivationReport::ensure_serves) says so.
    #[error(transparent)]
    NotServing(#[from] NotServing),
    /// A coordinator of the runtime is gone; the runtime must be started again.
    #[error("the runtime broke down: {0}")]
    Broken(String),
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        Self::Backup(Box::new(error))
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::Command(Box::new(error))
    }
}

impl From<PermissionError> for Error {
    fn from(error: PermissionError) -> Self {
        Self::Permission(Box::new(error))
    }
}
