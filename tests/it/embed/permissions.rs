//! Permissions by the application around a runtime.

use replug::{Error, Permission, Ruling};

use super::Embedded;
use crate::support::Module;

const ASKS: &str = "permissions: { system: { environment: [HOME, USER] } }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_grants_what_a_module_asks_for_and_activates_it() {
    let app = Embedded::new(|builder| builder).await;
    app.register(&Module::echo("probe", "1.0.0", "lua").manifest(ASKS)).await;
    let refused = app.runtime.activate("probe").await.expect_err("it waits");
    assert!(matches!(&refused, Error::Engine(replug::engine::EngineError::Ungranted(_))), "{refused:?}");
    assert!(refused.to_string().contains("system.environment:HOME"), "{refused}");
    assert_eq!(app.runtime.asked("probe").expect("it is registered").waiting(), 2);
    let granted = app.runtime.grant("probe@1.0.0").await.expect("it is granted");
    assert_eq!(granted.len(), 2);
    app.runtime.activate("probe").await.expect("an activation").ensure_serves().expect("it serves");
    let home: Permission = "system.environment:HOME".parse().expect("a permission");
    assert!(app.runtime.permissions().has_permission("probe", &home));
    app.runtime.decide("probe", Ruling::Deny, std::slice::from_ref(&home)).await.expect("it is denied");
    assert!(!app.runtime.permissions().has_permission("probe", &home));
    assert!(matches!(app.runtime.grant("gone").await, Err(Error::Registry(_))));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_grants_whatever_manifests_ask_says_so_in_its_log() {
    let app = Embedded::new(|builder| builder.grant_whatever_manifests_ask()).await;
    app.install(&Module::echo("probe", "1.0.0", "lua").manifest(ASKS)).await;
    let rows = app.runtime.audit().read(1, 100).await.expect("the log can be read");
    let granted = rows.iter().filter_map(|row| row.entry()).filter(|entry| entry.kind.name() == "permission-granted");
    let who: Vec<_> = granted.map(|entry| entry.who.name()).collect();
    assert_eq!(who, ["host", "host"]);
    app.end().await;
}
