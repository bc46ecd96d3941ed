//! Scripts that run when their module is stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{Handler, ScriptError, Value, Verdict};

use super::World;
use super::gatekeeper::{Gatekeeper, until};
use crate::actors::router::{CallError, Instance};

#[cfg(feature = "sqlite")]
mod statements;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\nruntime: { workers: 2, limits: { \
                        ticks: 1000000000000, cpuTime: 600s, wallTime: 600s } }\n";

async fn ends(world: &World, instance: Arc<Instance>) {
    let before = instance.account().counts.cpu_time();
    let call = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move {
            let context = instance.context("test", Duration::from_secs(600));
            instance.call(Handler::Service("shop.spin".into()), vec![Value::Null], context).await
        })
    };
    // what it uses is charged while it runs
    until(|| instance.account().counts.cpu_time() > before + Duration::from_millis(20)).await;
    let begun = Instant::now();
    world.rig.stop(&instance).await;
    let ended = call.await.expect("no panic");
    assert!(matches!(ended, Err(CallError::Script(ScriptError::Limit(Verdict::Stopped)))), "{ended:?}");
    until(|| instance.account().counts.memory() == 0).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "minutes before its own limits");
    assert_eq!(instance.metrics.verdicts.get(), 0, "it met no limit of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lua_script_that_loops_for_ever_ends_with_its_module() {
    let world = World::new().await;
    for body in ["while true do end", "while true do pcall(function() while true do end end) end"] {
        let script = format!("return {{ services = {{ [\"shop.spin\"] = function() {body} end }} }}");
        ends(&world, world.serve(MANIFEST, &script).await).await;
        ends(&world, world.serve(&MANIFEST.replace("workers: 2", "workers: 2, concurrency: 4"), &script).await).await;
    }
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rhai_script_that_loops_for_ever_ends_with_its_module() {
    let world = World::new().await;
    for body in ["loop {}", "loop { try { loop {} } catch {} }"] {
        let script = format!("fn spin(args) {{ {body} }}\n#{{ services: #{{ \"shop.spin\": Fn(\"spin\") }} }}");
        ends(&world, world.serve_rhai(MANIFEST, &script).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_is_cut_off_with_its_version_keeps_the_state_that_it_had() {
    let script = r#"return {
      services = { ["shop.call"] = function(message) return actors.call("sum", message) end },
      actors = { sum = { init = function() return 0 end, handle = function(state, message)
        if message == 0 then while true do end end
        return { state = state + message, reply = state + message }
      end } },
    }"#;
    let manifest =
        |version: &str| MANIFEST.replace("1.0.0", version).replace("workers: 2,", "workers: 2, actors: [{ id: sum }],");
    let world = Arc::new(World::new().await);
    let old = world.serve(&manifest("1.0.0"), script).await;
    assert_eq!(world.call("shop", "shop.call", Value::Int(3)).await.expect("a reply"), Value::Int(3));
    let before = old.account().counts.cpu_time();
    let cut_off = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.call("shop", "shop.call", Value::Int(0)).await })
    };
    until(|| old.account().counts.cpu_time() > before + Duration::from_millis(20)).await;
    world.serve(&manifest("1.1.0"), script).await;
    world.rig.stop(&old).await;
    assert!(cut_off.await.expect("no panic").is_err());
    assert_eq!(world.call("shop", "shop.call", Value::Int(4)).await.expect("a reply"), Value::Int(7));
}

/// Has a call of `shop.wait` wait at the gate and stops its module; how the call ended.
async fn cut_at_the_gate(world: &World, gate: &Gatekeeper, instance: &Arc<Instance>) -> Result<Value, CallError> {
    let call = {
        let instance = Arc::clone(instance);
        tokio::spawn(async move {
            let context = instance.context("test", Duration::from_secs(600));
            instance.call(Handler::Service("shop.wait".into()), vec![Value::Null], context).await
        })
    };
    gate.reached(1).await;
    world.rig.stop(instance).await;
    call.await.expect("no panic")
}

fn is_stopped(ended: &Result<Value, CallError>) -> bool {
    matches!(ended, Err(CallError::Script(ScriptError::Limit(Verdict::Stopped))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_waits_for_its_host_is_stopped_with_its_module_and_has_not_failed() {
    let (world, gate) = World::gated().await;
    for body in ["services.call('gate.pass', 1)", "pcall(services.call, 'gate.pass', 1) kv.put('caught', true)"] {
        let script = format!("return {{ services = {{ [\"shop.wait\"] = function() {body} end }} }}");
        for manifest in [MANIFEST.to_owned(), MANIFEST.replace("workers: 2", "workers: 2, concurrency: 4")] {
            let instance = world.serve(&manifest, &script).await;
            let ended = cut_at_the_gate(&world, &gate, &instance).await;
            assert!(is_stopped(&ended), "{body}: {ended:?}");
            assert_eq!(instance.metrics.verdicts.get(), 0, "it met no limit of its own");
        }
    }
    let looks = "return { services = { ['shop.has'] = function() return kv.get('caught') end } }";
    world.serve(MANIFEST, looks).await;
    assert_eq!(world.call("shop", "shop.has", Value::Null).await.expect("it serves"), Value::Null, "none went on");
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rhai_script_that_waits_for_its_host_is_stopped_with_its_module() {
    let (world, gate) = World::gated().await;
    for body in ["services.call(\"gate.pass\", 1)", "try { services.call(\"gate.pass\", 1) } catch {}"] {
        let script = format!("fn wait(args) {{ {body} }}\n#{{ services: #{{ \"shop.wait\": Fn(\"wait\") }} }}");
        let instance = world.serve_rhai(MANIFEST, &script).await;
        let ended = cut_at_the_gate(&world, &gate, &instance).await;
        assert!(is_stopped(&ended), "{body}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_waits_for_its_host_while_its_version_is_stopped_keeps_its_state() {
    let script = r#"return {
      services = { ["shop.call"] = function(message) return actors.call("sum", message) end },
      actors = { sum = { init = function() return 0 end, handle = function(state, message)
        if message == 0 then services.call("gate.pass", 1) end
        return { state = state + message, reply = state + message }
      end } },
    }"#;
    let manifest =
        |version: &str| MANIFEST.replace("1.0.0", version).replace("workers: 2,", "workers: 2, actors: [{ id: sum }],");
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    let old = world.serve(&manifest("1.0.0"), script).await;
    assert_eq!(world.call("shop", "shop.call", Value::Int(3)).await.expect("a reply"), Value::Int(3));
    let cut_off = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.call("shop", "shop.call", Value::Int(0)).await })
    };
    gate.reached(1).await;
    world.serve(&manifest("1.1.0"), script).await;
    world.rig.stop(&old).await;
    assert!(cut_off.await.expect("no panic").is_err());
    assert_eq!(world.call("shop", "shop.call", Value::Int(4)).await.expect("a reply"), Value::Int(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_version_did_not_begin_is_answered_as_by_one_that_is_closed() {
    let (world, gate) = World::gated().await;
    // the first VM comes up at once, and the workers' do not
    let script = r#"
local first = kv.get("first") == nil
kv.put("first", true)
return {
  init = function() if not first then services.call("gate.pass", 1) end end,
  services = { ["shop.wait"] = function() end },
}"#;
    let instance = world.serve(MANIFEST, script).await;
    let ended = cut_at_the_gate(&world, &gate, &instance).await;
    assert!(matches!(ended, Err(CallError::Closed(_))), "{ended:?}");
}
