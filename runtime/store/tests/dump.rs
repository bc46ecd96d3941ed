//! What a dump shows, what it is loaded as, and what shows that a store is not what it was.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Note, note, open, put};
use crate::store::{Batch, RawRecord, Store, StoreError};

type Records = Vec<RawRecord>;

fn dumped(store: &Store) -> Records {
    let mut all = Vec::new();
    store
        .dump(
            |_| true,
            |record| {
                all.push(record);
                Ok::<_, StoreError>(())
            },
        )
        .unwrap();
    all
}

#[test]
fn a_dump_is_of_one_moment_whatever_is_written_meanwhile() {
    let (_dir, store, notes) = open();
    let mut batch = Batch::new();
    for key in 0..1500 {
        batch.put(&notes, format!("k{key:04}"), &note("before")).unwrap();
    }
    store.commit_blocking(batch).unwrap();
    let before = dumped(&store);
    let (mut seen, mut round) = (Vec::new(), 0);
    let sink = |record: RawRecord| {
        seen.push(record);
        // once in each stretch: behind the cursor and before it, new keys and old ones
        if seen.len() % 200 == 1 {
            round += 1;
            let mut batch = Batch::new();
            for key in (round..1500).step_by(97) {
                batch.put(&notes, format!("k{key:04}"), &note("after"))?;
                batch.put(&notes, format!("k{key:04}x"), &note("new"))?;
                batch.remove(&notes, format!("k{:04}", key + 1))?;
            }
            store.commit_blocking(batch)?;
        }
        Ok::<_, StoreError>(())
    };
    store.dump(|_| true, sink).unwrap();
    assert!(round > 5);
    assert_eq!(seen, before);
    assert_ne!(dumped(&store), before, "they were written");
}

#[test]
fn what_was_dumped_is_the_same_store_elsewhere() {
    let (_dir, store, notes) = open();
    for key in ["a", "b"] {
        store.commit_blocking(put(&notes, key, "x")).unwrap();
    }
    let numbers = store.tree::<u64, u64>("numbers");
    let mut batch = Batch::new();
    (0..3).for_each(|key| batch.put(&numbers, key, &(key * 7)).unwrap());
    store.commit_blocking(batch).unwrap();
    let (all, dir) = (dumped(&store), TempDir::new().unwrap());
    let other = Store::open(dir.path()).unwrap();
    other.load_blocking(all.clone()).unwrap();
    assert_eq!(dumped(&other), all);
    assert_eq!(other.tree::<String, Note>("notes").get("b").unwrap(), Some(note("x")));
    let mut of = Vec::new();
    other
        .dump(
            |tree| tree == "numbers",
            |record| {
                of.push(record.tree);
                Ok::<_, StoreError>(())
            },
        )
        .unwrap();
    assert_eq!(of, ["numbers"; 3]);
    assert_eq!(other.look_through(), Ok(5));
}

#[test]
fn an_error_of_who_takes_a_dump_ends_it_and_the_next_one_is_whole() {
    let (_dir, store, notes) = open();
    store.commit_blocking(put(&notes, "a", "x")).unwrap();
    let stop = StoreError::Closed;
    assert_eq!(store.dump(|_| true, |_| Err(stop.clone())), Err(stop.clone()));
    store.commit_blocking(put(&notes, "b", "x")).unwrap();
    assert_eq!(dumped(&store).len(), 2);
}

#[test]
fn a_store_without_writes_that_were_acknowledged_is_damaged_and_can_be_saved_from() {
    let (dir, store, notes) = open();
    store.commit_blocking(put(&notes, "a", "one")).unwrap();
    let (path, before) = (dir.path().join("a/b"), dir.path().join("before"));
    drop((store, notes));
    copy(&path, &before);
    let store = Store::open(&path).unwrap();
    store.commit_blocking(put(&store.tree("notes"), "b", "two")).unwrap();
    drop(store);
    // the files as they were before the last write, and what says that there was one
    std::fs::copy(path.join("watermark"), before.join("watermark")).unwrap();
    let error = Store::open(&before).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { cause, .. } if cause.contains("acknowledged")), "{error}");
    let damaged = Store::open_damaged(&before).unwrap();
    let mut saved = Vec::new();
    assert_eq!(damaged.salvage(|tree| tree == "notes", |record| saved.push(record)), None);
    assert_eq!(saved.len(), 1);
    drop(damaged);
    assert!(Store::open(&before).is_err(), "that it was looked at changes nothing");
}

pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        } else {
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_dump_between_any_writes_is_what_was_there(
        first in prop::collection::btree_map("[a-c]{1,3}", "[a-z]{0,3}", 0..30),
        later in prop::collection::vec(("[a-c]{1,3}", prop::option::of("[a-z]{0,3}")), 0..30),
    ) {
        let (_dir, store, notes) = open();
        for (key, text) in &first {
            store.commit_blocking(put(&notes, key, text)).unwrap();
        }
        let (mut seen, mut later) = (BTreeMap::new(), later.into_iter());
        store.dump(|_| true, |record| {
            let mut batch = Batch::new();
            match later.next() {
                Some((key, Some(text))) => batch.put(&notes, key, &note(text))?,
                Some((key, None)) => batch.remove(&notes, key)?,
                None => {}
            }
            store.commit_blocking(batch)?;
            seen.insert(record.key, record.value);
            Ok::<_, StoreError>(())
        }).unwrap();
        prop_assert_eq!(seen.len(), first.len());
        let texts: Vec<String> = seen.values().map(|value| String::from_utf8_lossy(&value[2..]).into_owned()).collect();
        let expected: Vec<String> = first.values().map(|text| format!("{{\"text\":\"{text}\"}}")).collect();
        prop_assert_eq!(texts, expected);
    }
}
