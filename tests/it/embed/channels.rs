//! The event of a version that was taken back, for modules whose manifest names the channel `events`.

use std::sync::Arc;
use std::time::Duration;

use replug::Event;

use super::Embedded;
use crate::support::Module;

/// A version whose `init` fails.
fn failing(id: &str, channels: &str) -> Module {
    let manifest = format!("lifecycle:\n  rollback: {{ notificationChannels: {channels} }}\n");
    Module::new(id, "1.1.0").manifest(&manifest).lua("return { init = function() error('no ink') end }")
}

/// The next event of a version that was taken back: of which, how it ended, and why.
async fn taken_back(events: &mut replug::EventStream) -> (String, &'static str, String, Option<String>) {
    loop {
        let event: Arc<Event> = tokio::time::timeout(Duration::from_secs(60), events.next())
            .await
            .expect("it comes in time")
            .expect("the runtime runs")
            .expect("nothing is lost");
        if let Event::RolledBack { instance, outcome, reason, serving } = &*event {
            let label = format!("{}@{}", instance.id, instance.version);
            return (label, *outcome, reason.clone(), serving.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_an_event_where_the_manifest_says_so_and_nowhere_else() {
    let host = Embedded::new(|builder| builder).await;
    let mut events = host.runtime.events();
    for (id, channels) in [("none", "[]"), ("line", "[log]"), ("event", "[events]"), ("both", "[log, events]")] {
        host.install(&Module::echo(id, "1.0.0", "lua")).await;
        host.register(&failing(id, channels)).await;
        let report = host.runtime.activate(format!("{id}@1.1.0")).await.expect("it is tried");
        assert!(!report.serves());
    }
    for id in ["event", "both"] {
        let (label, outcome, reason, serving) = taken_back(&mut events).await;
        assert_eq!((label, outcome, serving.as_deref()), (format!("{id}@1.1.0"), "rolled-back", Some("1.0.0")));
        assert!(reason.contains("no ink"), "{reason}");
    }
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_that_somebody_asked_for_is_one_of_the_version_that_served() {
    let host = Embedded::new(|builder| builder).await;
    let channels = "lifecycle:\n  rollback: { notificationChannels: [events] }\n";
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        host.install(&Module::echo("a", version, "rhai").manifest(channels)).await;
        host.runtime.confirm("a").await.expect("it serves");
    }
    let mut events = host.runtime.events();
    // once to what stands by, once to what is started again
    for (to, left) in [("a", "1.2.0"), ("a@1.2.0", "1.1.0")] {
        host.runtime.rollback(to).await.expect("it is known").ensure_serves().expect("it serves");
        let serves = host.runtime.instance("a").expect("it serves").key.version.to_string();
        let (label, outcome, reason, serving) = taken_back(&mut events).await;
        assert_eq!((label, outcome, serving), (format!("a@{left}"), "rolled-back", Some(serves)));
        assert_eq!(reason, "the application asked for a rollback");
    }
    host.end().await;
}
