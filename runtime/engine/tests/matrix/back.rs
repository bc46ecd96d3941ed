//! A way back that goes wrong before, inside and after each of its six steps.

use super::*;

/// What takes 2.0.0 back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Its verification, in its own activation.
    Verification,
    /// A trigger, while it is provisional.
    Trigger,
}

/// The places of the six steps.
pub(super) fn places(kind: Kind) -> Vec<Place> {
    use When::{After, Before, Inside};
    let mut places = vec![("stopTraffic", Before), ("commit", Before), ("stopTraffic", After)];
    places.extend([("deactivate", Before), ("deactivate", After), ("rollback", Before)]);
    if !kind.preserve && kind.is_gradual() {
        places.push(("rollback", Inside));
    }
    places.extend([("rollback", After), ("unregister", Before), ("unregister", After)]);
    places.extend([
        ("cleanup", Before),
        ("cleanup", Inside),
        ("cleanup", After),
        ("restore", Before),
        ("restore", After),
    ]);
    places
}

fn cells(kind: Kind) -> Vec<Cell> {
    let of = |place: Place| {
        let wrongs = WRONGS.iter().filter(move |wrong| !(place.0 == "commit" && **wrong == Wrong::Hang));
        wrongs.map(move |wrong| Cell { back: true, ..Cell::new(kind, place, *wrong) })
    };
    places(kind).into_iter().flat_map(of).collect()
}

async fn taken_back(world: &World, way: Way, cell: Cell) -> Cell {
    let mut events = world.events.subscribe();
    world.set_up(&cell).await;
    let act = cell.wrong.unwrap().act(cell.place.1, TIME);
    let mut seen = Vec::new();
    let told = if way == Way::Verification {
        let last = if cell.kind.is_gradual() { "verify" } else { "activate" };
        world.arm(&cell, (last, When::After), 0, Act::Error);
        // the first commit is that by which it took the traffic
        world.arm(&cell, cell.place, usize::from(cell.place.0 == "commit"), act);
        let version = Version::new(2, 0, 0);
        let ended = tokio::time::timeout(Duration::from_secs(30), world.engine.activate(&cell.id, &version, None));
        Told::from(ended.await.unwrap_or_else(|_| panic!("{cell}: it never ends")))
    } else {
        world.provisional(&cell.label(2)).await;
        world.arm(&cell, cell.place, 0, act);
        world.trips_at(&cell);
        let returned = |event: &Event| {
            if let Event::Alarm { subject, message } = event {
                seen.push((subject.clone(), message.clone()));
            }
            matches!(event, Event::ActivationEnded { instance, outcome, .. }
                if *instance.id == *cell.id && &*instance.version == "2.0.0" && *outcome != "provisional")
        };
        World::until(&mut events, returned).await;
        Told::Nothing
    };
    assert!(world.met(&cell, cell.place), "{cell}: nothing came there: {told:?}");
    check::alarms(&mut events, &mut seen);
    let wrong = cell.wrong.unwrap();
    let (first, outcome) = (expected::back_told(cell.place, wrong, true), expected::back(cell.place, wrong));
    if way == Way::Verification {
        assert_eq!(told.outcome(), Some(first), "{cell}: {told:?}");
    }
    if first == outcome && way == Way::Verification {
        world.is_true(&cell, &told, &seen).await;
    }
    // what could not be given back is tried again, and the second time nothing goes wrong
    let returned = async {
        while world.state(&cell.label(2)) != expected::state(outcome) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), returned)
        .await
        .unwrap_or_else(|_| panic!("{cell}: never {outcome:?}"));
    assert_eq!(world.is_one(&cell).await.as_deref(), Some("1.0.0"), "{cell}");
    let entry = world.entry(&cell).await.unwrap();
    assert_eq!(entry.outcome, Some(outcome), "{cell}: {entry:?}");
    assert_eq!(world.state(&cell.label(2)), expected::state(outcome), "{cell}: {entry:?}");
    let alarm = seen.iter().any(|(subject, _)| subject.starts_with(&cell.label(2)));
    assert_eq!(alarm, first == Outcome::FailedToRestore, "{cell}: {seen:?}");
    let kept = cell.kind.preserve || expected::keeps_migrations(cell.place, wrong);
    assert_eq!(world.tables(&cell.id), if kept { cell.kind.migrations() } else { &[] }, "{cell}");
    cell
}

async fn each(kind: Kind, way: Way) {
    let world = World::new().await;
    let cells = cells(kind).into_iter().map(|cell| (cell.to_string(), taken_back(&world, way, cell)));
    let cells = each_of(cells, AT_ONCE).await;
    // a restart finishes what could not be given back
    let killed = world.killed().await;
    killed.engine.resume().await;
    for cell in &cells {
        assert_eq!(killed.is_one(cell).await.as_deref(), Some("1.0.0"), "{cell}, after a restart");
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    each_of(cells.iter().map(|cell| (cell.to_string(), world.goes_on(cell))), AT_ONCE).await;
    world.ends(&cells).await;
}

const GRADUAL: Kind = Kind::of(ActivationStrategy::Gradual);
const INSTANT: Kind = Kind::of(ActivationStrategy::Instant);

macro_rules! ways_back {
    ($($name:ident: $kind:expr, $way:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            each($kind, Way::$way).await;
        }
    )*};
}

ways_back! {
    a_gradual_activation_whose_way_back_goes_wrong_anywhere_leaves_one_version: GRADUAL, Verification;
    an_instant_activation_whose_way_back_goes_wrong_anywhere_leaves_one_version: INSTANT, Verification;
    a_return_from_a_gradual_activation_that_goes_wrong_anywhere_leaves_one_version: GRADUAL, Trigger;
    a_return_from_an_instant_activation_that_goes_wrong_anywhere_leaves_one_version: INSTANT, Trigger;
    a_gradual_way_back_that_keeps_data_and_goes_wrong_anywhere_leaves_one_version: Kind { preserve: true, ..GRADUAL }, Verification;
}

#[cfg(feature = "rhai")]
ways_back! {
    a_gradual_activation_in_rhai_whose_way_back_goes_wrong_anywhere_leaves_one_version:
        Kind { language: Language::Rhai, ..GRADUAL }, Verification;
    an_instant_activation_in_rhai_whose_way_back_goes_wrong_anywhere_leaves_one_version:
        Kind { language: Language::Rhai, ..INSTANT }, Verification;
    a_return_from_a_gradual_activation_in_rhai_that_goes_wrong_anywhere_leaves_one_version:
        Kind { language: Language::Rhai, ..GRADUAL }, Trigger;
    a_return_from_an_instant_activation_in_rhai_that_goes_wrong_anywhere_leaves_one_version:
        Kind { language: Language::Rhai, ..INSTANT }, Trigger;
    a_gradual_way_back_in_rhai_that_keeps_data_and_goes_wrong_anywhere_leaves_one_version:
        Kind { language: Language::Rhai, preserve: true, ..GRADUAL }, Verification;
}
