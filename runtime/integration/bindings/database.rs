//! Databases of modules, for the engine: the file before the start, the schema before the traffic.

use std::sync::Arc;

use semver::Version;

use crate::actors::router::Endpoint;
use crate::engine::ports::{Binding, Migrator, PortError, Subject};
use crate::integration::database::Databases;
use crate::integration::migrations::Migrations;

/// Makes the database file of a module that declares one.
#[derive(Clone)]
pub struct DatabaseBinding {
    databases: Databases,
}

impl DatabaseBinding {
    /// Over the files of `databases`.
    #[must_use]
    pub const fn new(databases: Databases) -> Self {
        Self { databases }
    }
}

#[async_trait::async_trait]
impl Binding for DatabaseBinding {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn prepare(&self, subject: &Subject) -> Result<(), PortError> {
        if subject.manifest.database.is_none() {
            return Ok(());
        }
        let (databases, module) = (self.databases.clone(), Arc::clone(&subject.key.id));
        blocking(move || databases.create(&module)).await
    }

    async fn commit(&self, _: &Subject) -> Result<Vec<Endpoint>, PortError> {
        Ok(Vec::new())
    }

    /// Closes connections. The file and what it holds stay: other versions of the module use it.
    async fn undo(&self, subject: &Subject) -> Result<(), PortError> {
        if subject.manifest.database.is_none() {
            return Ok(());
        }
        let (databases, module) = (self.databases.clone(), Arc::clone(&subject.key.id));
        blocking(move || {
            databases.close(&module);
            Ok::<_, PortError>(())
        })
        .await
    }
}

/// Runs the migrations of modules.
#[derive(Clone)]
pub struct SchemaMigrator {
    migrations: Migrations,
}

impl SchemaMigrator {
    /// Over `migrations`.
    #[must_use]
    pub const fn new(migrations: Migrations) -> Self {
        Self { migrations }
    }
}

#[async_trait::async_trait]
impl Migrator for SchemaMigrator {
    async fn pending(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let (migrations, subject) = (self.migrations.clone(), subject.clone());
        blocking(move || migrations.pending(&subject.key.id, &subject.manifest, &subject.files)).await
    }

    async fn up(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let (migrations, subject) = (self.migrations.clone(), subject.clone());
        blocking(move || migrations.up(&subject.key.id, &subject.manifest, &subject.files)).await
    }

    async fn down(&self, subject: &Subject, versions: &[Version]) -> Result<(), PortError> {
        let (migrations, module) = (self.migrations.clone(), Arc::clone(&subject.key.id));
        let versions = versions.to_vec();
        blocking(move || migrations.down(&module, &versions)).await
    }
}

/// SQLite blocks, so it runs where blocking harms nobody.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, PortError>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(PortError::new),
        Err(error) => Err(PortError::new(format!("the database work did not end: {error}"))),
    }
}
