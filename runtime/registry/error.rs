//! What can go wrong in the registry.

use std::path::PathBuf;

use semver::Version;

use super::interfaces::Contradiction;
use super::resolver::Unresolved;
use super::versions::list;
use crate::manifest::Faults;
use crate::store::StoreError;
use crate::store::audit::AuditError;

/// A failure of the registry. Unless a variant says otherwise nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The manifest has faults, or the module's files do not fit it; each names its place.
    #[error(transparent)]
    Manifest(#[from] Faults),
    /// The folder or archive holds something that a bundle cannot.
    #[error("bundle: `{path}` {reason}")]
    Refused {
        /// The path in the bundle; of an archive, as far as it can be shown.
        path: String,
        /// Why it is refused, and what helps.
        reason: String,
    },
    /// The folder or archive as a whole is no bundle.
    #[error("bundle: {reason}")]
    NoBundle {
        /// Why, and what helps.
        reason: String,
    },
    /// Files could not be read or written.
    #[error("{}: {action} failed: {cause}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, such as `reading`.
        action: &'static str,
        /// What the system said.
        cause: String,
    },
    /// A stored bundle is not what was registered.
    #[error(
        "bundle {expected}: its files changed on the disk (they now hash to {found}); register the module's folder again"
    )]
    Corrupt {
        /// The digest that was registered.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// The version is known with other content. A version never changes.
    #[error(
        "{id}@{version} is already registered with other content: registered {registered}, offered {offered}; \
         raise `version` in the manifest"
    )]
    ContentDiffers {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
        /// Digest of the registered files.
        registered: String,
        /// Digest of the offered ones.
        offered: String,
    },
    /// It and another version of the module promise the same of a capability, and the newer one keeps it not.
    #[error(transparent)]
    BreakingChange(Box<Contradiction>),
    /// The version is known, but its record cannot be read.
    #[error("{id}@{version} is registered, but cannot be used: {cause}; unregister it first")]
    Unreadable {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
        /// Why its record cannot be read.
        cause: String,
    },
    /// No such module or version.
    #[error("{wanted} is not registered; {}", known(id, registered))]
    NotRegistered {
        /// What was asked for: an id, `id@version` or `id@range`.
        wanted: String,
        /// The module.
        id: String,
        /// The versions of it that are registered.
        registered: Vec<Version>,
    },
    /// No versions go together around what is wanted.
    #[error(transparent)]
    Unresolved(#[from] Box<Unresolved>),
    /// A reference such as `ID@VERSION` cannot be read.
    #[error("`{text}` {reason}")]
    Reference {
        /// The text.
        text: String,
        /// What is wrong with it, and the form it should have.
        reason: String,
    },
    /// The store failed; for a write, what [`StoreError`] says of it holds.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log failed; what it cannot record is not done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The registry was stopped.
    #[error("registry: stopped")]
    Stopped,
    /// A contradiction inside the registry; the request may have been carried out in part.
    #[error("registry: internal error: {cause}")]
    Internal {
        /// What happened.
        cause: String,
    },
}

fn known(id: &str, versions: &[Version]) -> String {
    match versions {
        [] => format!("no version of `{id}` is, register it first"),
        versions => format!("registered of `{id}`: {}", list(versions)),
    }
}
