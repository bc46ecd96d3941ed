//! The registry's questions, asked by the application.

use std::sync::Arc;

use replug::registry::Definition;
use replug::registry::compatibility::Way;
use replug::registry::resolver::{Change, Obstacle};
use replug::{Error, Version};

use super::Embedded;
use crate::support::Module;

fn labels(found: &[Arc<Definition>]) -> Vec<String> {
    found.iter().map(|it| it.label()).collect()
}

fn store(version: &str) -> Module {
    let offers = "capabilities: [{ id: sql, category: data, interfaces: [{ name: query, methods: [run] }] }]\n\
                  lifecycle:\n  updates: { compatibility: { \"3.0.0\": \"^2\" } }";
    Module::new("store", version)
        .manifest(offers)
        .lua(r#"return { services = { ["sql.run"] = function() return 1 end } }"#)
}

fn shop(version: &str) -> Module {
    let needs = "dependencies: [{ id: store, version: ^2 }]\n\
                 capabilities: [{ id: orders, requirements: [sql@^2] }]\nconflicts: [kiosk]";
    Module::new("shop", version).manifest(needs).lua("return {}")
}

/// A runtime in which `store@1.0.0` serves.
async fn host() -> Embedded {
    let host = Embedded::new(|builder| builder).await;
    host.install(&store("1.0.0")).await;
    for other in [store("2.0.0"), store("3.0.0"), shop("1.0.0"), Module::new("kiosk", "0.1.0").lua("return {}")] {
        host.register(&other).await;
    }
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_is_found_by_what_it_offers_and_by_range() {
    let host = host().await;
    let runtime = &host.runtime;
    let stores = ["store@1.0.0", "store@2.0.0", "store@3.0.0"];
    assert_eq!(labels(&runtime.find_by_capability("sql")), stores);
    assert_eq!(labels(&runtime.find_by_category("data")), stores);
    assert_eq!(labels(&runtime.versions("store")), stores);
    assert_eq!(labels(&runtime.find_compatible(&["store@^2", "kiosk"]).unwrap()), ["store@2.0.0", "kiosk@0.1.0"]);
    assert!(matches!(runtime.find_compatible(&["store@new"]), Err(Error::Registry(_))));
    assert!(runtime.find_by_capability("none").is_empty() && runtime.versions("none").is_empty());
    let offered = runtime.capabilities();
    let sql = offered.iter().find(|it| it.id == "sql").unwrap();
    assert_eq!((sql.called.as_deref(), sql.providers[0].interfaces[0].methods[0].as_str()), (Some("store"), "run"));
    let orders = offered.iter().find(|it| it.id == "orders").unwrap();
    let needs = &orders.providers[0].requirements[0];
    assert_eq!((needs.capability.as_str(), needs.range.as_str(), needs.required), ("sql", "^2", true));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_together_is_asked_of_what_runs() {
    let host = host().await;
    let runtime = &host.runtime;
    let before = runtime.validate_dependencies("shop").unwrap();
    assert!(!before.valid);
    assert!(matches!(before.obstacles[0], Obstacle::WrongVersionRunning { .. }), "{before:?}");
    let found = runtime.resolve_dependencies("shop@1.0.0").await.unwrap();
    let changes: Vec<_> = found.changes().map(|it| (format!("{}@{}", it.id, it.version), it.change.clone())).collect();
    let from = Version::new(1, 0, 0);
    let expected =
        [("store@2.0.0".to_owned(), Change::Replace { from, via: vec![] }), ("shop@1.0.0".to_owned(), Change::Start)];
    assert_eq!(changes, expected);
    let plan = runtime.activate("shop").plan().await.unwrap();
    assert!(plan.refused.len() == 1 && plan.refused[0].contains("store"), "{plan:?}");
    let both = runtime.activate("shop").with("store@2.0.0").plan().await.unwrap();
    assert!(both.refused.is_empty() && both.set.len() == 1, "{both:?}");
    assert_eq!(runtime.list().len(), 1, "nothing was done");
    // done as it says, and nothing to be returned from, nothing stands in the way
    for change in found.changes() {
        runtime.activate(format!("{}@{}", change.id, change.version)).await.unwrap().ensure_serves().unwrap();
        runtime.confirm(&change.id).await.unwrap();
    }
    assert!(runtime.validate_dependencies("shop").unwrap().valid);
    let kiosk = runtime.detect_conflicts("kiosk").unwrap();
    assert!(matches!(&kiosk.running[..], [Obstacle::Conflict { .. }]) && kiosk.registered.is_empty(), "{kiosk:?}");
    let unresolved = runtime.resolve_dependencies("store@3.0.0").await.unwrap_err().to_string();
    assert!(unresolved.contains("shop@1.0.0") && unresolved.contains("^2"), "{unresolved}");
    let why = runtime.why("kiosk").await.unwrap();
    let obstacle = why.reasons.iter().find(|reason| reason.kind == "obstacle").expect("what keeps it off");
    assert!(why.state == "registered" && obstacle.text.contains("shop@1.0.0"), "{why:?}");
    let nobody = runtime.why("nobody").await.unwrap_err().to_string();
    assert!(nobody.contains("nobody"), "{nobody}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_follow_what_is_told_and_an_update_is_activated_where_the_module_serves() {
    let host = host().await;
    let runtime = &host.runtime;
    let first = Version::new(1, 0, 0);
    assert_eq!(labels(&runtime.compatible_versions("store", &first)), ["store@2.0.0"]);
    let jump = runtime.validate_version_compatibility("store@3.0.0", &first).unwrap();
    assert_eq!((jump.compatible, jump.way), (false, Way::None));
    let update = runtime.update(store("1.1.0").write(host.root())).await.unwrap();
    assert!(update.registration.fresh && update.activation.unwrap().serves());
    let again = runtime.update(store("1.1.0").write(host.root())).await.unwrap();
    assert!(!again.registration.fresh && again.activation.is_none(), "it serves already");
    let idle = runtime.update(shop("1.1.0").write(host.root())).await.unwrap();
    assert!(idle.registration.fresh && idle.activation.is_none(), "nothing of it serves");
    host.end().await;
}
