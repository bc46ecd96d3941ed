//! The start of what served when the runtime ended, which goes wrong before, inside and after each of its steps, or ends there
//! with the process. What does not start serves nothing, says why, and is tried again by the next start.

use super::*;
use crate::engine::strategy::RESUME;

/// What starts is the first version, and its last step is that of an instant activation: nothing judges it once it serves.
const fn kind(language: Language) -> Kind {
    Kind { language, first: true, ..Kind::of(ActivationStrategy::Instant) }
}

fn places() -> Vec<Place> {
    let mut places = forward::places_of(RESUME, false);
    places.retain(|place| *place != ("migrate", When::Inside));
    places
}

/// A runtime over what a runtime left in which 1.0.0 of all of these served. Nothing is started yet.
async fn found(cells: &[Cell]) -> World {
    let world = World::new().await;
    let serves = async |cell: &Cell| {
        world.set_up(cell).await;
        world.serves(&cell.label(1)).await;
    };
    each_of(cells.iter().map(|cell| (cell.to_string(), serves(cell))), AT_ONCE).await;
    let world = world.restarted().await;
    for cell in cells {
        world.engine.shared.probe.is_about(&cell.id, "1.0.0");
    }
    world
}

/// What holds after a start of a cell's module that went wrong.
async fn is_told(world: &World, cell: &Cell, faults: &[String], alarms: &[(String, String)]) {
    assert!(world.met(cell, cell.place), "{cell}: nothing came there: {faults:?}");
    let (end, label) = (cell.end(), cell.label(1));
    let told = faults.iter().find(|fault| fault.starts_with(&format!("{label}: ")));
    let alarm = alarms.iter().any(|(subject, message)| *subject == label && message.contains("does not start again"));
    assert_eq!((told.is_some(), alarm), (end != End::Serves, end != End::Serves), "{cell}: {told:?}, {alarms:?}");
    let last = world.engine.history(&cell.id, 1).await.unwrap().remove(0);
    if end == End::Serves {
        assert_eq!(world.is_one(cell).await.as_deref(), Some("1.0.0"), "{cell}");
        assert_eq!((last.command.as_str(), last.outcome), ("resume", Some(Outcome::Active)), "{cell}: {last:?}");
        return;
    }
    assert_eq!(world.routed(&cell.id), None, "{cell}: {told:?}");
    assert_eq!(world.instances(&cell.id), (Vec::new(), Vec::new()), "{cell}: nothing of it is left");
    assert!(!world.held().contains(&label), "{cell}: nothing is held for it");
    let undecided = world.engine.shared.records.undecided(&cell.id).unwrap();
    assert!(undecided.is_empty(), "{cell}: {undecided:?}");
    if end == End::Refused {
        assert_ne!(last.command, "resume", "{cell}: it began nothing: {last:?}");
        return;
    }
    let reason = last.reason.as_deref().unwrap_or_default();
    assert_eq!((last.command.as_str(), last.outcome), ("resume", Some(Outcome::Failed)), "{cell}: {last:?}");
    assert!(!reason.is_empty() && told.is_some_and(|told| told.ends_with(reason)), "{cell}: {told:?}, {last:?}");
    assert_eq!(world.state(&label), State::Failed, "{cell}");
}

async fn each(language: Language) {
    let cells = forward::cells_of(kind(language), places());
    let world = found(&cells).await;
    for cell in &cells {
        world.arm(cell, cell.place, 0, cell.wrong.unwrap().act(cell.place.1, TIME));
    }
    let mut events = world.events.subscribe();
    let (engine, mut seen) = (world.engine.clone(), Vec::new());
    let mut starts = tokio::spawn(async move { engine.resume().await });
    // the events of so many are heard as they come
    let faults = loop {
        tokio::select! {
            faults = &mut starts => break faults.unwrap(),
            event = events.recv() => if let Event::Alarm { subject, message } = &*event.unwrap() {
                seen.push((subject.clone(), message.clone()));
            },
        }
    };
    check::alarms(&mut events, &mut seen);
    let told = cells.iter().map(|cell| (cell.to_string(), is_told(&world, cell, &faults, &seen)));
    each_of(told, AT_ONCE).await;

    // the next start tries all of them again
    let world = world.restarted().await;
    assert_eq!(world.engine.resume().await, [""; 0]);
    let starts = async |cell: &Cell| {
        assert_eq!(world.is_one(cell).await.as_deref(), Some("1.0.0"), "{cell}, after a restart");
        world.goes_on(cell).await;
    };
    each_of(cells.iter().map(|cell| (cell.to_string(), starts(cell))), AT_ONCE).await;
    world.ends(&cells).await;
}

/// The process ends at the place of a start: the next start has 1.0.0 serve, and the one after that finds nothing to decide.
async fn ended(language: Language, place: Place) {
    let cell = Cell::new(kind(language), place, None);
    let world = found(std::slice::from_ref(&cell)).await;
    let (probe, go) = (Arc::clone(&world.engine.shared.probe), Arc::new(Notify::new()));
    world.arm(&cell, place, 0, Act::Freeze(Arc::clone(&go)));
    let engine = world.engine.clone();
    let start = tokio::spawn(async move { engine.resume().await });
    let arrives = async {
        while !world.met(&cell, place) {
            probe.reached.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrives)
        .await
        .unwrap_or_else(|_| panic!("{cell}: nothing comes there"));
    let mut next = world.killed().await;
    let mut seen = None;
    for which in ["first", "second"] {
        assert_eq!(next.engine.resume().await, [""; 0], "{cell}, {which} start");
        assert_eq!(next.is_one(&cell).await.as_deref(), Some("1.0.0"), "{cell}, {which} start");
        let mut history = next.engine.history(&cell.id, 50).await.unwrap();
        let own = history.remove(0);
        assert_eq!((own.command.as_str(), own.outcome), ("resume", Some(Outcome::Active)), "{cell}: {own:?}");
        for entry in &history {
            let serves = entry.outcome.is_some_and(Outcome::serves);
            assert!(entry.outcome.is_some() && (serves || entry.reason.is_some()), "{cell}, {which} start: {entry:?}");
        }
        let before = seen.get_or_insert_with(|| history.clone());
        assert!(history.ends_with(before), "{cell}: it is decided once: {history:?} and {before:?}");
        if which == "first" {
            next = next.restarted().await;
        }
    }
    next.goes_on(&cell).await;
    next.engine.stop(Duration::from_secs(5)).await;
    probe.disarm(&cell.id);
    go.notify_one();
    assert_eq!(start.await.unwrap(), [""; 0], "{cell}: where it does not end there it goes on");
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn each_exit(language: Language) {
    let written = [("commit", When::Inside), ("commit", When::After)];
    let all = places().into_iter().chain(written).chain(forward::ENDS);
    each_of(all.map(|place| (format!("{language:?}/{place:?}"), ended(language, place))), 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_what_served_that_goes_wrong_anywhere_is_told_and_tried_again() {
    each(Language::Lua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_what_served_that_ends_with_the_process_is_made_by_the_next() {
    each_exit(Language::Lua).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_what_served_in_rhai_that_goes_wrong_anywhere_is_told_and_tried_again() {
    each(Language::Rhai).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_what_served_in_rhai_that_ends_with_the_process_is_made_by_the_next() {
    each_exit(Language::Rhai).await;
}
