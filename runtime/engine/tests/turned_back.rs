//! Where a module comes back to from a jump that fails or is cut off, whatever was confirmed, waits, or does not start by then.

use tokio::sync::Notify;

use super::jumps::no_way_back;
use super::through::{CONFIRMS, LEADS};
use super::*;
use crate::engine::probe::{Act, When};

/// It has nothing to return to if it is kept.
const FOR_GOOD: &str = "database: { migrations: [{ version: 2.1.0, file: 2.sql, irreversible: true }] }\n";

impl World {
    /// 3.0.1 leads as 3.0.0 does, and does not start.
    async fn fails_in_the_end(&self) {
        let fails = "return { init = function() error('no') end }";
        self.register_script("a", "3.0.1", &LEADS.replace("3.0.0", "3.0.1"), fails).await;
    }

    /// The alarms about `a` among these events.
    fn alarms(events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) -> Vec<String> {
        let mut said = Vec::new();
        while let Ok(event) = events.try_recv() {
            match &*event {
                Event::Alarm { subject, message } if subject.starts_with('a') => said.push(message.clone()),
                _ => {}
            }
        }
        said
    }

    /// Waits until the coordinator has heard what other tasks sent it.
    async fn heard(&self) {
        tokio::task::yield_now().await;
        self.engine.confirm("nobody").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_stop_that_was_confirmed_below_one_that_was_not_is_returned_from_as_well() {
    let world = World::led_by([CONFIRMS, ""], LEADS).await;
    world.fails_in_the_end().await;
    let mut events = world.events.subscribe();
    let report = world.activate("a@3.0.1").await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    assert_eq!((World::alarms(&mut events), world.is_marked()), (Vec::new(), false));
    world.holds_only(&["a@1.0.0"]).await;

    // and at a start, in the last leg
    let killed = World::led_by([CONFIRMS, ""], LEADS).await.cut(("commit", When::Before), 3).await;
    assert_eq!(killed.engine.resume().await, [""; 0]);
    killed.is_back("at a start").await;
}

#[tokio::test]
async fn a_stop_that_a_person_confirms_while_the_jump_goes_on_is_returned_from_at_a_start() {
    let (world, go) = (Arc::new(World::led("").await), Arc::new(Notify::new()));
    world.engine.probe().arm("a", ("register", When::Before), 2, Act::Freeze(Arc::clone(&go)));
    let jump = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.activate("a@3.0.0").await }
    });
    world.engine.probe().reached.notified().await;
    assert_eq!(world.engine.confirm("a").await.unwrap().version, "2.1.0");
    let killed = world.killed().await;
    go.notify_one();
    jump.await.unwrap().unwrap().ensure_serves().unwrap();
    assert_eq!(killed.engine.serving("a"), Some(Version::new(2, 1, 0)));
    assert_eq!(killed.engine.resume().await, [""; 0]);
    killed.is_back("").await;
}

#[tokio::test]
async fn a_version_that_was_not_confirmed_before_a_jump_is_not_returned_to() {
    for (between, skip) in [(["", ""], 0), (["", ""], 1), ([CONFIRMS, ""], 2), (["", CONFIRMS], 3)] {
        let world = World::led_by(between, LEADS).await;
        world.register("a", "1.1.0", "").await;
        world.fails_in_the_end().await;
        // that it was once is no matter
        world.serves("a@1.1.0").await;
        world.serves("a@1.0.0").await;
        world.provisional("a@1.1.0").await;
        let mut events = world.events.subscribe();
        assert_eq!(world.activate("a@3.0.1").await.unwrap().outcome, Outcome::RolledBack);
        assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
        assert_eq!(World::alarms(&mut events), [""; 0]);

        world.provisional("a@1.1.0").await;
        let killed = world.cut(("commit", When::Before), skip).await;
        let mut events = killed.events.subscribe();
        assert_eq!(killed.engine.resume().await, [""; 0]);
        killed.is_back(&format!("{between:?}")).await;
        assert_eq!(World::alarms(&mut events), [""; 0]);
    }
}

impl World {
    /// 1.0.0 is confirmed and 1.1.0 serves, and is confirmed while the first leg of the jump to `label` goes on.
    async fn confirmed_amid(
        self: &Arc<Self>,
        label: &'static str,
        then: impl FnOnce(),
    ) -> tokio::task::JoinHandle<Result<ActivationReport, EngineError>> {
        self.provisional("a@1.1.0").await;
        let go = Arc::new(Notify::new());
        self.engine.probe().arm("a", ("register", When::Before), 0, Act::Freeze(Arc::clone(&go)));
        let jump = tokio::spawn({
            let world = Arc::clone(self);
            async move { world.activate(label).await }
        });
        self.engine.probe().reached.notified().await;
        assert_eq!(self.engine.confirm("a").await.unwrap().version, "1.1.0");
        then();
        go.notify_one();
        jump
    }
}

