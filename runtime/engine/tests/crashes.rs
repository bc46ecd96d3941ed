//! The process ends at some point of a command: after it exactly one version serves, and the journal says why.

use super::*;

async fn cut_at_commit(first: bool) -> World {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    if !first {
        world.serves("a@1.0.0").await;
    }
    let coming = world.paused(Place::Commit, "a@2.0.0").await;
    let after = world.killed().await;
    world.binding.go.notify_one();
    coming.await.unwrap().unwrap().ensure_serves().unwrap();
    after
}

#[tokio::test]
async fn an_interrupted_first_activation_leaves_no_slot() {
    let world = cut_at_commit(true).await;
    world.engine.resume().await;
    assert!(!world.engine.has_slot("a"));
    let history = world.engine.history("a", 1).await.unwrap();
    assert_eq!(history[0].outcome, Some(Outcome::Failed));
    // which step it was is queued, not waited for, so it may be missing: nothing of these steps outlives the process
    let reason = history[0].reason.as_deref().unwrap();
    assert!(reason.starts_with("the runtime ended") && reason.contains("before the switch"), "{history:?}");
    world.serves("a@2.0.0").await;
}

#[tokio::test]
async fn an_interrupted_upgrade_is_undone() {
    let world = cut_at_commit(false).await;
    world.engine.resume().await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::Registered));
    assert_eq!(world.engine.slots().len(), 1);
    assert_eq!(world.engine.history("a", 9).await.unwrap()[1].outcome, Some(Outcome::RolledBack));
    world.provisional("a@2.0.0").await;
}

#[tokio::test]
async fn what_was_decided_once_is_not_decided_again() {
    let world = cut_at_commit(false).await;
    let history = world.engine.history("a", 9).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(world.engine.history("a", 9).await.unwrap(), history);
}

#[tokio::test]
async fn the_journal_keeps_the_newest_entries_and_counts_on() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    for _ in 0..55 {
        world.serves("a@1.0.0").await;
        world.engine.deactivate("a").await.unwrap();
    }
    let history = world.engine.history("a", 1000).await.unwrap();
    assert_eq!((history.len(), history[0].number, history[99].number), (100, 110, 11));
    assert_eq!((history[0].command.as_str(), history[0].outcome), ("deactivate", Some(Outcome::Inactive)));
    assert_eq!(history[1].steps.len(), 8, "{:?}", history[1]);
}
