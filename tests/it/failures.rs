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

/// The names of a report's steps.
fn names(report: &serde_json::Value, of: &str) -> Vec<String> {
    let steps = report[of].as_array().unwrap_or_else(|| panic!("no {of}: {report}"));
    steps.iter().map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
}

/// A version with a path of its own, which fails in a step.
fn failing(version: &str, language: &str, step: &str) -> Module {
    let module = Module::new("probe", version).api("/api/probe", "GET").api("/api/probe/new", "GET");
    if language == "lua" {
        let init = if step == "load" { "error('no')" } else { "" };
        let new = if step == "register" { "" } else { "['GET /api/probe/new'] = function() return 'x' end," };
        let apis = format!("{{ {new} ['GET /api/probe'] = function() return 'new' end }}");
        return module.lua(&format!("return {{ init = function() {init} end, apis = {apis} }}"));
    }
    let init = if step == "load" { r#"throw "no";"# } else { "" };
    let new = if step == "register" { "" } else { r#""GET /api/probe/new": |req| "x","# };
    module.rhai(&format!(r#"#{{ init: |ctx| {{ {init} }}, apis: #{{ {new} "GET /api/probe": |req| "new" }} }}"#))
}

#[tokio::test]
async fn the_five_steps_of_instant_are_taken_in_order_and_taken_back_from_wherever_one_fails() {
    const STEPS: [&str; 5] = ["validate", "prepare", "load", "register", "activate"];
    const BACK: [&str; 6] = ["stopTraffic", "deactivate", "rollback", "unregister", "cleanup", "restore"];
    for language in ["lua", "rhai"] {
        let server = Server::with(&[Module::echo("probe", "1.0.0", language)]).await;
        let labels = ["load", "register", "none"].iter().enumerate();
        for (n, step) in labels {
            let label = format!("probe@2.{n}.0");
            server.ok(&["register", &server.write(&failing(&format!("2.{n}.0"), language, step))]).await;
            let ran = server.run(&["activate", &label, "--strategy", "instant"]).await;
            let report = ran.json();
            assert_eq!(report["trafficShift"], json!([]), "{report}");
            if *step == "none" {
                assert_eq!((ran.code, &report["outcome"]), (0, &json!("provisional")), "{report}");
                assert_eq!(names(&report, "steps"), STEPS, "{report}");
                assert_eq!(
                    (server.get("/api/probe").await.body.as_str(), server.get("/api/probe/new").await.status),
                    ("new", 200)
                );
                continue;
            }
            assert_eq!((ran.code, &report["outcome"]), (3, &json!("rolled-back")), "{language}, {step}: {report}");
            let failed = STEPS.iter().position(|one| one == step).expect("a step");
            assert_eq!(names(&report, "steps"), STEPS[..=failed], "{language}, {step}: {report}");
            assert_eq!(names(&report, "rollback"), BACK, "{language}, {step}: {report}");
            let answer = server.get("/api/probe").await;
            assert_eq!((answer.status, answer.header("x-replug-module")), (200, "probe@1.0.0"), "{language}, {step}");
            assert_eq!(server.get("/api/probe/new").await.status, 404, "{language}, {step}: its own path is gone");
            assert_eq!(server.ok(&["show", &label]).await["state"], "failed", "{language}, {step}");
        }
        // what stands by takes over from it by one switch
        let report = server.ok(&["rollback", "probe"]).await;
        assert_eq!((&report["version"], &report["outcome"]), (&json!("1.0.0"), &json!("active")), "{report}");
        assert_eq!(names(&report, "steps"), ["activate"], "{language}: {report}");
        assert_eq!(server.get("/api/probe/new").await.status, 404, "{language}");
        let listed = server.slot("probe").await.expect("a slot");
        assert_eq!(
            (&listed["version"], &listed["candidate"], &listed["weight"]),
            (&json!("1.0.0"), &json!(null), &json!(100))
        );
    }
}
