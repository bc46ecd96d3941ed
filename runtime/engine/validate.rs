//! The first step: everything that can be known before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use replug_scripts::{Around, Exports, Language, Program, SourceFault, Sources, compile_within};
use semver::Version;

use super::EngineError;
use super::board::Board;
use super::ports::Subject;
use super::state::State;
use crate::manifest::{ActivationStrategy, Manifest};
use crate::monitor::{Aborts, InstanceKey};
use crate::registry::resolver::{self, Dependent, Moves, Placed};
use crate::registry::{Bundle, Definition, RegistryError, Snapshot};

/// A version whose files were read and whose scripts compile.
pub(super) struct Checked {
    pub(super) manifest: Arc<Manifest>,
    pub(super) files: Arc<BTreeMap<String, Bytes>>,
    pub(super) program: Arc<dyn Program>,
}

impl Checked {
    /// What the ports are asked about this version as the instance `key`.
    pub(super) fn subject(&self, key: InstanceKey) -> Subject {
        Subject {
            key,
            manifest: Arc::clone(&self.manifest),
            files: Arc::clone(&self.files),
            exports: Exports::default(),
        }
    }
}

/// Whether the version may run beside what runs or may be returned to, and whether those can live with it.
///
/// # Errors
/// What stands in the way.
pub(super) fn fits(definition: &Definition, snapshot: &Snapshot, placed: &Placed) -> Result<(), EngineError> {
    goes_beside(definition, snapshot, placed)?;
    let manifest = &definition.manifest;
    let moves = resolver::one_move(&manifest.id, Some(&manifest.version));
    closes_no_circle(manifest.label(), &moves, snapshot, placed)
}

/// Whether what served when the runtime ended may start again. Modules that need each other in a circle are no reason against
/// that: they ran, and each counts as there for the others until its own start has failed.
///
/// # Errors
/// What stands in the way.
pub(super) fn fits_again(definition: &Definition, snapshot: &Snapshot, board: &Board) -> Result<(), EngineError> {
    let mut placed = board.placed();
    let refused = goes_beside(definition, snapshot, &placed);
    if refused.is_ok() {
        return refused;
    }
    let slots = board.slots();
    let served = slots.iter().filter_map(|(id, slot)| {
        let version = slot.record.as_ref()?.serving.clone()?;
        let failed = slot.versions.get(&version).is_some_and(|record| record.state == State::Failed);
        (!failed).then(|| (id.clone(), version))
    });
    let circle = resolver::circle_of(&definition.manifest.id, &served.collect(), snapshot);
    if circle.is_empty() {
        return refused;
    }
    placed.running.extend(circle);
    goes_beside(definition, snapshot, &placed)
}

/// How versions come to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    /// They take over.
    Over,
    /// They stood by, and their modules return to them. A circle is no reason against that: it is a restart's affair, and the way back
    /// is one's that clients wait for.
    Back,
    /// They served when the runtime ended.
    Again,
}

/// Whether these may serve from now on, after all that was looked at before.
///
/// # Errors
/// What stands in the way.
pub(super) fn still_fit(
    set: &[Arc<Definition>],
    coming: Coming,
    snapshot: &Snapshot,
    board: &Board,
) -> Result<(), EngineError> {
    match (set, coming) {
        ([], _) => Ok(()),
        ([alone], Coming::Over) => fits(alone, snapshot, &board.placed()),
        ([alone], Coming::Back) => goes_beside(alone, snapshot, &board.placed()),
        ([alone], Coming::Again) => fits_again(alone, snapshot, board),
        (set, Coming::Over) => fit_together(set, snapshot, &board.placed()),
        (set, Coming::Back | Coming::Again) => go_together(set, snapshot, &board.placed()),
    }
}

fn closes_no_circle(module: String, moves: &Moves, snapshot: &Snapshot, placed: &Placed) -> Result<(), EngineError> {
    match resolver::circles_beside(moves, snapshot, placed) {
        None => Ok(()),
        Some(circle) => Err(EngineError::Obstructed { module, obstacles: vec![circle] }),
    }
}

