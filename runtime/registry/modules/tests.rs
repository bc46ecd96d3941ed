use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::registry::versions::Requirement;
use crate::store::StoreError;
use crate::store::audit::Row;

fn bundle(manifest: &str, script: &str) -> Bundle {
    let files = [(manifest::FILE_NAME, manifest), ("main.lua", script)];
    let files = files.map(|(path, text)| (path.to_owned(), Bytes::from(text.to_owned())));
    Bundle::new(BTreeMap::from(files)).unwrap()
}

fn module(id: &str, version: &str) -> Bundle {
    bundle(&format!("id: {id}\nname: {id}\nversion: {version}\n"), "return {}")
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// A data directory that outlives the registries on it.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn store(&self) -> Store {
        Store::open(&self.0.path().join("store")).unwrap()
    }

    fn audit(&self) -> AuditLog {
        AuditLog::open(&self.0.path().join("audit")).unwrap()
    }

    async fn open(&self) -> Registry {
        let now = AtomicU64::new(1000);
        let clock: Clock = Arc::new(move || now.fetch_add(1, Ordering::Relaxed));
        Registry::start(self.store(), self.audit(), self.0.path(), clock, Hosted::default(), None).await.unwrap()
    }

    /// Stops `registry` and opens another on the same files.
    async fn reopen(&self, registry: Registry) -> Registry {
        registry.stop().await;
        drop(registry);
        self.open().await
    }

    fn bundles(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path().join("bundles")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_registered_module_is_in_the_snapshot_and_there_after_a_restart() {
    let data = Data::new();
    let registry = data.open().await;
    let done = registry.register(module("a", "1.0.0")).await.unwrap();
    assert!(done.fresh);
    assert_eq!((done.definition.registered_at, done.definition.seq), (1000, 1));
    let before = registry.snapshot();
    assert!(Arc::ptr_eq(before.get("a", &version("1.0.0")).unwrap(), &done.definition));
    assert_eq!(Bundle::load(&done.definition.dir, &done.definition.digest).unwrap(), module("a", "1.0.0"));

    let registry = data.reopen(registry).await;
    let after = registry.snapshot();
    assert_eq!((after.revision, &after.modules), (before.revision, &before.modules));
    assert!(after.problems.is_empty());
}

#[tokio::test]
async fn the_same_content_again_changes_nothing_and_other_content_is_refused() {
    let data = Data::new();
    let registry = data.open().await;
    let first = registry.register(module("a", "1.0.0")).await.unwrap();
    let again = registry.register(module("a", "1.0.0")).await.unwrap();
    assert!(!again.fresh && Arc::ptr_eq(&first.definition, &again.definition));

    let other = bundle("id: a\nname: a\nversion: 1.0.0\n", "return { changed = true }");
    let offered = other.digest().to_owned();
    let message = registry.register(other).await.unwrap_err().to_string();
    assert!(message.starts_with("a@1.0.0 is already registered with other content"), "{message}");
    assert!(
        message.contains(&first.definition.digest) && message.contains(&offered),
        "both sides are named: {message}"
    );
    assert_eq!(registry.snapshot().revision, 1);
    assert_eq!(data.bundles(), [first.definition.digest.as_str()], "the refused files were not kept");
}

#[tokio::test]
async fn all_faults_are_reported_and_nothing_is_registered() {
    let data = Data::new();
    let registry = data.open().await;
    let bad = bundle("id: BAD\nname: a\nversion: one\n", "return {}");
    match registry.register(bad).await.unwrap_err() {
        RegistryError::Manifest(Faults(faults)) => {
            let at: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
            assert_eq!(at, [(1, 5), (3, 10)]);
        }
        other => panic!("{other}"),
    }
    let text = "id: a\nname: a\nversion: 1.0.0\nruntime: { entry: gone.lua }\n";
    let message = registry.register(bundle(text, "")).await.unwrap_err().to_string();
    assert!(message.contains("module.manifest.yaml:4:") && message.contains("gone.lua"), "{message}");
    assert!(registry.snapshot().modules.is_empty() && data.bundles().is_empty());
}

#[tokio::test]
async fn unregistering_removes_record_and_files_and_names_what_is_registered() {
    let data = Data::new();
    let registry = data.open().await;
    let kept = registry.register(module("a", "1.0.0")).await.unwrap().definition;
    registry.register(module("a", "1.1.0")).await.unwrap();
    registry.unregister_by(Who::Admin, "a", &[version("1.1.0")]).await.unwrap();
    let message = registry.unregister_by(Who::Admin, "a", &[version("1.1.0")]).await.unwrap_err().to_string();
    assert_eq!(message, "a@1.1.0 is not registered; registered of `a`: 1.0.0");
    let message = registry.unregister_by(Who::Admin, "b", &[version("1.0.0")]).await.unwrap_err().to_string();
    assert_eq!(message, "b@1.0.0 is not registered; no version of `b` is, register it first");
    let message =
        registry.unregister_by(Who::Admin, "a", &[version("1.0.0"), version("1.1.0")]).await.unwrap_err().to_string();
    assert!(message.starts_with("a@1.1.0 is not registered"), "all or none: {message}");
    assert_eq!(registry.snapshot().versions("a").count(), 1);
    assert_eq!(data.bundles(), [kept.digest.as_str()]);

    let revision = registry.snapshot().revision;
    let registry = data.reopen(registry).await;
    assert_eq!(registry.snapshot().revision, revision, "a revision is never used twice");
    assert_eq!(registry.snapshot().versions("a").collect::<Vec<_>>(), [&version("1.0.0")]);
    let again = registry.register(module("a", "1.1.0")).await.unwrap();
    assert!(again.fresh && again.definition.seq > revision);
}

#[tokio::test]
async fn concurrent_registrations_all_arrive_each_with_its_own_revision() {
    let data = Data::new();
    let registry = data.open().await;
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let registry = registry.clone();
            // Three tasks each register the same version.
            tokio::spawn(async move { registry.register(module("a", &format!("1.{}.0", n / 3))).await.unwrap() })
        })
        .collect();
    let (mut fresh, mut revisions) = (0, std::collections::BTreeSet::new());
    for task in tasks {
        let done = task.await.unwrap();
        fresh += u32::from(done.fresh);
        revisions.insert(done.definition.seq);
    }
    assert_eq!((fresh, revisions.len(), registry.snapshot().versions("a").count()), (10, 10, 10));
}

