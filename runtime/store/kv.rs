//! The key-value store that scripts see: a namespace for each module, expiry, and a quota.
//!
//! A namespace's size is a counter that changes in the same batch as the entries, so it is right after any crash.
//! Every method blocks and must be called on a thread that may (script threads may, asynchronous code may not).

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Prefix, Store, Tree};

mod entry;
mod recount;

pub use entry::{KvEntry, KvError};

/// The most bytes a key may take.
pub const MAX_KV_KEY: usize = 1024;

/// The most bytes a value may take.
pub const MAX_KV_VALUE: usize = 60 * 1024;

/// The most keys one listing returns.
pub const MAX_KV_LIST: usize = 1000;

/// Entries looked at in one decision of the writer, so that others get their turn.
const CHUNK: usize = 1024;

/// The key-value store of all modules. Clones share it.
#[derive(Clone)]
pub struct KvStore {
    store: Store,
    trees: Trees,
    swept: Arc<Mutex<Option<(String, String)>>>,
}

#[derive(Clone)]
struct Trees {
    entries: Tree<(String, String), KvEntry>,
    used: Tree<String, u64>,
}

impl KvStore {
    /// The key-value store kept in `store`.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let trees = Trees { entries: store.tree("kv"), used: store.tree("kv-used") };
        Self { store: store.clone(), trees, swept: Arc::default() }
    }

    /// The value of `key` in the namespace of `module`, unless it expired.
    ///
    /// # Errors
    /// [`KvError::KeyTooLong`], or the store's.
    pub fn get(&self, module: &str, key: &str, now_ms: u64) -> Result<Option<Vec<u8>>, KvError> {
        check_key(key)?;
        let entry = self.trees.entries.get((module, key))?;
        Ok(entry.filter(|entry| entry.is_visible(now_ms)).map(|entry| entry.value))
    }

    /// Writes an entry; the namespace may then hold at most `quota` bytes: keys, values and 32 bytes for each entry.
    /// An entry that takes no more than the one it replaces is always taken.
    ///
    /// # Errors
    /// [`KvError::QuotaExceeded`] when even removing expired entries makes no room; a key or value too large; the store's.
    pub fn put(&self, module: &str, key: &str, entry: KvEntry, quota: u64, now_ms: u64) -> Result<(), KvError> {
        self.write(module, key, None, Some(entry), quota, now_ms).map(|_| ())
    }

    /// Removes an entry; tells whether there was one to see.
    ///
    /// # Errors
    /// [`KvError::KeyTooLong`], or the store's.
    pub fn delete(&self, module: &str, key: &str, now_ms: u64) -> Result<bool, KvError> {
        self.write(module, key, None, None, u64::MAX, now_ms)
    }

    /// Writes `new` (`None`: removes the entry) only if the value is `expected` (`None`: there is none); tells whether it
    /// was. Values are equal when they are the same JSON, whatever the order of an object's keys.
    ///
    /// # Errors
    /// As [`KvStore::put`].
    pub fn cas(
        &self,
        module: &str,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<KvEntry>,
        quota: u64,
        now_ms: u64,
    ) -> Result<bool, KvError> {
        let expected = Some(expected.map(<[u8]>::to_vec));
        self.write(module, key, expected, new, quota, now_ms)
    }

    /// Up to `limit` (at most [`MAX_KV_LIST`]) keys that begin with `prefix`, in order, from the one after `after` on.
    ///
    /// # Errors
    /// The store's.
    pub fn list(
        &self,
        module: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now_ms: u64,
    ) -> Result<Vec<String>, KvError> {
        let limit = limit.min(MAX_KV_LIST);
        let mut keys = Vec::new();
        if limit == 0 {
            return Ok(keys);
        }
        let after = after.map(|key| (module.to_owned(), key.to_owned()));
        self.trees.entries.walk(&Prefix::of(module).stem(prefix), after.as_ref(), |(_, key), entry| {
            if entry?.is_visible(now_ms) {
                keys.push(key);
            }
            Ok::<_, KvError>(until(keys.len() >= limit))
        })?;
        Ok(keys)
    }

    /// Bytes that `module` uses of its quota; expired entries count until they are removed.
    ///
    /// # Errors
    /// The store's.
    pub fn used(&self, module: &str) -> Result<u64, KvError> {
        Ok(self.trees.used.get(module)?.unwrap_or(0))
    }

    /// Removes the entries of `module` that are marked as cache; tells how many.
    ///
    /// # Errors
    /// The store's; some entries may be removed by then.
    pub fn clear_cache(&self, module: &str) -> Result<u64, KvError> {
        self.remove_where(module, |entry| entry.cache)
    }

    /// Removes all entries of `module`; tells how many.
    ///
    /// # Errors
    /// The store's; some entries may be removed by then.
    pub fn clear(&self, module: &str) -> Result<u64, KvError> {
        self.remove_where(module, |_| true)
    }

    /// Looks at up to `budget` entries (at most 1,024), going on from where the last call stopped, and removes the expired
    /// ones; tells how many. To be called now and then.
    ///
    /// # Errors
    /// The store's.
    pub fn sweep(&self, budget: usize, now_ms: u64) -> Result<u64, KvError> {
        let mut cursor = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let (trees, after, budget) = (self.trees.clone(), cursor.clone(), budget.min(CHUNK));
        let (removed, next) = self.store.update_blocking(move |batch| {
            trees.remove_some(batch, &Prefix::all(), after.as_ref(), budget, |entry| !entry.is_visible(now_ms))
        })?;
        *cursor = next;
        Ok(removed)
    }

    fn remove_where(
        &self,
        module: &str,
        doomed: impl Fn(&KvEntry) -> bool + Copy + Send + 'static,
    ) -> Result<u64, KvError> {
        let (mut total, mut after) = (0, None);
        loop {
            let (trees, prefix) = (self.trees.clone(), Prefix::of(module));
            let (removed, next) = self
                .store
                .update_blocking(move |batch| trees.remove_some(batch, &prefix, after.as_ref(), CHUNK, doomed))?;
            total += removed;
            if next.is_none() {
                return Ok(total);
            }
            after = next;
        }
    }

    /// The one write: `expected` is what must be visible before (`Some(None)`: nothing), `new` what is there after.
    /// `true`: something was changed, or written anew.
    fn write(
        &self,
        module: &str,
        key: &str,
        expected: Option<Option<Vec<u8>>>,
        new: Option<KvEntry>,
        quota: u64,
        now_ms: u64,
    ) -> Result<bool, KvError> {
        check_key(key)?;
        if let Some(size) = new.as_ref().map(|entry| entry.value.len()).filter(|size| *size > MAX_KV_VALUE) {
            return Err(KvError::ValueTooLarge { key: key.to_owned(), size });
        }
        let (trees, at) = (self.trees.clone(), (module.to_owned(), key.to_owned()));
        self.store.update_blocking(move |batch| {
            let old = trees.entries.get(&at)?;
            let visible = old.as_ref().filter(|entry| entry.is_visible(now_ms));
            let found = visible.map(|entry| entry.value.as_slice());
            let changed = match &expected {
                Some(expected) if !same_json(expected.as_deref(), found) => return Ok(false),
                Some(_) => true,
                None => new.is_some() || visible.is_some(),
            };
            trees.replace(batch, &at, old.as_ref(), new.as_ref(), quota, now_ms)?;
            Ok(changed)
        })
    }
}

