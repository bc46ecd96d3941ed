//! Registering and unregistering, one after the other.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use semver::Version;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::records::{DefinitionRecord, Records};
use super::{Clock, Registration, check};
use crate::manifest::Loaded;
use crate::registry::bundle::{is_digest, make_home, remove, remove_unfinished};
use crate::registry::interfaces::contradiction;
use crate::registry::{Bundle, Definition, Problem, RegistryError, Snapshot};
use crate::store::audit::{AuditLog, By, Entry, Kind, Who};
use crate::store::{Store, StoreError};

type Reply<T> = RpcReplyPort<Result<T, RegistryError>>;

/// A bundle whose manifest and files were checked.
pub(super) struct Offer {
    pub(super) bundle: Bundle,
    pub(super) loaded: Loaded,
    pub(super) by: By,
}

pub(super) enum Command {
    Register { offer: Box<Offer>, reply: Reply<Registration>, _permit: OwnedSemaphorePermit },
    Unregister { by: By, id: String, versions: Vec<Version>, reply: Reply<()>, _permit: OwnedSemaphorePermit },
}

pub(super) struct Start {
    pub(super) store: Store,
    pub(super) audit: AuditLog,
    pub(super) bundles: PathBuf,
    pub(super) clock: Clock,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
}

pub(super) struct State {
    records: Records,
    audit: AuditLog,
    bundles: PathBuf,
    clock: Clock,
    published: Arc<ArcSwap<Snapshot>>,
    /// The records behind [`Snapshot::problems`], so that the same content can put them right.
    broken: BTreeMap<(String, Version), DefinitionRecord>,
}

pub(super) struct RegistryActor;

#[ractor::async_trait]
impl Actor for RegistryActor {
    type Msg = Command;
    type State = State;
    type Arguments = Start;

    async fn pre_start(&self, _myself: ActorRef<Command>, start: Start) -> Result<State, ActorProcessingErr> {
        let loaded = spawn_blocking(move || State::load(start)).await;
        Ok(loaded.map_err(|error| RegistryError::Internal { cause: error.to_string() })??)
    }

    /// Never fails: the snapshot and the store are whole after every step, so not even a panic needs a restart.
    async fn handle(
        &self,
        _: ActorRef<Command>,
        command: Command,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Register { offer, reply, _permit } => {
                let done = AssertUnwindSafe(state.register(*offer)).catch_unwind().await;
                let _ = reply.send(done.unwrap_or_else(panicked)); // The caller may have stopped waiting.
            }
            Command::Unregister { by, id, versions, reply, _permit } => {
                let done = AssertUnwindSafe(state.unregister(&by, &id, &versions)).catch_unwind().await;
                let _ = reply.send(done.unwrap_or_else(panicked));
            }
        }
        Ok(())
    }
}

impl State {
    fn load(start: Start) -> Result<Self, RegistryError> {
        let Start { store, audit, bundles, clock, snapshot: published } = start;
        // whoever made it may have been stopped before its entry was on the disk
        make_home(&bundles)?;
        remove_unfinished(&bundles);
        let records = Records::new(store);
        let (found, revision) = records.all()?;
        let (mut modules, mut problems, mut broken) =
            (BTreeMap::<_, BTreeMap<_, _>>::new(), Vec::new(), BTreeMap::new());
        for found in found {
            let ((id, version), record) = found;
            match load(&bundles, (&id, &version), &record) {
                Ok(definition) => {
                    modules.entry(id).or_default().insert(version, Arc::new(definition));
                }
                Err(error) => {
                    let cause = error.to_string();
                    tracing::error!(module = %id, %version, %cause, "a registered definition cannot be used");
                    let digest = record.as_ref().map_or_else(|_| String::new(), |record| record.digest.clone());
                    problems.push(Problem { id: id.clone(), version: version.clone(), digest, cause });
                    if let Ok(record) = record {
                        broken.insert((id, version), record);
                    }
                }
            }
        }
        let hosted = Arc::clone(&published.load().hosted);
        published.store(Arc::new(Snapshot::new(revision, modules, problems).beside(hosted)));
        Ok(Self { records, audit, bundles, clock, published, broken })
    }

