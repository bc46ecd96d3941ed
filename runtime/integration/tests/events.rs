//! Events and timers of scripts whose versions change.

use std::sync::Arc;

use replug_scripts::Value;

use super::World;
use super::gatekeeper::until;
use crate::actors::router::Instance;

mod anew;
mod depth;
mod swaps;

/// Publishes what it is told, hears its own topic, and counts in its store.
const SHOP: (&str, &str) = (
    "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]",
    r#"
local function note(key, message, ctx)
  local heard = kv.get(key) or ""
  kv.put(key, heard .. tostring(message.payload) .. " ")
  kv.put(key .. "-of", { topic = message.topic, publisher = message.publisher, caller = ctx.caller, id = ctx.request_id, version = ctx.version })
end
return {
  services = {
    ["shop.publish"] = function(args) events.publish(args.topic, args.payload) end,
    ["shop.try"] = function(args)
      local ok, fault = pcall(if args.timer then timers.after else events.publish, if args.timer then args.timer else args.topic, if args.timer then args.topic else nil)
      return if ok then { ok = true } else { kind = fault.kind, message = fault.message }
    end,
    ["shop.heard"] = function(key) return kv.get(key) end,
    ["shop.after"] = function(args) return timers.after(args.ms, "shop.made", args.payload, { id = args.id }) end,
    ["shop.every"] = function(args) return timers.every(args.ms, "shop.made", args.payload, { id = args.id }) end,
    ["shop.slow"] = function() return timers.every(10, "shop.slow") end,
    ["shop.cancel"] = function(id) return timers.cancel(id) end,
    ["shop.many"] = function() for n = 1, 1001 do timers.every(3600000, "shop.made") end end,
  },
  events = {
    ["shop.made"] = function(message, ctx) note("made", message, ctx) end,
    ["shop.slow"] = function(message, ctx) services.call("gate.pass", 1) end,
  },
}
"#,
);

const LISTENER: (&str, &str) = (
    "id: listener\nversion: 1.0.0\ncapabilities: [{ id: listener }]\ndependencies: [{ id: shop }]\nruntime: { limits: { cpuTime: 50ms } }",
    r#"
return {
  services = { ["listener.heard"] = function(key) return kv.get(key) end },
  events = {
    ["shop.made"] = function(message, ctx)
      if message.payload == "fail" then error("told to") end
      if message.payload == "spin" then while true do end end
      kv.put("heard", (kv.get("heard") or "") .. tostring(message.payload) .. " ")
    end,
    ["shop.wait"] = function(message)
      if message.payload == 0 then services.call("gate.pass", 1) end
      kv.put("last", message.payload)
      kv.put("count", (kv.get("count") or 0) + 1)
    end,
  },
}
"#,
);

fn publishes(topic: &str, payload: impl Into<Value>) -> Value {
    Value::map([("topic", Value::from(topic)), ("payload", payload.into())])
}

async fn publish(world: &World, topic: &str, payload: impl Into<Value>) {
    world.call("shop", "shop.publish", publishes(topic, payload)).await.expect("it publishes");
}

/// Asks until the answer is one.
async fn asked(world: &World, service: &str, key: &str, is: impl Fn(&Value) -> bool) -> Value {
    let module = service.split_once('.').expect("a service").0;
    loop {
        let answer = world.call(module, service, Value::from(key)).await.expect("an answer");
        if is(&answer) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}: {answer:?}"))
}

