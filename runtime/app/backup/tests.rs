//! A backup whose records and databases are not of one time begins anew.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::engine::retell::{Told, What, retell};
use crate::monitor::Events;

async fn sources(dir: &Path) -> Sources {
    let crate::app::data::Opened { store, chronicle, .. } =
        crate::app::data::open(dir, &Events::default()).await.unwrap();
    let audit = chronicle.log();
    let now = Arc::new(crate::app::upkeep::now);
    let registry =
        Registry::start(store.clone(), audit.clone(), dir, now, Arc::new(std::collections::BTreeMap::new()), None)
            .await
            .unwrap();
    Sources { data: dir.to_owned(), store, audit, registry, databases: Databases::open(dir.join("databases")).unwrap() }
}

/// An activation of a module that ended as entry `number`.
fn activated(store: &Store, id: &str, number: u64) {
    let what = What::Serves { version: semver::Version::new(number, 0, 0), unconfirmed: None, instant: true, number };
    retell(store, vec![Told { id: id.to_owned(), what, at: 7 }]).unwrap();
}

/// What happens in the middle of each try: of so many first ones `id` is activated, and each is counted with its time.
fn busy(store: &Store, id: &'static str, times: usize) -> (impl Fn() + Clone + Send + 'static, Seen) {
    let (store, seen, began) = (store.clone(), Seen::default(), Instant::now());
    let into = Arc::clone(&seen);
    let between = move || {
        let mut into = into.lock().unwrap();
        into.push(began.elapsed());
        if into.len() <= times {
            activated(&store, id, NUMBER.fetch_add(1, Ordering::Relaxed));
        }
    };
    (between, seen)
}

type Seen = Arc<Mutex<Vec<Duration>>>;

const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(60)];

static NUMBER: AtomicU64 = AtomicU64::new(1);

#[tokio::test]
async fn a_backup_begins_anew_a_while_after_an_activation_between_its_records_and_its_databases() {
    let dir = TempDir::new().unwrap();
    let sources = sources(dir.path()).await;
    let databases = sources.databases.clone();
    tokio::task::spawn_blocking(move || databases.create("m")).await.unwrap().unwrap();
    let (between, seen) = busy(&sources.store, "m", 2);
    let hash = sources.made(PAUSES, between).await.unwrap().0.hash;
    assert_eq!(hash.len(), 64);
    let tries = seen.lock().unwrap().clone();
    let [first, second, third] = tries[..] else { panic!("{tries:?}") };
    assert!(second - first >= PAUSES[1] && third - second >= PAUSES[2], "{tries:?}");
    let (between, seen) = busy(&sources.store, "m", usize::MAX);
    let endless = sources.made(PAUSES, between).await;
    assert!(matches!(endless, Err(BackupError::Restless)), "{endless:?}");
    assert_eq!(seen.lock().unwrap().len(), TRIES.len());
    // a module without a database, and whatever else is written, is in the way of nothing
    let tree: crate::store::Tree<u64, u64> = sources.store.tree("others");
    let (store, (between, seen)) = (sources.store.clone(), busy(&sources.store, "plain", usize::MAX));
    let other = sources.made(PAUSES, move || {
        let mut batch = crate::store::Batch::new();
        batch.put(&tree, 1, &1).unwrap();
        store.commit_blocking(batch).unwrap();
        between();
    });
    other.await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
}
