//! A tree that gives up is a trigger from the start of an activation to the end of the watch.

use super::super::window::Listens;
use super::confirming::state_is;
use super::*;
use crate::engine::window;

const LISTENS: &str = "lifecycle:\n  activation:\n    rollbackTriggers: [criticalError]\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";

impl World {
    /// The tree of `label`, wherever its activation is, gives up.
    pub(super) fn gives_up(&self, label: &str) {
        let keys = self.engine.shared.hands.instances.keys();
        let newest = keys.into_iter().filter(|key| format!("{}@{}", key.id, key.version) == label);
        let instance = newest.max_by_key(|key| key.generation).unwrap();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    }
}

#[tokio::test]
async fn a_critical_error_between_any_two_steps_ends_the_activation() {
    for place in [Place::Commit, Place::Up] {
        for is_listed in [true, false] {
            let world = Arc::new(World::new().await);
            world.register("a", "1.0.0", "").await;
            let tables = "database: { migrations: [{ version: 2.0.0, file: 2.sql }] }\n";
            let more = if is_listed { LISTENS } else { QUICK };
            let files =
                [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
            world.register_files("a", "2.0.0", &format!("{tables}{more}"), &files).await;
            world.serves("a@1.0.0").await;
            let coming = world.paused(place, "a@2.0.0").await;
            world.gives_up("a@2.0.0");
            world.binding.go.notify_one();
            let report = coming.await.unwrap().unwrap();
            assert_eq!(report.outcome, Outcome::RolledBack, "{place:?}: {report:?}");
            let reason = report.reason.unwrap();
            assert!(reason.ends_with("criticalError: its workers die"), "{place:?}: {reason}");
            assert_eq!((world.routed("a").as_deref(), world.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
        }
    }
}

#[tokio::test]
async fn a_critical_error_during_verification_is_never_lost() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", LISTENS).await;
    world.serves("a@1.0.0").await;
    let mut events = world.events.subscribe();
    let engine = world.engine.clone();
    let coming = tokio::spawn(async move { engine.activate("a", &Version::new(2, 0, 0), None).await });
    World::until(&mut events, |event| matches!(event, Event::StepEnded { step: "activate", .. })).await;
    world.gives_up("a@2.0.0");
    // by the activation or, where that had ended, by the window
    World::until(&mut events, |event| state_is(event, "2.0.0", State::Failed)).await;
    let report = coming.await.unwrap().unwrap();
    assert!(matches!(report.outcome, Outcome::RolledBack | Outcome::Provisional), "{report:?}");
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
}

#[tokio::test]
async fn a_tree_that_gave_up_in_a_flood_of_events_is_seen_by_its_state() {
    let world = World::new().await;
    let script = r#"return {
        init = function()
            local made = (kv.get("made") or 0) + 1
            kv.put("made", made)
            if made > 1 then error("only once") end
        end,
        services = { ["a.one"] = function() return 1 end },
    }"#;
    let manifest = format!("capabilities: [{{ id: a }}]\nruntime: {{ supervision: {{ intensity: 1 }} }}\n{QUICK}");
    world.register_script("a", "1.0.0", &manifest, script).await;
    world.serves("a@1.0.0").await;
    let instance = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
    let (key, instances) = (instance.key.clone(), &world.engine.shared.hands.instances);
    assert_eq!(instances.gave_up(&key), None);
    let mut heard = world.events.subscribe();
    let (mut flooded, mut also) = (world.events.follow(&key), world.events.follow(&key));
    while instance.gave_up().is_none() {
        let call = instance.context("test", Duration::from_secs(5));
        let one = replug_scripts::Handler::Service("a.one".into());
        instance.call(one, Vec::new(), call).await.expect_err("no VM comes up");
        tokio::task::yield_now().await;
    }
    World::until(&mut heard, |event| matches!(event, Event::CriticalError { .. })).await;
    for number in 0..100 {
        let (instance, actor, reason) = (key.clone(), number.to_string(), "one of a flood".to_owned());
        let (next, with) = ("state of before the swap", vec![]);
        world.events.emit(Event::ActorFailed { instance, actor, cause: "upgrade", reason, next, with });
    }
    let later = std::time::Instant::now() + Duration::from_secs(60);
    let seen = window::wait_until(later, (instances, &key), &mut flooded).await;
    assert!(seen.is_some_and(|gave_up| gave_up.reason.contains("only once")));
    assert!(window::critical_error(&mut also, (instances, &key), Listens::ToTree).await.contains("only once"));
}
