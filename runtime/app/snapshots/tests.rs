//! Snapshots hold what they say, and the newest few are kept.

use tempfile::TempDir;

use super::*;
use crate::registry::{self, Told};
use crate::store::audit::{Entry, Kind, Who};
use crate::store::{KvEntry, KvStore};

fn maker(dir: &Path) -> Maker {
    let store = Store::open(&dir.join("store")).unwrap();
    let audit = AuditLog::open(&dir.join("audit")).unwrap();
    let pace = (Duration::from_millis(20), Duration::from_secs(60));
    Maker::new(dir.join(FOLDER), store, audit, Events::default(), pace)
}

fn register(store: &Store, version: u64) {
    let version = semver::Version::new(1, version, 0);
    registry::retell(store, vec![Told { id: "m".into(), version, digest: Some("d".into()), at: 7 }]).unwrap();
}

fn head(seq: u64) -> About {
    About { at: seq, ..backup::about(What::Snapshot, Head { seq, hash: "0".repeat(64) }) }
}

#[test]
fn a_snapshot_holds_all_but_what_modules_keep_and_is_made_where_something_changed() {
    let dir = TempDir::new().unwrap();
    let maker = maker(dir.path());
    register(&maker.store, 0);
    KvStore::new(&maker.store).put("m", "k", KvEntry::new("1"), 1000, 0).unwrap();
    maker.write(head(3)).unwrap();
    let found = list(&maker.dir).unwrap();
    let (about, records) = read(&found[0]).unwrap();
    let trees: Vec<&str> = records.iter().map(|record| record.tree.as_str()).collect();
    assert_eq!((about.audit.seq, trees), (3, vec!["definitions", "registry"]));
    // what modules keep is no change
    KvStore::new(&maker.store).put("m", "k", KvEntry::new("2"), 1000, 0).unwrap();
    maker.write(head(4)).unwrap();
    assert_eq!(list(&maker.dir).unwrap(), found);
    for seq in 5..9 {
        register(&maker.store, seq);
        maker.write(head(seq)).unwrap();
    }
    let kept: Vec<u64> = list(&maker.dir).unwrap().iter().map(|path| read(path).unwrap().0.audit.seq).collect();
    assert_eq!(kept, [8, 7, 6], "the newest first");
    #[cfg(unix)]
    for (path, mode) in [(maker.dir.clone(), 0o700), (list(&maker.dir).unwrap()[0].clone(), 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn snapshots_of_a_log_that_is_gone_do_not_pass_for_the_newest() {
    let dir = TempDir::new().unwrap();
    let maker = maker(dir.path());
    for (version, seq) in [(0, 97), (1, 98), (2, 99), (3, 2), (4, 3)] {
        register(&maker.store, version);
        maker.write(head(seq)).unwrap();
    }
    let kept: Vec<u64> = list(&maker.dir).unwrap().iter().map(|path| seq(path)).collect();
    assert_eq!(kept, [3, 2]);
}

#[test]
fn a_newest_one_that_is_damaged_is_followed_by_one_that_is_whole() {
    let dir = TempDir::new().unwrap();
    let maker = maker(dir.path());
    register(&maker.store, 0);
    maker.write(head(3)).unwrap();
    let path = list(&maker.dir).unwrap().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(read(&path), Err(ArchiveError::Damaged { .. })));
    maker.write(head(4)).unwrap();
    assert_eq!(list(&maker.dir).unwrap().len(), 2);
    assert!(read(&list(&maker.dir).unwrap()[0]).is_ok());
}

#[tokio::test]
async fn many_changes_make_one_and_the_end_makes_the_last() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let maker = tokio::task::spawn_blocking(move || maker(&path)).await.unwrap();
    let (store, audit, folder) = (maker.store.clone(), maker.audit.clone(), maker.dir.clone());
    for version in 0..5 {
        audit.append(Entry::new(Kind::Registered, Who::Admin, "m")).await.unwrap();
        let store = store.clone();
        tokio::task::spawn_blocking(move || register(&store, version)).await.unwrap();
    }
    let snapshots = Snapshots::of(maker);
    let seen = async || {
        while list(&folder).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        list(&folder).unwrap()
    };
    let first = seen().await;
    assert_eq!(first.len(), 1);
    assert_eq!(read(&first[0]).unwrap().1.iter().filter(|record| record.tree == "definitions").count(), 5);
    tokio::task::spawn_blocking({
        let store = store.clone();
        move || register(&store, 9)
    })
    .await
    .unwrap();
    audit.append(Entry::new(Kind::Registered, Who::Admin, "m")).await.unwrap();
    snapshots.end(Instant::now() + Duration::from_secs(60)).await;
    let last = list(&folder).unwrap();
    assert_eq!(read(&last[0]).unwrap().1.iter().filter(|record| record.tree == "definitions").count(), 6);
}

/// A disk that is slow is one whose reads and writes wait: here for a reader that is in the middle of the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_write_that_is_stuck_and_it_comes_to_nothing_later() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let maker = tokio::task::spawn_blocking(move || {
        let maker = maker(&path);
        register(&maker.store, 0);
        maker
    });
    let maker = maker.await.unwrap();
    let (store, folder, turn, events) =
        (maker.store.clone(), maker.dir.clone(), Arc::clone(&maker.turn), maker.events.clone());
    let ((reached, reads), (go, goes)) = (tokio::sync::oneshot::channel(), std::sync::mpsc::sync_channel::<()>(1));
    let slow = tokio::task::spawn_blocking(move || {
        let mut reached = Some(reached);
        store.dump(
            |_| true,
            |_| {
                if let Some(reached) = reached.take() {
                    reached.send(()).unwrap();
                    goes.recv().unwrap();
                }
                Ok::<_, BackupError>(())
            },
        )
    });
    reads.await.unwrap();
    let mut alarms = events.subscribe();
    Snapshots::of(maker).end(Instant::now() + Duration::from_millis(50)).await;
    let alarm = alarms.try_recv().unwrap();
    assert!(matches!(&*alarm, Event::Alarm { message, .. } if message.contains("the time of the stop")), "{alarm:?}");
    go.send(()).unwrap();
    slow.await.unwrap().unwrap();
    // whoever has the turn after it finds that it wrote nothing
    tokio::task::spawn_blocking(move || drop(turn.lock().unwrap())).await.unwrap();
    assert_eq!(list(&folder).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(named(&folder, "new").unwrap(), Vec::<PathBuf>::new());
}
