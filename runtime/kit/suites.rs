//! A module's own tests: its files `tests/*.lua` and `tests/*.rhai`, each of which returns a table/map of functions.
//!
//! ```text
//! test file's VM ── test.request(…) ──▸ Stage ──▸ module's VM, on a thread of its own
//!        ▲                                             │ services.call
//!        └────────────── stand-in ◂────────────────────┘
//! ```
//!
//! Each test has new VMs and new state: an empty store, a database with the module's migrations and nothing else, no
//! stand-ins. Both VMs have the guard of production: what the manifest does not ask for is denied, what it asks for counts as
//! granted. Limits are those of the manifest; only wall-clock time is more, since tests wait for each other's processor. What a
//! whole test takes and holds has bounds of its own: see `bounds`.

mod actors;
mod bounds;
mod clock;
mod course;
mod gateway;
mod host;
mod http;
mod module;
mod report;
mod residence;
mod run;
mod services;
mod stage;
mod state;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{Language, Sources, Suite};

use super::KitError;
use crate::engine::validate::sources;
use crate::registry::Bundle;
use bounds::Bounds;
use report::Tests;
use world::World;

pub use report::{Failure, Report, TestReport};

#[cfg(all(test, feature = "lua", feature = "rhai", feature = "sqlite"))]
mod tests;

/// The folder of tests. What is in it is no part of the program.
pub const DIR: &str = "tests";

/// Runs the tests of the module in `dir`: all, or those that have `filter` in their name or file. `seen` is told of each as it
/// ends.
///
/// # Errors
/// The folder is no module, something in it does not compile, or there is nothing to run. A test that fails is no error.
pub fn run(dir: &Path, filter: Option<&str>, seen: impl FnMut(&TestReport)) -> Result<Report, KitError> {
    run_within(Bounds::default(), dir, filter, seen)
}

fn run_within(
    bounds: Bounds,
    dir: &Path,
    filter: Option<&str>,
    mut seen: impl FnMut(&TestReport),
) -> Result<Report, KitError> {
    let started = Instant::now();
    let bundle = Bundle::read_dir(dir)?;
    let world = Arc::new(World::open(&bundle, bounds)?);
    let suites = compile(&bundle, &world)?;
    let module = world.manifest.label();
    if suites.is_empty() {
        return Err(KitError::NoTests { module });
    }
    let mut tests = Tests::default();
    for (file, suite) in &suites {
        let meant = |name: &str| filter.is_none_or(|filter| name.contains(filter) || file.contains(filter));
        match run::names(&world, suite, file) {
            Ok(names) => {
                for name in names.iter().filter(|name| meant(name)) {
                    let report = run::one(&world, suite, file, name);
                    seen(&report);
                    tests.push(report);
                }
            }
            Err(report) => {
                seen(&report);
                tests.push(*report);
            }
        }
    }
    if let (true, Some(filter)) = (tests.is_empty(), filter) {
        return Err(KitError::NothingMatches { module, filter: filter.to_owned() });
    }
    Ok(Report::of(module, tests, started.elapsed()))
}

/// The test files among these paths, in order.
pub fn files<'a>(paths: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = &'a String> {
    paths.into_iter().filter(|path| {
        let name = path.strip_prefix(DIR).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| !name.contains('/') && Language::of(name).is_some())
    })
}

/// The sources of one test file: beside it the module's files but the entry script, and what stands in folders below `tests`.
///
/// # Errors
/// Files that are no text.
pub fn sources_of(file: &str, bundle: &Bundle, entry: &str) -> Result<Sources, Vec<replug_scripts::SourceFault>> {
    let others: Vec<&String> = files(bundle.files().keys()).filter(|other| *other != file).collect();
    let kept = bundle.files().iter().filter(|(path, _)| *path != entry && !others.contains(path));
    let kept = kept.map(|(path, content)| (path.clone(), content.clone())).collect();
    sources(file.to_owned(), &kept)
}

fn compile(bundle: &Bundle, world: &World) -> Result<Vec<(String, Suite)>, KitError> {
    let (mut suites, mut faults) = (Vec::new(), Vec::new());
    for file in files(bundle.files().keys()) {
        match sources_of(file, bundle, &world.entry).and_then(|sources| Suite::compile(&sources)) {
            Ok(suite) => suites.push((file.clone(), suite)),
            Err(found) => faults.extend(found),
        }
    }
    // a file that several use is told once
    faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    faults.dedup();
    if faults.is_empty() { Ok(suites) } else { Err(KitError::Scripts(faults)) }
}
