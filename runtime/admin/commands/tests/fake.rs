//! A runtime for tests of the front ends: a real registry, and an engine that the test plays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use semver::Version;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::admin::commands::{Commands, Control};
use crate::engine::{
    ActivationReport, CapabilityView, ConfirmReport, ConsumerView, DeactivationReport, EngineError, Evaluated,
    Forecast, HealthView, HistoryEntry, InstanceHealth, InterfaceView, Order, Outcome, ProviderView, SlotView, State,
    SteerReport, VersionState,
};
use crate::manifest::{self, ActivationStrategy};
use crate::monitor::health::{CheckReport, Report};
use crate::monitor::{Events, HealthStatus, Metrics};
use crate::registry::resolver::{self, Running};
use crate::registry::{Bundle, Hosted, Registry};
use crate::sandbox::fs::Files;
use crate::sandbox::permissions::PermissionManager;
use crate::sandbox::quota::ModuleAccounts;
use crate::sandbox::quota::storage::StorageLedger;
use crate::sandbox::tracker::ResourceTracker;
use crate::store::audit::{AuditLog, Who};
use crate::store::{KvStore, Store};

/// What the test decides and sees.
#[derive(Default)]
pub(crate) struct Played {
    /// The slots of now.
    pub(crate) slots: BTreeMap<String, SlotView>,
    /// How activations end; active by default.
    pub(crate) outcome: Option<Outcome>,
    /// What the journal tells of every module, newest first.
    pub(crate) history: Vec<HistoryEntry>,
    /// What an activation would be refused for besides.
    pub(crate) refusal: Option<EngineError>,
    /// The module that is chosen for the one capability.
    pub(crate) chosen: Option<String>,
    /// What the engine was told, in order.
    pub(crate) calls: Vec<String>,
}

/// The engine that the test plays. Clones share it.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) played: Arc<Mutex<Played>>,
    /// Each activation takes one permit; a test that holds them back holds the activation back.
    pub(crate) gate: Arc<Semaphore>,
    registry: Registry,
    pub(crate) permissions: PermissionManager,
}

impl Fake {
    fn call(&self, what: String) {
        self.played.lock().unwrap().calls.push(what);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.played.lock().unwrap().calls.clone()
    }
}

#[async_trait]
impl Control for Fake {
    async fn activate(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        self.gate.acquire().await.unwrap().forget();
        self.call(format!("activate {id}@{version} {strategy:?}"));
        let mut played = self.played.lock().unwrap();
        let previous = played.slots.get(id).map(|slot| slot.version.clone());
        let outcome = played.outcome.unwrap_or(Outcome::Active);
        if outcome.serves() {
            played.slots.insert(id.into(), slot(id, version, previous));
        }
        let reason = (!outcome.serves()).then(|| "init threw: no such table".to_owned());
        Ok(report(id, version, outcome, reason))
    }

