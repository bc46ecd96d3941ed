//! The engine over real parts (registry, store, actors, Lua), with one binding that fails on demand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use semver::Version;
use tempfile::TempDir;
use tokio::runtime::Handle;

use self::brittle::{Brittle, Fault, Place, Tables};
use super::ports::Binding;
use super::{ActivationReport, Engine, EngineError, Outcome, Parts, State};
use crate::actors::modules::ModulesMsg;
use crate::actors::{ModulesSupervisor, Router};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Aborts, Event, Events, Metrics};
use crate::registry::{Bundle, Hosted, Registry};
use crate::sandbox::guard::permissions;
use crate::sandbox::ports::tests::NoServices;
use crate::sandbox::{Outside, Supplies};
use crate::store::audit::AuditLog;
use crate::store::{KvStore, Store};

mod actors;
mod brittle;
mod confirming;
mod crashes;
mod critical;
mod cut_off;
pub(crate) mod expected;
mod faults;
mod frozen;
mod giving_way;
mod health;
mod jumps;
mod matrix;
mod measures;
mod mirroring;
mod model;
mod panics;
mod quarantine;
mod refusals;
mod resuming;
mod returning;
mod sets;
mod shifting;
mod standby;
mod steering;
mod stuck;
mod through;
mod together;
mod told;
mod turned_back;

struct World {
    dir: TempDir,
    store: Store,
    registry: Registry,
    engine: Engine,
    router: Arc<Router>,
    binding: Arc<Brittle>,
    events: Events,
    /// The alarms of its start, before anything is resumed: of what, and what they say.
    alarms: Vec<(String, String)>,
    modules: ActorRef<ModulesMsg>,
}

impl World {
    async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap(), Brittle::default()).await
    }

    async fn over(dir: TempDir, binding: impl Into<Arc<Brittle>>) -> Self {
        let store = Self::open(&dir.path().join("store")).await;
        Self::with(dir, store, binding).await
    }

    /// A runtime whose store takes as many groups of writes as `left` says, and then fails.
    async fn failing(left: &Arc<AtomicUsize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::failing(&dir.path().join("store"), Arc::clone(left)).unwrap();
        Self::with(dir, store, Brittle::default()).await
    }

    async fn with(dir: TempDir, store: Store, binding: impl Into<Arc<Brittle>>) -> Self {
        let audit = AuditLog::open(&dir.path().join("audit")).unwrap();
        let registry =
            Registry::start(store.clone(), audit.clone(), dir.path(), Arc::new(|| 7), Hosted::default(), None)
                .await
                .unwrap();
        let (events, router, binding) = (Events::default(), Arc::new(Router::default()), binding.into());
        let mut heard = events.subscribe();
        let supervisor = ModulesSupervisor { events: events.clone() };
        let (modules, _) = ModulesSupervisor::spawn(None, supervisor, ()).await.unwrap();
        let (kv, metrics) = (KvStore::new(&store), Metrics::default());
        let aborts = Aborts::open(&dir.path().join("aborts")).unwrap();
        let permissions = permissions(&store, audit.clone(), &metrics);
        let bindings: Vec<Arc<dyn Binding>> = vec![binding.clone()];
        let parts = Parts {
            registry: registry.clone(),
            store: store.clone(),
            audit,
            router: Arc::clone(&router),
            events: events.clone(),
            metrics: metrics.clone(),
            bindings,
            migrator: Some(binding.clone()),
            supplies: Supplies {
                kv,
                database: None,
                services: binding.clone(),
                application: Arc::new(NoServices),
                permissions,
                residents: router.residents(events.clone(), metrics.clone(), Handle::current()),
                outside: Outside::new(dir.path().join("files"), Handle::current()),
                metrics,
                accounts: crate::sandbox::quota::ModuleAccounts::default(),
                events: events.clone(),
                aborts: aborts.clone(),
                runtime: Handle::current(),
            },
            modules: modules.clone(),
            probe: Arc::clone(binding.probe.get_or_init(Arc::default)),
        };
        let engine = Engine::start(parts, modules.get_cell()).await.unwrap();
        let alarm = |event: &Event| match event {
            Event::Alarm { subject, message } => Some((subject.clone(), message.clone())),
            _ => None,
        };
        let alarms = std::iter::from_fn(|| heard.try_recv().ok()).filter_map(|event| alarm(&event)).collect();
        Self { dir, store, registry, engine, router, binding, events, alarms, modules }
    }

    /// The store, once the engine before has let go of it: its last command may end a moment after its caller heard.
    async fn open(dir: &Path) -> Store {
        let opens = async {
            loop {
                match Store::open(dir) {
                    Err(crate::store::StoreError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                    opened => return opened.unwrap(),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), opens).await.expect("the store is let go of")
    }

    /// The same data directory under a new engine, as after a restart.
    async fn restarted(self) -> Self {
        let Self { dir, store, registry, engine, modules, binding, router, .. } = self;
        engine.stop(Duration::from_secs(5)).await;
        registry.stop().await;
        modules.stop_and_wait(None, None).await.unwrap();
        store.close().await.unwrap();
        engine.permissions().close().await;
        let tables = binding.tables.lock().unwrap().clone();
        drop((store, registry, engine, binding, router));
        Self::over(dir, Brittle::with(tables)).await
    }

    /// A new engine over what is on the disk at this moment, as after a kill.
    async fn killed(&self) -> Self {
        self.killed_where(&[]).await
    }

    /// The same, where these go wrong from the start on.
    async fn killed_where(&self, faults: &[(Place, Fault)]) -> Self {
        let (left, binding) = self.left();
        *binding.faults.lock().unwrap() = faults.to_vec();
        Self::over(left, binding).await
    }

    /// What a kill at this moment leaves: a data directory, and the tables.
    fn left(&self) -> (TempDir, Brittle) {
        left(self.path(), &self.binding)
    }

    async fn register(&self, id: &str, version: &str, more: &str) {
        self.register_script(id, version, more, "return {}").await;
    }

    async fn register_script(&self, id: &str, version: &str, more: &str, script: &str) {
        self.register_files(id, version, more, &[("main.lua", script)]).await;
    }

    async fn register_files(&self, id: &str, version: &str, more: &str, files: &[(&str, &str)]) {
        let quick = if more.contains("lifecycle:") { "" } else { QUICK };
        let manifest = format!("id: {id}\nname: {id}\nversion: {version}\n{more}{quick}");
        let files = files.iter().copied().chain([("module.manifest.yaml", manifest.as_str())]);
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec().into())).collect();
        self.registry.register(Bundle::new(files).unwrap()).await.unwrap();
    }

    async fn activate(&self, label: &str) -> Result<ActivationReport, EngineError> {
        let (id, version) = label.split_once('@').unwrap();
        self.engine.activate(id, &version.parse().unwrap(), None).await
    }

    /// Begins an activation and returns once it waits at `place`, until `binding.go` is notified.
    async fn paused(
        self: &Arc<Self>,
        place: Place,
        label: &'static str,
    ) -> tokio::task::JoinHandle<Result<ActivationReport, EngineError>> {
        self.binding.pause(place, label.split_once('@').unwrap().0);
        let world = Arc::clone(self);
        let coming = tokio::spawn(async move { world.activate(label).await });
        self.binding.reached.notified().await;
        coming
    }

    /// Activates and confirms.
    async fn serves(&self, label: &str) {
        let report = self.activate(label).await.unwrap();
        assert!(report.outcome.serves(), "{report:?}");
        self.engine.confirm(label.split_once('@').unwrap().0).await.unwrap();
    }

    /// Activates and leaves it provisional.
    async fn provisional(&self, label: &str) {
        let report = self.activate(label).await.unwrap();
        assert_eq!(report.outcome, Outcome::Provisional, "{report:?}");
    }

    /// [`World::fail`] for one module.
    fn fail_of(&self, id: &'static str, faults: &[(Place, Fault)]) {
        *self.binding.only.lock().unwrap() = Some(id);
        self.fail(faults);
    }

    fn fail(&self, faults: &[(Place, Fault)]) {
        *self.binding.faults.lock().unwrap() = faults.to_vec();
    }

    /// The migrations that are applied.
    fn tables(&self, id: &str) -> Vec<String> {
        let tables = self.binding.tables.lock().unwrap();
        tables.get(id).into_iter().flatten().map(Version::to_string).collect()
    }

    fn state(&self, label: &str) -> State {
        let (id, version) = label.split_once('@').unwrap();
        self.engine.state(id, &version.parse::<Version>().unwrap()).state
    }

    /// Which version requests of a module meet.
    fn routed(&self, id: &str) -> Option<String> {
        let snapshot = self.router.snapshot();
        snapshot.instance(id, 0).map(|instance| instance.key.version.to_string())
    }

    /// The instances that the binding holds something for, as `id@version`.
    fn held(&self) -> Vec<String> {
        self.binding.held.lock().unwrap().iter().map(|key| format!("{}@{}", key.id, key.version)).collect()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn left(dir: &Path, binding: &Brittle) -> (TempDir, Brittle) {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    (copy, Brittle::with(binding.tables.lock().unwrap().clone()))
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap().path(), to.to_owned());
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_dir(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).unwrap();
        }
    }
}

