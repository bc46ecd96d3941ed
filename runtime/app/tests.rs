//! The matrix over real parts: a fault before, inside and after each step of both strategies and of the way back, where the
//! modules have real databases, routes, pages, actors, timers, events, keys and files. The matrix of the engine
//! (`engine/tests/matrix.rs`) has more faults and commands, over stand-ins; this one looks at what is left of a version that does
//! not serve: nothing. What a fault comes to is said beforehand, and for both matrices at one place (`engine/tests/expected.rs`).
//!
//! | what stands before | the real part |
//! |---|---|
//! | a [`Faulty`](ports::Faulty) binding and migrator, which fail once the real ones have done their work, or before they take it back | `DatabaseBinding`, `SchemaMigrator`, `ApiBinding` |
//! | the service `place` of the host, which scripts ask what to do there | script hosts of both languages |
//! | the places of the engine between the steps | none |
//!
//! Each cell has a module of its own; those of a test run side by side in one runtime, but for those that end the process.
//! Each fault meets each place of both strategies, with a first and a newer version and in both ways back, in one of the languages
//! and with data kept or undone (see [`sample`]). With `REPLUG_MATRIX` in the environment each cell is run in each language, with
//! data kept and undone.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use semver::Version;
use tempfile::TempDir;

use super::Runtime;
use crate::engine::expected::{self, Place, WRONGS, Wrong};
use crate::engine::{Act, Probe, When};
use crate::error::Error;
use crate::manifest::ActivationStrategy;
use crate::monitor::Event;
use crate::store::StoreError;
use crate::store::audit::AuditError;

mod back;
mod commands;
mod forward;
mod looks;
mod modules;
mod ports;
mod process;
mod sample;

use crate::engine::expected::Told;
use looks::Seen;
use ports::Place as Served;

/// The language of a cell's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Lua,
    Rhai,
}

/// How long the steps, and the way back, may take: where something hangs, no longer than a busy machine needs.
const fn time(wrong: Option<Wrong>) -> Duration {
    match wrong {
        Some(Wrong::Hang) => Duration::from_millis(2500),
        _ => Duration::from_secs(30),
    }
}

/// What a module of the matrix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    strategy: ActivationStrategy,
    /// Whether there is no version before it.
    first: bool,
    language: Language,
    preserve: bool,
}

impl Kind {
    const fn is_gradual(self) -> bool {
        matches!(self.strategy, ActivationStrategy::Gradual)
    }

    /// The last step of its activation.
    const fn last(self) -> &'static str {
        if self.is_gradual() { "verify" } else { "activate" }
    }
}

/// One cell: a module of its own, and where its 2.0.0 goes wrong.
#[derive(Clone, Debug)]
struct Cell {
    id: String,
    kind: Kind,
    place: Place,
    /// None: the process ends there.
    wrong: Option<Wrong>,
}

impl Cell {
    fn label(&self, major: u64) -> String {
        format!("{}@{major}.0.0", self.id)
    }

    fn time(&self) -> Duration {
        time(self.wrong)
    }

    /// What happens at its place.
    fn act(&self, wrong: Wrong) -> Act {
        wrong.act(self.place.1, self.time())
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Kind { strategy, first, language, preserve } = self.kind;
        let (what, data) = (if first { "first" } else { "newer" }, if preserve { "kept" } else { "undone" });
        let ((step, when), wrong) = (self.place, self.wrong);
        let wrong = wrong.map_or_else(|| "Exit".to_owned(), |wrong| format!("{wrong:?}"));
        write!(f, "{strategy:?}/{language:?}/{what}/data {data}/{step}/{when:?}/{wrong} ({})", self.id)
    }
}

/// How many cells run side by side.
const AT_ONCE: usize = 16;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs cells side by side, each to its end, and fails by the names of those that failed.
async fn each_of<F: Future<Output = ()>>(cells: impl IntoIterator<Item = (String, F)>, at_once: usize) {
    let run = async |(name, cell): (String, F)| {
        let panic = AssertUnwindSafe(cell).catch_unwind().await.err()?;
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Some(format!("{name}: {}", text.unwrap_or_default()))
    };
    let failed: Vec<_> = futures::stream::iter(cells).map(run).buffer_unordered(at_once).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
}

