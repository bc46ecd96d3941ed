//! A version whose rollback failed serves on, since what is routed must not be stopped; and how a person gets out of that.

use super::confirming::state_is;
use super::*;

/// A version with a table, which goes with it.
const TABLE: &str = "database: { migrations: [{ version: 1.1.0, file: t.sql }] }\nlifecycle:\n  rollback: { preserveData: false }\n  activation:\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";

/// `r@1.1.0` serves although it failed: `o` has taken the path of `r@1.0.0` behind the manifests' back.
async fn stuck() -> World {
    let world = World::new().await;
    world.register("r", "1.0.0", "").await;
    let files = [("main.lua", "return {}"), ("t.sql", "create table t (n integer);"), ("t.down.sql", "drop table t;")];
    for version in ["1.1.0", "1.2.0"] {
        world.register_files("r", version, TABLE, &files).await;
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

/// The rollbacks that the audit log tells, as `ID@VERSION outcome`.
async fn rollbacks(world: &World) -> Vec<String> {
    let records = world.engine.audit().read(1, 100).await.unwrap();
    let rollbacks = records
        .iter()
        .filter_map(crate::store::audit::Row::entry)
        .filter(|record| record.kind == crate::store::audit::Kind::RolledBack);
    let told = |record: &crate::store::audit::Record| {
        let data: serde_json::Value = serde_json::from_str(record.data.get()).unwrap();
        format!("{} {}", record.subject, data["outcome"].as_str().unwrap())
    };
    rollbacks.map(told).collect()
}

#[tokio::test]
async fn it_is_returned_from_as_soon_as_it_can_be_and_the_failure_is_told_once() {
    let world = stuck().await;
    let mut events = world.events.subscribe();
    for _ in 0..3 {
        World::until(&mut events, |event| state_is(event, "1.1.0", State::RollingBack)).await;
        World::until(&mut events, |event| state_is(event, "1.1.0", State::FailedToRestore)).await;
    }
    assert_eq!(rollbacks(&world).await, ["r@1.1.0 failed-to-restore"]);
    let steps = world.engine.history("r", 1).await.unwrap().remove(0).steps;
    assert_eq!(steps.iter().filter(|step| step.name == "stopTraffic").count(), 1, "{steps:?}");

    world.engine.deactivate("o").await.unwrap();
    let mut told = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("it is returned from");
        match &*next.unwrap() {
            Event::Alarm { message, .. } => told.push(message.clone()),
            Event::ActivationEnded { instance, outcome, .. } => {
                assert_eq!((&*instance.version, *outcome), ("1.1.0", "rolled-back"));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(told, Vec::<String>::new());
    assert_eq!((world.routed("r").as_deref(), world.held()), (Some("1.0.0"), vec!["r@1.0.0".to_owned()]));
    assert_eq!((world.state("r@1.0.0"), world.state("r@1.1.0")), (State::Active, State::Failed));
    assert_eq!(world.tables("r"), Vec::<String>::new());
    assert_eq!(rollbacks(&world).await, ["r@1.1.0 failed-to-restore", "r@1.1.0 rolled-back"]);
}

#[tokio::test]
async fn a_restart_returns_from_it_with_its_tables() {
    let world = stuck().await;
    assert_eq!(world.tables("r"), ["1.1.0"]);
    let killed = world.killed().await;
    killed.engine.resume().await;
    assert_eq!((killed.routed("r").as_deref(), killed.state("r@1.1.0")), (Some("1.0.0"), State::Failed));
    assert_eq!(killed.tables("r"), Vec::<String>::new());
    let returned = killed.engine.history("r", 9).await.unwrap().into_iter().find(|entry| entry.version == "1.1.0");
    assert_eq!(returned.unwrap().outcome, Some(Outcome::RolledBack));
}
