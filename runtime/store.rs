//! The store: typed, versioned records on disk; what it acknowledges is on the disk.
//!
//! One thread writes ([`writer`](self)); it gathers what is queued, applies it, flushes and syncs once for all of it and only
//! then answers. A failed write answers everyone in the group with the error and the store takes no further writes: what
//! is on the disk is then unknown until it is opened again. Reads go straight to the tree and take no part in that, so they
//! may show a write a moment before it is durable.
//!
//! All trees are views over one ordered tree, told apart by a key prefix. That makes any [`Batch`] atomic, whichever trees
//! it touches. The engine underneath (sled) shows nowhere in this interface.

pub mod archive;
pub mod audit;
mod batch;
mod codec;
mod disk;
mod dump;
mod error;
mod fault;
mod keys;
mod kv;
mod rouse;
mod sum;
mod tap;
mod tree;
mod watermark;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

pub use batch::{Batch, MAX_BATCH_BYTES, MAX_BATCH_OPS};
pub use codec::{MAX_VALUE, Record, from_json, to_json};
pub use dump::RawRecord;
pub use error::StoreError;
pub use fault::WriteFault;
pub use keys::{Key, KeyOf, MAX_KEY, Prefix};
pub use kv::{KvEntry, KvError, KvStore, MAX_KV_KEY, MAX_KV_LIST, MAX_KV_VALUE, check_key};
pub use tree::Tree;

pub(crate) use disk::sync_dir;

use disk::Disk;
use writer::{Job, Writer};

/// A handle on an open store. Clones share it; the directory stays locked until the last handle and the last [`Tree`] go.
/// Dropping the last handle waits until what is queued is written; [`Store::close`] does so without blocking.
#[derive(Clone)]
pub struct Store {
    disk: Arc<Disk>,
    writer: Arc<Writer>,
}

impl Store {
    /// Opens the store in `dir`, creating the directory (and syncing its entry) where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another store, in this process or another, has the directory open;
    /// [`StoreError::Damaged`] when the files in it are not what was written, as far as a start tells ([`Store::look_through`]
    /// says more); [`StoreError::Open`] when the directory or the files in it cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::of(Disk::open(dir, false)?)
    }

    /// Opens a store that is damaged, to save what can still be read: [`Store::salvage`]. What it lost stays lost.
    ///
    /// # Errors
    /// As [`Store::open`], but for writes that are missing.
    pub fn open_damaged(dir: &Path) -> Result<Self, StoreError> {
        Self::of(Disk::open(dir, true)?)
    }

    fn of(disk: Disk) -> Result<Self, StoreError> {
        let disk = Arc::new(disk);
        let durable = Arc::clone(&disk);
        Self::with(disk, move || durable.make_durable())
    }

    /// The same on a disk that takes so many more groups of writes and then fails.
    #[cfg(test)]
    pub(crate) fn failing(dir: &Path, left: Arc<std::sync::atomic::AtomicUsize>) -> Result<Self, StoreError> {
        use std::sync::atomic::Ordering;

        let disk = Arc::new(Disk::open(dir, false)?);
        let durable = Arc::clone(&disk);
        Self::with(disk, move || {
            let one_less = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            one_less.map_err(|_| StoreError::Write { cause: "the disk is full".to_owned() })?;
            durable.make_durable()
        })
    }

    fn with(
        disk: Arc<Disk>,
        make_durable: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let writer = Writer::spawn(Arc::clone(&disk), make_durable)?;
        Ok(Self { disk, writer: Arc::new(writer) })
    }

    /// Whether it takes writes; it tells as long as anybody asks.
    #[must_use]
    pub fn fault(&self) -> WriteFault {
        self.writer.fault()
    }

    /// The tree of that name. Any number of views of one tree may exist; all of one name must have the same types.
    #[must_use]
    pub fn tree<K: Key, V: Record>(&self, name: &'static str) -> Tree<K, V> {
        Tree::new(Arc::clone(&self.disk), name)
    }

    /// Applies all of `batch` or nothing of it, and returns when it is on the disk.
    ///
    /// A caller that stops waiting does not take the batch back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something the batch requires does not hold; [`StoreError::Write`] when the disk failed,
    /// [`StoreError::Poisoned`] when it had failed before, [`StoreError::Closed`] after [`Store::close`].
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(Job::Commit { batch, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(self.writer.gone()))
    }

    /// Queues `batch` and returns before it is on the disk: it is applied in its turn, and whatever is committed later is
    /// acknowledged only when this is durable too. A failure shows as the failure of the next commit.
    ///
    /// # Errors
    /// The store does not take writes any more.
    pub async fn submit(&self, batch: Batch) -> Result<(), StoreError> {
        let (reply, _) = oneshot::channel();
        self.writer.send(Job::Commit { batch, reply }).await
    }

    /// [`Store::commit`] for a thread that may block. Must not be called from asynchronous code: it would panic there.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send_blocking(Job::Commit { batch, reply })?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.writer.gone()))
    }

    /// Lets `decide` read the trees and fill a batch while no other write can happen, then commits that batch as
    /// [`Store::commit`] does. When `decide` returns an error nothing is written. It runs on the writer's thread: it should
    /// read a bounded number of records and do nothing else. If it panics, that is [`StoreError::Decision`].
    ///
    /// # Errors
    /// What `decide` returned, or an error of [`Store::commit`] turned into `E`.
    pub async fn update<T, E>(&self, decide: impl FnOnce(&mut Batch) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer, outcome) = Job::decide(decide);
        self.writer.send(job).await?;
        answer.await.unwrap_or_else(|_| Err(self.writer.gone()))?;
        outcome.take()
    }

    /// [`Store::update`] for a thread that may block. Must not be called from asynchronous code: it would panic there.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn update_blocking<T, E>(
        &self,
        decide: impl FnOnce(&mut Batch) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer, outcome) = Job::decide(decide);
        self.writer.send_blocking(job)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(self.writer.gone()))?;
        outcome.take()
    }

    /// [`Store::close`] for a thread that may block. Must not be called from asynchronous code: it would panic there.
    ///
    /// # Errors
    /// As [`Store::close`].
    pub fn close_blocking(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.writer.send_blocking(Job::Close { reply }) {
            Err(StoreError::Closed) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => answer.blocking_recv().unwrap_or_else(|_| self.ended()),
        }
    }

    /// Finishes what is queued, flushes, and refuses writes from then on. Calling it again is harmless.
    ///
    /// # Errors
    /// [`StoreError::Write`] or [`StoreError::Poisoned`] when not everything could be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.writer.send(Job::Close { reply }).await {
            Err(StoreError::Closed) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => answer.await.unwrap_or_else(|_| self.ended()),
        }
    }

    /// How it ended, where its writer does not say.
    fn ended(&self) -> Result<(), StoreError> {
        match self.writer.gone() {
            StoreError::Closed => Ok(()),
            error => Err(error),
        }
    }
}

/// Takes the directory of a store that is not opened, so that nobody opens it until the file is dropped.
///
/// # Errors
/// [`StoreError::Locked`] when a store has it open, [`StoreError::Open`] when it cannot be used.
pub(crate) fn hold(dir: &Path) -> Result<std::fs::File, StoreError> {
    disk::lock(dir)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.disk.dir()).finish_non_exhaustive()
    }
}
