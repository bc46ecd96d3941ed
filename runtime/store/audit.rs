//! The audit log: what was done to the modules of a data directory, by whom and when, in files apart from the store.
//!
//! `DATA/audit/` (mode 0700) holds segments named by the number of their first entry, such as
//! `00000000000000000001.jsonl` (mode 0600), a small file `head`, and `lock`. A segment that has reached 64 MiB is followed by
//! the next. An entry is one line of JSON with its members in this order, without spaces between them:
//!
//! ```text
//! {"seq":2,"at":1795608580066,"prev":"…","kind":"registered","actor":"admin","subject":"greeter@1.0.0","data":{…},"hash":"…"}
//! ```
//!
//! | member | |
//! |---|---|
//! | `seq` | counts the entries from 1, over all segments |
//! | `at` | milliseconds since 1970 by the machine's clock, which may be set back |
//! | `prev` | the `hash` of the entry before; 64 zeros in the first one |
//! | `kind`, `actor`, `subject`, `data` | what happened, who had it done, what it is about, and more by kind |
//! | `hash` | BLAKE3, in hexadecimal digits, of the line's bytes up to its last `,"hash":`, which is not included |
//!
//! So a person verifies a line with `printf %s "${line%,\"hash\":*}" | b3sum`, and the chain by comparing each `prev` with the
//! `hash` of the line before. [`verify`] does both, on a directory in use too.
//!
//! **What is acknowledged is on the disk.** One thread writes: it gathers what is queued, appends it, syncs once, then sets
//! `head`, and only then answers. An unfinished last line was therefore never acknowledged, and [`AuditLog::open`] cuts it off.
//! Everything else that is wrong is kept as it is and told in [`Found::fault`]: the log goes on behind it, in a new segment
//! where it must, and [`verify`] names the place from then on.
//!
//! **What the chain proves.** `head` holds number, hash and a check of the newest acknowledged entry, so an end that was cut off is
//! found. It is written without a sync of its own: after a power cut it may be older than the log, never newer, so it raises no
//! false alarm, and entries behind it could be cut off unseen. No secret is involved: who may write to the directory can write
//! another log that is whole in itself, head included, or remove it altogether. Against that, keep a head that [`verify`]
//! printed somewhere else: the entry of that number must still have that hash.

mod entry;
mod error;
mod files;
mod head;
mod line;
mod read;
mod scan;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{oneshot, watch};

pub use entry::{By, Entry, Kind, MAX_DATA, MAX_SUBJECT, Record, Who};
pub use error::{AuditError, AuditFault, Defect};
pub use read::{Damage, MAX_READ, Row};
pub use scan::{Head, Verified, verify};

use super::fault::WriteFault;
use writer::{Job, Settings, Writer};

/// The folder of the audit log in a data directory.
pub const FOLDER: &str = "audit";

/// Bytes after which a segment is followed by the next.
const SEGMENT: u64 = 64 * 1024 * 1024;

/// A handle on an open audit log. Clones share it; the directory stays locked until the last one goes, which waits until
/// what is queued is written.
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    found: Found,
    newest: watch::Receiver<u64>,
    writer: Writer,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How many entries it held.
    pub entries: u64,
    /// The unfinished last line that was cut off.
    pub cut: Option<Cut>,
    /// The first place at which the log is not what was written. Nothing was changed there.
    pub fault: Option<AuditFault>,
}

/// An unfinished line that was cut off: the process or the power ended inside the write, and nobody was told it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub file: String,
    /// How many bytes of the line there were.
    pub bytes: u64,
}

