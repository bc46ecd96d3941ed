//! Ports that do what the real ones do and fail on demand, and the service by which scripts learn what to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use replug_scripts::{HostError, HostErrorKind, Value};
use semver::Version;

use crate::actors::routes::Endpoint;
use crate::app::builder::Integrations;
use crate::engine::Probe;
use crate::engine::ports::{Binding, Migrator, PortError, Subject};
use crate::integration::host::{HostService, ServiceContext};

/// What a module heard, how often: what it was, and the version that heard it.
type Heard = BTreeMap<(String, String), u64>;

/// The service `place` of the host. `place.ticked` and `place.heard` note what a version was told; any other method tells a
/// script what to do at the place of that name.
#[derive(Clone, Default)]
pub(super) struct Place {
    probe: Arc<OnceLock<Arc<Probe>>>,
    heard: Arc<Mutex<BTreeMap<String, Heard>>>,
    /// The versions that go wrong, where it is not 2.0.0, by module.
    wrong: Arc<Mutex<BTreeMap<String, &'static str>>>,
}

impl Place {
    pub(super) fn learns_of(&self, probe: &Arc<Probe>) {
        let _ = self.probe.set(Arc::clone(probe));
    }

    /// It is this version of a module that goes wrong, from now on.
    pub(super) fn goes_wrong(&self, id: &str, version: &'static str) {
        self.wrong.lock().unwrap().insert(id.to_owned(), version);
    }

    /// A version comes inside a step. The one that a cell is about goes wrong there, and no other: one that serves makes VMs, asks for
    /// its health and ends as well.
    async fn inside(&self, step: &str, id: &str, version: &str) -> Result<&'static str, String> {
        let wrong = self.wrong.lock().unwrap().get(id).copied().unwrap_or("2.0.0");
        match self.probe.get() {
            Some(probe) if version == wrong => probe.asked(id, step).await,
            _ => Ok(""),
        }
    }

    /// What a module heard of that kind.
    pub(super) fn heard(&self, module: &str, kind: &str) -> Heard {
        let heard = self.heard.lock().unwrap();
        let of = heard.get(module).into_iter().flatten();
        let of = of.filter_map(|((what, by), times)| Some(((what.strip_prefix(kind)?.to_owned(), by.clone()), *times)));
        of.collect()
    }
}

#[async_trait]
impl HostService for Place {
    async fn call(&self, method: &str, args: Value, context: ServiceContext) -> Result<Value, HostError> {
        let module = context.module.to_string();
        if matches!(method, "ticked" | "heard") {
            let what = format!("{method} {}", args.as_str().unwrap_or_default());
            let key = (what, context.version.to_string());
            *self.heard.lock().unwrap().entry(module).or_default().entry(key).or_default() += 1;
            return Ok(Value::Null);
        }
        let said = self.inside(method, &module, &context.version).await;
        said.map(|said| Value::Text(said.to_owned())).map_err(|error| HostError::new(HostErrorKind::Failed, error))
    }
}

/// Who has no time left does not get it done: the real ports have work for another thread, which may be quick.
async fn takes_time() {
    tokio::task::yield_now().await;
}

/// A port before the real one.
struct Faulty<P: ?Sized> {
    real: Arc<P>,
    /// Whether it is the one that acquires something, of several bindings.
    acquires: bool,
    place: Place,
}

impl<P: ?Sized> Faulty<P> {
    async fn at(&self, step: &str, subject: &Subject) -> Result<(), PortError> {
        self.place.inside(step, &subject.key.id, &subject.key.version).await.map(drop).map_err(PortError::new)
    }
}

#[async_trait]
impl Binding for Faulty<dyn Binding> {
    fn name(&self) -> &'static str {
        self.real.name()
    }

    async fn prepare(&self, subject: &Subject) -> Result<(), PortError> {
        self.real.prepare(subject).await?;
        if self.acquires { self.at("prepare", subject).await } else { Ok(()) }
    }

    async fn commit(&self, subject: &Subject) -> Result<Vec<Endpoint>, PortError> {
        let endpoints = self.real.commit(subject).await?;
        if !self.acquires {
            self.at("register", subject).await?;
        }
        Ok(endpoints)
    }

    async fn undo(&self, subject: &Subject) -> Result<(), PortError> {
        takes_time().await;
        if self.acquires {
            self.at("cleanup", subject).await?;
        }
        self.real.undo(subject).await
    }

    async fn close_connections(&self, subject: &Subject) -> Result<(), PortError> {
        self.real.close_connections(subject).await
    }
}

#[async_trait]
impl Migrator for Faulty<dyn Migrator> {
    async fn pending(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        self.at("validate", subject).await?;
        self.real.pending(subject).await
    }

    async fn up(&self, subject: &Subject) -> Result<Vec<Version>, PortError> {
        let done = self.real.up(subject).await?;
        self.at("migrate", subject).await?;
        Ok(done)
    }

    async fn down(&self, subject: &Subject, versions: &[Version]) -> Result<(), PortError> {
        takes_time().await;
        self.at("rollback", subject).await?;
        self.real.down(subject, versions).await
    }
}

/// The real integrations behind faulty ports. The binding of databases is the first of two, that of apis the last.
pub(super) fn faulty(real: Integrations, place: &Place) -> Integrations {
    let bindings = real.bindings.into_iter().enumerate().map(|(at, real)| {
        let faulty: Arc<dyn Binding> = Arc::new(Faulty { real, acquires: at == 0, place: place.clone() });
        faulty
    });
    let migrator = real.migrator.map(|real| {
        let faulty: Arc<dyn Migrator> = Arc::new(Faulty { real, acquires: false, place: place.clone() });
        faulty
    });
    Integrations { bindings: bindings.collect(), migrator, ..real }
}
