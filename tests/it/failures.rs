//! Activations that fail: what was done is taken back, and what served goes on.

use serde_json::json;

use crate::support::{Module, Server};

/// Lua entry scripts that fail in one step each, with that step.
const BROKEN: [(&str, &str); 5] = [
    ("load", "error('no')"),
    ("load", "return { init = function() error('no') end, apis = {} }"),
    ("register", "return { apis = {} }"),
    (
        "warmup",
        r#"return { warmup = function() error("no") end, apis = { ["GET /api/probe"] = function() return "x" end, ["POST /api/probe"] = function() return "x" end } }"#,
    ),
    (
        "verify",
        r#"return { health = function() return "unhealthy" end, apis = { ["GET /api/probe"] = function() return "x" end, ["POST /api/probe"] = function() return "x" end } }"#,
    ),
];

fn broken(version: &str, script: &str) -> Module {
    Module::new("probe", version).api("/api/probe", "GET, POST").lua(script)
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_version_before_serving() {
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    for (n, (step, script)) in BROKEN.iter().enumerate() {
        // beside a version that serves, health is asked before anything is routed
        let step = if *step == "verify" { &"activate" } else { step };
        let version = format!("2.{n}.0");
        server.ok(&["register", &server.write(&broken(&version, script))]).await;
        let ran = server.run(&["activate", &format!("probe@{version}")]).await;
        assert_eq!(ran.code, 3, "{step}: {ran:?}");
        let report = ran.json();
        assert_eq!(report["outcome"], "rolled-back", "{report}");
        let last = report["steps"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["name"], &last["outcome"]), (&json!(step), &json!("failed")), "{report}");
        assert!(report["reason"].as_str().unwrap().starts_with(step), "{report}");
        let answer = server.get("/api/probe").await;
        assert_eq!((answer.status, answer.header("x-replug-module")), (200, "probe@1.0.0"), "{step}");
        let shown = server.ok(&["show", &format!("probe@{version}")]).await;
        assert_eq!(shown["state"], "failed", "{shown}");
        let slot = server.slot("probe").await.unwrap();
        assert_eq!((&slot["state"], &slot["candidate"]), (&json!("active"), &json!(null)), "{slot}");
    }
}

#[tokio::test]
async fn a_first_version_that_fails_leaves_no_route() {
    let server = Server::with(&[]).await;
    for (n, (step, script)) in BROKEN.iter().enumerate() {
        let version = format!("2.{n}.0");
        server.ok(&["register", &server.write(&broken(&version, script))]).await;
        let ran = server.run(&["activate", &format!("probe@{version}")]).await;
        assert_eq!((ran.code, &ran.json()["outcome"]), (1, &json!("failed")), "{step}: {ran:?}");
        assert_eq!(server.get("/api/probe").await.status, 404, "{step}");
    }
    // a version that works goes in as if nothing had been
    server.install(&Module::echo("probe", "3.0.0", "lua")).await;
    assert_eq!(server.get("/api/probe").await.body, "3.0.0 ");
}

#[tokio::test]
async fn a_version_whose_start_takes_too_long_is_taken_back() {
    let slow = "runtime:\n  limits: { wallTime: 30s, cpuTime: 30s, ticks: 900000000000 }\nlifecycle:\n  activation: { timeout: 300ms }\n";
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    let script = "return { init = function() local e = time.now() + 2000 while time.now() < e do end end, apis = {} }";
    server.ok(&["register", &server.write(&broken("2.0.0", script).manifest(slow))]).await;
    let ran = server.run(&["activate", "probe@2.0.0"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.json()["reason"].as_str().unwrap().contains("300 ms"), "{ran:?}");
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.0.0");
}

#[tokio::test]
async fn a_migration_that_fails_leaves_schema_and_version_as_they_were() {
    let tables = |files: &str| format!("database:\n  migrations:\n{files}");
    let first = "    - version: 1.0.0\n      file: one.sql\n";
    let both = format!("{first}    - version: 2.0.0\n      file: two.sql\n");
    let count = r#"return { apis = { ["GET /api/notes"] = function() return { body = db.query("select count(*) as n from notes")[1] } end } }"#;
    let module = |version: &str, manifest: &str| {
        Module::new("notes", version)
            .api("/api/notes", "GET")
            .lua(count)
            .manifest(manifest)
            .file("one.sql", "create table notes (id integer primary key, text)")
    };
    let server = Server::with(&[module("1.0.0", &tables(first))]).await;
    assert_eq!(server.get("/api/notes").await.json(), json!({ "n": 0 }));
    let bad = module("2.0.0", &tables(&both)).file("two.sql", "create table more (id);\ndrop table notes");
    server.ok(&["register", &server.write(&bad)]).await;
    let ran = server.run(&["activate", "notes@2.0.0"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(server.get("/api/notes").await.json(), json!({ "n": 0 }));
    // the same tables by a version that does not drop anything
    let good = module("2.1.0", &tables(&both)).file("two.sql", "create table more (id)");
    assert_eq!(server.install(&good).await["outcome"], "provisional");
}

#[tokio::test]
async fn a_cleanup_that_the_script_lacks_fails_the_activation_with_its_name() {
    let server = Server::with(&[]).await;
    let clean = "lifecycle:\n  deactivation:\n    cleanup: [clearCache, sweep]\n";
    server.ok(&["register", &server.write(&Module::echo("probe", "1.0.0", "lua").manifest(clean))]).await;
    let ran = server.run(&["activate", "probe"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let reason = ran.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("cleanup[\"sweep\"]") && !reason.contains("clearCache"), "{reason}");
}
