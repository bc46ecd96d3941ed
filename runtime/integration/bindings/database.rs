//! Databases of modules, for the engine: the file before the start, the schema before the traffic.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use semver::Version;

use crate::actors::router::Endpoint;
use crate::engine::ports::{Binding, Migrator, PortError, Subject};
use crate::integration::database::Databases;
use crate::integration::migrations::Migrations;
use crate::monitor::{Aborts, InstanceKey};

/// Makes the database file of a module that declares one. It stays as long as something is in it; one in which nothing was made
/// goes with the last version that needs it.
#[derive(Clone)]
pub struct DatabaseBinding {
    databases: Databases,
    files: Arc<Mutex<HashMap<Arc<str>, File>>>,
    aborts: Aborts,
}

/// The file of one module.
#[derive(Default)]
struct File {
    /// The instances that need it.
    holders: HashSet<InstanceKey>,
    /// Held by whoever makes or removes it, which takes a while.
    turn: Arc<Mutex<()>>,
}

impl DatabaseBinding {
    /// Over the files of `databases`; should one bring the process down, `aborts` has the version that it is opened for.
    #[must_use]
    pub fn new(databases: Databases, aborts: Aborts) -> Self {
        Self { databases, files: Arc::default(), aborts }
    }

    /// Does `work` on the file for a version where blocking harms nobody. What a script made in it is read as soon as it is opened.
    async fn working<T, E>(
        &self,
        subject: &Subject,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, PortError>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let (aborts, label) = (self.aborts.clone(), subject.manifest.label());
        blocking(move || aborts.during(&label, work)).await
    }

    /// Changes who needs the file of a module, and gives the turn of who works on it.
    fn held<T>(&self, module: &Arc<str>, change: impl FnOnce(&mut HashSet<InstanceKey>) -> T) -> (T, Arc<Mutex<()>>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(Arc::clone(module)).or_default();
        (change(&mut file.holders), Arc::clone(&file.turn))
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
        let (of, key) = (self.clone(), subject.key.clone());
        let (_, turn) = of.held(&key.id, |holders| holders.insert(key.clone()));
        self.working(subject, move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            // it may begin late, when whoever waited for it has given up
            let (is_needed, _) = of.held(&key.id, |holders| holders.contains(&key));
            if is_needed { of.databases.create(&key.id) } else { Ok(()) }
        })
        .await
    }

    async fn commit(&self, _: &Subject) -> Result<Vec<Endpoint>, PortError> {
        Ok(Vec::new())
    }

    /// Closes connections. The file and what it holds stay: other versions of the module use it, or will.
    async fn undo(&self, subject: &Subject) -> Result<(), PortError> {
        if subject.manifest.database.is_none() {
            return Ok(());
        }
        let (of, key) = (self.clone(), subject.key.clone());
        let (_, turn) = of.held(&key.id, |holders| holders.remove(&key));
        self.working(subject, move || {
            of.databases.close(&key.id);
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let (is_needed, _) = of.held(&key.id, |holders| !holders.is_empty());
            if is_needed { Ok(()) } else { of.databases.drop_empty(&key.id) }
        })
        .await
    }

    async fn close_connections(&self, subject: &Subject) -> Result<(), PortError> {
        if subject.manifest.database.is_none() {
            return Ok(());
        }
        let (databases, module) = (self.databases.clone(), Arc::clone(&subject.key.id));
        self.working(subject, move || {
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
    aborts: Aborts,
}

impl SchemaMigrator {
    /// Over `migrations`; should one bring the process down, `aborts` has the version whose it is.
    #[must_use]
    pub const fn new(migrations: Migrations, aborts: Aborts) -> Self {
        Self { migrations, aborts }
    }

    /// Does `work` of a version where blocking harms nobody, as long as somebody waits for it.
    async fn migrating<T, E>(
        &self,
        subject: &Subject,
        work: impl FnOnce(&Migrations) -> Result<T, E> + Send + 'static,
    ) -> Result<T, PortError>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let given_up = Arc::<AtomicBool>::default();
        let _waits = Waits(Arc::clone(&given_up));
        let (Self { migrations, aborts }, label) = (self.clone(), subject.manifest.label());
        let migrations = migrations.unless(given_up);
        blocking(move || aborts.during(&label, || work(&migrations))).await
    }
}

#[async_trait::async_trait]
impl Migrator for SchemaMigrator {
    async fn pending(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let of = subject.clone();
        self.migrating(subject, move |migrations| migrations.pending(&of.key.id, &of.manifest, &of.files)).await
    }

    async fn up(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let of = subject.clone();
        self.migrating(subject, move |migrations| migrations.up(&of.key.id, &of.manifest, &of.files)).await
    }

    async fn down(&self, subject: &Subject, versions: &[Version]) -> Result<(), PortError> {
        let (module, versions) = (Arc::clone(&subject.key.id), versions.to_vec());
        self.migrating(subject, move |migrations| migrations.down(&module, &versions)).await
    }
}

/// Set once nobody waits any more.
struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::integration::bindings::tests::subject;
    use crate::monitor::aborts::executes;

    #[tokio::test]
    async fn the_thread_of_a_migration_or_on_its_file_is_named_by_the_version() {
        let dir = tempfile::tempdir().expect("a directory");
        let databases = Databases::open(dir.path().join("databases")).expect("a directory");
        let aborts = Aborts::open(&dir.path().join("aborts")).expect("a file");
        let binding = DatabaseBinding::new(databases.clone(), aborts.clone());
        let migrator = SchemaMigrator::new(Migrations::new(databases), aborts);
        let of = subject("id: notes\nversion: 1.0.0\ndatabase: {}", &[], &[]);
        let named = migrator.migrating(&of, |_| Ok::<_, PortError>(executes())).await.expect("it ends");
        assert_eq!(named.as_deref(), Some("notes@1.0.0"));
        let named = binding.working(&of, || Ok::<_, PortError>(executes())).await.expect("it ends");
        assert_eq!(named.as_deref(), Some("notes@1.0.0"));
    }
}
