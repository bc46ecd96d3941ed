//! What all tests of a run share, and what is emptied between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use replug_scripts::{CallContext, Limits, Program, compile};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

use super::bounds::Bounds;
use super::gateway::Gateway;
use super::residence::TestResidence;
use super::services::StandIns;
#[cfg(feature = "sqlite")]
use super::services::TestDatabase;
use super::state::State;
use crate::engine::validate::sources;
use crate::kit::KitError;
use crate::manifest::{self, FILE_NAME, Manifest};
use crate::monitor::{Events, InstanceKey, Metrics};
use crate::registry::Bundle;
use crate::sandbox::permissions::{Clock, script_limits};
use crate::sandbox::ports::{Database, Usage};
use crate::sandbox::quota::ModuleAccounts;
use crate::sandbox::{Outside, PermissionManager, Supplies};
use crate::store::audit::{AuditLog, Who};
use crate::store::{KvStore, Store};

/// Wall-clock time that a call may take whatever the manifest says: processor time and ticks are its real limits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who calls the services of a module in its tests.
pub(super) const CALLER: &str = "test";

/// The module, compiled, over a temporary data directory.
pub(super) struct World {
    pub(super) manifest: Arc<Manifest>,
    pub(super) entry: String,
    pub(super) key: InstanceKey,
    pub(super) program: Arc<dyn Program>,
    pub(super) gateway: Gateway,
    pub(super) limits: Limits,
    pub(super) bounds: Bounds,
    files: BTreeMap<String, Bytes>,
    kv: KvStore,
    metrics: Metrics,
    permissions: PermissionManager,
    #[cfg(feature = "sqlite")]
    databases: crate::integration::database::Databases,
    background: Background,
    /// After all that is in it.
    dir: TempDir,
}

/// Where what a script waits for runs.
struct Background(Option<Runtime>);

