//! Values that wait for a module, however large and many, stay within the quota of its memory.

use std::sync::Arc;

use replug_scripts::Value;
use serde_json::{Value as Json, json};

use super::World;
use super::gatekeeper::{Gatekeeper, until};
use crate::actors::router::Instance;
use crate::store::audit::Kind;

const MIB: u64 = 1 << 20;
const QUOTA: u64 = 32 * MIB;

/// Each service sends a megabyte as often as it is told, and gives how often that was taken and the last refusal.
const SHOP: &str = r#"
local big = ("x"):rep(1000000)
local function flood(count, send)
  local taken, last = 0, nil
  for n = 1, count do
    local ok, fault = pcall(send, n)
    if ok then taken += 1 else last = fault end
  end
  return { taken = taken, kind = last and last.kind, message = last and last.message }
end
return {
  services = {
    ["shop.send"] = function(count) return flood(count, function() actors.send("slow", big) end) end,
    ["shop.small"] = function() actors.send("slow", "small") end,
    ["shop.call"] = function() return flood(1, function() actors.call("slow", big) end) end,
    ["shop.publish"] = function(count) return flood(count, function() events.publish("shop.made", big) end) end,
    ["shop.timers"] = function(count)
      return flood(count, function(n) timers.every(3600000, "shop.tick", big, { id = "t" .. n }) end)
    end,
    ["shop.cancel"] = function(count) for n = 1, count do timers.cancel("t" .. n) end end,
    ["shop.grow"] = function() return actors.call("grows", "more") end,
    ["shop.length"] = function() return actors.call("grows", "length") end,
  },
  events = { ["shop.tick"] = function() end },
  actors = {
    slow = { handle = function() services.call("gate.pass", 1) end },
    grows = {
      init = function() return {} end,
      handle = function(state, message)
        if message == "length" then return { reply = #state } end
        for n = 1, 3 do state[#state + 1] = big end
        return { state = state }
      end,
    },
  },
}
"#;

const LISTENER: &str = r#"
return { events = { ["shop.made"] = function() services.call("gate.pass", 1) end } }
"#;

struct Shop {
    world: World,
    gate: Arc<Gatekeeper>,
    instance: Arc<Instance>,
}

fn manifest(more: &str) -> String {
    format!(
        "version: 1.0.0\n{more}\npermissions: {{ resources: {{ memory: {{ maxHeapSize: 32MiB }} }} }}\n\
         runtime: {{ workers: 1, limits: {{ ticks: 1000000000, cpuTime: 10s, wallTime: 20s, memory: 8MiB }}"
    )
}

impl Shop {
    async fn open() -> Self {
        let (world, gate) = World::gated().await;
        let text = manifest("id: shop\ncapabilities: [{ id: shop }]");
        let instance = world.serve(&format!("{text}, actors: [{{ id: slow }}, {{ id: grows }}] }}"), SHOP).await;
        Self { world, gate, instance }
    }

    async fn call(&self, service: &str, count: i64) -> Value {
        self.world.call("shop", service, Value::Int(count)).await.expect("an answer")
    }

    /// What was refused for want of memory, for the audit log: the last of it.
    async fn told(&self) -> Json {
        self.world.supplies.permissions.close().await;
        let rows = self.world.audit.read(1, 1000).await.expect("it can be read");
        let mut told = rows.iter().map(|row| row.entry().expect("no damage"));
        let last = told.rfind(|entry| entry.kind == Kind::QuotaExceeded).expect("it is told");
        let mut data: Json = serde_json::from_str(last.data.get()).expect("JSON");
        data["subject"] = last.subject.clone().into();
        data
    }
}

/// What waits for a module is within its quota, told as its memory, and `taken` megabytes at least.
fn is_within(instance: &Instance, taken: i64) {
    let account = instance.account();
    assert!(account.heap.reserved() <= QUOTA, "{:?}", account.heap);
    let values = account.heap.values();
    assert!(values >= taken.unsigned_abs() * 1_000_000, "{values} for {taken}");
    assert!((values..=QUOTA).contains(&account.counts.memory()), "{}", account.counts.memory());
}

/// Some of a flood was taken, and then it was refused with the numbers and the key.
fn taken(flood: &Value) -> i64 {
    let text = |key: &str| flood.get(key).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(text("kind"), "overloaded", "{flood:?}");
    for part in
        ["of the 33554432 bytes of its quota", "`permissions.resources.memory.maxHeapSize` in module.manifest.yaml"]
    {
        assert!(text("message").contains(part), "{flood:?}");
    }
    let taken = flood.get("taken").and_then(Value::as_i64).expect("a number");
    assert!((4..32).contains(&taken), "{taken}");
    taken
}

fn is_told(told: &Json, subject: &str, expected: &Json) {
    assert_eq!((&told["subject"], &told["quota"]), (&json!(subject), &json!("resources.memory.maxHeapSize")));
    assert_eq!(told["value"], QUOTA);
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&told[key], value, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_large_messages_is_refused_and_what_was_taken_is_handled_and_given_back() {
    let shop = Shop::open().await;
    let taken = taken(&shop.call("shop.send", 64).await);
    is_within(&shop.instance, taken);
    let asked = shop.call("shop.call", 0).await;
    assert_eq!(asked.get("kind"), Some(&Value::from("overloaded")), "a call waits in the same mailbox");
    shop.gate.open(64);
    until(|| shop.instance.account().heap.values() == 0).await;
    assert_eq!(shop.call("shop.send", 1).await.get("taken"), Some(&Value::Int(1)), "there is room again");
    let told = shop.told().await;
    is_told(&told, "shop@1.0.0", &json!({ "call": "actors.call", "requestId": "test", "count": 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_slot_that_goes_is_given_back() {
    let shop = Shop::open().await;
    assert_eq!(shop.call("shop.timers", 3).await.get("taken"), Some(&Value::Int(3)));
    let sent = taken(&shop.call("shop.send", 64).await);
    is_within(&shop.instance, 3 + sent);
    shop.world.remove("shop");
    shop.gate.open(64);
    until(|| shop.instance.account().heap.values() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_for_which_a_subscriber_has_no_room_are_dropped_and_its_publisher_pays_nothing() {
    let shop = Shop::open().await;
    let text = format!("{} }}", manifest("id: listener\ndependencies: [{ id: shop }]"));
    let listener = shop.world.serve(&text, LISTENER).await;
    let published = shop.call("shop.publish", 64).await;
    assert_eq!(published.get("taken"), Some(&Value::Int(64)), "whoever publishes hears nothing of it");
    let dropped = dropped(&shop.world);
    assert!((33..60).contains(&dropped), "{dropped}");
    is_within(&listener, 64 - dropped);
    assert_eq!(shop.instance.account().heap.values(), 0);
    shop.gate.open(64);
    until(|| listener.account().heap.values() == 0).await;
    let told = shop.told().await;
    is_told(&told, "listener@1.0.0", &json!({ "handler": "events[\"shop.made\"]", "requestId": "test" }));
}

fn dropped(world: &World) -> i64 {
    let series = r#"replug_deliveries_total{kind="event",module="listener",outcome="dropped",version="1.0.0"} "#;
    let metrics = world.rig.metrics.render();
    let count = metrics.lines().find_map(|line| line.strip_prefix(series)).expect("some are dropped");
    count.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_timers_take_room_until_they_end() {
    let shop = Shop::open().await;
    let set = taken(&shop.call("shop.timers", 64).await);
    is_within(&shop.instance, set);
    let again = shop.call("shop.timers", set).await;
    assert_eq!(again.get("taken"), Some(&Value::Int(set)), "the same timers go on and take nothing more");
    is_within(&shop.instance, set);
    shop.call("shop.cancel", 64).await;
    assert_eq!(shop.instance.account().heap.values(), 0);
    is_told(&shop.told().await, "shop@1.0.0", &json!({ "call": "timers.every", "requestId": "test" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_grows_beyond_the_quota_is_not_kept_and_stays_as_it_was() {
    let shop = Shop::open().await;
    assert_eq!(shop.call("shop.length", 0).await, Value::Int(0));
    // a VM that runs has more than one that rests
    let rests = async |most| until(|| shop.instance.account().heap.reserved() < most).await;
    rests(4 * MIB).await;
    let set = shop.call("shop.timers", 9).await;
    assert_eq!(set.get("taken"), Some(&Value::Int(9)));
    rests(15 * MIB).await;
    let grown =
        shop.world.call("shop", "shop.grow", Value::Null).await.expect_err("no room for three more").to_string();
    for part in ["its new state is not kept, and it stays as it was", "permissions.resources.memory.maxHeapSize"] {
        assert!(grown.contains(part), "{grown}");
    }
    is_within(&shop.instance, 9);
    shop.call("shop.cancel", 9).await;
    // from here on all fits into the part that VMs leave, however many of them run
    assert_eq!(shop.call("shop.length", 0).await, Value::Int(0));
    shop.call("shop.grow", 0).await;
    assert_eq!(shop.call("shop.length", 0).await, Value::Int(3));
    until(|| (3_000_000..3 * MIB).contains(&shop.instance.account().heap.values())).await;
    let handler = "actors[\"grows\"].handle";
    is_told(&shop.told().await, "shop@1.0.0", &json!({ "handler": handler, "requestId": "test" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_all_vms_run_small_values_find_room() {
    let shop = Shop::open().await;
    for _ in 0..100 {
        shop.call("shop.small", 0).await;
    }
    until(|| shop.instance.account().heap.values() > 0).await;
    shop.gate.open(100);
    until(|| shop.instance.account().heap.values() == 0).await;
}
