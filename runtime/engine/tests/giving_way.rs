//! Commands behind a traffic shift that would last: which of them end it, and what becomes of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::engine::activation::{Command, Reply};
use crate::engine::lanes::{Lanes, Running};
use crate::store::audit::Who;

type Coming = JoinHandle<Result<ActivationReport, EngineError>>;

/// A candidate that waits for requests that nobody makes.
const HELD: &str =
    "lifecycle:\n  activation:\n    onInconclusive: hold\n    trafficShifting: { initial: 10, interval: 10ms }\n";

/// A candidate whose first interval is long.
const SLOW: &str = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 1h }\n";

fn falls_back() -> String {
    format!("{QUICK}    rollbackTriggers: [{{ type: criticalError, afterConfirm: rollback }}]\n")
}

impl World {
    /// 1.0.0 and then 1.1.0 were confirmed; other versions that may come are held, or slow.
    async fn confirmed_twice(more: &str) -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register("a", "1.1.0", more).await;
        for (version, more) in [("2.0.0", HELD), ("3.0.0", SLOW), ("4.0.0", "")] {
            world.register("a", version, more).await;
        }
        world.serves("a@1.0.0").await;
        world.serves("a@1.1.0").await;
        world
    }

    /// What an operator gives commands by.
    fn operator(&self) -> Engine {
        self.engine.by(Who::Admin)
    }

    fn begins(&self, version: &str) -> Coming {
        let (engine, version) = (self.operator(), version.parse().unwrap());
        tokio::spawn(async move { engine.activate("a", &version, None).await })
    }

    /// Begins the activation of a version that is held, and returns once it is so without end.
    async fn is_held(&self, version: &str) -> Coming {
        let mut events = self.events.subscribe();
        let coming = self.begins(version);
        let of = |event: &Event| matches!(event, Event::Judged { instance, detail, .. } if &*instance.version == version && detail.contains("in 2 intervals; held"));
        Self::until(&mut events, of).await;
        coming
    }

    /// Begins the activation of 3.0.0, and returns once its long interval has begun.
    async fn is_slow(&self) -> Coming {
        let mut events = self.events.subscribe();
        let coming = self.begins("3.0.0");
        let of = |event: &Event| matches!(event, Event::TrafficShifted { weight: 10, .. });
        Self::until(&mut events, of).await;
        coming
    }

    /// Only this version serves, alone.
    fn serves_alone(&self, version: &str) {
        let slot = self.engine.slots().remove(0);
        assert_eq!((slot.version.as_str(), slot.weight, slot.candidate), (version, 100, None));
        assert_eq!(self.routed("a").as_deref(), Some(version));
    }

    /// A trigger of the version that serves.
    fn fails(&self) {
        let instance = self.engine.shared.board.slot("a").state.serving.unwrap();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    }
}

/// The reason for which an activation was given up.
async fn given_up(coming: Coming) -> String {
    let ended = tokio::time::timeout(Duration::from_secs(20), coming).await.expect("the shift ends");
    let report = ended.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    report.reason.unwrap()
}

/// Gives a command, which waits.
async fn waits<'a, T>(command: impl Future<Output = T> + Send + 'a) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    let mut command = Box::pin(command);
    assert!(futures::poll!(&mut command).is_pending());
    command
}

