//! The matrix: a fault before, inside and after each step of both strategies, of the rollback, of the other commands and of the
//! start of what served, by a port, a script of either language, or the engine itself. Whatever happens, exactly one version serves, what is told is
//! true, it is what [`expected`] says of that fault, the journal explains it, and nothing is left over of what does not serve.
//!
//! Each cell has a module of its own, so those of one test run side by side in one runtime; only those that end the process
//! have a runtime each. A cell whose place no command comes to has failed. These places have no cell:
//!
//! | place | faults | reason |
//! |---|---|---|
//! | inside `commit`, between the records and the routes | error, panic, hang | nothing there can fail: two stores of pointers |
//! | after `commit` | error, panic, hang | nothing is left of it but to tell it; what fails comes from the step around it |
//! | inside `deactivate` | error, panic | the supervisor of modules gives no error; what hangs there is a script, which ends by its limits |
//! | inside `migrate`, of a start | error, panic, hang | what served has nothing that is pending |
//! | inside `unregister`, `restore` | error, panic, hang | one forgets endpoints in memory, one only looks |

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;

use super::expected::{self, Command, End, Place, WRONGS, Wrong};
use super::*;
use crate::engine::probe::{Act, When};

mod back;
mod check;
mod commands;
mod exits;
mod forward;
mod meets;
mod process;
mod sets;
mod start;
mod steered;
mod writes;

use super::expected::Told;

/// The language of a cell's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Lua,
    #[cfg(feature = "rhai")]
    Rhai,
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
    const fn of(strategy: ActivationStrategy) -> Self {
        Self { strategy, first: false, language: Language::Lua, preserve: false }
    }

    const fn is_gradual(self) -> bool {
        matches!(self.strategy, ActivationStrategy::Gradual)
    }

    /// The migrations of 2.0.0.
    const fn migrations(self) -> &'static [&'static str] {
        if self.is_gradual() { &["2.0.0"] } else { &[] }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, data) = (if self.first { "first" } else { "newer" }, if self.preserve { "kept" } else { "undone" });
        write!(f, "{:?}/{:?}/{what}/data {data}", self.strategy, self.language)
    }
}

/// One cell: a module of its own, what is done with it, and where that goes wrong.
#[derive(Clone, Debug)]
struct Cell {
    id: String,
    kind: Kind,
    place: Place,
    wrong: Option<Wrong>,
    /// Whether it goes wrong on the way back.
    back: bool,
}

impl Cell {
    fn new(kind: Kind, place: Place, wrong: impl Into<Option<Wrong>>) -> Self {
        // modules of one process have threads by their names
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("x{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self { id, kind, place, wrong: wrong.into(), back: false }
    }

    fn label(&self, major: u64) -> String {
        format!("{}@{major}.0.0", self.id)
    }

    /// The step that its place is in.
    fn step(&self) -> &'static str {
        expected::step(self.place, self.back)
    }

    /// What its activation comes to.
    fn end(&self) -> End {
        expected::forward((self.kind.strategy, self.kind.first), self.place, self.wrong.expect("something goes wrong"))
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (step, when) = self.place;
        let wrong = self.wrong.map_or_else(|| "Exit".to_owned(), |wrong| format!("{wrong:?}"));
        write!(f, "{}/{step}/{when:?}/{wrong} ({})", self.kind, self.id)
    }
}

/// How many cells run side by side.
const AT_ONCE: usize = 8;

/// Runs cells side by side, each to its end, and fails by the names of those that failed.
async fn each_of<T, F: Future<Output = T>>(cells: impl IntoIterator<Item = (String, F)>, at_once: usize) -> Vec<T> {
    let run = async |(name, cell): (String, F)| {
        let ended = AssertUnwindSafe(cell).catch_unwind().await;
        ended.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("{name}: {}", text.unwrap_or_default())
        })
    };
    let all: Vec<_> = futures::stream::iter(cells).map(run).buffer_unordered(at_once).collect().await;
    let (done, failed): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
    done.into_iter().filter_map(Result::ok).collect()
}

