use tempfile::TempDir;

use super::*;
use crate::monitor::InstanceKey;
use crate::sandbox::fs::Files;
use crate::store::{KvEntry, KvStore, Store};

struct World {
    tracker: ResourceTracker,
    accounts: ModuleAccounts,
    metrics: Metrics,
    kv: KvStore,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let kv = KvStore::new(&Store::open(&dir.path().join("store")).unwrap());
        let (accounts, metrics) = (ModuleAccounts::default(), Metrics::default());
        let files = Files::new(dir.path().join("files"));
        let storage = StorageLedger::new(kv.clone(), files, None, metrics.clone(), Default::default());
        let tracker = ResourceTracker::new(accounts.clone(), storage, metrics.clone());
        Self { tracker, accounts, metrics, kv, _dir: dir }
    }

    fn key(version: &str) -> InstanceKey {
        InstanceKey { id: "shop".into(), version: version.into(), generation: 1 }
    }
}

#[test]
fn a_module_is_told_as_one_over_its_versions_memory_time_calls_bytes_and_storage() {
    let world = World::new();
    let account = world.accounts.of(&"shop".into());
    account.counts.heap(900);
    account.counts.heap(-200);
    account.counts.cpu(Duration::from_millis(40));
    account.counts.call();
    for (version, bytes) in [("1.0.0", 10), ("2.0.0", 5)] {
        let instance = world.metrics.instance(&World::key(version));
        instance.received.inc_by(bytes);
        instance.sent.inc_by(3 * bytes);
        #[cfg(feature = "http-client")]
        world.metrics.http(&World::key(version)).sent.inc_by(bytes);
    }
    world
        .kv
        .put("shop", "greeting", KvEntry { value: b"\"hello\"".to_vec(), expires_at: None, cache: false }, 1 << 20, 0)
        .unwrap();
    let usage = world.tracker.usage("shop");
    assert_eq!((usage.memory, usage.peak_memory, usage.cpu_millis, usage.calls), (700, 900, 40, 1));
    assert_eq!(usage.requests, BytesMoved { received: 15, sent: 45 });
    #[cfg(feature = "http-client")]
    assert_eq!(usage.network, BytesMoved { received: 0, sent: 15 });
    assert!(usage.storage.kv > 5 && usage.storage.files == 0, "{:?}", usage.storage);
    assert_eq!(world.tracker.usages(["shop", "cart"]), [("shop", usage), ("cart", ModuleUsage::default())]);
}

#[test]
fn rates_are_of_the_time_between_the_last_two_measurements() {
    let world = World::new();
    let (account, start) = (world.accounts.of(&"shop".into()), Instant::now());
    account.counts.cpu(Duration::from_secs(5));
    assert_eq!(world.tracker.measure(start), [Arc::from("shop")]);
    assert_eq!((world.tracker.usage("shop").cpu, world.tracker.usage("shop").call_rate), (0.0, 0.0));
    account.counts.cpu(Duration::from_millis(500));
    (0..6).for_each(|_| account.counts.call());
    world.tracker.measure(start + Duration::from_secs(2));
    let usage = world.tracker.usage("shop");
    assert!((usage.cpu - 0.25).abs() < 1e-9 && (usage.call_rate - 3.0).abs() < 1e-9, "{usage:?}");
    world.tracker.measure(start + Duration::from_secs(4));
    assert_eq!((world.tracker.usage("shop").cpu, world.tracker.usage("shop").call_rate), (0.0, 0.0));
}

#[test]
fn quotas_are_compared_with_what_is_measured() {
    let world = World::new();
    let account = world.accounts.of(&"shop".into());
    account.counts.heap(4096);
    let start = Instant::now();
    world.tracker.measure(start);
    account.counts.cpu(Duration::from_millis(1500));
    world.tracker.measure(start + Duration::from_secs(1));
    let used = |resource| world.tracker.used("shop", resource);
    assert_eq!(used(ResourceType::HeapSize), Some(4096));
    assert_eq!(used(ResourceType::CpuUsage), Some(1_500_000), "millionths of a core");
    assert_eq!((used(ResourceType::Storage), used(ResourceType::Connections)), (Some(0), None));
    assert_eq!(world.tracker.used("cart", ResourceType::HeapSize), Some(0), "it never ran");
}

#[test]
fn a_module_that_is_forgotten_begins_anew() {
    let world = World::new();
    world.accounts.of(&"shop".into()).counts.call();
    world.tracker.measure(Instant::now());
    world.accounts.forget("shop");
    assert!(world.tracker.measure(Instant::now()).is_empty());
    assert_eq!(world.tracker.usage("shop"), ModuleUsage::default());
}
