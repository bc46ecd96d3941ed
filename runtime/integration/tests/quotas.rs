//! The quotas of `permissions.resources` on processor and memory, each exceeded by a real script in each language.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{Handler, Language, ScriptError, Value, Verdict};

use super::World;
use super::gatekeeper::{Gatekeeper, until};
use crate::actors::router::{CallError, Instance};
use crate::monitor::Event;

/// The languages that this build has.
const LANGUAGES: &[Language] = &[
    Language::Lua,
    #[cfg(feature = "rhai")]
    Language::Rhai,
];

const LUA: &str = r#"
local kept, n = {}, 0
return {
  health = function() return { status = "healthy" } end,
  services = {
    ["shop.work"] = function() local x = 0 for i = 1, 3000000 do x += i % 7 end return x end,
    ["shop.quick"] = function() return 1 end,
    ["shop.wait"] = function() return services.call("gate.pass", 1) end,
    ["shop.fill"] = function() local t = {} while true do t[#t + 1] = { {}, {} } end end,
    ["shop.waste"] = function() for i = 1, 200 do local t = table.create(200, i) end return 1 end,
    ["shop.leak"] = function() n += 1 kept[n] = ("x"):rep(1000) .. n return n end,
  },
}
"#;

#[cfg(feature = "rhai")]
const RHAI: &str = r#"
let kept = [];
#{
  health: || #{ status: "healthy" },
  services: #{
    "shop.work": || { let x = 0; for i in 0..200000 { x += i % 7; } x },
    "shop.quick": || 1,
    "shop.wait": || services.call("gate.pass", 1),
    "shop.leak": || { let text = kept.len().to_string(); text.pad(1000, "x"); kept.push(text); kept.len() },
  },
}
"#;

struct Shop {
    world: World,
    gate: Arc<Gatekeeper>,
    instance: Arc<Instance>,
}

impl Shop {
    async fn with(language: Language, memory: &str, resources: &str) -> Self {
        Self::of(language, 2, memory, resources).await
    }

    /// A module with this limit on each VM and these quotas.
    async fn of(language: Language, workers: usize, memory: &str, resources: &str) -> Self {
        Self::scripted(language, "", workers, memory, resources).await
    }

    /// The same with this before its script.
    async fn scripted(language: Language, top: &str, workers: usize, memory: &str, resources: &str) -> Self {
        let (world, gate) = World::gated().await;
        let manifest = format!(
            "id: shop\nversion: 1.0.0\ncapabilities: [{{ id: shop }}]\n\
             runtime: {{ workers: {workers}, limits: {{ ticks: 1000000000, cpuTime: 10s, wallTime: 20s, memory: {memory} }} }}\n\
             permissions: {{ resources: {{ {resources} }} }}"
        );
        let instance = match language {
            #[cfg(feature = "rhai")]
            Language::Rhai => world.serve_rhai(&manifest, &format!("{top}{RHAI}")).await,
            _ => world.serve(&manifest, &format!("{top}{LUA}")).await,
        };
        Self { world, gate, instance }
    }

    async fn call(&self, service: &str) -> Result<Value, CallError> {
        self.world.call("shop", service, Value::Null).await
    }

    /// Works until the module is over its share by `least` at least, and says by how much.
    async fn over_its_share(&self, least: Duration) -> Duration {
        for _ in 0..1_000 {
            // a thread is charged after it has answered, so one may be refused before this sees why
            let worked = self.call("shop.work").await;
            assert!(matches!(worked, Ok(_) | Err(CallError::Throttled { .. })), "{worked:?}");
            let wait = self.wait();
            if wait > least {
                return wait;
            }
        }
        panic!("it never is");
    }

    fn wait(&self) -> Duration {
        self.instance.account().cpu.wait(&self.instance.manifest.permissions.resources.cpu, Instant::now())
    }
}

