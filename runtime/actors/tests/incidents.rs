//! What instances meet stands in the audit log, and a flood of it does not fill the log.

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::sandbox::PermissionManager;
use crate::sandbox::guard::permissions;
use crate::store::Store;
use crate::store::audit::{AuditLog, Kind, verify};

pub(super) struct Book {
    dir: TempDir,
    log: AuditLog,
    pub(super) manager: PermissionManager,
}

impl Book {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        let log = AuditLog::open(&dir.path().join("audit")).expect("a log");
        let manager = permissions(&store, log.clone(), &Metrics::default());
        Self { dir, log, manager }
    }

    /// An instance that runs, and whose incidents are written.
    async fn start(&self, rig: &Rig, script: &Arc<Script>, adjust: impl FnOnce(&mut Manifest)) -> Arc<Instance> {
        let instance = unshared(script, adjust);
        let live = self.manager.open(&instance.key, &instance.manifest);
        let instance = Arc::new(instance.governed(live));
        instance.first_vm().await.expect("a first VM");
        rig.start_tree(&instance).await.expect("a tree");
        instance
    }

    /// Kind and data of all entries, once they are written.
    async fn told(&self) -> Vec<(Kind, Json)> {
        self.manager.close().await;
        let whole = verify(&self.dir.path().join("audit")).expect("the chain is whole");
        let rows = self.log.read(1, 1000).await.expect("it can be read");
        assert_eq!(rows.len() as u64, whole.entries);
        let entries = rows.iter().map(|row| row.entry().expect("no damage"));
        entries.map(|entry| (entry.kind, serde_json::from_str(entry.data.get()).expect("JSON"))).collect()
    }
}

/// Waits until an instance that was stopped has no holder left: what was counted is written then.
async fn ended(instance: Arc<Instance>) {
    let held = Arc::downgrade(&instance);
    drop(instance);
    until(|| held.strong_count() == 0).await;
}

#[tokio::test]
async fn a_flood_of_verdicts_is_a_handful_of_entries_that_count_them_all() {
    let (book, rig, script) = (Book::new(), Rig::new().await, Script::new());
    let instance = book.start(&rig, &script, |_| {}).await;
    for _ in 0..10_000 {
        assert!(matches!(call(&instance, "limit").await, Err(CallError::Script(_))));
    }
    rig.stop(&instance).await;
    ended(instance).await;
    let told = book.told().await;
    let counts: Vec<_> = told.iter().map(|(_, data)| data["count"].as_u64().expect("a count")).collect();
    assert!(told.iter().all(|(kind, _)| *kind == Kind::LimitExceeded), "{told:?}");
    assert_eq!((counts.as_slice(), &told[0].1["requestId"]), ([1, 9_999].as_slice(), &json!("test")));
}

#[tokio::test]
async fn a_worker_that_fails_and_a_tree_that_gives_up_are_told() {
    let (book, mut rig, script) = (Book::new(), Rig::new().await, Script::new());
    let instance = book.start(&rig, &script, |manifest| manifest.runtime.supervision.intensity = 0).await;
    assert!(matches!(call(&instance, "panic").await, Err(CallError::Crashed(_))));
    rig.hear(critical).await;
    rig.stop(&instance).await;
    let told = book.told().await;
    let [(failed, worker), (limit, gave_up)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((*failed, *limit), (Kind::WorkerFailed, Kind::LimitExceeded));
    let panicked = (&json!("worker-0"), &json!("panicked: told to panic"), &json!(1));
    assert_eq!((&worker["child"], &worker["reason"], &worker["generation"]), panicked);
    assert_eq!((&gave_up["limit"], &gave_up["value"]), (&json!("runtime.supervision.intensity"), &json!(0)));
    assert!(gave_up["reason"].as_str().expect("a reason").contains("worker-0"), "{gave_up}");
}

#[tokio::test]
async fn what_goes_well_writes_nothing() {
    let (book, rig, script) = (Book::new(), Rig::new().await, Script::new());
    let instance = book.start(&rig, &script, |_| {}).await;
    for _ in 0..100 {
        call(&instance, "ok").await.expect("answered");
        assert!(matches!(call(&instance, "throw").await, Err(CallError::Script(_))));
    }
    rig.stop(&instance).await;
    ended(instance).await;
    assert_eq!(book.told().await, []);
}
