//! Commands at the same time: each may be right alone, and together they must not be wrong.

use super::*;

#[tokio::test]
async fn a_dependency_that_goes_while_its_dependent_comes_fails_the_activation() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    world.register("b", "1.0.0", "dependencies:\n  - id: a\n").await;
    world.serves("a@1.0.0").await;
    let coming = world.paused(Place::Commit, "b@1.0.0").await;
    world.engine.deactivate("a").await.unwrap();
    world.binding.go.notify_one();
    let report = coming.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert!(report.reason.unwrap().contains("b@1.0.0 needs `a`"));
    assert_eq!((world.routed("b"), world.held()), (None, Vec::new()));
}

#[tokio::test]
async fn of_two_modules_that_claim_one_path_at_once_one_serves() {
    let world = Arc::new(World::new().await);
    // the binding gives each `GET /ID`; the manifest's api is what validation looks at
    let api = "apis:\n  - path: /same\n    methods: [GET]\n";
    world.register("a", "1.0.0", api).await;
    world.register("b", "1.0.0", api).await;
    let first = world.paused(Place::Commit, "a@1.0.0").await;
    world.serves("b@1.0.0").await;
    world.binding.go.notify_one();
    let report = first.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert!(report.reason.unwrap().contains("b@1.0.0"));
    assert_eq!(world.held(), ["b@1.0.0"]);
}

#[tokio::test]
async fn commands_for_one_module_run_one_after_the_other() {
    let world = Arc::new(World::new().await);
    let versions: Vec<String> = (0..12).map(|n| format!("1.{n}.0")).collect();
    for version in &versions {
        world.register("a", version, "").await;
    }
    let commands = versions.iter().map(|version| {
        let (world, label) = (Arc::clone(&world), format!("a@{version}"));
        tokio::spawn(async move { world.activate(&label).await })
    });
    for command in commands.collect::<Vec<_>>() {
        assert!(command.await.unwrap().unwrap().outcome.serves());
    }
    world.engine.confirm("a").await.unwrap();
    let active = versions.iter().filter(|version| world.state(&format!("a@{version}")) == State::Active);
    let active: Vec<_> = active.collect();
    assert_eq!(active.len(), 1);
    assert_eq!(world.routed("a").as_ref(), Some(active[0]));
}

#[tokio::test]
async fn unrelated_modules_do_not_wait_for_each_other() {
    let world = Arc::new(World::new().await);
    world.register("slow", "1.0.0", "").await;
    world.register("quick", "1.0.0", "").await;
    let slow = world.paused(Place::Commit, "slow@1.0.0").await;
    world.serves("quick@1.0.0").await;
    assert!(!slow.is_finished());
    world.binding.go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().outcome, Outcome::Active);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_command() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    let caller = world.paused(Place::Commit, "a@1.0.0").await;
    caller.abort();
    world.binding.go.notify_one();
    // a command for the same module waits for the one before it
    let report = world.engine.activate("a", &Version::new(1, 0, 0), Some(ActivationStrategy::Instant)).await.unwrap();
    assert_eq!((report.outcome, world.state("a@1.0.0")), (Outcome::Active, State::Active));
}

#[tokio::test]
async fn a_first_activation_that_a_stop_interrupts_leaves_no_slot() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    let coming = world.paused(Place::Commit, "a@1.0.0").await;
    let stopping = world.engine.stop(Duration::from_secs(5));
    let released = async {
        while !matches!(world.engine.deactivate("a").await, Err(EngineError::Stopped)) {}
        world.binding.go.notify_one();
    };
    tokio::join!(stopping, released);
    let refused = coming.await.unwrap();
    assert!(matches!(refused, Err(EngineError::Stopped)), "{refused:?}");
    assert!(!world.engine.has_slot("a") && world.held().is_empty());
    let world = Arc::into_inner(world).unwrap().restarted().await;
    assert!(!world.engine.has_slot("a"));
    world.serves("a@1.0.0").await;
}

#[tokio::test]
async fn what_is_not_registered_any_more_has_no_slot() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.engine.deactivate("a").await.unwrap();
    // as if the process had ended between the registry's record and the engine's
    world.registry.unregister_by(crate::store::audit::Who::Admin, "a", &[Version::new(1, 0, 0)]).await.unwrap();
    let world = world.restarted().await;
    assert!(!world.engine.has_slot("a") && world.engine.slots().is_empty());
}
