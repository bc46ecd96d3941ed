//! A traffic shift that was paused goes on, is promoted or is given up, and that goes wrong before, inside and after what follows.

use super::exits::{What, is_decided};
use super::*;
use crate::engine::Order;

const FULL: Order = Order::Promote { full: true };
const NEXT: Order = Order::Promote { full: false };

/// What follows an order, up to the end of the activation.
fn places(order: Order) -> Vec<Place> {
    use When::{After, Before, Inside};
    let mut places = vec![("steer", Before), ("steer", After)];
    match order {
        Order::Resume | NEXT => places.extend([("shift", Before), ("shift", After), ("commit", Before)]),
        FULL => places.extend([
            ("commit", Before),
            ("activate", After),
            ("verify", Before),
            ("health", Inside),
            ("verify", After),
        ]),
        _ => places.extend(super::back::places(GRADUAL)),
    }
    places
}

const GRADUAL: Kind = Kind::of(ActivationStrategy::Gradual);

fn cells(order: Order) -> Vec<Cell> {
    let of = |(n, place): (usize, Place)| {
        let back = order == Order::Abort && place.0 != "steer";
        // of a way back each place meets one of them in turn: the rest is the matter of its own matrix
        let wrongs = WRONGS.iter().enumerate().filter(move |(at, _)| !back || n % WRONGS.len() == *at);
        let wrongs = wrongs.filter(move |(_, wrong)| !matches!((place.0, wrong), ("commit", Wrong::Hang)));
        wrongs.map(move |(_, wrong)| Cell { back, ..Cell::new(GRADUAL, place, *wrong) })
    };
    // a candidate that has a share only gives it back by what is no switch
    let places = places(order).into_iter().filter(|place| order != Order::Abort || place.0 != "commit");
    places.enumerate().flat_map(of).collect()
}

type Coming = tokio::task::JoinHandle<Result<ActivationReport, EngineError>>;

