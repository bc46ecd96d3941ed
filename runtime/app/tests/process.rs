//! The same with a process that really ends: a child aborts at the place, and this process opens what it left.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::back::Way;
use super::*;
use crate::engine::Outcome;

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The activation of 2.0.0.
    Activation,
    /// Its way back.
    Back(Way),
}

/// The places of a command, and whether each is past the point of no return.
pub(super) fn places(what: What, strategy: ActivationStrategy, first: bool) -> Vec<(Place, bool)> {
    let written = [("commit", When::Inside), ("commit", When::After)];
    match what {
        What::Activation => {
            let all = super::forward::places(strategy, first);
            let commit = all.iter().position(|place| place.0 == "commit").expect("it commits");
            let (before, after) = all.split_at(commit + 1);
            let before = before.iter().map(|place| (*place, false));
            before.chain(written.iter().chain(after).map(|place| (*place, true))).collect()
        }
        What::Back(_) => {
            let all = super::back::places(strategy).into_iter().chain(written);
            all.map(|place| (place, true)).collect()
        }
    }
}

/// The cells of a command, and whether each is past the point of no return.
fn cells(what: What, strategy: ActivationStrategy, first: bool) -> Vec<(Cell, bool)> {
    let places = places(what, strategy, first);
    let cells = sample::exits(what, strategy, first, sample::size()).into_iter();
    // each cell has a process of its own, and the clock has another id
    let cells = cells.map(|cell| Cell { id: "x".to_owned(), ..cell });
    cells
        .map(|cell| (places.iter().any(|(place, is_past)| *place == cell.place && *is_past), cell))
        .map(|(p, c)| (c, p))
        .collect()
}

/// Runs in a process of its own, which aborts at the place.
async fn end(what: What, cell: &Cell, root: &Path) {
    // not removed at the end, since there is none
    let root = tempfile::Builder::new().disable_cleanup(true).tempdir_in(root).expect("a folder");
    let site = Site::over(root).await;
    site.has_a_clock().await;
    let mut seen = site.set_up(cell).await;
    match what {
        What::Activation if cell.place.0 == "health" => {
            site.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(Act::Abort)));
        }
        What::Activation => site.arm(cell, cell.place, 0, Act::Abort),
        What::Back(_) => {}
    }
    match what {
        What::Activation => drop(site.activate(cell, 2).await),
        What::Back(way) => drop(site.takes_back(cell, way, Act::Abort, &mut seen).await),
    }
    // the way back from a provisional version is no command of this task
    let _ = tokio::time::timeout(PATIENCE, std::future::pending::<()>()).await;
}

/// What holds after a start: one side of the point of no return, and nothing of the other.
async fn is_decided(site: &Site, (what, cell, is_past): (What, &Cell, bool), start: &str) {
    let mut seen = Seen::default();
    let finished = what == What::Activation && cell.kind.first && is_past;
    let expected = match (finished, cell.kind.first) {
        (true, _) => Some("2.0.0"),
        (false, true) => None,
        (false, false) => Some("1.0.0"),
    };
    assert_eq!(site.runtime.troubles(), [""; 0], "{cell}, {start} start");
    assert_eq!(site.is_one(cell, &mut seen).await.as_deref(), expected, "{cell}, {start} start");
    for entry in site.history(cell).await {
        let outcome = entry.outcome.unwrap_or_else(|| panic!("{cell}, {start} start: it is not decided: {entry:?}"));
        let explains = outcome.serves() || outcome == Outcome::Inactive || entry.reason.is_some();
        assert!(explains && entry.ended.is_some(), "{cell}, {start} start: {entry:?}");
    }
}

async fn aborted(name: &str, number: usize, (what, cell, is_past): (What, Cell, bool)) {
    let root = tempfile::tempdir().expect("a folder");
    let mut child = Process::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", &format!("app::tests::process::{name}"), "--test-threads", "1"]);
    child.env("REPLUG_TEST_CELL", number.to_string()).env("REPLUG_TEST_DIR", root.path());
    child.stdout(Stdio::null()).stderr(Stdio::null());
    let status = tokio::task::spawn_blocking(move || child.status()).await.expect("it runs").expect("a status");
    assert_eq!(status.code(), None, "{what:?} {cell}: it comes there and aborts: {status:?}");
    let left = std::fs::read_dir(root.path()).expect("a folder").next().expect("its folder").expect("a name").path();
    let mut now = tempfile::Builder::new().tempdir_in(root.path()).expect("a folder");
    std::fs::rename(left.join("data"), now.path().join("data")).expect("it is moved");
    for start in ["first", "second"] {
        let site = Site::over(now).await;
        is_decided(&site, (what, &cell, is_past), start).await;
        if start == "second" {
            let mut seen = Seen { count: 1, ..Seen::default() };
            if site.serving(&cell).is_none() {
                seen.count = 0;
            }
            site.goes_on(&cell, &mut seen).await;
            site.goes(&cell, &mut seen).await;
        }
        now = site.end().await;
    }
}

async fn each(name: &str, what: What, strategy: ActivationStrategy, first: bool) {
    let cells = cells(what, strategy, first);
    if let (Ok(number), Some(root)) = (std::env::var("REPLUG_TEST_CELL"), std::env::var_os("REPLUG_TEST_DIR")) {
        let number: usize = number.parse().expect("a number");
        return end(what, &cells[number].0, Path::new(&root)).await;
    }
    let cells = cells.into_iter().enumerate();
    let cells = cells
        .map(|(number, (cell, is_past))| (format!("{what:?}/{cell}"), aborted(name, number, (what, cell, is_past))));
    each_of(cells, AT_ONCE / 2).await;
}

macro_rules! aborts {
    ($($name:ident: $what:expr, $strategy:ident, first $first:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            each(stringify!($name), $what, ActivationStrategy::$strategy, $first).await;
        }
    )*};
}

aborts! {
    a_gradual_upgrade_whose_process_aborts_leaves_nothing_of_it: What::Activation, Gradual, first false;
    an_instant_upgrade_whose_process_aborts_leaves_nothing_of_it: What::Activation, Instant, first false;
    a_first_gradual_activation_whose_process_aborts_leaves_nothing_or_serves: What::Activation, Gradual, first true;
    a_first_instant_activation_whose_process_aborts_leaves_nothing_or_serves: What::Activation, Instant, first true;
    a_gradual_way_back_whose_process_aborts_is_finished: What::Back(Way::Step), Gradual, first false;
    an_instant_way_back_whose_process_aborts_is_finished: What::Back(Way::Step), Instant, first false;
    a_gradual_return_whose_process_aborts_is_finished: What::Back(Way::Trigger), Gradual, first false;
    an_instant_return_whose_process_aborts_is_finished: What::Back(Way::Trigger), Instant, first false;
}