    async fn activate_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        let mut reports = Vec::new();
        for (id, version) in members {
            reports.push(self.activate(id, version, strategy).await?);
        }
        let set = reports.split_off(1);
        Ok(ActivationReport { set, ..reports.remove(0) })
    }

    async fn forecast_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        let mut forecasts = Vec::new();
        for (id, version) in members {
            forecasts.push(self.forecast(id, version, strategy).await?);
        }
        let set = forecasts.split_off(1);
        Ok(Forecast { set, ..forecasts.remove(0) })
    }

    async fn forecast(
        &self,
        id: &str,
        version: &Version,
        _: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        self.call(format!("forecast {id}@{version}"));
        let from = self.played.lock().unwrap().slots.get(id).map(|slot| slot.version.clone());
        Ok(Forecast {
            id: id.into(),
            version: version.to_string(),
            from,
            via: Vec::new(),
            strategy: "gradual".into(),
            refused: Vec::new(),
            steps: Vec::new(),
            weights: vec![0, 100],
            mirror: None,
            confirm_window: 10_000,
            changes: Vec::new(),
            touched: Vec::new(),
            untouched: Vec::new(),
            rollback: "returns".into(),
            set: Vec::new(),
        })
    }

    async fn refusals(&self, id: &str, version: &Version) -> Result<Vec<EngineError>, EngineError> {
        let (snapshot, running) = (self.registry.snapshot(), self.running());
        let definition = snapshot.get(id, version).unwrap();
        let obstacles = resolver::obstacles(definition, &snapshot, &running);
        let module = definition.label();
        let obstructed = (!obstacles.is_empty()).then_some(EngineError::Obstructed { module, obstacles });
        let ungranted = self.permissions.would_admit(&definition.manifest).err().map(EngineError::from);
        let needed = self.played.lock().unwrap().refusal.clone();
        Ok(obstructed.into_iter().chain(ungranted).chain(needed).collect())
    }

    async fn deactivate(&self, id: &str) -> Result<DeactivationReport, EngineError> {
        self.call(format!("deactivate {id}"));
        let gone = self.played.lock().unwrap().slots.remove(id);
        let gone = gone.ok_or_else(|| EngineError::NothingServes { id: id.into() })?;
        Ok(DeactivationReport { id: id.into(), version: gone.version, cut_off: 0, failed: Vec::new(), ms: 1.0 })
    }

    async fn rollback(&self, id: &str, to: Option<&Version>) -> Result<ActivationReport, EngineError> {
        self.call(format!("rollback {id} {to:?}"));
        let mut played = self.played.lock().unwrap();
        let previous = played.slots.get(id).and_then(|slot| slot.previous.clone());
        let to = to.cloned().or(previous.and_then(|previous| previous.parse().ok()));
        let to = to.ok_or_else(|| EngineError::NothingToReturnTo { id: id.into() })?;
        played.slots.insert(id.into(), slot(id, &to, None));
        Ok(report(id, &to, Outcome::Active, None))
    }

    async fn confirm(&self, id: &str) -> Result<ConfirmReport, EngineError> {
        self.call(format!("confirm {id}"));
        let mut played = self.played.lock().unwrap();
        let slot = played.slots.get_mut(id).ok_or_else(|| EngineError::NothingServes { id: id.into() })?;
        let already = slot.state == State::Active;
        slot.state = State::Active;
        let previous = slot.previous.clone();
        Ok(ConfirmReport {
            id: id.into(),
            version: slot.version.clone(),
            previous,
            already,
            waits: false,
            set: Vec::new(),
        })
    }

    async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, EngineError> {
        self.call(format!("steer {id} {order:?}"));
        let played = self.played.lock().unwrap();
        let candidate = played.slots.get(id).and_then(|slot| slot.candidate.clone());
        let candidate = candidate.ok_or_else(|| EngineError::NothingShifts { id: id.into() })?;
        let (weight, done) = (candidate.weight, order.done().to_owned());
        let next = if order == (Order::Promote { full: true }) { 100 } else { weight };
        Ok(SteerReport { id: id.into(), version: candidate.version, done, weight, next })
    }

    /// One capability, `sql`, which `a` and `b` offer.
    fn capabilities(&self) -> Vec<CapabilityView> {
        let provider = |module: &str, serves| ProviderView {
            module: module.into(),
            version: "1.0.0".into(),
            offers: "2.0.0".into(),
            requirements: vec![],
            interfaces: vec![InterfaceView { name: "query".into(), methods: vec!["run".into()] }],
            serves,
        };
        let chosen = self.played.lock().unwrap().chosen.clone();
        vec![CapabilityView {
            id: "sql".into(),
            called: chosen.clone().or_else(|| Some("a".into())),
            chosen,
            providers: vec![provider("a", true), provider("b", true)],
            consumers: vec![ConsumerView { module: "c".into(), range: "^2".into(), bound: Some("a".into()) }],
        }]
    }

    async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, EngineError> {
        self.call(format!("choose {capability} {module:?}"));
        self.played.lock().unwrap().chosen = module.map(str::to_owned);
        let found = self.capabilities().into_iter().find(|view| view.id == capability);
        let (capability, module) = (capability.to_owned(), module.map(str::to_owned));
        found.ok_or(EngineError::NotOffered { capability, module, providers: vec![] })
    }

    async fn history(&self, _: &str, limit: usize) -> Result<Vec<HistoryEntry>, EngineError> {
        Ok(self.played.lock().unwrap().history.iter().take(limit).cloned().collect())
    }

    async fn unregister(&self, id: &str, version: Option<&Version>) -> Result<Vec<Version>, EngineError> {
        self.call(format!("unregister {id} {version:?}"));
        let all: Vec<Version> = self.registry.snapshot().versions(id).cloned().collect();
        let gone: Vec<Version> = version.map_or(all, |version| vec![version.clone()]);
        for version in &gone {
            self.registry.unregister_by(Who::Admin, id, std::slice::from_ref(version)).await?;
        }
        Ok(gone)
    }

    async fn evaluate(&self, id: &str, code: &str) -> Result<Evaluated, EngineError> {
        self.call(format!("evaluate {id} {code}"));
        let value = replug_scripts::Value::from(code);
        let log = vec!["info said".into()];
        Ok(Evaluated { id: id.into(), version: "1.0.0".into(), value, text: None, log, ms: 1.0 })
    }

    fn running(&self) -> Running {
        let serves = |state: State| matches!(state, State::Active | State::Provisional | State::FailedToRestore);
        let slots = self.slots().into_iter().filter(|slot| serves(slot.state));
        slots.map(|slot| (slot.id, slot.version.parse().unwrap())).collect()
    }

    fn slots(&self) -> Vec<SlotView> {
        self.played.lock().unwrap().slots.values().cloned().collect()
    }

    /// Whoever serves has one check, `/health`, which said `slow`.
    fn health(&self) -> Vec<HealthView> {
        let report = Report::of(vec![CheckReport {
            id: "/health".into(),
            kind: "endpoint".into(),
            status: HealthStatus::Unhealthy,
            detail: "slow".into(),
            critical: false,
            failures: 3,
            latency_ms: 1.5,
            last_check: 1_000,
        }]);
        let of = |slot: SlotView| HealthView {
            id: slot.id,
            serving: InstanceHealth { version: slot.version, uptime: 7, report: Arc::new(report.clone()) },
            candidate: None,
        };
        self.slots().into_iter().map(of).collect()
    }

    fn state(&self, id: &str, version: &Version) -> VersionState {
        let played = self.played.lock().unwrap();
        let slot = played.slots.get(id).filter(|slot| slot.version == version.to_string());
        let (serving, state) = (slot.is_some(), slot.map_or(State::Registered, |slot| slot.state));
        VersionState { state, reason: None, since: 0, generation: u64::from(serving) }
    }

    fn permissions(&self) -> &PermissionManager {
        &self.permissions
    }
}