impl AuditLog {
    /// Opens the log in `dir`, creating the directory (and syncing its entry) where it is missing. The whole log is read:
    /// see [`AuditLog::found`].
    ///
    /// # Errors
    /// [`AuditError::Locked`] when another runtime has it open, [`AuditError::Open`] when the files cannot be used.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let settings = Settings { segment: SEGMENT, clock: Box::new(now), sync: Box::new(|file| file.sync_data()) };
        Self::with(dir, settings)
    }

    fn with(dir: &Path, settings: Settings) -> Result<Self, AuditError> {
        let (writer, newest, found) = Writer::open(dir, settings)?;
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), found, newest, writer }) })
    }

    /// What was found when it was opened: for the caller to tell.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.inner.found
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Whether it takes entries; it tells as long as anybody asks.
    #[must_use]
    pub fn fault(&self) -> WriteFault {
        self.inner.writer.fault()
    }

    /// Whether it takes entries now, for what is told only once it is done.
    ///
    /// # Errors
    /// As [`AuditLog::append`] where the disk failed before, or it was closed.
    pub fn takes(&self) -> Result<(), AuditError> {
        self.inner.writer.takes()
    }

    /// Appends an entry and returns its number when it is on the disk.
    ///
    /// A caller that stops waiting does not take the entry back.
    ///
    /// # Errors
    /// [`AuditError::TooLarge`]; [`AuditError::Write`] when the disk failed, after which no entry is taken any more;
    /// [`AuditError::Closed`] after [`AuditLog::close`].
    pub async fn append(&self, entry: Entry) -> Result<u64, AuditError> {
        entry.check_size()?;
        let (reply, answer) = oneshot::channel();
        self.inner.writer.send(Job::Append { entry, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(self.inner.writer.gone()))
    }

    /// Queues an entry behind those before it, without a wait for the disk: by the time that a later one is acknowledged, it is
    /// on the disk too.
    ///
    /// # Errors
    /// As [`AuditLog::append`], but a disk that fails on this entry is told to those behind it, and by [`AuditLog::fault`].
    pub async fn queue(&self, entry: Entry) -> Result<(), AuditError> {
        entry.check_size()?;
        let (reply, _) = oneshot::channel();
        self.inner.writer.send(Job::Append { entry, reply }).await
    }

    /// At most `limit` entries (and never more than [`MAX_READ`]) from number `from`, ascending; what is not yet on the disk
    /// is not among them. Where entries cannot be read or lines are too many, a row says so. The next page begins behind the
    /// last entry, or at [`Damage::before`].
    ///
    /// # Errors
    /// [`AuditError::Read`] when the files cannot be read.
    pub async fn read(&self, from: u64, limit: usize) -> Result<Vec<Row>, AuditError> {
        let (dir, newest) = (self.inner.dir.clone(), self.newest());
        let read = tokio::task::spawn_blocking(move || read::read(&dir, from, limit, newest)).await;
        let failed = |error: std::io::Error| AuditError::Read { dir: self.inner.dir.clone(), cause: error.to_string() };
        read.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)
    }

    /// [`AuditLog::read`] for a thread that may block.
    ///
    /// # Errors
    /// As [`AuditLog::read`].
    pub fn read_blocking(&self, from: u64, limit: usize) -> Result<Vec<Row>, AuditError> {
        let failed = |error: std::io::Error| AuditError::Read { dir: self.inner.dir.clone(), cause: error.to_string() };
        read::read(&self.inner.dir, from, limit, self.newest()).map_err(failed)
    }

    /// Number and hash of the newest entry on the disk. Reads a small file.
    ///
    /// # Errors
    /// [`AuditError::Read`] when it cannot be read.
    pub fn head(&self) -> Result<Head, AuditError> {
        let failed = |cause: String| AuditError::Read { dir: self.inner.dir.clone(), cause };
        match head::read(&self.inner.dir).map_err(|error| failed(error.to_string()))? {
            head::Kept::Newest(seq, hash) => Ok(Head { seq, hash }),
            head::Kept::Missing | head::Kept::Changed => Err(failed(format!("`{}` makes no sense", head::NAME))),
        }
    }

    /// The number of the newest entry on the disk; 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        *self.inner.newest.borrow()
    }

    /// The number of the newest entry on the disk, to wait on. It ends when the log does.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.inner.newest.clone()
    }

    /// Finishes what is queued and takes no more. Calling it again is harmless.
    ///
    /// # Errors
    /// [`AuditError::Write`] or [`AuditError::Poisoned`] when not everything could be written.
    pub async fn close(&self) -> Result<(), AuditError> {
        let (reply, answer) = oneshot::channel();
        let ended = match self.inner.writer.send(Job::Close { reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.inner.writer.gone())),
            Err(error) => Err(error),
        };
        if ended == Err(AuditError::Closed) { Ok(()) } else { ended }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("dir", &self.inner.dir).field("newest", &self.newest()).finish_non_exhaustive()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
