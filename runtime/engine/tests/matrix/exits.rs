//! The process ends at a place of a command: the next runtime drives it to one side of its point of no return, and the one
//! after that finds nothing more to do. What was on the disk at that moment is looked at while the command waits there; that
//! an abort leaves the same is the matter of `process`.

use super::*;

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The activation of 2.0.0.
    Activation,
    /// Its way back, since it is not well.
    WayBack,
    /// The way back from it while it is provisional.
    Return,
    /// A command while it is provisional.
    Given(Command),
    /// The rollback to 1.0.0, which does not stand by any more.
    Anew,
}

/// The places of a command: those before its point of no return, and those after it.
pub(super) fn places(what: What, kind: Kind) -> (Vec<Place>, Vec<Place>) {
    use When::{After, Inside};
    let written = [("commit", Inside), ("commit", After)];
    match what {
        What::Activation | What::Anew => {
            let strategy = if what == What::Anew { ActivationStrategy::Instant } else { kind.strategy };
            let all = super::forward::places(Kind { strategy, ..kind });
            let commit = all.iter().position(|place| place.0 == "commit").unwrap();
            let (before, after) = all.split_at(commit + 1);
            (before.to_vec(), written.iter().chain(after).chain(&super::forward::ENDS).copied().collect())
        }
        What::WayBack | What::Return => {
            let mut all = super::back::places(kind);
            all.extend(written);
            (Vec::new(), all)
        }
        What::Given(command) => {
            let (before, after) = command.places();
            (before, written.into_iter().chain(after).collect())
        }
    }
}

/// Begins what is interrupted; it waits at the cell's place, or the process ends there.
pub(super) async fn begin(world: &World, what: What, cell: &Cell, act: Act) -> tokio::task::JoinHandle<()> {
    let (step, when) = cell.place;
    let engine = world.engine.clone();
    let id = cell.id.clone();
    let version = Version::new(2, 0, 0);
    if !matches!(what, What::Activation | What::WayBack) {
        world.provisional(&cell.label(2)).await;
    }
    if what == What::Anew {
        world.engine.confirm(&cell.id).await.unwrap();
        world.settles(cell).await;
        world.engine.shared.probe.is_about(&id, "1.0.0");
    }
    if what == What::WayBack {
        let last = if cell.kind.is_gradual() { "verify" } else { "activate" };
        world.arm(cell, (last, When::After), 0, Act::Error);
    }
    if step == "health" {
        world.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(act)));
    } else {
        // the first commit of an activation is that by which it takes the traffic
        world.arm(cell, (step, when), usize::from(what == What::WayBack && step == "commit"), act);
    }
    match what {
        What::Activation | What::WayBack => {
            tokio::spawn(async move { drop(engine.activate(&id, &version, None).await) })
        }
        What::Given(command) => tokio::spawn(async move { drop(command.give(&engine, &id).await) }),
        What::Anew => tokio::spawn(async move { drop(engine.rollback(&id, None).await) }),
        What::Return => {
            world.trips_at(cell);
            tokio::spawn(async {})
        }
    }
}

