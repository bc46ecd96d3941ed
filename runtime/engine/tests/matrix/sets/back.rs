//! The return of a set that goes wrong before, inside and after each of the six steps of either member, and at the commit of both.

use super::*;

/// What takes the set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A trigger of one member.
    Trigger,
    /// Somebody asks for it, by the name of the member that does not go wrong.
    Asked,
}

fn pairs(shape: Shape, turn: usize) -> Vec<Pair> {
    let of = |(at, (n, place)): (usize, (usize, Place))| {
        let hangs = place.0 != "commit";
        let wrong = if hangs { WRONGS[(n + at + turn) % WRONGS.len()] } else { WRONGS[(at + turn) % 2] };
        let pair = Pair::new(shape, at, place, wrong);
        Pair { both: pair.both.map(|cell| Cell { back: true, ..cell }), ..pair }
    };
    let places = |at: usize| super::super::back::places(shape.0[at]).into_iter().enumerate();
    (0..2).flat_map(|at| places(at).map(move |place| (at, place))).map(of).collect()
}

/// Whether both have been returned from, as far as that can be told.
fn are_over(world: &World, pair: &Pair) -> bool {
    pair.both.iter().all(|cell| {
        let serves = world.routed(&cell.id).as_deref() == Some("2.0.0");
        !serves && matches!(world.state(&cell.label(2)), State::Failed | State::FailedToRestore)
    })
}

async fn returned(world: &World, way: Way, pair: Pair) -> Pair {
    let (mut events, mut told) = (world.events.subscribe(), world.events.subscribe());
    world.set_up_both(&pair).await;
    world.joined_pair(&pair).await;
    let cell = pair.wrong();
    world.arm_pair(&pair, 0, cell.wrong.unwrap().act(cell.place.1, TIME));
    // the commit of both is refused once, and tried again
    let is_kept = cell.place.0 == "commit";
    if way == Way::Trigger {
        world.trips_at(&pair.both[0]);
    } else {
        let other = pair.other();
        let asked = tokio::time::timeout(Duration::from_secs(30), world.engine.rollback(&other.id, None)).await;
        let report = asked.unwrap_or_else(|_| panic!("{pair}: it never ends")).unwrap();
        let given = if other.kind.first { Outcome::Inactive } else { Outcome::Active };
        assert_eq!(report.outcome, if is_kept { Outcome::FailedToRestore } else { given }, "{pair}: {report:?}");
    }
    let over = async {
        while !are_over(world, &pair) {
            // each state that is another is told
            let _ = told.recv().await;
        }
    };
    let over = tokio::time::timeout(Duration::from_secs(20), over).await;
    over.unwrap_or_else(|_| panic!("{pair}: it is not returned from: {:?}", world.state(&cell.label(2))));
    world.are(&pair, pair.before(), "").await;
    assert!(world.met(cell, cell.place), "{pair}: nothing came there");
    let mut seen = Vec::new();
    check::alarms(&mut events, &mut seen);
    for cell in &pair.both {
        let entry = world.entry(cell).await.unwrap();
        let is_wrong = cell.id == pair.wrong().id;
        let (place, wrong) = (cell.place, pair.wrong().wrong.unwrap());
        // what goes wrong with one keeps no other
        let outcome = if is_wrong { expected::back_of_set(place, wrong) } else { Outcome::RolledBack };
        assert_eq!(world.state(&cell.label(2)), expected::state(outcome), "{pair}: {entry:?}");
        let is_done = outcome == Outcome::RolledBack;
        let reason = entry.reason.as_deref().unwrap_or_default();
        assert!(entry.outcome == Some(outcome) && !reason.is_empty(), "{pair}: {entry:?}");
        assert!(entry.steps.iter().all(|step| step.outcome.is_some()), "{pair}: {entry:?}");
        let alarmed = seen.iter().any(|(subject, _)| subject.starts_with(&cell.label(2)));
        assert!(alarmed != is_done || is_kept, "{pair}: {is_done} beside {seen:?}");
        // what is wrong elsewhere in it keeps no table
        let is_left = is_wrong && expected::keeps_migrations(place, wrong);
        let tables = if is_left { cell.kind.migrations() } else { &[] };
        assert_eq!(world.tables(&cell.id), tables, "{pair}: {entry:?}");
    }
    pair
}

async fn each(way: Way, shape: Shape, turn: usize) {
    let world = World::new().await;
    let pairs = pairs(shape, turn).into_iter().map(|pair| (pair.to_string(), returned(&world, way, pair)));
    let all = each_of(pairs, PAIRS_AT_ONCE).await;
    let killed = world.killed().await;
    killed.engine.resume().await;
    for pair in &all {
        killed.are(pair, pair.before(), ", after a restart").await;
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    each_of(all.iter().map(|pair| (pair.to_string(), world.both_go_on(pair))), PAIRS_AT_ONCE).await;
    let cells: Vec<Cell> = all.into_iter().flat_map(|pair| pair.both).collect();
    world.ends(&cells).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_of_a_set_that_goes_wrong_anywhere_leaves_all_as_they_were() {
    each(Way::Trigger, GROWN, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_a_set_that_goes_wrong_anywhere_leaves_all_as_they_were() {
    each(Way::Asked, MIXED, 1).await;
}
