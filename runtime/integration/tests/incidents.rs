//! What real scripts meet stands in the audit log: each limit and each quota, exceeded through an instance.

use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{Handler, Value};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::World;
use super::gatekeeper::{Gatekeeper, until};
use crate::actors::gate::Pass;
use crate::actors::router::{CallError, Instance};
use crate::store::audit::{Kind, verify};

const SCRIPT: &str = r#"
local kept, n = {}, 0
return {
  services = {
    ["shop.quick"] = function() return 1 end,
    ["shop.work"] = function() local x = 0 for i = 1, 3000000 do x += i % 7 end return x end,
    ["shop.spin"] = function() while true do end end,
    ["shop.fill"] = function() local t = {} while true do t[#t + 1] = { {}, {} } end end,
    ["shop.wait"] = function() return services.call("gate.pass", 1) end,
    ["shop.wait_and_spin"] = function() services.call("gate.pass", 1) while true do end end,
    ["shop.leak"] = function() n += 1 kept[n] = ("x"):rep(1000) .. n end,
    ["shop.put"] = function() kv.put("k", ("x"):rep(4000)) end,
    ["shop.cas"] = function() kv.cas("k", nil, ("x"):rep(4000)) end,
    ["shop.write"] = function() fs.write("f", ("x"):rep(4000)) end,
    ["shop.get"] = function(url) return http.get(url, { timeout = 300 }).status end,
    ["shop.send"] = function() for i = 1, 5 do actors.send("slow", i) end end,
    ["shop.timers"] = function() for i = 1, 1001 do timers.after(3600000, "shop.tick", i) end end,
    ["shop.circle"] = function() events.publish("shop.again") end,
    ["shop.fail"] = function() actors.call("slow", "fail") end,
  },
  events = { ["shop.tick"] = function() end, ["shop.again"] = function() events.publish("shop.again") end },
  actors = { slow = { handle = function(state, message)
    if message == "fail" then error("told to") end
    services.call("gate.pass", 1)
    return { state = 1 }
  end } },
}
"#;

struct Shop {
    world: World,
    gate: Arc<Gatekeeper>,
    instance: Arc<Instance>,
}

impl Shop {
    /// A module with these settings of `runtime` and `permissions`.
    async fn with(runtime: &str, permissions: &str) -> Self {
        let (world, gate) = World::gated().await;
        let manifest = format!(
            "id: shop\nversion: 1.0.0\ncapabilities: [{{ id: shop }}]\n\
             runtime: {{ actors: [{{ id: slow, mailbox: 2 }}], {runtime} }}\npermissions: {{ {permissions} }}"
        );
        world.grant(&manifest).await;
        let instance = world.serve(&manifest, SCRIPT).await;
        Self { world, gate, instance }
    }

    /// The same, whose limits are wide but for these.
    async fn limited(limits: &str) -> Self {
        Self::with(&format!("workers: 1, limits: {{ {limits} }}"), "").await
    }

    async fn call(&self, service: &str, arg: impl Into<Value>) -> Result<Value, CallError> {
        self.world.call("shop", service, arg.into()).await
    }

    /// Data of the entries of a kind, once all that was met is written; the chain is whole.
    async fn told(&self, kind: Kind) -> Vec<Json> {
        self.world.supplies.permissions.close().await;
        verify(self.world.audit.dir()).expect("the chain is whole");
        let rows = self.world.audit.read(1, 1000).await.expect("it can be read");
        let entries = rows.iter().map(|row| row.entry().expect("no damage")).filter(|entry| entry.kind == kind);
        let data = entries.map(|entry| {
            assert_eq!((entry.subject.as_str(), entry.who.name()), ("shop@1.0.0", "runtime"));
            serde_json::from_str(entry.data.get()).expect("JSON")
        });
        data.collect()
    }

    /// The one entry of a kind.
    async fn only(&self, kind: Kind) -> Json {
        let told = self.told(kind).await;
        let [one] = told.as_slice() else { panic!("{told:?}") };
        one.clone()
    }
}

/// An entry about a call of the test's.
fn of_call(more: Json) -> Json {
    let mut data = json!({ "requestId": "test", "caller": null, "principal": null, "generation": 1, "count": 1 });
    for (key, value) in more.as_object().expect("an object") {
        data[key] = value.clone();
    }
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_that_ends_a_call_is_told_with_its_value_its_handler_and_its_request() {
    let wide = "ticks: 1000000000000, cpuTime: 20s, wallTime: 40s, memory: 16MiB";
    for (narrow, service, limit, value) in [
        ("ticks: 20000", "shop.spin", "ticks", 20_000),
        ("cpuTime: 20ms", "shop.spin", "cpuTime", 20),
        ("wallTime: 30ms", "shop.spin", "wallTime", 30),
        ("memory: 2MiB", "shop.fill", "memory", 2 << 20),
    ] {
        let others = wide.split(", ").filter(|other| !other.starts_with(limit));
        let shop = Shop::limited(&others.chain([narrow]).collect::<Vec<_>>().join(", ")).await;
        shop.call(service, Value::Null).await.expect_err("it meets its limit");
        let (limit, handler) = (format!("runtime.limits.{limit}"), format!("services[\"{service}\"]"));
        let mut told = shop.only(Kind::LimitExceeded).await;
        let ended_at = told["value"].as_u64().expect("a number");
        // the time of a call that began late is shorter
        assert!(ended_at <= value && (limit.ends_with("Time") || ended_at == value), "{told}");
        told["value"] = value.into();
        assert_eq!(told, of_call(json!({ "limit": limit, "value": value, "handler": handler })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waited_among_others_in_a_vm_is_told_as_well() {
    let shop = Shop::with("workers: 1, concurrency: 4, limits: { ticks: 20000 }", "").await;
    let (spins, ()) = tokio::join!(shop.call("shop.wait_and_spin", Value::Null), async {
        shop.gate.reached(1).await;
        shop.gate.open(1);
    });
    spins.expect_err("it meets its limit");
    let expected = json!({ "limit": "runtime.limits.ticks", "value": 20_000,
        "handler": "services[\"shop.wait_and_spin\"]" });
    assert_eq!(shop.only(Kind::LimitExceeded).await, of_call(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_a_code_beside_it_are_told() {
    let shop = Shop::with("workers: 1, limits: { queue: 1, ticks: 20000 }", "").await;
    let shop = Arc::new(shop);
    let begin = || {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move { shop.call("shop.wait", Value::Null).await })
    };
    let runs = begin();
    shop.gate.reached(1).await;
    let waits = begin();
    until(|| shop.instance.pool.waiting() == 1).await;
    shop.call("shop.quick", Value::Null).await.expect_err("the queue is full");
    shop.gate.open(2);
    for call in [runs, waits] {
        call.await.expect("no panic").expect("an answer");
    }
    let code = "while true do end".to_owned();
    let inside = Pass::enter(Arc::clone(&shop.instance)).expect("it serves");
    let ran = Instance::evaluate(inside, replug_scripts::Language::Lua, code, empty()).await;
    ran.0.expect_err("it meets its limit");
    let told = shop.told(Kind::LimitExceeded).await;
    let queue = json!({ "limit": "runtime.limits.queue", "value": 1, "handler": "services[\"shop.quick\"]" });
    assert_eq!(told[0], of_call(queue));
    assert_eq!((&told[1]["limit"], &told[1]["handler"]), (&json!("runtime.limits.ticks"), &json!("eval")));
}

fn empty() -> replug_scripts::Sources {
    replug_scripts::Sources { entry: "main.lua".into(), files: std::collections::BTreeMap::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actor_and_a_timer_too_many_meet_is_told() {
    let shop = Shop::limited("ticks: 1000000000").await;
    // the first message is in hand, two wait
    shop.call("shop.send", Value::Null).await.expect_err("the mailbox is full");
    shop.call("shop.timers", Value::Null).await.expect_err("they are too many");
    let told = shop.told(Kind::LimitExceeded).await;
    let mailbox = json!({ "limit": "runtime.actors.mailbox", "value": 2, "call": "actors.send" });
    let timers = json!({ "limit": "timers", "value": 1000, "call": "timers.after" });
    assert_eq!(told, [of_call(mailbox), of_call(timers)]);
    shop.gate.open(5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_events_is_told_where_it_ends() {
    let shop = Shop::limited("ticks: 1000000000").await;
    shop.call("shop.circle", Value::Null).await.expect("it publishes");
    let failed = || shop.world.rig.metrics.delivery(&shop.instance.key, "event", "failed").get();
    until(|| failed() == 1).await;
    let told = shop.told(Kind::LimitExceeded).await;
    assert_eq!(told, [of_call(json!({ "limit": "events", "value": 8, "call": "events.publish", "caller": "shop" }))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_fails_and_a_heap_that_grows_are_told() {
    let shop = Shop::with("workers: 1", "resources: { memory: { memoryLeakDetection: true } }").await;
    shop.call("shop.fail", Value::Null).await.expect_err("it is told to");
    for _ in 0..600 {
        shop.call("shop.leak", Value::Null).await.expect("an answer");
    }
    until(|| shop.instance.account().counts.calls() >= 600).await;
    let leaks = shop.told(Kind::LeakSuspected).await;
    let number = |key: &str| leaks[0][key].as_u64().expect("a number");
    assert!(number("to") - number("from") >= 1000 * number("calls"), "{leaks:?}");
    let failed = shop.only(Kind::ActorFailed).await;
    assert_eq!((&failed["actor"], &failed["next"]), (&json!("slow"), &json!("restarted")));
    assert!(failed["reason"].as_str().expect("a reason").contains("told to"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_quota_is_told_whichever_way_it_is_met_and_amounts_make_no_new_reason() {
    let grants = "system: { filesystem: [{ path: ., access: write }] }, resources: { storage: { max: 1KiB } }";
    let shop = Shop::with("workers: 1", grants).await;
    for service in ["shop.put", "shop.put", "shop.cas", "shop.write"] {
        shop.call(service, Value::Null).await.expect_err("it is too much");
    }
    let told = shop.told(Kind::QuotaExceeded).await;
    let of = |call: &str| of_call(json!({ "quota": "resources.storage.max", "value": 1024, "call": call }));
    assert_eq!(told, ["kv.put", "kv.cas", "fs.write"].map(of));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_bandwidth_are_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = server.local_addr().expect("an address").port();
    let grants = format!(
        "system: {{ network: [{{ host: 127.0.0.1, ports: [{port}] }}] }}, \
         resources: {{ network: {{ connectionLimit: 1, maxBandwidth: 1KiB }} }}"
    );
    let shop = Arc::new(Shop::with("workers: 2", &grants).await);
    let url = format!("http://127.0.0.1:{port}/");
    let first = {
        let (shop, url) = (Arc::clone(&shop), url.clone());
        tokio::spawn(async move { shop.call("shop.get", url).await })
    };
    let (mut stream, _) = server.accept().await.expect("it connects");
    shop.call("shop.get", url).await.expect_err("its connection is in use");
    // more than the rate lets through until the request's end
    let _ = stream.read(&mut [0; 1024]).await;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n{}", "x".repeat(65_536));
    let _ = stream.write_all(answer.as_bytes()).await;
    first.await.expect("no panic").expect_err("it takes too long");
    let told = shop.told(Kind::QuotaExceeded).await;
    let of = |quota: &str, value: u64| {
        of_call(json!({ "quota": format!("resources.network.{quota}"), "value": value, "call": "http.get" }))
    };
    assert_eq!(told, [of("connectionLimit", 1), of("maxBandwidth", 1024)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_the_processor_and_a_heap_that_are_used_up_are_told() {
    let limits = "limits: { ticks: 1000000000, cpuTime: 10s, wallTime: 20s, memory: 4MiB }";
    let cpu = "resources: { cpu: { maxCpuUsage: 0.0002, cpuQuotaPeriod: 60s, cpuThrottlingEnabled: false } }";
    let shop = Shop::with(&format!("workers: 1, {limits}"), cpu).await;
    for _ in 0..1_000 {
        // a thread is charged after it has answered
        let _ = shop.call("shop.work", Value::Null).await;
        let quota = &shop.instance.manifest.permissions.resources.cpu;
        if shop.instance.account().cpu.wait(quota, std::time::Instant::now()) > Duration::from_secs(1) {
            break;
        }
    }
    shop.call("shop.quick", Value::Null).await.expect_err("it is refused");
    let told = shop.told(Kind::QuotaExceeded).await;
    let quick = json!({ "quota": "resources.cpu.maxCpuUsage", "value": 0.0002, "handler": "services[\"shop.quick\"]" });
    assert_eq!(told.last(), Some(&of_call(quick)));

    let heap = "resources: { memory: { maxHeapSize: 4MiB } }";
    let shop = Arc::new(Shop::with(&format!("workers: 2, {limits}"), heap).await);
    let waiting = {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move { shop.call("shop.wait", Value::Null).await })
    };
    shop.gate.reached(1).await;
    shop.call("shop.quick", Value::Null).await.expect_err("no room for a second VM");
    shop.gate.open(1);
    waiting.await.expect("no panic").expect("an answer");
    let quick =
        json!({ "quota": "resources.memory.maxHeapSize", "value": 4 << 20, "handler": "services[\"shop.quick\"]" });
    assert_eq!(shop.only(Kind::QuotaExceeded).await, of_call(quick));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_meets_is_told_under_its_own_name() {
    let (world, gate) = World::gated().await;
    let manifest =
        "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\nruntime: { workers: 1, limits: { ticks: 20000 } }";
    // the first VM comes up, and none after it
    let script = r#"
return {
  init = function() if kv.get("made") then while true do end end kv.put("made", true) end,
  services = { ["shop.quick"] = function() return 1 end },
}
"#;
    let instance = world.serve(manifest, script).await;
    let shop = Shop { world, gate, instance };
    let call = shop.instance.context("probe", Duration::from_secs(20));
    let failed = shop.instance.call(Handler::Service("shop.quick".into()), vec![Value::Null], call).await;
    failed.expect_err("no VM comes up");
    let told = shop.told(Kind::LimitExceeded).await;
    let expected = json!({ "limit": "runtime.limits.ticks", "handler": "init", "requestId": "init" });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&told[0][key], value, "{told:?}");
    }
}