/// What holds after the process ended at the cell's place: `is_past`: past the point of no return.
pub(super) async fn is_decided(mut world: World, what: What, cell: &Cell, is_past: bool) {
    let kind = cell.kind;
    let before = (!kind.first).then_some("1.0.0");
    let expected = match what {
        What::Activation if kind.first && is_past => Some("2.0.0"),
        What::Activation | What::WayBack | What::Return => before,
        What::Given(command) if is_past => command.serves(),
        What::Given(_) => before,
        What::Anew => Some(if is_past { "1.0.0" } else { "2.0.0" }),
    };
    // only where nothing of 2.0.0 is to serve again, and it says so, does its table go
    let stays = kind.preserve || expected == Some("2.0.0") || (what == What::Given(Command::Deactivate) && is_past);
    let mut seen = None;
    for start in ["first", "second"] {
        assert_eq!(world.engine.resume().await, [""; 0], "{cell}, {start} start");
        assert_eq!(world.is_one(cell).await.as_deref(), expected, "{cell}, {start} start");
        let history = world.engine.history(&cell.id, 50).await.unwrap();
        for entry in &history {
            let Some(outcome) = entry.outcome else { panic!("{cell}, {start} start: it is not decided: {entry:?}") };
            let explains = outcome.serves() || outcome == Outcome::Inactive || entry.reason.is_some();
            assert!(explains && entry.ended.is_some(), "{cell}, {start} start: {entry:?}");
        }
        let told: Vec<_> = history.into_iter().filter(|entry| entry.command != "resume").collect();
        let tables = world.tables(&cell.id);
        if stays {
            assert!(tables.is_empty() || tables == kind.migrations(), "{cell}, {start} start: {tables:?}");
        } else {
            assert_eq!(tables, [""; 0], "{cell}, {start} start");
        }
        if expected == Some("2.0.0") {
            assert_eq!(tables, kind.migrations(), "{cell}, {start} start");
        }
        let states = [1, 2].map(|major| world.state(&cell.label(major)));
        let now = (told, tables, states);
        if let Some(before) = seen.replace(now.clone()) {
            assert_eq!(now, before, "{cell}: it is decided once");
        }
        if start == "first" {
            world = world.restarted().await;
        }
    }
    world.goes_on(cell).await;
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn ended(what: What, kind: Kind, place: Place, is_past: bool) {
    let cell = Cell::new(kind, place, None);
    let (world, go) = (World::new().await, Arc::new(Notify::new()));
    world.set_up(&cell).await;
    let probe = Arc::clone(&world.engine.shared.probe);
    let command = begin(&world, what, &cell, Act::Freeze(Arc::clone(&go))).await;
    let arrives = async {
        while !world.met(&cell, if place.0 == "health" { ("health", When::Inside) } else { place }) {
            probe.reached.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrives)
        .await
        .unwrap_or_else(|_| panic!("{what:?} {cell}: nothing comes there"));
    let killed = world.killed().await;
    is_decided(killed, what, &cell, is_past).await;
    // and where the process does not end there, the command does
    probe.disarm(&cell.id);
    go.notify_one();
    tokio::time::timeout(Duration::from_secs(20), command).await.expect("it ends").unwrap();
    world.is_one(&cell).await;
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn each(what: What, kind: Kind) {
    let (before, after) = places(what, kind);
    let all = before.into_iter().map(|place| (place, false)).chain(after.into_iter().map(|place| (place, true)));
    let all = all.map(|(place, is_past)| (format!("{what:?}/{kind}/{place:?}"), ended(what, kind, place, is_past)));
    each_of(all, 4).await;
}

const GRADUAL: Kind = Kind::of(ActivationStrategy::Gradual);
const INSTANT: Kind = Kind::of(ActivationStrategy::Instant);

macro_rules! exits {
    ($($name:ident: $what:expr, $kind:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            each($what, $kind).await;
        }
    )*};
}

exits! {
    a_gradual_upgrade_that_ends_with_the_process_is_undone: What::Activation, GRADUAL;
    an_instant_upgrade_that_ends_with_the_process_is_undone: What::Activation, Kind { preserve: true, ..INSTANT };
    a_first_activation_that_ends_with_the_process_is_undone_or_finished: What::Activation, Kind { first: true, ..GRADUAL };
    a_way_back_that_ends_with_the_process_is_finished: What::WayBack, GRADUAL;
    a_way_back_that_keeps_data_and_ends_with_the_process_is_finished: What::WayBack, Kind { preserve: true, ..GRADUAL };
    an_instant_way_back_that_ends_with_the_process_is_finished: What::WayBack, INSTANT;
    a_return_that_ends_with_the_process_is_finished: What::Return, GRADUAL;
    a_deactivation_that_ends_with_the_process_is_undone_or_finished: What::Given(Command::Deactivate), GRADUAL;
    a_rollback_to_the_standby_that_ends_with_the_process_is_finished: What::Given(Command::Rollback), GRADUAL;
    a_confirmation_that_ends_with_the_process_is_undone_or_finished: What::Given(Command::Confirm), GRADUAL;
    a_rollback_to_what_stands_by_no_more_is_undone_or_finished: What::Anew, GRADUAL;
}

#[cfg(feature = "rhai")]
exits! {
    a_first_instant_activation_in_rhai_is_undone_or_finished: What::Activation, Kind { first: true, language: Language::Rhai, ..INSTANT };
    a_way_back_in_rhai_that_ends_with_the_process_is_finished: What::WayBack, Kind { language: Language::Rhai, ..GRADUAL };
    a_gradual_upgrade_in_rhai_that_ends_with_the_process_is_undone: What::Activation, Kind { preserve: true, language: Language::Rhai, ..GRADUAL };
    a_return_in_rhai_that_ends_with_the_process_is_finished: What::Return, Kind { language: Language::Rhai, ..GRADUAL };
    a_deactivation_in_rhai_that_ends_with_the_process_is_undone_or_finished: What::Given(Command::Deactivate), Kind { language: Language::Rhai, ..GRADUAL };
    a_rollback_in_rhai_to_the_standby_that_ends_with_the_process_is_finished: What::Given(Command::Rollback), Kind { language: Language::Rhai, ..GRADUAL };
    a_confirmation_in_rhai_that_ends_with_the_process_is_undone_or_finished: What::Given(Command::Confirm), Kind { language: Language::Rhai, ..GRADUAL };
    a_rollback_in_rhai_to_what_stands_by_no_more_is_undone_or_finished: What::Anew, Kind { language: Language::Rhai, ..GRADUAL };
}
