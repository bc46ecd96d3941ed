//! Scripts that wait for their host while their VM runs others, on real threads.

use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{ScriptError, Value, Verdict};
use tokio::task::JoinHandle;

use super::World;
use super::gatekeeper::{Gatekeeper, until};
use crate::actors::router::{CallError, Instance};

const SCRIPT: &str = r#"
local vm, calls = crypto.uuid(), 0
return { services = {
  ["shop.wait"] = function(args) services.call("gate.pass", args) calls += 1 return { vm = vm, args = args, calls = calls } end,
  ["shop.quick"] = function() calls += 1 return { vm = vm, calls = calls } end,
  ["shop.spin"] = function() while true do end end,
  ["shop.fill"] = function() local t = {} while true do t[#t + 1] = { {}, {} } end end,
} }
"#;

struct Shop {
    world: Arc<World>,
    gate: Arc<Gatekeeper>,
    instance: Arc<Instance>,
}

impl Shop {
    async fn with(concurrency: usize, wall_time: &str) -> Self {
        let (world, gate) = World::gated().await;
        let manifest = format!(
            "id: shop\nversion: 1.0.0\ncapabilities: [{{ id: shop }}]\nruntime: {{ workers: 1, concurrency: {concurrency}, \
             limits: {{ cpuTime: 100ms, wallTime: {wall_time}, memory: 4MiB }} }}"
        );
        let instance = world.serve(&manifest, SCRIPT).await;
        Self { world: Arc::new(world), gate, instance }
    }

    async fn several() -> Self {
        Self::with(4, "20s").await
    }

    fn begin(&self, service: &'static str, args: Value) -> JoinHandle<Result<Value, CallError>> {
        let world = Arc::clone(&self.world);
        tokio::spawn(async move { world.call("shop", service, args).await })
    }

    async fn call(&self, service: &'static str) -> Result<Value, CallError> {
        self.world.call("shop", service, Value::Null).await
    }
}

async fn end(call: JoinHandle<Result<Value, CallError>>) -> Result<Value, CallError> {
    tokio::time::timeout(Duration::from_secs(20), call).await.expect("it ends").expect("without a panic")
}

fn vm(answer: &Value) -> &str {
    answer.get("vm").and_then(Value::as_str).expect("the VM's name")
}

fn calls(answer: &Value) -> i64 {
    answer.get("calls").and_then(Value::as_i64).expect("a number of calls")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_serves_others_while_a_call_waits() {
    let shop = Shop::several().await;
    let waiting = shop.begin("shop.wait", Value::Int(7));
    shop.gate.reached(1).await;
    for number in 1..=50 {
        assert_eq!(calls(&shop.call("shop.quick").await.expect("an answer")), number);
    }
    shop.gate.open(1);
    let answer = end(waiting).await.expect("an answer");
    assert_eq!((answer.get("args"), calls(&answer)), (Some(&Value::Int(7)), 51));
    until(|| shop.instance.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_concurrency_calls_of_a_vm_follow_each_other() {
    let shop = Shop::with(1, "20s").await;
    let waiting = shop.begin("shop.wait", Value::Null);
    shop.gate.reached(1).await;
    let next = shop.begin("shop.quick", Value::Null);
    until(|| shop.instance.pool.waiting() == 1).await;
    shop.gate.open(1);
    assert_eq!(calls(&end(waiting).await.expect("an answer")), 1);
    assert_eq!(calls(&end(next).await.expect("an answer")), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_holds_no_more_calls_than_it_may_and_the_rest_queue() {
    let shop = Shop::with(2, "20s").await;
    let held = [shop.begin("shop.wait", Value::Int(1)), shop.begin("shop.wait", Value::Int(2))];
    shop.gate.reached(2).await;
    let next = shop.begin("shop.quick", Value::Null);
    until(|| shop.instance.pool.waiting() == 1).await;
    shop.gate.open(1);
    assert_eq!(calls(&end(next).await.expect("an answer")), 2);
    shop.gate.open(1);
    for call in held {
        end(call).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_are_all_answered() {
    let shop = Shop::with(16, "20s").await;
    let all: Vec<_> = (0..200).map(|number| shop.begin("shop.wait", Value::Int(number))).collect();
    shop.gate.open(200);
    for (number, call) in (0..).zip(all) {
        assert_eq!(end(call).await.expect("an answer").get("args"), Some(&Value::Int(number)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_verdict_a_fresh_vm_serves_and_what_waited_ends_in_the_old_one() {
    let shop = Shop::several().await;
    let old = shop.call("shop.quick").await.expect("an answer");
    let waiting = shop.begin("shop.wait", Value::Null);
    shop.gate.reached(1).await;
    let verdict = shop.call("shop.spin").await.expect_err("a verdict");
    assert!(matches!(verdict, CallError::Script(ScriptError::Limit(Verdict::CpuTime(_)))), "{verdict:?}");
    let fresh = shop.call("shop.quick").await.expect("an answer");
    assert_ne!(vm(&fresh), vm(&old));
    // a second VM on its way out would be one too many: who comes now waits until the first is gone
    shop.call("shop.spin").await.expect_err("a verdict");
    let next = shop.begin("shop.quick", Value::Null);
    shop.gate.open(1);
    assert_eq!(vm(&end(waiting).await.expect("an answer")), vm(&old));
    end(next).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_runs_out_takes_the_calls_of_that_vm_along() {
    let shop = Shop::several().await;
    let waiting = shop.begin("shop.wait", Value::Null);
    shop.gate.reached(1).await;
    let verdict = shop.call("shop.fill").await.expect_err("a verdict");
    assert!(matches!(verdict, CallError::Script(ScriptError::Limit(Verdict::Memory(_)))), "{verdict:?}");
    let displaced = end(waiting).await.expect_err("it is over");
    assert!(matches!(displaced, CallError::Displaced(_)), "{displaced:?}");
    shop.call("shop.quick").await.expect("a fresh VM serves");
    until(|| shop.instance.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_its_place_to_others() {
    let shop = Shop::with(2, "20s").await;
    let gone = [shop.begin("shop.wait", Value::Null), shop.begin("shop.wait", Value::Null)];
    shop.gate.reached(2).await;
    for call in gone {
        call.abort();
        // an abort takes its time; the gate must not open before it
        assert!(call.await.is_err_and(|error| error.is_cancelled()));
    }
    shop.gate.open(2);
    assert_eq!(calls(&shop.call("shop.quick").await.expect("an answer")), 1, "neither went on");
    until(|| shop.instance.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_with_the_time_of_its_call() {
    let shop = Shop::with(4, "300ms").await;
    let verdict = shop.call("shop.wait").await.expect_err("a verdict or a timeout");
    let late = match &verdict {
        CallError::Script(ScriptError::Limit(Verdict::WallTime(_))) => true,
        CallError::Script(ScriptError::Host { error, .. }) => error.kind == replug_scripts::HostErrorKind::Timeout,
        _ => false,
    };
    assert!(late, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_drains_what_waits() {
    let shop = Shop::several().await;
    let waiting = shop.begin("shop.wait", Value::Int(1));
    shop.gate.reached(1).await;
    shop.instance.close();
    shop.gate.open(1);
    assert_eq!(end(waiting).await.expect("an answer").get("args"), Some(&Value::Int(1)));
    shop.instance.drained().await;
}