    async fn register(&mut self, offer: Offer) -> Result<Registration, RegistryError> {
        let Offer { bundle, loaded, by } = offer;
        let at = (loaded.manifest.id.clone(), loaded.manifest.version.clone());
        let before = self.published.load_full();
        let known = before.get(&at.0, &at.1);
        let registered = known.map(|known| &known.digest).or_else(|| self.broken.get(&at).map(|record| &record.digest));
        if let Some(registered) = registered.filter(|registered| *registered != bundle.digest()) {
            let (registered, offered) = (registered.clone(), bundle.digest().to_owned());
            let (id, version) = at;
            return Err(self
                .refuse(by, RegistryError::ContentDiffers { id, version, registered, offered }, &loaded)
                .await);
        }
        let unreadable = before.problems.iter().find(|problem| (&problem.id, &problem.version) == (&at.0, &at.1));
        if let Some(problem) = unreadable.filter(|_| !self.broken.contains_key(&at)) {
            return Err(RegistryError::Unreadable { id: at.0, version: at.1, cause: problem.cause.clone() });
        }
        let others = before.modules.get(&at.0).into_iter().flat_map(BTreeMap::values).map(|other| &other.manifest);
        if let (None, Some(found)) = (registered, contradiction(&loaded.manifest, others)) {
            return Err(self.refuse(by, RegistryError::BreakingChange(Box::new(found)), &loaded).await);
        }
        let bundles = self.bundles.clone();
        // The files are on the disk before the record that names them.
        let written = spawn_blocking(move || bundle.write_to(&bundles).map(|dir| (bundle, dir))).await;
        let (bundle, dir) = written.map_err(|error| RegistryError::Internal { cause: error.to_string() })??;
        let warnings = loaded.warnings.clone();
        if let Some(known) = known {
            return Ok(Registration { definition: Arc::clone(known), fresh: false, warnings });
        }
        let digest = bundle.digest().to_owned();
        let (record, revision, fresh) = match self.broken.get(&at) {
            Some(record) => (record.clone(), self.records.touch().await?, false),
            None => {
                let registered_at = (self.clock)();
                let entry = Entry::new(Kind::Registered, by, format!("{}@{}", at.0, at.1));
                self.audit.append(entry.with(json!({ "digest": digest }))).await?;
                let added = self.records.add(&at.0, &at.1, &digest, registered_at).await;
                let seq = match added {
                    Ok(seq) => seq,
                    Err(error) => {
                        self.recant(Kind::Unregistered, &at.0, &at.1, &error).await;
                        return Err(error.into());
                    }
                };
                (DefinitionRecord { digest, registered_at, seq }, seq, true)
            }
        };
        let definition = Arc::new(definition(loaded, &bundle, dir, &record));
        self.broken.remove(&at);
        let mut modules = before.modules.clone();
        modules.entry(at.0.clone()).or_default().insert(at.1.clone(), Arc::clone(&definition));
        self.publish(revision, modules, &at.0, std::slice::from_ref(&at.1));
        Ok(Registration { definition, fresh, warnings })
    }

    /// Writes a refusal to the audit log. It is the answer, whatever comes of that.
    async fn refuse(&self, by: By, refusal: RegistryError, offered: &Loaded) -> RegistryError {
        let told = json!({ "command": "register", "reason": refusal.to_string() });
        let entry = Entry::new(Kind::CommandRefused, by, offered.manifest.label()).with(told);
        if let Err(error) = self.audit.append(entry).await {
            tracing::error!(%error, "a refused registration is not in the audit log");
        }
        refusal
    }

