//! The process ends at some point of a command: after it exactly one version serves, and the journal says why.

use super::returning::TABLE;
use super::*;
use crate::engine::HistoryEntry;
use crate::engine::journal::Owed;

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

#[tokio::test]
async fn a_kill_inside_a_commanded_rollback_takes_the_tables_back_once_the_confirmed_version_serves() {
    // a whole runtime starts while it waits
    let world = Arc::new(World::with_tables_of(&TABLE.replace("200ms", "60s")).await);
    world.binding.pause(Place::Down, "a");
    let back = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.engine.rollback("a", None).await }
    });
    world.binding.reached.notified().await;
    assert_eq!(world.tables("a"), ["2.0.0"], "it serves no longer, and the tables are still there");
    let killed = world.killed().await;
    killed.engine.resume().await;
    killed.is_returned();
    world.binding.go.notify_one();
    assert_eq!(back.await.unwrap().unwrap().outcome, Outcome::Active);
    assert_eq!(world.tables("a"), Vec::<String>::new());
}

#[tokio::test]
async fn a_kill_after_the_migration_of_a_candidate_takes_it_back() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
    world.register_files("a", "2.0.0", TABLE, &files).await;
    let world = Arc::new(world);
    let coming = world.paused(Place::Up, "a@2.0.0").await;
    assert_eq!(world.tables("a"), ["2.0.0"]);
    let killed = world.killed().await;
    killed.engine.resume().await;
    killed.is_returned();
    world.binding.go.notify_one();
    assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional);
}

/// 2.0.0 was returned from by a start that could not take its migration back.
async fn owing() -> World {
    let world = World::with_tables().await;
    let owing = world.killed_where(&[(Place::Down, Fault::Error)]).await;
    owing.engine.resume().await;
    assert_eq!((owing.routed("a").as_deref(), owing.state("a@2.0.0")), (Some("1.0.0"), State::Failed));
    assert_eq!(owing.tables("a"), ["2.0.0"]);
    owing
}

#[tokio::test]
async fn migrations_that_a_start_could_not_take_back_are_taken_back_by_the_next_and_told_once() {
    let first = owing().await;
    let told = first.engine.history("a", 9).await.unwrap();
    let world = first.killed().await;
    world.engine.resume().await;
    world.is_returned();
    assert_eq!(world.state("a@2.0.0"), State::Failed);
    let again: Vec<_> = world.engine.history("a", 9).await.unwrap();
    let of = |history: &[HistoryEntry]| {
        let told = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
        (told.number, told.ended, told.outcome, told.reason.clone())
    };
    assert_eq!(of(&again), of(&told), "it was told when it ended");
    assert_eq!(world.engine.shared.records.all().unwrap().open.get("a"), None, "nothing is left of it");
    world.provisional("a@2.0.0").await;
}

/// The end of 2.0.0, and whether the journal has it open still.
async fn end_of_2(world: &World) -> (Option<u64>, Option<Outcome>, bool) {
    let history = world.engine.history("a", 50).await.unwrap();
    let entry = history.iter().rev().find(|entry| entry.version == "2.0.0").unwrap();
    let open = world.engine.shared.records.all().unwrap().open;
    let is_open = open.get("a").into_iter().flatten().any(|it| it.number == entry.number);
    (entry.ended, entry.outcome, is_open)
}

#[tokio::test]
async fn migrations_that_were_left_are_not_taken_from_a_version_that_serves_with_them_since() {
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
    for over_provisional in [false, true] {
        let world = owing().await;
        let (ended, outcome, is_open) = end_of_2(&world).await;
        assert!(is_open, "it owes");
        if over_provisional {
            world.register("a", "1.5.0", "").await;
            world.provisional("a@1.5.0").await;
        }
        world.register_files("a", "3.0.0", super::returning::TABLE, &files).await;
        world.serves("a@3.0.0").await;
        assert_eq!(end_of_2(&world).await, (ended, outcome, false), "{over_provisional}: it owes nothing any more");
        let again = world.killed().await;
        again.engine.resume().await;
        assert_eq!((again.routed("a").as_deref(), again.tables("a")), (Some("3.0.0"), vec!["2.0.0".to_owned()]));
        assert_eq!(end_of_2(&again).await, (ended, outcome, false), "{over_provisional}: it is not decided again");
        // as another program may have left it
        let records = &world.engine.shared.records;
        let entries = records.newest("a", 50).unwrap();
        let mut entry = entries.into_iter().find(|entry| entry.version == Version::new(2, 0, 0)).unwrap();
        entry.owes(Owed { version: Version::new(2, 0, 0), migrations: vec![Version::new(2, 0, 0)] });
        records.write_entry("a", &entry).await.unwrap();
        let again = world.killed().await;
        again.engine.resume().await;
        assert_eq!((again.tables("a"), end_of_2(&again).await), (vec!["2.0.0".to_owned()], (ended, outcome, false)));
        again.engine.deactivate("a").await.unwrap();
        assert_eq!(again.killed().await.tables("a"), ["2.0.0"], "a deactivation leaves the schema");
    }
}
