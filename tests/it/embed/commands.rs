//! What the application around a runtime does with it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use replug::store::audit::Row;
use replug::{ActivationStrategy, Error, Event, Methods, Outcome, Runtime, Value};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::{Embedded, relay, relayed};
use crate::support::Module;

fn pricing(version: &str, factor: i64) -> Module {
    let script = format!(
        r#"return {{ services = {{
            ["pricing.quote"] = function(order)
                if order.count == 0 then return {{ total = "nothing" }} end
                return {{ total = order.count * {factor}, lines = {{}} }}
            end,
            ["pricing.fail"] = function() error({{ kind = "conflict", message = "sold out" }}) end,
        }} }}"#
    );
    Module::new("pricing", version).manifest("capabilities: [{ id: pricing }]").lua(&script)
}

#[derive(Serialize)]
struct Order {
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Quote {
    total: i64,
    lines: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_typed_both_ways_and_says_what_does_not_fit() {
    let host = Embedded::new(|builder| builder).await;
    host.install(&pricing("1.0.0", 2)).await;
    let quote: Quote = host.runtime.call("pricing", "quote", Order { count: 3 }).await.unwrap();
    assert_eq!((quote.total, quote.lines.len()), (6, 0), "an empty table is an empty list");
    let misfit = host.runtime.call::<Quote>("pricing", "quote", Order { count: 0 }).await.unwrap_err().to_string();
    let expected = "Quote: total: invalid type: string \"nothing\", expected i64";
    assert!(misfit.starts_with("pricing.quote: the answer is no ") && misfit.ends_with(expected), "{misfit}");
    let large = host.runtime.call::<Quote>("pricing", "quote", Order { count: u64::MAX }).await.unwrap_err();
    assert!(matches!(&large, Error::Arguments { source, .. } if source.place() == "count"), "{large:?}");
    let failed = host.runtime.call::<()>("pricing", "fail", ()).await.unwrap_err();
    assert_eq!(failed.to_string(), "pricing.fail: sold out");
    let absent = host.runtime.call::<()>("delivery", "plan", ()).await.unwrap_err();
    assert_eq!(absent.to_string(), "delivery.plan: no module serves delivery");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_runs_the_life_of_a_module_and_the_audit_log_names_it() {
    let host = Embedded::new(|builder| builder).await;
    let runtime = &host.runtime;
    host.install(&pricing("1.0.0", 2)).await.register(&pricing("1.1.0", 3)).await;
    let report = runtime.activate("pricing@1.1.0").strategy(ActivationStrategy::Instant).await.unwrap();
    assert_eq!((report.outcome, report.serves()), (Outcome::Provisional, true));
    assert!(!runtime.confirm("pricing").await.unwrap().already);
    assert_eq!(runtime.rollback("pricing@1.0.0").await.unwrap().outcome, Outcome::Active);
    assert_eq!(runtime.list()[0].version, "1.0.0");
    assert_eq!(runtime.deactivate("pricing").await.unwrap().version, "1.0.0");
    let commands: Vec<String> = runtime.history("pricing", 9).await.unwrap().into_iter().map(|it| it.command).collect();
    assert_eq!(commands, ["deactivate", "rollback", "activate", "activate"]);
    assert_eq!(runtime.unregister("pricing@1.1.0").await.unwrap().len(), 1);
    assert_eq!(runtime.unregister("pricing").await.unwrap().len(), 1);
    let records = runtime.audit().read(1, 100).await.unwrap();
    let entries: Vec<_> = records.iter().filter_map(Row::entry).collect();
    let of = |who: &str| entries.iter().filter(|it| it.who.name() == who).map(|it| it.kind.name()).collect::<Vec<_>>();
    let acts = of("host");
    for act in ["registered", "activation-began", "confirmed", "deactivated", "unregistered"] {
        assert!(acts.contains(&act), "{act} is not among {acts:?}");
    }
    assert_eq!((of("admin"), of("runtime")), (vec![], vec!["runtime-started"]));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_rolled_back_does_not_look_like_one_that_serves() {
    let host = Embedded::new(|builder| builder).await;
    let broken = Module::new("broken", "1.0.0").lua(r#"return { init = function() error("no disk") end }"#);
    host.register(&broken).await;
    let report = host.runtime.activate("broken").await.unwrap();
    assert!(!report.serves());
    let error = Error::from(report.ensure_serves().unwrap_err()).to_string();
    assert!(error.starts_with("broken@1.0.0 does not serve (failed): ") && error.contains("no disk"), "{error}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_a_stream_that_ends_with_the_runtime() {
    let host = Embedded::new(|builder| builder).await;
    let following = tokio::spawn(host.runtime.events().collect::<Vec<_>>());
    host.install(&pricing("1.0.0", 2)).await;
    host.runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    let events = following.await.unwrap();
    let ended = events.iter().flatten().filter(|event| matches!(&***event, Event::ActivationEnded { .. })).count();
    assert_eq!((ended, events.iter().filter(|event| event.is_err()).count()), (1, 0));
    assert!(host.runtime.events().next().await.is_none(), "of a runtime that was shut down");
    assert!(host.runtime.activate("pricing").await.is_err());
    host.runtime.shutdown(Duration::ZERO).await.expect("twice is no fault");
}

/// A runtime on a data directory that another one is about to let go.
async fn reopened(root: &TempDir) -> Runtime {
    let again = async {
        loop {
            match Runtime::builder().data_dir(root.path().join("data")).build().await {
                Ok(runtime) => return runtime,
                Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("the directory is free again")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_is_dropped_lets_its_data_directory_go() {
    let host = Embedded::new(|builder| builder).await;
    host.install(&pricing("1.0.0", 2)).await;
    let Embedded { runtime, root } = host;
    drop(runtime);
    let again = reopened(&root).await;
    let quote: Quote = again.call("pricing", "quote", Order { count: 3 }).await.unwrap();
    assert_eq!(quote.total, 6, "what served serves again");
    again.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// A shutdown is often given a time limit of its own, or waited for beside something else that ends first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_goes_on_when_nobody_waits_for_it_any_more() {
    for drop_at_once in [false, true] {
        let (called, mut is_called) = mpsc::channel(1);
        let (answer, answered) = oneshot::channel::<()>();
        let answered = Arc::new(tokio::sync::Mutex::new(Some(answered)));
        let gate = Methods::new().method("pass", move |(): (), _| {
            let (called, answered) = (called.clone(), Arc::clone(&answered));
            async move {
                called.send(()).await.expect("the test waits");
                let answered = answered.lock().await.take().expect("one call");
                answered.await.expect("the test answers");
                Ok("passed")
            }
        });
        let host = Embedded::new(|builder| builder.service("gate", gate)).await;
        host.install(&relay("relay")).await;
        let Embedded { runtime, root } = host;
        let runtime = Arc::new(runtime);
        let caller = Arc::clone(&runtime);
        let call = tokio::spawn(async move { relayed(&caller, "gate.pass", Value::Null).await });
        is_called.recv().await.expect("the module is busy");

        let cut = tokio::time::timeout(Duration::from_millis(20), runtime.shutdown(Duration::from_secs(5))).await;
        assert!(cut.is_err(), "the module is busy");
        answer.send(()).expect("the call waits");
        if !drop_at_once {
            // a patience of nothing, were it a shutdown of its own, would cut the call off
            runtime.shutdown(Duration::ZERO).await.expect("everything was written");
            assert!(runtime.activate("relay").await.is_err(), "it has ended");
        }
        let passed = call.await.expect("no panic").expect("what was held was finished");
        assert_eq!(passed.get("answer"), Some(&Value::from("passed")));
        drop(runtime);
        reopened(&root).await.shutdown(Duration::from_secs(5)).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_served_and_does_not_start_again_is_among_the_troubles() {
    let host = Embedded::new(|builder| builder).await;
    let once = Module::new("once", "1.0.0").lua(
        r#"return { init = function()
            if kv.get("began") then error("no disk") end
            kv.put("began", true)
        end }"#,
    );
    host.install(&once).await.install(&pricing("1.0.0", 2)).await;
    let root = host.end().await;
    let again = Runtime::builder().data_dir(root.path().join("data")).build().await.expect("it starts");
    let [trouble] = &again.troubles()[..] else { panic!("{:?}", again.troubles()) };
    let expected = "once@1.0.0: it served when the runtime ended and does not start again: ";
    assert!(trouble.starts_with(expected) && trouble.contains("no disk"), "{trouble}");
    let quote: Quote = again.call("pricing", "quote", Order { count: 3 }).await.expect("the rest serves");
    assert_eq!(quote.total, 6);
    again.shutdown(Duration::from_secs(5)).await.expect("it stops");
}
