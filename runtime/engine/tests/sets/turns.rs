//! Sets and other commands beside each other.

use super::*;

#[tokio::test]
async fn a_rollback_that_waits_behind_the_return_of_its_set_is_done_with_it() {
    let world = World::new().await;
    for version in ["0.9.0", "1.0.0", "2.0.0"] {
        for id in ["a", "b"] {
            world.register(id, version, CAREFUL).await;
        }
    }
    for version in ["0.9.0", "1.0.0"] {
        world.serves(&format!("b@{version}")).await;
        world.serves(&format!("a@{version}")).await;
    }
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    let (one, other) = tokio::join!(world.engine.rollback("a", None), world.engine.rollback("b", None));
    assert_eq!((one.unwrap().version.as_str(), other.unwrap().version.as_str()), ("1.0.0", "1.0.0"));
    world.is_settled("1.0.0").await;
}

#[tokio::test]
async fn a_set_that_waits_for_its_turn_gives_way_to_whoever_asks_for_a_member_at_once() {
    let world = Arc::new(World::bound().await);
    world.register("b", "1.1.0", CAREFUL).await;
    let coming = world.paused(Place::Commit, "b@1.1.0").await;
    let set = world.set(&["a@2.0.0", "b@2.0.0"]);
    tokio::pin!(set);
    assert!(futures::poll!(&mut set).is_pending());
    let down = world.engine.deactivate("a");
    tokio::pin!(down);
    assert!(futures::poll!(&mut down).is_pending());
    let refused = set.await.unwrap_err();
    assert!(refused.to_string().contains("something else to be done to a first"), "{refused}");
    assert_eq!(down.await.unwrap().version, "1.0.0");
    world.binding.go.notify_one();
    assert!(coming.await.unwrap().unwrap().serves());
}

#[tokio::test]
async fn a_rollback_that_waits_ends_a_set_that_has_not_taken_over() {
    let world = Arc::new(World::bound().await);
    let other = Arc::clone(&world);
    world.binding.pause(Place::Commit, "b");
    let coming = tokio::spawn(async move { other.set(&["a@2.0.0", "b@2.0.0"]).await });
    world.binding.reached.notified().await;
    let back = world.engine.rollback("a", None);
    tokio::pin!(back);
    assert!(futures::poll!(&mut back).is_pending());
    // the coordinator hears of one after the other
    assert!(matches!(
        world.engine.steer("b", crate::engine::Order::Pause).await,
        Err(EngineError::NothingShifts { .. })
    ));
    assert!(world.engine.confirm("b").await.unwrap().already);
    world.binding.go.notify_one();
    let report = coming.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert!(report.reason.unwrap().contains("asked for a rollback"));
    assert_eq!(back.await.unwrap().version, "1.0.0");
    world.is_settled("1.0.0").await;
}

#[tokio::test]
async fn sets_that_share_modules_have_their_turns() {
    let world = Arc::new(World::new().await);
    for id in ["a", "b", "c", "d"] {
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            world.register(id, version, "").await;
        }
        world.serves(&format!("{id}@1.0.0")).await;
    }
    let sets: [&[&str]; 6] = [
        &["a@1.1.0", "b@1.1.0"],
        &["b@1.2.0", "c@1.1.0"],
        &["c@1.2.0", "a@1.2.0"],
        &["d@1.1.0"],
        &["d@1.2.0", "a@1.3.0", "c@1.3.0", "b@1.3.0"],
        &["b@1.0.0", "d@1.3.0"],
    ];
    let commands = sets.map(|set| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            loop {
                match world.set(set).await {
                    // one before it is not confirmed
                    Err(EngineError::Set { .. } | EngineError::InSet { .. }) => tokio::task::yield_now().await,
                    done => {
                        let report = done.unwrap();
                        assert!(report.serves(), "{report:?}");
                        break world.engine.confirm(&report.id).await.unwrap();
                    }
                }
            }
        })
    });
    for command in commands {
        command.await.unwrap();
    }
    for slot in world.engine.slots() {
        assert_eq!((slot.state, &slot.candidate), (State::Active, &None), "{slot:?}");
    }
}

#[tokio::test]
async fn the_time_of_a_member_is_its_own() {
    let world = Arc::new(World::bound().await);
    world.binding.pause(Place::Commit, "b");
    let other = Arc::clone(&world);
    let coming = tokio::spawn(async move { other.set(&["a@2.0.0", "b@2.0.0"]).await });
    world.binding.reached.notified().await;
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        tokio::task::yield_now().await;
    }
    world.binding.go.notify_one();
    let report = coming.await.unwrap().unwrap();
    // what counts against its timeout begins with its own validation, which was over before `b` waited
    assert!(report.serves() && report.steps[0].ms < 300.0, "{report:?}");
}