fn goes_beside(definition: &Definition, snapshot: &Snapshot, placed: &Placed) -> Result<(), EngineError> {
    let manifest = &definition.manifest;
    let obstacles = resolver::obstacles_beside(definition, snapshot, placed);
    if !obstacles.is_empty() {
        return Err(EngineError::Obstructed { module: manifest.label(), obstacles });
    }
    let moves = resolver::one_move(&manifest.id, Some(&manifest.version));
    let dependents = resolver::dependents_beside(&moves, snapshot, placed);
    if dependents.is_empty() {
        return Ok(());
    }
    let action = format!("activated at {}", manifest.version);
    let together = along(definition, &dependents, snapshot, placed);
    Err(EngineError::Needed { id: manifest.id.clone(), action, dependents, together })
}

/// The newest versions of those that need something of a module, where they could take over together with this version of it.
fn along(definition: &Definition, dependents: &[Dependent], snapshot: &Snapshot, placed: &Placed) -> Vec<String> {
    let ids: BTreeSet<&str> = dependents.iter().map(|dependent| dependent.id.as_str()).collect();
    let newest = |id: &&str| snapshot.newest(id).cloned();
    let Some(others) = ids.iter().map(newest).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let own = snapshot.get(&definition.manifest.id, &definition.manifest.version).cloned();
    let set: Vec<Arc<Definition>> = own.into_iter().chain(others.iter().cloned()).collect();
    match fit_together(&set, snapshot, placed) {
        Ok(()) => others.iter().map(|other| other.label()).collect(),
        Err(_) => Vec::new(),
    }
}

/// Whether the versions may take over as one: each beside what runs then, and what stays can live with all of them.
///
/// # Errors
/// What stands in the way.
pub(super) fn fit_together(set: &[Arc<Definition>], snapshot: &Snapshot, placed: &Placed) -> Result<(), EngineError> {
    go_together(set, snapshot, placed)?;
    closes_no_circle(labels(set), &moves_of(set), snapshot, placed)
}

fn labels(set: &[Arc<Definition>]) -> String {
    set.iter().map(|definition| definition.label()).collect::<Vec<_>>().join(", ")
}

fn moves_of(set: &[Arc<Definition>]) -> Moves {
    set.iter().map(|it| (it.manifest.id.clone(), Some(it.manifest.version.clone()))).collect()
}

fn go_together(set: &[Arc<Definition>], snapshot: &Snapshot, placed: &Placed) -> Result<(), EngineError> {
    let moves = moves_of(set);
    let then = resolver::together(placed, &moves);
    let obstacles: Vec<_> = set.iter().flat_map(|it| resolver::obstacles_beside(it, snapshot, &then)).collect();
    if !obstacles.is_empty() {
        return Err(EngineError::Obstructed { module: labels(set), obstacles });
    }
    let dependents = resolver::dependents_beside(&moves, snapshot, placed);
    if dependents.is_empty() {
        return Ok(());
    }
    Err(EngineError::Needed {
        id: labels(set),
        action: "activated as one".to_owned(),
        dependents,
        together: Vec::new(),
    })
}

/// Whether every setting that must have a value has one.
///
/// # Errors
/// Those that have none.
pub(super) fn configured(manifest: &Manifest) -> Result<(), EngineError> {
    let missing = manifest.config.schema.iter().filter(|(_, spec)| spec.required && spec.default.is_none());
    let keys: Vec<String> = missing.map(|(key, _)| key.clone()).collect();
    if keys.is_empty() { Ok(()) } else { Err(EngineError::Unconfigured { module: manifest.label(), keys }) }
}

/// Whether the strategy runs the migrations that are pending.
///
/// # Errors
/// It does not.
pub(super) fn migrates(
    manifest: &Manifest,
    strategy: ActivationStrategy,
    pending: &[Version],
) -> Result<(), EngineError> {
    if strategy == ActivationStrategy::Gradual || pending.is_empty() {
        return Ok(());
    }
    Err(EngineError::PendingMigrations { module: manifest.label(), pending: pending.to_vec() })
}

/// Whether the older version may follow the newer one, whose migrations it does not know. Additive schema is no harm, but
/// what has no way down is said to be more than that.
///
/// # Errors
/// The first migration that cannot be taken back.
pub(super) fn reversible(newer: &Definition, older: &Definition) -> Result<(), EngineError> {
    if newer.manifest.version < older.manifest.version {
        return Ok(());
    }
    match newer_migrations(newer, &older.manifest).find(|migration| migration.down_file(&newer.files).is_none()) {
        None => Ok(()),
        Some(migration) => Err(EngineError::Irreversible {
            id: older.manifest.id.clone(),
            to: older.manifest.version.clone(),
            migration: migration.version.clone(),
        }),
    }
}

