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
    assert_eq!(states, [State::Standby, State::Active, State::Failed]);
    // the standby is still what a rollback returns to
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
