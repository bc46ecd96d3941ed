//! Damage to what was written long ago, in a store of several segments whose process was killed: it is noticed, or nothing is lost.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::dump::copy;
use super::{Note, note, open, put};
use crate::store::{Batch, Store, StoreError, Tree};

const DIR: &str = "REPLUG_TEST_STORE";
const WHAT: &str = "REPLUG_TEST_WRITES";

/// Bytes of a segment of the engine.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// Entries as those of modules: some are written, some of them written over far apart, then come others.
const FIRST: u64 = 600;
const THEN: u64 = 1200;

fn writes() -> impl Iterator<Item = (u64, u64)> {
    let first = (0..FIRST).map(|key| (key, 0));
    let over = (0..FIRST / 3).map(|turn| (turn * 211 % FIRST, 1));
    first.chain(over).chain((FIRST..THEN).map(|key| (key, 0)))
}

/// 16 KB of their own for each.
fn value(key: u64, round: u64) -> String {
    blake3::hash(&[key, round].map(u64::to_be_bytes).concat()).to_hex().repeat(250)
}

/// Writes until it is killed, but tells once all is acknowledged.
fn write(dir: &Path) -> ! {
    let store = Store::open(dir).unwrap();
    let tree: Tree<u64, Note> = store.tree("kv");
    for (key, round) in writes() {
        let mut batch = Batch::new();
        batch.put(&tree, key, &note(value(key, round))).unwrap();
        store.commit_blocking(batch).unwrap();
    }
    println!("\nwritten");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    unreachable!("it is killed before");
}

/// Writes batches, each of records that it writes over, until it is killed.
fn write_on(dir: &Path) -> ! {
    let store = Store::open(dir).unwrap();
    let tree: Tree<u64, Note> = store.tree("kv");
    for turn in 0.. {
        let mut batch = Batch::new();
        for key in 0..20 {
            batch.put(&tree, key + turn % 50, &note(format!("{turn}{}", "x".repeat(2000)))).unwrap();
        }
        store.commit_blocking(batch).unwrap();
        println!("\nwritten");
    }
    unreachable!("it is killed before");
}

/// What a start finds: the number of entries that are as they were, or what shows that some are not.
fn found(dir: &Path) -> Result<u64, StoreError> {
    let store = Store::open(dir)?;
    store.look_through()?;
    let tree: Tree<u64, Note> = store.tree("kv");
    let last: BTreeMap<u64, u64> = writes().collect();
    let right = last
        .into_iter()
        .filter(|(key, round)| tree.get(*key).unwrap().is_some_and(|kept| kept == note(value(*key, *round))));
    Ok(right.count() as u64)
}

