//! Changes that happen together.

use super::codec::{self, Record};
use super::keys::{Key, KeyOf};
use super::{StoreError, Tree};

/// The most changes and conditions in a batch.
pub const MAX_BATCH_OPS: usize = 4096;

/// The most encoded bytes in a batch, keys and values.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Changes that are applied together or not at all, and conditions under which they are. Of two changes to one key the
/// later counts; conditions are about the state before the batch.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    conditions: Vec<Condition>,
    bytes: usize,
}

/// A key and what it holds after the batch; `None`: nothing.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) tree: &'static str,
    pub(super) label: String,
    pub(super) key: Vec<u8>,
    pub(super) expected: Option<Vec<u8>>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` under `key`, whatever was there.
    ///
    /// # Errors
    /// The key or the value is too large, cannot be encoded, or does not fit the batch; the batch is then as it was.
    pub fn put<K: Key, V: Record>(
        &mut self,
        tree: &Tree<K, V>,
        key: impl KeyOf<K>,
        value: &V,
    ) -> Result<(), StoreError> {
        let value = codec::encode(tree.name(), &|| format!("{key:?}"), value)?;
        let key = tree.key(&key)?;
        self.grow(key.len() + value.len())?;
        self.changes.push((key, Some(value)));
        Ok(())
    }

    /// Removes what is under `key`, if anything.
    ///
    /// # Errors
    /// The key is too large or does not fit the batch; the batch is then as it was.
    pub fn remove<K: Key, V: Record>(&mut self, tree: &Tree<K, V>, key: impl KeyOf<K>) -> Result<(), StoreError> {
        let key = tree.key(&key)?;
        self.grow(key.len())?;
        self.changes.push((key, None));
        Ok(())
    }

    /// Applies the batch only if `key` holds exactly `expected` (`None`: nothing) when its turn comes; otherwise the commit
    /// is a [`StoreError::Conflict`].
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn require<K: Key, V: Record>(
        &mut self,
        tree: &Tree<K, V>,
        key: impl KeyOf<K>,
        expected: Option<&V>,
    ) -> Result<(), StoreError> {
        let label = format!("{key:?}");
        let expected = expected.map(|value| codec::encode(tree.name(), &|| label.clone(), value)).transpose()?;
        let key = tree.key(&key)?;
        self.grow(key.len() + expected.as_ref().map_or(0, Vec::len))?;
        self.conditions.push(Condition { tree: tree.name(), label, key, expected });
        Ok(())
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Writes `value` under `key`, both as they are kept.
    pub(super) fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.grow(key.len() + value.len())?;
        self.changes.push((key, Some(value)));
        Ok(())
    }

    /// Whether a change of so many bytes fits beside those that it has.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.changes.len() + self.conditions.len() < MAX_BATCH_OPS && self.bytes + bytes <= MAX_BATCH_BYTES
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn into_parts(self) -> (Vec<Condition>, Vec<Change>) {
        (self.conditions, self.changes)
    }

    fn grow(&mut self, by: usize) -> Result<(), StoreError> {
        let (ops, bytes) = (self.changes.len() + self.conditions.len() + 1, self.bytes + by);
        if ops > MAX_BATCH_OPS || bytes > MAX_BATCH_BYTES {
            return Err(StoreError::BatchTooLarge { ops, bytes });
        }
        self.bytes = bytes;
        Ok(())
    }
}
