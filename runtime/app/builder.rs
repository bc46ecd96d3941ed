//! How a runtime is told what it needs, and how its parts are put together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::{Mutex, OnceLock};

use ractor::Actor;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Runtime;
use super::backup::{Backups, Sources};
use super::data::{self, Opened};
use super::ending::Ending;
use super::notify::{self, Notifier, Post};
use super::readiness::Readiness;
use super::snapshots::Snapshots;
use super::supervisor::Leash;
use super::upkeep::{self, Upkeep};
use crate::actors::{ModulesSupervisor, Router};
use crate::engine::{Engine, Parts, ports::Binding, ports::Migrator};
use crate::error::Error;
use crate::integration::host::{HostService, HostServices};
use crate::integration::{ApiBinding, Authenticator, ServiceCalls};
use crate::monitor::{Aborts, Events, Metrics};
use crate::registry::Registry;
use crate::sandbox::permissions::Clock;
use crate::sandbox::ports::{Database, Usage};
use crate::sandbox::quota::ModuleAccounts;
use crate::sandbox::quota::storage::StorageLedger;
use crate::sandbox::tracker::ResourceTracker;
use crate::sandbox::{Outside, PermissionManager, Supplies};
use crate::store::KvStore;

/// How a [`Runtime`] is made.
#[derive(Clone)]
#[must_use = "a runtime starts when it is built"]
pub struct Builder {
    data: PathBuf,
    seeds: Vec<PathBuf>,
    services: Vec<(String, Arc<dyn HostService>)>,
    grants_all: bool,
}

impl Runtime {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder { data: PathBuf::from(".replug"), seeds: Vec::new(), services: Vec::new(), grants_all: false }
    }
}

impl Builder {
    /// Where everything is kept; created if it is missing. Default: `.replug`.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data = dir.into();
        self
    }

    /// A folder of module folders, or a module's folder: they are registered at the start, and activated unless the data
    /// says something else of them. May be given several times.
    pub fn modules(mut self, dir: impl Into<PathBuf>) -> Self {
        self.seeds.push(dir.into());
        self
    }

    /// Offers a Rust service to every module under the name of a capability: a script calls it with
    /// `services.call("NAME.METHOD", args)`. Modules that require the capability find it met; one that offers the
    /// same is refused when it is activated. [`HostService::only_for`] narrows who may call. The name is checked by
    /// [`Builder::build`].
    pub fn service(mut self, name: impl Into<String>, service: impl HostService) -> Self {
        self.services.push((name.into(), Arc::new(service)));
        self
    }

    /// Grants whatever a manifest asks for when a version of it is activated. For tests and development: a module that is
    /// given to this runtime may then reach whatever it names. The grants are decisions like any other, by `host` in the
    /// audit log, and hold on in the data directory when a later runtime does without this.
    pub fn grant_whatever_manifests_ask(mut self) -> Self {
        self.grants_all = true;
        self
    }

    /// Starts the runtime, what served before, and the modules of the folders; returns when that has ended.
    ///
    /// # Errors
    /// The data directory cannot be used, another runtime uses it, or a service cannot be offered under its name. A
    /// module that does not start is no error: it is an alarm, and [`Runtime::troubles`] has it; the rest serves.
    pub async fn build(self) -> Result<Runtime, Error> {
        let runtime = self.open().await?;
        runtime.begin().await;
        runtime.readiness.started();
        Ok(runtime)
    }

    /// Everything but the modules.
    pub(super) async fn open(self) -> Result<Runtime, Error> {
        self.open_with(|integrations| integrations).await
    }

    /// The same with what `around` makes of the integrations.
    pub(super) async fn open_with(self, around: impl FnOnce(Integrations) -> Integrations) -> Result<Runtime, Error> {
        let Self { data, seeds, services, grants_all } = self;
        let hosts = HostServices::new(services)?;
        #[cfg(feature = "rhai")]
        if !replug_scripts::counts_rhai_memory() {
            tracing::warn!(
                "jemalloc is not the allocator: the memory of Rhai scripts is bounded by caps and an estimate"
            );
        }
        let (events, metrics) = (Events::default(), Metrics::default());
        let Opened { store, chronicle, troubles } = data::open(&data, &events).await?;
        let (sender, broken) = watch::channel(None);
        let supervisor = Leash::start(events.clone(), sender).await.map_err(Error::Broken)?;
        let (hosted, cell, stops) = (Arc::new(hosts.capabilities()), supervisor.cell(), supervisor.stops());
        let registry =
            Registry::start(store.clone(), chronicle.log(), &data, Arc::new(upkeep::now), hosted, Some(cell.clone()))
                .await?;
        let (modules, _) =
            ModulesSupervisor::spawn_linked(None, ModulesSupervisor { events: events.clone() }, (), cell.clone())
                .await
                .map_err(|error| Error::Broken(error.to_string()))?;
        let router = Arc::new(Router::default());
        let authenticator = Authenticator::new(Arc::clone(&router));
        let aborts = data::aborts(&data)?;
        let Integrations {
            bindings,
            migrator,
            database,
            #[cfg(feature = "sqlite")]
            databases,
        } = around(integrations(&data, &aborts)?);
        let backups = Backups::new(Sources {
            data: data.clone(),
            store: store.clone(),
            audit: chronicle.log(),
            registry: registry.clone(),
            #[cfg(feature = "sqlite")]
            databases,
        });
        let services = Arc::new(ServiceCalls::new(Arc::clone(&router), hosts, authenticator.clone()));
        let kv = KvStore::new(&store);
        let (outside, accounts) = (Outside::new(data.join("files"), Handle::current()), ModuleAccounts::default());
        #[cfg(feature = "http-client")]
        let network = outside.network.clone();
        let (files, kept) = (outside.files.clone(), outside.accounts.clone());
        let ledger = StorageLedger::new(kv.clone(), files, database.clone(), metrics.clone(), kept);
        let tracker = ResourceTracker::new(accounts.clone(), ledger, metrics.clone());
        let parts = (Arc::new(upkeep::now) as Clock, metrics.clone(), Arc::new(tracker.clone()) as Arc<dyn Usage>);
        let permissions = PermissionManager::start(&store, chronicle.log(), parts)?;
        keep_known(&permissions, &registry).await?;
        if grants_all {
            permissions.grant_whatever_is_asked();
        }
        let parts = Parts {
            registry: registry.clone(),
            store: store.clone(),
            audit: chronicle.log(),
            router: Arc::clone(&router),
            events: events.clone(),
            metrics: metrics.clone(),
            bindings,
            migrator,
            supplies: Supplies {
                kv: kv.clone(),
                database,
                application: Arc::clone(&services) as _,
                services,
                permissions: permissions.clone(),
                residents: router.residents(events.clone(), metrics.clone(), Handle::current()),
                outside,
                metrics: metrics.clone(),
                accounts,
                events: events.clone(),
                aborts,
                runtime: Handle::current(),
            },
            modules: modules.clone(),
            #[cfg(test)]
            probe: Arc::default(),
        };
        // what recovery takes back is told as well
        let heard = events.subscribe();
        let engine = Engine::start(parts, cell).await?;
        let (ended, has_ended) = watch::channel(false);
        let (store_fault, audit_fault) = (store.fault(), chronicle.log().fault());
        let mut upkeep = Upkeep::default();
        upkeep.sweep(kv);
        upkeep.flush(permissions.clone());
        let notifier = Notifier {
            registry: registry.clone(),
            engine: engine.clone(),
            events: events.clone(),
            #[cfg(feature = "http-client")]
            post: Post { permissions: permissions.clone(), metrics: metrics.clone(), network },
            #[cfg(not(feature = "http-client"))]
            post: Post,
            secret: notify::secret(&data),
        };
        upkeep.notify(notifier, heard);
        upkeep.measure(tracker.clone(), permissions.clone());
        for (part, fault) in [("store", &store_fault), ("audit log", &audit_fault)] {
            upkeep.watch(part, fault.clone(), events.clone(), metrics.clone());
        }
        let snapshots = Snapshots::start(&data, &store, &chronicle.log(), &events);
        let ending = Ending {
            snapshots,
            engine: engine.clone(),
            registry: registry.clone(),
            modules,
            store,
            permissions,
            chronicle,
            supervisor,
            upkeep,
            ended,
            tokio: Handle::current(),
        };
        Ok(Runtime {
            data,
            seeds,
            registry,
            engine,
            router,
            #[cfg(feature = "http")]
            authenticator,
            events,
            metrics,
            tracker,
            backups,
            broken,
            stops,
            readiness: Readiness::new(
                #[cfg(feature = "cli")]
                [store_fault, audit_fault],
            ),
            troubles: Mutex::new(troubles),
            ending: Mutex::new(Some(ending)),
            end: OnceLock::new(),
            ended: has_ended,
        })
    }
}

