//! A version that took over is provisional until it is confirmed, and what happens to it until then.

use super::*;
use crate::store::audit::{Kind, Row};

/// `lifecycle` of a version that confirms itself after this time.
fn window(time: &str) -> String {
    format!("{QUICK}    confirmWindow: {time}\n")
}

impl World {
    /// Waits for an event that `wanted` accepts.
    pub(super) async fn until(
        events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>,
        mut wanted: impl FnMut(&Event) -> bool,
    ) {
        let found = async { while !wanted(&events.recv().await.unwrap()) {} };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect("the event comes");
    }

    async fn upgraded(more: &str) -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register("a", "2.0.0", more).await;
        world.serves("a@1.0.0").await;
        world
    }
}

pub(super) fn state_is(event: &Event, version: &str, state: State) -> bool {
    matches!(event, Event::StateChanged { instance, to, .. } if &*instance.version == version && *to == state.name())
}

#[tokio::test]
async fn a_first_version_is_active_at_once_since_there_is_nothing_to_return_to() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    assert_eq!(world.activate("a@1.0.0").await.unwrap().outcome, Outcome::Active);
    let confirmed = world.engine.confirm("a").await.unwrap();
    assert!(confirmed.already && confirmed.version == "1.0.0" && confirmed.previous.is_none());
    assert_eq!(world.state("a@1.0.0"), State::Active);
}

#[tokio::test]
async fn a_confirmed_version_lets_its_standby_go_and_names_it_as_previous() {
    let world = World::upgraded("").await;
    world.provisional("a@2.0.0").await;
    let slot = world.engine.slots().remove(0);
    assert_eq!((slot.state, slot.previous.as_deref()), (State::Provisional, Some("1.0.0")));
    let mut events = world.events.subscribe();
    let confirmed = world.engine.confirm("a").await.unwrap();
    assert!(!confirmed.already && confirmed.previous.as_deref() == Some("1.0.0"), "{confirmed:?}");
    World::until(&mut events, |event| state_is(event, "1.0.0", State::Inactive)).await;
    assert_eq!((world.state("a@2.0.0"), world.held()), (State::Active, vec!["a@2.0.0".to_owned()]));
    // the way back is then an instant activation of a new generation
    assert_eq!(world.engine.rollback("a", None).await.unwrap().outcome, Outcome::Active);
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_version_confirms_itself_when_its_window_has_passed() {
    let world = World::upgraded(&window("50ms")).await;
    let mut events = world.events.subscribe();
    world.provisional("a@2.0.0").await;
    World::until(&mut events, |event| state_is(event, "2.0.0", State::Active)).await;
    let history = world.engine.history("a", 10).await.unwrap();
    assert!(history[0].confirmed.is_some() && history[0].outcome == Some(Outcome::Active), "{history:?}");
}

#[tokio::test]
async fn a_window_of_nothing_confirms_at_once() {
    let world = World::upgraded(&window("0")).await;
    assert_eq!(world.activate("a@2.0.0").await.unwrap().outcome, Outcome::Active);
    assert_eq!(world.engine.slots().remove(0).previous.as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_restart_returns_from_what_was_not_confirmed() {
    let world = World::upgraded("").await;
    world.provisional("a@2.0.0").await;
    for world in [world.killed().await, world.restarted().await] {
        world.engine.resume().await;
        assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::Failed));
        let history = world.engine.history("a", 10).await.unwrap();
        let returned = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
        assert_eq!(returned.outcome, Some(Outcome::RolledBack));
        assert!(returned.reason.as_deref().unwrap().contains("before the version was confirmed"), "{returned:?}");
        world.provisional("a@2.0.0").await;
    }
}

#[tokio::test]
async fn a_confirmed_version_returns_after_a_kill() {
    let world = World::upgraded("").await;
    world.serves("a@2.0.0").await;
    let world = world.killed().await;
    world.engine.resume().await;
    let slot = world.engine.slots().remove(0);
    assert_eq!((slot.version.as_str(), slot.state, slot.previous.as_deref()), ("2.0.0", State::Active, Some("1.0.0")));
}

#[tokio::test]
async fn a_version_that_takes_over_from_a_provisional_one_returns_to_the_confirmed_one() {
    let world = World::upgraded("").await;
    world.register("a", "3.0.0", "").await;
    world.provisional("a@2.0.0").await;
    let mut events = world.events.subscribe();
    world.provisional("a@3.0.0").await;
    World::until(&mut events, |event| state_is(event, "2.0.0", State::Inactive)).await;
    assert_eq!(world.state("a@1.0.0"), State::Standby);
    assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
}

#[tokio::test]
async fn a_failed_candidate_leaves_the_provisional_version_as_it_was() {
    let world = World::upgraded("").await;
    world.register("a", "3.0.0", "").await;
    world.provisional("a@2.0.0").await;
    let before = world.engine.slots();
    world.fail(&[(Place::Commit, Fault::Error)]);
    assert_eq!(world.activate("a@3.0.0").await.unwrap().outcome, Outcome::RolledBack);
    assert_eq!(world.engine.slots(), before);
    assert_eq!(world.engine.confirm("a").await.unwrap().version, "2.0.0");
}

#[tokio::test]
async fn a_window_that_passes_while_a_newer_version_comes_confirms_all_the_same() {
    let world = Arc::new(World::upgraded("").await);
    world.register("a", "3.0.0", "").await;
    world.provisional("a@2.0.0").await;
    let coming = world.paused(Place::Commit, "a@3.0.0").await;
    assert_eq!(world.engine.confirm("a").await.unwrap().version, "2.0.0");
    world.binding.go.notify_one();
    assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional);
    assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "2.0.0");
}