#[tokio::test]
async fn a_rollback_ends_a_shift_and_leaves_the_version_that_serves() {
    let world = World::confirmed_twice("").await;
    for is_slow in [false, true] {
        let coming = if is_slow { world.is_slow().await } else { world.is_held("2.0.0").await };
        let report = world.operator().rollback("a", None).await.unwrap();
        assert_eq!((report.version.as_str(), report.outcome), ("1.1.0", Outcome::Active));
        assert!(report.steps.is_empty(), "{report:?}");
        assert_eq!(given_up(coming).await, "activate: an operator asked for a rollback");
        world.serves_alone("1.1.0");
        assert_eq!(world.held(), ["a@1.1.0"]);
    }
    let reason = world.engine.state("a", &Version::new(2, 0, 0)).reason.unwrap();
    assert_eq!(
        (world.state("a@2.0.0"), reason.as_str()),
        (State::Failed, "activate: an operator asked for a rollback")
    );
    // the next one is about what serves
    assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn a_rollback_ends_a_shift_and_leaves_a_provisional_version_that_serves() {
    let world = World::confirmed_twice("").await;
    world.provisional("a@4.0.0").await;
    let coming = world.is_held("2.0.0").await;
    let report = world.operator().rollback("a", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("4.0.0", Outcome::Provisional));
    assert!(given_up(coming).await.contains("an operator asked for a rollback"));
    assert_eq!((world.state("a@4.0.0"), world.state("a@1.1.0")), (State::Provisional, State::Standby));
}

#[tokio::test]
async fn a_rollback_to_a_version_ends_a_shift_and_returns_to_that_version() {
    let world = World::confirmed_twice("").await;
    let coming = world.is_held("2.0.0").await;
    let report = world.operator().rollback("a", Some(&Version::new(1, 0, 0))).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active));
    assert!(given_up(coming).await.contains("an operator asked for a rollback"));
    world.serves_alone("1.0.0");
}

#[tokio::test]
async fn two_rollbacks_behind_one_shift_take_back_one_version() {
    let world = World::confirmed_twice("").await;
    let coming = world.is_slow().await;
    let operator = world.operator();
    let first = waits(operator.rollback("a", None)).await;
    assert_eq!(operator.rollback("a", None).await.unwrap().version, "1.1.0");
    assert_eq!(first.await.unwrap().version, "1.1.0");
    given_up(coming).await;
    world.serves_alone("1.1.0");
}

#[tokio::test]
async fn a_rollback_behind_a_version_that_took_over_returns_from_it() {
    let world = Arc::new(World::confirmed_twice("").await);
    world.register("a", "5.0.0", "lifecycle:\n  activation: { strategy: instant }\n").await;
    let coming = world.paused(Place::Commit, "a@5.0.0").await;
    let operator = world.operator();
    let back = waits(operator.rollback("a", None)).await;
    world.binding.go.notify_one();
    assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional);
    assert_eq!(back.await.unwrap().version, "1.1.0");
    world.serves_alone("1.1.0");
}

#[tokio::test]
async fn a_deactivation_ends_a_shift_and_takes_the_module_out() {
    let world = World::confirmed_twice("").await;
    let coming = world.is_slow().await;
    assert_eq!(world.operator().deactivate("a").await.unwrap().version, "1.1.0");
    assert_eq!(given_up(coming).await, "activate: an operator asked for the module's deactivation");
    assert_eq!((world.routed("a"), world.held()), (None, Vec::new()));
}

#[tokio::test]
async fn a_confirmed_version_that_fails_is_returned_from_also_beside_a_shift() {
    for is_slow in [true, false] {
        let world = World::confirmed_twice(&falls_back()).await;
        let coming = if is_slow { world.is_slow().await } else { world.is_held("2.0.0").await };
        let mut events = world.events.subscribe();
        world.fails();
        let reason = given_up(coming).await;
        assert_eq!(reason, "activate: the version it builds on, 1.1.0, is returned from");
        World::until(&mut events, |event| super::confirming::state_is(event, "1.0.0", State::Active)).await;
        world.serves_alone("1.0.0");
    }
}

#[tokio::test]
async fn a_confirmed_version_that_cannot_be_returned_from_ends_no_shift() {
    let world = World::new().await;
    world.register("a", "1.1.0", &falls_back()).await;
    world.register("a", "3.0.0", SLOW).await;
    world.serves("a@1.1.0").await;
    let coming = world.is_slow().await;
    let mut events = world.events.subscribe();
    world.fails();
    let told = |text: &'static str| move |event: &Event| matches!(event, Event::Alarm { message, .. } if message.contains(text));
    // what is to return from it is queued once this was told
    World::until(&mut events, told("the version before is activated")).await;
    assert_eq!(world.operator().rollback("a", None).await.unwrap().version, "1.1.0");
    assert!(given_up(coming).await.contains("an operator"), "the shift went on until then");
    World::until(&mut events, told("there is no way back")).await;
}

