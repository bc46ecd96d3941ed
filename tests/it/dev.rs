//! `serve --dev`: what is saved serves.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Module, Server, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime that watches a folder with this module in it, and the module's folder.
async fn developing(module: &Module) -> (Server, PathBuf) {
    let server = Server::developing(std::slice::from_ref(module)).await;
    let dirs: Vec<_> = fs::read_dir(server.root().join("modules")).expect("it is there").flatten().collect();
    (server, dirs[0].path())
}

fn says(text: &str) -> String {
    format!("return {{ apis = {{ [\"GET /api/a\"] = function() return \"{text}\" end }} }}")
}

fn module(text: &str) -> Module {
    Module::new("a", "1.0.0").api("/api/a", "GET").lua(&says(text))
}

/// Waits until the module answers so.
async fn answers(server: &Server, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = server.get("/api/a").await;
        if answer.status == 200 && answer.body == text {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} for {text}: {}", server.logged());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the terminal has this.
async fn shows(server: &Server, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !server.logged().contains(text) {
        assert!(Instant::now() < deadline, "{text} in {}", server.logged());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_save_serves_as_a_version_of_its_own_and_the_one_before_is_forgotten() {
    let (server, dir) = developing(&module("one")).await;
    assert_eq!(server.get("/api/a").await.body, "one");
    for text in ["two", "three", "four"] {
        fs::write(dir.join("main.lua"), says(text)).expect("a file can be written");
        answers(&server, text).await;
    }
    let label = server.get("/api/a").await.header("x-replug-module").to_owned();
    assert!(label.starts_with("a@1.0.0+dev."), "{label}");
    let deadline = Instant::now() + PATIENCE;
    while server.states("a").await.len() > 1 {
        assert!(Instant::now() < deadline, "{:?}", server.states("a").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.logged().contains("serves ("), "{}", server.logged());
}

#[tokio::test]
async fn a_broken_save_shows_its_place_and_what_served_goes_on() {
    let (server, dir) = developing(&module("one")).await;
    fs::write(dir.join("main.lua"), "return {\n\tapis = }").expect("a file can be written");
    shows(&server, "main.lua:2:").await;
    shows(&server, "has faults; what serves goes on").await;
    assert_eq!(server.get("/api/a").await.body, "one");
    fs::write(
        dir.join("main.lua"),
        "return { init = function() error('not today') end, apis = { [\"GET /api/a\"] = print } }",
    )
    .expect("a file can be written");
    shows(&server, "does not start").await;
    assert_eq!(server.get("/api/a").await.body, "one");
    fs::write(dir.join("main.lua"), says("two")).expect("a file can be written");
    answers(&server, "two").await;
}

#[tokio::test]
async fn renames_many_files_and_a_folder_that_is_made_again_are_seen() {
    let (server, dir) = developing(&module("one")).await;
    // as editors save: beside it, then over it
    fs::write(dir.join(".main.lua.swp"), "x").expect("a file can be written");
    fs::write(dir.join("main.lua~"), says("two")).expect("a file can be written");
    fs::rename(dir.join("main.lua~"), dir.join("main.lua")).expect("it can be renamed");
    answers(&server, "two").await;
    for n in 0..50 {
        fs::create_dir_all(dir.join("lib")).expect("a folder can be made");
        fs::write(dir.join(format!("lib/n{n}.lua")), format!("return {n}")).expect("a file can be written");
    }
    let sum = "local n = 0\nfor i = 0, 49 do n = n + require('lib/n' .. i) end\nreturn { apis = { [\"GET /api/a\"] = function() return tostring(n) end } }";
    fs::write(dir.join("main.lua"), sum).expect("a file can be written");
    answers(&server, "1225").await;
    fs::remove_dir_all(&dir).expect("it can be removed");
    shows(&server, "is gone; what serves from it goes on").await;
    assert_eq!(server.get("/api/a").await.body, "1225");
    module("again").write(&server.root().join("modules"));
    answers(&server, "again").await;
}

#[tokio::test]
async fn new_migrations_are_said_and_run() {
    let notes = |text: &str, more: &str| {
        let list = format!("database:\n  migrations:\n    - {{ version: 1.0.0, file: 1.sql }}\n{more}");
        module(text)
            .manifest(&list)
            .file("1.sql", "create table a (id integer)")
            .file("2.sql", "create table b (id integer)")
    };
    let (server, _) = developing(&notes("one", "")).await;
    notes("two", "    - { version: 1.1.0, file: 2.sql }\n").write(&server.root().join("modules"));
    shows(&server, "has new migrations (1.1.0)").await;
    answers(&server, "two").await;
}

#[tokio::test]
async fn a_module_that_takes_long_holds_up_no_other_one_and_what_is_saved_meanwhile_follows() {
    let wide = "runtime: { limits: { cpuTime: 60s, wallTime: 60s, ticks: 100000000000 } }\n";
    let of = |id: &str, init: &str, text: &str| {
        let init = format!("init = function() {init} end");
        format!("return {{ {init}, apis = {{ [\"GET /api/{id}\"] = function() return \"{text}\" end }} }}")
    };
    let module = |id: &str| Module::new(id, "1.0.0").api(&format!("/api/{id}"), "GET").manifest(wide);
    let modules = ["a", "slow"].map(|id| module(id).lua(&of(id, "", "one")));
    let server = Server::developing(&modules).await;
    let save = |id: &str, script: &str| {
        let file = server.root().join(format!("modules/{id}-1.0.0/main.lua"));
        fs::write(file, script).expect("a file can be written");
    };
    let waits = "kv.put('began', 1) while kv.get('go') ~= 1 do for _ = 1, 100000 do end end";
    save("slow", &of("slow", waits, "two"));
    until("it begins", async || server.ok(&["eval", "slow", "kv.get('began')"]).await["value"] == 1).await;
    for text in ["two", "three"] {
        save("a", &of("a", "", text));
        answers(&server, text).await;
    }
    save("slow", &of("slow", "", "three"));
    // whoever looks at the folders has seen that by the time that another save serves
    save("a", &of("a", "", "four"));
    answers(&server, "four").await;
    assert_eq!(server.get("/api/slow").await.body, "one");
    server.ok(&["eval", "slow", "kv.put('go', 1)"]).await;
    let deadline = Instant::now() + PATIENCE;
    while server.get("/api/slow").await.body != "three" {
        assert!(Instant::now() < deadline, "{}", server.logged());
    }
}

#[tokio::test]
async fn what_was_granted_in_development_is_taken_back_at_the_next_plain_start() {
    let asks = module("one").manifest("permissions: { system: { environment: [HOME] } }");
    let (mut server, _) = developing(&asks).await;
    shows(&server, "a is granted system.environment:HOME").await;
    let state = async |server: &Server| {
        let view = server.ok(&["permissions", "show", "a"]).await;
        view["permissions"][0]["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state(&server).await, "granted");
    server.terminate().await;
    server.watches_no_more();
    server.start().await;
    assert_eq!(state(&server).await, "waiting");
    let entries = server.ok(&["audit"]).await;
    let forgotten = entries.as_array().expect("a list").iter().find(|entry| entry["kind"] == "permissions-forgotten");
    let forgotten = forgotten.unwrap_or_else(|| panic!("{entries}"));
    assert_eq!(forgotten["data"]["permissions"][0], "system.environment:HOME", "{forgotten}");
    // what somebody decided stays
    server.ok(&["permissions", "grant", "a"]).await;
    server.terminate().await;
    server.start().await;
    assert_eq!(state(&server).await, "granted");
}

#[tokio::test]
async fn a_swapped_version_that_is_not_well_is_said_with_what_its_checks_said() {
    let says = |status: &str| {
        format!(
            "return {{ health = function() return {{ status = '{status}', detail = 'the till is shut' }} end, \
             apis = {{ ['GET /api/a'] = function() return '{status}' end }} }}"
        )
    };
    let (server, dir) = developing(&Module::new("a", "1.0.0").api("/api/a", "GET").lua(&says("healthy"))).await;
    for status in ["unhealthy", "degraded"] {
        fs::write(dir.join("main.lua"), says(status)).expect("a file can be written");
        shows(&server, &format!(" is {status}: health: the till is shut")).await;
    }
    let lines = server.logged();
    let told =
        lines.lines().filter(|line| line.starts_with("dev: a@1.0.0+dev.") && line.contains(": the till")).count();
    assert_eq!(told, 2, "{lines}");
}
