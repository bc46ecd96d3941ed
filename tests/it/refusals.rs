//! Commands that are refused: the error names both sides and what to do, and nothing has changed.

use crate::support::{Module, Server};

/// Runs a command that must be refused with a message that holds all of `parts`, and change nothing.
async fn refused(server: &Server, args: &[&str], parts: &[&str]) {
    let before = (server.ok(&["list"]).await, server.ok(&["show", "a"]).await);
    let ran = server.run(args).await;
    assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
    let (_, message) = ran.error();
    for part in parts {
        assert!(message.contains(part), "{args:?}: `{message}` does not say `{part}`");
    }
    assert_eq!((server.ok(&["list"]).await, server.ok(&["show", "a"]).await), before, "{args:?}");
}

async fn registered(server: &Server, module: &Module) {
    server.ok(&["register", &server.write(module)]).await;
}

#[tokio::test]
async fn what_others_need_can_neither_be_deactivated_nor_unregistered() {
    let a = Module::echo("a", "1.0.0", "lua");
    let b = Module::echo("b", "1.0.0", "lua").needs("a", ">=1.0.0");
    let server = Server::with(&[a, b]).await;
    refused(&server, &["deactivate", "a"], &["a ", "b@1.0.0", "deactivate b"]).await;
    refused(&server, &["unregister", "a"], &["a ", "b@1.0.0", "deactivate b"]).await;
    server.ok(&["deactivate", "b"]).await;
    server.ok(&["deactivate", "a"]).await;
    refused(&server, &["unregister", "a"], &["a@1.0.0", "b@1.0.0", "unregister b"]).await;
    server.ok(&["unregister", "b"]).await;
    server.ok(&["unregister", "a"]).await;
}

#[tokio::test]
async fn a_version_that_dependents_cannot_live_with_is_refused() {
    let a = Module::echo("a", "1.0.0", "lua");
    let b = Module::echo("b", "1.0.0", "lua").needs("a", "^1");
    let server = Server::with(&[a, b]).await;
    registered(&server, &Module::echo("a", "2.0.0", "lua")).await;
    refused(&server, &["activate", "a@2.0.0"], &["a ", "2.0.0", "b@1.0.0", "^1"]).await;
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.0.0");
}

#[tokio::test]
async fn a_missing_dependency_is_named_with_its_range() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    registered(&server, &Module::echo("b", "1.0.0", "lua").needs("gone", "^3")).await;
    refused(&server, &["activate", "b"], &["b@1.0.0", "gone", "^3", "register `gone`"]).await;
    registered(&server, &Module::echo("c", "1.0.0", "lua").needs("a", ">=2.0.0")).await;
    refused(&server, &["activate", "c"], &["c@1.0.0", "a@1.0.0 runs", ">=2.0.0"]).await;
}

#[tokio::test]
async fn a_conflict_is_refused_whoever_declares_it() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua").manifest("conflicts: [rival]\n")]).await;
    registered(&server, &Module::echo("rival", "1.0.0", "lua")).await;
    refused(&server, &["activate", "rival"], &["rival@1.0.0", "a@1.0.0", "deactivate `a`"]).await;
    registered(&server, &Module::echo("foe", "1.0.0", "lua").manifest("conflicts: [\"a@^1\"]\n")).await;
    refused(&server, &["activate", "foe"], &["foe@1.0.0", "a@1.0.0", "^1"]).await;
}

#[tokio::test]
async fn a_taken_route_names_both_owners() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    let script = r#"return { apis = { ["GET /api/a"] = function() return "mine" end } }"#;
    registered(&server, &Module::new("thief", "1.0.0").api("/api/a", "GET").lua(script)).await;
    refused(&server, &["activate", "thief"], &["thief@1.0.0", "a@1.0.0", "/api/a"]).await;
    assert_eq!(server.get("/api/a").await.body, "1.0.0 ");
}

#[tokio::test]
async fn instant_with_pending_migrations_says_to_use_gradual() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    let tables = "database:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n";
    let module = Module::echo("notes", "1.0.0", "lua").manifest(tables).file("one.sql", "create table notes (text)");
    registered(&server, &module).await;
    refused(&server, &["activate", "notes", "--strategy", "instant"], &["notes@1.0.0", "gradual"]).await;
    let report = server.ok(&["activate", "notes", "--strategy", "gradual"]).await;
    assert_eq!(report["outcome"], "active");
}

#[tokio::test]
async fn a_script_that_does_not_compile_is_refused_with_its_place() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    registered(&server, &Module::new("b", "1.0.0").lua("return {\n  apis = = {}\n}")).await;
    refused(&server, &["activate", "b"], &["main.lua:2"]).await;
    registered(&server, &Module::new("c", "1.0.0").rhai("let x = ;\n#{}")).await;
    refused(&server, &["activate", "c"], &["main.rhai:1"]).await;
}

#[tokio::test]
async fn unknown_modules_and_wrong_usage_have_their_exit_codes() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    refused(&server, &["activate", "nobody"], &["nobody", "register"]).await;
    refused(&server, &["activate", "a@9.9.9"], &["a@9.9.9", "1.0.0"]).await;
    assert_eq!(server.run(&["activate"]).await.code, 2);
    assert_eq!(server.run(&["frobnicate"]).await.code, 2);
    let empty = tempfile::tempdir().unwrap();
    let unreachable = crate::support::replug(&["list", "--json", "--data", &empty.path().display().to_string()]);
    assert_eq!(unreachable.code, 4, "{unreachable:?}");
    assert!(unreachable.error().1.contains("replug serve"), "{unreachable:?}");
}
