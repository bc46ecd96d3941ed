//! How a runtime is told what it needs, and how its parts are put together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::{Mutex, OnceLock};

use ractor::Actor;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ending::Ending;
use super::readiness::Readiness;
use super::supervisor::Leash;
use super::upkeep::{self, Upkeep};
use super::{Runtime, data};
use crate::actors::{ModulesSupervisor, Router};
use crate::engine::{Engine, Parts, ports::Binding, ports::Migrator};
use crate::error::Error;
use crate::integration::host::{HostService, HostServices};
use crate::integration::{ApiBinding, Authenticator, ServiceCalls};
use crate::monitor::{Events, Metrics};
use crate::registry::Registry;
use crate::sandbox::ports::Database;
use crate::sandbox::quota::ModuleAccounts;
use crate::sandbox::{Outside, Supplies};
use crate::store::KvStore;

/// How a [`Runtime`] is made.
#[derive(Clone)]
#[must_use = "a runtime starts when it is built"]
pub struct Builder {
    data: PathBuf,
    seeds: Vec<PathBuf>,
    services: Vec<(String, Arc<dyn HostService>)>,
}

impl Runtime {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder { data: PathBuf::from(".replug"), seeds: Vec::new(), services: Vec::new() }
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
        let Self { data, seeds, services } = self;
        let hosts = HostServices::new(services)?;
        #[cfg(feature = "rhai")]
        if !replug_scripts::counts_rhai_memory() {
            tracing::warn!(
                "jemalloc is not the allocator: the memory of Rhai scripts is bounded by caps and an estimate"
            );
        }
        let (events, metrics) = (Events::default(), Metrics::default());
        let (store, chronicle) = data::open(&data, &events).await?;
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
        let Integrations { bindings, migrator, database } = integrations(&data)?;
        let services = ServiceCalls::new(Arc::clone(&router), hosts, authenticator.clone());
        let kv = KvStore::new(&store);
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
                services: Arc::new(services),
                residents: router.residents(events.clone(), metrics.clone(), Handle::current()),
                outside: Outside::new(data.join("files"), Handle::current()),
                metrics: metrics.clone(),
                accounts: ModuleAccounts::default(),
                events: events.clone(),
                runtime: Handle::current(),
            },
            modules: modules.clone(),
        };
        let engine = Engine::start(parts, cell).await?;
        let (ended, has_ended) = watch::channel(false);
        let (store_fault, audit_fault) = (store.fault(), chronicle.log().fault());
        let mut upkeep = Upkeep::default();
        upkeep.sweep(kv);
        for (part, fault) in [("store", &store_fault), ("audit log", &audit_fault)] {
            upkeep.watch(part, fault.clone(), events.clone(), metrics.clone());
        }
        let ending = Ending {
            engine: engine.clone(),
            registry: registry.clone(),
            modules,
            store,
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
            broken,
            stops,
            readiness: Readiness::new(
                #[cfg(feature = "cli")]
                [store_fault, audit_fault],
            ),
            troubles: Mutex::default(),
            ending: Mutex::new(Some(ending)),
            end: OnceLock::new(),
            ended: has_ended,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<&str> = self.services.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("Builder");
        shown.field("data", &self.data).field("modules", &self.seeds).field("services", &services).finish()
    }
}

struct Integrations {
    bindings: Vec<Arc<dyn Binding>>,
    migrator: Option<Arc<dyn Migrator>>,
    database: Option<Arc<dyn Database>>,
}

#[cfg(feature = "sqlite")]
fn integrations(data: &Path) -> Result<Integrations, Error> {
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
        bindings: vec![Arc::new(DatabaseBinding::new(databases.clone())), Arc::new(ApiBinding)],
        migrator: Some(Arc::new(SchemaMigrator::new(migrations))),
        database: Some(Arc::new(databases)),
    })
}

#[cfg(not(feature = "sqlite"))]
fn integrations(_: &Path) -> Result<Integrations, Error> {
    Ok(Integrations { bindings: vec![Arc::new(ApiBinding)], migrator: None, database: None })
}
