//! Why migrations stopped.

use semver::Version;

use crate::integration::database::DatabaseError;

/// A migration that did not go through. Nothing of it remains; those before it in the same run do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The database itself failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Nobody waits for it any more.
    #[error("module {module}: its migrations were given up before they were through")]
    GivenUp {
        /// The module's id.
        module: String,
    },
    /// The manifest names a file that is not among the module's.
    #[error("module {module}: migration {version}: file `{file}` is missing")]
    MissingFile {
        /// The module's id.
        module: String,
        /// The migration.
        version: Version,
        /// The file, in the module's folder.
        file: String,
    },
    /// The file is no text of a bearable size.
    #[error("module {module}: migration {version}: file `{file}` {cause}")]
    BadFile {
        /// The module's id.
        module: String,
        /// The migration.
        version: Version,
        /// The file, in the module's folder.
        file: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A migration that was applied has other content now.
    #[error(
        "module {module}: migration {version}: file `{file}` has changed since it was applied; restore it and add a new migration instead"
    )]
    Changed {
        /// The module's id.
        module: String,
        /// The migration.
        version: Version,
        /// The file, in the module's folder.
        file: String,
    },
    /// A statement failed, was refused, or would not end in time.
    #[error("module {module}: migration {version}: {file}:{line}: {cause}")]
    Statement {
        /// The module's id.
        module: String,
        /// The migration.
        version: Version,
        /// The file; for a step back, which is kept in the database, `down`.
        file: String,
        /// The line at which the statement begins, from 1; 0 when the file as a whole is meant.
        line: usize,
        /// What SQLite or the rules of migrations said.
        cause: String,
        /// Whether it was the deadline.
        late: bool,
    },
    /// The migration cannot be taken back: it is declared irreversible or came without a down file. Nothing was changed.
    #[error(
        "module {module}: migration {version} is irreversible: the schema stays as it is; go forward with a new version"
    )]
    Irreversible {
        /// The module's id.
        module: String,
        /// The migration.
        version: Version,
    },
}