/// Begins the activation of 2.0.0 and pauses it once it has its first share.
async fn paused(world: &World, cell: &Cell) -> Coming {
    world.set_up(cell).await;
    let go = Arc::new(Notify::new());
    // the first commit of the shift gives it nothing
    world.arm(cell, ("shift", When::After), 1, Act::Freeze(Arc::clone(&go)));
    let (engine, id) = (world.engine.clone(), cell.id.clone());
    let coming = tokio::spawn(async move { engine.activate(&id, &Version::new(2, 0, 0), None).await });
    let reached = async {
        while !world.met(cell, ("shift", When::After)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap_or_else(|_| panic!("{cell}: it never shifts"));
    // nothing happens there, but that it came there is known: it is answered before
    world.arm(cell, ("steer", When::After), 0, Act::Say(""));
    let pause = world.engine.steer(&cell.id, Order::Pause);
    tokio::pin!(pause);
    assert!(futures::poll!(&mut pause).is_pending(), "{cell}");
    go.notify_one();
    let report = pause.await.unwrap_or_else(|error| panic!("{cell}: {error}"));
    assert_eq!((report.weight, report.next), (40, 40), "{cell}");
    let taken = async {
        while !world.met(cell, ("steer", When::After)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap_or_else(|_| panic!("{cell}: it is not taken"));
    world.engine.shared.probe.disarm(&cell.id);
    coming
}

/// How often a pause comes to this place, which is waited for.
fn awaited(place: Place) -> usize {
    usize::from([("shift", When::After), ("steer", When::After)].contains(&place))
}

fn arm(world: &World, cell: &Cell, act: Act) {
    if cell.place.0 == "health" {
        world.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(act)));
    } else {
        world.arm(cell, cell.place, 0, act);
    }
}

async fn steered(world: &World, order: Order, cell: Cell) -> Cell {
    let mut events = world.events.subscribe();
    let coming = paused(world, &cell).await;
    arm(world, &cell, cell.wrong.unwrap().act(cell.place.1, TIME));
    let answer = world.engine.steer(&cell.id, order).await;
    let is_taken = cell.place != ("steer", When::Before) || cell.wrong == Some(Wrong::Hang);
    assert_eq!(answer.is_ok(), is_taken, "{cell}: {answer:?}");
    let ended = tokio::time::timeout(Duration::from_secs(30), coming).await;
    let told = Told::from(ended.unwrap_or_else(|_| panic!("{cell}: it never ends")).unwrap());
    let is_met = if cell.place.0 == "health" { ("health", When::Inside) } else { cell.place };
    let times = world.engine.shared.probe.met(&cell.id, is_met);
    let expected = 1 + awaited(is_met);
    assert!(times >= expected, "{cell}: nothing came there: {told:?}");
    let mut seen = Vec::new();
    check::alarms(&mut events, &mut seen);
    let expected = match (order, cell.wrong) {
        (Order::Abort, Some(wrong)) if cell.back => Some(expected::back_told(cell.place, wrong, false)),
        // whatever went wrong with the order, it was given up
        (Order::Abort, _) => Some(Outcome::RolledBack),
        _ => cell.end().outcome(false),
    };
    assert_eq!(told.outcome(), expected, "{cell}: {told:?}");
    world.is_true(&cell, &told, &seen).await;
    cell
}

async fn each(order: Order) {
    let world = World::new().await;
    let cells = cells(order).into_iter().map(|cell| (cell.to_string(), steered(&world, order, cell)));
    let cells = each_of(cells, 16).await;
    let killed = world.killed().await;
    killed.engine.resume().await;
    for cell in &cells {
        assert_eq!(killed.is_one(cell).await.as_deref(), Some("1.0.0"), "{cell}, after a restart");
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    each_of(cells.iter().map(|cell| (cell.to_string(), world.goes_on(cell))), AT_ONCE).await;
    world.ends(&cells).await;
}

/// The process ends at a place that follows the order.
async fn ended(order: Order, place: Place) {
    let cell = Cell::new(GRADUAL, place, None);
    let (world, go) = (World::new().await, Arc::new(Notify::new()));
    let coming = paused(&world, &cell).await;
    arm(&world, &cell, Act::Freeze(Arc::clone(&go)));
    let (engine, id) = (world.engine.clone(), cell.id.clone());
    let steering = tokio::spawn(async move { drop(engine.steer(&id, order).await) });
    let place = if place.0 == "health" { ("health", When::Inside) } else { place };
    let before = awaited(place);
    let probe = Arc::clone(&world.engine.shared.probe);
    let arrives = async {
        while probe.met(&cell.id, place) == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrives)
        .await
        .unwrap_or_else(|_| panic!("{cell}: nothing comes there"));
    is_decided(world.killed().await, What::Activation, &cell, false).await;
    go.notify_one();
    tokio::time::timeout(Duration::from_secs(20), steering).await.expect("it is answered").unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), coming).await.expect("it ends").unwrap().unwrap();
    let serves = if told.serves() { Some("2.0.0") } else { Some("1.0.0") };
    assert_eq!(world.is_one(&cell).await.as_deref(), serves, "{cell}");
    // one that waited for so long may have come too late for its steps
    assert!(!told.serves() || order != Order::Abort, "{cell}: {told:?}");
    world.engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_shift_that_is_resumed_and_goes_wrong_leaves_one_version() {
    each(Order::Resume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_shift_that_is_promoted_and_goes_wrong_leaves_one_version() {
    each(FULL).await;
    each(NEXT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_shift_that_is_given_up_leaves_one_version_whatever_goes_wrong() {
    each(Order::Abort).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_shift_that_is_steered_and_ends_with_the_process_is_undone() {
    let orders = [Order::Resume, NEXT, FULL, Order::Abort];
    let all = orders.into_iter().flat_map(|order| places(order).into_iter().map(move |place| (order, place)));
    // the rest of the way back is that of any other
    let all =
        all.filter(|(order, place)| *order != Order::Abort || matches!(place.0, "steer" | "stopTraffic" | "rollback"));
    let all = all.map(|(order, place)| (format!("{order:?}/{place:?}"), ended(order, place)));
    each_of(all, 4).await;
}
