//! What the program of an earlier format wrote is read by the one of today, and what a later one wrote is refused by name.
//!
//! `tests/stores/format-N.backup` is a backup of a runtime in which a module was swapped, confirmed, granted a permission and had
//! counted to three. It is kept as the program of that format wrote it; a new format gets a file of its own beside it.
//! `tests/stores/format-N-midway.backup` is one of a runtime in which versions were provisional, one was on its way, and a provider
//! was chosen.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use replug::store::RawRecord;
use replug::store::archive::{Archive, Kind, Writer};
use serde_json::json;

use crate::support::{Module, Ran, Server, replug, until};

/// The formats that there were, the present one last: 2 knows of modules that take over as one.
const FORMATS: [u16; 2] = [1, 2];
const PRESENT: u16 = FORMATS[FORMATS.len() - 1];

fn fixture(format: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/stores/format-{format}.backup"))
}

fn restore(file: &Path, data: &Path) -> Ran {
    replug(&["restore", &file.display().to_string(), "--json", "--data", &data.display().to_string()])
}

/// The module of the fixture.
fn keeper(version: &str) -> Module {
    let script = r#"return { apis = { ["POST /api/keeper"] = function()
        local n = (kv.get("n") or 0) + 1
        kv.put("n", n)
        db.execute("insert into counts(n) values (?)", {n})
        return { body = tostring(n) .. " of " .. tostring(#db.query("select n from counts")) }
    end } }"#;
    Module::new("keeper", version)
        .api("/api/keeper", "POST")
        .manifest("database:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n")
        .manifest("permissions:\n  system:\n    environment: [HOME]\n")
        .file("one.sql", "create table counts(n integer not null);")
        .lua(script)
}

#[tokio::test]
async fn a_store_of_each_format_is_read_with_all_that_it_holds() {
    for format in FORMATS {
        is_read(format).await;
    }
}

async fn is_read(format: u16) {
    let mut server = Server::idle_with(&[]);
    let done = restore(&fixture(format), &server.data());
    assert_eq!(done.code, 0, "{done:?}");
    server.start().await;
    let slot = server.slot("keeper").await.unwrap();
    assert_eq!(
        (&slot["version"], &slot["state"], &slot["previous"]),
        (&json!("1.1.0"), &json!("active"), &json!("1.0.0"))
    );
    let states = server.states("keeper").await;
    assert_eq!(states.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
    let history = server.ok(&["history", "keeper"]).await;
    let told: Vec<_> = history.as_array().unwrap().iter().map(|entry| entry["command"].as_str().unwrap()).collect();
    assert_eq!(told, ["resume", "activate", "activate"], "{history}");
    assert_eq!(history[1]["outcome"], "active");
    let permissions = server.ok(&["permissions", "show", "keeper"]).await.to_string();
    assert!(permissions.contains("\"granted\""), "{permissions}");
    assert_eq!(server.send(server.request("POST", "/api/keeper")).await.body, "4 of 4");
    server.ok(&["rollback", "keeper"]).await;
    assert_eq!(server.send(server.request("POST", "/api/keeper")).await.header("x-replug-module"), "keeper@1.0.0");
}

/// The fixture with one record changed.
fn changed(tree: &str, format: u16, to: &Path) {
    let mut from = Archive::open(&fixture(PRESENT)).unwrap();
    let mut writer = Writer::begin(File::create(to).unwrap(), to, &from.about().clone()).unwrap();
    let mut seen = 0;
    while let Some(section) = from.next().unwrap() {
        if section.kind != Kind::Records {
            let part = section.part().unwrap();
            assert!(part.last, "the files of the fixture are small");
            writer.file(section.kind, &section.name, part.bytes).unwrap();
            continue;
        }
        for mut record in section.records().unwrap() {
            if record.tree == tree {
                record.value[..2].copy_from_slice(&format.to_be_bytes());
                record = RawRecord::new(record.key, record.value).unwrap();
                seen += 1;
            }
            writer.record(&record).unwrap();
        }
    }
    writer.finish().unwrap();
    assert!(seen > 0, "the fixture has records of {tree}");
}

#[test]
fn records_of_a_newer_format_are_refused_by_name_before_anything_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("newer.backup"), dir.path().join("data"));
    for tree in ["slots", "definitions", "journal", "permissions", "generations"] {
        changed(tree, 9, &file);
        let refused = restore(&file, &data);
        let (_, message) = refused.error();
        let named =
            message.contains(&format!("tree `{tree}`")) && message.contains("format 9, this version knows up to");
        assert!(refused.code == 1 && named, "{tree}: {refused:?}");
        assert!(!data.join("store").exists() && !data.join("restore.unfinished").exists(), "{tree}");
        changed(tree, 1, &file);
        let same = restore(&file, &dir.path().join(format!("data-{tree}")));
        assert_eq!(same.code, 0, "{tree}: {same:?}");
    }
}

