//! What the permission manager promises, on a real store and a real audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::manifest::{self, Manifest};
use crate::monitor::{InstanceKey, Metrics};
use crate::store::audit::{AuditLog, Row, Who};
use crate::store::{KvStore, Store};

mod checks;
mod deciding;
mod each;
mod properties;

/// Every kind of permission, each on a line of its own.
const ASKS: &str = "\
permissions:
  system:
    database:
      - { module: shop, access: write }
    filesystem:
      - { path: in/new, access: write }
    network:
      - { host: \"*.x.org\", ports: [443, 8443] }
      - { host: 10.0.0.7, ports: [80] }
    environment:
      - HOME
  application:
    routes:
      - /shop/*
    apis:
      - /api/shop/{id}
    components:
      - Chart
    configurations:
      - { module: shop, keys: [currency, vat.rate] }
  resources:
    memory:
      maxHeapSize: 200MiB
    storage:
      max: 128MiB
    network:
      connectionLimit: 16
";

/// A manifest without faults.
fn read(text: &str) -> Manifest {
    manifest::load(manifest::FILE_NAME, text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}\n{text}")).manifest
}

fn module(version: &str, more: &str) -> Manifest {
    read(&format!("id: m\nversion: {version}\n{more}"))
}

fn permission(text: &str) -> Permission {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn permissions(texts: &[&str]) -> Vec<Permission> {
    texts.iter().map(|text| permission(text)).collect()
}

/// A manager over a directory of its own, whose clock stands until it is moved.
struct World {
    dir: TempDir,
    store: Store,
    audit: AuditLog,
    kv: KvStore,
    metrics: Metrics,
    now: Arc<AtomicU64>,
    manager: PermissionManager,
}

impl World {
    fn new() -> Self {
        Self::over(TempDir::new().unwrap())
    }

    fn over(dir: TempDir) -> Self {
        let store = Store::open(&dir.path().join("store")).unwrap();
        let audit = AuditLog::open(&dir.path().join("audit")).unwrap();
        let (kv, metrics, now) = (KvStore::new(&store), Metrics::default(), Arc::new(AtomicU64::new(1_000_000)));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let parts = (clock as Clock, metrics.clone(), Arc::new(kv.clone()) as Arc<dyn crate::sandbox::ports::Usage>);
        let manager = PermissionManager::start(&store, audit.clone(), parts).unwrap();
        Self { dir, store, audit, kv, metrics, now, manager }
    }

    /// The same directory under a new manager.
    async fn reopened(self) -> Self {
        let Self { dir, store, audit, kv, manager, .. } = self;
        manager.close().await;
        store.close().await.unwrap();
        audit.close().await.unwrap();
        drop((store, audit, kv, manager));
        Self::over(dir)
    }

    fn passes(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    fn open(&self, manifest: &Manifest) -> Arc<Live> {
        let version = manifest.version.to_string().into();
        self.manager.open(&InstanceKey { id: "m".into(), version, generation: 1 }, manifest)
    }

    async fn decide(&self, manifest: &Manifest, ruling: Ruling, texts: &[&str]) -> Vec<Decided> {
        self.manager.decide(manifest, ruling, &permissions(texts), Who::Admin).await.unwrap()
    }

    /// Kind, subject and data of what the audit log holds once everything that was handed over is written.
    async fn told(&self) -> Vec<(String, String, Value)> {
        self.manager.close().await;
        let rows = self.audit.read(1, 1000).await.unwrap();
        let entries = rows.iter().map(|row| match row {
            Row::Entry(it) => {
                (it.kind.name().to_owned(), it.subject.clone(), serde_json::from_str(it.data.get()).unwrap())
            }
            Row::Damage(damage) => panic!("{damage:?}"),
        });
        entries.collect()
    }
}