/// Leaves the others some time before something is looked at again.
async fn breathes() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// Waits until `is` so.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let so = async {
        while !is() {
            breathes().await;
        }
    };
    tokio::time::timeout(PATIENCE, so).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A runtime of this process whose ports and scripts fail on demand.
struct Site {
    runtime: Runtime,
    root: TempDir,
    probe: Arc<Probe>,
    served: Served,
    app: axum::Router,
    databases: crate::integration::database::Databases,
    /// The subjects of the alarms so far.
    alarms: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// Over the data of the folder; what served there serves again.
    async fn over(root: TempDir) -> Self {
        let served = Served::default();
        let builder = Runtime::builder().data_dir(root.path().join("data")).grant_whatever_manifests_ask();
        let builder = builder.service("place", served.clone());
        let mut databases = None;
        let opens = async {
            loop {
                let opened = builder.clone().open_with(|real| {
                    databases = Some(real.databases.clone());
                    ports::faulty(real, &served)
                });
                match opened.await {
                    // a process that is being started shares the files of this one until it is another
                    Err(Error::Store(StoreError::Locked { .. }) | Error::Audit(AuditError::Locked { .. })) => {
                        breathes().await;
                    }
                    opened => return opened.expect("it opens"),
                }
            }
        };
        let runtime = tokio::time::timeout(PATIENCE, opens).await.expect("its data is free");
        let probe = runtime.engine.probe();
        served.learns_of(&probe);
        runtime.begin().await;
        runtime.readiness.started();
        let (app, alarms) = (runtime.router(), Arc::<Mutex<Vec<String>>>::default());
        let (mut events, heard) = (runtime.events.subscribe(), Arc::clone(&alarms));
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if let Event::Alarm { subject, .. } = &*event {
                    heard.lock().unwrap().push(subject.clone());
                }
            }
        });
        Self { runtime, root, probe, served, app, databases: databases.expect("it has databases"), alarms }
    }

    /// Without modules, but for one by whose ticks time is told.
    async fn new() -> Self {
        let site = Self::over(tempfile::tempdir().expect("a folder")).await;
        site.has_a_clock().await;
        site
    }

    async fn has_a_clock(&self) {
        self.runtime.register(modules::clock(self.root.path())).await.expect("it is registered");
        self.serves("clock@1.0.0").await;
    }

    /// Activates and confirms what must serve.
    async fn serves(&self, label: &str) {
        let report = self.runtime.activate(label).await.unwrap_or_else(|error| panic!("{label}: {error}"));
        report.ensure_serves().unwrap_or_else(|error| panic!("{label}: {error}"));
        let id = label.split('@').next().unwrap_or_default();
        self.runtime.confirm(id).await.unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    /// Registers three versions for a cell: 1.0.0 serves and has something, unless 2.0.0 is the first; 2.0.0 is what it is about,
    /// and 3.0.0 is good.
    async fn set_up(&self, cell: &Cell) -> Seen {
        for major in 1..=3 {
            let folder = modules::write(self.root.path(), cell, major);
            self.runtime.register(folder).await.unwrap_or_else(|error| panic!("{cell}: {error}"));
        }
        let mut seen = Seen::default();
        if !cell.kind.first {
            self.serves(&cell.label(1)).await;
            seen.count = self.adds(cell, "counter").await;
        }
        seen
    }

    fn arm(&self, cell: &Cell, place: Place, skip: usize, act: Act) {
        self.probe.arm(&cell.id, place, skip, act);
    }

    fn met(&self, cell: &Cell, place: Place) -> bool {
        self.probe.met(&cell.id, place) > 0
    }

    /// Activates a version of the cell.
    async fn activate(&self, cell: &Cell, major: u64) -> Told {
        let version = Version::new(major, 0, 0);
        let activation = self.runtime.engine.activate(&cell.id, &version, None);
        let ended = tokio::time::timeout(PATIENCE, activation).await;
        Told::from(ended.unwrap_or_else(|_| panic!("{cell}: it never ends")))
    }

    async fn end(self) -> TempDir {
        self.runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
        self.root
    }
}
