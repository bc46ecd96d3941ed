//! What can go wrong with a module's database.

use std::path::PathBuf;

use replug_scripts::{HostError, HostErrorKind};

/// A failure of a module's database as a whole; what a script's statement did wrong is a [`HostError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The directory of the files could not be used.
    #[error("databases {}: {cause}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The name cannot be that of a module; no file was touched.
    #[error("`{module}` is no module's id")]
    Module {
        /// The name given.
        module: String,
    },
    /// The module has no file: none was created, or it was dropped.
    #[error("module {module} has no database; declare `database` in its manifest")]
    NotFound {
        /// The module's id.
        module: String,
    },
    /// The file could not be created, opened, measured or removed.
    #[error("database of module {module}: {cause}")]
    File {
        /// The module's id.
        module: String,
        /// What the system or SQLite said, without paths.
        cause: String,
    },
    /// All connections or the right to write stayed taken, or a statement of the runtime's own ran, until the deadline.
    #[error("database of module {module}: busy until the deadline: {what}")]
    Busy {
        /// The module's id.
        module: String,
        /// What was waited for.
        what: &'static str,
    },
    /// The module that waited was stopped.
    #[error("database of module {module}: who waited was stopped: {what}")]
    Stopped {
        /// The module's id.
        module: String,
        /// What was waited for.
        what: &'static str,
    },
    /// A statement of the runtime's own failed.
    #[error("database of module {module}: {cause}")]
    Sql {
        /// The module's id.
        module: String,
        /// What SQLite said.
        cause: String,
    },
    /// The record of an applied migration makes no sense; someone else wrote it.
    #[error("database of module {module}: the record of migration {version} is damaged: {cause}")]
    Record {
        /// The module's id.
        module: String,
        /// The version as it stands in the record.
        version: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Tables that applied migrations made are gone.
    #[error("database of module {module}: tables are missing that its migrations made: {}", tables.join(", "))]
    MissingTables {
        /// The module's id.
        module: String,
        /// Their names, in order.
        tables: Vec<String>,
    },
}

impl From<DatabaseError> for HostError {
    fn from(error: DatabaseError) -> Self {
        let kind = match error {
            DatabaseError::NotFound { .. } => HostErrorKind::NotFound,
            DatabaseError::Busy { .. } => HostErrorKind::Timeout,
            DatabaseError::Stopped { .. } => HostErrorKind::Overloaded,
            _ => HostErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}
