//! All records as bytes: out of a store and into another one, whatever their types.
//!
//! A record keeps its format number, so a dump of an older program is read as its store would be.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::disk::refused;
use super::keys::{Key, MAX_KEY};
use super::sum::Sum;
use super::watermark;
use super::{Batch, MAX_VALUE, Store, StoreError};

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// The name of its tree.
    pub tree: String,
    /// Its key, with the tree's name before it.
    pub key: Vec<u8>,
    /// Its format (two bytes, big-endian), then what its type wrote.
    pub value: Vec<u8>,
}

impl RawRecord {
    /// The record of these bytes.
    ///
    /// # Errors
    /// A text that says why they are no record.
    pub fn new(key: Vec<u8>, value: Vec<u8>) -> Result<Self, String> {
        let mut rest = key.as_slice();
        let tree = String::read(&mut rest).ok_or("its key names no tree")?;
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(format!("its key takes {} bytes and its value {}", key.len(), value.len()));
        }
        if value.len() < 2 {
            return Err("it has no format number".to_owned());
        }
        Ok(Self { tree, key, value })
    }

    /// The format that its type had when it was written.
    #[must_use]
    pub fn format(&self) -> u16 {
        self.value.first_chunk().map_or(0, |format| u16::from_be_bytes(*format))
    }

    /// What its type wrote.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.value.get(2..).unwrap_or_default()
    }
}

impl Store {
    /// Shows `sink` every record of the trees that `wants` names, in the order of their keys, as all of them are when this
    /// begins. Others are not read. Writes go on meanwhile and do not show. One dump at a time; another one waits. Blocks.
    ///
    /// # Errors
    /// What `sink` returns; [`StoreError::Dump`] when the records cannot be read, or so much was written meanwhile that what
    /// was there before could not be kept for the dump.
    pub fn dump<E: From<StoreError>>(
        &self,
        wants: impl Fn(&str) -> bool + Send + Sync + 'static,
        mut sink: impl FnMut(RawRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let wants = Arc::new(move |tree: &str| tree != watermark::TREE && wants(tree));
        self.disk.taps.dump(&self.disk.db, wants, |stretch| {
            for (key, value) in stretch {
                sink(RawRecord::new(key, value).map_err(|cause| StoreError::Dump { cause })?)?;
            }
            Ok(())
        })
    }

    /// Puts records as they are, each whatever was there. They are on the disk when this returns. Blocks; must not be called
    /// from asynchronous code.
    ///
    /// # Errors
    /// As [`Store::commit`]; some of them may be on the disk by then.
    pub fn load_blocking(&self, records: impl IntoIterator<Item = RawRecord>) -> Result<(), StoreError> {
        let (mut batch, mark) = (Batch::new(), watermark::key());
        // this store counts its own writes
        for RawRecord { key, value, .. } in records.into_iter().filter(|record| record.key != mark) {
            if !batch.takes(key.len() + value.len()) {
                self.commit_blocking(std::mem::take(&mut batch))?;
            }
            batch.put_raw(key, value)?;
        }
        if batch.is_empty() { Ok(()) } else { self.commit_blocking(batch) }
    }

    /// Reads every record once, so that what is damaged shows before anything rests on it, and counts them. Nothing is written
    /// meanwhile. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], with the place as far as it is known, also where all can be read and is not what was written;
    /// [`StoreError::Open`] where the system fails.
    pub fn look_through(&self) -> Result<u64, StoreError> {
        let (held, mark) = (self.disk.mark(), watermark::key());
        let look = || {
            let mut sum = Sum::default();
            for pair in self.disk.db.iter() {
                let (key, value) = pair.map_err(|error| refused(self.disk.dir(), &error))?;
                RawRecord::new(key.to_vec(), value.to_vec())
                    .map_err(|cause| self.damaged(format!("record {:02x?}: {cause}", &key[..key.len().min(64)])))?;
                if *key != *mark {
                    sum.add(&key, &value);
                }
            }
            Ok(sum)
        };
        let found = guarded(look).unwrap_or_else(|panic| Err(self.damaged(panic)))?;
        match held.record().sum {
            Some(kept) if kept.records != found.records => {
                Err(self.damaged(format!("it has {} records, and {} were written", found.records, kept.records)))
            }
            Some(kept) if kept != found => {
                Err(self.damaged("not all of its records are the last that were written".to_owned()))
            }
            _ => Ok(found.records),
        }
    }

    /// Whether nothing was ever written to it. Blocks.
    ///
    /// # Errors
    /// The first record cannot be read.
    pub(crate) fn is_blank(&self) -> Result<bool, StoreError> {
        let first = guarded(|| self.disk.db.iter().next().transpose()).map_err(|panic| self.damaged(panic))?;
        first.map(|first| first.is_none()).map_err(|error| refused(self.disk.dir(), &error))
    }

    /// Writes that it is there, so that one that is emptied later is not taken for a new one. Blocks.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub(crate) fn begin_blocking(&self) -> Result<(), StoreError> {
        // what is written counts itself
        self.commit_blocking(Batch::new())
    }

    /// What can still be read of the trees that `wants` names, in a store that is damaged: all records before the first
    /// that cannot, at most. Says why it ended, if before the end. Blocks.
    pub fn salvage(&self, wants: impl Fn(&str) -> bool, mut take: impl FnMut(RawRecord)) -> Option<String> {
        let look = || {
            for pair in self.disk.db.iter() {
                let (key, value) = pair.map_err(|error| error.to_string())?;
                // one that is no record keeps nobody from those behind it
                if let Ok(record) = RawRecord::new(key.to_vec(), value.to_vec())
                    && wants(&record.tree)
                {
                    take(record);
                }
            }
            Ok(())
        };
        guarded(look).and_then(|found| found).err()
    }

    pub(crate) fn damaged(&self, cause: String) -> StoreError {
        StoreError::Damaged { dir: self.disk.dir().to_owned(), cause }
    }
}

/// Does what the engine may panic in where its files are damaged; a panic is its message.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("panic: {}", panic_text(panic.as_ref())))
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