#[tokio::test]
async fn a_version_that_is_confirmed_after_a_jump_began_at_it_is_what_it_comes_back_to() {
    for between in [["", ""], [CONFIRMS, ""], ["", CONFIRMS], [CONFIRMS, CONFIRMS]] {
        let world = Arc::new(World::led_by(between, LEADS).await);
        world.register("a", "1.1.0", "").await;
        world.fails_in_the_end().await;
        let jump = world.confirmed_amid("a@3.0.1", || {}).await;
        assert_eq!(jump.await.unwrap().unwrap().outcome, Outcome::RolledBack);
        let is = (world.routed("a"), world.state("a@1.1.0"), world.is_marked());
        assert_eq!(is, (Some("1.1.0".to_owned()), State::Active, false), "{between:?}");

        // and at a start, behind each of the legs
        for skip in [0, 1] {
            let world = Arc::new(World::led_by(between, LEADS).await);
            world.register("a", "1.1.0", "").await;
            let (go, probe) = (Arc::new(Notify::new()), world.engine.probe());
            let cut = || probe.arm("a", ("register", When::Before), skip, Act::Freeze(Arc::clone(&go)));
            let jump = world.confirmed_amid("a@3.0.0", cut).await;
            probe.reached.notified().await;
            let killed = world.killed().await;
            go.notify_one();
            jump.await.unwrap().unwrap().ensure_serves().unwrap();
            assert_eq!(killed.engine.resume().await, [""; 0]);
            let is = (killed.routed("a"), killed.state("a@1.1.0"), killed.is_marked());
            assert_eq!(is, (Some("1.1.0".to_owned()), State::Active, false), "{between:?}, leg {skip}");
        }
    }
}

#[tokio::test]
async fn a_version_that_is_kept_for_its_migration_is_back_though_it_was_not_confirmed() {
    let world = World::led("").await;
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n integer);")];
    world.register_files("a", "1.1.0", FOR_GOOD, &files).await;
    world.provisional("a@1.1.0").await;
    let killed = world.cut(("commit", When::Before), 0).await;
    let mut events = killed.events.subscribe();
    assert_eq!(killed.engine.resume().await, [""; 0]);
    assert_eq!((killed.routed("a").as_deref(), killed.is_marked()), (Some("1.1.0"), false));
    assert!(World::alarms(&mut events).iter().all(|said| !said.contains("no way back")));
}

#[tokio::test]
async fn a_first_leg_that_fails_leaves_what_served_as_it_was() {
    let world = World::led("").await;
    world.register("a", "1.1.0", "").await;
    world.register_script("a", "2.0.5", "", "return { init = function() error('no') end }").await;
    let leads = LEADS.replace("3.0.0", "3.0.2").replace("2.0.0, 2.1.0", "2.0.5, 2.1.0");
    world.register("a", "3.0.2", &leads).await;
    world.provisional("a@1.1.0").await;
    assert_eq!(world.activate("a@3.0.2").await.unwrap().outcome, Outcome::RolledBack);
    let is = (world.routed("a"), world.state("a@1.1.0"), world.state("a@1.0.0"));
    assert_eq!(is, (Some("1.1.0".to_owned()), State::Provisional, State::Standby));
    assert!(!world.is_marked());

    // nor is the mark of a jump before it another one than it was
    let world = no_way_back().await;
    world.engine.resume().await;
    world.register_script("a", "2.1.5", "", "return { init = function() error('no') end }").await;
    let leads = LEADS.replace("3.0.0", "4.0.0").replace("^2.1", "^2.1.5").replace("2.0.0, 2.1.0", "2.1.5");
    world.register("a", "4.0.0", &leads).await;
    let mark = world.engine.shared.records.jumps.get("a").unwrap();
    let report = world.activate("a@4.0.0").await.unwrap();
    assert_eq!((report.outcome, report.via.len()), (Outcome::RolledBack, 1));
    assert_eq!((world.engine.shared.records.jumps.get("a").unwrap(), mark.is_some()), (mark, true));
}

#[tokio::test]
async fn a_way_back_after_which_nothing_serves_is_told_as_none() {
    let world = World::led(CONFIRMS).await;
    world.fails_in_the_end().await;
    // 2.0.0 and 2.1.0 pass it, and 1.0.0 has taken over by then
    world.engine.probe().arm("a", ("activate", When::After), 2, Act::Error);
    let mut events = world.events.subscribe();
    assert_eq!(world.activate("a@3.0.1").await.unwrap().outcome, Outcome::FailedToRestore);
    assert_eq!(world.routed("a"), None);
    let said = World::alarms(&mut events);
    assert!(said.iter().any(|it| it.contains("nothing of it serves, since there is no way back to 1.0.0")), "{said:?}");
}

