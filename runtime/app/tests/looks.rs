//! What is looked at after each cell.

use axum::body::{Body, to_bytes};
use http::Request;
use replug_scripts::Value;
use tower::ServiceExt as _;

use super::*;
use crate::engine::expected::Told;
use crate::engine::{HistoryEntry, Outcome, State, StepOutcome};
use crate::integration::migrations::Migrations;

/// What a cell's module did so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The state of its counter.
    pub(super) count: i64,
    /// Whether a command has said, by an alarm, that migrations are left.
    pub(super) is_left: bool,
}

const VERSIONS: [&str; 3] = ["1.0.0", "2.0.0", "3.0.0"];

fn texts(list: &Value) -> Vec<String> {
    let Value::List(list) = list else { panic!("no list: {list:?}") };
    let text = |it: &Value| it.as_str().or_else(|| it.get("name")?.as_str()).map(str::to_owned);
    list.iter().filter_map(text).collect()
}

impl Site {
    /// The answer of a `GET`: its status, and what it says.
    async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = self.app.clone().oneshot(request).await.expect("it never fails");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn asks(&self, cell: &Cell, method: &str, args: Value) -> Value {
        let asked = self.runtime.call_value(&cell.id, method, args).await;
        asked.unwrap_or_else(|error| panic!("{cell}: {method}: {error}"))
    }

    /// Adds one to an actor of the cell's module; its count, by the version that serves.
    pub(super) async fn adds(&self, cell: &Cell, actor: &str) -> i64 {
        let state = self.asks(cell, "add", actor.into()).await;
        let serving = self.serving(cell).expect("a version serves");
        assert_eq!(state.get("by").and_then(Value::as_str), Some(&*serving), "{cell}: {actor}: {state:?}");
        state.get("count").and_then(Value::as_i64).unwrap_or_else(|| panic!("{cell}: {actor}: {state:?}"))
    }

    /// The version that serves.
    pub(super) fn serving(&self, cell: &Cell) -> Option<String> {
        self.runtime.instance(&cell.id).map(|instance| instance.key.version.to_string())
    }

    pub(super) fn state(&self, cell: &Cell, major: u64) -> State {
        self.runtime.engine.state(&cell.id, &Version::new(major, 0, 0)).state
    }

    /// Waits until nothing of the module is on its way, in or out.
    pub(super) async fn settles(&self, cell: &Cell) {
        let moves = |state| matches!(state, State::Activating | State::RollingBack | State::Draining);
        until(&format!("{cell}: it settles"), || {
            let rows = self.runtime.list();
            let row = rows.iter().find(|row| row.id == cell.id);
            row.is_none_or(|row| row.candidate.is_none()) && !(1..=3).any(|major| moves(self.state(cell, major)))
        })
        .await;
        let decided = async {
            // the end of a return is written a moment after its states
            while self.history(cell).await.iter().any(|entry| entry.outcome.is_none()) {
                breathes().await;
            }
        };
        tokio::time::timeout(PATIENCE, decided).await.unwrap_or_else(|_| panic!("{cell}: its journal stays open"));
    }

    pub(super) async fn history(&self, cell: &Cell) -> Vec<HistoryEntry> {
        self.runtime.history(&cell.id, 50).await.unwrap_or_else(|error| panic!("{cell}: {error}"))
    }

    /// What was told is true: the journal says the same and why, and that version serves which it means.
    pub(super) async fn is_true(&self, cell: &Cell, told: &Told) {
        self.settles(cell).await;
        let before = (!cell.kind.first).then(|| "1.0.0".to_owned());
        let (serving, state) = (self.serving(cell), self.state(cell, 2));
        let history = self.history(cell).await;
        let entry = history.into_iter().find(|entry| entry.version == "2.0.0" && entry.command == "activate");
        let Some(outcome) = told.outcome() else {
            let Told::Refused(reason) = told else { panic!("{cell}: it was told nothing") };
            assert!(!reason.is_empty() && entry.is_none(), "{cell}: {reason}, {entry:?}");
            assert_eq!((serving, state), (before, State::Registered), "{cell}");
            return;
        };
        let entry = entry.unwrap_or_else(|| panic!("{cell}: no entry: {told:?}"));
        assert_eq!(entry.outcome, Some(outcome), "{cell}: {entry:?}");
        let serves = match outcome {
            Outcome::Provisional | Outcome::Active => Some("2.0.0".to_owned()),
            Outcome::RolledBack | Outcome::Failed => before,
            Outcome::FailedToRestore => serving.clone(),
            Outcome::Inactive => panic!("{cell}: {told:?}"),
        };
        let expected = expected::state(outcome);
        assert_eq!((serving, state), (serves, expected), "{cell}: {told:?}");
        assert_eq!(outcome == Outcome::Failed, cell.kind.first && !outcome.serves(), "{cell}: {told:?}");
        if outcome.serves() {
            return;
        }
        let reason = entry.reason.as_deref().unwrap_or_default();
        let failed = entry.steps.iter().filter(|step| step.outcome != Some(StepOutcome::Done));
        let failed: Vec<_> = failed.map(|step| &*step.name).collect();
        assert!(failed.iter().any(|step| reason.contains(step)), "{cell}: {entry:?}");
        // what came too late is noticed by the step after it
        let is_own = failed.contains(&expected::step(cell.place, false));
        assert!(is_own || cell.wrong == Some(Wrong::Hang), "{cell}: {entry:?}");
    }

