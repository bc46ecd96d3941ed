//! What the engine drives without knowing what it is: integrations and migrations.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use replug_scripts::Exports;
use semver::Version;

use crate::actors::routes::Endpoint;
use crate::manifest::Manifest;
use crate::monitor::InstanceKey;

/// What a port is asked about.
#[derive(Clone)]
pub struct Subject {
    /// Which instance.
    pub key: InstanceKey,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// The bundle's files, by path.
    pub files: Arc<BTreeMap<String, Bytes>>,
    /// What its script exports; empty until it is loaded.
    pub exports: Exports,
}

/// A port failed; the message names the thing, the cause and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

impl PortError {
    /// An error of these words.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self(message.to_string())
    }
}

/// One kind of integration: APIs, pages, databases. A new kind is one new implementation.
///
/// Every call may come again for the same subject after a failure and must then do no harm.
#[async_trait::async_trait]
pub trait Binding: Send + Sync {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Acquires what the instance will need. Nothing is visible to requests.
    ///
    /// # Errors
    /// It cannot be had; the activation is undone.
    async fn prepare(&self, subject: &Subject) -> Result<(), PortError>;

    /// Checks the loaded script against the manifest and says what it serves. It becomes visible when the engine routes
    /// to the instance, all at once.
    ///
    /// # Errors
    /// Manifest and script do not agree; the activation is undone.
    async fn commit(&self, subject: &Subject) -> Result<Vec<Endpoint>, PortError>;

    /// Lets go of what [`Binding::prepare`] acquired for this instance.
    ///
    /// # Errors
    /// Something is left over.
    async fn undo(&self, subject: &Subject) -> Result<(), PortError>;

    /// Closes the connections that the instance holds; what it still does opens new ones. By default there are none.
    ///
    /// # Errors
    /// They could not be closed.
    async fn close_connections(&self, _: &Subject) -> Result<(), PortError> {
        Ok(())
    }
}

/// The schema of modules' databases.
#[async_trait::async_trait]
pub trait Migrator: Send + Sync {
    /// The migrations of the manifest that are not applied yet, in order.
    ///
    /// # Errors
    /// The database cannot be read, or an applied migration's file was changed.
    async fn pending(&self, subject: &Subject) -> Result<Vec<Version>, PortError>;

    /// Applies what is pending and says what that was, also when a later one failed.
    ///
    /// # Errors
    /// A migration failed; those before it stay applied.
    async fn up(&self, subject: &Subject) -> Result<Vec<Version>, PortError>;

    /// Takes back those of `versions` that are applied, last first.
    ///
    /// # Errors
    /// One is irreversible or its down file fails.
    async fn down(&self, subject: &Subject, versions: &[Version]) -> Result<(), PortError>;
}
