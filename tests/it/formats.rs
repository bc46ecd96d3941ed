//! What the program of an earlier format wrote is read by the one of today, and what a later one wrote is refused by name.
//!
//! `tests/stores/format-N.backup` is a backup of a runtime in which a module was swapped, confirmed, granted a permission and had
//! counted to three. It is kept as the program of that format wrote it; a new format gets a file of its own beside it.

use std::fs::File;
use std::path::{Path, PathBuf};

use replug::store::RawRecord;
use replug::store::archive::{Archive, Kind, Writer};
use serde_json::json;

use crate::support::{Module, Ran, Server, replug};

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
    let trees = |file: &Path| {
        let mut from = Archive::open(file).unwrap();
        let mut trees = std::collections::BTreeSet::new();
        while let Some(section) = from.next().unwrap() {
            if section.kind == Kind::Records {
                trees.extend(section.records().unwrap().iter().map(|record| (record.tree.clone(), record.format())));
            }
        }
        trees
    };
    if std::env::var_os("REPLUG_WRITE_STORES").is_some() {
        std::fs::create_dir_all(fixture(PRESENT).parent().unwrap()).unwrap();
        std::fs::copy(&file, fixture(PRESENT)).unwrap();
    }
    assert_eq!(trees(&file), trees(&fixture(PRESENT)), "a format that was raised needs a fixture of its own");
}