    /// What holds whatever happened: exactly the version that serves is there, in every place where a version can be seen.
    pub(super) async fn is_one(&self, cell: &Cell, seen: &mut Seen) -> Option<String> {
        self.settles(cell).await;
        let serving = self.serving(cell);
        self.is_routed(cell, serving.as_deref()).await;
        match &serving {
            Some(serving) => {
                let count = self.adds(cell, "counter").await;
                assert_eq!(count, seen.count + 1, "{cell}: its actor goes on");
                seen.count = count;
                self.is_kept(cell, serving, seen.is_left).await;
                self.hears_once(cell, serving).await;
            }
            None => {
                *seen = Seen::default();
                assert!(self.runtime.call_value(&cell.id, "look", Value::Null).await.is_err(), "{cell}: it is called");
                until(&format!("{cell}: its threads end"), || !has_thread(&cell.id)).await;
                let tables = self.applied(cell).await;
                assert_eq!(self.file(cell).is_some(), !tables.is_empty(), "{cell}: a file with nothing in it");
            }
        }
        self.ticks(cell, serving.as_deref()).await;
        serving
    }

    /// The routes, the pages and the navigation are those of what serves.
    async fn is_routed(&self, cell: &Cell, serving: Option<&str>) {
        let id = &cell.id;
        for version in VERSIONS {
            let serves = serving == Some(version);
            for path in [format!("/api/{id}/{version}"), format!("/{id}/{version}")] {
                let (status, body) = self.get(&path).await;
                assert_eq!(status, if serves { 200 } else { 404 }, "{cell}: {path}: {body}");
                assert!(!serves || body.contains(version), "{cell}: {path}: {body}");
            }
        }
        for path in [format!("/api/{id}"), format!("/{id}")] {
            let (status, body) = self.get(&path).await;
            assert_eq!(status, if serving.is_some() { 200 } else { 404 }, "{cell}: {path}: {body}");
            assert!(serving.is_none_or(|version| body.contains(version)), "{cell}: {path}: {body}");
        }
        let (_, page) = self.get("/clock").await;
        let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let of = |link: &&str| link.strip_prefix('/').is_some_and(|link| link.split('/').next() == Some(id));
        let mut links: Vec<_> = links.filter(of).map(str::to_owned).collect();
        links.sort();
        let wanted = serving.map_or_else(Vec::new, |version| vec![format!("/{id}"), format!("/{id}/{version}")]);
        assert_eq!(links, wanted, "{cell}: the navigation");
    }

    /// The tables are those of the applied migrations, and what the version before wrote is there.
    async fn is_kept(&self, cell: &Cell, serving: &str, is_left: bool) {
        let look = self.asks(cell, "look", Value::Null).await;
        let of = |key: &str| texts(look.get(key).unwrap_or_else(|| panic!("{cell}: no {key}: {look:?}")));
        let tables: Vec<String> =
            self.applied(cell).await.iter().map(|version| format!("t{}", version.major)).collect();
        assert_eq!(of("tables"), tables, "{cell}: tables beside those of the migrations");
        let major = serving[..1].parse().expect("a number");
        let own: Vec<String> = cell.migrations(major).map(|number| format!("t{number}")).collect();
        let kept: Vec<String> = cell.migrations(3).map(|number| format!("t{number}")).collect();
        let fits = tables.starts_with(&own) && kept.starts_with(&tables);
        assert!(
            fits && (cell.kind.preserve || tables == own || is_left || self.is_left(cell)),
            "{cell}: {serving}: {tables:?}"
        );
        // what a version wrote itself is the module's, whoever serves; what was there before is never lost
        for (key, what) in [("keys", "made "), ("files", "")] {
            let there = of(key);
            let before = if cell.kind.first { None } else { Some("1.0.0") };
            let has = |version: &str| there.contains(&format!("{what}{version}"));
            assert!(before.is_none_or(has), "{cell}: {key}: {there:?}");
        }
        if !cell.kind.first {
            let Value::List(rows) = self.asks(cell, "rows", Value::Null).await else { panic!("{cell}: no rows") };
            assert_eq!(rows.len(), 1, "{cell}: {rows:?}");
        }
    }

