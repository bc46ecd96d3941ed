//! A damaged store is made anew of a snapshot and the log, wherever that is cut off, or left as it is.

use tempfile::TempDir;

use super::*;
use crate::registry::{self, Told};
use crate::store::archive::{Draft, What, Writer};
use crate::store::audit::Head;
use crate::store::{KvEntry, Tree};

const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn told(log: &AuditLog, kind: Kind, subject: &str, data: serde_json::Value) {
    wait(log.append(Entry::new(kind, Who::Admin, subject).with(data))).unwrap();
}

fn register(store: &Store, version: &str) {
    let version = version.parse().unwrap();
    registry::retell(store, vec![Told { id: "m".into(), version, digest: Some(DIGEST.into()), at: 7 }]).unwrap();
}

fn snapshot(data: &Path, store: &Store, audit: Head) {
    let (dir, about) = (data.join(snapshots::FOLDER), backup::about(What::Snapshot, audit));
    backup::make_private(&dir).unwrap();
    let path = dir.join(format!("{:020}-{}.snapshot", about.audit.seq, about.at));
    let mut draft = Draft::of(&path).unwrap();
    let mut writer = Writer::begin(&mut draft, &path, &about).unwrap();
    let wants = |tree: &str| !snapshots::is_of_modules(tree);
    store.dump(wants, |record| writer.record(&record).map_err(backup::BackupError::from)).unwrap();
    writer.finish().unwrap();
    draft.put(|_| Ok::<_, backup::BackupError>(())).unwrap();
}

/// A data directory whose newest snapshot knows 1.0.0; 1.1.0 was registered and served since. Its store is open still.
fn data() -> (TempDir, AuditLog, Store) {
    let dir = TempDir::new().unwrap();
    let data = dir.path();
    let log = AuditLog::open(&data.join("audit")).unwrap();
    let store = Store::open(&data.join("store")).unwrap();
    fs::create_dir_all(data.join("bundles").join(DIGEST)).unwrap();
    told(&log, Kind::Registered, "m@1.0.0", json!({ "digest": DIGEST }));
    register(&store, "1.0.0");
    snapshot(data, &store, log.head().unwrap());
    told(&log, Kind::Registered, "m@1.1.0", json!({ "digest": DIGEST }));
    told(&log, Kind::Registered, "m@1.2.0", json!({ "digest": "gone" }));
    told(&log, Kind::ActivationBegan, "m@1.1.0", json!({ "strategy": "instant" }));
    told(&log, Kind::ActivationEnded, "m@1.1.0", json!({ "outcome": "active", "number": 1 }));
    told(&log, Kind::PermissionGranted, "m@1.1.0", json!({ "permission": "system.environment:HOME", "revision": 1 }));
    told(&log, Kind::ActivationBegan, "m@1.0.0", json!({ "strategy": "gradual" }));
    register(&store, "1.1.0");
    KvStore::new(&store).put("m", "k", KvEntry::new("1"), 1000, 0).unwrap();
    (dir, log, store)
}

fn keys(store: &Store) -> Vec<String> {
    let mut keys = Vec::new();
    store
        .dump(
            |_| true,
            |record| {
                keys.push(format!("{} {}", record.tree, String::from_utf8_lossy(record.body())));
                Ok::<_, StoreError>(())
            },
        )
        .unwrap();
    keys
}

/// Loses what was written last, as the engine underneath does with what it cannot read.
fn lose(data: &Path, store: Store) {
    let mark = data.join("store/watermark");
    let text = fs::read_to_string(&mark).unwrap();
    drop(store);
    let number: u64 = text[..20].parse().unwrap();
    let line = format!("{:020}", number + 1);
    let check = blake3::hash(line.as_bytes()).to_hex();
    fs::write(&mark, format!("{line} {}\n", &check[..16])).unwrap();
}

