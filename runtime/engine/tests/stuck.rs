//! A version whose rollback failed serves on, since what is routed must not be stopped; and how a person gets out of that.

use super::confirming::state_is;
use super::*;

/// `r@1.1.0` serves although it failed: `o` has taken the path of `r@1.0.0` behind the manifests' back.
async fn stuck() -> World {
    let world = World::new().await;
    world.register("r", "1.0.0", "").await;
    for version in ["1.1.0", "1.2.0"] {
        world.register("r", version, &format!("{QUICK}    rollbackTriggers: [criticalError]\n")).await;
    }
    world.register("o", "1.0.0", "").await;
    let paths = [("r@1.1.0", "/moved"), ("r@1.2.0", "/moved"), ("o@1.0.0", "/r")];
    world.binding.paths.lock().unwrap().extend(paths.map(|(label, path)| (label.to_owned(), path)));
    world.serves("r@1.0.0").await;
    world.provisional("r@1.1.0").await;
    world.serves("o@1.0.0").await;
    let instance = world.router.snapshot().instance("r", 0).unwrap().key.clone();
    let mut events = world.events.subscribe();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    World::until(&mut events, |event| state_is(event, "1.1.0", State::FailedToRestore)).await;
    assert_eq!(world.routed("r").as_deref(), Some("1.1.0"));
    world
}

#[tokio::test]
async fn what_serves_although_its_rollback_failed_is_neither_confirmed_nor_forgotten() {
    let world = stuck().await;
    let refused = world.engine.confirm("r").await.unwrap_err();
    assert!(matches!(refused, EngineError::Unconfirmable { state: State::FailedToRestore, .. }), "{refused}");
    for version in [Some(&Version::new(1, 1, 0)), None] {
        let refused = world.engine.unregister("r", version).await.unwrap_err();
        assert!(matches!(&refused, EngineError::Runs { help, .. } if help.contains("deactivate")), "{refused}");
    }
    assert_eq!(world.routed("r").as_deref(), Some("1.1.0"));
    world.engine.deactivate("r").await.unwrap();
    assert_eq!((world.routed("r"), world.state("r@1.1.0")), (None, State::Inactive));
}

#[tokio::test]
async fn its_activation_is_a_new_generation_that_returns_to_the_confirmed_version() {
    let world = stuck().await;
    let generation = || world.engine.state("r", &Version::new(1, 1, 0)).generation;
    let first = generation();
    world.fail(&[(Place::Prepare, Fault::Error)]);
    assert_eq!(world.activate("r@1.1.0").await.unwrap().outcome, Outcome::RolledBack);
    assert_eq!((world.routed("r").as_deref(), world.state("r@1.1.0")), (Some("1.1.0"), State::Failed));
    assert!(world.engine.unregister("r", Some(&Version::new(1, 1, 0))).await.is_err());
    assert!(world.engine.confirm("r").await.is_err());
    world.fail(&[]);
    world.provisional("r@1.1.0").await;
    assert!(generation() > first);
    assert_eq!((world.state("r@1.0.0"), world.state("r@1.1.0")), (State::Standby, State::Provisional));
    world.engine.deactivate("o").await.unwrap();
    assert_eq!(world.engine.rollback("r", None).await.unwrap().version, "1.0.0");
    assert_eq!(world.routed("r").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn it_drains_when_another_version_takes_over() {
    let world = stuck().await;
    let mut events = world.events.subscribe();
    world.provisional("r@1.2.0").await;
    World::until(&mut events, |event| state_is(event, "1.1.0", State::Inactive)).await;
    assert_eq!(world.state("r@1.0.0"), State::Standby);
    world.engine.confirm("r").await.unwrap();
    assert_eq!(world.routed("r").as_deref(), Some("1.2.0"));
}
