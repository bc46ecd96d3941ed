//! What a data directory holds when its runtime ends, and what the next one makes of it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use replug::Runtime;
use replug::store::RawRecord;
use replug::store::archive::{Archive, Kind, Writer};
use serde_json::{Value, json};

use crate::support::{Module, Server, replug, until};

#[tokio::test]
async fn what_served_serves_again_after_a_stop_and_after_a_kill() {
    let mut server =
        Server::with(&[Module::echo("probe", "1.0.0", "lua"), Module::echo("other", "1.0.0", "rhai")]).await;
    server.settle(&Module::echo("probe", "2.0.0", "rhai")).await;
    server.ok(&["deactivate", "other"]).await;
    for kill in [false, true] {
        if kill {
            server.kill();
        } else {
            assert!(server.terminate().await.success());
        }
        server.start().await;
        let slot = server.slot("probe").await.unwrap();
        assert_eq!(
            (&slot["version"], &slot["state"], &slot["previous"]),
            (&json!("2.0.0"), &json!("active"), &json!("1.0.0"))
        );
        assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@2.0.0");
        // the folder only seeds: what was deactivated stays so
        assert_eq!(server.slot("other").await.unwrap()["state"], "inactive");
        assert_eq!(server.get("/api/other").await.status, 404);
    }
    server.ok(&["rollback", "probe"]).await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.0.0");
}

#[tokio::test]
async fn newer_versions_in_the_folder_are_registered_but_not_activated() {
    let mut server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    assert!(server.terminate().await.success());
    Module::echo("probe", "1.1.0", "lua").write(&server.root().join("modules"));
    let changed = server.root().join("modules/probe-1.0.0/main.lua");
    std::fs::write(&changed, "return {}").unwrap();
    server.start().await;
    let states = server.states("probe").await;
    assert_eq!(states, [("1.0.0".into(), "active".into()), ("1.1.0".into(), "registered".into())]);
    assert_eq!(server.get("/api/probe").await.body, "1.0.0 ");
    assert!(server.logged().contains("content"), "{}", server.logged());
}

#[tokio::test]
async fn a_module_that_does_not_start_again_keeps_no_other_from_serving() {
    let mut server =
        Server::with(&[Module::echo("probe", "1.0.0", "lua"), Module::echo("broken", "1.0.0", "lua")]).await;
    let digest = server.ok(&["show", "broken"]).await["digest"].as_str().unwrap().to_owned();
    assert!(server.terminate().await.success());
    std::fs::write(server.data().join("bundles").join(digest).join("main.lua"), "return {}").unwrap();
    std::fs::remove_dir_all(server.root().join("modules/broken-1.0.0")).unwrap();
    server.start().await;
    assert_eq!(server.get("/api/probe").await.status, 200);
    assert_eq!(server.get("/api/broken").await.status, 404);
    assert!(server.logged().contains("broken@1.0.0"), "{}", server.logged());
    let greeting =
        server.logged().lines().rfind(|line| line.starts_with('{') && line.contains("\"troubles\"")).map(str::to_owned);
    let greeting: serde_json::Value = serde_json::from_str(&greeting.expect("a document")).expect("JSON");
    let trouble = greeting["troubles"][0].as_str().expect("a trouble");
    let expected = "broken@1.0.0: it served when the runtime ended and does not start again: ";
    assert!(trouble.starts_with(expected), "{trouble}");
}

/// Copies a backup in which the slot of `id` says that `version` serves.
fn with_serving(from: &Path, to: &Path, id: &str, version: &str) {
    let mut archive = Archive::open(from).unwrap();
    let mut writer = Writer::begin(File::create(to).unwrap(), to, &archive.about().clone()).unwrap();
    let mut changed = 0;
    while let Some(section) = archive.next().unwrap() {
        if section.kind != Kind::Records {
            let part = section.part().unwrap();
            assert!(part.last, "the files of the test are small");
            writer.file(section.kind, &section.name, part.bytes).unwrap();
            continue;
        }
        for mut record in section.records().unwrap() {
            if record.tree == "slots" && record.key.windows(id.len()).any(|part| part == id.as_bytes()) {
                let mut slot: Value = serde_json::from_slice(record.body()).unwrap();
                slot["serving"] = json!(version);
                let value = [&record.value[..2], &serde_json::to_vec(&slot).unwrap()].concat();
                record = RawRecord::new(record.key, value).unwrap();
                changed += 1;
            }
            writer.record(&record).unwrap();
        }
    }
    writer.finish().unwrap();
    assert_eq!(changed, 1, "{id} has one slot");
}

