//! A typed view of the records under one name.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::StoreError;
use super::codec::{self, Record};
use super::disk::Disk;
use super::keys::{Key, KeyOf, MAX_KEY, Prefix};

/// The records of one name, by key. Reading needs no writer and no lock; writing goes through a [`Batch`](super::Batch).
pub struct Tree<K, V> {
    disk: Arc<Disk>,
    name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Record> Tree<K, V> {
    pub(super) fn new(disk: Arc<Disk>, name: &'static str) -> Self {
        Self { disk, name, types: PhantomData }
    }

    /// The tree's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The record under `key`.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Corrupt`], or [`StoreError::TooNew`] when a newer program wrote it.
    pub fn get(&self, key: impl KeyOf<K>) -> Result<Option<V>, StoreError> {
        let found = self.disk.db.get(self.key(&key)?).map_err(|error| self.read_error(&error))?;
        found.map(|bytes| codec::decode(self.name, &|| format!("{key:?}"), &bytes)).transpose()
    }

    /// The first `limit` records under `prefix` in key order, from the one after `after` on.
    ///
    /// Changes made meanwhile may show in part.
    ///
    /// # Errors
    /// As [`Tree::get`]; one bad record fails the scan.
    pub fn scan(&self, prefix: &Prefix, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>, StoreError> {
        let mut records = Vec::new();
        if limit > 0 {
            self.walk(prefix, after, |key, value| {
                records.push((key, value?));
                Ok::<_, StoreError>(if records.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
        }
        Ok(records)
    }

    /// Shows `visit` the records under `prefix` in key order, from the one after `after` on, until it breaks. A record
    /// that cannot be read is shown as its error, so the visitor decides whether to go on.
    ///
    /// # Errors
    /// What `visit` returns; [`StoreError::Read`], or [`StoreError::Corrupt`] for a key that cannot be read.
    pub fn walk<E: From<StoreError>>(
        &self,
        prefix: &Prefix,
        after: Option<&K>,
        mut visit: impl FnMut(K, Result<V, StoreError>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let tree = self.tree_prefix();
        let first = [&tree, prefix.bytes()].concat();
        let from = match after {
            Some(key) => Bound::Excluded(self.key(key)?.max(first.clone())),
            None => Bound::Included(first.clone()),
        };
        for pair in self.disk.db.range((from, Bound::<Vec<u8>>::Unbounded)) {
            let (key, value) = pair.map_err(|error| self.read_error(&error))?;
            if !key.starts_with(&first) {
                break;
            }
            let mut bytes = &key[tree.len()..];
            let (Some(key), true) = (K::read(&mut bytes), bytes.is_empty()) else {
                let (key, cause) = (format!("{:02x?}", &*key), "its key is not of this tree's type".to_owned());
                return Err(StoreError::Corrupt { tree: self.name, key, cause }.into());
            };
            let value = codec::decode(self.name, &|| format!("{key:?}"), &value);
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn key(&self, key: &impl KeyOf<K>) -> Result<Vec<u8>, StoreError> {
        let mut bytes = self.tree_prefix();
        key.write(&mut bytes);
        if bytes.len() > MAX_KEY {
            return Err(StoreError::KeyTooLarge { tree: self.name, size: bytes.len(), limit: MAX_KEY });
        }
        Ok(bytes)
    }

    fn tree_prefix(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.name.write(&mut bytes);
        bytes
    }

    fn read_error(&self, error: &sled::Error) -> StoreError {
        StoreError::Read { tree: self.name, cause: error.to_string() }
    }
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), name: self.name, types: PhantomData }
    }
}

impl<K, V> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tree").field(&self.name).finish()
    }
}
