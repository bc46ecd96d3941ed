//! What becomes of events when the version changes that hears them.

use std::time::Duration;

use replug_scripts::{CallContext, Handler};

use super::*;

/// Notes each event that it hears, with the version that heard it.
const HEARS: &str = r#"
local function note(message, ctx)
  if message.payload == 0 then services.call("gate.pass", 1) end
  kv.put("heard", (kv.get("heard") or "") .. ctx.version .. ":" .. tostring(message.payload) .. " ")
end
return {
  services = { ["listener.heard"] = function(key) return kv.get(key) end },
  events = { TOPICS },
}
"#;

fn listener(version: &str) -> String {
    format!(
        "id: listener\nversion: {version}\ncapabilities: [{{ id: listener }}]\ndependencies: [{{ id: shop }}]\n\
         runtime: {{ limits: {{ wallTime: 20s }} }}"
    )
}

/// A listener's script that hears these topics.
fn hears(topics: &[&str]) -> String {
    let handlers: String = topics.iter().map(|topic| format!("[\"{topic}\"] = note, ")).collect();
    HEARS.replace("TOPICS", &handlers)
}

/// Waits until so many events were heard; all of them in their order.
async fn heard(world: &World, count: usize) -> Vec<String> {
    let is = |heard: &Value| heard.as_str().is_some_and(|heard| heard.split_whitespace().count() >= count);
    let heard = asked(world, "listener.heard", "heard", is).await;
    heard.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn dropped(world: &World, version: &str, count: u64) -> bool {
    let series = format!(
        r#"replug_deliveries_total{{kind="event",module="listener",outcome="dropped",version="{version}"}} {count}"#
    );
    world.rig.metrics.render().lines().any(|line| line == series)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_in_hand_ends_in_its_version_and_those_that_wait_are_heard_by_the_new_one_in_order() {
    let (world, gate) = World::gated().await;
    world.serve(SHOP.0, SHOP.1).await;
    let script = hears(&["shop.made"]);
    let old = world.serve(&listener("1.0.0"), &script).await;
    for payload in 0..=3 {
        publish(&world, "shop.made", payload).await;
    }
    gate.reached(1).await;
    let new = world.start(&listener("2.0.0"), &script).await;
    world.publish(&new).await;
    world.rig.close(&old);
    publish(&world, "shop.made", 4).await;
    gate.open(1);
    assert_eq!(heard(&world, 5).await, ["1.0.0:0", "2.0.0:1", "2.0.0:2", "2.0.0:3", "2.0.0:4"]);
    assert!(!dropped(&world, "1.0.0", 1) && !dropped(&world, "2.0.0", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_traffic_shifts_the_candidate_hears_nothing_and_then_everything() {
    let (world, _gate) = World::gated().await;
    world.serve(SHOP.0, SHOP.1).await;
    let old = world.serve(&listener("1.0.0"), &hears(&["shop.made"])).await;
    // a topic that only the new version hears
    let new = world.start(&listener("2.0.0"), &hears(&["shop.made", "shop.extra"])).await;
    for weight in [0, 50, 99] {
        world.shift(&old, &new, weight).await.expect("the same routes");
        publish(&world, "shop.extra", i64::from(weight) + 1000).await;
        publish(&world, "shop.made", i64::from(weight) + 1).await;
    }
    assert_eq!(heard(&world, 3).await, ["1.0.0:1", "1.0.0:51", "1.0.0:100"]);
    world.publish(&new).await;
    publish(&world, "shop.extra", 7).await;
    publish(&world, "shop.made", 8).await;
    assert_eq!(heard(&world, 5).await[3..], ["2.0.0:7", "2.0.0:8"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_handler_that_the_new_version_lacks_is_dropped_and_counted() {
    let (world, gate) = World::gated().await;
    world.serve(SHOP.0, SHOP.1).await;
    let old = world.serve(&listener("1.0.0"), &hears(&["shop.made", "shop.extra"])).await;
    for (topic, payload) in [("shop.made", 0), ("shop.extra", 1), ("shop.extra", 2), ("shop.made", 3)] {
        publish(&world, topic, payload).await;
    }
    gate.reached(1).await;
    world.serve(&listener("2.0.0"), &hears(&["shop.made"])).await;
    gate.open(1);
    assert_eq!(heard(&world, 2).await, ["1.0.0:0", "2.0.0:3"]);
    assert!(dropped(&world, "2.0.0", 2), "{}", world.rig.metrics.render());
    // nobody waits for it any more, until the version before serves again
    publish(&world, "shop.extra", 4).await;
    world.publish(&old).await;
    publish(&world, "shop.extra", 5).await;
    assert_eq!(heard(&world, 3).await[2..], ["1.0.0:5"]);
    assert!(dropped(&world, "2.0.0", 2));
}

/// Sets a timer by a request whose client chose the id of the runtime's own call of `init`.
async fn sets(world: &World, payload: &str) {
    let args = Value::map([("ms", Value::Int(10)), ("payload", payload.into()), ("id", payload.into())]);
    let owner = world.router.load().owner("shop").cloned().expect("it serves");
    let call = CallContext { request_id: "init".into(), ..owner.context("test", Duration::from_secs(5)) };
    let service = Handler::Service("shop.every".into());
    world.router.call("shop", 0, &service, vec![args], call).await.expect("it is set");
}

/// What is heard from now on, once each of these was heard twice; the first may have waited.
async fn rings(world: &World, payloads: &[&str]) -> Vec<String> {
    let all = |heard: &Value| -> Vec<String> {
        heard.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let before = all(&world.call("shop", "shop.heard", "made".into()).await.expect("an answer")).len() + 1;
    let twice = |heard: &Value| {
        let heard: Vec<_> = all(heard).into_iter().skip(before).collect();
        payloads.iter().all(|payload| heard.iter().filter(|it| it == payload).count() >= 2)
    };
    let mut now: Vec<_> = all(&asked(world, "shop.heard", "made", twice).await).into_iter().skip(before).collect();
    now.sort();
    now.dedup();
    now
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_init_sets_are_their_versions_and_those_of_requests_the_slots() {
    let world = World::new().await;
    let script = SHOP.1.replace(
        "return {\n  services",
        "return {\n  init = function(ctx) timers.every(10, \"shop.made\", ctx.version, { id = ctx.version }) end,\n  services",
    );
    let old = world.serve(SHOP.0, &script).await;
    sets(&world, "request").await;
    assert_eq!(rings(&world, &["1.0.0", "request"]).await, ["1.0.0", "request"]);
    let new = world.start(&SHOP.0.replace("1.0.0", "2.0.0"), &script).await;
    assert_eq!(rings(&world, &["1.0.0", "request"]).await, ["1.0.0", "request"], "a candidate's waits aside");
    world.publish(&new).await;
    assert_eq!(rings(&world, &["2.0.0", "request"]).await, ["2.0.0", "request"]);
    world.publish(&old).await;
    world.rig.retire(&new).await;
    assert_eq!(rings(&world, &["1.0.0", "request"]).await, ["1.0.0", "request"], "what returned has its own again");
}
