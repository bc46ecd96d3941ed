//! A binding, a migrator and services that fail, or pause, on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};

use replug_scripts::{CallContext, HostError, HostErrorKind, Value};
use semver::Version;
use tokio::sync::Notify;

use crate::actors::routes::Endpoint;
use crate::engine::ports::{Binding, Migrator, PortError, Subject};
use crate::engine::probe::Probe;
use crate::monitor::InstanceKey;
use crate::sandbox::ports::{Services, Suppliers};

/// What happens when a port is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Error,
    Panic,
    Hang,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Prepare,
    Commit,
    Undo,
    Up,
    Down,
}

impl Place {
    /// The step that it is in.
    const fn step(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Commit => "register",
            Self::Undo => "cleanup",
            Self::Up => "migrate",
            Self::Down => "rollback",
        }
    }
}

/// Who has no time left does not get it done, as with the files and databases of the real ports.
async fn takes_time() {
    tokio::task::yield_now().await;
}

/// The migrations that are applied, by module. They outlive the process, as tables do.
pub(super) type Tables = BTreeMap<String, BTreeSet<Version>>;

/// Serves `GET /ID`, or what `paths` says. It knows which instances it holds something for.
#[derive(Default)]
pub(super) struct Brittle {
    pub(super) faults: Mutex<Vec<(Place, Fault)>>,
    /// The module that they are about; none: every one.
    pub(super) only: Mutex<Option<&'static str>>,
    pub(super) held: Mutex<BTreeSet<InstanceKey>>,
    pub(super) tables: Mutex<Tables>,
    /// Paths other than `/ID`, by `id@version`; the manifests know nothing of them.
    pub(super) paths: Mutex<BTreeMap<String, &'static str>>,
    /// Where set, that place of this module tells `reached` and waits for `go`.
    pause: Mutex<Option<(Place, &'static str)>>,
    pub(super) reached: Notify,
    pub(super) go: Notify,
    /// The places of the engine that works with it; each of its own is one of them, by the name of its step.
    pub(super) probe: OnceLock<Arc<Probe>>,
    /// Where it is written which migrations of the one module are applied, for another process.
    pub(super) file: OnceLock<std::path::PathBuf>,
}

impl Brittle {
    pub(super) fn with(tables: Tables) -> Self {
        Self { tables: Mutex::new(tables), ..Self::default() }
    }

    /// Makes the next call at `place` for module `id` wait.
    pub(super) fn pause(&self, place: Place, id: &'static str) {
        *self.pause.lock().unwrap() = Some((place, id));
    }

    async fn inside(&self, step: &str, id: &str) -> Result<&'static str, String> {
        match self.probe.get() {
            Some(probe) => probe.asked(id, step).await,
            None => Ok(""),
        }
    }

    async fn at(&self, place: Place, subject: &Subject) -> Result<(), PortError> {
        self.inside(place.step(), &subject.key.id).await.map_err(PortError::new)?;
        if *self.pause.lock().unwrap() == Some((place, &*subject.key.id)) {
            self.reached.notify_one();
            self.go.notified().await;
        }
        let meant = self.only.lock().unwrap().is_none_or(|only| only == &*subject.key.id);
        let fault = self.faults.lock().unwrap().iter().find(|(at, _)| *at == place && meant).map(|(_, fault)| *fault);
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(PortError::new("broken on demand")),
            Some(Fault::Panic) => panic!("panics on demand"),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    fn missing(&self, subject: &Subject) -> Vec<Version> {
        let tables = self.tables.lock().unwrap();
        let applied = tables.get(&*subject.key.id).cloned().unwrap_or_default();
        let wanted = subject.manifest.database.iter().flat_map(|database| &database.migrations);
        let wanted = wanted.map(|migration| migration.version.clone());
        wanted.filter(|version| !applied.contains(version)).collect()
    }

    fn change(&self, subject: &Subject, change: impl FnOnce(&mut BTreeSet<Version>)) {
        let mut tables = self.tables.lock().unwrap();
        let applied = tables.entry(subject.key.id.to_string()).or_default();
        change(applied);
        if let Some(file) = self.file.get() {
            std::fs::write(file, applied.iter().map(|version| format!("{version}\n")).collect::<String>()).unwrap();
        }
    }
}

#[async_trait::async_trait]
impl Binding for Brittle {
    fn name(&self) -> &'static str {
        "brittle"
    }

    async fn prepare(&self, subject: &Subject) -> Result<(), PortError> {
        self.held.lock().unwrap().insert(subject.key.clone());
        self.at(Place::Prepare, subject).await
    }

    async fn commit(&self, subject: &Subject) -> Result<Vec<Endpoint>, PortError> {
        self.at(Place::Commit, subject).await?;
        let label = format!("{}@{}", subject.key.id, subject.key.version);
        let moved = self.paths.lock().unwrap().get(&label).copied();
        let path = moved.map_or_else(|| format!("/{}", subject.key.id), str::to_owned);
        Ok(vec![Endpoint {
            pattern: path.as_str().into(),
            method: http::Method::GET,
            handler: replug_scripts::Handler::Api(format!("GET {path}").into()),
            permissions: Arc::new([]),
        }])
    }

    async fn undo(&self, subject: &Subject) -> Result<(), PortError> {
        takes_time().await;
        self.at(Place::Undo, subject).await?;
        self.held.lock().unwrap().remove(&subject.key);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Migrator for Brittle {
    async fn pending(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        self.inside("validate", &subject.key.id).await.map_err(PortError::new)?;
        Ok(self.missing(subject))
    }

    async fn up(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let pending = self.missing(subject);
        self.change(subject, |applied| applied.extend(pending.iter().cloned()));
        self.at(Place::Up, subject).await?;
        Ok(pending)
    }

    async fn down(&self, subject: &Subject, versions: &[Version]) -> Result<(), PortError> {
        takes_time().await;
        self.at(Place::Down, subject).await?;
        self.change(subject, |applied| applied.retain(|version| !versions.contains(version)));
        Ok(())
    }
}

/// What a script asks `place.NAME` of: it learns what to do there, if the host does not do it.
#[async_trait::async_trait]
impl Services for Brittle {
    async fn call(
        &self,
        _: &Suppliers,
        _: &str,
        place: &str,
        _: Value,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        let asks = |probe: &Arc<Probe>| probe.asks(&call.module, &call.version, place);
        if !self.probe.get().is_some_and(asks) {
            return Ok(Value::Text(String::new()));
        }
        let late = |_| Err("it gave no answer until the deadline".to_owned());
        let said = tokio::time::timeout_at(call.deadline.into(), self.inside(place, &call.module)).await;
        said.unwrap_or_else(late)
            .map(|said| Value::Text(said.to_owned()))
            .map_err(|error| HostError::new(HostErrorKind::Failed, error))
    }

    async fn ask(&self, _: &str, _: &str, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    fn invalidate(&self, _: &str) {}
}
