//! A gradual activation beside a version that serves.

use super::*;

const WEIGHTS: [u8; 4] = [0, 10, 30, 70];

/// Begins an activation and returns once its candidate has this share.
async fn shared(
    world: &World,
    label: &str,
    share: u8,
) -> tokio::task::JoinHandle<Result<ActivationReport, EngineError>> {
    let mut events = world.events.subscribe();
    let (id, version) = label.split_once('@').unwrap();
    let (engine, id, version) = (world.engine.clone(), id.to_owned(), version.parse::<Version>().unwrap());
    let coming = tokio::spawn(async move { engine.activate(&id, &version, None).await });
    World::until(&mut events, |event| matches!(event, Event::TrafficShifted { weight, .. } if *weight == share)).await;
    coming
}

#[tokio::test]
async fn a_candidate_goes_through_the_weights_and_takes_over() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
    }
    world.serves("a@1.0.0").await;
    let mut events = world.events.subscribe();
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!(report.outcome, Outcome::Provisional, "{report:?}");
    let weights: Vec<u8> = report.traffic_shift.iter().map(|shift| shift.weight).collect();
    assert_eq!(weights, WEIGHTS);
    assert!(report.traffic_shift[1..].iter().all(|shift| shift.verdict == "inconclusive"), "nobody asked: {report:?}");
    let mut shifted = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::TrafficShifted { weight, .. } = *event {
            shifted.push(weight);
        }
    }
    assert_eq!(shifted, WEIGHTS);
}

#[tokio::test]
async fn a_first_version_has_nobody_to_take_traffic_from() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    assert!(world.activate("a@1.0.0").await.unwrap().traffic_shift.is_empty());
}

#[tokio::test]
async fn an_ill_candidate_takes_nothing() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register_script("a", "2.0.0", "", "return { health = function() return 'unhealthy' end }").await;
    world.serves("a@1.0.0").await;
    let mut events = world.events.subscribe();
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!((report.outcome, report.traffic_shift.len()), (Outcome::RolledBack, 0), "{report:?}");
    assert!(report.reason.unwrap().contains("healthCheckFailure"));
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(*event, Event::TrafficShifted { .. }), "{event:?}");
    }
    let steps: Vec<_> = report.rollback.iter().map(|step| step.name.name()).collect();
    assert_eq!(steps, ["stopTraffic", "deactivate", "rollback", "unregister", "cleanup", "restore"]);
}

#[tokio::test]
async fn a_shift_that_a_stop_interrupts_leaves_nothing() {
    let world = World::new().await;
    let slow = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 1h }\n";
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", slow).await;
    world.serves("a@1.0.0").await;
    let coming = shared(&world, "a@2.0.0", 10).await;
    let slot = world.engine.slots().remove(0);
    let candidate = slot.candidate.unwrap();
    assert_eq!((slot.weight, candidate.weight, candidate.state), (90, 10, State::Activating));
    let killed = world.killed().await;
    let stopped = world.restarted().await;
    assert!(matches!(coming.await.unwrap(), Err(EngineError::Stopped)));
    for world in [killed, stopped] {
        world.engine.resume().await;
        let slot = world.engine.slots().remove(0);
        assert_eq!((slot.version.as_str(), slot.weight, slot.candidate), ("1.0.0", 100, None));
        let history = world.engine.history("a", 9).await.unwrap();
        let undone = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
        assert_eq!(undone.outcome, Some(Outcome::RolledBack), "{undone:?}");
    }
}

#[tokio::test]
async fn a_trigger_of_the_provisional_baseline_ends_the_shift_and_returns_to_the_confirmed_version() {
    let world = World::new().await;
    let slow = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 1h }\n";
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", &format!("{QUICK}    rollbackTriggers: [criticalError]\n")).await;
    world.register("a", "3.0.0", slow).await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    let baseline = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    let mut events = world.events.subscribe();
    let coming = shared(&world, "a@3.0.0", 10).await;
    world.events.emit(Event::CriticalError { instance: baseline, reason: "its workers die".to_owned() });
    let report = coming.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert!(report.reason.unwrap().contains("2.0.0, is returned from"));
    let served = |event: &Event| matches!(event, Event::StateChanged { instance, to: "failed", .. } if &*instance.version == "2.0.0");
    World::until(&mut events, served).await;
    assert_eq!((world.routed("a").as_deref(), world.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
}

#[tokio::test]
async fn a_candidate_whose_answers_are_slow_at_a_weight_is_taken_back() {
    let world = World::new().await;
    let slow = "lifecycle:\n  activation:\n    rollbackTriggers: [responseTimeExceeded]\n    trafficShifting: { initial: 30, interval: 1h }\n";
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", slow).await;
    world.serves("a@1.0.0").await;
    let coming = shared(&world, "a@2.0.0", 30).await;
    let slot = world.engine.slots().remove(0);
    let instances = &world.engine.shared.hands.instances;
    for (version, took) in [("1.0.0", 10), ("2.0.0", 5_000)] {
        let key = instances.keys().into_iter().find(|key| &*key.version == version).unwrap();
        let instance = instances.instance(&key).unwrap();
        (0..40).for_each(|_| instance.metrics.stats.record(false, Duration::from_millis(took)));
    }
    let report = coming.await.unwrap().unwrap();
    assert_eq!((slot.candidate.unwrap().weight, report.outcome), (30, Outcome::RolledBack), "{report:?}");
    let last = report.traffic_shift.last().unwrap();
    assert_eq!((last.weight, last.verdict.as_str()), (30, "fail"), "{report:?}");
    let reason = report.reason.unwrap();
    assert!(reason.contains("responseTimeExceeded: "), "{reason}");
    assert_eq!((world.routed("a").as_deref(), world.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
}

#[tokio::test]
async fn steps_that_take_too_long_are_told_by_the_name_of_their_trigger() {
    let world = World::new().await;
    world.register("a", "1.0.0", HASTY).await;
    world.fail(&[(Place::Commit, Fault::Hang)]);
    let report = world.activate("a@1.0.0").await.unwrap();
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    let reason = report.reason.unwrap();
    assert!(reason.contains("activationTimeout: the steps took longer than 200 ms"), "{reason}");
}
