//! What clients fill and `init` of a VM needs.

use super::*;

/// Each VM says that it begins to an actor that is busy.
const HELLO: &str = r#"
return {
  init = function() actors.send("hall", "hello") end,
  services = {
    ["shop.spin"] = function() while true do end end,
    ["shop.quick"] = function() return 1 end,
  },
  actors = { hall = { handle = function() services.call("gate.pass", 1) end } },
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_finds_a_mailbox_full_costs_the_call_and_no_worker() {
    for concurrency in [1, 2] {
        let (world, gate) = World::gated().await;
        let manifest = format!(
            "id: shop\nversion: 1.0.0\ncapabilities: [{{ id: shop }}]\nruntime: {{ workers: 1, concurrency: {concurrency}, \
             limits: {{ cpuTime: 50ms, wallTime: 20s }}, supervision: {{ intensity: 2, period: 1h }}, \
             actors: [{{ id: hall, mailbox: 2 }}] }}\n"
        );
        let mut events = world.events.subscribe();
        let instance = world.serve(&manifest, HELLO).await;
        let mut refused = 0;
        // more than the workers' intensity
        while refused < 5 {
            match world.call("shop", "shop.spin", Value::Null).await.expect_err("it met its limit, or never began") {
                CallError::Script(ScriptError::Limit(_)) => {}
                CallError::Unready { source, .. } => {
                    let ScriptError::Host { error, .. } = *source else { panic!("{source}") };
                    assert_eq!(error.kind, HostErrorKind::Overloaded, "{error}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(instance.metrics.restarts.get(), 0, "{concurrency}");
        while let Ok(event) = events.try_recv() {
            assert!(!matches!(*event, Event::CriticalError { .. } | Event::WorkerFailed { .. }), "{event:?}");
        }
        gate.open(1000);
        let serves = async { while world.call("shop", "shop.quick", Value::Null).await.is_err() {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), serves).await.expect("it serves on");
    }
}