#[test]
fn a_store_that_does_not_open_is_put_aside_and_made_anew_of_snapshot_and_log() {
    let (dir, log, store) = data();
    lose(dir.path(), store);
    let (store, report) = open(dir.path(), &log).unwrap();
    let report = report.expect("it is told");
    assert_eq!(report.saved, 1);
    assert!(
        report.cause.contains("acknowledged") && dir.path().join(&report.damaged).join("db").exists(),
        "{report:?}"
    );
    let keys = keys(&store);
    let has = |part: &str| keys.iter().any(|key| key.contains(part));
    assert_eq!(keys.iter().filter(|key| key.starts_with("definitions")).count(), 2, "{keys:#?}");
    assert!(has("\"serving\":\"1.1.0\"") && has("granted"), "{keys:#?}");
    let left = report.left.join("\n");
    for part in ["m@1.2.0 are gone", "activation of m@1.0.0 had not ended", "key-value"] {
        assert!(left.contains(part), "{part}: {left}");
    }
    // told once, then it is a store as any other
    let (events, mut seen) = (Events::default(), Vec::new());
    let mut alarms = events.subscribe();
    wait(report.tell(dir.path(), &log, &events)).unwrap();
    while let Ok(event) = alarms.try_recv() {
        seen.push(format!("{event:?}"));
    }
    assert!(seen.len() == 1 && seen[0].contains("made anew"), "{seen:?}");
    drop(store);
    assert_eq!(open(dir.path(), &log).unwrap().1, None);
}

#[test]
fn records_that_make_no_sense_are_damage_and_what_modules_keep_is_saved() {
    let (dir, log, store) = data();
    let tree: Tree<String, u64> = store.tree("definitions");
    let mut batch = crate::store::Batch::new();
    batch.put(&tree, "x", &1).unwrap();
    store.commit_blocking(batch).unwrap();
    drop((store, tree));
    let (store, report) = open(dir.path(), &log).unwrap();
    assert_eq!(report.expect("it is told").saved, 1);
    let kv = KvStore::new(&store);
    assert_eq!((kv.get("m", "k", 0), kv.used("m")), (Ok(Some(b"1".to_vec())), Ok(34)));
}

#[test]
fn a_record_of_a_newer_program_is_no_damage() {
    let (dir, log, store) = data();
    let mut newer = Vec::new();
    store
        .dump(
            |tree| tree == "registry",
            |record| {
                newer.push(record);
                Ok::<_, StoreError>(())
            },
        )
        .unwrap();
    newer[0].value[1] = 9;
    store.load_blocking(newer).unwrap();
    drop(store);
    let error = open(dir.path(), &log).unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("up to 1"), "{error}");
    assert!(
        !fs::read_dir(dir.path()).unwrap().any(|entry| entry.unwrap().path().display().to_string().contains("damaged"))
    );
}

#[test]
fn an_older_snapshot_serves_where_the_newest_is_damaged_and_without_one_nothing_is_changed() {
    let (dir, log, store) = data();
    snapshot(dir.path(), &store, log.head().unwrap());
    let all = snapshots::list(&dir.path().join(snapshots::FOLDER)).unwrap();
    fs::write(&all[0], "REPLUGBK").unwrap();
    lose(dir.path(), store);
    let (store, report) = open(dir.path(), &log).unwrap();
    let report = report.unwrap();
    assert!(report.from == 1 && report.left[0].starts_with("snapshot"), "{report:?}");
    for path in all {
        fs::remove_file(path).unwrap();
    }
    lose(dir.path(), store);
    let error = open(dir.path(), &log).unwrap_err().to_string();
    assert!(error.contains("no snapshot") && error.contains("replug restore"), "{error}");
    assert!(dir.path().join("store/db").exists() && !dir.path().join(REBUILDING).exists());
}

