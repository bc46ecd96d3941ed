//! The way back from a version, cut or broken in each of its steps: the confirmed version serves all the same.

use super::confirming::state_is;
use replug_scripts::Handler;

use super::*;
use crate::actors::gate::Pass;

/// A version with a table of its own, which goes with it.
pub(super) const TABLE: &str = "database: { migrations: [{ version: 2.0.0, file: 2.sql }] }\nlifecycle:\n  rollback: { preserveData: false, timeout: 200ms }\n  activation:\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";

const FAULTS: [Fault; 3] = [Fault::Error, Fault::Panic, Fault::Hang];

impl World {
    /// 1.0.0 is confirmed and 2.0.0, which made a table, provisional.
    pub(super) async fn with_tables() -> Self {
        Self::with_tables_of(TABLE).await
    }

    pub(super) async fn with_tables_of(manifest: &str) -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.serves("a@1.0.0").await;
        let files =
            [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
        world.register_files("a", "2.0.0", manifest, &files).await;
        world.provisional("a@2.0.0").await;
        assert_eq!(world.tables("a"), ["2.0.0"]);
        world
    }

    /// A trigger of the version that serves.
    pub(super) fn trip(&self) {
        let instance = self.router.snapshot().instance("a", 0).unwrap().key.clone();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    }

    /// Waits until 2.0.0 came to this state and the journal says so, which is a moment later.
    async fn comes_to(&self, state: State) {
        let mut events = self.events.subscribe();
        let is_open = async || {
            let history = self.engine.history("a", 9).await.unwrap();
            history.iter().any(|entry| entry.version == "2.0.0" && entry.outcome.is_none())
        };
        while self.state("a@2.0.0") != state || is_open().await {
            let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
            next.unwrap_or_else(|_| panic!("2.0.0 stays {}", self.state("a@2.0.0"))).unwrap();
        }
    }

    /// 1.0.0 alone serves and holds something, and of 2.0.0 nothing is left.
    pub(super) fn is_returned(&self) {
        assert_eq!((self.routed("a").as_deref(), self.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
        assert_eq!((self.state("a@1.0.0"), self.tables("a")), (State::Active, Vec::<String>::new()));
        let slot = self.engine.slots().remove(0);
        assert_eq!((slot.version.as_str(), slot.weight, slot.candidate), ("1.0.0", 100, None));
    }
}

#[tokio::test]
async fn a_step_that_fails_on_the_way_back_is_told_and_the_confirmed_version_serves() {
    for place in [Place::Undo, Place::Down] {
        for fault in FAULTS {
            let world = World::with_tables().await;
            let mut events = world.events.subscribe();
            world.fail(&[(place, fault)]);
            world.trip();
            world.comes_to(State::FailedToRestore).await;
            assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
            let alarm = |event: &Event| matches!(event, Event::Alarm { message, .. } if message.contains("could not be taken back"));
            World::until(&mut events, alarm).await;
            world.fail(&[]);
            // what is left over does not keep it from being tried again, or from being returned from
            world.provisional("a@2.0.0").await;
            world.engine.rollback("a", None).await.unwrap().ensure_serves().unwrap();
            assert_eq!(
                (world.routed("a").as_deref(), world.tables("a")),
                (Some("1.0.0"), Vec::new()),
                "{place:?} {fault:?}"
            );
        }
    }
}

/// Who is inside and stays there, as a stream without end does, has neither its time nor more than its own.
#[tokio::test]
async fn a_way_back_waits_for_who_is_inside_no_longer_than_it_may_take_and_ends_well() {
    let lifecycle = "lifecycle:\n  deactivation: { timeout: 1h }\n  rollback: { timeout: 300ms }\n  activation:\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", lifecycle).await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    let instance = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
    let inside = Pass::enter(Arc::clone(&instance)).unwrap();
    world.trip();
    world.comes_to(State::Failed).await;
    world.is_returned();
    let history = world.engine.history("a", 9).await.unwrap();
    let returned = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
    assert_eq!(returned.outcome, Some(Outcome::RolledBack), "{returned:?}");
    assert_eq!(instance.in_flight(), 1);
    drop(inside);
}

#[tokio::test]
async fn a_candidate_whose_way_back_fails_never_takes_the_traffic_with_it() {
    for place in [Place::Undo, Place::Down] {
        for fault in FAULTS {
            let world = World::with_tables().await;
            world.engine.rollback("a", None).await.unwrap().ensure_serves().unwrap();
            world.fail(&[(Place::Commit, Fault::Error), (place, fault)]);
            let report = world.activate("a@2.0.0").await.unwrap();
            // without a table there is nothing to take down
            let expected = if place == Place::Undo { Outcome::FailedToRestore } else { Outcome::RolledBack };
            assert_eq!(report.outcome, expected, "{place:?} {fault:?}: {report:?}");
            assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
        }
    }
}

#[tokio::test]
async fn a_kill_inside_the_way_back_finishes_it() {
    for place in [Place::Down, Place::Undo] {
        let world = World::with_tables().await;
        world.binding.pause(place, "a");
        world.trip();
        world.binding.reached.notified().await;
        let killed = world.killed().await;
        killed.engine.resume().await;
        killed.is_returned();
        assert_eq!(killed.state("a@2.0.0"), State::Failed);
        let history = killed.engine.history("a", 9).await.unwrap();
        let returned = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
        assert_eq!(returned.outcome, Some(Outcome::RolledBack), "{returned:?}");
        assert!(returned.reason.as_deref().unwrap().contains("criticalError: its workers die"), "{returned:?}");
        world.binding.go.notify_one();
    }
}

#[tokio::test]
async fn a_long_text_of_a_module_does_not_keep_the_traffic_on_it() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let checks = "lifecycle:\n  activation:\n    healthChecks: [{ type: custom, interval: 100ms, retries: 0 }]\n    rollbackTriggers: [healthCheckFailure, criticalError]\n    trafficShifting: { interval: 10ms }\n";

