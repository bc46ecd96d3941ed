//! A restore is whole or has not begun, wherever it is cut off.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::app::backup::about;
use crate::registry::Told;
use crate::store::archive::Writer;
use crate::store::{KvEntry, KvStore};

const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const ORPHAN: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A backup of a runtime with one version, one entry, a database and a file.
fn backup(dir: &Path, what: What) -> PathBuf {
    let store = Store::open(&dir.join("source")).unwrap();
    let told = Told { id: "m".into(), version: "1.0.0".parse().unwrap(), digest: Some(DIGEST.into()), at: 7 };
    registry::retell(&store, vec![told]).unwrap();
    KvStore::new(&store).put("m", "k", KvEntry::new("1"), 1000, 0).unwrap();
    let (path, head) = (dir.join("x.backup"), Head { seq: 4, hash: "0".repeat(64) });
    let mut writer = Writer::begin(File::create(&path).unwrap(), &path, &about(what, head)).unwrap();
    store.dump(|_| true, |record| writer.record(&record).map_err(BackupError::from)).unwrap();
    let files = [
        (Part::Bundle, format!("{DIGEST}/main.lua")),
        (Part::Bundle, format!("{DIGEST}/lib/util.lua")),
        (Part::Bundle, format!("{ORPHAN}/main.lua")),
        (Part::Database, "m".to_owned()),
        (Part::File, "m/notes/a.txt".to_owned()),
        (Part::Private, "webhook.secret".to_owned()),
    ];
    for (kind, name) in &files {
        writer.file(*kind, name, name.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    path
}

/// What is in a data directory, but for the log and the inside of stores.
fn shown(data: &Path) -> BTreeMap<String, String> {
    fn walk(top: &Path, dir: &Path, shown: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if name == "audit" {
            } else if path.join("db").exists() {
                shown.insert(name, "a store".to_owned());
            } else if path.is_dir() {
                walk(top, &path, shown);
            } else {
                shown.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(data, data, &mut found);
    found
}

fn restored() -> BTreeMap<String, String> {
    let bundle = |path: &str| (format!("bundles/{DIGEST}/{path}"), format!("{DIGEST}/{path}"));
    BTreeMap::from([
        ("store".to_owned(), "a store".to_owned()),
        bundle("main.lua"),
        bundle("lib/util.lua"),
        ("databases/m.sqlite".to_owned(), "m".to_owned()),
        ("files/m/notes/a.txt".to_owned(), "m/notes/a.txt".to_owned()),
        ("webhook.secret".to_owned(), "webhook.secret".to_owned()),
    ])
}

/// A data directory in which something ran.
fn used(data: &Path) {
    drop(Store::open(&data.join("store")).unwrap());
    for (path, text) in [("files/old/b.txt", "old"), ("admin.token", "token"), ("aborts", "m@1.0.0")] {
        let path = data.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn kinds(data: &Path) -> Vec<Kind> {
    let log = AuditLog::open(&data.join("audit")).unwrap();
    let rows = log.read_blocking(1, 100).unwrap();
    rows.iter().map(|row| row.entry().unwrap().kind).collect()
}

#[test]
fn an_empty_place_holds_what_the_backup_holds_and_the_log_says_so() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (backup(dir.path(), What::Backup), dir.path().join("a/data"));
    let done = wait(restore(&file, &data, false)).unwrap();
    assert_eq!((done.kept, done.contents.databases, done.contents.records), (None, 1, 4));
    assert_eq!(shown(&data), restored());
    assert_eq!(kinds(&data), [Kind::Restored]);
    let store = Store::open(&data.join("store")).unwrap();
    assert_eq!(KvStore::new(&store).get("m", "k", 0), Ok(Some(b"1".to_vec())));
    #[cfg(unix)]
    for (path, mode) in [("", 0o700), ("webhook.secret", 0o600), ("databases/m.sqlite", 0o600), ("files/m", 0o700)] {
        use std::os::unix::fs::PermissionsExt;
        let found = fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
}

#[test]
fn what_is_there_is_refused_or_kept() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (backup(dir.path(), What::Backup), dir.path().join("data"));
    used(&data);
    let before = shown(&data);
    let error = wait(restore(&file, &data, false)).unwrap_err().to_string();
    assert!(error.contains("not empty") && error.contains("--replace"), "{error}");
    assert_eq!(shown(&data), before);
    let kept = wait(restore(&file, &data, true)).unwrap().kept.expect("something was there");
    let mut expected = restored();
    expected.insert("admin.token".to_owned(), "token".to_owned());
    for (name, text) in before.into_iter().filter(|(name, _)| name != "admin.token") {
        expected.insert(format!("{kept}/{name}"), text);
    }
    assert_eq!(shown(&data), expected);
}

#[test]
fn a_runtime_that_runs_keeps_its_directory() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (backup(dir.path(), What::Backup), dir.path().join("data"));
    used(&data);
    let before = shown(&data);
    let log = AuditLog::open(&data.join("audit")).unwrap();
    let error = wait(restore(&file, &data, true)).unwrap_err().to_string();
    assert!(error.contains("in use by this process"), "{error}");
    drop(log);
    // a log that was moved away lets nobody in either
    let store = Store::open(&data.join("store")).unwrap();
    let error = wait(restore(&file, &data, true)).unwrap_err().to_string();
    assert!(error.contains("in use by this process"), "{error}");
    drop(store);
    assert_eq!(shown(&data), before);
}

#[test]
fn a_file_that_is_not_whole_or_no_backup_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (backup(dir.path(), What::Backup), dir.path().join("data"));
    used(&data);
    let (before, bytes) = (shown(&data), fs::read(&file).unwrap());
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for (wrong, says) in [(&bytes[..bytes.len() - 1], "cut off"), (&changed, "checksum"), (b"a letter", "no backup")] {
        fs::write(&file, wrong).unwrap();
        let error = wait(restore(&file, &data, true)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(shown(&data), before);
    }
    fs::remove_dir_all(dir.path().join("source")).unwrap();
    let snapshot = backup(dir.path(), What::Snapshot);
    let error = wait(restore(&snapshot, &dir.path().join("none"), false)).unwrap_err().to_string();
    assert!(error.contains("snapshot") && !dir.path().join("none").exists(), "{error}");
}

#[test]
fn a_restore_that_is_cut_off_anywhere_is_gone_on_with() {
    let dir = TempDir::new().unwrap();
    let (file, mut cuts) = (backup(dir.path(), What::Backup), 0);
    let contents = archive::verify(&file).unwrap();
    loop {
        let data = dir.path().join(format!("data-{cuts}"));
        used(&data);
        let order = Order {
            hash: contents.hash.clone(),
            at: contents.about.at,
            audit: contents.about.audit.clone(),
            kept: Some("before-1".to_owned()),
        };
        build(&file, &data.join(UNFINISHED), &order).unwrap();
        let (before, mut left) = (shown(&data), cuts);
        let mut cut = |from: &Path, to: &Path| {
            if left == 0 {
                return Err(io::Error::other("cut off"));
            }
            left -= 1;
            fs::rename(from, to)
        };
        let named = cut(&data.join(UNFINISHED), &data.join(READY));
        let placed = named.map_err(failed(&data, "renaming")).and_then(|()| place(&data, &order, &mut cut));
        let found = settle(&data).unwrap();
        if cuts == 0 {
            assert_eq!(found, None, "nothing had begun");
            let unfinished = |name: &String| name.starts_with(UNFINISHED);
            assert_eq!(shown(&data), before.into_iter().filter(|(name, _)| !unfinished(name)).collect());
        } else {
            assert_eq!(found.as_ref(), Some(&order), "cut {cuts}");
            forget(&data).unwrap();
            let mut expected = restored();
            expected.insert("admin.token".to_owned(), "token".to_owned());
            for (name, text) in [("store", "a store"), ("files/old/b.txt", "old"), ("aborts", "m@1.0.0")] {
                expected.insert(format!("before-1/{name}"), text.to_owned());
            }
            assert_eq!(shown(&data), expected, "cut {cuts}");
            assert_eq!(settle(&data).unwrap(), None, "and that was all");
        }
        if placed.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 8, "{cuts}");
}

#[test]
fn a_restore_that_the_next_one_completes_is_told_before_that() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (backup(dir.path(), What::Backup), dir.path().join("data"));
    let contents = archive::verify(&file).unwrap();
    let (hash, at, audit) = (contents.hash, 11, contents.about.audit);
    let order = Order { hash, at, audit, kept: None };
    fs::create_dir(&data).unwrap();
    build(&file, &data.join(UNFINISHED), &order).unwrap();
    fs::rename(data.join(UNFINISHED), data.join(READY)).unwrap();
    wait(restore(&file, &data, true)).unwrap();
    let log = AuditLog::open(&data.join(audit::FOLDER)).unwrap();
    let rows = log.read_blocking(1, 10).unwrap();
    let told: Vec<serde_json::Value> =
        rows.iter().map(|row| serde_json::from_str(row.entry().unwrap().data.get()).unwrap()).collect();
    assert!(told.len() == 2 && told[0]["at"] == 11 && told[1]["at"] != 11, "{told:?}");
}

#[test]
fn a_file_of_a_backup_that_has_no_end_is_refused_wherever_it_breaks_off() {
    let dir = TempDir::new().unwrap();
    let file = backup(dir.path(), What::Backup);
    let archive = Archive::open(&file).unwrap();
    let path = dir.path().join("open");
    let open = (path.clone(), File::create(&path).unwrap());
    let error = ended(&archive, Some(&open)).unwrap_err().to_string();
    assert!(error.contains("is not told to its end"), "{error}");
    ended(&archive, None).unwrap();
}

#[test]
fn no_name_leads_out_of_the_data_directory() {
    let name = |kind, name: &str| path_of(&Section { kind, name: name.to_owned(), content: Vec::new() });
    let digest = |path: &str| format!("{DIGEST}/{path}");
    for bad in ["", "/etc/passwd", "..", "m/../../x", "m/./x", "m//x", "m", "../m/x", "m/a\0b", "/m/x"] {
        assert!(name(Part::File, bad).is_err(), "{bad:?}");
    }
    assert!(name(Part::File, "m/a b/ü.txt").is_ok());
    for bad in ["m/x", "..", "", "a\0"] {
        assert!(name(Part::Database, bad).is_err(), "{bad:?}");
    }
    for bad in ["x/main.lua".to_owned(), DIGEST.to_uppercase() + "/a", digest("../../x"), digest("/x")] {
        assert!(name(Part::Bundle, &bad).is_err(), "{bad:?}");
    }
    assert!(name(Part::Private, "admin.token").is_err() && name(Part::Private, "aborts").is_ok());
}