impl Background {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// A permission manager that has granted whatever `manifest` asks for.
    fn granted(
        &self,
        manifest: &Manifest,
        store: &Store,
        audit: &Path,
        metrics: &Metrics,
    ) -> Result<PermissionManager, String> {
        let handle = self.handle();
        let grant = async {
            let audit = AuditLog::open(audit).map_err(|error| error.to_string())?;
            let usage: Arc<dyn Usage> = Arc::new(KvStore::new(store));
            let parts = (Arc::new(|| 0_u64) as Clock, metrics.clone(), usage);
            let manager = PermissionManager::start(store, audit, parts).map_err(|error| error.to_string())?;
            manager.grant_all_asked(manifest, Who::Host).await.map_err(|error| error.to_string())?;
            Ok(manager)
        };
        // on a thread of its own: this one may be another runtime's
        std::thread::scope(|scope| {
            let granting = scope.spawn(|| handle.block_on(grant)).join();
            granting.unwrap_or_else(|_| Err("the permissions could not be granted".to_owned()))
        })
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // waiting for its threads is forbidden where this may be dropped
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    /// Reads and compiles the module, and makes what its tests need.
    ///
    /// # Errors
    /// The manifest or a script has faults, or the temporary folder cannot be used.
    pub(super) fn open(bundle: &Bundle, bounds: Bounds) -> Result<Self, KitError> {
        let loaded = manifest::load(FILE_NAME, bundle.manifest())?;
        let faults = manifest::check_files(&loaded, &bundle.paths());
        if !faults.is_empty() {
            return Err(KitError::Manifest(manifest::Faults(faults)));
        }
        let manifest = Arc::new(loaded.manifest);
        let failed = |cause: String| KitError::World { module: manifest.label(), cause };
        let entry = manifest.entry(&bundle.paths()).ok_or_else(|| failed("it has no entry script".into()))?;
        let program = sources(entry.clone(), bundle.files()).and_then(|sources| compile(&sources));
        let dir = TempDir::new().map_err(|error| failed(error.to_string()))?;
        let store = Store::open(&dir.path().join("store")).map_err(|error| failed(error.to_string()))?;
        // whatever the manifest asks for is granted, its stack too
        let limits = script_limits(&manifest, &manifest.permissions.resources);
        let limits = Limits { wall_time: limits.wall_time.max(PATIENCE), ..limits };
        #[cfg(feature = "sqlite")]
        let databases = crate::integration::database::Databases::open(dir.path().join("databases"))
            .map_err(|error| failed(error.to_string()))?;
        let background = Background::start().map_err(|error| failed(error.to_string()))?;
        let metrics = Metrics::default();
        let permissions = background.granted(&manifest, &store, &dir.path().join("audit"), &metrics).map_err(failed)?;
        Ok(Self {
            gateway: Gateway::new(&manifest).map_err(failed)?,
            key: InstanceKey {
                id: manifest.id.as_str().into(),
                version: manifest.version.to_string().into(),
                generation: 1,
            },
            program: program.map_err(KitError::Scripts)?,
            files: bundle.files().clone(),
            kv: KvStore::new(&store),
            metrics,
            permissions,
            #[cfg(feature = "sqlite")]
            databases,
            entry,
            manifest,
            limits,
            bounds,
            background,
            dir,
        })
    }

    /// Forgets what tests have stored, and applies the migrations to a new database.
    ///
    /// # Errors
    /// Why that is not possible: mostly a migration that fails.
    pub(super) fn renew(&self) -> Result<(), String> {
        self.kv.clear(&self.key.id).map_err(|error| error.to_string())?;
        match std::fs::remove_dir_all(self.dir.path().join("files")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
            _ => {}
        }
        #[cfg(feature = "sqlite")]
        {
            use crate::integration::migrations::Migrations;
            self.databases.drop_file(&self.key.id).map_err(|error| error.to_string())?;
            let migrations = Migrations::new(self.databases.clone());
            migrations.up(&self.key.id, &self.manifest, &self.files).map_err(|error| error.to_string())?;
            // a module that may reach the databases of its callers is called by one that has an empty one
            let reaches = self.manifest.permissions.system.database.iter().any(|asked| asked.module == "caller");
            if reaches && *self.key.id != *CALLER {
                self.databases.drop_file(CALLER).map_err(|error| error.to_string())?;
                self.databases.create(CALLER).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// What the guard needs, for one test.
    pub(super) fn supplies(&self, state: &Arc<State>) -> Supplies {
        Supplies {
            kv: self.kv.clone(),
            database: self.database(state),
            services: Arc::new(StandIns(Arc::clone(state))),
            application: Arc::new(StandIns(Arc::clone(state))),
            residents: Arc::new(TestResidence(Arc::clone(state))),
            permissions: self.permissions.clone(),
            outside: Outside::new(self.dir.path().join("files"), self.background.handle()),
            metrics: self.metrics.clone(),
            accounts: ModuleAccounts::default(),
            events: Events::default(),
            aborts: crate::monitor::Aborts::default(),
            runtime: self.background.handle(),
        }
    }

    #[cfg(feature = "sqlite")]
    fn database(&self, state: &Arc<State>) -> Option<Arc<dyn Database>> {
        Some(Arc::new(TestDatabase(self.databases.clone(), Arc::clone(state))))
    }

    #[cfg(not(feature = "sqlite"))]
    fn database(&self, _: &Arc<State>) -> Option<Arc<dyn Database>> {
        None
    }

    /// The context of a call of the module, which has the time that calls have but ends with its test.
    pub(super) fn call_within(&self, end: Instant) -> CallContext {
        self.context(end.min(Instant::now() + self.limits.wall_time))
    }

    /// The context of a call that ends by `deadline`.
    pub(super) fn context(&self, deadline: Instant) -> CallContext {
        CallContext {
            module: Arc::clone(&self.key.id),
            version: Arc::clone(&self.key.version),
            request_id: "test".into(),
            caller: None,
            deadline,
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        }
    }
}
