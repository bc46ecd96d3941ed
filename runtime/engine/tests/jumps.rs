//! A jump whose process or runtime ends on the way: the next start goes back to where it began.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::through::{CONFIRMS, LEADS};
use super::*;
use crate::engine::probe::{Act, When};
use crate::store::audit::{Kind, Row};

const EVER: usize = usize::MAX;

/// The steps of commands that a jump and its way back come through, and where each is met.
const STEPS: [&str; 11] = [
    "validate", "prepare", "migrate", "start", "register", "activate", "verify", "commit", "close", "retire", "undone",
];

impl World {
    /// The jump to 3.0.0 waits where it comes to this place for the time after the first `skip`, and the process ends there.
    pub(super) async fn cut(self, place: (&'static str, When), skip: usize) -> Self {
        let (world, go) = (Arc::new(self), Arc::new(Notify::new()));
        world.engine.probe().arm("a", place, skip, Act::Freeze(Arc::clone(&go)));
        let jump = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.activate("a@3.0.0").await }
        });
        world.engine.probe().reached.notified().await;
        let killed = world.killed().await;
        go.notify_one();
        jump.await.unwrap().unwrap().ensure_serves().unwrap();
        killed
    }

    /// Runs `command` and gives `check` what the end of the process leaves at each place that it comes to. Returns how many those were.
    async fn cut_everywhere<T: Send + 'static>(
        self: &Arc<Self>,
        command: impl Future<Output = T> + Send + 'static,
        check: impl AsyncFn(World, String),
    ) -> usize {
        let (probe, go) = (self.engine.probe(), Arc::new(Notify::new()));
        for step in STEPS {
            for when in [When::Before, When::Inside, When::After] {
                probe.arm_for("a", (step, when), 0, (Act::Freeze(Arc::clone(&go)), EVER));
            }
        }
        let (mut coming, mut places) = (tokio::spawn(command), 0);
        loop {
            tokio::select! {
                biased;
                () = probe.reached.notified() => {}
                done = &mut coming => {
                    done.unwrap();
                    probe.disarm("a");
                    return places;
                }
            }
            places += 1;
            check(self.killed().await, format!("at place {places}")).await;
            go.notify_one();
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.engine.shared.records.jumps.get("a").unwrap().is_some()
    }

    /// What starts noted of jumps that they put right.
    pub(super) async fn recovered(&self) -> Vec<String> {
        let rows = self.engine.audit().read(1, 1000).await.unwrap();
        let entries = rows.iter().filter_map(Row::entry).filter(|it| it.kind == Kind::Recovered && it.subject == "a");
        let notes =
            entries.map(|it| serde_json::from_str::<serde_json::Value>(it.data.get()).unwrap()["note"].to_string());
        notes.filter(|note| note.contains("cut off")).collect()
    }

    /// 1.0.0 alone serves, that was told, and nothing of the jump is left to do.
    pub(super) async fn is_back(&self, place: &str) {
        self.serves_as_before(place);
        assert!(!self.recovered().await.is_empty(), "{place}");
    }

    fn serves_as_before(&self, place: &str) {
        assert_eq!((self.routed("a").as_deref(), self.state("a@1.0.0")), (Some("1.0.0"), State::Active), "{place}");
        assert!(!self.is_marked(), "{place}");
    }
}

#[tokio::test]
async fn a_jump_that_is_cut_off_behind_a_confirmed_stop_goes_back_to_where_it_began_and_says_so() {
    // 2.0.0 takes over, 2.1.0 does and is confirmed, and then it is 3.0.0's turn
    let killed = World::led(CONFIRMS).await.cut(("commit", When::Before), 3).await;
    let mut events = killed.events.subscribe();
    assert_eq!(killed.engine.serving("a"), Some(Version::new(2, 1, 0)));
    assert_eq!(killed.engine.resume().await, [""; 0]);
    killed.is_back("").await;
    killed.holds_only(&["a@1.0.0"]).await;
    let said = "the way from 1.0.0 to 3.0.0 was cut off at 2.1.0";
    World::until(
        &mut events,
        |event| matches!(event, Event::Recovered { id, note } if id == "a" && note.starts_with(said)),
    )
    .await;
    let history = killed.engine.history("a", 20).await.unwrap();
    let newest = &history[0];
    assert_eq!((newest.command.as_str(), newest.version.as_str()), ("rollback", "1.0.0"));
    assert_eq!((newest.from.as_deref(), newest.outcome), (Some("2.1.0"), Some(Outcome::Active)));
    assert!(newest.reason.as_deref().unwrap().starts_with(said), "{newest:?}");
    assert_eq!(killed.recovered().await.len(), 1, "{:?}", killed.recovered().await);

    // decided once
    let done = killed.done().await;
    let again = killed.restarted().await;
    assert_eq!(again.engine.resume().await, [""; 0]);
    again.is_back("again").await;
    let resumed = again.done().await;
    assert_eq!((&resumed[..done.len()], resumed.last().map(String::as_str)), (&done[..], Some("resume 1.0.0 active")));
    assert_eq!(again.recovered().await.len(), 1);
}

