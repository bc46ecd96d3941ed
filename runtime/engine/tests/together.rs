//! Commands at the same time: each may be right alone, and together they must not be wrong.

use std::time::Instant;

use tokio::sync::watch;

use super::*;
use crate::actors::Instance;
use crate::actors::gate::Pass;
use crate::engine::activation::Activation;
use crate::engine::{deactivate, rollback};
use crate::store::audit::{Kind, Who};

/// A version that is returned from by a critical error.
const TRIGGERED: &str = "lifecycle:\n  activation:\n    rollbackTriggers: [criticalError]\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";

impl World {
    /// 1.0.0 is confirmed and 2.0.0, which a trigger takes back, provisional.
    async fn triggered() -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register("a", "2.0.0", TRIGGERED).await;
        world.serves("a@1.0.0").await;
        world.provisional("a@2.0.0").await;
        world
    }

    /// What a command works with. One that is polled once has looked at its slot, and waits for its first record; only where
    /// that is written before the poll ends has it turned the slot as well, see [`World::returns`].
    fn hand(&self) -> Activation {
        let (shared, coordinator) = (Arc::clone(&self.engine.shared), self.engine.coordinator.clone());
        Activation {
            shared,
            coordinator,
            by: Who::Admin.into(),
            since: Instant::now(),
            aborted: watch::channel(None).1,
            over: Arc::default(),
            jump: None,
        }
    }

    /// Whether 2.0.0 is returned from before the command that was polled turned its slot.
    async fn returns(&self) -> bool {
        let instance = self.router.snapshot().instance("a", 0).unwrap().key.clone();
        let mut events = self.events.subscribe();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
        let moved = |event: &Event, states: &[State]| {
            states.iter().any(|state| super::confirming::state_is(event, "2.0.0", *state))
        };
        Self::until(&mut events, |event| moved(event, &[State::Failed, State::Draining])).await;
        let forestalls = self.state("a@2.0.0") == State::Failed;
        if forestalls {
            assert_eq!((self.routed("a").as_deref(), self.state("a@1.0.0")), (Some("1.0.0"), State::Active));
        }
        forestalls
    }
}

/// A world and the result of a command that a trigger forestalled in it. Which of the two is first is the machine's choice,
/// so it is tried until it is the trigger.
macro_rules! forestalled {
    (|$work:ident| $command:expr) => {{
        let mut tries = 1..50;
        loop {
            tries.next().expect("the trigger comes first at some time");
            let world = World::triggered().await;
            let $work = world.hand();
            let mut command = Box::pin($command);
            assert!(futures::poll!(&mut command).is_pending());
            if world.returns().await {
                break (command.await.unwrap(), world);
            }
        }
    }};
}

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

#[tokio::test]
async fn a_rollback_that_a_trigger_forestalls_is_done() {
    let (report, world) = forestalled!(|work| rollback::rollback(&work, "a", None, None, "a test"));
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active));
    let history = world.engine.history("a", 9).await.unwrap();
    let commanded = history.iter().find(|entry| entry.command == "rollback").unwrap();
    assert_eq!((commanded.outcome, &commanded.reason), (Some(Outcome::Active), &None), "{history:?}");
}

#[tokio::test]
async fn a_rollback_that_a_confirmation_forestalls_starts_the_version_before_again() {
    let world = World::triggered().await;
    let work = world.hand();
    let back = rollback::rollback(&work, "a", None, None, "a test");
    tokio::pin!(back);
    assert!(futures::poll!(&mut back).is_pending());
    world.engine.confirm("a").await.unwrap();
    let report = back.await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active));
    assert!(!report.steps.is_empty(), "it is an activation");
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
}

#[tokio::test]
async fn an_activation_of_what_stands_by_that_a_trigger_forestalls_is_done() {
    let version = Version::new(1, 0, 0);
    let (report, _) = forestalled!(|work| crate::engine::activate::activate(&work, "a", &version, None));
    assert_eq!(report.outcome, Outcome::Active);
}