#[test]
fn a_snapshot_of_another_log_is_not_taken() {
    let (dir, log, store) = data();
    for path in snapshots::list(&dir.path().join(snapshots::FOLDER)).unwrap() {
        fs::remove_file(path).unwrap();
    }
    for audit in [Head { seq: 2, hash: "f".repeat(64) }, Head { seq: 99, hash: "f".repeat(64) }] {
        snapshot(dir.path(), &store, audit);
    }
    lose(dir.path(), store);
    let error = open(dir.path(), &log).unwrap_err().to_string();
    assert!(error.contains("another one than it knows") && error.contains("ends with"), "{error}");
}

#[test]
fn it_is_gone_on_with_wherever_it_was_cut_off() {
    for cut in 0..3 {
        let (dir, log, store) = data();
        let (data, path) = (dir.path(), dir.path().join(STORE));
        lose(data, store);
        match cut {
            0 => drop(fs::create_dir(data.join(REBUILDING))),
            _ => build(data, &log, "it is damaged".to_owned(), None).unwrap(),
        }
        if cut == 2 {
            fs::rename(&path, data.join("store.damaged-1")).unwrap();
        }
        assert!(is_there(data));
        let (store, report) = open(data, &log).unwrap();
        assert!(report.is_some(), "cut {cut}");
        assert_eq!(keys(&store).iter().filter(|key| key.starts_with("definitions")).count(), 2, "cut {cut}");
        assert!(!data.join(REBUILDING).exists() && !data.join(REBUILT).exists());
    }
}

#[test]
fn what_the_log_took_back_did_not_come_about() {
    let (dir, log, store) = data();
    // an end of a registration, and a registration, that the store refused
    told(&log, Kind::Unregistered, "m@1.0.0", json!({ "digest": DIGEST }));
    told(&log, Kind::Registered, "m@1.0.0", json!({ "reason": "the entry before did not come about" }));
    told(&log, Kind::Registered, "m@3.0.0", json!({ "digest": DIGEST }));
    told(&log, Kind::Unregistered, "m@3.0.0", json!({ "reason": "the entry before did not come about" }));
    lose(dir.path(), store);
    let (store, _) = open(dir.path(), &log).unwrap();
    let definitions = keys(&store).iter().filter(|key| key.starts_with("definitions")).count();
    assert_eq!(definitions, 2, "1.0.0 and 1.1.0");
}

#[test]
fn a_store_whose_files_are_gone_while_its_folder_stayed_is_made_anew_and_a_new_one_is_begun() {
    let (dir, log, store) = data();
    drop(store);
    fs::remove_dir_all(dir.path().join(STORE)).unwrap();
    fs::create_dir(dir.path().join(STORE)).unwrap();
    let (store, report) = open(dir.path(), &log).unwrap();
    let report = report.expect("it is told");
    assert!(report.cause.contains("it is empty, and entry 1"), "{report:?}");
    assert_eq!(keys(&store).iter().filter(|key| key.starts_with("definitions")).count(), 2);

    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(&dir.path().join("audit")).unwrap();
    told(&log, Kind::RuntimeStarted, "runtime", json!({}));
    for registered in [false, true] {
        let (store, report) = open(dir.path(), &log).unwrap();
        assert!(report.is_none() && !store.is_blank().unwrap());
        if !registered {
            // the log has it, and the end came before the store had
            told(&log, Kind::Registered, "m@1.0.0", json!({ "digest": DIGEST }));
        }
    }
}

#[test]
fn a_snapshot_that_is_whole_and_makes_no_sense_is_passed_over() {
    let (dir, log, store) = data();
    let tree: Tree<String, u64> = store.tree("definitions");
    let mut batch = crate::store::Batch::new();
    batch.put(&tree, "x", &1).unwrap();
    store.commit_blocking(batch).unwrap();
    snapshot(dir.path(), &store, log.head().unwrap());
    drop((store, tree));
    let (_store, report) = open(dir.path(), &log).unwrap();
    let report = report.unwrap();
    assert!(report.from == 1 && report.left[0].contains("is corrupt"), "{report:?}");
}

