//! Actors of scripts over swaps: a version keeps the slot only if it takes their states, and what a return loses of them is
//! counted.

use std::time::Instant;

use futures::FutureExt as _;
use replug_scripts::{CallContext, Handler, Value};

use super::super::window::Listens;
use super::*;
use crate::engine::window;

/// Declares a counter that fails once at most, and is returned from where its actors cannot go on.
const COUNTER: &str = "capabilities: [{ id: shop }]\nruntime: { supervision: { intensity: 1, period: 1h }, actors: [{ id: counter }] }\n\
    lifecycle:\n  activation:\n    rollbackTriggers: [criticalError]\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";

/// Adds numbers up. `more` stands before its actors.
fn counter(more: &str) -> String {
    format!(
        r#"return {{
  services = {{
    ["shop.send"] = function(args) actors.send(args.actor, args.message) end,
    ["shop.call"] = function(args) return actors.call(args.actor, args.message) end,
  }},
  {more}
  actors = {{
    counter = {{
      init = function() return {{ sum = 0 }} end,
      handle = function(state, message)
        if message == "get" then return {{ reply = state.sum }} end
        if message == "fail" then error("told to") end
        state.sum += message
        return {{ state = state, reply = state.sum }}
      end,
    }},
    fresh = {{ init = function() error("nothing to begin with") end, handle = function() end }},
  }},
}}"#
    )
}

/// Does not take a state that `from` made.
fn refuses(from: &str) -> String {
    counter(&format!(
        "upgrade = function(state, from) if from == \"{from}\" then error(\"not mine\") end return state end,"
    ))
}

impl World {
    /// 1.0.0 of the counter serves and has heard of 1; 2.0.0 is registered.
    async fn counting(older: &str, newer: &str) -> Self {
        let world = Self::new().await;
        world.register_script("shop", "1.0.0", COUNTER, older).await;
        world.register_script("shop", "2.0.0", COUNTER, newer).await;
        world.serves("shop@1.0.0").await;
        assert_eq!(world.add(1).await, Value::Int(1));
        world
    }

    async fn ask(&self, service: &str, actor: &str, message: Value) -> Value {
        let call = CallContext {
            module: "shop".into(),
            version: "".into(),
            request_id: "test".into(),
            caller: None,
            deadline: Instant::now() + Duration::from_secs(20),
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        };
        let args = Value::map([("actor", Value::from(actor)), ("message", message)]);
        self.router.call("shop", 0, &Handler::Service(service.into()), vec![args], call).await.expect("an answer")
    }

    async fn add(&self, number: i64) -> Value {
        self.ask("shop.call", "counter", Value::Int(number)).await
    }

    async fn sum(&self) -> Value {
        self.ask("shop.call", "counter", Value::from("get")).await
    }

    /// Waits until an actor is held.
    async fn held_one(events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) {
        Self::until(events, |event| matches!(event, Event::ActorFailed { next: "held", .. })).await;
    }

