//! What can go wrong with backups and snapshots.

use std::path::PathBuf;

use crate::store::StoreError;
use crate::store::archive::ArchiveError;
use crate::store::audit::AuditError;

/// A backup could not be made, or not be restored. Of a restore that failed nothing shows in the data directory, unless it is
/// said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file cannot be written or read, or is not what was written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A database failed.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Database(#[from] crate::integration::database::DatabaseError),
    /// A file or folder of the data directory could not be used.
    #[error("{}: {action} failed: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried, such as `reading`.
        action: &'static str,
        /// What the system said.
        cause: String,
    },
    /// The file is whole, and something in it has no place.
    #[error("{}: the backup cannot be restored: {cause}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The data directory holds something.
    #[error(
        "{}: the data directory is not empty: it has `{found}`; choose another one with --data, or give --replace, which keeps \
         what is there in a folder beside it",
        data.display()
    )]
    NotEmpty {
        /// The data directory.
        data: PathBuf,
        /// What was found.
        found: &'static str,
    },
    /// Versions were unregistered or activated again and again while a backup was made.
    #[error("modules are unregistered or activated while the backup is made; make it again when that has ended")]
    Restless,
    /// The work on it broke off.
    #[error("the backup broke off: {cause}")]
    Broken {
        /// The panic's message.
        cause: String,
    },
}

impl BackupError {
    pub(in crate::app) fn io(path: &std::path::Path, action: &'static str, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, cause: error.to_string() }
    }
}
