//! The commands that bring nothing new, and go wrong at a place: before the point of no return they are refused, after it they
//! are done, and nothing is left of the version that loses its place by them.

use super::*;
use crate::engine::expected::Command;
use crate::engine::{Outcome, State};

/// The version that ends by it.
const fn ends(command: Command) -> &'static str {
    match command {
        Command::Deactivate | Command::Rollback => "2.0.0",
        Command::Confirm => "1.0.0",
    }
}

async fn given(site: &Site, command: Command, cell: Cell) {
    let mut seen = site.set_up(&cell).await;
    let told = site.activate(&cell, 2).await;
    assert_eq!(told.outcome(), Some(Outcome::Provisional), "{cell}: {told:?}");
    seen.count = site.adds(&cell, "counter").await;
    site.served.goes_wrong(&cell.id, ends(command));
    site.arm(&cell, cell.place, 0, cell.act(cell.wrong.expect("something goes wrong")));
    let ended = tokio::time::timeout(PATIENCE, command.give(&site.runtime.engine, &cell.id)).await;
    let told = ended.unwrap_or_else(|_| panic!("{cell}: it never ends"));
    // the version before ends behind the confirmation
    until(&format!("{cell}: it comes there: {told:?}"), || site.met(&cell, cell.place)).await;
    site.probe.disarm(&cell.id);
    let is_before = cell.place.0 == "commit";
    assert_eq!(told.is_err(), is_before, "{cell}: {told:?}");
    let serves = if is_before { Some("2.0.0") } else { command.serves() };
    let history = site.history(&cell).await;
    let first = history.first().unwrap_or_else(|| panic!("{cell}: no entry"));
    match (command, is_before) {
        // it is noted in the entry of the activation
        (Command::Confirm, is_before) => assert_eq!(first.confirmed.is_none(), is_before, "{cell}: {first:?}"),
        (_, true) => assert!(first.outcome == Some(Outcome::Failed) && first.reason.is_some(), "{cell}: {first:?}"),
        (Command::Deactivate, false) => assert_eq!(first.outcome, Some(Outcome::Inactive), "{cell}: {first:?}"),
        (Command::Rollback, false) => assert_eq!(first.outcome, Some(Outcome::Active), "{cell}: {first:?}"),
    }
    let is_left = cell.place == ("rollback", When::Inside);
    seen.is_left = is_left;
    assert_eq!(site.is_one(&cell, &mut seen).await.as_deref(), serves, "{cell}");
    if is_before {
        let states = (site.state(&cell, 1), site.state(&cell, 2));
        assert_eq!(states, (State::Standby, State::Provisional), "{cell}");
    }
    // what it brought goes with it where it is taken back, unless that is what failed: then it is told
    let is_undone = command == Command::Rollback && !is_before && !is_left && !cell.kind.preserve;
    let tables = cell.migrations(if is_undone { 1 } else { 2 }).count();
    assert_eq!(site.applied(&cell).await.len(), tables, "{cell}: its migrations");
    let alarm = site.alarms.lock().unwrap().iter().any(|subject| subject.starts_with(&format!("{}@", cell.id)));
    assert_eq!(alarm, is_left, "{cell}: an alarm");
    site.goes_on(&cell, &mut seen).await;
    site.goes(&cell, &mut seen).await;
}

async fn each(command: Command) {
    let site = Site::new().await;
    let cells = sample::given(command, sample::size()).into_iter();
    each_of(cells.map(|cell| (cell.to_string(), given(&site, command, cell))), AT_ONCE).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivation_that_goes_wrong_anywhere_is_refused_or_leaves_nothing_of_it() {
    each(Command::Deactivate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_to_the_standby_that_goes_wrong_anywhere_is_refused_or_leaves_nothing_of_it() {
    each(Command::Rollback).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_goes_wrong_anywhere_is_refused_or_leaves_nothing_of_the_version_before() {
    each(Command::Confirm).await;
}
