//! What the store promises, on real files.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use semver::Version;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;

mod dump;
mod lost;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Record for Note {
    const FORMAT: u16 = 2;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        to_json(self, out)
    }

    fn decode(format: u16, bytes: &[u8]) -> Result<Self, String> {
        match format {
            1 => String::from_utf8(bytes.to_vec()).map(|text| Self { text }).map_err(|error| error.to_string()),
            _ => from_json(bytes),
        }
    }
}

/// The tree of [`Note`] as an older program and as a newer one see it.
macro_rules! other_note {
    ($name:ident, $format:literal) => {
        struct $name(String);

        impl Record for $name {
            const FORMAT: u16 = $format;

            fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
                out.extend_from_slice(self.0.as_bytes());
                Ok(())
            }

            fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
                String::from_utf8(bytes.to_vec()).map(Self).map_err(|error| error.to_string())
            }
        }
    };
}
other_note!(OldNote, 1);
other_note!(NewNote, 3);

fn note(text: impl Into<String>) -> Note {
    Note { text: text.into() }
}

fn put(tree: &Tree<String, Note>, key: &str, text: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(tree, key, &note(text)).unwrap();
    batch
}

fn open() -> (TempDir, Store, Tree<String, Note>) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("a/b")).unwrap();
    let notes = store.tree("notes");
    (dir, store, notes)
}

#[test]
fn what_was_committed_is_there_after_a_reopen() {
    let (dir, store, notes) = open();
    store.commit_blocking(put(&notes, "a", "one")).unwrap();
    drop((store, notes));
    let store = Store::open(&dir.path().join("a/b")).unwrap();
    assert_eq!(store.tree("notes").get("a").unwrap(), Some(note("one")));
}

#[test]
fn a_directory_that_is_open_is_refused_until_its_last_handle_goes() {
    let (dir, store, notes) = open();
    let path = dir.path().join("a/b");
    let refused = Store::open(&path).unwrap_err();
    assert_eq!(refused, StoreError::Locked { dir: path.clone(), holder: "this process".to_owned() });
    drop(store);
    assert!(matches!(Store::open(&path), Err(StoreError::Locked { .. })), "a tree still reads from it");
    drop(notes);
    Store::open(&path).unwrap();
}

#[test]
fn a_path_that_is_no_directory_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let message = Store::open(&path).unwrap_err().to_string();
    assert!(message.contains("file: cannot be opened"), "{message}");
}

#[test]
fn trees_are_apart_and_scans_stay_inside_them() {
    let (_dir, store, notes) = open();
    let more = store.tree::<String, Note>("notes-more");
    let versions = store.tree::<(String, Version), Note>("versions");
    let mut batch = Batch::new();
    batch.put(&notes, "a", &note("notes")).unwrap();
    batch.put(&more, "a", &note("more")).unwrap();
    for version in ["1.10.0", "1.9.0", "1.9.0-rc.1", "0.1.0"] {
        batch.put(&versions, ("m", Version::parse(version).unwrap()), &note(version)).unwrap();
    }
    batch.put(&versions, ("mm", Version::new(0, 0, 1)), &note("other")).unwrap();
    store.commit_blocking(batch).unwrap();

    assert_eq!(notes.scan(&Prefix::all(), None, 10).unwrap(), [("a".to_owned(), note("notes"))]);
    let of = |after: Option<&(String, Version)>, limit| {
        let records = versions.scan(&Prefix::of("m"), after, limit).unwrap();
        records.into_iter().map(|(_, note)| note.text).collect::<Vec<_>>()
    };
    assert_eq!(of(None, 10), ["0.1.0", "1.9.0-rc.1", "1.9.0", "1.10.0"]);
    assert_eq!(of(None, 2), ["0.1.0", "1.9.0-rc.1"]);
    assert_eq!(of(None, 0), [""; 0]);
    let after = |version| Some(("m".to_owned(), Version::parse(version).unwrap()));
    assert_eq!(of(after("1.9.0-rc.1").as_ref(), 10), ["1.9.0", "1.10.0"]);
    assert_eq!(of(after("1.10.0").as_ref(), 10), [""; 0]);
    let before_all = ("a".to_owned(), Version::new(9, 0, 0));
    assert_eq!(of(Some(&before_all), 1), ["0.1.0"], "a cursor before the prefix begins at the prefix");
}