#[tokio::test]
async fn a_command_that_waits_behind_a_jump_while_the_runtime_stops_leaves_it_to_the_next_start() {
    for command in ["rollback", "deactivate"] {
        let world = World::led(CONFIRMS).await;
        let (go, engine) = (Arc::new(Notify::new()), world.engine.clone());
        world.engine.probe().arm("a", ("register", When::Before), 2, Act::Freeze(Arc::clone(&go)));
        let jump = tokio::spawn(async move { engine.activate("a", &Version::new(3, 0, 0), None).await });
        world.engine.probe().reached.notified().await;
        let engine = world.engine.clone();
        let waits = tokio::spawn(async move {
            match command {
                "rollback" => engine.rollback("a", None).await.map(drop),
                _ => engine.deactivate("a").await.map(drop),
            }
        });
        world.heard().await;
        let shared = Arc::clone(&world.engine.shared);
        tokio::spawn(async move {
            shared.stopping.wait().await;
            go.notify_one();
        });
        let world = world.restarted().await;
        assert!(matches!(jump.await.unwrap(), Err(EngineError::Stopped)), "{command}");
        assert!(matches!(waits.await.unwrap(), Err(EngineError::Stopped)), "{command}");
        assert!(world.is_marked(), "{command}");
        assert_eq!(world.engine.resume().await, [""; 0]);
        world.is_back(command).await;
    }
}

#[tokio::test]
async fn where_the_stop_does_not_start_the_version_before_the_jump_does() {
    let cut = World::led(CONFIRMS).await.cut(("commit", When::Before), 3).await;
    cut.aborted("a@2.1.0", 2);
    let killed = cut.killed().await;
    let troubles = killed.engine.resume().await;
    assert!(troubles.len() == 1 && troubles[0].contains("a@2.1.0 is in quarantine"), "{troubles:?}");
    killed.is_back("").await;

    // where that one does not start either, it is told what helps, and the next start tries again
    cut.aborted("a@1.0.0", 2);
    let killed = cut.killed().await;
    let mut events = killed.events.subscribe();
    killed.engine.resume().await;
    assert_eq!((killed.routed("a"), killed.is_marked()), (None, true));
    let said = World::alarms(&mut events).pop().unwrap();
    for part in ["2.1.0 did not start again", "a@1.0.0 is in quarantine", "nothing of it serves", "replug deactivate a"]
    {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("it stays at"), "{said}");
}

#[tokio::test]
async fn a_confirmed_stop_that_changed_data_for_good_is_kept_with_an_alarm() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
    }
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
    world.register_files("a", "2.1.0", &format!("{FOR_GOOD}{CONFIRMS}"), &files).await;
    let last = format!("{FOR_GOOD}{}", LEADS.replace("3.0.0", "3.0.1"));
    let fails = [("main.lua", "return { init = function() error('no') end }"), files[1], files[2]];
    world.register_files("a", "3.0.1", &last, &fails).await;
    world.serves("a@1.0.0").await;
    let mut events = world.events.subscribe();
    assert_eq!(world.activate("a@3.0.1").await.unwrap().outcome, Outcome::FailedToRestore);
    assert_eq!((world.routed("a").as_deref(), world.state("a@2.1.0")), (Some("2.1.0"), State::Active));
    let said = World::alarms(&mut events).pop().unwrap();
    let why = "it stays at 2.1.0, since there is no way back to 1.0.0: migration 2.1.0 of 2.1.0 cannot be taken back";
    assert!(said.contains(why), "{said}");
}

#[tokio::test]
async fn a_command_that_is_refused_once_it_has_begun_leaves_the_jump_to_the_next_start() {
    let world = no_way_back().await;
    world.register("b", "1.0.0", "dependencies: [{ id: a }]\n").await;
    world.engine.resume().await;
    world.serves("b@1.0.0").await;
    assert!(matches!(world.engine.deactivate("a").await, Err(EngineError::Needed { .. })));
    assert!(world.is_marked());
    // nor does one that fails
    world.register_script("a", "3.0.1", LEADS, "return { init = function() error('no') end }").await;
    assert_eq!(world.activate("a@3.0.1").await.unwrap().outcome, Outcome::RolledBack);
    assert!(world.is_marked());
    world.engine.deactivate("b").await.unwrap();
    world.engine.deactivate("a").await.unwrap();
    assert!(!world.is_marked());
}

#[tokio::test]
async fn a_command_that_ends_with_the_process_right_behind_its_switch_has_ended_the_jump() {
    for (command, place) in [("deactivate", ("retire", When::Before)), ("activate", ("commit", When::After))] {
        let world = no_way_back().await;
        world.engine.resume().await;
        assert!(world.is_marked());
        let go = Arc::new(Notify::new());
        world.engine.probe().arm("a", place, 0, Act::Freeze(Arc::clone(&go)));
        let engine = world.engine.clone();
        let given = tokio::spawn(async move {
            match command {
                "deactivate" => engine.deactivate("a").await.map(drop),
                _ => engine.activate("a", &Version::new(3, 0, 0), None).await.map(drop),
            }
        });
        world.engine.probe().reached.notified().await;
        let killed = world.killed().await;
        go.notify_one();
        given.await.unwrap().unwrap();
        assert!(!killed.is_marked(), "{command}");
        assert_eq!(killed.engine.resume().await, [""; 0], "{command}");
        let serves = if command == "activate" { Some("2.1.0") } else { None };
        assert_eq!(killed.routed("a").as_deref(), serves, "{command}");
    }
}