fn slot(id: &str, version: &Version, previous: Option<String>) -> SlotView {
    SlotView {
        set: Vec::new(),
        id: id.into(),
        version: version.to_string(),
        state: State::Active,
        weight: 100,
        previous,
        strategy: ActivationStrategy::Instant,
        health: "healthy",
        since: 1_000,
        frozen: None,
        candidate: None,
    }
}

fn report(id: &str, version: &Version, outcome: Outcome, reason: Option<String>) -> ActivationReport {
    let (id, version) = (id.to_owned(), version.to_string());
    ActivationReport {
        set: Vec::new(),
        lost: 0,
        id,
        version,
        outcome,
        reason,
        steps: Vec::new(),
        traffic_shift: Vec::new(),
        rollback: Vec::new(),
        via: Vec::new(),
    }
}

/// A runtime in a directory of its own.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) fake: Fake,
    pub(crate) commands: Commands,
    pub(crate) events: Events,
    /// What modules are said to use.
    pub(crate) accounts: ModuleAccounts,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(TempDir::new().unwrap()).await
    }

    /// The same directory after a restart.
    pub(crate) async fn reopen(self) -> Self {
        self.fake.registry.stop().await;
        self.fake.permissions.close().await;
        let Self { dir, fake, commands, .. } = self;
        // the audit log stays locked until its last handle goes
        drop((fake, commands));
        Self::on(dir).await
    }

    async fn on(dir: TempDir) -> Self {
        let store = Store::open(&dir.path().join("store")).unwrap();
        let now = AtomicU64::new(1000);
        let clock = Arc::new(move || now.fetch_add(1, Ordering::Relaxed));
        let audit = AuditLog::open(&dir.path().join("audit")).unwrap();
        let (kv, metrics, accounts) = (KvStore::new(&store), Metrics::default(), ModuleAccounts::default());
        let files = Files::new(dir.path().join("files"));
        let storage = StorageLedger::new(kv, files, None, metrics.clone(), Default::default());
        let tracker = ResourceTracker::new(accounts.clone(), storage, metrics.clone());
        let usage = Arc::new(tracker.clone());
        let permissions = PermissionManager::start(&store, audit.clone(), (clock.clone(), metrics, usage));
        let registry = Registry::start(store, audit.clone(), dir.path(), clock, Hosted::default(), None).await.unwrap();
        let (played, gate) = (Arc::default(), Arc::new(Semaphore::new(1000)));
        let fake = Fake { played, gate, registry: registry.clone(), permissions: permissions.unwrap() };
        let events = Events::default();
        let commands = Commands::new(registry, fake.clone(), events.clone(), audit, tracker);
        Self { dir, fake, commands, events, accounts }
    }

    pub(crate) async fn with(modules: &[(&str, &str)]) -> Self {
        let world = Self::new().await;
        for (id, version) in modules {
            world.commands.register(bundle(id, version, "")).await.unwrap();
        }
        world
    }
}

/// The files of a small module.
pub(crate) fn files(id: &str, version: &str, more: &str) -> BTreeMap<String, Bytes> {
    let manifest = format!("id: {id}\nname: {id}\nversion: {version}\n{more}");
    let files = [(manifest::FILE_NAME, manifest), ("main.lua", "return {}".to_owned())];
    BTreeMap::from(files.map(|(path, text)| (path.to_owned(), Bytes::from(text))))
}

/// A small module, with more lines for its manifest.
pub(crate) fn bundle(id: &str, version: &str, more: &str) -> Bundle {
    Bundle::new(files(id, version, more)).unwrap()
}