    let script = r#"
return { services = { ["a.spoil"] = function() kv.put("spoilt", true) end }, health = function()
  if not kv.get("spoilt") then return "healthy" end
  return { status = "unhealthy", detail = string.rep("x", 70000) }
end }"#;
    world.register_script("a", "2.0.0", checks, script).await;
    world.provisional("a@2.0.0").await;
    let instance = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
    let call = instance.context("test", Duration::from_secs(5));
    instance.call(Handler::Service("a.spoil".into()), Vec::new(), call).await.unwrap();
    world.comes_to(State::Failed).await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    // a command of its own comes after the end of the return
    assert_eq!(world.activate("a@1.0.0").await.unwrap().outcome, Outcome::Active);
    let history = world.engine.history("a", 9).await.unwrap();
    assert_eq!(history[0].outcome, Some(Outcome::RolledBack), "{history:?}");
    let reason = history[0].reason.as_deref().unwrap();
    assert!(reason.starts_with("healthCheckFailure: "), "{}", &reason[..100]);

    // whatever says why, and however long
    let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    assert_eq!(&*instance.version, "1.0.0");
    world.register("a", "3.0.0", TABLELESS).await;
    world.provisional("a@3.0.0").await;
    let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    world.events.emit(Event::CriticalError { instance, reason: "y".repeat(200_000) });
    let mut events = world.events.subscribe();
    while world.state("a@3.0.0") != State::Failed {
        tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("it is returned from").unwrap();
    }
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

/// A version without a table that gives up by a critical error.
const TABLELESS: &str =
    "lifecycle:\n  activation:\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";

#[tokio::test]
async fn a_confirmed_version_that_failed_does_not_undo_the_one_that_mends_it() {
    let world = Arc::new(World::new().await);
    let falls_back = "lifecycle:\n  activation:\n    rollbackTriggers: [{ type: criticalError, afterConfirm: rollback }]\n    trafficShifting: { interval: 10ms }\n";
    world.register("a", "1.0.0", "").await;
    world.register("a", "1.1.0", falls_back).await;
    // no shift, so it gives way to nothing
    world.register("a", "1.2.0", "lifecycle:\n  activation: { strategy: instant }\n").await;
    for version in ["1.0.0", "1.1.0"] {
        world.serves(&format!("a@{version}")).await;
    }
    let mending = world.paused(Place::Commit, "a@1.2.0").await;
    let mut events = world.events.subscribe();
    world.trip();
    let alarm = |event: &Event| matches!(event, Event::Alarm { message, .. } if message.contains("the version before is activated"));
    World::until(&mut events, alarm).await;
    world.binding.go.notify_one();
    assert_eq!(mending.await.unwrap().unwrap().outcome, Outcome::Provisional);
    // a command of its own waits for what was queued before it
    assert_eq!(world.engine.confirm("a").await.unwrap().version, "1.2.0");
    world.activate("a@1.2.0").await.unwrap().ensure_serves().unwrap();
    assert_eq!(world.routed("a").as_deref(), Some("1.2.0"));
}

#[tokio::test]
async fn a_hundred_commands_later_there_is_still_a_way_back() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", &format!("{TABLELESS}    confirmWindow: 1h\n")).await;
    world.register("a", "3.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    let number = world.engine.history("a", 1).await.unwrap()[0].number;
    world.fail(&[(Place::Prepare, Fault::Error)]);
    for _ in 0..101 {
        assert_eq!(world.activate("a@3.0.0").await.unwrap().outcome, Outcome::RolledBack);
    }
    world.fail(&[]);
    world.trip();
    world.comes_to(State::Failed).await;
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    // a command of its own comes after the end of the return, whose entry is too old to be kept then
    assert_eq!(world.activate("a@3.0.0").await.unwrap().outcome, Outcome::Provisional);
    assert!(world.engine.shared.records.entry("a", number).unwrap().is_none());
}

#[tokio::test]
async fn a_version_that_is_confirmed_while_its_return_waits_stays_watched() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", &format!("{TABLELESS}    confirmWindow: 1h\n")).await;
    world.register("a", "3.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    let coming = world.paused(Place::Commit, "a@3.0.0").await;
    world.trip();
    assert_eq!(world.engine.confirm("a").await.unwrap().version, "2.0.0");
    world.binding.go.notify_one();
    // given up for the return that waits, or begun before it was known
    let outcome = coming.await.unwrap().unwrap().outcome;
    if outcome.serves() {
        world.engine.rollback("a", None).await.unwrap().ensure_serves().unwrap();
    }
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("2.0.0"), State::Active));
    let mut events = world.events.subscribe();
    world.trip();
    let alarm = |event: &Event| matches!(event, Event::Alarm { message, .. } if message.contains("criticalError"));
    let told = async { while !alarm(&events.recv().await.unwrap()) {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("somebody hears of it");
}

#[tokio::test]
async fn a_failing_version_loses_its_traffic_at_once_also_while_a_newer_one_is_on_its_way() {
    let world = Arc::new(World::with_tables().await);
    world.register("a", "3.0.0", "").await;
    let coming = world.paused(Place::Commit, "a@3.0.0").await;
    let mut events = world.events.subscribe();
    world.trip();
    let returned = |event: &Event| matches!(event, Event::StateChanged { instance, to: "active", .. } if &*instance.version == "1.0.0");
    let told = async { while !returned(&events.recv().await.unwrap()) {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the traffic is given back");
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.0.0")), (Some("1.0.0"), State::RollingBack));
    // what a kill leaves here is finished by the next start
    let killed = world.killed().await;
    killed.engine.resume().await;
    killed.is_returned();
    assert_eq!(killed.state("a@2.0.0"), State::Failed);

    world.binding.go.notify_one();
    let outcome = coming.await.unwrap().unwrap().outcome;
    world.comes_to(State::Failed).await;
    assert_eq!(world.tables("a"), Vec::<String>::new());
    let served = if outcome.serves() { "3.0.0" } else { "1.0.0" };
    assert_eq!(world.routed("a").as_deref(), Some(served));
    let history = world.engine.history("a", 9).await.unwrap();
    let returned = history.iter().find(|entry| entry.version == "2.0.0").unwrap();
    assert_eq!(returned.outcome, Some(Outcome::RolledBack), "{returned:?}");
}

/// The ways back from a provisional version that took over from a provisional version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    Trigger,
    Command,
    Kill,
    /// It is not well once it serves.
    Verification,
}

impl World {
    /// 3.0.0, with a table besides that of 2.0.0 and the `rollback` section given, takes over from 2.0.0 and is returned from.
    async fn returned_over_two(back: Back, rollback: &str) -> Self {
        let mut world = Self::with_tables().await;
        let tables = "migrations: [{ version: 2.0.0, file: 2.sql }, { version: 3.0.0, file: 3.sql }]";
        let more = TABLE.replace("migrations: [{ version: 2.0.0, file: 2.sql }]", tables);
        let more = more.replace("preserveData: false", rollback);
        let more = more.replace("interval: 10ms", "interval: 10ms, increment: 100, maxIncrement: 100");
        let script = if back == Back::Verification { UNWELL_ONCE_IT_SERVES } else { "return {}" };
        let files = [
            ("main.lua", script),
            ("2.sql", "create table t (n integer);"),
            ("2.down.sql", "drop table t;"),
            ("3.sql", "create table u (n integer);"),
            ("3.down.sql", "drop table u;"),
        ];
        world.register_files("a", "3.0.0", &more, &files).await;
        let mut events = world.events.subscribe();
        if back == Back::Verification {
            let report = world.activate("a@3.0.0").await.unwrap();
            assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
            assert!(report.steps.iter().any(|step| step.name.name() == "verify"), "{report:?}");
        } else {
            world.provisional("a@3.0.0").await;
            assert_eq!(world.tables("a"), ["2.0.0", "3.0.0"]);
        }
        match back {
            Back::Trigger => {
                world.trip();
                World::until(&mut events, |event| state_is(event, "3.0.0", State::Failed)).await;
            }
            Back::Command => world.engine.rollback("a", None).await.unwrap().ensure_serves().unwrap(),
            Back::Kill => {
                world = world.killed().await;
                world.engine.resume().await;
            }
            Back::Verification => {}
        }
        assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active), "{back:?}");
        world
    }
}

