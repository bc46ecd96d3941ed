//! The disk takes no more writes from some moment of a command on: what serves goes on, and the next runtime decides.

use super::*;

/// The disk is full after so many groups of writes of this command; whether the command was through by then.
async fn full_after(cell: &Cell, writes: usize, back: bool) -> bool {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let world = World::failing(&left).await;
    world.set_up(cell).await;
    if back {
        let last = if cell.kind.is_gradual() { "verify" } else { "activate" };
        world.arm(cell, (last, When::After), 0, Act::Error);
    }
    left.store(writes, Ordering::Release);
    let ended = tokio::time::timeout(Duration::from_secs(20), world.activate(&cell.label(2))).await;
    let told = ended.unwrap_or_else(|_| panic!("{cell}, {writes} writes: it never ends"));
    let is_through = left.load(Ordering::Acquire) > 0;
    let slot = world.engine.shared.board.slot(&cell.id).state;
    let serving = slot.serving.as_ref().map(|key| key.version.to_string());
    assert_eq!(world.routed(&cell.id), serving, "{cell}, {writes} writes");
    let before = if cell.kind.first { None } else { Some("1.0.0") };
    match &told {
        Ok(report) if report.outcome.serves() => {
            assert_eq!(serving.as_deref(), Some("2.0.0"), "{cell}, {writes}: {report:?}")
        }
        // what serves although it failed says so
        Ok(report) if report.outcome == Outcome::FailedToRestore => {}
        Ok(report) => assert_eq!(serving.as_deref(), before, "{cell}, {writes} writes: {report:?}"),
        Err(error) => assert!(error.to_string().contains("the disk is full"), "{cell}, {writes} writes: {error}"),
    }
    // whatever serves runs, or the next request would find nothing
    for key in slot.keys() {
        let instance = world.engine.shared.hands.instances.instance(key);
        assert!(instance.is_some(), "{cell}, {writes} writes: {key} has a place and does not run: {told:?}");
    }
    let world = {
        let killed = world.killed().await;
        world.engine.stop(Duration::from_secs(5)).await;
        killed
    };
    assert_eq!(world.engine.resume().await, [""; 0], "{cell}, {writes} writes");
    let serving = world.is_one(cell).await;
    let may = serving.as_deref() == before || (cell.kind.first && !back && serving.as_deref() == Some("2.0.0"));
    assert!(may, "{cell}, {writes} writes: {serving:?} after {told:?}");
    if serving.as_deref() != Some("2.0.0") && !cell.kind.preserve {
        assert_eq!(world.tables(&cell.id), [""; 0], "{cell}, {writes} writes");
    }
    world.goes_on(cell).await;
    world.engine.stop(Duration::from_secs(5)).await;
    is_through
}

/// Fails at each write in turn, until none is left to fail.
async fn each(kind: Kind, back: bool) {
    for writes in 0..200 {
        let cell = Cell { back, ..Cell::new(kind, ("write", When::Inside), Wrong::Error) };
        if full_after(&cell, writes, back).await {
            assert!(writes > 3, "{kind}: it writes");
            return;
        }
    }
    panic!("{kind}: it writes without end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_an_upgrade_leaves_one_version() {
    each(Kind::of(ActivationStrategy::Gradual), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_a_first_activation_leaves_nothing_or_it() {
    each(Kind { first: true, ..Kind::of(ActivationStrategy::Instant) }, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_during_a_way_back_leaves_one_version() {
    each(Kind::of(ActivationStrategy::Gradual), true).await;
}
