//! The composition root: puts the folders together into a [`Runtime`].

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ractor::{Actor, ActorRef};
use replug_scripts::{CallContext, Handler, Value};
use tokio::sync::{broadcast, watch};

use crate::actors::modules::ModulesMsg;
use crate::actors::router::BUCKETS;
use crate::actors::{CallError, Instance, ModulesSupervisor, Router};
use crate::engine::{ActivationReport, Engine, Parts, ports::Binding, ports::Migrator};
use crate::error::Error;
use crate::integration::{ApiBinding, Authenticator, ServiceCalls, chance};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Event, Events, Metrics};
use crate::registry::versions::ModuleRef;
use crate::registry::{Bundle, Registration, Registry};
use crate::sandbox::Supplies;
use crate::sandbox::ports::Database;
use crate::store::audit::{AuditLog, Who};
use crate::store::{KvStore, Store};
use audit::Chronicle;
use supervisor::RuntimeSupervisor;

mod audit;
mod data;
#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
mod greeting;
#[cfg(feature = "cli")]
mod listen;
mod seed;
#[cfg(feature = "cli")]
pub mod serve;
mod supervisor;

/// How often expired entries of modules' stores are looked for, and how many are looked at each time.
const SWEEP: (Duration, usize) = (Duration::from_secs(5), 512);

/// How long a call from the host application may take.
const CALL: Duration = Duration::from_secs(10);

/// A running Replug: modules, their coordinators, and what they are kept in. Several may live in one process, each on a
/// data directory of its own.
pub struct Runtime {
    data: PathBuf,
    seeds: Vec<PathBuf>,
    store: Store,
    registry: Registry,
    engine: Engine,
    router: Arc<Router>,
    #[cfg(feature = "http")]
    authenticator: Authenticator,
    events: Events,
    metrics: Metrics,
    supervisor: ActorRef<()>,
    modules: ActorRef<ModulesMsg>,
    broken: watch::Receiver<Option<String>>,
    ready: Arc<AtomicBool>,
    /// What of the folders was not registered or does not start.
    troubles: Mutex<Vec<String>>,
    sweeper: tokio::task::JoinHandle<()>,
    chronicle: Chronicle,
}

/// How a [`Runtime`] is made.
#[derive(Clone, Debug)]
pub struct Builder {
    data: PathBuf,
    seeds: Vec<PathBuf>,
}

impl Builder {
    /// Where everything is kept; created if it is missing. Default: `.replug`.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data = dir.into();
        self
    }

    /// A folder of module folders, or a module's folder: they are registered at the start, and activated unless the data
    /// says something else of them. May be given several times.
    #[must_use]
    pub fn modules(mut self, dir: impl Into<PathBuf>) -> Self {
        self.seeds.push(dir.into());
        self
    }

    /// Starts the runtime, what served before, and the modules of the folders; returns when that has ended.
    ///
    /// # Errors
    /// The data directory cannot be used, or another runtime uses it. A module that does not start is no error: it is an
    /// alarm, and the rest serves.
    pub async fn build(self) -> Result<Runtime, Error> {
        let runtime = self.open().await?;
        runtime.begin().await;
        runtime.set_ready();
        Ok(runtime)
    }

    /// Everything but the modules.
    async fn open(self) -> Result<Runtime, Error> {
        let Self { data, seeds } = self;
        #[cfg(feature = "rhai")]
        if !replug_scripts::counts_rhai_memory() {
            tracing::warn!(
                "jemalloc is not the allocator: the memory of Rhai scripts is bounded by caps and an estimate"
            );
        }
        let (events, metrics) = (Events::default(), Metrics::default());
        let (store, chronicle) = data::open(&data, &events).await?;
        let (sender, broken) = watch::channel(None);
        let (supervisor, _) =
            RuntimeSupervisor::spawn(None, RuntimeSupervisor { events: events.clone(), broken: sender }, ())
                .await
                .map_err(|error| Error::Broken(error.to_string()))?;
        let registry =
            Registry::start(store.clone(), chronicle.log(), &data, Arc::new(now), Some(supervisor.get_cell())).await?;
        let (modules, _) = ModulesSupervisor::spawn_linked(
            None,
            ModulesSupervisor { events: events.clone() },
            (),
            supervisor.get_cell(),
        )
        .await
        .map_err(|error| Error::Broken(error.to_string()))?;
        let router = Arc::new(Router::default());
        let authenticator = Authenticator::new(Arc::clone(&router));
        let Integrations { bindings, migrator, database } = integrations(&data)?;
        let services = ServiceCalls::new(Arc::clone(&router), authenticator.clone(), tokio::runtime::Handle::current());
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
            supplies: Supplies { kv: kv.clone(), database, services: Arc::new(services), metrics: metrics.clone() },
            modules: modules.clone(),
        };
        let engine = Engine::start(parts, supervisor.get_cell()).await?;
        let sweeper = tokio::spawn(sweep(kv));
        let ready = Arc::new(AtomicBool::new(false));
        Ok(Runtime {
            data,
            seeds,
            store,
            registry,
            engine,
            router,
            #[cfg(feature = "http")]
            authenticator,
            events,
            metrics,
            supervisor,
            modules,
            broken,
            ready,
            troubles: Mutex::default(),
            sweeper,
            chronicle,
        })
    }
}

