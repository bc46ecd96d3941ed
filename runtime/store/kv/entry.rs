//! What the key-value store keeps, and its failures.

use super::{MAX_KV_KEY, MAX_KV_VALUE};
use crate::store::{Record, StoreError};

/// A failure of the key-value store; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The store beneath failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is too long.
    #[error("kv: a key of {size} bytes is longer than {MAX_KV_KEY}")]
    KeyTooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// The value is too large.
    #[error(
        "kv: the value of `{key}` takes {size} bytes, more than {MAX_KV_VALUE}; keep large content in a file or a table"
    )]
    ValueTooLarge {
        /// The entry's key.
        key: String,
        /// The value's size in bytes.
        size: usize,
    },
    /// The module would hold more than it may.
    #[error(
        "kv: storage quota of module `{module}` exceeded: {used} bytes with this entry, {quota} allowed; \
         delete entries or ask for more with permissions.resources.storage.max"
    )]
    QuotaExceeded {
        /// The module whose namespace it is.
        module: String,
        /// Bytes that would be used.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
}

/// A value and how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KvEntry {
    /// The value, as JSON text.
    pub value: Vec<u8>,
    /// When it ceases to exist, in milliseconds of the clock that callers pass as `now_ms`; `None`: never.
    pub expires_at: Option<u64>,
    /// Whether [`KvStore::clear_cache`](super::KvStore::clear_cache) removes it.
    pub cache: bool,
}

impl KvEntry {
    /// An entry that stays.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }

    pub(super) fn is_visible(&self, now_ms: u64) -> bool {
        self.expires_at.is_none_or(|at| now_ms < at)
    }

    /// Bytes that it costs of the quota under `key`.
    #[must_use]
    pub fn cost(&self, key: &str) -> u64 {
        (key.len() + self.value.len() + OVERHEAD) as u64
    }
}

/// What an entry costs of its quota beside its key and value, in bytes: empty ones are not free.
const OVERHEAD: usize = 32;

const EXPIRES: u8 = 1;
const CACHE: u8 = 2;

/// Flags, the expiry if there is one (8 bytes, big-endian), the value.
impl Record for KvEntry {
    const FORMAT: u16 = 1;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.push(if self.expires_at.is_some() { EXPIRES } else { 0 } | if self.cache { CACHE } else { 0 });
        out.extend_from_slice(self.expires_at.map(u64::to_be_bytes).as_ref().map_or(&[], |bytes| bytes));
        out.extend_from_slice(&self.value);
        Ok(())
    }

    fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
        let (flags, mut rest) = bytes.split_first().ok_or("it is empty")?;
        let mut expires_at = None;
        if flags & EXPIRES != 0 {
            let (at, value) = rest.split_first_chunk().ok_or("its expiry is cut off")?;
            (expires_at, rest) = (Some(u64::from_be_bytes(*at)), value);
        }
        Ok(Self { value: rest.to_vec(), expires_at, cache: flags & CACHE != 0 })
    }
}