#[tokio::test]
async fn a_jump_that_is_cut_off_before_anything_was_confirmed_is_told_as_one() {
    // in the first leg, and in the last one behind two stops that are provisional
    for skip in [0, 2] {
        let killed = World::led("").await.cut(("commit", When::Before), skip).await;
        assert_eq!(killed.engine.resume().await, [""; 0]);
        killed.is_back(&format!("leg {skip}")).await;
        let done = killed.done().await;
        assert!(!done.iter().any(|line| line.starts_with("rollback")), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_jump_is_cut_off_the_module_is_where_it_began_or_has_arrived() {
    let arrives = LEADS.replace("activation: {", "activation: { confirmWindow: 0,");
    for (between, last) in [("", LEADS), (CONFIRMS, arrives.as_str())] {
        let world = Arc::new(World::led_to(between, last).await);
        let (back, there) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let jump = {
            let engine = world.engine.clone();
            async move { engine.activate("a", &Version::new(3, 0, 0), None).await.unwrap().ensure_serves().unwrap() }
        };
        let check = async |killed: World, place: String| {
            let began = killed.is_marked();
            let arrived = killed.engine.serving("a") == Some(Version::new(3, 0, 0));
            assert_eq!(killed.engine.resume().await, [""; 0], "{place}");
            if arrived {
                there.fetch_add(1, Ordering::Relaxed);
                assert_eq!((killed.routed("a").as_deref(), killed.is_marked()), (Some("3.0.0"), false), "{place}");
                assert_eq!(killed.recovered().await, [""; 0], "{place}");
            } else if began {
                back.fetch_add(1, Ordering::Relaxed);
                killed.is_back(&place).await;
            } else {
                // what is looked at before the first leg begins changes nothing
                killed.serves_as_before(&place);
                assert_eq!((place.as_str(), killed.recovered().await), ("at place 1", Vec::new()));
            }
        };
        let places = world.cut_everywhere(jump, check).await;
        let (back, there) = (back.into_inner(), there.into_inner());
        assert!(places > 40 && back > 40, "{between} {last}: {back} of {places}");
        assert_eq!(there > 0, last == arrives, "{between} {last}: {there}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_way_back_is_cut_off_in_its_turn_the_next_start_ends_it() {
    let killed = Arc::new(World::led(CONFIRMS).await.cut(("commit", When::Before), 3).await);
    let resuming = {
        let engine = killed.engine.clone();
        async move { assert_eq!(engine.resume().await, [""; 0]) }
    };
    let check = async |again: World, place: String| {
        assert_eq!(again.engine.resume().await, [""; 0], "{place}");
        again.is_back(&place).await;
    };
    let places = killed.cut_everywhere(resuming, check).await;
    assert!(places > 15, "{places}");
    killed.is_back("in the end").await;
}

#[tokio::test]
async fn a_runtime_that_stops_in_a_jump_leaves_it_to_the_next_start() {
    let world = World::led(CONFIRMS).await;
    let (go, engine) = (Arc::new(Notify::new()), world.engine.clone());
    world.engine.probe().arm("a", ("register", When::Before), 2, Act::Freeze(Arc::clone(&go)));
    let jump = tokio::spawn(async move { engine.activate("a", &Version::new(3, 0, 0), None).await });
    world.engine.probe().reached.notified().await;
    let shared = Arc::clone(&world.engine.shared);
    tokio::spawn(async move {
        shared.stopping.wait().await;
        go.notify_one();
    });
    let world = world.restarted().await;
    assert!(matches!(jump.await.unwrap(), Err(EngineError::Stopped)));
    assert!(world.is_marked());
    assert_eq!(world.engine.resume().await, [""; 0]);
    world.is_back("").await;
}

#[tokio::test]
async fn a_jump_that_arrived_or_failed_is_not_turned_back() {
    let world = World::led(CONFIRMS).await;
    world.provisional("a@3.0.0").await;
    assert!(!world.is_marked());
    // 3.0.0 was not confirmed: that alone is returned from
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, [""; 0]);
    assert_eq!((killed.routed("a").as_deref(), killed.recovered().await.len()), (Some("2.1.0"), 0));
    world.engine.confirm("a").await.unwrap();
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, [""; 0]);
    assert_eq!((killed.routed("a").as_deref(), killed.recovered().await.len()), (Some("3.0.0"), 0));

    let world = World::led(CONFIRMS).await;
    let fails = "return { init = function() error('no') end }";
    world.register_script("a", "3.0.1", &LEADS.replace("3.0.0", "3.0.1"), fails).await;
    assert_eq!(world.activate("a@3.0.1").await.unwrap().outcome, Outcome::RolledBack);
    assert!(!world.is_marked());

    // a first leg whose end cannot be written: its version may serve by then
    let world = World::led("").await;
    world.engine.probe().arm("a", ("close", When::Before), 0, Act::Error);
    let left = world.activate("a@3.0.0").await;
    assert_eq!((world.routed("a").as_deref(), world.is_marked()), (Some("1.0.0"), false), "{left:?}");
}

/// 2.1.0 changes rows for good and is confirmed at once; the process ends in the leg behind it.
pub(super) async fn no_way_back() -> World {
    let for_good =
        format!("database: {{ migrations: [{{ version: 2.1.0, file: 2.sql, irreversible: true }}] }}\n{CONFIRMS}");
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n);")];
    world.register_files("a", "2.1.0", &for_good, &files).await;
    let last = format!("database: {{ migrations: [{{ version: 2.1.0, file: 2.sql, irreversible: true }}] }}\n{LEADS}");
    world.register_files("a", "3.0.0", &last, &files).await;
    world.serves("a@1.0.0").await;
    world.cut(("commit", When::Before), 3).await
}

#[tokio::test]
async fn where_there_is_no_way_back_it_stays_with_an_alarm_at_each_start_until_somebody_decides() {
    let first = no_way_back().await;
    let second = first.killed().await;
    for world in [&first, &second] {
        let mut events = world.events.subscribe();
        assert_eq!(world.engine.resume().await, [""; 0]);
        let mut said = String::new();
        let is_alarm = |event: &Event| match event {
            Event::Alarm { subject, message } if subject == "a" => {
                said.clone_from(message);
                true
            }
            _ => false,
        };
        World::until(&mut events, is_alarm).await;
        assert!(said.starts_with("the way from 1.0.0 to 3.0.0 was cut off at 2.1.0"), "{said}");
        for help in ["replug activate a@3.0.0", "replug rollback a", "replug confirm a", "no way back to 1.0.0"] {
            assert!(said.contains(help), "{said}");
        }
        assert_eq!((world.routed("a").as_deref(), world.is_marked()), (Some("2.1.0"), true));
        assert_eq!(world.recovered().await.len(), 0);
    }
    for command in ["confirm", "activate what serves", "activate", "deactivate"] {
        let world = second.killed().await;
        assert_eq!(world.engine.resume().await, [""; 0]);
        assert!(world.is_marked(), "{command}");
        // a command that is refused changes nothing
        world.engine.rollback("a", Some(&Version::new(1, 0, 0))).await.unwrap_err();
        assert!(world.is_marked(), "{command}");
        let serves = match command {
            "confirm" => world.engine.confirm("a").await.map(|_| Some("2.1.0")).unwrap(),
            "activate what serves" => world.activate("a@2.1.0").await.map(|_| Some("2.1.0")).unwrap(),
            "activate" => {
                world.serves("a@3.0.0").await;
                Some("3.0.0")
            }
            _ => world.engine.deactivate("a").await.map(|_| None).unwrap(),
        };
        assert!(!world.is_marked(), "{command}");
        let world = world.killed().await;
        let mut events = world.events.subscribe();
        assert_eq!(world.engine.resume().await, [""; 0]);
        assert_eq!(world.routed("a").as_deref(), serves, "{command}");
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(&*event, Event::Alarm { .. }), "{command}: {event:?}");
        }
    }
}
