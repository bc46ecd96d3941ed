//! Two runtimes in one process share nothing.

use std::time::Duration;

use replug::{Event, Methods, Runtime};

use super::Embedded;
use crate::support::Module;

/// Counts its calls in its store and names the host it runs in.
fn probe() -> Module {
    let script = r#"return { services = { ["probe.count"] = function()
        local count = (kv.get("count") or 0) + 1
        kv.put("count", count)
        return { services.call("place.name"), count }
    end } }"#;
    Module::new("probe", "1.0.0").manifest("capabilities: [{ id: probe }]").lua(script)
}

fn place(name: &'static str) -> Methods {
    Methods::new().method("name", move |(): (), _| async move { Ok(name) })
}

async fn counted(runtime: &Runtime) -> (String, u32) {
    runtime.call("probe", "count", ()).await.expect("it counts")
}

/// How often the runtime's module called services, as the metrics have it.
fn calls(runtime: &Runtime) -> u32 {
    let metrics = runtime.metrics().render();
    let wanted = r#"replug_host_calls_total{function="services.call",module="probe",version="1.0.0"} "#;
    let line = metrics.lines().find_map(|line| line.strip_prefix(wanted)).unwrap_or_else(|| panic!("{metrics}"));
    line.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runtimes_with_the_same_module_do_not_mix() {
    let north = Embedded::new(|builder| builder.service("place", place("north"))).await;
    let south = Embedded::new(|builder| builder.service("place", place("south"))).await;
    let mut events = south.runtime.events();
    north.install(&probe()).await.install(&Module::new("extra", "1.0.0").lua("return {}")).await;
    south.install(&probe()).await;
    for count in 1..=3 {
        assert_eq!(counted(&north.runtime).await, ("north".to_owned(), count));
    }
    assert_eq!(counted(&south.runtime).await, ("south".to_owned(), 1));
    assert_eq!((calls(&north.runtime), calls(&south.runtime)), (3, 1));
    assert_eq!(south.runtime.list().len(), 1);

    let root = north.end().await;
    assert_eq!(counted(&south.runtime).await, ("south".to_owned(), 2), "the end of the other is no matter");
    let again = Runtime::builder().data_dir(root.path().join("data")).service("place", place("pole"));
    let again = again.build().await.expect("it starts again");
    assert_eq!(counted(&again).await, ("pole".to_owned(), 4), "its data is its own");
    again.shutdown(Duration::from_secs(5)).await.expect("it stops");

    south.runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
    let mut registered = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Registered { id, .. } = &*event.expect("none was lost") {
            registered.push(id.clone());
        }
    }
    assert_eq!(registered, ["probe"], "nothing of the other's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_shutdown_raises_no_alarm() {
    for _ in 0..20 {
        let data = tempfile::TempDir::new().expect("a folder");
        let runtime = replug::Runtime::builder().data_dir(data.path()).build().await.expect("a runtime");
        let mut events = runtime.events();
        runtime.shutdown(std::time::Duration::from_secs(2)).await.expect("shut down");
        assert!(futures::poll!(Box::pin(runtime.broken())).is_pending(), "a shutdown is no breakdown");
        while let Some(event) = events.next().await {
            let event = event.expect("no event is missed");
            assert!(!matches!(&*event, replug::Event::Alarm { .. }), "{event:?}");
        }
    }
}