    /// Waits until a version was returned from, and says why.
    async fn returned(events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) -> String {
        let mut why = String::new();
        let ended = |event: &Event| match event {
            Event::ActivationEnded { outcome: "rolled-back", reason, .. } => {
                why = reason.clone().unwrap_or_default();
                true
            }
            _ => false,
        };
        Self::until(events, ended).await;
        why
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_take_a_state_is_taken_back_at_the_switch_and_the_actor_goes_on_with_it() {
    let world = World::counting(&counter(""), &refuses("1.0.0")).await;
    for (strategy, number) in [(None, 2), (Some(ActivationStrategy::Instant), 3)] {
        let report = world.engine.activate("shop", &Version::new(2, 0, 0), strategy).await.unwrap();
        assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
        let reason = report.reason.unwrap();
        assert!(reason.starts_with("activate: actor counter: upgrade from 1.0.0: "), "{reason}");
        assert!(reason.contains("not mine"), "{reason}");
        let last = report.steps.last().unwrap();
        assert_eq!((last.name.name(), last.outcome), ("activate", crate::engine::StepOutcome::Failed));
        assert_eq!((world.routed("shop").as_deref(), report.lost), (Some("1.0.0"), 0));
        assert_eq!((world.state("shop@1.0.0"), world.state("shop@2.0.0")), (State::Active, State::Failed));
        assert_eq!(world.held(), ["shop@1.0.0"]);
        let before = number * (number - 1) / 2;
        assert_eq!(world.add(number).await, Value::Int(before + number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_fitted_before_the_activation_ends_and_without_a_message() {
    let tells = "upgrade = function(state, from) events.publish(\"shop.moved\") return { sum = state.sum + 100 } end,\n\
        events = { [\"shop.moved\"] = function() kv.put(\"moved\", (kv.get(\"moved\") or 0) + 1) end },";
    let world = World::counting(&counter(""), &counter(tells)).await;
    world.provisional("shop@2.0.0").await;
    let delivered = r#"replug_deliveries_total{kind="event",module="shop",outcome="handled",version="2.0.0"} 1"#;
    let heard = async {
        while !world.engine.shared.metrics.render().contains(delivered) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("it was upgraded");
    assert_eq!(world.sum().await, Value::Int(101), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rollback_loses_of_actors_is_counted_in_its_outcome() {
    let world = World::counting(&refuses("2.0.0"), &counter("")).await;
    world.provisional("shop@2.0.0").await;
    for number in [2, 3] {
        world.add(number).await;
    }
    let report = world.engine.rollback("shop", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome, report.lost), ("1.0.0", Outcome::Active, 2));
    assert_eq!(world.newest("shop").await.lost, 2);
    assert_eq!(world.sum().await, Value::Int(1), "it is what it was before the switch");
    // what is taken back loses nothing
    world.register_script("shop", "3.0.0", COUNTER, &counter("")).await;
    world.provisional("shop@3.0.0").await;
    world.add(4).await;
    let report = world.engine.rollback("shop", None).await.unwrap();
    assert_eq!((report.outcome, report.lost, world.sum().await), (Outcome::Active, 0, Value::Int(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_that_a_rollback_starts_anew_serves_also_if_it_takes_no_state() {
    let world = World::counting(&refuses("2.0.0"), &counter("")).await;
    world.serves("shop@2.0.0").await;
    assert_eq!(world.add(2).await, Value::Int(3));
    let mut events = world.events.subscribe();
    let report = world.engine.rollback("shop", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active), "{report:?}");
    world.ask("shop.send", "counter", Value::Int(4)).await;
    World::until(&mut events, |event| matches!(event, Event::ActorFailed { next: "state kept", .. })).await;
    assert_eq!(world.routed("shop").as_deref(), Some("1.0.0"));
    // the next version takes the state and what waits for it
    world.serves("shop@2.0.0").await;
    assert_eq!(world.add(5).await, Value::Int(12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_not_taken_is_seen_though_a_flood_of_events_follows_until_it_is_taken() {
    let mends = "upgrade = function(state) if not kv.get(\"mended\") then error(\"not mine\") end return state end,";
    let older = counter(mends)
        .replace("services = {", "services = { [\"shop.mend\"] = function() kv.put(\"mended\", true) end,");
    let world = World::counting(&older, &counter("")).await;
    world.serves("shop@2.0.0").await;
    assert_eq!(world.add(2).await, Value::Int(3));
    let report = world.engine.rollback("shop", None).await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("1.0.0", Outcome::Active), "{report:?}");
    let instance = Arc::clone(world.router.snapshot().instance("shop", 0).unwrap());
    let (key, instances) = (instance.key.clone(), &world.engine.shared.hands.instances);
    let mut heard = world.events.subscribe();
    let [mut window, mut activation, mut tree] = std::array::from_fn(|_| world.events.follow(&key));
    world.ask("shop.send", "counter", Value::Int(4)).await;
    World::until(&mut heard, |event| matches!(event, Event::ActorFailed { next: "state kept", .. })).await;
    for number in 0..100 {
        let (instance, actor, reason) = (key.clone(), number.to_string(), "one of a flood".to_owned());
        let (next, with) = ("state of before the swap", vec![]);
        world.events.emit(Event::ActorFailed { instance, actor, cause: "upgrade", reason, next, with });
    }
    let later = Instant::now() + Duration::from_secs(60);
    let seen = window::wait_until(later, (instances, &key), &mut window).await.expect("it is seen");
    assert!(seen.reason.starts_with("actor counter is held: ") && seen.reason.contains("not mine"), "{}", seen.reason);
    let why = window::critical_error(&mut activation, (instances, &key), Listens::ToActors).await;
    assert!(why.starts_with("criticalError: actor counter is held: "), "{why}");
    let none = window::critical_error(&mut tree, (instances, &key), Listens::ToTree).now_or_never();
    assert_eq!(none, None, "before it serves, its actors do not count");
    world.ask("shop.mend", "counter", Value::Null).await;
    while instance.misfit().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.sum().await, Value::Int(7), "and what waited for it was handled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_version_lost_of_an_actor_is_there_again_in_the_version_before() {
    let world = World::counting(&counter(""), &counter("")).await;
    world.provisional("shop@2.0.0").await;
    let mut events = world.events.subscribe();
    world.add(2).await;
    world.ask("shop.send", "counter", Value::from("fail")).await;
    World::until(&mut events, |event| matches!(event, Event::ActorFailed { next: "restarted", .. })).await;
    let report = world.engine.rollback("shop", None).await.unwrap();
    assert_eq!((report.outcome, report.lost, world.sum().await), (Outcome::Active, 1, Value::Int(1)));
    // in its own version a state that is lost is lost
    world.ask("shop.send", "counter", Value::from("fail")).await;
    assert_eq!(world.sum().await, Value::Int(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_loses_of_actors_is_told_with_its_reason() {
    let world = World::counting(&refuses("2.0.0"), &counter("")).await;
    world.provisional("shop@2.0.0").await;
    world.add(2).await;
    let mut events = world.events.subscribe();
    world.gives_up("shop@2.0.0");
    let reason = World::returned(&mut events).await;
    assert_eq!(reason, "criticalError: its workers die; messages to its actors whose effects are lost: 1");
    assert_eq!((world.newest("shop").await.lost, world.sum().await), (1, Value::Int(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisional_version_whose_actor_cannot_begin_is_returned_from() {
    let world = World::counting(&counter(""), "return {}").await;
    let more = COUNTER.replace("[{ id: counter }]", "[{ id: counter }, { id: fresh }]");
    world.register_script("shop", "3.0.0", &more, &counter("")).await;
    world.provisional("shop@3.0.0").await;
    assert_eq!(world.add(2).await, Value::Int(3));
    let mut events = world.events.subscribe();
    world.ask("shop.send", "fresh", Value::Int(1)).await;
    let reason = World::returned(&mut events).await;
    assert!(reason.starts_with("criticalError: actor fresh failed (init: "), "{reason}");
    assert!(reason.ends_with("after 1 restarts within 3600s"), "{reason}");
    assert!(reason.contains("nothing to begin with"), "{reason}");
    assert_eq!((world.routed("shop").as_deref(), world.sum().await), (Some("1.0.0"), Value::Int(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_fail_hold_an_actor_and_return_from_no_version() {
    let world = World::counting(&counter(""), &counter("")).await;
    world.provisional("shop@2.0.0").await;
    let mut events = world.events.subscribe();
    for _ in 0..2 {
        world.ask("shop.send", "counter", Value::from("fail")).await;
    }
    World::held_one(&mut events).await;
    // who watches it heard of the one before the other
    world.gives_up("shop@2.0.0");
    assert_eq!(World::returned(&mut events).await, "criticalError: its workers die");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_of_a_confirmed_version_that_cannot_begin_is_an_alarm_or_a_way_back_as_its_manifest_says() {
    for (trigger, goes_back) in [("criticalError", false), ("{ type: criticalError, afterConfirm: rollback }", true)] {
        let world = World::counting(&counter(""), &counter("")).await;
        let more = COUNTER.replace("[{ id: counter }]", "[{ id: counter }, { id: fresh }]");
        let more = more.replace("[criticalError]", &format!("[{trigger}]"));
        world.register_script("shop", "3.0.0", &more, &counter("")).await;
        world.serves("shop@3.0.0").await;
        assert_eq!(world.add(2).await, Value::Int(3));
        let mut events = world.events.subscribe();
        world.ask("shop.send", "fresh", Value::Int(1)).await;
        let mut alarm = String::new();
        let raised = |event: &Event| match event {
            Event::Alarm { message, .. } => {
                alarm.clone_from(message);
                true
            }
            _ => false,
        };
        World::until(&mut events, raised).await;
        assert!(alarm.starts_with("criticalError: actor fresh failed (init: "), "{alarm}");
        assert_eq!(alarm.ends_with("the version before is activated"), goes_back, "{alarm}");
        if goes_back {
            World::until(&mut events, |event| matches!(event, Event::ActivationEnded { outcome: "active", .. })).await;
        } else {
            let gave_up = world.router.snapshot().instance("shop", 0).unwrap().gave_up();
            assert!(gave_up.is_some_and(|reason| reason.contains("nothing to begin with")), "while they pause");
        }
        assert_eq!(world.routed("shop").as_deref(), Some(if goes_back { "1.0.0" } else { "3.0.0" }));
        assert_eq!(world.sum().await, Value::Int(3), "and the others go on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_a_set_that_does_not_take_a_state_returns_with_the_others() {
    let world = World::counting(&counter(""), &refuses("1.0.0")).await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("other", version, "").await;
    }
    world.serves("other@1.0.0").await;
    let set = [("other", 2), ("shop", 2)].map(|(id, major)| (id.to_owned(), Version::new(major, 0, 0)));
    let report = world.engine.activate_set(&set, None).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    let reason = report.reason.unwrap();
    assert!(reason.contains("shop@2.0.0: actor counter: upgrade from 1.0.0: "), "{reason}");
    assert_eq!(["other", "shop"].map(|id| world.routed(id)), [Some("1.0.0".to_owned()), Some("1.0.0".to_owned())]);
    assert_eq!(world.sum().await, Value::Int(1));
}