/// Well when it is asked before the traffic, and not after: its prober asks once it takes any, which is everything.
const UNWELL_ONCE_IT_SERVES: &str = "return { health = function()
  if kv.get('asked') then return 'unhealthy' end
  kv.put('asked', true)
  return 'healthy'
end }";

#[tokio::test]
async fn a_return_over_two_provisional_versions_takes_the_tables_of_both_back() {
    for back in [Back::Trigger, Back::Command, Back::Kill, Back::Verification] {
        let world = World::returned_over_two(back, "preserveData: false").await;
        assert_eq!(world.tables("a"), Vec::<String>::new(), "{back:?}");
    }
}

#[tokio::test]
async fn a_provisional_version_stops_also_where_the_one_that_took_over_from_it_was_taken_back() {
    let world = World::returned_over_two(Back::Verification, "preserveData: false").await;
    let stopped = async {
        while world.state("a@2.0.0") != State::Inactive {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("it drains and stops");
    assert_eq!(world.held(), ["a@1.0.0"]);
}

#[tokio::test]
async fn a_version_that_preserves_data_preserves_the_tables_that_it_found_too() {
    for back in [Back::Trigger, Back::Command, Back::Kill, Back::Verification] {
        let world = World::returned_over_two(back, "preserveData: true").await;
        assert_eq!(world.tables("a"), ["2.0.0", "3.0.0"], "{back:?}");
    }
}