#[tokio::test]
async fn a_deactivation_that_a_return_forestalls_is_of_the_version_that_serves_then() {
    let (report, world) = forestalled!(|work| deactivate::deactivate(&work, "a"));
    assert_eq!(report.version, "1.0.0");
    assert_eq!((world.state("a@1.0.0"), world.routed("a"), world.held()), (State::Inactive, None, Vec::new()));
    let records = world.engine.audit().read(1, 100).await.unwrap();
    let told: Vec<_> = records
        .iter()
        .filter_map(crate::store::audit::Row::entry)
        .filter(|it| it.kind == Kind::Deactivated)
        .map(|it| it.subject.as_str())
        .collect();
    assert_eq!(told, ["a@1.0.0"]);
    let history = world.engine.history("a", 9).await.unwrap();
    let deactivated = history.iter().find(|entry| entry.command == "deactivate").unwrap();
    assert_eq!((deactivated.version.as_str(), deactivated.from.as_deref()), ("1.0.0", Some("1.0.0")));
}

impl World {
    /// 2.0.0 was returned from and drains, since it holds a call.
    async fn draining() -> (Self, Pass<Instance>) {
        let world = Self::triggered().await;
        let call = Pass::enter(Arc::clone(world.router.snapshot().instance("a", 0).unwrap())).unwrap();
        assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
        assert_eq!(world.state("a@2.0.0"), State::Draining);
        (world, call)
    }
}

#[tokio::test]
async fn what_drains_is_unregistered_once_it_has_stopped_and_no_command_waits_for_that() {
    let (world, call) = World::draining().await;
    world.register("b", "1.0.0", "dependencies:\n  - id: a\n").await;
    world.serves("b@1.0.0").await;
    let version = Version::new(2, 0, 0);
    let going = world.engine.unregister("a", Some(&version));
    tokio::pin!(going);
    assert!(futures::poll!(&mut going).is_pending());
    // it has its turn behind the first look, which found what drains
    assert_eq!(world.activate("a@1.0.0").await.unwrap().outcome, Outcome::Active);
    assert!(futures::poll!(&mut going).is_pending());
    assert!(world.registry.snapshot().get("a", &version).is_some());
    drop(call);
    assert_eq!(going.await.unwrap(), std::slice::from_ref(&version));
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
    assert!(!world.held().contains(&"a@2.0.0".to_owned()));
}

#[tokio::test]
async fn what_drains_is_not_waited_for_where_another_version_is_in_the_way() {
    let world = World::triggered().await;
    assert!(world.engine.rollback("a", None).await.unwrap().outcome.serves());
    let _call = Pass::enter(Arc::clone(world.router.snapshot().instance("a", 0).unwrap())).unwrap();
    world.serves("a@2.0.0").await;
    assert_eq!((world.state("a@1.0.0"), world.state("a@2.0.0")), (State::Draining, State::Active));
    let refused = tokio::time::timeout(Duration::from_secs(10), world.engine.unregister("a", None)).await;
    let refused = refused.expect("at once");
    assert!(matches!(refused, Err(EngineError::Runs { state: State::Draining, .. })), "{refused:?}");
}

#[tokio::test]
async fn who_waits_for_what_drains_hears_that_the_runtime_stops() {
    let (world, _call) = World::draining().await;
    let version = Version::new(2, 0, 0);
    let going = world.engine.unregister("a", Some(&version));
    tokio::pin!(going);
    assert!(futures::poll!(&mut going).is_pending());
    assert_eq!(world.activate("a@1.0.0").await.unwrap().outcome, Outcome::Active);
    assert!(futures::poll!(&mut going).is_pending());
    let stopping = world.engine.stop(Duration::ZERO);
    let (refused, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), going), stopping);
    let refused = refused.expect("at once");
    assert!(matches!(refused, Err(EngineError::Runs { .. } | EngineError::Stopped)), "{refused:?}");
}