impl Trees {
    fn replace(
        &self,
        batch: &mut Batch,
        at: &(String, String),
        old: Option<&KvEntry>,
        new: Option<&KvEntry>,
        quota: u64,
        now_ms: u64,
    ) -> Result<(), KvError> {
        let (module, key) = at;
        let before = self.used.get(module)?.unwrap_or(0);
        let gone = old.map_or(0, |entry| entry.cost(key));
        let mut after = before.saturating_sub(gone) + new.map_or(0, |entry| entry.cost(key));
        if after > quota && after > before {
            let mut seen = 0;
            self.entries.walk(&Prefix::of(module), None, |found, entry| {
                let entry = entry?;
                if found != *at && !entry.is_visible(now_ms) {
                    after = after.saturating_sub(entry.cost(&found.1));
                    batch.remove(&self.entries, &found)?;
                }
                seen += 1;
                Ok::<_, KvError>(until(seen >= CHUNK || after <= quota))
            })?;
            if after > quota {
                return Err(KvError::QuotaExceeded { module: module.clone(), used: after, quota });
            }
        }
        match new {
            Some(entry) => batch.put(&self.entries, at, entry)?,
            None => batch.remove(&self.entries, at)?,
        }
        self.set_used(batch, module, after)
    }

    /// Removes the doomed among the next `budget` entries; returns how many and, if there may be more, where to go on.
    fn remove_some(
        &self,
        batch: &mut Batch,
        prefix: &Prefix,
        after: Option<&(String, String)>,
        budget: usize,
        doomed: impl Fn(&KvEntry) -> bool,
    ) -> Result<(u64, Option<(String, String)>), KvError> {
        let (mut seen, mut removed, mut last) = (0, 0, None);
        let mut freed: Vec<(String, u64)> = Vec::new(); // The namespaces come in order, each once.
        self.entries.walk(prefix, after, |at, entry| {
            if seen >= budget {
                return Ok::<_, KvError>(ControlFlow::Break(()));
            }
            seen += 1;
            // An entry that cannot be read is passed over here: reading it reports it.
            if let Some(entry) = entry.ok().filter(|entry| doomed(entry)) {
                batch.remove(&self.entries, &at)?;
                removed += 1;
                match freed.last_mut() {
                    Some((module, bytes)) if *module == at.0 => *bytes += entry.cost(&at.1),
                    _ => freed.push((at.0.clone(), entry.cost(&at.1))),
                }
            }
            last = Some(at);
            Ok(ControlFlow::Continue(()))
        })?;
        for (module, bytes) in freed {
            let before = self.used.get(&module)?.unwrap_or(0);
            self.set_used(batch, &module, before.saturating_sub(bytes))?;
        }
        Ok((removed, last.filter(|_| seen >= budget)))
    }

    fn set_used(&self, batch: &mut Batch, module: &str, used: u64) -> Result<(), KvError> {
        match used {
            0 => batch.remove(&self.used, module)?,
            used => batch.put(&self.used, module, &used)?,
        }
        Ok(())
    }
}

impl fmt::Debug for KvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvStore").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Whether a key is short enough.
///
/// # Errors
/// [`KvError::KeyTooLong`].
pub fn check_key(key: &str) -> Result<(), KvError> {
    if key.len() > MAX_KV_KEY { Err(KvError::KeyTooLong { size: key.len() }) } else { Ok(()) }
}

fn same_json(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let parsed = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    match (a, b) {
        (Some(a), Some(b)) => a == b || parsed(a).is_some_and(|a| Some(a) == parsed(b)),
        (a, b) => a == b,
    }
}

fn until(done: bool) -> ControlFlow<()> {
    if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests;