/// Forgets the decisions about modules that are gone.
async fn keep_known(permissions: &PermissionManager, registry: &Registry) -> Result<(), Error> {
    let snapshot = registry.snapshot();
    let is_known = |id: &str| snapshot.modules.contains_key(id) || snapshot.problems.iter().any(|it| it.id == id);
    Ok(permissions.keep_only(is_known).await?)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<&str> = self.services.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("Builder");
        shown.field("data", &self.data).field("modules", &self.seeds).field("services", &services).finish()
    }
}

/// What modules are connected with.
pub(super) struct Integrations {
    pub(super) bindings: Vec<Arc<dyn Binding>>,
    pub(super) migrator: Option<Arc<dyn Migrator>>,
    pub(super) database: Option<Arc<dyn Database>>,
    #[cfg(feature = "sqlite")]
    pub(super) databases: crate::integration::database::Databases,
}

#[cfg(feature = "sqlite")]
fn integrations(data: &Path, aborts: &Aborts) -> Result<Integrations, Error> {
    use crate::integration::database::Databases;
    use crate::integration::migrations::Migrations;
    use crate::integration::{DatabaseBinding, SchemaMigrator};

    let dir = data.join("databases");
    let databases = Databases::open(dir.clone()).map_err(|error| Error::Directory {
        path: dir,
        action: "opening",
        cause: error.to_string(),
    })?;
    let migrations = Migrations::new(databases.clone());
    Ok(Integrations {
        bindings: vec![Arc::new(DatabaseBinding::new(databases.clone(), aborts.clone())), Arc::new(ApiBinding)],
        migrator: Some(Arc::new(SchemaMigrator::new(migrations, aborts.clone()))),
        database: Some(Arc::new(databases.clone())),
        databases,
    })
}

#[cfg(not(feature = "sqlite"))]
fn integrations(_: &Path, _: &Aborts) -> Result<Integrations, Error> {
    Ok(Integrations { bindings: vec![Arc::new(ApiBinding)], migrator: None, database: None })
}