impl Runtime {
    /// A builder with the defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { data: PathBuf::from(".replug"), seeds: Vec::new() }
    }

    /// Starts what served before, then the modules of the folders.
    async fn begin(&self) {
        self.engine.resume().await;
        self.seed().await;
    }

    fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The registry.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The metrics, in Prometheus' form by [`Metrics::render`].
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The audit log: what was done, by whom and when.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        self.engine.audit()
    }

    /// The instance of a module that serves now; while its traffic shifts, the one that is to be replaced.
    #[must_use]
    pub fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        self.router.load().instance(id, BUCKETS - 1).cloned()
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The gateway, to serve or to mount in the host's own application.
    #[cfg(feature = "http")]
    pub fn router(&self) -> axum::Router {
        crate::integration::Gateway::new(Arc::clone(&self.router), self.authenticator.clone()).into_router()
    }

    /// Registers the module in a folder.
    ///
    /// # Errors
    /// The folder cannot be read, or the registry refuses it.
    pub async fn register(&self, path: impl Into<PathBuf>) -> Result<Registration, Error> {
        self.register_by(Who::Host, path.into()).await
    }

    async fn register_by(&self, who: Who, path: PathBuf) -> Result<Registration, Error> {
        let read = tokio::task::spawn_blocking(move || Bundle::read_dir(&path)).await;
        let bundle = read.map_err(|error| Error::Broken(error.to_string()))??;
        let done = self.registry.register_by(who, bundle).await?;
        if done.fresh {
            let manifest = &done.definition.manifest;
            self.events.emit(Event::Registered {
                id: manifest.id.clone(),
                version: manifest.version.to_string(),
                digest: done.definition.digest.clone(),
            });
        }
        Ok(done)
    }

    /// Activates `ID@VERSION`, or the newest version of `ID`, by its manifest's strategy or by `strategy`.
    ///
    /// # Errors
    /// No such version, or the engine refuses.
    pub async fn activate(
        &self,
        module: &str,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, Error> {
        let wanted = ModuleRef::from_str(module)?;
        let definition = Arc::clone(self.registry.snapshot().resolve(&wanted)?);
        let manifest = &definition.manifest;
        Ok(self.engine.by(Who::Host).activate(&manifest.id, &manifest.version, strategy).await?)
    }

    /// Calls `method` of the module that provides `capability` and serves.
    ///
    /// # Errors
    /// No module provides it, it failed, or it took longer than 10 s.
    pub async fn call(&self, capability: &str, method: &str, args: Value) -> Result<Value, Error> {
        let service = format!("{capability}.{method}");
        let failed = |cause: String| Error::Service { service: service.clone(), cause };
        let Some(module) = self.router.load().providers(capability).first().cloned() else {
            return Err(failed("no module that provides it serves".to_owned()));
        };
        let context = CallContext {
            module: Arc::clone(&module),
            version: "".into(),
            request_id: format!("runtime-{:x}", chance::seed()).into(),
            caller: None,
            deadline: std::time::Instant::now() + CALL,
            chain: Vec::new(),
            principal: None,
        };
        let handler = Handler::Service(service.as_str().into());
        let called = self.router.call(&module, chance::bucket(), &handler, vec![args], context).await;
        called.map_err(|error: CallError| failed(error.to_string()))
    }

    /// What of the folders was not registered or does not start, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what served before and the modules of the folders have been started, as far as they start.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until a coordinator is gone, which never happens by design, and says why.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        let why = broken.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_else(|| "the supervisor is gone".to_owned())
    }

    /// Lets every module finish what it holds within `patience` and stops everything. What serves is started again by the
    /// next runtime.
    ///
    /// # Errors
    /// Not everything could be written.
    pub async fn shutdown(self, patience: Duration) -> Result<(), Error> {
        // children end from here on, and that is no breakdown
        let _ = self.supervisor.send_message(());
        self.sweeper.abort();
        let _ = self.sweeper.await;
        self.engine.stop(patience).await;
        self.registry.stop().await;
        let _ = self.modules.stop_and_wait(None, Some(Duration::from_secs(1))).await;
        let closed = self.store.close().await;
        self.chronicle.end(closed.is_ok()).await?;
        closed?;
        let _ = self.supervisor.stop_and_wait(None, Some(Duration::from_secs(1))).await;
        Ok(())
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

/// Removes what expired.
async fn sweep(kv: KvStore) {
    let mut ticks = tokio::time::interval(SWEEP.0);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let kv = kv.clone();
        match tokio::task::spawn_blocking(move || kv.sweep(SWEEP.1, now())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "expired entries could not be removed"),
            Err(error) => tracing::error!(%error, "the search for expired entries broke off"),
        }
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
