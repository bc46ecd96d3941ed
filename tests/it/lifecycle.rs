//! The life of a module by the command line: registered, active, standby, draining, inactive, gone.

use serde_json::json;

use crate::support::{Module, Server};

fn states(rows: &[(String, String)]) -> Vec<(&str, &str)> {
    rows.iter().map(|(version, state)| (version.as_str(), state.as_str())).collect()
}

#[tokio::test]
async fn a_module_lives_from_register_to_unregister() {
    let server = Server::with(&[]).await;
    assert_eq!(server.ok(&["list"]).await, json!([]));

    let dir = server.write(&Module::echo("probe", "1.0.0", "lua"));
    let registered = server.ok(&["register", &dir]).await;
    assert_eq!((&registered["id"], &registered["version"]), (&json!("probe"), &json!("1.0.0")));
    assert_eq!(states(&server.states("probe").await), [("1.0.0", "registered")]);
    assert_eq!(server.get("/api/probe").await.problem(), "no-module");

    let report = server.ok(&["activate", "probe"]).await;
    assert_eq!(report["outcome"], "active");
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps, ["validate", "prepare", "load", "register", "migrate", "warmup", "activate", "verify"]);
    let answer = server.get("/api/probe").await;
    assert_eq!((answer.status, &*answer.body, answer.header("x-replug-module")), (200, "1.0.0 ", "probe@1.0.0"));

    server.ok(&["deactivate", "probe"]).await;
    let gone = server.get("/api/probe").await;
    assert_eq!((gone.status, gone.header("x-replug-module")), (404, ""));
    let slot = server.slot("probe").await.unwrap();
    assert_eq!((&slot["state"], &slot["weight"]), (&json!("inactive"), &json!(0)));

    server.ok(&["unregister", "probe"]).await;
    assert_eq!(server.ok(&["list"]).await, json!([]));
    assert_eq!(server.run(&["versions", "probe"]).await.code, 1);
}

#[tokio::test]
async fn the_version_before_stands_by_and_a_rollback_returns_to_it() {
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    server.install(&Module::echo("probe", "2.0.0", "rhai")).await;
    let slot = server.slot("probe").await.unwrap();
    assert_eq!((&slot["version"], &slot["previous"], &slot["weight"]), (&json!("2.0.0"), &json!("1.0.0"), &json!(100)));
    assert_eq!(states(&server.states("probe").await), [("1.0.0", "standby"), ("2.0.0", "provisional")]);

    let report = server.ok(&["rollback", "probe"]).await;
    assert_eq!((&report["version"], &report["outcome"]), (&json!("1.0.0"), &json!("active")));
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.0.0");
    let slot = server.slot("probe").await.unwrap();
    assert_eq!((&slot["version"], &slot["previous"]), (&json!("1.0.0"), &json!(null)));

    let ran = server.run(&["rollback", "probe"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.error().1.contains("--to"), "{ran:?}");
    server.ok(&["rollback", "probe", "--to", "2.0.0"]).await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@2.0.0");
}

#[tokio::test]
async fn a_confirmed_version_leaves_the_one_before_inactive() {
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    server.settle(&Module::echo("probe", "2.0.0", "lua")).await;
    server.install(&Module::echo("probe", "3.0.0", "lua")).await;
    // the drain of the first goes on after the answer
    for _ in 0..1000 {
        if server.states("probe").await[0].1 == "inactive" {
            break;
        }
    }
    let found = server.states("probe").await;
    assert_eq!(states(&found), [("1.0.0", "inactive"), ("2.0.0", "standby"), ("3.0.0", "provisional")]);
}

#[tokio::test]
async fn update_activates_only_what_serves() {
    let server = Server::with(&[]).await;
    let first = server.write(&Module::echo("probe", "1.0.0", "lua"));
    server.ok(&["update", &first]).await;
    assert_eq!(states(&server.states("probe").await), [("1.0.0", "registered")]);
    server.ok(&["activate", "probe"]).await;
    let second = server.write(&Module::echo("probe", "1.1.0", "lua"));
    server.ok(&["update", &second]).await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.1.0");
}

#[tokio::test]
async fn what_a_person_edits_later_changes_nothing_that_runs() {
    let server = Server::with(&[]).await;
    let module = Module::echo("probe", "1.0.0", "lua");
    let dir = server.write(&module);
    server.ok(&["register", &dir]).await;
    std::fs::write(std::path::Path::new(&dir).join("main.lua"), "this is no script").unwrap();
    assert_eq!(server.ok(&["activate", "probe"]).await["outcome"], "active");
    assert_eq!(server.get("/api/probe").await.body, "1.0.0 ");
    let ran = server.run(&["register", &dir]).await;
    assert_eq!((ran.code, ran.error().0.as_str()), (1, "content-differs"));
}

#[tokio::test]
async fn modules_are_found_by_capability_and_category() {
    let capable = "capabilities:\n  - id: pictures.resize\n    version: 1.2.0\n    category: media\n";
    let server = Server::with(&[Module::echo("pictures", "1.0.0", "lua").manifest(capable)]).await;
    for args in [["find", "--capability", "pictures.resize"], ["find", "--category", "media"]] {
        let found = server.ok(&args).await;
        assert_eq!(found[0]["id"], "pictures", "{found}");
    }
    assert_eq!(server.ok(&["find", "--category", "other"]).await, json!([]));
}

#[tokio::test]
async fn handlers_are_told_of_the_life_of_their_instance() {
    let script = r#"
local function note(what) kv.put(what, (kv.get(what) or 0) + 1) end
return {
  init = function() note("init") end,
  warmup = function() note("warmup") end,
  shutdown = function() note("shutdown") end,
  cleanup = { sweep = function() note("sweep") end },
  apis = { ["GET /api/life"] = function()
    local seen = {}
    for _, key in kv.list() do seen[key] = kv.get(key) end
    return { body = seen }
  end },
}"#;
    let clean = "lifecycle:\n  deactivation:\n    cleanup: [sweep]\n";
    let module = |version| Module::new("life", version).api("/api/life", "GET").manifest(clean).lua(script);
    let server = Server::with(&[module("1.0.0")]).await;
    assert_eq!(server.get("/api/life").await.json()["warmup"], 1);
    server.ok(&["deactivate", "life"]).await;
    server.install(&module("2.0.0")).await;
    let seen = server.get("/api/life").await.json();
    assert_eq!((&seen["shutdown"], &seen["sweep"], &seen["warmup"]), (&json!(1), &json!(1), &json!(2)), "{seen}");
    assert!(seen["init"].as_u64().unwrap() >= 2, "{seen}");
}
