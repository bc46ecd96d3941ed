//! The start of a runtime that served something before.

use super::*;

/// `a`, `b` that has nothing to do with it, and `c` that needs `a`, as a runtime finds them at its start.
async fn found() -> World {
    let world = World::new().await;
    for (id, more) in [("a", ""), ("b", ""), ("c", "dependencies:\n  - id: a\n")] {
        world.register(id, "1.0.0", more).await;
        world.serves(&format!("{id}@1.0.0")).await;
    }
    world.restarted().await
}

#[tokio::test]
async fn what_has_nothing_to_do_with_a_slow_module_does_not_wait_for_it() {
    let world = Arc::new(found().await);
    let mut events = world.events.subscribe();
    world.binding.pause(Place::Commit, "a");
    let engine = world.engine.clone();
    let resuming = tokio::spawn(async move { engine.resume().await });
    world.binding.reached.notified().await;
    World::until(
        &mut events,
        |event| matches!(event, Event::ActivationEnded { instance, outcome: "active", .. } if &*instance.id == "b"),
    )
    .await;
    assert_eq!((world.routed("b").as_deref(), world.routed("a")), (Some("1.0.0"), None));
    assert_eq!((world.routed("c"), world.state("c@1.0.0")), (None, State::Registered), "it waits for what it needs");
    world.binding.go.notify_one();
    assert_eq!(resuming.await.unwrap(), Vec::<String>::new());
    let routed = ["a", "b", "c"].map(|id| world.routed(id));
    assert_eq!(routed.each_ref().map(Option::as_deref), [Some("1.0.0"); 3]);
}

#[tokio::test]
async fn what_does_not_start_is_told_by_id_and_the_next_runtime_tries_it_again() {
    let world = found().await;
    world.fail(&[(Place::Commit, Fault::Error)]);
    let faults = world.engine.resume().await;
    let expected = [
        ("a@1.0.0: it served ", ": register: "),
        ("b@1.0.0: it served ", ": register: "),
        ("c@1.0.0: it served ", "c@1.0.0 cannot be activated: c@1.0.0 needs `a`"),
    ];
    let as_expected =
        |(fault, (begins, says)): (&String, (&str, &str))| fault.starts_with(begins) && fault.contains(says);
    assert!(faults.iter().zip(expected).all(as_expected), "{faults:#?}");
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    let world = world.restarted().await;
    assert_eq!(world.engine.resume().await, Vec::<String>::new());
    assert_eq!(world.routed("c").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn what_did_not_start_and_was_deactivated_is_left_alone_by_the_next_runtime() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let world = world.restarted().await;
    world.fail(&[(Place::Commit, Fault::Error)]);
    assert_eq!(world.engine.resume().await.len(), 1);
    assert_eq!(world.engine.deactivate("a").await.unwrap().version, "1.0.0");
    for world in [world.killed().await, world.restarted().await] {
        assert_eq!(world.engine.resume().await, Vec::<String>::new());
        assert_eq!((world.routed("a"), world.engine.slots()[0].version.as_str()), (None, "1.0.0"));
        let deactivation = world.engine.history("a", 1).await.unwrap().remove(0);
        let told = (deactivation.command.as_str(), deactivation.outcome, deactivation.reason);
        assert_eq!(told, ("deactivate", Some(Outcome::Inactive), None));
        assert!(matches!(world.engine.deactivate("a").await, Err(EngineError::NothingServes { .. })));
        world.serves("a@1.0.0").await;
    }
}

#[tokio::test]
async fn a_start_has_the_time_of_the_manifest_whatever_the_strategy_of_the_activation_was() {
    let world = World::new().await;
    world.register("a", "1.0.0", HASTY).await;
    let instant = Some(ActivationStrategy::Instant);
    world.engine.activate("a", &Version::new(1, 0, 0), instant).await.unwrap().ensure_serves().unwrap();
    let world = world.restarted().await;
    world.fail(&[(Place::Commit, Fault::Hang)]);
    let faults = world.engine.resume().await;
    assert!(faults[0].ends_with("the steps took longer than 200 ms"), "{faults:?}");
}