/// An upgrade could close a circle once: what serves in one is no fault of who starts the program of today.
#[tokio::test]
async fn two_modules_that_need_each_other_since_an_older_runtime_both_start_again() {
    let closing = Module::echo("first-half", "2.0.0", "lua").needs("second-half", "*");
    let (mut old, modules) = (
        Server::with(&[Module::echo("first-half", "1.0.0", "lua")]).await,
        [Module::echo("second-half", "1.0.0", "rhai").needs("first-half", "*"), closing],
    );
    old.settle(&modules[0]).await;
    old.ok(&["register", &old.write(&modules[1])]).await;
    let refused = old.run(&["activate", "first-half@2.0.0"]).await.error().1;
    assert!(refused.contains("first-half -> second-half -> first-half"), "the program of today makes none: {refused}");
    let (made, closed) = (old.root().join("made.backup"), old.root().join("closed.backup"));
    old.ok(&["backup", &made.display().to_string()]).await;
    old.kill();
    with_serving(&made, &closed, "first-half", "2.0.0");

    let mut server = Server::idle_with(&[]);
    let data = server.data().display().to_string();
    let restored = replug(&["restore", &closed.display().to_string(), "--json", "--data", &data]);
    assert_eq!(restored.code, 0, "{restored:?}");
    for _ in 0..2 {
        server.start().await;
        for (id, version) in [("first-half", "2.0.0"), ("second-half", "1.0.0")] {
            let answer = server.get(&format!("/api/{id}")).await;
            let told = (answer.status, answer.header("x-replug-module").to_owned());
            assert_eq!(told, (200, format!("{id}@{version}")), "{}", server.logged());
        }
        let log = server.ok(&["audit", "--limit", "1000"]).await;
        assert!(log.to_string().contains("first-half -> second-half -> first-half"), "the circle is an alarm: {log}");
        server.kill();
    }
    // the way out of it is open
    server.start().await;
    server.settle(&Module::echo("first-half", "3.0.0", "lua")).await;
    assert_eq!(server.get("/api/first-half").await.header("x-replug-module"), "first-half@3.0.0");
    assert_eq!(server.get("/api/second-half").await.status, 200);
}

#[tokio::test]
async fn two_runtimes_do_not_share_a_data_directory() {
    let server = Server::with(&[]).await;
    let data = server.data().display().to_string();
    let ran = tokio::task::spawn_blocking(move || {
        crate::support::replug(&["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    });
    let ran = ran.await.unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("in use"), "{ran:?}");
    assert_eq!(server.ok(&["list"]).await, json!([]));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_migration_and_leaves_no_trace_of_it() {
    let mut server = Server::with(&[]).await;
    let tables = "database:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n";
    let endless =
        "create table t as with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
    let module = Module::echo("slow", "1.0.0", "lua").manifest(tables).file("one.sql", endless);
    server.ok(&["register", &server.write(&module)]).await;
    let (_, ended) = {
        let data = server.data().display().to_string();
        let activate = tokio::task::spawn_blocking(move || {
            crate::support::replug(&["activate", "slow", "--strategy", "gradual", "--json", "--data", &data])
        });
        let activates = async || server.slot("slow").await.is_some_and(|slot| slot["state"] == "activating");
        until("it activates", activates).await;
        let ended = server.terminate().await;
        (activate.await.unwrap(), ended)
    };
    assert!(ended.success(), "{}", server.logged());
    server.start().await;
    assert_eq!(server.slot("slow").await, None, "an interrupted first activation leaves no slot");
    assert_eq!(server.states("slow").await, [("1.0.0".into(), "registered".into())]);
}

#[tokio::test]
async fn serve_says_as_json_what_serves_and_what_does_not() {
    let broken = Module::new("broken", "1.0.0").lua("this is no script");
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua"), broken]).await;
    let line = server.logged().lines().find(|line| line.starts_with('{')).expect("a document").to_owned();
    let document: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(document["gateway"], server.address("gateway"));
    assert_eq!((&document["modules"][0]["id"], document["modules"].as_array().unwrap().len()), (&json!("probe"), 1));
    assert!(document["troubles"][0].as_str().unwrap().starts_with("broken@1.0.0"), "{document}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_was_shut_down_lets_go_of_its_data_directory_whoever_keeps_its_gateway() {
    let root = tempfile::tempdir().unwrap();
    let modules = root.path().join("modules");
    Module::echo("probe", "1.0.0", "lua").write(&modules);
    let mut kept = Vec::new();
    for _ in 0..3 {
        let runtime = Runtime::builder().data_dir(root.path().join("data")).modules(&modules).build().await.unwrap();
        assert_eq!(runtime.troubles(), Vec::<String>::new());
        let instance = runtime.instance("probe").expect("it serves");
        assert_eq!(&*instance.key.version, "1.0.0");
        drop(instance);
        kept.push((runtime.router(), runtime.metrics().clone()));
        runtime.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}