fn counted(world: &World, kind: &str, module: &str, outcome: &str) -> Option<u64> {
    let series =
        format!(r#"replug_deliveries_total{{kind="{kind}",module="{module}",outcome="{outcome}",version="1.0.0"}} "#);
    let told = world.rig.metrics.render();
    told.lines().find_map(|line| line.strip_prefix(&series)).map(|count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_its_publisher_and_those_that_depend_on_it_in_order() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    world.serve(LISTENER.0, LISTENER.1).await;
    let stranger = LISTENER.0.replace("id: listener", "id: stranger").replace("dependencies: [{ id: shop }]\n", "");
    let stranger = world.start(&stranger, &LISTENER.1.replace("listener", "stranger")).await;
    // past the check at activation, which refuses it
    world.publish_unchecked(&stranger);
    let expected: String = (0..40).map(|number| format!("{number} ")).collect();
    for number in 0..40 {
        publish(&world, "shop.made", number).await;
    }
    let all = |answer: &Value| answer.as_str() == Some(&expected);
    asked(&world, "shop.heard", "made", all).await;
    asked(&world, "listener.heard", "heard", all).await;
    let of = asked(&world, "shop.heard", "made-of", |of| *of != Value::Null).await;
    assert_eq!((text(&of, "topic"), text(&of, "publisher"), text(&of, "caller")), ("shop.made", "shop", "shop"));
    assert_eq!(text(&of, "id"), "test");
    // what it has heard is told before it is counted
    until(|| counted(&world, "event", "listener", "handled") == Some(40)).await;
    assert_eq!(counted(&world, "event", "stranger", "handled"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_is_counted_and_the_next_event_comes() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    world.serve(LISTENER.0, LISTENER.1).await;
    for payload in ["fail", "spin", "fail", "well"] {
        publish(&world, "shop.made", payload).await;
    }
    asked(&world, "listener.heard", "heard", |answer| answer.as_str() == Some("well ")).await;
    until(|| counted(&world, "event", "listener", "handled") == Some(1)).await;
    assert_eq!(counted(&world, "event", "listener", "failed"), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_overflows_the_queue_of_a_subscriber_is_dropped_and_counted() {
    let (world, gate) = World::gated().await;
    world.serve(SHOP.0, SHOP.1).await;
    world.serve(&LISTENER.0.replace("cpuTime: 50ms", "wallTime: 20s"), LISTENER.1).await;
    publish(&world, "shop.wait", 0).await;
    gate.reached(1).await;
    for number in 1..=1003 {
        publish(&world, "shop.wait", number).await;
    }
    assert_eq!(counted(&world, "event", "listener", "dropped"), Some(3));
    gate.open(1);
    asked(&world, "listener.heard", "last", |answer| *answer == Value::Int(1000)).await;
    asked(&world, "listener.heard", "count", |answer| *answer == Value::Int(1001)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_publishes_under_its_own_id_only() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    for (topic, kind, part) in [
        ("other.made", "permission-denied", "only a module with `id: other`"),
        ("shopping.made", "permission-denied", "whose topics begin with `shop.`"),
        ("shop", "invalid-argument", "a topic is `module.name`"),
        ("shop.Made", "invalid-argument", "a topic is `module.name`"),
    ] {
        for timer in [Value::Null, Value::Int(10)] {
            let given = Value::map([("topic", Value::from(topic)), ("timer", timer)]);
            let refused = world.call("shop", "shop.try", given).await.expect("caught");
            assert_eq!(text(&refused, "kind"), kind, "{topic}");
            assert!(text(&refused, "message").contains(part), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_ticks_over_a_swap_and_ends_with_its_slot() {
    let world = World::new().await;
    let old = world.serve(SHOP.0, SHOP.1).await;
    let every =
        |payload: &str| Value::map([("ms", Value::Int(10)), ("payload", payload.into()), ("id", "beat".into())]);
    let id = world.call("shop", "shop.every", every("a")).await.expect("an id");
    assert_eq!(id, Value::from("beat"));
    let twice = |answer: &Value| answer.as_str().is_some_and(|heard| heard.starts_with("a a "));
    asked(&world, "shop.heard", "made", twice).await;
    let new = world.serve(&SHOP.0.replace("1.0.0", "2.0.0"), SHOP.1).await;
    world.rig.retire(&old).await;
    asked(&world, "shop.heard", "made-of", |of| of.get("version") == Some(&Value::from("2.0.0"))).await;
    world.call("shop", "shop.every", every("b")).await.expect("it replaces the other");
    asked(&world, "shop.heard", "made", |answer| answer.as_str().is_some_and(|heard| heard.ends_with("b b "))).await;
    world.remove("shop");
    until(|| new.in_flight() == 0).await;
    world.publish(&new).await;
    let gone = world.call("shop", "shop.cancel", Value::from("beat")).await.expect("an answer");
    assert_eq!(gone, Value::Bool(false), "timers end with the slot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_ticks_once_has_its_payload_and_can_be_cancelled_before() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    let after = |ms: i64, payload: &str| Value::map([("ms", Value::Int(ms)), ("payload", payload.into())]);
    let late = world.call("shop", "shop.after", after(3_600_000, "late")).await.expect("an id");
    let cancelled = world.call("shop", "shop.cancel", late.clone()).await.expect("an answer");
    let again = world.call("shop", "shop.cancel", late).await.expect("an answer");
    assert_eq!((cancelled, again), (Value::Bool(true), Value::Bool(false)));
    world.call("shop", "shop.after", after(10, "soon")).await.expect("an id");
    asked(&world, "shop.heard", "made", |answer| answer.as_str() == Some("soon ")).await;
    let of = asked(&world, "shop.heard", "made-of", |of| *of != Value::Null).await;
    assert_eq!((text(&of, "publisher"), text(&of, "id")), ("shop", "timer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_that_finds_the_one_before_still_running_is_skipped_and_counted() {
    let (world, gate) = World::gated().await;
    let slow = format!("{}\nruntime: {{ limits: {{ wallTime: 20s }} }}", SHOP.0);
    let instance: Arc<Instance> = world.serve(&slow, SHOP.1).await;
    let id = world.call("shop", "shop.slow", Value::Null).await.expect("an id");
    gate.reached(1).await;
    until(|| counted(&world, "timer", "shop", "skipped") >= Some(3)).await;
    assert_eq!(counted(&world, "timer", "shop", "handled"), None);
    world.call("shop", "shop.cancel", id).await.expect("an answer");
    gate.open(1);
    until(|| instance.in_flight() == 0).await;
    until(|| counted(&world, "timer", "shop", "handled") == Some(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_are_bounded_in_number_and_time() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    let many = world.call("shop", "shop.many", Value::Null).await.expect_err("one too many");
    assert!(many.to_string().contains("shop has 1000 timers, which is the most"), "{many}");
    let early = Value::map([("topic", Value::from("shop.made")), ("timer", Value::Int(9))]);
    let early = world.call("shop", "shop.try", early).await.expect("caught");
    assert_eq!((text(&early, "kind"), text(&early, "message").contains("10 ms to a year")), ("invalid-argument", true));
}