/// The first migration of the newer version for which nothing may return to the older one without a person's decision: one that
/// is declared irreversible, or one that would have to be taken back and has no way down.
pub(super) fn one_way(newer: &Definition, older: Option<&Definition>) -> Option<Version> {
    let preserves = newer.manifest.lifecycle.rollback.preserve_data;
    let mut between = migrations(&newer.manifest).filter(|migration| {
        older.is_none_or(|older| !migrations(&older.manifest).any(|it| it.version == migration.version))
    });
    let stays = between.find(|it| it.irreversible || (!preserves && it.down_file(&newer.files).is_none()));
    stays.map(|migration| migration.version.clone())
}

/// The migrations that the newer version has and the older one does not.
pub(super) fn newer_migrations<'a>(
    newer: &'a Definition,
    older: &Manifest,
) -> impl Iterator<Item = &'a crate::manifest::Migration> {
    let known: Vec<Version> = migrations(older).map(|migration| migration.version.clone()).collect();
    migrations(&newer.manifest).filter(move |migration| !known.contains(&migration.version))
}

/// The versions of a manifest's migrations.
pub(super) fn migrated(manifest: &Manifest) -> BTreeSet<Version> {
    migrations(manifest).map(|migration| migration.version.clone()).collect()
}

fn migrations(manifest: &Manifest) -> impl Iterator<Item = &crate::manifest::Migration> {
    manifest.database.iter().flat_map(|database| &database.migrations)
}

/// Reads the version's files, which must be those that were registered, and compiles its scripts.
///
/// # Errors
/// The files changed on the disk; every file that does not compile.
pub(super) async fn read(definition: Arc<Definition>, aborts: &Aborts) -> Result<Checked, EngineError> {
    let named = aborts.name(&definition.manifest.label());
    let read = tokio::task::spawn_blocking(move || {
        let (dir, digest): (&PathBuf, &str) = (&definition.dir, &definition.digest);
        let bundle = Bundle::load(dir, digest)?;
        let manifest = Arc::new(definition.manifest.clone());
        let program = match &named {
            Some(named) => named.during(|| program(&manifest, &bundle, &|work| named.during(work)))?,
            None => program(&manifest, &bundle, &|work| work())?,
        };
        Ok(Checked { manifest, files: Arc::new(bundle.files().clone()), program })
    });
    read.await.map_err(|error| EngineError::Internal(error.to_string()))?
}

/// Compiles its scripts; `around` surrounds what is done on other threads than this one.
fn program(manifest: &Manifest, bundle: &Bundle, around: &Around<'_>) -> Result<Arc<dyn Program>, EngineError> {
    let Some(entry) = manifest.entry(&bundle.paths()) else {
        let reason = format!("{} has no entry script; register it again", manifest.label());
        return Err(EngineError::Registry(RegistryError::NoBundle { reason }));
    };
    let compiled = sources(entry, bundle.files()).and_then(|sources| {
        let surrounded = |work: &mut dyn FnMut()| {
            around(&mut || {
                tracing::trace!(target: "compiler", module = %manifest.label(), "compiles");
                work();
            });
        };
        compile_within(&sources, &surrounded)
    });
    compiled.map_err(|faults| EngineError::Scripts { module: manifest.label(), faults })
}

/// The folder of a module's tests, which are no part of its program.
const TESTS: &str = "tests/";

/// The files of the entry's language, as the hosts compile them; not those of tests, unless the entry is one.
///
/// # Errors
/// Every file that is no UTF-8 text.
pub fn sources(entry: String, files: &BTreeMap<String, Bytes>) -> Result<Sources, Vec<SourceFault>> {
    let language = Language::of(&entry);
    let runs = |path: &str| entry.starts_with(TESTS) || !path.starts_with(TESTS);
    let (mut texts, mut faults) = (BTreeMap::new(), Vec::new());
    for (path, bytes) in files.iter().filter(|(path, _)| Language::of(path) == language && runs(path)) {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                texts.insert(path.clone(), Arc::from(text));
            }
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                let message = "the file is not UTF-8 text; save it as UTF-8".to_owned();
                faults.push(SourceFault { file: path.clone(), line, column: 0, message });
            }
        }
    }
    if faults.is_empty() { Ok(Sources { entry, files: texts }) } else { Err(faults) }
}
