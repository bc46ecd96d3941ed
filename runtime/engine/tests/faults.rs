//! Each step fails in each way: exactly one version serves afterwards, and nothing is left over.

use super::*;

const PLACES: [Place; 2] = [Place::Prepare, Place::Commit];
const FAULTS: [Fault; 3] = [Fault::Error, Fault::Panic, Fault::Hang];

#[tokio::test]
async fn a_first_version_that_fails_leaves_nothing() {
    let world = World::new().await;
    world.register("a", "1.0.0", HASTY).await;
    for place in PLACES {
        for fault in FAULTS {
            world.fail(&[(place, fault)]);
            let report = world.activate("a@1.0.0").await.unwrap();
            assert_eq!(report.outcome, Outcome::Failed, "{place:?} {fault:?}: {report:?}");
            assert!(report.reason.is_some() && world.held().is_empty(), "{place:?} {fault:?}: {:?}", world.held());
            assert_eq!((world.routed("a"), world.state("a@1.0.0")), (None, State::Failed), "{place:?} {fault:?}");
        }
    }
    world.fail(&[]);
    world.serves("a@1.0.0").await;
}

#[tokio::test]
async fn a_newer_version_that_fails_leaves_the_older_one_as_it_was() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", HASTY).await;
    world.serves("a@1.0.0").await;
    let before = world.engine.slots();
    for place in PLACES {
        for fault in FAULTS {
            world.fail(&[(place, fault)]);
            let report = world.activate("a@2.0.0").await.unwrap();
            assert_eq!(report.outcome, Outcome::RolledBack, "{place:?} {fault:?}: {report:?}");
            assert_eq!(world.held(), ["a@1.0.0"], "{place:?} {fault:?}");
            assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
            assert_eq!((world.state("a@1.0.0"), world.state("a@2.0.0")), (State::Active, State::Failed));
            assert_eq!(world.engine.slots(), before, "{place:?} {fault:?}");
        }
    }
    world.fail(&[]);
    world.serves("a@2.0.0").await;
    assert_eq!(world.routed("a").as_deref(), Some("2.0.0"));
}

#[tokio::test]
async fn a_failed_verification_after_the_switch_returns_the_traffic() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
        world.serves(&format!("a@{version}")).await;
    }
    world.register_script("a", "3.0.0", "", "return { health = function() return 'unhealthy' end }").await;
    let report = world.activate("a@3.0.0").await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(world.routed("a").as_deref(), Some("2.0.0"));
    let states = ["1.0.0", "2.0.0", "3.0.0"].map(|version| world.state(&format!("a@{version}")));
    assert_eq!(states, [State::Inactive, State::Active, State::Failed]);
    // the version before is still what a rollback returns to
    assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_an_alarm_and_never_silent() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    let mut events = world.events.subscribe();
    world.fail(&[(Place::Commit, Fault::Error), (Place::Undo, Fault::Error)]);
    let report = world.activate("a@1.0.0").await.unwrap();
    assert_eq!((report.outcome, world.state("a@1.0.0")), (Outcome::FailedToRestore, State::FailedToRestore));
    let mut alarm = None;
    while let Ok(event) = events.try_recv() {
        if let Event::Alarm { message, .. } = &*event {
            alarm = Some(message.clone());
        }
    }
    assert!(alarm.expect("an alarm").contains("could not be taken back"));
}

#[tokio::test]
async fn a_failed_verification_after_a_restart_leaves_what_a_rollback_returns_to() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
        world.serves(&format!("a@{version}")).await;
    }
    world.register_script("a", "3.0.0", "", "return { health = function() return 'unhealthy' end }").await;
    let world = world.restarted().await;
    world.engine.resume().await;
    let slot = || {
        let slot = world.engine.slots().remove(0);
        (slot.version, slot.previous, slot.strategy, slot.state)
    };
    let before = slot();
    assert_eq!(world.activate("a@3.0.0").await.unwrap().outcome, Outcome::RolledBack);
    assert_eq!(slot(), before);
    assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn a_timeout_anywhere_leaves_one_version_that_is_routed_and_runs() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    // from far too short to long enough, so that it passes within each step and within the commit
    for n in 0..60_u32 {
        let version = format!("2.{n}.0");
        let hasty = format!("{QUICK}    timeout: {}\n", n + 1);
        world.register("a", &version, &hasty).await;
        let served = world.routed("a");
        let report = world.activate(&format!("a@{version}")).await.unwrap();
        let expected = if report.outcome.serves() { Some(version.clone()) } else { served };
        // what is not confirmed is nothing to return to
        world.engine.confirm("a").await.unwrap();
        assert_ne!(report.outcome, Outcome::FailedToRestore, "{report:?}");
        assert_eq!(world.routed("a"), expected, "{report:?}");
        let slot = world.engine.slots().remove(0);
        assert_eq!((Some(slot.version), slot.state), (expected, State::Active), "{report:?}");
    }
}

#[tokio::test]
async fn an_undo_that_hangs_ends_in_an_alarm_and_frees_the_module() {
    let world = World::new().await;
    let hasty = "lifecycle:\n  rollback:\n    timeout: 100ms\n";
    world.register("a", "1.0.0", hasty).await;
    world.fail(&[(Place::Commit, Fault::Error), (Place::Undo, Fault::Hang)]);
    let report = world.activate("a@1.0.0").await.unwrap();
    assert_eq!(report.outcome, Outcome::FailedToRestore, "{report:?}");
    assert!(report.reason.unwrap().contains("100 ms"));
    world.fail(&[]);
    world.serves("a@1.0.0").await;
}

#[tokio::test]
async fn what_could_not_be_taken_back_goes_once_that_can_be_done() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.fail(&[(Place::Commit, Fault::Error), (Place::Undo, Fault::Error)]);
    for _ in 0..10 {
        assert_eq!(world.activate("a@2.0.0").await.unwrap().outcome, Outcome::FailedToRestore);
    }
    assert_eq!(world.held().len(), 11);
    // neither can what drains be released
    world.fail(&[(Place::Undo, Fault::Error)]);
    world.serves("a@2.0.0").await;
    world.engine.deactivate("a").await.unwrap();
    world.fail(&[]);
    world.activate("a@1.0.0").await.unwrap().ensure_serves().unwrap();
    let gone = async {
        while world.held() != ["a@1.0.0"] || world.engine.shared.hands.instances.keys().len() != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("what is left goes");
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
}