/// Writes the fixture of the present format where `REPLUG_WRITE_STORES` says so, and holds that what is written so can be restored.
#[tokio::test]
async fn the_fixture_is_what_a_runtime_of_its_format_writes() {
    let server = Server::granting(&[keeper("1.0.0")]).await;
    server.ok(&["confirm", "keeper"]).await;
    server.settle(&keeper("1.1.0")).await;
    for n in 1..=3 {
        let answer = server.send(server.request("POST", "/api/keeper")).await;
        assert_eq!(answer.body, format!("{n} of {n}"));
    }
    let file = server.root().join("made.backup");
    server.ok(&["backup", &file.display().to_string()]).await;
    is_kept(&file, &fixture(PRESENT));
}

/// Writes the fixture where that is asked for, and holds that it has the formats of what was made now.
fn is_kept(made: &Path, fixture: &Path) {
    let trees = |file: &Path| {
        let mut from = Archive::open(file).unwrap();
        let mut trees = BTreeSet::new();
        while let Some(section) = from.next().unwrap() {
            if section.kind == Kind::Records {
                trees.extend(section.records().unwrap().iter().map(|record| (record.tree.clone(), record.format())));
            }
        }
        trees
    };
    if std::env::var_os("REPLUG_WRITE_STORES").is_some() {
        std::fs::create_dir_all(fixture.parent().unwrap()).unwrap();
        std::fs::copy(made, fixture).unwrap();
    }
    assert_eq!(trees(made), trees(fixture), "a format that was raised needs a fixture of its own");
}

/// The formats of which there is a fixture taken midway.
const MIDWAY: [u16; 1] = [2];

fn midway(format: u16) -> PathBuf {
    fixture(format).with_file_name(format!("format-{format}-midway.backup"))
}

/// A module whose 1.1.0 makes a table, by a migration with a way back or without one, and waits an hour to be confirmed. `GET
/// /api/ID` says whether the table is there.
fn table(id: &str, version: &str, one_way: bool) -> Module {
    let lifecycle = "lifecycle:\n  activation: { confirmWindow: 1h, trafficShifting: { interval: 20ms } }\n";
    let body = "return { body = tostring((pcall(db.query, 'select n from extra'))) }";
    let module = Module::handler(id, version, body)
        .manifest(&format!("{lifecycle}  rollback: {{ preserveData: false }}\n"))
        .file("one.sql", "create table counts(n integer not null);")
        .file("two.sql", "create table extra(n integer not null);")
        .file("two.down.sql", "drop table extra;");
    let more = if one_way { "\n      irreversible: true" } else { "" };
    let two = format!("    - version: 1.1.0\n      file: two.sql{more}\n");
    let two = if version == "1.0.0" { "" } else { &two };
    module.manifest(&format!("database:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n{two}"))
}

/// A module that offers `mail` and says its own name.
fn post(id: &str) -> Module {
    let script = format!("return {{ services = {{ ['mail.who'] = function() return '{id}' end }} }}");
    Module::new(id, "1.0.0").manifest("capabilities: [{ id: mail, version: 1.0.0 }]\n").lua(&script)
}