#[test]
fn the_log_says_of_a_version_that_is_not_confirmed_whether_there_is_a_way_back() {
    let ended = |more: serde_json::Value| {
        let (dir, log, store) = data();
        let mut data = json!({ "outcome": "provisional", "number": 2 });
        data.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        told(&log, Kind::ActivationEnded, "m@1.0.0", data);
        lose(dir.path(), store);
        let (store, report) = open(dir.path(), &log).unwrap();
        let slot = keys(&store).into_iter().find(|key| key.starts_with("slots")).unwrap();
        (slot, report.unwrap().left.join("\n"))
    };
    let (slot, left) = ended(json!({ "oneWay": "1.0.0", "oneWayOf": "n", "set": ["m", "n"], "owed": [] }));
    assert!(slot.contains(r#""oneWay":"1.0.0","oneWayOf":"n""#) && slot.contains(r#""set":["m","n"]"#), "{slot}");
    assert!(!left.contains("a way back"), "{left}");
    let (slot, _) = ended(json!({ "oneWay": null, "oneWayOf": null, "set": [], "owed": ["1.0.0"] }));
    assert!(slot.contains(r#""oneWay":null"#), "{slot}");
    let (slot, left) = ended(json!({}));
    assert!(slot.contains(r#""oneWay":"1.0.0""#) && left.contains("a way back"), "{slot}: {left}");
}

/// The log of a set of `m` and `n` whose 1.1.0 serve, of which it has the end of the first and then `more`.
fn set_cut_behind(more: impl Fn(&AuditLog)) -> (Vec<String>, String) {
    let (dir, log, store) = data();
    for id in ["m", "n"] {
        told(&log, Kind::ActivationBegan, &format!("{id}@1.2.0"), json!({ "strategy": "instant" }));
    }
    let waits = json!({ "oneWay": "1.2.0", "oneWayOf": null, "set": ["m", "n"], "owed": [] });
    let of = |of: serde_json::Value| {
        let mut of = of;
        of.as_object_mut().unwrap().extend(waits.as_object().cloned().unwrap());
        of
    };
    let member = of(json!({ "module": "n", "version": "1.2.0", "number": 4, "instant": true }));
    let ended = of(json!({ "outcome": "provisional", "number": 2, "members": [member] }));
    told(&log, Kind::ActivationEnded, "m@1.2.0", ended);
    more(&log);
    lose(dir.path(), store);
    let (store, report) = open(dir.path(), &log).unwrap();
    let slots = keys(&store).into_iter().filter(|key| key.starts_with("slots")).collect();
    (slots, report.unwrap().left.join("\n"))
}

#[test]
fn a_set_of_which_the_log_tells_one_end_and_not_the_other_is_replayed_whole() {
    let started = |log: &AuditLog| told(log, Kind::RuntimeStarted, "runtime", json!({}));
    let (slots, left) = set_cut_behind(|_| {});
    let waits = |slot: &String| slot.contains(r#""provisional":{"version":"1.2.0""#);
    assert!(slots.len() == 2 && slots.iter().all(waits), "{slots:#?}");
    assert!(slots.iter().all(|slot| slot.contains(r#""instant":true"#)), "{slots:#?}");
    assert!(!left.contains("@1.2.0 had not ended"), "{left}");
    // the start that follows keeps both, since there is no way back from them, or takes both back with the first that went
    let (slots, _) = set_cut_behind(started);
    assert!(slots.len() == 2 && slots.iter().all(|slot| slot.contains(r#""serving":"1.2.0""#)), "{slots:#?}");
    let (slots, _) = set_cut_behind(|log| {
        told(log, Kind::RolledBack, "n@1.2.0", json!({ "outcome": "rolled-back", "reason": "it fails", "number": 4 }));
        started(log);
    });
    let serving: Vec<bool> = slots.iter().map(|slot| slot.contains(r#""serving":"1.2.0""#)).collect();
    assert_eq!(serving, [false, false], "{slots:#?}");
    assert!(slots[0].contains(r#""serving":"1.1.0""#) && slots[1].contains(r#""serving":null"#), "{slots:#?}");
}