#[tokio::test]
async fn a_deactivation_ends_a_provisional_version_and_its_standby() {
    let world = World::upgraded("").await;
    world.provisional("a@2.0.0").await;
    world.engine.deactivate("a").await.unwrap();
    let world = world.restarted().await;
    world.engine.resume().await;
    assert_eq!((world.routed("a"), world.held()), (None, Vec::new()));
    assert!(world.engine.has_slot("a"));
}

#[tokio::test]
async fn a_critical_error_returns_from_a_provisional_version_and_only_alarms_once_it_is_confirmed() {
    let triggers = format!("{QUICK}    rollbackTriggers: [criticalError]\n");
    let world = World::upgraded(&triggers).await;
    for confirmed in [false, true] {
        world.provisional("a@2.0.0").await;
        if confirmed {
            world.engine.confirm("a").await.unwrap();
        }
        let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
        let mut events = world.events.subscribe();
        world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
        if confirmed {
            World::until(&mut events, |event| matches!(event, Event::Alarm { .. })).await;
            assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("2.0.0"), State::Active));
        } else {
            World::until(&mut events, |event| state_is(event, "2.0.0", State::Failed)).await;
            assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
            let reason = world.engine.state("a", &Version::new(2, 0, 0)).reason.unwrap();
            assert_eq!(reason, "criticalError: its workers die");
        }
    }
}