#[test]
fn a_batch_whose_condition_fails_changes_nothing() {
    let (_dir, store, notes) = open();
    let more = store.tree::<String, Note>("more");
    store.commit_blocking(put(&notes, "a", "one")).unwrap();

    let attempt = |expected: Option<&Note>| {
        let mut batch = put(&notes, "a", "two");
        batch.put(&more, "b", &note("other tree")).unwrap();
        batch.require(&notes, "a", expected).unwrap();
        store.commit_blocking(batch)
    };
    let conflict = StoreError::Conflict { tree: "notes", key: "\"a\"".to_owned() };
    assert_eq!(attempt(None), Err(conflict.clone()));
    assert_eq!(attempt(Some(&note("zero"))), Err(conflict));
    assert_eq!((notes.get("a").unwrap(), more.get("b").unwrap()), (Some(note("one")), None));

    assert_eq!(attempt(Some(&note("one"))), Ok(()));
    assert_eq!((notes.get("a").unwrap(), more.get("b").unwrap()), (Some(note("two")), Some(note("other tree"))));
}

#[test]
fn of_many_concurrent_writers_of_one_condition_exactly_one_wins() {
    let (_dir, store, notes) = open();
    let (barrier, wins) = (Barrier::new(16), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (store, notes, barrier, wins) = (&store, &notes, &barrier, &wins);
            scope.spawn(move || {
                let mut batch = put(notes, "a", &writer.to_string());
                batch.require(notes, "a", None).unwrap();
                barrier.wait();
                match store.commit_blocking(batch) {
                    Ok(()) => wins.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
                        0
                    }
                };
            });
        }
    });
    assert_eq!(wins.into_inner(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_concurrent_commits_and_updates_all_arrive() {
    let (dir, store, notes) = open();
    let count = store.tree::<String, u64>("count");
    let tasks = (0..600).map(|n: u64| {
        let (store, notes, count) = (store.clone(), notes.clone(), count.clone());
        tokio::spawn(async move {
            store.commit(put(&notes, &format!("{n:04}"), "x")).await?;
            store
                .update(move |batch| {
                    let next = count.get("all")?.unwrap_or(0) + 1;
                    batch.put(&count, "all", &next)?;
                    Ok::<_, StoreError>(next)
                })
                .await
        })
    });
    let mut seen = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        seen.push(task.await.unwrap().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=600).collect::<Vec<_>>(), "each update saw the one before it");
    store.close().await.unwrap();
    drop((store, notes, count));
    let store = Store::open(&dir.path().join("a/b")).unwrap();
    assert_eq!(store.tree::<String, Note>("notes").scan(&Prefix::all(), None, 1000).unwrap().len(), 600);
    assert_eq!(store.tree::<String, u64>("count").get("all").unwrap(), Some(600));
}

#[tokio::test]
async fn a_refused_or_panicking_decision_writes_nothing_and_the_writer_lives_on() {
    let (_dir, store, notes) = open();
    let tree = notes.clone();
    let refused = store
        .update(move |batch| {
            batch.put(&tree, "a", &note("never"))?;
            Err::<(), _>(StoreError::Closed)
        })
        .await;
    assert_eq!(refused, Err(StoreError::Closed));
    let panicked = store.update(|_| -> Result<(), StoreError> { panic!("a bug") }).await;
    assert_eq!(panicked, Err(StoreError::Decision { cause: "a bug".to_owned() }));
    assert_eq!(notes.get("a").unwrap(), None);
    store.commit(put(&notes, "a", "one")).await.unwrap();
}

#[test]
fn a_record_of_64_kib_is_refused_and_one_below_is_kept() {
    let (_dir, store, notes) = open();
    let fits = "x".repeat(MAX_VALUE - 2 - r#"{"text":""}"#.len());
    store.commit_blocking(put(&notes, "a", &fits)).unwrap();
    assert_eq!(notes.get("a").unwrap(), Some(note(fits.clone())));
    let refused = Batch::new().put(&notes, "a", &note(fits + "x")).unwrap_err();
    let expected = StoreError::ValueTooLarge { tree: "notes", key: "\"a\"".to_owned(), size: 65_536, limit: 65_535 };
    assert_eq!(refused, expected);
}

#[test]
fn the_largest_records_stay_in_the_file_that_is_synced() {
    let (dir, store, notes) = open();
    let text = "x".repeat(MAX_VALUE - 64);
    for n in 0..60 {
        store.commit_blocking(put(&notes, &format!("{n:02}{}", "k".repeat(4000)), &text)).unwrap();
    }
    let blobs = std::fs::read_dir(dir.path().join("a/b/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "the engine keeps nothing in files that nobody syncs");
}

#[test]
fn keys_and_batches_are_bounded() {
    let (_dir, _store, notes) = open();
    let long = "k".repeat(MAX_KEY);
    assert!(matches!(notes.get(&long), Err(StoreError::KeyTooLarge { size: 4105, .. })));
    let mut batch = Batch::new();
    let mut fill = || (0..).find_map(|n: u64| batch.put(&notes, n.to_string(), &note("x".repeat(60_000))).err());
    assert!(matches!(fill(), Some(StoreError::BatchTooLarge { ops: 18, .. })));
}

#[test]
fn a_record_of_a_newer_format_is_refused_and_an_older_one_is_read() {
    let (_dir, store, notes) = open();
    let mut batch = Batch::new();
    batch.put(&store.tree::<String, OldNote>("notes"), "old", &OldNote("plain".to_owned())).unwrap();
    batch.put(&store.tree::<String, NewNote>("notes"), "new", &NewNote("unknown".to_owned())).unwrap();
    store.commit_blocking(batch).unwrap();
    assert_eq!(notes.get("old").unwrap(), Some(note("plain")));
    let refused = notes.get("new").unwrap_err();
    assert_eq!(refused, StoreError::TooNew { tree: "notes", key: "\"new\"".to_owned(), found: 3, known: 2 });
}

#[test]
fn bytes_of_another_type_are_corrupt_not_a_panic() {
    let (_dir, store, notes) = open();
    let mut batch = Batch::new();
    batch.put(&store.tree::<u64, u64>("notes"), 7_u64, &7).unwrap();
    batch.put(&store.tree::<String, u64>("numbers"), "n", &u64::MAX).unwrap();
    store.commit_blocking(batch).unwrap();
    assert!(matches!(notes.scan(&Prefix::all(), None, 9), Err(StoreError::Corrupt { tree: "notes", .. })));
    assert!(matches!(store.tree::<String, Note>("numbers").get("n"), Err(StoreError::Corrupt { tree: "numbers", .. })));
}

#[tokio::test]
async fn after_close_reads_work_and_writes_are_refused() {
    let (_dir, store, notes) = open();
    store.commit(put(&notes, "a", "one")).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.commit(put(&notes, "a", "two")).await, Err(StoreError::Closed));
    assert_eq!(notes.get("a").unwrap(), Some(note("one")));
}

/// A store whose disk fails to sync the `fail_at`-th time; counts the syncs.
fn failing(fail_at: usize) -> (TempDir, Store, Tree<String, Note>, Arc<AtomicUsize>) {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(Disk::open(dir.path(), false).unwrap());
    let syncs = Arc::new(AtomicUsize::new(0));
    let (counter, durable) = (Arc::clone(&syncs), Arc::clone(&disk));
    let store = Store::with(disk, move || {
        if counter.fetch_add(1, Ordering::Relaxed) + 1 == fail_at {
            return Err(StoreError::Write { cause: "no space left".to_owned() });
        }
        durable.make_durable()
    });
    let store = store.unwrap();
    let notes = store.tree("notes");
    (dir, store, notes, syncs)
}

#[tokio::test]
async fn a_failed_sync_answers_all_who_shared_it_and_refuses_what_follows() {
    let (_dir, store, notes, syncs) = failing(2);
    store.commit(put(&notes, "a", "one")).await.unwrap();
    let shared: Vec<_> = (0..8).map(|n: u64| store.commit(put(&notes, &n.to_string(), "x"))).collect();
    let answers = futures::future::join_all(shared).await;
    let cause = "no space left".to_owned();
    for answer in answers {
        let (failed, refused) =
            (StoreError::Write { cause: cause.clone() }, StoreError::Poisoned { cause: cause.clone() });
        assert!(answer == Err(failed) || answer == Err(refused), "none was acknowledged");
    }
    assert_eq!(store.commit(put(&notes, "b", "x")).await, Err(StoreError::Poisoned { cause: cause.clone() }));
    assert_eq!(syncs.load(Ordering::Relaxed), 2, "a poisoned store does not sync again and call it durable");
    assert_eq!(store.close().await, Err(StoreError::Poisoned { cause }));
}

#[test]
fn commits_that_wait_share_a_sync() {
    let (_dir, store, notes, syncs) = failing(usize::MAX);
    let (begun, begin) = std::sync::mpsc::sync_channel(1);
    let (release, held) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let busy = store.clone();
        scope.spawn(move || {
            let hold = move |_: &mut Batch| {
                begun.send(()).unwrap();
                held.recv().unwrap();
                Ok::<_, StoreError>(())
            };
            busy.update_blocking(hold).unwrap();
        });
        begin.recv().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let all = futures::future::join_all((0..20).map(|n: u64| store.commit(put(&notes, &n.to_string(), "x"))));
            // Polled after all commits were: they are in the queue by then.
            let (answers, ()) = futures::join!(all, async { release.send(()).unwrap() });
            assert_eq!(answers, vec![Ok(()); 20]);
        });
    });
    assert_eq!(syncs.load(Ordering::Relaxed), 1, "one for the update that was held and all that queued behind it");
}