fn child(dir: &Path, what: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = "store::tests::lost::a_bit_of_an_older_segment_is_noticed_or_nothing_is_lost";
    child.args(["--exact", name, "--test-threads", "1", "--nocapture"]).env(DIR, dir).env(WHAT, what);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_bit_of_an_older_segment_is_noticed_or_nothing_is_lost() {
    if let Ok(dir) = std::env::var(DIR) {
        let dir = Path::new(&dir);
        if std::env::var(WHAT).unwrap() == "all" { write(dir) } else { write_on(dir) }
    }
    let dir = TempDir::new().unwrap();
    let clean = dir.path().join("clean");
    let mut child = child(&clean, "all");
    let told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "written");
    assert!(told, "all was acknowledged");
    child.kill().unwrap();
    child.wait().unwrap();
    let size = std::fs::metadata(clean.join("db")).unwrap().len();
    assert!(size > 3 * SEGMENT, "{size} bytes");
    let mut noticed = 0;
    for (segment, at) in [(0, 1_000_000), (1, 4_000_000), (2, 3_000_000), (2, 7_500_000), (3, 3_000_000)] {
        let damaged = dir.path().join("damaged");
        copy(&clean, &damaged);
        let mut db = File::options().read(true).write(true).open(damaged.join("db")).unwrap();
        let (mut byte, place) = ([0], SeekFrom::Start(segment * SEGMENT + at));
        db.seek(place).and_then(|_| db.read_exact(&mut byte)).unwrap();
        db.seek(place).and_then(|_| db.write_all(&[byte[0] ^ 0x10])).unwrap();
        match found(&damaged) {
            Ok(right) => assert_eq!(right, THEN, "segment {segment}, byte {at}: lost without a word"),
            Err(StoreError::Damaged { cause, .. }) => {
                println!("segment {segment}, byte {at}: {cause}");
                noticed += 1;
            }
            Err(error) => panic!("segment {segment}, byte {at}: {error}"),
        }
        std::fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(noticed > 0, "one of them hit something");
    assert_eq!(found(&clean), Ok(THEN), "a kill alone is no damage");
}

/// Whether a record that the engine does not give any more, or gives as it was before, shows: that is what it does with one in a
/// damaged part of its file.
#[test]
fn a_record_that_the_engine_lost_or_has_an_older_one_of_is_noticed() {
    type Loss = fn(&sled::Db, &[u8], &[u8]);
    let losses: [(&str, Loss); 3] = [
        ("it has 1 records, and 2 were written", |db, key, _| drop(db.remove(key).unwrap())),
        ("the last that were written", |db, key, old| drop(db.insert(key, old).unwrap())),
        ("it has 3 records, and 2 were written", |db, key, old| drop(db.insert([key, b"x"].concat(), old).unwrap())),
    ];
    for (expected, lose) in losses {
        let (dir, store, notes) = open();
        for (key, text) in [("a", "one"), ("b", "one"), ("a", "two"), ("c", "x")] {
            store.commit_blocking(put(&notes, key, text)).unwrap();
        }
        let mut batch = put(&notes, "c", "y");
        batch.remove(&notes, "c").unwrap();
        store.commit_blocking(batch).unwrap();
        assert_eq!(store.look_through(), Ok(2));
        drop((store, notes));
        let path = dir.path().join("a/b");
        let db = sled::Config::new().path(&path).segment_size(8 * 1024 * 1024).open().unwrap();
        let (key, value) = db.iter().map(Result::unwrap).find(|(key, _)| key.starts_with(b"notes")).unwrap();
        let old = String::from_utf8_lossy(&value[2..]).replace("two", "one");
        lose(&db, &key, &[&value[..2], old.as_bytes()].concat());
        db.flush().unwrap();
        drop(db);
        let cause = match Store::open(&path).and_then(|store| store.look_through()) {
            Err(StoreError::Damaged { cause, .. }) => cause,
            other => panic!("{expected}: {other:?}"),
        };
        assert!(cause.contains(expected), "{cause}");
    }
}

#[test]
fn a_kill_at_any_time_is_no_damage() {
    let dir = TempDir::new().unwrap();
    for round in 0..8 {
        let mut child = child(dir.path(), "on");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines.by_ref().filter(|line| line == "written").take(3 + 7 * round).count();
        assert_eq!(acknowledged, 3 + 7 * round);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.look_through().is_ok_and(|records| records >= 20), "{:?}", store.look_through());
    }
}

#[test]
fn a_store_of_a_program_that_kept_no_sum_has_one_from_then_on() {
    let (dir, store, notes) = open();
    store.commit_blocking(put(&notes, "a", "one")).unwrap();
    drop((store, notes));
    let path = dir.path().join("a/b");
    let engine = || sled::Config::new().path(&path).segment_size(8 * 1024 * 1024).open().unwrap();
    let mark = crate::store::watermark::key();
    let db = engine();
    let number = db.get(&mark).unwrap().unwrap()[2..10].to_vec();
    db.insert(&mark, [&[0, 1], &number[..]].concat()).unwrap();
    drop(db);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.look_through(), Ok(1));
    store.commit_blocking(put(&store.tree("notes"), "b", "two")).unwrap();
    drop(store);
    assert_eq!(engine().get(&mark).unwrap().unwrap()[..2], [0, 2]);
    assert_eq!(Store::open(&path).unwrap().look_through(), Ok(2));
    // and a newer one is no damage
    let db = engine();
    db.insert(&mark, [&[0, 3], &number[..]].concat()).unwrap();
    drop(db);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Open { cause, .. } if cause.contains("newer version")), "{error}");
}
