//! Commands that end by a bug of ours, outside of any step: what they left undone is done.

use super::*;
use crate::engine::outcome::StepOutcome;
use crate::engine::probe::{Act, When};
use crate::engine::strategy::StepName;

impl World {
    pub(super) async fn holds_only(&self, expected: &[&str]) {
        let stopped = async {
            while self.held() != expected {
                tokio::task::yield_now().await;
            }
        };
        let stopped = tokio::time::timeout(Duration::from_secs(20), stopped).await;
        stopped.unwrap_or_else(|_| panic!("held: {:?}", self.held()));
    }

    /// The ends of activations that were told until now, as `ID outcome`.
    fn ends_told(events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) -> Vec<String> {
        let mut ends = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::ActivationEnded { instance, outcome, .. } = &*event {
                ends.push(format!("{} {outcome}", instance.id));
            }
        }
        ends
    }
}

async fn provisional_over_confirmed() -> World {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
    }
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    world
}

#[tokio::test]
async fn what_a_deactivation_that_died_took_out_of_service_stops_all_the_same() {
    let world = provisional_over_confirmed().await;
    world.engine.confirm("a").await.unwrap();
    let (mut alarms, mut states) = (world.events.subscribe(), world.events.subscribe());
    world.engine.shared.probe.arm("a", ("retire", When::Before), 0, Act::Panic);
    let died = world.engine.deactivate("a").await.unwrap_err();
    assert!(matches!(died, EngineError::Internal(_)), "{died}");
    World::until(&mut alarms, |event| matches!(event, Event::Alarm { subject, .. } if subject == "a")).await;
    let stopped = |event: &Event| matches!(event, Event::StateChanged { instance, to: "inactive", .. } if &*instance.version == "2.0.0");
    World::until(&mut states, stopped).await;
    world.holds_only(&[]).await;
    assert_eq!((world.routed("a"), world.state("a@2.0.0")), (None, State::Inactive));
    world.serves("a@1.0.0").await;
}

#[tokio::test]
async fn what_a_rollback_that_died_returned_from_stops_all_the_same() {
    let world = provisional_over_confirmed().await;
    world.engine.shared.probe.arm("a", ("retire", When::Before), 0, Act::Panic);
    let died = world.engine.rollback("a", None).await.unwrap_err();
    assert!(matches!(died, EngineError::Internal(_)), "{died}");
    world.holds_only(&["a@1.0.0"]).await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    world.provisional("a@2.0.0").await;
}

#[tokio::test]
async fn what_a_return_that_died_gave_back_goes_and_is_told_to_be_looked_at() {
    let world = provisional_over_confirmed().await;
    let (mut alarms, mut states) = (world.events.subscribe(), world.events.subscribe());
    world.engine.shared.probe.arm("a", ("undone", When::Before), 0, Act::Panic);
    world.trip();
    World::until(&mut alarms, |event| matches!(event, Event::Alarm { subject, .. } if subject == "a")).await;
    World::until(&mut states, |event| super::confirming::state_is(event, "2.0.0", State::FailedToRestore)).await;
    world.holds_only(&["a@1.0.0"]).await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    // the next runtime ends it, and the module is not wedged
    let world = world.restarted().await;
    world.engine.resume().await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::Failed));
    let history = world.engine.history("a", 50).await.unwrap();
    let entry = history.into_iter().find(|entry| entry.version == "2.0.0").unwrap();
    assert_eq!(entry.outcome, Some(Outcome::RolledBack), "{entry:?}");
    assert!(entry.reason.is_some(), "{entry:?}");
    world.provisional("a@2.0.0").await;
}

#[tokio::test]
async fn what_the_return_of_a_set_that_died_gave_back_goes_with_all_its_members() {
    for dies in ["a", "b"] {
        let world = World::joined().await;
        let mut alarms = world.events.subscribe();
        world.engine.shared.probe.arm(dies, ("undone", When::Before), 0, Act::Panic);
        world.member_fails("a");
        World::until(&mut alarms, |event| matches!(event, Event::Alarm { message, .. } if message.contains("panic")))
            .await;
        world.holds_only(&["a@1.0.0", "b@1.0.0"]).await;
        let routed = ["a", "b"].map(|id| world.routed(id));
        assert_eq!(routed, [Some("1.0.0".to_owned()), Some("1.0.0".to_owned())], "{dies}");
        for label in ["a@2.0.0", "b@2.0.0"] {
            let state = world.state(label);
            assert!(matches!(state, State::FailedToRestore | State::Failed), "{dies}: {label} is {state}");
        }
        assert_eq!(world.state(&format!("{dies}@2.0.0")), State::FailedToRestore);
        let world = world.restarted().await;
        world.engine.resume().await;
        world.holds_only(&["a@1.0.0", "b@1.0.0"]).await;
        let report = world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap();
        assert_eq!(report.outcome, Outcome::Provisional, "{dies}: {report:?}");
    }
}

#[tokio::test]
async fn the_end_of_each_member_is_told_once_where_the_ends_of_both_died() {
    let world = World::bound().await;
    let mut events = world.events.subscribe();
    for id in ["a", "b"] {
        world.engine.shared.probe.arm(id, ("close", When::Inside), 0, Act::Panic);
    }
    let report = world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    world.is_settled("1.0.0").await;
    let mut ends = World::ends_told(&mut events);
    ends.sort_unstable();
    assert_eq!(ends, ["a rolled-back", "b rolled-back"]);
}

#[tokio::test]
async fn a_way_back_that_gives_the_traffic_back_at_its_second_try_is_one() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
    }
    world.serves("a@1.0.0").await;
    let mut events = world.events.subscribe();
    let probe = &world.engine.shared.probe;
    probe.arm("a", ("shift", When::After), 1, Act::Error);
    probe.arm("a", ("stopTraffic", When::Before), 0, Act::Error);
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!(probe.met("a", ("stopTraffic", When::Before)), 1);
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    let tries: Vec<_> = report.rollback.iter().map(|step| (step.name, step.outcome)).take(2).collect();
    let failed_and_done = [StepOutcome::Failed, StepOutcome::Done].map(|outcome| (StepName::StopTraffic, outcome));
    assert_eq!(tries, failed_and_done, "{report:?}");
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::Failed));
    world.holds_only(&["a@1.0.0"]).await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(&*event, Event::Alarm { .. }), "{event:?}");
    }
}