#[tokio::test]
async fn damaged_missing_and_foreign_files_are_problems_that_the_same_content_puts_right() {
    let data = Data::new();
    let registry = data.open().await;
    let mut dirs = Vec::new();
    for id in ["changed", "gone", "fine"] {
        dirs.push(registry.register(module(id, "1.0.0")).await.unwrap().definition.dir.clone());
    }
    registry.stop().await;
    drop(registry);
    fs::write(dirs[0].join("main.lua"), "os.exit()").unwrap();
    fs::remove_dir_all(&dirs[1]).unwrap();
    fs::create_dir(data.0.path().join("bundles/.unfinished-1-1")).unwrap();

    let registry = data.open().await;
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.modules.keys().collect::<Vec<_>>(), ["fine"]);
    let shown: Vec<_> = snapshot.problems.iter().map(|it| (it.id.as_str(), it.cause.as_str())).collect();
    assert!(
        matches!(shown[..], [("changed", a), ("gone", b)] if a.contains("changed on the disk") && b.contains("reading failed"))
    );
    assert_eq!(data.bundles().len(), 2, "the unfinished one was swept");

    let refused = registry.register(bundle("id: gone\nname: gone\nversion: 1.0.0\n", "return 1")).await;
    assert!(
        matches!(refused, Err(RegistryError::ContentDiffers { .. })),
        "a version never changes, not even a lost one"
    );
    let repaired = registry.register(module("changed", "1.0.0")).await.unwrap();
    assert!(!repaired.fresh);
    assert_eq!(
        (repaired.definition.seq, repaired.definition.registered_at),
        (1, 1000),
        "it is the registration of then"
    );
    assert!(registry.snapshot().revision > snapshot.revision);
    registry.unregister_by(Who::Admin, "gone", &[version("1.0.0")]).await.unwrap();
    let registry = data.reopen(registry).await;
    assert_eq!(registry.snapshot().modules.keys().collect::<Vec<_>>(), ["changed", "fine"]);
    assert!(registry.snapshot().problems.is_empty());
}

