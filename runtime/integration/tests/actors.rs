//! Script actors in slots whose versions change.

use std::sync::Arc;

use replug_scripts::{HostErrorKind, ScriptError, Value};

use super::World;
use super::gatekeeper::until;
use crate::actors::router::{CallError, Instance};
use crate::monitor::Event;

mod crowded;
mod failing;
mod fits;
mod origins;
mod strategies;
mod swaps;

const SCRIPT: &str = r#"
return {
  services = {
    ["shop.send"] = function(args) actors.send(args.actor or "counter", args.message) end,
    ["shop.call"] = function(args) return actors.call(args.actor or "counter", args.message, args.timeout) end,
    ["shop.try"] = function(args)
      local ok, fault = pcall(actors.call, args.actor or "counter", args.message, args.timeout)
      return if ok then { ok = true, result = fault } else { kind = fault.kind, message = fault.message }
    end,
  },
  actors = {
    counter = {
      init = function(ctx) return { sum = 0, last = 0, made = ctx.version } end,
      handle = function(state, message, ctx)
        if message == "fail" then error("told to") end
        if message == "spin" then while true do end end
        if message == "bare" then return { sum = 1 } end
        if message == "stop" then return { reply = "bye", stop = true } end
        if message == "wait" then services.call("gate.pass", 1) return { reply = ctx.version } end
        if message == "self" then return { reply = actors.call("counter", "get") } end
        if message == "get" then return { reply = { state = state, version = ctx.version, id = ctx.request_id } } end
        if message == state.last + 1 then state.last = message else state.wrong = (state.wrong or 0) + 1 end
        state.sum += 1
        return { state = state, reply = state.sum }
      end,
    },
    once = { handle = function(state, message)
      if message == "fail" then error("told to") end
      if message == "stop" then return { stop = true } end
      return { state = (state or 0) + 1, reply = (state or 0) + 1 }
    end },
    front = { handle = function(state, message) return { reply = actors.call("counter", message) } end },
  },
}
"#;

fn manifest(version: &str, more: &str) -> String {
    format!(
        "id: shop\nversion: {version}\ncapabilities: [{{ id: shop }}]\nruntime: {{ workers: 1, limits: {{ cpuTime: 50ms, memory: 8MiB }}, \
         supervision: {{ intensity: 2, period: 60s }}, \
         actors: [{{ id: counter, mailbox: 20000 }}, {{ id: once, restart: temporary, mailbox: 2 }}, {{ id: front }}] }}\n{more}"
    )
}

fn asks(actor: &str, message: impl Into<Value>) -> Value {
    Value::map([("actor", Value::from(actor)), ("message", message.into())])
}

async fn shop(world: &World, version: &str) -> Arc<Instance> {
    world.serve(&manifest(version, ""), SCRIPT).await
}

/// What a call of an actor came to, in a script.
async fn tried(world: &World, actor: &str, message: impl Into<Value>) -> Value {
    world.call("shop", "shop.try", asks(actor, message)).await.expect("it catches")
}

async fn get(world: &World) -> Value {
    world.call("shop", "shop.call", asks("counter", "get")).await.expect("the state")
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}: {answer:?}"))
}

