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

/// `a` 1.0.0 serves, and `b` needs it; `a` 2.0.0 needs `b`.
async fn about_to_close() -> World {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("b", "1.0.0", "dependencies: [{ id: a }]\n").await;
    world.register("a", "2.0.0", "dependencies: [{ id: b }]\n").await;
    world.serves("a@1.0.0").await;
    world.serves("b@1.0.0").await;
    world
}

#[tokio::test]
async fn an_upgrade_that_closes_a_circle_is_refused_and_named_before() {
    let world = about_to_close().await;
    let refused = world.activate("a@2.0.0").await.unwrap_err().to_string();
    assert!(refused.contains("with a@2.0.0 modules need each other in a circle: a -> b -> a"), "{refused}");
    let forecast = world.engine.forecast("a", &Version::new(2, 0, 0), None).await.unwrap();
    assert_eq!(forecast.refused, [refused]);
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));

    // a version that stands by closes one as well, if it returns
    world.register("c", "1.0.0", "dependencies: [{ id: d }]\n").await;
    world.register("d", "1.0.0", "").await;
    world.register("d", "2.0.0", "dependencies: [{ id: c }]\n").await;
    world.register("c", "2.0.0", "").await;
    for label in ["d@1.0.0", "c@1.0.0"] {
        world.serves(label).await;
    }
    world.provisional("c@2.0.0").await;
    let refused = world.activate("d@2.0.0").await.unwrap_err().to_string();
    assert!(
        refused.contains("c@1.0.0 stands by until c@2.0.0 is confirmed, and if it returns, with d@2.0.0"),
        "{refused}"
    );
    world.engine.confirm("c").await.unwrap();
    world.activate("d@2.0.0").await.unwrap().ensure_serves().unwrap();
}

/// The same as a runtime leaves it that knew no circles: `a` 2.0.0 served when it ended.
async fn closed(world: &World) -> World {
    let mut record = world.engine.shared.board.slot("a").record.unwrap();
    record.serving = Some(Version::new(2, 0, 0));
    let change = crate::engine::record::Change { slot: Some(Some(record)), ..Default::default() };
    world.engine.shared.records.write("a", change).await.unwrap();
    world.killed().await
}

#[tokio::test]
async fn a_circle_that_was_made_before_circles_were_refused_starts_again() {
    let world = about_to_close().await;
    world.register("c", "1.0.0", "dependencies: [{ id: a }]\n").await;
    world.serves("c@1.0.0").await;
    let world = closed(&world).await;
    let mut events = world.events.subscribe();
    assert_eq!(world.engine.resume().await, Vec::<String>::new());
    let routed = ["a", "b", "c"].map(|id| world.routed(id));
    assert_eq!(routed.each_ref().map(Option::as_deref), [Some("2.0.0"), Some("1.0.0"), Some("1.0.0")]);
    World::until(&mut events, |event| matches!(event, Event::Alarm { message, .. } if message.contains("a -> b -> a")))
        .await;
    // an unrelated module comes and goes, and a version without the need opens the circle
    world.register("e", "1.0.0", "").await;
    world.serves("e@1.0.0").await;
    world.register("a", "3.0.0", "").await;
    world.serves("a@3.0.0").await;

    // where one of them fails, the others are tried: what needs it is told
    let world = about_to_close().await;
    let world = closed(&world).await;
    world.fail_of("a", &[(Place::Commit, Fault::Error)]);
    let faults = world.engine.resume().await;
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults[1].contains("b@1.0.0 needs `a` in a version *, which does not run"), "{faults:#?}");
}

const LISTENS: &str = "lifecycle:\n  activation:\n    rollbackTriggers: [criticalError]\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";

#[tokio::test]
async fn the_way_back_into_a_circle_that_was_there_before_is_not_refused() {
    for by_trigger in [false, true] {
        let world = closed(&about_to_close().await).await;
        assert_eq!(world.engine.resume().await, Vec::<String>::new());
        world.register("a", "3.0.0", LISTENS).await;
        // it opens the circle, and what stands by closes it again where it returns
        world.provisional("a@3.0.0").await;
        if by_trigger {
            let mut events = world.events.subscribe();
            world.gives_up("a@3.0.0");
            let ended = |event: &Event| matches!(event, Event::ActivationEnded { outcome: "rolled-back", .. });
            World::until(&mut events, ended).await;
        } else {
            let report = world.engine.rollback("a", None).await.unwrap();
            assert_eq!((report.version.as_str(), report.outcome), ("2.0.0", Outcome::Active));
        }
        assert_eq!(["a", "b"].map(|id| world.routed(id)), ["2.0.0", "1.0.0"].map(|version| Some(version.to_owned())));
        world.holds_only(&["a@2.0.0", "b@1.0.0"]).await;
        assert_eq!(world.state("a@2.0.0"), State::Active);
        // to go there by a command that starts it anew closes the circle, and is refused
        world.register("a", "4.0.0", "").await;
        world.serves("a@4.0.0").await;
        let refused = world.activate("a@2.0.0").await.unwrap_err().to_string();
        assert!(refused.contains("modules need each other in a circle: a -> b -> a"), "{refused}");
    }
}