#[tokio::test]
async fn a_confirmed_version_returns_by_itself_where_its_manifest_says_so() {
    let triggers = "    rollbackTriggers: [{ type: criticalError, afterConfirm: rollback }]\n";
    let world = World::upgraded(&format!("{QUICK}{triggers}")).await;
    world.serves("a@2.0.0").await;
    let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    let mut events = world.events.subscribe();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    World::until(&mut events, |event| state_is(event, "1.0.0", State::Active)).await;
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn an_old_outage_of_the_version_before_excuses_nothing() {
    let world = World::new().await;
    let judged = "lifecycle:\n  activation:\n    rollbackTriggers: [errorRateExceeded]\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";
    world.register("a", "1.0.0", QUICK).await;
    world.register("a", "2.0.0", judged).await;
    world.serves("a@1.0.0").await;
    let instance = || Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
    let answers = |failed: u64| {
        let instance = instance();
        (0..100).for_each(|n| instance.metrics.stats.record(n < failed, Duration::from_millis(1)));
    };
    (0..10).for_each(|_| answers(50));
    // it is over once the intervals since then are all that counts as recent
    let before = instance();
    while before.metrics.stats.recent().errors() > 0 {
        answers(0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut events = world.events.subscribe();
    world.provisional("a@2.0.0").await;
    answers(40);
    World::until(&mut events, |event| state_is(event, "2.0.0", State::Failed)).await;
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_deactivation_that_is_refused_is_not_told_as_one_that_was_done() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("b", "1.0.0", "dependencies:\n  - id: a\n").await;
    world.serves("a@1.0.0").await;
    world.serves("b@1.0.0").await;
    assert!(world.engine.deactivate("a").await.is_err());
    world.engine.deactivate("b").await.unwrap();
    let records = world.engine.audit().read(1, 100).await.unwrap();
    let told: Vec<_> = records.iter().filter_map(Row::entry).filter(|it| it.kind == Kind::Deactivated).collect();
    assert_eq!(told.iter().map(|it| it.subject.as_str()).collect::<Vec<_>>(), ["b@1.0.0"]);
}

#[tokio::test]
async fn what_the_audit_log_does_not_take_is_not_begun() {
    let world = World::upgraded("").await;
    world.register("a", "3.0.0", "").await;
    world.provisional("a@2.0.0").await;
    let before = world.engine.slots();
    world.engine.audit().close().await.unwrap();
    assert!(matches!(world.activate("a@3.0.0").await, Err(EngineError::Audit(_))));
    assert!(matches!(world.engine.confirm("a").await, Err(EngineError::Audit(_))));
    assert!(matches!(world.engine.deactivate("a").await, Err(EngineError::Audit(_))));
    assert!(matches!(world.engine.rollback("a", None).await, Err(EngineError::Audit(_))));
    assert_eq!((world.engine.slots(), world.state("a@3.0.0")), (before, State::Registered));
}

#[tokio::test]
async fn a_return_that_the_audit_log_does_not_take_is_told_as_made() {
    let world = World::upgraded(&format!("{QUICK}    rollbackTriggers: [criticalError]\n")).await;
    world.provisional("a@2.0.0").await;
    world.engine.audit().close().await.unwrap();
    let mut events = world.events.subscribe();
    let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    World::until(&mut events, |event| matches!(event, Event::ActivationEnded { outcome: "rolled-back", .. })).await;
    let mut alarm = None;
    World::until(&mut events, |event| {
        let Event::Alarm { message, .. } = event else { return false };
        alarm = Some(message.clone());
        true
    })
    .await;
    let expected =
        "criticalError: its workers die; the return ended as rolled-back, which could not be written: audit log: ";
    assert!(alarm.as_deref().is_some_and(|alarm| alarm.starts_with(expected)), "{alarm:?}");
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::Failed));
}

#[tokio::test]
async fn an_end_that_the_audit_log_does_not_take_is_told_all_the_same() {
    let world = Arc::new(World::upgraded("").await);
    let coming = world.paused(Place::Commit, "a@2.0.0").await;
    world.engine.audit().close().await.unwrap();
    let mut events = world.events.subscribe();
    world.binding.go.notify_one();
    World::until(&mut events, |event| matches!(event, Event::ActivationEnded { .. })).await;
    assert!(matches!(coming.await.unwrap(), Err(EngineError::Audit(_))));
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("2.0.0"), State::Provisional));
}

#[tokio::test]
async fn a_confirmation_during_a_shift_is_no_shift() {
    let world = Arc::new(World::upgraded("").await);
    let slow = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, interval: 1h }\n";
    world.register("a", "3.0.0", slow).await;
    world.provisional("a@2.0.0").await;
    let mut events = world.events.subscribe();
    let engine = world.engine.clone();
    let coming = tokio::spawn(async move { engine.activate("a", &Version::new(3, 0, 0), None).await });
    World::until(&mut events, |event| matches!(event, Event::TrafficShifted { weight: 10, .. })).await;
    world.engine.confirm("a").await.unwrap();
    let (mut confirmed, mut shifted) = (false, 0);
    while let Ok(event) = events.try_recv() {
        confirmed |= state_is(&event, "2.0.0", State::Active);
        shifted += usize::from(matches!(*event, Event::TrafficShifted { .. }));
    }
    assert_eq!((confirmed, shifted), (true, 0));
    let slot = world.engine.slots().remove(0);
    assert_eq!((slot.weight, slot.candidate.unwrap().weight), (90, 10));
    world.engine.stop(Duration::from_secs(5)).await;
    assert!(coming.await.unwrap().is_err());
}

#[tokio::test]
async fn slow_answers_return_from_a_provisional_version() {
    for trigger in ["responseTimeExceeded", "{ type: responseTimeExceeded, threshold: 1s }"] {
        let world =
            World::upgraded(&format!("{QUICK}    rollbackTriggers: [{trigger}]\n    confirmWindow: 1h\n")).await;
        let answers = |took: u64| {
            let instance = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
            (0..100).for_each(|_| instance.metrics.stats.record(false, Duration::from_millis(took)));
        };
        // what is compared with is the last interval of the version before
        answers(10);
        let before = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
        while before.metrics.stats.recent().requests() == 0 {
            answers(10);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut events = world.events.subscribe();
        world.provisional("a@2.0.0").await;
        answers(5_000);
        World::until(&mut events, |event| state_is(event, "2.0.0", State::Failed)).await;
        assert_eq!(world.routed("a").as_deref(), Some("1.0.0"), "{trigger}");
        let reason = world.engine.state("a", &Version::new(2, 0, 0)).reason.unwrap();
        assert!(reason.starts_with("responseTimeExceeded: "), "{trigger}: {reason}");
    }
}