/// How long the steps, and the way back, of a module may take where something hangs, which takes that long.
const TIME: Duration = Duration::from_millis(1500);

/// A script that asks at each of its handlers what to do there.
const LUA: &str = "local function at(place)
  local what = services.call('place.' .. place, {})
  if what == 'throw' then error('broken on demand') end
  while what == 'loop' do end
end
return {
  init = function() at('init') end,
  warmup = function() at('warmup') end,
  health = function() at('health') return 'healthy' end,
  shutdown = function() at('shutdown') end,
  cleanup = { sweep = function() at('sweep') end },
}";

#[cfg(feature = "rhai")]
const RHAI: &str = r#"fn at(place) {
  let what = services.call("place." + place, #{});
  if what == "throw" { throw "broken on demand"; }
  while what == "loop" {}
}
#{
  init: |ctx| { at("init"); },
  warmup: |ctx| { at("warmup"); },
  health: |ctx| { at("health"); "healthy" },
  shutdown: |ctx| { at("shutdown"); },
  cleanup: #{ sweep: |ctx| { at("sweep"); } },
}"#;

impl World {
    /// Registers three versions for a cell: 1.0.0 serves, unless 2.0.0 is the first; 2.0.0 is what it is about, and 3.0.0 is good.
    async fn set_up(&self, cell: &Cell) {
        self.set_up_with(cell, |_| String::new()).await;
    }

    /// The same, where the manifest of each version says more.
    async fn set_up_with(&self, cell: &Cell, says: impl Fn(&str) -> String) {
        let Cell { id, kind, .. } = cell;
        let strategy = if kind.is_gradual() { "gradual" } else { "instant" };
        // nothing else is to end by its time, however busy the machine is
        let (time, limits, check) = match cell.wrong {
            Some(Wrong::Hang | Wrong::Loop) => (TIME, "cpuTime: 100ms, wallTime: 400ms", "300ms"),
            _ => (Duration::from_secs(20), "cpuTime: 5s, wallTime: 10s", "10s"),
        };
        let time = time.as_millis();
        let table = "database: { migrations: [{ version: 2.0.0, file: 2.sql }] }\n";
        let lifecycle = format!(
            "runtime: {{ limits: {{ {limits} }} }}\n\
             lifecycle:\n  deactivation: {{ timeout: 300ms, cleanup: [sweep] }}\n  \
             rollback: {{ preserveData: {}, timeout: {time} }}\n  activation:\n    strategy: {strategy}\n    timeout: {time}\n    \
             confirmWindow: 1h\n    rollbackTriggers: [criticalError, healthCheckFailure]\n    \
             healthChecks: [{{ type: custom, timeout: {check}, interval: 10s, retries: 0 }}]\n    \
             trafficShifting: {{ interval: 10ms, increment: 40, maxIncrement: 40 }}\n",
            kind.preserve
        );
        let script = match kind.language {
            Language::Lua => ("main.lua", LUA),
            #[cfg(feature = "rhai")]
            Language::Rhai => ("main.rhai", RHAI),
        };
        let files = [script, ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
        for version in ["1.0.0", "2.0.0", "3.0.0"] {
            let more = if kind.is_gradual() && version != "1.0.0" { table } else { "" };
            let says = says(version);
            self.register_files(id, version, &format!("{says}{more}{lifecycle}"), &files).await;
        }
        if !kind.first {
            self.serves(&cell.label(1)).await;
        }
    }

    fn arm(&self, cell: &Cell, place: Place, skip: usize, act: Act) {
        self.engine.shared.probe.arm(&cell.id, place, skip, act);
    }

    /// A trigger of the version of the cell that serves.
    fn trips_at(&self, cell: &Cell) {
        let instance = self.router.snapshot().instance(&cell.id, 0).unwrap().key.clone();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    }

    /// Whether the cell's place was come to.
    fn met(&self, cell: &Cell, place: Place) -> bool {
        self.engine.shared.probe.met(&cell.id, place) > 0
    }
}