    /// Whether something could not be taken back.
    fn is_left(&self, cell: &Cell) -> bool {
        self.state(cell, 2) == State::FailedToRestore
    }

    /// The migrations that are applied.
    pub(super) async fn applied(&self, cell: &Cell) -> Vec<Version> {
        let (migrations, id) = (Migrations::new(self.databases.clone()), cell.id.clone());
        let applied = tokio::task::spawn_blocking(move || migrations.applied(&id)).await.expect("it ends");
        applied.unwrap_or_else(|error| panic!("{cell}: {error}"))
    }

    /// The file of the module's database, if there is one.
    fn file(&self, cell: &Cell) -> Option<String> {
        let files = std::fs::read_dir(self.root.path().join("data/databases")).expect("a folder").flatten();
        let mut names = files.filter_map(|file| file.file_name().into_string().ok());
        names.find(|name| name.split('.').next() == Some(&cell.id))
    }

    /// What is published is heard once, by what serves.
    async fn hears_once(&self, cell: &Cell, serving: &str) {
        let what = format!("{}", self.served.heard(&cell.id, "heard ").len());
        self.asks(cell, "say", what.as_str().into()).await;
        let by = (what.clone(), serving.to_owned());
        let heard = || self.served.heard(&cell.id, "heard ");
        until(&format!("{cell}: {what} is heard"), || heard().contains_key(&by)).await;
        self.passes(2).await;
        let of: Vec<_> = heard().into_iter().filter(|((said, _), _)| *said == what).collect();
        assert_eq!(of, [(by, 1)], "{cell}");
    }

    /// Waits until the clock has ticked so often.
    pub(super) async fn passes(&self, times: u64) {
        let ticks = || self.served.heard("clock", "ticked ").into_values().sum::<u64>();
        let last = ticks() + times;
        until("the clock ticks", || ticks() >= last).await;
    }

    /// The timers that tick are those of what serves.
    async fn ticks(&self, cell: &Cell, serving: Option<&str>) {
        let ticks = || self.served.heard(&cell.id, "ticked ");
        // what ticked before may still wait
        self.passes(2).await;
        let before = ticks();
        if let Some(serving) = serving {
            for timer in ["shared", "own"] {
                let of = (format!("{timer} {serving}"), serving.to_owned());
                let times = before.get(&of).copied().unwrap_or_default() + 2;
                let is = || ticks().get(&of).is_some_and(|now| *now >= times);
                until(&format!("{cell}: {timer} of {serving} ticks"), is).await;
            }
        } else {
            self.passes(2).await;
        }
        let is_own = |what: &str| serving.is_some_and(|serving| what.ends_with(serving));
        for ((what, by), now) in ticks() {
            let then = before.get(&(what.clone(), by.clone())).copied().unwrap_or_default();
            assert!(now == then || is_own(&what), "{cell}: {what} ticks by {by}, {serving:?} serves");
        }
    }

    /// The module is not wedged: a good version takes over, and of the others nothing is left.
    pub(super) async fn goes_on(&self, cell: &Cell, seen: &mut Seen) {
        self.probe.disarm(&cell.id);
        let report = self.activate(cell, 3).await;
        assert!(report.outcome().is_some_and(Outcome::serves), "{cell}: {report:?}");
        self.runtime.confirm(&cell.id).await.unwrap_or_else(|error| panic!("{cell}: {error}"));
        assert_eq!(self.is_one(cell, seen).await.as_deref(), Some("3.0.0"), "{cell}");
        // nothing is left of an actor that only the version had that was taken back
        if self.state(cell, 2) != State::Inactive {
            assert_eq!(self.adds(cell, "late").await, 1, "{cell}: an actor of 2.0.0 is left");
        }
    }

    /// The module goes out of service, and nothing of it is left but its data.
    pub(super) async fn goes(&self, cell: &Cell, seen: &mut Seen) {
        if self.serving(cell).is_some() {
            let report = self.runtime.deactivate(&cell.id).await.unwrap_or_else(|error| panic!("{cell}: {error}"));
            assert!(report.failed.is_empty(), "{cell}: {report:?}");
            assert_eq!(self.is_one(cell, seen).await, None, "{cell}");
        }
    }
}

/// Whether a thread of a module runs; elsewhere than on Linux nobody can say.
fn has_thread(id: &str) -> bool {
    let name = format!("vm:{id}\n");
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok()).any(|comm| comm == name)
}
