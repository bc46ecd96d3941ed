//! A traffic shift that somebody steers.

use tokio::task::JoinHandle;

use super::told::told;
use super::*;
use crate::engine::Order;
use crate::store::audit::{Kind, Who};

type Coming = JoinHandle<Result<ActivationReport, EngineError>>;

/// A candidate whose intervals do not end by themselves: 10, 20, 40, 80, 100.
const SLOW: &str = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 1h }\n";

/// A candidate whose intervals end at once.
const SWIFT: &str = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 10ms }\n";

const FULL: Order = Order::Promote { full: true };
const NEXT: Order = Order::Promote { full: false };

impl World {
    /// 1.0.0 is confirmed, and traffic of it is shifted to 2.0.0, which is at 10 %.
    async fn shifting(more: &str) -> (Self, Coming) {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register("a", "2.0.0", more).await;
        world.serves("a@1.0.0").await;
        let coming = world.shifts().await;
        (world, coming)
    }

    /// Begins the activation of 2.0.0 and returns once it has 10 %.
    async fn shifts(&self) -> Coming {
        let mut events = self.events.subscribe();
        let engine = self.engine.clone();
        let coming = tokio::spawn(async move { engine.activate("a", &Version::new(2, 0, 0), None).await });
        Self::until(&mut events, |event| matches!(event, Event::TrafficShifted { weight: 10, .. })).await;
        coming
    }

    async fn steer(&self, order: Order) -> Result<crate::engine::SteerReport, EngineError> {
        self.engine.by(Who::Admin).steer("a", order).await
    }

    /// The candidate's share, and whether it is paused.
    fn share(&self) -> Option<(u8, bool)> {
        self.engine.slots().remove(0).candidate.map(|candidate| (candidate.weight, candidate.paused))
    }
}

#[tokio::test]
async fn a_shift_is_promoted_weight_by_weight_and_then_whole() {
    let (world, coming) = World::shifting(SLOW).await;
    let mut events = world.events.subscribe();
    let report = world.steer(NEXT).await.unwrap();
    assert_eq!((report.done.as_str(), report.weight, report.next), ("promoted", 10, 20));
    World::until(&mut events, |event| matches!(event, Event::TrafficShifted { weight: 20, .. })).await;
    assert_eq!(world.steer(FULL).await.unwrap().next, 100);
    let report = coming.await.unwrap().unwrap();
    assert_eq!((report.outcome, world.routed("a").as_deref()), (Outcome::Provisional, Some("2.0.0")));
    let told: Vec<_> = report.traffic_shift.iter().map(|it| (it.weight, &*it.verdict, &*it.detail)).collect();
    let by_hand = |weight| (weight, "promoted", "an operator wanted it");
    assert_eq!(told, [by_hand(10), by_hand(20)]);
}

#[tokio::test]
async fn a_paused_shift_stays_at_its_weight_until_it_is_resumed() {
    let (world, coming) = World::shifting(SLOW).await;
    // what would end its interval comes after the pause
    assert_eq!(world.steer(Order::Pause).await.unwrap().next, 10);
    assert_eq!(world.share(), Some((10, true)));
    assert_eq!(world.steer(Order::Pause).await.unwrap().done, "paused", "again is no fault");
    assert_eq!(world.steer(Order::Resume).await.unwrap().weight, 10);
    assert_eq!(world.share(), Some((10, false)));
    world.steer(Order::Pause).await.unwrap();
    world.steer(NEXT).await.unwrap();
    while world.share() != Some((20, false)) {
        tokio::task::yield_now().await;
    }
    world.steer(Order::Abort).await.unwrap();
    let report = coming.await.unwrap().unwrap();
    assert_eq!(
        (report.outcome, report.reason.as_deref()),
        (Outcome::RolledBack, Some("activate: an operator gave it up"))
    );
    assert_eq!((world.routed("a").as_deref(), world.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
}

#[tokio::test]
async fn a_pause_holds_whenever_it_comes() {
    // many times at once, so that it meets a shift that is about to end
    for _ in 0..10 {
        let (world, coming) = World::shifting(SWIFT).await;
        match world.steer(Order::Pause).await {
            Ok(report) => {
                let share = world.share();
                assert_eq!(share, Some((report.weight, true)));
                // each order is written and synced, so that some of them outlast an interval
                for _ in 0..20 {
                    assert_eq!(world.steer(Order::Pause).await.unwrap().weight, report.weight);
                }
                assert_eq!(world.share(), share, "it was paused");
                world.steer(Order::Resume).await.unwrap();
            }
            Err(error) => assert!(matches!(error, EngineError::NothingShifts { .. }), "{error}"),
        }
        assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional);
    }
}

#[tokio::test]
async fn a_paused_candidate_that_fails_is_returned_from() {
    let triggers = format!("{SLOW}    rollbackTriggers: [criticalError]\n");
    let (world, coming) = World::shifting(&triggers).await;
    world.steer(Order::Pause).await.unwrap();
    let instance = world.engine.shared.board.slot("a").candidate.unwrap();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    let report = coming.await.unwrap().unwrap();
    assert_eq!((report.outcome, world.routed("a").as_deref()), (Outcome::RolledBack, Some("1.0.0")));
    assert!(matches!(world.steer(Order::Resume).await, Err(EngineError::NothingShifts { .. })));
}

#[tokio::test]
async fn a_paused_shift_gives_way_to_another_version_and_to_a_kill() {
    let (world, coming) = World::shifting(SLOW).await;
    world.steer(Order::Pause).await.unwrap();
    let killed = world.killed().await;
    killed.engine.resume().await;
    assert_eq!(killed.routed("a").as_deref(), Some("1.0.0"));
    world.register("a", "3.0.0", "").await;
    world.activate("a@3.0.0").await.unwrap().ensure_serves().unwrap();
    let report = coming.await.unwrap().unwrap();
    assert_eq!((report.outcome, world.routed("a").as_deref()), (Outcome::RolledBack, Some("3.0.0")));
}

#[tokio::test]
async fn orders_are_in_the_audit_log_with_who_gave_them_and_those_that_meet_nothing_are_refused() {
    let (world, coming) = World::shifting(SLOW).await;
    world.steer(Order::Pause).await.unwrap();
    world.steer(FULL).await.unwrap();
    coming.await.unwrap().unwrap().ensure_serves().unwrap();
    let refused = world.steer(Order::Abort).await.unwrap_err();
    assert!(refused.to_string().starts_with("no traffic of a is being shifted"), "{refused}");
    let all = told(&world).await;
    let orders = all
        .iter()
        .filter(|(kind, who, subject, _)| *kind == Kind::ShiftSteered && *who == Who::Admin && subject == "a@2.0.0");
    let orders: Vec<_> = orders.map(|(.., data)| (data["done"].as_str(), data["weight"].as_u64())).collect();
    assert_eq!(orders, [(Some("paused"), Some(10)), (Some("promoted"), Some(10))]);
    let refused = all.iter().find(|(kind, ..)| *kind == Kind::CommandRefused).map(|(.., data)| &data["command"]);
    assert_eq!(refused, Some(&"abort".into()));
}