    async fn unregister(&mut self, by: &By, id: &str, versions: &[Version]) -> Result<(), RegistryError> {
        let before = self.published.load_full();
        let mut digests = Vec::new();
        for version in versions {
            let known = before.get(id, version).map(|known| known.digest.clone());
            let broken = before.problems.iter().find(|problem| problem.id == id && problem.version == *version);
            match known.or_else(|| broken.map(|problem| problem.digest.clone())) {
                Some(digest) => digests.push(digest),
                None => return Err(before.not_registered(id, format!("{id}@{version}"))),
            }
        }
        for (version, digest) in versions.iter().zip(&digests) {
            let entry = Entry::new(Kind::Unregistered, by.clone(), format!("{id}@{version}"));
            self.audit.append(entry.with(json!({ "digest": digest }))).await?;
        }
        let revision = match self.records.remove(id, versions).await {
            Ok(revision) => revision,
            Err(error) => {
                for version in versions {
                    self.recant(Kind::Registered, id, version, &error).await;
                }
                return Err(error.into());
            }
        };
        let mut modules = before.modules.clone();
        for version in versions {
            self.broken.remove(&(id.to_owned(), version.clone()));
            if let Some(known) = modules.get_mut(id) {
                known.remove(version);
            }
        }
        if modules.get(id).is_some_and(BTreeMap::is_empty) {
            modules.remove(id);
        }
        self.publish(revision, modules, id, versions);
        // A record can be wrong about its files, so what another definition has stays.
        let is_used = |digest: &String| {
            self.published.load().definitions().any(|other| other.digest == *digest)
                || self.broken.values().any(|other| other.digest == *digest)
        };
        for digest in digests.into_iter().filter(|digest| is_digest(digest) && !is_used(digest)) {
            let dir = self.bundles.join(digest);
            let removed = spawn_blocking(move || remove(&dir)).await;
            if let Err(error) = removed.map_err(|error| error.to_string()).and_then(|it| it.map_err(|e| e.to_string()))
            {
                tracing::warn!(module = %id, %error, "the files of an unregistered version could not be removed");
            }
        }
        Ok(())
    }

    /// Takes back in the audit log what did not come about, by an entry of the opposite `kind`. The store's error is the
    /// answer, whatever comes of this.
    async fn recant(&self, kind: Kind, id: &str, version: &Version, error: &StoreError) {
        let entry = Entry::new(kind, Who::Runtime, format!("{id}@{version}"));
        let entry = entry.with(json!({ "reason": format!("the entry before did not come about: {error}") }));
        if let Err(error) = self.audit.append(entry).await {
            tracing::error!(module = %id, %version, %error, "the audit log has an entry that did not come about");
        }
    }

    /// Publishes the new state, in which these versions are no problem (any more).
    fn publish(
        &self,
        revision: u64,
        modules: BTreeMap<String, BTreeMap<Version, Arc<Definition>>>,
        id: &str,
        versions: &[Version],
    ) {
        let before = self.published.load();
        let others = before.problems.iter().filter(|problem| problem.id != id || !versions.contains(&problem.version));
        let snapshot = Snapshot::new(revision, modules, others.cloned().collect()).beside(Arc::clone(&before.hosted));
        self.published.store(Arc::new(snapshot));
    }
}

fn panicked<T>(_: Box<dyn std::any::Any + Send>) -> Result<T, RegistryError> {
    Err(RegistryError::Internal { cause: "a panic; the log has more".to_owned() })
}

fn load(
    bundles: &std::path::Path,
    (id, version): (&str, &Version),
    record: &Result<DefinitionRecord, StoreError>,
) -> Result<Definition, RegistryError> {
    let record = record.as_ref().map_err(Clone::clone)?;
    if !is_digest(&record.digest) {
        return Err(RegistryError::Internal { cause: format!("the record's digest `{}` is none", record.digest) });
    }
    let dir = bundles.join(&record.digest);
    let bundle = Bundle::load(&dir, &record.digest)?;
    let loaded = check(&bundle)?;
    let label = loaded.manifest.label();
    if label != format!("{id}@{version}") {
        return Err(RegistryError::Internal { cause: format!("its files are those of {label}") });
    }
    Ok(definition(loaded, &bundle, dir, record))
}

fn definition(loaded: Loaded, bundle: &Bundle, dir: PathBuf, record: &DefinitionRecord) -> Definition {
    Definition {
        manifest: loaded.manifest,
        warnings: loaded.warnings,
        digest: record.digest.clone(),
        registered_at: record.registered_at,
        seq: record.seq,
        dir,
        files: bundle.paths(),
    }
}