#[tokio::test]
async fn an_activation_of_another_version_ends_a_shift_that_is_held_without_end() {
    let world = World::confirmed_twice("").await;
    let coming = world.is_held("2.0.0").await;
    assert_eq!(world.activate("a@4.0.0").await.unwrap().outcome, Outcome::Provisional);
    let reason = given_up(coming).await;
    assert_eq!(reason, "activate: it is held without a verdict, and the activation of 4.0.0 waits");
    world.serves_alone("4.0.0");
}

#[tokio::test]
async fn an_activation_ends_no_shift_that_goes_on_and_none_of_its_own_version() {
    let world = World::confirmed_twice("").await;
    let operator = world.operator();
    for is_slow in [true, false] {
        let coming = if is_slow { world.is_slow().await } else { world.is_held("2.0.0").await };
        let version = Version::new(if is_slow { 4 } else { 2 }, 0, 0);
        let other = waits(operator.activate("a", &version, None)).await;
        assert_eq!(operator.rollback("a", None).await.unwrap().version, "1.1.0");
        assert_eq!(given_up(coming).await, "activate: an operator asked for a rollback");
        assert_eq!(other.await.unwrap().outcome, Outcome::RolledBack, "the rollback was behind it, too");
    }
}

#[tokio::test]
async fn a_rollback_ends_every_shift_that_waits_before_it() {
    let world = World::confirmed_twice("").await;
    let coming = world.is_held("2.0.0").await;
    let operator = world.operator();
    let version = Version::new(3, 0, 0);
    let next = waits(operator.activate("a", &version, None)).await;
    assert_eq!(operator.rollback("a", None).await.unwrap().version, "1.1.0");
    given_up(coming).await;
    assert!(next.await.unwrap().reason.unwrap().contains("an operator asked for a rollback"));
    world.serves_alone("1.1.0");
}

#[tokio::test]
async fn a_rollback_behind_a_return_takes_back_no_second_version() {
    let world = World::confirmed_twice("").await;
    world.register("a", "5.0.0", &format!("{QUICK}    rollbackTriggers: [criticalError]\n")).await;
    world.provisional("a@5.0.0").await;
    world.binding.pause(Place::Undo, "a");
    world.fails();
    world.binding.reached.notified().await;
    let operator = world.operator();
    let back = waits(operator.rollback("a", None)).await;
    world.binding.pause(Place::Undo, "nobody");
    world.binding.go.notify_one();
    let report = back.await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.1.0", Outcome::Active));
    assert_eq!(world.state("a@5.0.0"), State::Failed);
    world.serves_alone("1.1.0");
}

#[tokio::test]
async fn a_rollback_is_about_what_serves_where_the_command_before_it_was_answered() {
    let world = World::new().await;
    let (actor, id) = (world.modules.get_id(), "a".to_owned());
    for is_over in [false, true] {
        let command = Command::Rollback { id: id.clone(), to: None, of: None };
        let reply = Reply { to: oneshot::channel().0, by: Who::Admin.into(), since: Instant::now() };
        let (of, abort) = (Version::new(9, 9, 9), watch::channel(None).0);
        let over = Arc::new(AtomicBool::new(is_over));
        let mut lanes = Lanes::default();
        let running = Running { ids: vec![id.clone()], of: [(id.clone(), of.clone())].into(), abort, over };
        lanes.running.insert(actor, running);
        lanes.queues.push_back(vec![id.clone()], (command, reply));
        lanes.give_way(&id, &world.engine.shared);
        let mut about = None;
        lanes.queues.look(&id, |(command, _)| {
            if let Command::Rollback { of, .. } = command {
                about.clone_from(of);
            }
        });
        assert_eq!(about, (!is_over).then_some(of), "the actor of a command lives a moment longer than it");
    }
}
