//! The sizes of namespaces, counted anew where entries came from elsewhere.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::KvStore;
use crate::store::{Batch, Prefix, StoreError};

/// Changes in a batch; a key may take 4 KiB.
const CHUNK: usize = 200;

impl KvStore {
    /// Counts what each module uses, removes entries that make no sense, and says how many those were. Nothing else may write
    /// meanwhile. Blocks.
    ///
    /// # Errors
    /// The store's.
    pub fn recount(&self) -> Result<u64, StoreError> {
        let (mut used, mut bad) = (BTreeMap::<String, u64>::new(), Vec::new());
        self.trees.entries.walk(&Prefix::all(), None, |(module, key), entry| {
            match entry {
                Ok(entry) => *used.entry(module).or_default() += entry.cost(&key),
                Err(_) => bad.push((module, key)),
            }
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        for (module, _) in self.trees.used.scan(&Prefix::all(), None, usize::MAX)? {
            used.entry(module).or_default();
        }
        let mut batch = Batch::new();
        for (at, (module, bytes)) in used.iter().enumerate() {
            batch.put(&self.trees.used, module, bytes)?;
            if at % CHUNK == CHUNK - 1 {
                self.store.commit_blocking(std::mem::take(&mut batch))?;
            }
        }
        self.store.commit_blocking(std::mem::take(&mut batch))?;
        for chunk in bad.chunks(CHUNK) {
            for (module, key) in chunk {
                batch.remove(&self.trees.entries, (module, key))?;
            }
            self.store.commit_blocking(std::mem::take(&mut batch))?;
        }
        Ok(bad.len() as u64)
    }
}