/// A call of the shop beside what the test does meanwhile.
fn calling(world: &Arc<World>, service: &'static str) -> tokio::task::JoinHandle<Result<Value, CallError>> {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.call("shop", service, Value::Null).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_over_its_share_of_the_processor_waits() {
    for &language in LANGUAGES {
        let shop = Shop::with(language, "4MiB", "cpu: { maxCpuUsage: 0.2, cpuQuotaPeriod: 1ms }").await;
        let (begun, wait) = (Instant::now(), shop.over_its_share(Duration::ZERO).await);
        shop.call("shop.quick").await.expect("it waits, and is answered");
        assert!(begun.elapsed() >= wait, "{:?} of {wait:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_throttling_is_off_a_module_over_its_share_is_refused() {
    for &language in LANGUAGES {
        let shop = Shop::with(
            language,
            "4MiB",
            "cpu: { maxCpuUsage: 0.0002, cpuQuotaPeriod: 60s, cpuThrottlingEnabled: false }",
        )
        .await;
        shop.over_its_share(Duration::from_secs(1)).await;
        let refused = shop.instance.metrics.refused.get();
        let error = shop.call("shop.quick").await.expect_err("it is refused");
        assert!(matches!(error, CallError::Throttled { wait, .. } if !wait.is_zero()), "{error:?}");
        let key = "`permissions.resources.cpu.maxCpuUsage` in module.manifest.yaml asks for more";
        assert!(error.to_string().contains(key), "{error}");
        assert_eq!(shop.instance.metrics.refused.get(), refused + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_could_not_wait_long_enough_is_refused_at_once() {
    for &language in LANGUAGES {
        let shop = Shop::with(language, "4MiB", "cpu: { maxCpuUsage: 0.0002, cpuQuotaPeriod: 60s }").await;
        shop.over_its_share(Duration::from_secs(30)).await;
        let error = shop.call("shop.quick").await.expect_err("it is refused");
        assert!(matches!(error, CallError::Throttled { .. }), "{error:?}");
        // the runtime's own questions are answered
        let context = shop.instance.context("test", Duration::from_secs(20));
        let health = shop.instance.call(Handler::Health, Vec::new(), context).await.expect("it says how it is");
        assert_eq!(health.get("status"), Some(&Value::from("healthy")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vms_of_a_module_stay_within_its_heap_together() {
    for &language in LANGUAGES {
        let shop = Shop::with(language, "4MiB", "memory: { maxHeapSize: 4MiB }").await;
        let world = Arc::new(shop.world);
        let waiting = calling(&world, "shop.wait");
        shop.gate.reached(1).await;
        let (quick, soon) =
            (Handler::Service("shop.quick".into()), shop.instance.context("test", Duration::from_millis(200)));
        let refused = shop.instance.call(quick, vec![Value::Null], soon).await;
        let error = refused.expect_err("no room for a second VM in half of its time");
        assert!(matches!(error, CallError::HeapFull { .. }), "{error:?}");
        let key = "`permissions.resources.memory.maxHeapSize` in module.manifest.yaml asks for more";
        for part in ["of the 4194304 bytes of its quota", key] {
            assert!(error.to_string().contains(part), "{error}");
        }
        let patient = calling(&world, "shop.quick");
        until(|| shop.instance.account().heap.is_waited_for()).await;
        shop.gate.open(1);
        waiting.await.expect("no panic").expect("an answer");
        patient.await.expect("no panic").expect("room that comes in time is waited for");
        // the VM that rests keeps only what it holds
        until(|| shop.instance.account().heap.reserved() < 2 << 20).await;
        for _ in 0..10 {
            world.call("shop", "shop.quick", Value::Null).await.expect("an answer");
        }
    }
}

/// In Lua alone: without an allocator that counts, Rhai bounds single values exactly and the heap roughly. The integration tests
/// have one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_to_which_the_others_leave_little_meets_a_smaller_limit() {
    let shop = Shop::with(Language::Lua, "4MiB", "memory: { maxHeapSize: 6MiB }").await;
    let world = Arc::new(shop.world);
    let waiting = calling(&world, "shop.wait");
    shop.gate.reached(1).await;
    let error = world.call("shop", "shop.fill", Value::Null).await.expect_err("it meets its limit");
    let key = "`permissions.resources.memory.maxHeapSize` in module.manifest.yaml asks for more";
    assert!(error.to_string().ends_with(key), "{error}");
    let CallError::Cramped { room, .. } = error else { panic!("{error:?}") };
    // four for the one that waits, less the floor that it leaves
    assert_eq!(room, (6 << 20) - (4 << 20));
    shop.gate.open(1);
    waiting.await.expect("no panic").expect("an answer");
    until(|| shop.instance.account().heap.reserved() < 1 << 20).await;
    let error = world.call("shop", "shop.fill", Value::Null).await.expect_err("it meets its limit");
    // that is more than an equal share
    let CallError::Script(ScriptError::Limit(Verdict::Memory(bytes))) = error else { panic!("{error:?}") };
    assert!(bytes > 3 << 20, "{bytes}");
}

/// In Lua alone, as the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_the_others_leave_too_little_to_begin_in_waits_for_more_and_costs_no_worker() {
    let top = r#"local kept = ("x"):rep(10000000) "#;
    let shop = Shop::scripted(Language::Lua, top, 2, "32MiB", "memory: { maxHeapSize: 34MiB }").await;
    let mut events = shop.world.events.subscribe();
    let world = Arc::new(shop.world);
    let waiting = calling(&world, "shop.wait");
    shop.gate.reached(1).await;
    let (quick, soon) =
        (Handler::Service("shop.quick".into()), shop.instance.context("test", Duration::from_millis(200)));
    let error = shop.instance.call(quick, vec![Value::Null], soon).await.expect_err("no room in half of its time");
    assert!(matches!(error, CallError::HeapFull { .. }), "{error:?}");
    let patient = calling(&world, "shop.quick");
    until(|| shop.instance.account().heap.is_waited_for()).await;
    shop.gate.open(1);
    waiting.await.expect("no panic").expect("an answer");
    patient.await.expect("no panic").expect("room that comes in time is waited for");
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(*event, Event::WorkerFailed { .. }), "{event:?}");
    }
}

/// In Lua alone, as the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_begins_in_what_the_quota_has_though_that_is_never_all_of_its_memory() {
    // an eighth is for what waits, and the other worker would be left a part
    let top = r#"local kept = ("x"):rep(90000000) "#;
    let shop = Shop::scripted(Language::Lua, top, 2, "100MiB", "").await;
    shop.call("shop.quick").await.expect("an answer");
    // one that fills whatever it gets is at fault itself
    let manifest = "id: glutton\nversion: 1.0.0\nruntime: { workers: 2, limits: { memory: 100MiB, ticks: 1000000000, cpuTime: 10s } }";
    let instance = shop.world.instance(manifest, "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end");
    let error = instance.first_vm().await.expect_err("it ends");
    let told = format!("{error:?}");
    assert!(told.contains("Limit(Memory("), "{told}");
}

/// In Lua alone: Rhai has no garbage, it frees what nothing reaches at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_beyond_the_threshold_is_collected_between_calls() {
    // the most that was held after one of twenty calls, beside what a VM holds without garbage
    let held = async |quota: &str| {
        let shop = Shop::of(Language::Lua, 1, "32MiB", &format!("memory: {{ {quota} }}")).await;
        let used = || &shop.instance.account().counts;
        shop.call("shop.quick").await.expect("an answer");
        until(|| used().calls() == 1).await;
        let (idle, mut most) = (used().memory(), 0);
        for calls in 2..22 {
            shop.call("shop.waste").await.expect("an answer");
            until(|| used().calls() == calls).await;
            most = most.max(used().memory());
        }
        (most, idle)
    };
    let (most, idle) = held("maxHeapSize: 100MiB").await;
    assert!(most > idle + idle / 4, "{most} beside {idle}");
    let (most, idle) = held("garbageCollectionThreshold: 64KiB").await;
    assert!(most <= idle + idle / 8 + 4096, "{most} beside {idle}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heap_that_grows_from_call_to_call_is_reported_with_its_numbers() {
    for &language in LANGUAGES {
        let shop = Shop::of(language, 1, "32MiB", "memory: { memoryLeakDetection: true }").await;
        let mut events = shop.world.events.subscribe();
        for _ in 0..600 {
            shop.call("shop.leak").await.expect("an answer");
        }
        let leak = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Event::LeakSuspected { from, to, calls, .. } = &*events.recv().await.expect("an event") {
                    return (*from, *to, *calls);
                }
            }
        });
        let (from, to, calls) = leak.await.expect("it is reported");
        assert!((to - from) / calls >= 1000, "{from} to {to} over {calls} calls");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_to_be_watched_is_not_reported() {
    let cases = [
        ("shop.leak", "memory: { memoryLeakDetection: false }"),
        ("shop.quick", "memory: { memoryLeakDetection: true }"),
    ];
    for (&language, (service, resources)) in LANGUAGES.iter().flat_map(|one| cases.map(|case| (one, case))) {
        let shop = Shop::of(language, 1, "32MiB", resources).await;
        let mut events = shop.world.events.subscribe();
        for _ in 0..700 {
            shop.call(service).await.expect("an answer");
        }
        until(|| shop.instance.account().counts.calls() >= 700).await;
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(*event, Event::LeakSuspected { .. }), "{event:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_host_functions_use_on_other_threads_is_charged_to_the_module() {
    let lua = r#"return { services = { ["shop.hash"] = function() crypto.password_hash("x") return true end } }"#;
    #[cfg(feature = "rhai")]
    let rhai = r#"#{ services: #{ "shop.hash": || { crypto.password_hash("x"); true } } }"#;
    let cases = [
        (Language::Lua, 1),
        (Language::Lua, 4),
        #[cfg(feature = "rhai")]
        (Language::Rhai, 1),
    ];
    for (language, concurrency) in cases {
        let world = World::new().await;
        let manifest = format!(
            "id: shop\nversion: 1.0.0\ncapabilities: [{{ id: shop }}]\nruntime: {{ workers: 1, concurrency: {concurrency} }}\n\
             permissions: {{ resources: {{ cpu: {{ maxCpuUsage: 0.01, cpuQuotaPeriod: 60s }} }} }}"
        );
        let instance = match language {
            #[cfg(feature = "rhai")]
            Language::Rhai => world.serve_rhai(&manifest, rhai).await,
            _ => world.serve(&manifest, lua).await,
        };
        let before = instance.account().counts.cpu_time();
        let context = instance.context("test", Duration::from_secs(20));
        let hash = Handler::Service("shop.hash".into());
        instance.call(hash, vec![Value::Null], context).await.expect("the first one is free");
        let used = instance.account().counts.cpu_time() - before;
        // 19 MiB are filled twice
        assert!(used > Duration::from_millis(5), "{language:?}: {used:?}");
    }
}
