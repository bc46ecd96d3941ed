//! The process ends at a place of a set's way: the next runtime leads all members to the same side, and the one after that finds
//! nothing more to do.

use super::*;

/// What is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The activation of both.
    TakeOver,
    /// Its way back, since the second one is not well.
    WayBack,
    /// The return of both because of a trigger.
    Return,
    /// The confirmation of both.
    Confirm,
}

/// The places of one member, and whether they are past the one of no return: only a confirmation has one, since a restart returns
/// from what is not confirmed.
fn places(what: What, kind: Kind) -> Vec<(Place, bool)> {
    use When::{After, Before, Inside};
    let written = [("commit", Inside), ("commit", After)];
    match what {
        What::TakeOver => super::places(kind).into_iter().chain(written).map(|place| (place, false)).collect(),
        What::WayBack | What::Return => {
            let all = super::super::back::places(kind).into_iter().chain(written);
            all.map(|place| (place, false)).collect()
        }
        What::Confirm => {
            let mut after = written.to_vec();
            if !kind.first {
                after.extend([("drain", Before), ("farewell", Before), ("farewell", After)]);
            }
            let after = after.into_iter().map(|place| (place, true));
            std::iter::once((("commit", Before), false)).chain(after).collect()
        }
    }
}

async fn begin(world: &World, what: What, pair: &Pair, act: Act) -> tokio::task::JoinHandle<()> {
    if matches!(what, What::Return | What::Confirm) {
        world.joined_pair(pair).await;
    }
    if what == What::WayBack {
        world.arm(&pair.both[1], ("verify", When::After), 0, Act::Error);
    }
    // the first commit of an activation is that by which both take the traffic
    world.arm_pair(pair, usize::from(what == What::WayBack && pair.wrong().place.0 == "commit"), act);
    let (engine, members, id) = (world.engine.clone(), pair.members(2), pair.both[0].id.clone());
    match what {
        What::TakeOver | What::WayBack => tokio::spawn(async move { drop(engine.activate_set(&members, None).await) }),
        What::Confirm => tokio::spawn(async move { drop(engine.confirm(&id).await) }),
        What::Return => {
            world.trips_at(&pair.both[1]);
            tokio::spawn(async {})
        }
    }
}

async fn are_decided(mut world: World, what: What, pair: &Pair, is_past: bool) {
    let expected = if is_past { [Some("2.0.0"); 2] } else { pair.before() };
    let mut seen = None;
    for start in ["first", "second"] {
        assert_eq!(world.engine.resume().await, [""; 0], "{what:?} {pair}, {start} start");
        world.are(pair, expected, &format!(", {start} start")).await;
        let mut now = Vec::new();
        for cell in &pair.both {
            let history = world.engine.history(&cell.id, 50).await.unwrap();
            for entry in &history {
                let outcome = entry.outcome.unwrap_or_else(|| panic!("{what:?} {pair}: it is not decided: {entry:?}"));
                let explains = outcome.serves() || entry.reason.is_some();
                assert!(explains && entry.ended.is_some(), "{what:?} {pair}, {start} start: {entry:?}");
            }
            let told: Vec<_> = history.into_iter().filter(|entry| entry.command != "resume").collect();
            let tables = world.tables(&cell.id);
            let migrations = if is_past { cell.kind.migrations() } else { &[] };
            assert_eq!(tables, migrations, "{what:?} {pair}, {start} start");
            now.push((told, [1, 2].map(|major| world.state(&cell.label(major)))));
        }
        if let Some(before) = seen.replace(now.clone()) {
            assert_eq!(now, before, "{what:?} {pair}: it is decided once");
        }
        if start == "first" {
            world = world.restarted().await;
        }
    }
    world.both_go_on(pair).await;
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn ended(what: What, pair: Pair, is_past: bool) {
    let (world, go) = (World::new().await, Arc::new(Notify::new()));
    world.set_up_both(&pair).await;
    let probe = Arc::clone(&world.engine.shared.probe);
    let command = begin(&world, what, &pair, Act::Freeze(Arc::clone(&go))).await;
    let cell = pair.wrong();
    let arrives = async {
        while !world.met(cell, cell.place) {
            probe.reached.notified().await;
        }
    };
    let arrives = tokio::time::timeout(Duration::from_secs(20), arrives).await;
    arrives.unwrap_or_else(|_| panic!("{what:?} {pair}: nothing comes there"));
    let killed = world.killed().await;
    are_decided(killed, what, &pair, is_past).await;
    // and where the process does not end there, the command does
    probe.disarm(&cell.id);
    go.notify_one();
    tokio::time::timeout(Duration::from_secs(20), command).await.expect("it ends").unwrap();
    let sides = world.sides(&pair).await;
    let sides = sides.each_ref().map(Option::as_deref);
    assert!(sides == [Some("2.0.0"); 2] || sides == pair.before(), "{what:?} {pair}: {sides:?}");
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn each(what: What, shape: Shape) {
    let places = |at: usize| places(what, shape.0[at]).into_iter().enumerate();
    let all = (0..2).flat_map(|at| places(at).map(move |(n, place)| (at, n, place)));
    // what both have in common is met in each, and the steps in one after the other
    let all = all.filter(|(at, n, (place, _))| matches!(place.0, "commit" | "activate" | "close") || (at + n) % 2 == 0);
    let all = all.map(|(at, _, place)| (at, place));
    let all = all.map(|(at, (place, is_past))| {
        let pair = Pair::new(shape, at, place, None);
        (format!("{what:?}/{pair}"), ended(what, pair, is_past))
    });
    each_of(all, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_ends_with_the_process_is_undone_whole() {
    each(What::TakeOver, MIXED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_of_a_set_that_ends_with_the_process_is_finished() {
    each(What::WayBack, NEWER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_return_of_a_set_that_ends_with_the_process_is_finished() {
    each(What::Return, GROWN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_confirmation_of_a_set_that_ends_with_the_process_is_undone_or_done_whole() {
    each(What::Confirm, MIXED).await;
}