#[tokio::test]
async fn a_record_that_points_elsewhere_is_a_problem_not_a_path() {
    let data = Data::new();
    let registry = data.open().await;
    let digest = registry.register(module("a", "1.0.0")).await.unwrap().definition.digest.clone();
    registry.stop().await;
    drop(registry);
    let store = data.store();
    let tree = store.tree::<(String, Version), records::DefinitionRecord>("definitions");
    let mut batch = crate::store::Batch::new();
    for (id, digest) in [("b", "../../outside"), ("c", &digest)] {
        let record = records::DefinitionRecord { digest: digest.to_owned(), registered_at: 1, seq: 9 };
        batch.put(&tree, (id, Version::new(1, 0, 0)), &record).unwrap();
    }
    store.commit(batch).await.unwrap();
    drop((store, tree));
    let registry = data.open().await;
    let problems = registry.snapshot().problems.clone();
    assert!(problems[0].cause.contains("`../../outside` is none"), "{problems:?}");
    assert!(problems[1].cause.contains("its files are those of a@1.0.0"), "{problems:?}");
    registry.unregister_by(Who::Admin, "b", &[version("1.0.0")]).await.unwrap();
    registry.unregister_by(Who::Admin, "c", &[version("1.0.0")]).await.unwrap();
    let registry = data.reopen(registry).await;
    assert_eq!(registry.snapshot().modules.keys().collect::<Vec<_>>(), ["a"], "whose files are still there");
    assert!(registry.snapshot().problems.is_empty());
}

