//! A backup whose records and databases are not of one time begins anew.

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

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_between_records_and_databases_makes_a_backup_begin_anew() {
    let dir = TempDir::new().unwrap();
    let sources = sources(dir.path()).await;
    let made = tokio::task::spawn_blocking(move || {
        sources.databases.create("m").unwrap();
        let (mut tries, mut number) = (0, 0);
        let made = sources.made_around(&mut || {
            tries += 1;
            if tries < TRIES {
                number += 1;
                activated(&sources.store, "m", number);
            }
        });
        let hash = made.unwrap().0.hash;
        assert_eq!((tries, hash.len()), (TRIES, 64));
        let endless = sources.made_around(&mut || {
            number += 1;
            activated(&sources.store, "m", number);
        });
        assert!(matches!(endless, Err(BackupError::Restless)), "{endless:?}");
        // a module without a database, and whatever else is written, is in the way of nothing
        let tree: crate::store::Tree<u64, u64> = sources.store.tree("others");
        let other = sources.made_around(&mut || {
            let mut batch = crate::store::Batch::new();
            batch.put(&tree, 1, &1).unwrap();
            sources.store.commit_blocking(batch).unwrap();
            number += 1;
            activated(&sources.store, "plain", number);
        });
        other.unwrap();
    });
    made.await.unwrap();
}
