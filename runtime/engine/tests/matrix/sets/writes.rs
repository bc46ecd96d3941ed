//! The disk takes no more writes from some moment of a set's way on: no request ever meets some of it without the others.

use super::*;

/// What is done while the disk becomes full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    TakeOver,
    /// It is taken back, since the second one is not well.
    WayBack,
    /// Somebody asks for its return.
    Rollback,
    Confirm,
}

/// The disk is full after so many groups of writes; whether it was done by then.
async fn full_after(what: What, writes: usize) -> bool {
    let pair = Pair::new(MIXED, 1, ("write", When::Inside), Wrong::Error);
    let of = format!("{what:?} {pair}, {writes} writes");
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let world = World::failing(&left).await;
    world.set_up_both(&pair).await;
    if matches!(what, What::Rollback | What::Confirm) {
        world.joined_pair(&pair).await;
    }
    if what == What::WayBack {
        world.arm(&pair.both[1], ("verify", When::After), 0, Act::Error);
    }
    left.store(writes, Ordering::Release);
    let given = async {
        match what {
            What::TakeOver | What::WayBack => {
                world.engine.activate_set(&pair.members(2), None).await.map(|it| it.outcome)
            }
            What::Rollback => world.engine.rollback(&pair.both[0].id, None).await.map(|report| report.outcome),
            What::Confirm => world.engine.confirm(&pair.both[0].id).await.map(|_| Outcome::Active),
        }
    };
    let told =
        tokio::time::timeout(Duration::from_secs(20), given).await.unwrap_or_else(|_| panic!("{of}: it never ends"));
    let is_through = left.load(Ordering::Acquire) > 0;
    let routed = || pair.both.each_ref().map(|cell| world.routed(&cell.id));
    let is_new = routed() == [2, 2].map(|major| Some(Version::new(major, 0, 0).to_string()));
    assert!(is_new || routed().each_ref().map(Option::as_deref) == pair.before(), "{of}: {:?}, {told:?}", routed());
    match (&told, what) {
        (Ok(Outcome::FailedToRestore), _) => assert!(is_new || !is_through, "{of}"),
        (Ok(outcome), What::TakeOver | What::WayBack) => assert_eq!(outcome.serves(), is_new, "{of}: {told:?}"),
        (Ok(_), What::Rollback) => assert!(!is_new, "{of}"),
        (Ok(_), What::Confirm) => assert!(is_new, "{of}"),
        (Err(error), _) => assert!(error.to_string().contains("the disk is full"), "{of}: {error}"),
    }
    // whatever has a place runs, or the next request would find nothing
    for cell in &pair.both {
        for key in world.engine.shared.board.slot(&cell.id).state.keys() {
            assert!(world.engine.shared.hands.instances.instance(key).is_some(), "{of}: {key} does not run: {told:?}");
        }
    }
    let is_kept = what == What::Confirm && told.is_ok();
    let world = {
        let killed = world.killed().await;
        world.engine.stop(Duration::from_secs(5)).await;
        killed
    };
    assert_eq!(world.engine.resume().await, [""; 0], "{of}");
    let sides = world.sides(&pair).await;
    let sides = sides.each_ref().map(Option::as_deref);
    assert_eq!(sides, if is_kept { [Some("2.0.0"); 2] } else { pair.before() }, "{of}: {told:?}");
    for cell in &pair.both {
        let migrations = if is_kept { cell.kind.migrations() } else { &[] };
        assert_eq!(world.tables(&cell.id), migrations, "{of}");
    }
    world.both_go_on(&pair).await;
    world.engine.stop(Duration::from_secs(5)).await;
    is_through
}

/// Fails at each write in turn, until none is left to fail.
async fn each(what: What) {
    for begin in (0..200).step_by(4) {
        let some = (begin..begin + 4).map(|writes| (format!("{what:?}, {writes} writes"), full_after(what, writes)));
        let through = each_of(some, 4).await;
        if through.iter().all(|through| *through) {
            return;
        }
    }
    panic!("{what:?}: it writes without end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_the_activation_of_a_set_leaves_all_on_one_side() {
    each(What::TakeOver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_the_way_back_of_a_set_leaves_all_on_one_side() {
    each(What::WayBack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_the_rollback_of_a_set_leaves_all_on_one_side() {
    each(What::Rollback).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_the_confirmation_of_a_set_confirms_all_or_none() {
    each(What::Confirm).await;
}