#[tokio::test]
async fn after_stop_changes_are_refused_and_snapshots_can_be_read() {
    let data = Data::new();
    let registry = data.open().await;
    registry.register(module("a", "1.0.0")).await.unwrap();
    registry.stop().await;
    registry.stop().await;
    assert!(matches!(registry.register(module("b", "1.0.0")).await, Err(RegistryError::Stopped)));
    assert!(matches!(registry.unregister_by(Who::Admin, "a", &[version("1.0.0")]).await, Err(RegistryError::Stopped)));
    assert_eq!(registry.snapshot().modules.len(), 1);
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_snapshot_as_it_was() {
    let data = Data::new();
    let store = data.store();
    let clock: Clock = Arc::new(|| 1);
    let registry =
        Registry::start(store.clone(), data.audit(), data.0.path(), clock, Hosted::default(), None).await.unwrap();
    registry.register(module("a", "1.0.0")).await.unwrap();
    store.close().await.unwrap();
    for _ in 0..2 {
        let refused = registry.register(module("a", "1.1.0")).await;
        assert!(matches!(refused, Err(RegistryError::Store(crate::store::StoreError::Closed))));
    }
    assert!(registry.unregister_by(Who::Admin, "a", &[version("1.0.0")]).await.is_err());
    assert_eq!(registry.snapshot().versions("a").count(), 1);
    assert_eq!(registry.snapshot().revision, 1);
}

async fn audited(log: &AuditLog) -> Vec<String> {
    let records = log.read(1, 100).await.unwrap();
    records
        .iter()
        .filter_map(Row::entry)
        .map(|it| format!("{} {} {}", it.kind.name(), it.who.name(), it.subject))
        .collect()
}

#[tokio::test]
async fn what_is_registered_and_unregistered_is_audited_once_and_by_whom() {
    let data = Data::new();
    let (store, log) = (data.store(), data.audit());
    let registry = Registry::start(store.clone(), log.clone(), data.0.path(), Arc::new(|| 1), Hosted::default(), None)
        .await
        .unwrap();
    let done = registry.register_by(Who::Host, module("a", "1.0.0")).await.unwrap();
    registry.register_by(Who::Admin, module("a", "1.0.0")).await.unwrap();
    registry.register(module("a", "1.1.0")).await.unwrap();
    registry.register(bundle("id: a", "")).await.unwrap_err();
    registry.unregister_by(Who::Admin, "a", &[version("1.0.0")]).await.unwrap();
    let expected = ["registered host a@1.0.0", "registered runtime a@1.1.0", "unregistered admin a@1.0.0"];
    assert_eq!(audited(&log).await, expected);
    let first = log.read(1, 1).await.unwrap();
    assert_eq!(first[0].entry().unwrap().data.get(), format!(r#"{{"digest":"{}"}}"#, done.definition.digest));
    // what the store refuses is taken back in the log, which is written first
    store.close().await.unwrap();
    registry.register(module("b", "1.0.0")).await.unwrap_err();
    registry.unregister_by(Who::Admin, "a", &[version("1.1.0")]).await.unwrap_err();
    let expected = [
        "registered runtime b@1.0.0",
        "unregistered runtime b@1.0.0",
        "unregistered admin a@1.1.0",
        "registered runtime a@1.1.0",
    ];
    assert_eq!(audited(&log).await[3..], expected);
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let data = Data::new();
    let log = data.audit();
    let clock: Clock = Arc::new(|| 1);
    let registry =
        Registry::start(data.store(), log.clone(), data.0.path(), clock, Hosted::default(), None).await.unwrap();
    registry.register(module("a", "1.0.0")).await.unwrap();
    log.close().await.unwrap();
    for refused in [
        registry.register(module("a", "1.1.0")).await.map(drop),
        registry.unregister_by(Who::Admin, "a", &[version("1.0.0")]).await,
    ] {
        assert!(matches!(refused, Err(RegistryError::Audit(_))), "{refused:?}");
    }
    drop(log);
    let registry = data.reopen(registry).await;
    assert_eq!(registry.snapshot().versions("a").count(), 1);
}

#[tokio::test]
async fn definitions_are_found_by_version_capability_category_and_requirement() {
    let data = Data::new();
    let registry = data.open().await;
    for version in ["1.9.0", "1.10.0", "2.0.0-rc.1"] {
        let text = format!(
            "id: a\nname: a\nversion: {version}\ncapabilities: [{{ id: a.do, category: tools, version: 1.0.0 }}]\n"
        );
        registry.register(bundle(&text, "return {}")).await.unwrap();
    }
    registry.register(module("b", "0.1.0")).await.unwrap();
    let snapshot = registry.snapshot();
    let labels = |found: Vec<Arc<Definition>>| found.iter().map(|it| it.label()).collect::<Vec<_>>().join(" ");
    assert_eq!(snapshot.newest("a").unwrap().label(), "a@1.10.0");
    assert_eq!(labels(snapshot.find_by_capability("a.do")), "a@1.9.0 a@1.10.0 a@2.0.0-rc.1");
    assert_eq!(labels(snapshot.find_by_category("tools")), "a@1.9.0 a@1.10.0 a@2.0.0-rc.1");
    assert_eq!(labels(snapshot.find_by_capability("b.do")), "");
    let wanted = |text: &str| text.split(' ').map(|it| it.parse().unwrap()).collect::<Vec<Requirement>>();
    assert_eq!(labels(snapshot.find_compatible(&wanted("b a@>=1.10 a@*")).unwrap()), "b@0.1.0 a@1.10.0 a@1.9.0");
    let message = snapshot.find_compatible(&wanted("b a@^3")).unwrap_err().to_string();
    assert_eq!(message, "a@^3 is not registered; registered of `a`: 1.9.0, 1.10.0, 2.0.0-rc.1");
    assert_eq!(snapshot.resolve(&"a@1.9.0".parse().unwrap()).unwrap().label(), "a@1.9.0");
    assert_eq!(snapshot.resolve(&"a".parse().unwrap()).unwrap().label(), "a@1.10.0");
    assert!(snapshot.resolve(&"c".parse().unwrap()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_beside_a_write_that_the_store_does_not_get_done() {
    let (data, clock) = (Data::new(), Arc::new(|| 1000_u64) as Clock);
    let store = data.store();
    let started = Registry::start(store.clone(), data.audit(), data.0.path(), clock, Hosted::default(), None);
    let registry = started.await.unwrap();
    registry.register(module("a", "1.0.0")).await.unwrap();
    let ((begun, begins), (go, goes)) = (tokio::sync::oneshot::channel(), std::sync::mpsc::sync_channel::<()>(1));
    let stuck = tokio::spawn(async move {
        let wait = move |_: &mut crate::store::Batch| {
            let _ = begun.send(());
            goes.recv_timeout(Duration::from_secs(60)).map_err(|_| StoreError::Closed)
        };
        store.update(wait).await
    });
    begins.await.expect("the writer is in it");
    let (writer, before) = (registry.clone(), registry.snapshot());
    let writing = tokio::spawn(async move { writer.register(module("a", "1.1.0")).await });
    let waits = async {
        // its files are there, and its record waits for the writer
        while data.bundles().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it comes to the store");
    let reader = registry.clone();
    let reads = tokio::task::spawn_blocking(move || {
        for _ in 0..1000 {
            let now = reader.snapshot();
            assert!(Arc::ptr_eq(&now, &before), "what is not durable is not there");
            assert_eq!(now.newest("a").unwrap().manifest.version, version("1.0.0"));
            assert_eq!(now.versions("a").count(), 1);
        }
    });
    tokio::time::timeout(Duration::from_secs(20), reads).await.expect("no read waits").expect("no panic");
    assert!(!writing.is_finished() && !stuck.is_finished(), "both writes wait still");
    go.send(()).expect("the writer waits");
    stuck.await.expect("no panic").expect("it is written");
    assert!(writing.await.expect("no panic").expect("it is registered").fresh);
    assert_eq!(registry.snapshot().newest("a").unwrap().manifest.version, version("1.1.0"));
    registry.stop().await;
}