fn of_state(answer: &Value, key: &str) -> Option<i64> {
    answer.get("state")?.get(key)?.as_i64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_keeps_its_state_from_message_to_message() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    for number in 1..=3 {
        let sum = world.call("shop", "shop.call", asks("counter", number)).await.expect("a reply");
        assert_eq!(sum, Value::Int(number));
    }
    world.call("shop", "shop.send", asks("counter", 4)).await.expect("it is queued");
    let state = get(&world).await;
    assert_eq!((of_state(&state, "sum"), of_state(&state, "wrong")), (Some(4), None));
    assert_eq!((text(&state, "version"), text(&state, "id")), ("1.0.0", "test"));
    // one worker for requests, and every call of an actor holds it: the actors have workers of their own
    let nested = world.call("shop", "shop.call", asks("front", "get")).await.expect("one actor asks another");
    assert_eq!(of_state(&nested, "sum"), Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_refuses_and_the_messages_in_it_are_handled() {
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    let text = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\n\
                runtime: { limits: { wallTime: 20s }, actors: [{ id: counter, mailbox: 2 }] }";
    let instance = world.serve(text, SCRIPT).await;
    world.call("shop", "shop.send", asks("counter", "wait")).await.expect("the first is taken at once");
    gate.reached(1).await;
    for number in 1..=2 {
        world.call("shop", "shop.send", asks("counter", number)).await.expect("it is queued");
    }
    let refused = tried(&world, "counter", 3).await;
    assert_eq!(self::text(&refused, "kind"), "overloaded");
    assert!(self::text(&refused, "message").contains("its mailbox is full (2 messages wait)"), "{refused:?}");
    gate.open(1);
    // between two messages nothing is in flight either
    let handled = r#"replug_deliveries_total{kind="actor",module="shop",outcome="handled",version="1.0.0"} 3"#;
    until(|| world.rig.metrics.render().contains(handled)).await;
    until(|| instance.in_flight() == 0).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(2));
    assert!(
        world
            .rig
            .metrics
            .render()
            .contains(r#"replug_deliveries_total{kind="actor",module="shop",outcome="refused",version="1.0.0"} 1"#)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_costs_the_state_and_the_message_and_no_other() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    for (message, part) in [("fail", "told to"), ("spin", "it met its limit")] {
        tried(&world, "counter", 1).await;
        let failed = tried(&world, "counter", message).await;
        assert_eq!(text(&failed, "kind"), "failed");
        assert!(text(&failed, "message").contains(part), "{failed:?}");
        assert_eq!(of_state(&get(&world).await, "sum"), Some(0), "made anew by init");
    }
    let bare = world.call("shop", "shop.try", asks("front", "bare")).await.expect("caught");
    assert!(text(&bare, "message").contains("`sum` is none of them"), "{bare:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_fails_too_often_is_held_and_the_module_serves_on() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    let mut events = world.events.subscribe();
    for _ in 0..3 {
        assert_eq!(text(&tried(&world, "counter", "fail").await, "kind"), "failed");
    }
    let mut followed = Vec::new();
    while followed.len() < 3 {
        if let Event::ActorFailed { actor, next, .. } = &*events.recv().await.expect("an event") {
            assert_eq!(actor, "counter");
            followed.push(*next);
        }
    }
    assert_eq!(followed, ["restarted", "restarted", "held"]);
    let held = tried(&world, "counter", 1).await;
    assert_eq!(text(&held, "kind"), "overloaded");
    assert!(text(&held, "message").contains("held for a while") && text(&held, "message").contains("told to"));
    world.call("shop", "shop.send", asks("counter", 1)).await.expect("it waits for the end of the pause");
    assert_eq!(tried(&world, "once", 0).await.get("result"), Some(&Value::Int(1)), "others go on");
    // another version need not wait
    shop(&world, "1.0.1").await;
    let mut sum = None;
    while sum.is_none() {
        sum = of_state(&tried(&world, "counter", "get").await.get("result").cloned().unwrap_or_default(), "sum");
    }
    assert_eq!(sum, Some(1), "what was sent was not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_says_what_follows_a_failure_and_a_stop() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    assert_eq!(tried(&world, "counter", 1).await.get("result"), Some(&Value::Int(1)));
    assert_eq!(tried(&world, "counter", "stop").await.get("result"), Some(&Value::from("bye")));
    assert_eq!(of_state(&get(&world).await, "sum"), Some(0), "a permanent actor begins anew");
    assert_eq!(text(&tried(&world, "once", "fail").await, "kind"), "failed");
    let ended = loop {
        // the sender hears of the failure before the actor has ended
        let ended = tried(&world, "once", 1).await;
        if ended.get("ok").is_none() {
            break ended;
        }
    };
    assert_eq!(text(&ended, "kind"), "not-found");
    assert!(text(&ended, "message").contains("actor once of shop: it has ended"), "{ended:?}");
    shop(&world, "1.0.1").await;
    assert_eq!(tried(&world, "once", 1).await.get("result"), Some(&Value::Int(1)), "another version begins anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_waits_for_itself_is_refused_at_once() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    for (actor, circle) in
        [("counter", "shop/counter -> shop/counter"), ("front", "shop/front -> shop/counter -> shop/counter")]
    {
        let refused = tried(&world, actor, "self").await;
        assert_eq!(text(&refused, "kind"), "conflict");
        assert!(text(&refused, "message").contains(circle), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_is_not_declared_is_not_found_and_the_line_that_declares_it_is_named() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    let missing = tried(&world, "ghost", 1).await;
    assert_eq!(text(&missing, "kind"), "not-found");
    assert!(text(&missing, "message").contains("`runtime: { actors: [{ id: ghost }] }`"), "{missing:?}");
    let wrong = world.call("shop", "shop.try", Value::map([("timeout", Value::Int(0))])).await.expect("caught");
    assert_eq!(text(&wrong, "kind"), "invalid-argument");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_longer_than_its_timeout_is_not_handled_any_more() {
    let (world, gate) = World::gated().await;
    let instance = world.serve(&manifest("1.0.0", "").replace("cpuTime: 50ms", "wallTime: 20s"), SCRIPT).await;
    world.call("shop", "shop.send", asks("counter", "wait")).await.expect("it is taken");
    gate.reached(1).await;
    let mut call = asks("counter", 1);
    if let Value::Map(call) = &mut call {
        call.insert("timeout".to_owned(), Value::Int(20));
    }
    let late = world.call("shop", "shop.try", call).await.expect("caught");
    assert_eq!(text(&late, "kind"), "timeout");
    gate.open(1);
    until(|| instance.in_flight() == 0).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_the_caller_does_not_catch_is_its_own() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    let answer = world.call("shop", "shop.call", asks("counter", "fail")).await;
    let Err(CallError::Script(ScriptError::Host { error, .. })) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind, HostErrorKind::Failed);
}
