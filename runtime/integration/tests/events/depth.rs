//! Events that lead to further events.

use super::*;

/// Each event that it hears it counts and publishes again, as often as its payload says: by itself, through an actor, with a
/// timer between.
const LUA: &str = r#"
local function again(topic, payload)
  kv.put("count", (kv.get("count") or 0) + 1)
  if payload == 1 then return kv.put("end", true) end
  local ok, fault = pcall(events.publish, topic, payload - 1)
  if not ok then kv.put("refused", { kind = fault.kind, message = fault.message }) end
end
return {
  services = {
    ["shop.publish"] = function(args) events.publish(args.topic, args.payload) end,
    ["shop.walk"] = function(steps) actors.send("walker", steps) end,
    ["shop.read"] = function(key) return kv.get(key) end,
  },
  events = {
    ["shop.again"] = function(message) again("shop.again", message.payload) end,
    ["shop.post"] = function(message) actors.send("relay", message.payload) end,
    ["shop.later"] = function(message) timers.after(10, "shop.tick", message.payload) end,
    ["shop.tick"] = function(message) again("shop.later", message.payload) end,
    ["shop.step"] = function(message) kv.put("count", (kv.get("count") or 0) + 1) end,
  },
  actors = {
    relay = { handle = function(state, payload) again("shop.post", payload) end },
    walker = { handle = function(state, steps)
      events.publish("shop.step", steps)
      if steps > 1 then actors.send("walker", steps - 1) else kv.put("end", true) end
    end },
  },
}
"#;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\n\
                        runtime: { actors: [{ id: relay }, { id: walker }] }";

/// What is in the store of `shop` under a key, once it is there.
async fn read(world: &World, key: &str) -> Value {
    asked(world, "shop.read", key, |answer| *answer != Value::Null).await
}

/// Has `topic` go round for ever, which ends after eight with a refusal that says what to do.
async fn is_refused_after_eight(world: &World, topic: &str) {
    publish(world, topic, 1_000_000).await;
    let refused = read(world, "refused").await;
    assert_eq!(text(&refused, "kind"), "overloaded");
    let told = "more than 8 deep; is there a circle? end it by a condition, or go on after a while with timers.after";
    assert_eq!(text(&refused, "message"), format!("events.publish: {topic}: events follow from each other {told}"));
    assert_eq!(read(world, "count").await, Value::Int(8), "of {topic}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_publishes_what_it_hears_is_refused_after_eight() {
    let world = World::new().await;
    world.serve(MANIFEST, LUA).await;
    is_refused_after_eight(&world, "shop.again").await;
    until(|| counted(&world, "event", "shop", "handled") == Some(8)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_through_an_actor_ends_as_well() {
    let world = World::new().await;
    world.serve(MANIFEST, LUA).await;
    is_refused_after_eight(&world, "shop.post").await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_in_rhai_is_refused_after_eight_as_well() {
    let script = r#"
fn again(topic, payload) {
  let count = kv.get("count");
  kv.put("count", if count == () { 1 } else { count + 1 });
  try { events.publish(topic, payload - 1); }
  catch (fault) { kv.put("refused", #{ kind: fault.kind, message: fault.message }); }
}
#{
  services: #{
    "shop.publish": |args| events.publish(args.topic, args.payload),
    "shop.read": |key| kv.get(key),
  },
  events: #{
    "shop.again": |message| again("shop.again", message.payload),
    "shop.post": |message| actors.send("relay", message.payload),
  },
  actors: #{
    relay: #{ handle: |state, payload| { again("shop.post", payload); } },
    walker: #{ handle: |state, message| {} },
  },
}
"#;
    for topic in ["shop.again", "shop.post"] {
        let world = World::new().await;
        world.serve_rhai(MANIFEST, script).await;
        is_refused_after_eight(&world, topic).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_modules_that_answer_each_other_with_events_are_refused_after_eight() {
    let world = World::new().await;
    for (id, other) in [("shop", "stock"), ("stock", "shop")] {
        let manifest = format!(
            "id: {id}\nversion: 1.0.0\ncapabilities: [{{ id: {id} }}]\ndependencies: [{{ id: {other}, required: false }}]"
        );
        let script = format!(
            r#"return {{
              services = {{
                ["{id}.publish"] = function(args) events.publish(args.topic, args.payload) end,
                ["{id}.read"] = function(key) return kv.get(key) end,
              }},
              events = {{ ["{other}.made"] = function()
                kv.put("count", (kv.get("count") or 0) + 1)
                local ok, fault = pcall(events.publish, "{id}.made")
                if not ok then kv.put("refused", fault.message) end
              end }},
            }}"#
        );
        world.serve(&manifest, &script).await;
    }
    publish(&world, "shop.made", Value::Null).await;
    let refused = read(&world, "refused").await;
    assert!(refused.as_str().is_some_and(|told| told.contains("shop.made: ")), "{refused:?}");
    assert_eq!(read(&world, "count").await, Value::Int(4));
    assert_eq!(asked(&world, "stock.read", "count", |_| true).await, Value::Int(4));
    assert_eq!(asked(&world, "stock.read", "refused", |_| true).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_events_that_follow_from_each_other_are_all_heard() {
    let world = World::new().await;
    world.serve(MANIFEST, LUA).await;
    publish(&world, "shop.again", 8).await;
    read(&world, "end").await;
    assert_eq!(read(&world, "count").await, Value::Int(8));
    assert_eq!(asked(&world, "shop.read", "refused", |_| true).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_with_a_timer_in_it_goes_on() {
    let world = World::new().await;
    world.serve(MANIFEST, LUA).await;
    publish(&world, "shop.later", 20).await;
    read(&world, "end").await;
    assert_eq!(read(&world, "count").await, Value::Int(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_sends_itself_its_next_step_goes_on_and_may_publish() {
    let world = World::new().await;
    world.serve(MANIFEST, LUA).await;
    world.call("shop", "shop.walk", Value::Int(50)).await.expect("it sends");
    read(&world, "end").await;
    asked(&world, "shop.read", "count", |count| *count == Value::Int(50)).await;
}