/// A shift that takes no time.
const QUICK: &str = "lifecycle:\n  activation:\n    trafficShifting: { interval: 10ms }\n";

/// A short timeout of all steps, for what hangs.
const HASTY: &str = "lifecycle:\n  activation:\n    timeout: 200ms\n    trafficShifting: { interval: 10ms }\n";

#[tokio::test]
async fn what_a_rollback_returned_from_stops_and_the_next_activation_is_a_new_generation() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    assert_eq!((world.state("a@1.0.0"), world.state("a@2.0.0")), (State::Standby, State::Provisional));
    let first = world.engine.state("a", &Version::new(2, 0, 0)).generation;
    let report = world.engine.rollback("a", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active));
    world.provisional("a@2.0.0").await;
    assert!(world.engine.state("a", &Version::new(2, 0, 0)).generation > first);
    assert_eq!((world.state("a@1.0.0"), world.state("a@2.0.0")), (State::Standby, State::Provisional));
}

#[tokio::test]
async fn what_served_is_resumed_with_what_a_rollback_returns_to() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
        world.serves(&format!("a@{version}")).await;
    }
    world.register("b", "1.0.0", "dependencies:\n  - id: a\n").await;
    world.serves("b@1.0.0").await;
    let world = world.restarted().await;
    assert_eq!(world.routed("a"), None);
    world.engine.resume().await;
    assert_eq!((world.routed("a").as_deref(), world.routed("b").as_deref()), (Some("2.0.0"), Some("1.0.0")));
    let report = world.engine.rollback("a", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active));
    assert!(world.path().join("bundles").is_dir());
}

#[tokio::test]
async fn an_activation_of_what_serves_changes_nothing() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let before = world.engine.slots();
    let report = world.activate("a@1.0.0").await.unwrap();
    assert!(report.outcome == Outcome::Active && report.steps.is_empty());
    assert_eq!(world.engine.slots(), before);
}
