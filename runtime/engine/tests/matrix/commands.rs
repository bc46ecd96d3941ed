//! The commands that bring nothing new, and what becomes of the version that loses its place by them.

use super::*;

fn cells(command: Command, kind: Kind) -> Vec<Cell> {
    let (before, after) = command.places();
    let of = |place: Place| expected::of_command(place).into_iter().map(move |wrong| Cell::new(kind, place, wrong));
    before.into_iter().chain(after).flat_map(of).collect()
}

async fn given(world: &World, command: Command, cell: Cell) -> Cell {
    let mut events = world.events.subscribe();
    world.set_up(&cell).await;
    world.provisional(&cell.label(2)).await;
    world.arm(&cell, cell.place, 0, cell.wrong.unwrap().act(cell.place.1, TIME));
    let ended = tokio::time::timeout(Duration::from_secs(30), command.give(&world.engine, &cell.id)).await;
    let told = ended.unwrap_or_else(|_| panic!("{cell}: it never ends"));
    let serving = world.is_one(&cell).await;
    assert!(world.met(&cell, cell.place), "{cell}: nothing came there: {told:?}");
    let is_before = cell.place.0 == "commit";
    assert_eq!(told.is_err(), is_before, "{cell}: {told:?}");
    if is_before {
        let is_same = (world.state(&cell.label(1)), world.state(&cell.label(2)));
        assert_eq!((serving.as_deref(), is_same), (Some("2.0.0"), (State::Standby, State::Provisional)), "{cell}");
    } else {
        assert_eq!(serving.as_deref(), command.serves(), "{cell}");
    }
    let history = world.engine.history(&cell.id, 1).await.unwrap().remove(0);
    match (command, is_before) {
        // it is noted in the entry of the activation
        (Command::Confirm, is_before) => assert_eq!(history.confirmed.is_none(), is_before, "{cell}: {history:?}"),
        (_, true) => {
            let reason = history.reason.as_deref().unwrap_or_default();
            assert!(history.outcome == Some(Outcome::Failed) && !reason.is_empty(), "{cell}: {history:?}");
        }
        (Command::Deactivate, false) => assert_eq!(history.outcome, Some(Outcome::Inactive), "{cell}: {history:?}"),
        (Command::Rollback, false) => assert_eq!(history.outcome, Some(Outcome::Active), "{cell}: {history:?}"),
    }
    let mut seen = Vec::new();
    check::alarms(&mut events, &mut seen);
    let is_left = cell.place.0 == "rollback";
    let tables = if command == Command::Rollback && !is_before && !is_left { &[][..] } else { cell.kind.migrations() };
    assert_eq!(world.tables(&cell.id), tables, "{cell}");
    if is_left {
        assert!(seen.iter().any(|(subject, _)| subject.starts_with(&cell.label(2))), "{cell}: an alarm: {seen:?}");
    }
    cell
}

async fn each(command: Command, language: Language) {
    let world = World::new().await;
    let kind = Kind { language, ..Kind::of(ActivationStrategy::Gradual) };
    let cells = cells(command, kind).into_iter().map(|cell| (cell.to_string(), given(&world, command, cell)));
    let cells = each_of(cells, AT_ONCE).await;
    let killed = world.killed().await;
    killed.engine.resume().await;
    for cell in &cells {
        let expected = if cell.place.0 == "commit" { Some("1.0.0") } else { command.serves() };
        assert_eq!(killed.is_one(cell).await.as_deref(), expected, "{cell}, after a restart");
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    each_of(cells.iter().map(|cell| (cell.to_string(), world.goes_on(cell))), AT_ONCE).await;
    world.ends(&cells).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivation_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Deactivate, Language::Lua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_to_the_standby_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Rollback, Language::Lua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Confirm, Language::Lua).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivation_in_rhai_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Deactivate, Language::Rhai).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_in_rhai_to_the_standby_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Rollback, Language::Rhai).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_in_rhai_that_goes_wrong_anywhere_is_refused_or_done() {
    each(Command::Confirm, Language::Rhai).await;
}
