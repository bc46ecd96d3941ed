//! What can go wrong in the store.

use std::path::PathBuf;

/// A failure of the store. It is `Clone` because one failed sync answers every commit that shared it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or the files in it could not be used.
    #[error("store {}: cannot be opened: {cause}", dir.display())]
    Open {
        /// The store's directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The files are there and are not what was written: damaged, or without writes that were acknowledged.
    #[error("store {}: its files are damaged: {cause}", dir.display())]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What shows that.
        cause: String,
    },
    /// Not all records could be read out.
    #[error("store: its records could not be read out: {cause}")]
    Dump {
        /// Why.
        cause: String,
    },
    /// Another runtime has the directory open.
    #[error("store {}: in use by {holder}; stop that runtime or choose another data directory", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// Who holds it, as far as the lock file tells: `process 4711` or `another process`.
        holder: String,
    },
    /// A read failed.
    #[error("store: tree `{tree}`: read failed: {cause}")]
    Read {
        /// The tree that was read.
        tree: &'static str,
        /// What the engine said.
        cause: String,
    },
    /// A write, flush or sync failed. Whether this write is on the disk is unknown; nothing of it was acknowledged.
    #[error("store: write failed: {cause}; no further writes are taken, restart the runtime once the disk is well")]
    Write {
        /// What the engine or the system said.
        cause: String,
    },
    /// An earlier write failed, so this one was not tried.
    #[error(
        "store: writes are refused since an earlier one failed: {cause}; restart the runtime once the disk is well"
    )]
    Poisoned {
        /// What the earlier failure said.
        cause: String,
    },
    /// The store was closed.
    #[error("store: closed")]
    Closed,
    /// A record was not what the batch required; nothing of the batch was applied.
    #[error("store: tree `{tree}`: record {key} is not what the write expected; read it again and retry")]
    Conflict {
        /// The tree of the record.
        tree: &'static str,
        /// Its key.
        key: String,
    },
    /// The function given to `update` panicked; nothing was written.
    #[error("store: the update could not be decided: {cause}")]
    Decision {
        /// The panic's message.
        cause: String,
    },
    /// The encoded record is too large.
    #[error("store: tree `{tree}`: record {key} takes {size} bytes, more than {limit}; large content belongs in files")]
    ValueTooLarge {
        /// The tree of the record.
        tree: &'static str,
        /// Its key.
        key: String,
        /// Encoded size in bytes.
        size: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The encoded key is too long.
    #[error("store: tree `{tree}`: a key takes {size} bytes, more than {limit}")]
    KeyTooLarge {
        /// The tree of the record.
        tree: &'static str,
        /// Encoded size in bytes.
        size: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The batch holds too much.
    #[error(
        "store: a batch of {ops} changes and {bytes} bytes is more than {} changes or {} bytes",
        super::MAX_BATCH_OPS,
        super::MAX_BATCH_BYTES
    )]
    BatchTooLarge {
        /// Changes and conditions in it.
        ops: usize,
        /// Their encoded size.
        bytes: usize,
    },
    /// A record could not be turned into bytes.
    #[error("store: tree `{tree}`: record {key} cannot be encoded: {cause}")]
    Encode {
        /// The tree of the record.
        tree: &'static str,
        /// Its key.
        key: String,
        /// What the encoder said.
        cause: String,
    },
    /// A record was written by a newer version of this program.
    #[error(
        "store: tree `{tree}`: record {key} has format {found}, this version knows up to {known}; use the newer version"
    )]
    TooNew {
        /// The tree of the record.
        tree: &'static str,
        /// Its key.
        key: String,
        /// The record's format.
        found: u16,
        /// The newest format this program knows.
        known: u16,
    },
    /// A record's bytes make no sense.
    #[error("store: tree `{tree}`: record {key} is corrupt: {cause}")]
    Corrupt {
        /// The tree of the record.
        tree: &'static str,
        /// Its key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}
