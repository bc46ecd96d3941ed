//! The ledger of storage: a module's key-value store, files and database together stay within
//! `permissions.resources.storage.max`.
//!
//! Each of the three keeps its own count; the ledger adds them up before something grows. What grows counts from before it
//! is written, so two writes at once never go over together. Only the database cannot say beforehand how much a transaction will
//! take: it is told how large its file may become, and other writes made while it runs may go over by what it adds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use replug_scripts::{HostError, HostErrorKind};
use serde::{Deserialize, Serialize};

use crate::monitor::Metrics;
use crate::sandbox::fs::Files;
use crate::sandbox::permissions::Live;
use crate::sandbox::ports::Database;
use crate::store::KvStore;

/// What modules keep on the disk. Clones share it.
#[derive(Clone)]
pub struct StorageLedger {
    kv: KvStore,
    files: Files,
    database: Option<Arc<dyn Database>>,
    metrics: Metrics,
    accounts: Accounts,
}

/// What the ledgers of a runtime know of its modules. Clones share it.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<HashMap<Arc<str>, Arc<Account>>>>);

/// What the ledger itself knows of a module.
#[derive(Default)]
struct Account {
    /// Bytes that entries on their way into the key-value store may add.
    coming: AtomicU64,
    /// Whose quota what others write keeps to.
    owner: Mutex<Owner>,
}

/// Whose quota it is.
#[derive(Default)]
struct Owner {
    /// What was decided about the version; weak, since one that has ended is let go of.
    live: Weak<Live>,
    /// Its quota, as it was seen last.
    max: u64,
    /// Whether it has the module's slot. Until one does, it is the one that was started last.
    has_slot: bool,
}

impl Owner {
    fn max(&mut self) -> u64 {
        if let Some(live) = self.live.upgrade() {
            self.max = live.grants().storage;
        }
        self.max
    }
}

impl Accounts {
    fn account(&self, module: &str) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(module) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account::default());
        accounts.insert(module.into(), Arc::clone(&account));
        account
    }

    fn owned(&self, module: &str, live: &Arc<Live>, has_slot: bool) {
        let account = self.account(module);
        let mut owner = account.owner.lock().unwrap_or_else(PoisonError::into_inner);
        // a version that only starts has nothing to say beside one that has the slot
        if has_slot || !owner.has_slot {
            *owner = Owner { live: Arc::downgrade(live), max: live.grants().storage, has_slot };
        }
    }

    /// The version about which this was decided has the slot of `module`: what others write for that keeps to its quota.
    pub fn own(&self, module: &str, live: &Arc<Live>) {
        self.owned(module, live, true);
    }
}

/// What a module uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The key-value store, with what is on its way there.
    pub kv: u64,
    /// The files.
    pub files: u64,
    /// The database.
    pub database: u64,
}

impl Used {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.kv.saturating_add(self.files).saturating_add(self.database)
    }
}

/// Which of the three grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key-value store.
    Kv,
    /// The files.
    Files,
    /// The database.
    Database,
}

/// An entry on its way into the key-value store; it counts until this is dropped.
#[must_use = "it counts only while it is kept"]
pub struct Coming {
    account: Arc<Account>,
    bytes: u64,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.account.coming.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl StorageLedger {
    /// The ledger of these.
    #[must_use]
    pub fn new(
        kv: KvStore,
        files: Files,
        database: Option<Arc<dyn Database>>,
        metrics: Metrics,
        accounts: Accounts,
    ) -> Self {
        Self { kv, files, database, metrics, accounts }
    }

    fn account(&self, module: &str) -> Arc<Account> {
        self.accounts.account(module)
    }

    /// A version of `module` starts. Its own writes are held to its own quota; what others write for it, to that of the version
    /// that has the slot, and before one has it, to that of the one that was started last.
    pub fn open(&self, module: &str, live: &Arc<Live>) {
        self.accounts.owned(module, live, false);
    }

    /// The quota that what others write for `module` keeps to.
    #[must_use]
    pub fn max(&self, module: &str) -> u64 {
        self.account(module).owner.lock().unwrap_or_else(PoisonError::into_inner).max()
    }

    /// What `module` uses.
    ///
    /// # Errors
    /// `failed` when the store or the files cannot be read.
    pub fn used(&self, module: &str) -> Result<Used, HostError> {
        // first what is on its way: an entry leaves there only once it is in the store
        let coming = self.account(module).coming.load(Ordering::SeqCst);
        let kv = self.kv.used(module).map_err(|error| HostError::new(HostErrorKind::Failed, error.to_string()))?;
        Ok(Used {
            kv: kv.saturating_add(coming),
            files: self.files.used(module)?,
            database: self.database.as_ref().map_or(0, |database| database.size(module)),
        })
    }

    /// Counts an entry of up to `bytes` bytes that is on its way into the key-value store.
    pub fn coming(&self, module: &str, bytes: u64) -> Coming {
        let account = self.account(module);
        // in one order with what files count: of two that grow at once, one sees the other
        account.coming.fetch_add(bytes, Ordering::SeqCst);
        Coming { account, bytes }
    }

    /// Bytes that the key-value store or the database may take in all, beside what the others take.
    ///
    /// # Errors
    /// As [`StorageLedger::used`].
    pub fn room(&self, module: &str, kind: Kind, max: u64) -> Result<u64, HostError> {
        let used = self.used(module)?;
        let others = match kind {
            Kind::Kv => used.files + used.database,
            Kind::Files => used.kv + used.database,
            Kind::Database => used.kv + used.files,
        };
        Ok(max.saturating_sub(others))
    }

    /// Whether the files may take `files` bytes.
    ///
    /// # Errors
    /// `overloaded` with the numbers and the line of the manifest that would raise the quota.
    pub fn check_files(&self, function: &str, module: &str, files: u64, max: u64) -> Result<(), HostError> {
        if files <= self.room(module, Kind::Files, max)? {
            return Ok(());
        }
        Err(self.exceeded(function, module, Kind::Files, files, max))
    }

    /// The refusal of a write after which `kind` would take `wanted` bytes: what is used, what is allowed, and the line of the
    /// manifest that would raise it.
    #[must_use]
    pub fn exceeded(&self, function: &str, module: &str, kind: Kind, wanted: u64, max: u64) -> HostError {
        let mut used = self.used(module).unwrap_or_default();
        match kind {
            Kind::Kv => used.kv = wanted,
            Kind::Files => used.files = wanted,
            Kind::Database => used.database = used.database.max(wanted),
        }
        let Used { kv, files, database } = used;
        let line = mebibytes(used.total().max(max.saturating_add(1)));
        HostError::new(
            HostErrorKind::Overloaded,
            format!(
                "{function}: storage quota exceeded: {} bytes with this write (kv {kv}, files {files}, database {database}), \
                 {max} allowed, nothing was changed; delete something, or ask for more: \
                 `permissions: {{ resources: {{ storage: {{ max: {line}MiB }} }} }}` in module.manifest.yaml",
                used.total()
            ),
        )
    }

    /// Shows what `module` uses at `/metrics`.
    pub fn show(&self, module: &str) {
        if let Ok(used) = self.used(module) {
            self.metrics.set_storage(module, used.kv, used.files, used.database);
        }
    }
}

/// Twice `bytes` in whole MiB: enough for what is asked and for some time.
fn mebibytes(bytes: u64) -> u64 {
    bytes.saturating_mul(2).div_ceil(1 << 20).max(1)
}