#[tokio::test]
async fn a_fixture_taken_midway_is_what_a_runtime_of_its_format_writes() {
    let shop = Module::handler("shop", "1.0.0", "return services.call('mail.who', {})")
        .manifest("capabilities: [{ id: sale, requirements: [\"mail@^1\"] }]\n");
    let slow = Module::echo("slow", "1.1.0", "lua")
        .manifest("lifecycle:\n  activation:\n    trafficShifting: { interval: 1h }\n");
    let first = [table("back", "1.0.0", false), table("kept", "1.0.0", true), Module::echo("slow", "1.0.0", "lua")];
    let server = Server::with(&[&first[..], &[post("aerial"), post("bike"), shop]].concat()).await;
    server.ok(&["choose", "mail", "bike"]).await;
    for (module, id) in [(table("back", "1.1.0", false), "back"), (table("kept", "1.1.0", true), "kept")] {
        server.install(&module).await;
        assert_eq!(server.slot(id).await.unwrap()["state"], "provisional");
        assert_eq!(server.get(&format!("/api/{id}")).await.body, "true");
    }
    server.ok(&["register", &server.write(&slow)]).await;
    server.ok(&["activate", "slow@1.1.0", "--strategy", "gradual", "--no-wait"]).await;
    until("it has a share", async || server.slot("slow").await.unwrap()["candidate"]["weight"] == 10).await;
    let file = server.root().join("made.backup");
    server.ok(&["backup", &file.display().to_string()]).await;
    is_kept(&file, &midway(PRESENT));
}

#[tokio::test]
async fn a_store_taken_midway_is_decided_about_and_a_choice_in_it_holds() {
    for format in MIDWAY {
        is_decided(format).await;
    }
}

async fn is_decided(format: u16) {
    let mut server = Server::idle_with(&[]);
    let done = restore(&midway(format), &server.data());
    assert_eq!(done.code, 0, "{done:?}");
    server.start().await;
    // what has a way back is returned from with its table, what has none is kept, and a shift is undone
    for (id, version, previous, body) in
        [("back", "1.0.0", None, "false"), ("kept", "1.1.0", Some("1.0.0"), "true"), ("slow", "1.0.0", None, "1.0.0 ")]
    {
        let slot = server.slot(id).await.unwrap();
        let told = (&slot["version"], &slot["state"], &slot["previous"], &slot["candidate"]);
        assert_eq!(told, (&json!(version), &json!("active"), &json!(previous), &json!(null)), "{id}: {slot}");
        assert_eq!(server.get(&format!("/api/{id}")).await.body, body, "{id}: {}", server.logged());
        let history = server.ok(&["history", id]).await;
        let newer = history.as_array().unwrap().iter().find(|entry| entry["version"] == "1.1.0").unwrap();
        let outcome = if id == "kept" { ("active", false) } else { ("rolled-back", true) };
        assert_eq!((&newer["outcome"], newer["reason"].is_string()), (&json!(outcome.0), outcome.1), "{id}: {newer}");
    }
    assert_eq!(server.states("back").await[1], ("1.1.0".to_owned(), "failed".to_owned()));
    assert_eq!(server.get("/api/shop").await.body, "bike");
    let log = server.ok(&["audit", "--limit", "1000"]).await;
    let recovered = log.as_array().unwrap().iter().filter(|entry| entry["kind"] == "recovered");
    let mut recovered: Vec<_> = recovered.map(|entry| entry["subject"].as_str().unwrap()).collect();
    recovered.sort_unstable();
    assert_eq!(recovered, ["back", "kept", "slow"]);
    // decided once: the next start finds nothing open, and what was returned from can be activated again
    server.kill();
    server.start().await;
    let again = server.ok(&["audit", "--limit", "1000"]).await;
    let count = again.as_array().unwrap().iter().filter(|entry| entry["kind"] == "recovered").count();
    assert_eq!(count, recovered.len());
    server.ok(&["activate", "back@1.1.0"]).await;
    assert_eq!(server.get("/api/back").await.body, "true");
}
