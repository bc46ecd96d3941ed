//! What can go wrong with the log, and what can be wrong in it.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// A failure of the log. It is `Clone` because one failed sync answers every entry that shared it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The directory or the files in it could not be used.
    #[error("audit log {}: cannot be opened: {cause}", dir.display())]
    Open {
        /// The log's directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Another runtime has the log open.
    #[error("audit log {}: in use by {holder}; stop that runtime or choose another data directory", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// Who holds it, as far as the lock file tells: `process 4711` or `another process`.
        holder: String,
    },
    /// The files could not be read.
    #[error("audit log {}: read failed: {cause}", dir.display())]
    Read {
        /// The log's directory.
        dir: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// A write or sync failed. Whether this entry is on the disk is unknown; it was not acknowledged.
    #[error(
        "audit log: write failed: {cause}; no further entries are taken, restart the runtime once the disk is well"
    )]
    Write {
        /// What the system said.
        cause: String,
    },
    /// An earlier write failed, so this one was not tried.
    #[error(
        "audit log: entries are refused since an earlier write failed: {cause}; restart the runtime once the disk is well"
    )]
    Poisoned {
        /// What the earlier failure said.
        cause: String,
    },
    /// The log was closed.
    #[error("audit log: closed")]
    Closed,
    /// The entry is too large.
    #[error("audit log: an entry's {what} takes {size} bytes, more than {limit}")]
    TooLarge {
        /// `data` or `subject`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most that is allowed, in bytes.
        limit: usize,
    },
}

/// A place at which the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {defect}")]
pub struct AuditFault {
    /// The file in the log's directory: a segment or `head`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub defect: Defect,
}

/// What is wrong at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// A file cannot be read.
    #[error("it cannot be read: {cause}")]
    Unreadable {
        /// What the system said.
        cause: String,
    },
    /// The line is no entry.
    #[error("the line is no entry: {cause}")]
    Malformed {
        /// Why not.
        cause: String,
    },
    /// The line's hash is not that of its content.
    #[error("the line was changed: its hash is not that of its content")]
    Changed,
    /// The line lacks its end.
    #[error("the line was whole and is not any more: its end is missing")]
    Unfinished,
    /// Entries are missing before this line.
    #[error("entry {found} stands where entry {expected} should: entries were removed")]
    Missing {
        /// The number that should stand here.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// The line stands at a wrong place.
    #[error("entry {found} stands where entry {expected} should: an entry was inserted or moved")]
    Misplaced {
        /// The number that should stand here.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// The number is right, but the entry before was another one.
    #[error("the entry does not follow from the one before: one of them was replaced")]
    Unlinked,
    /// The log ends too early.
    #[error("the log ends before entry {newest}, which was written: its end was cut off")]
    CutOff {
        /// The newest entry that was acknowledged.
        newest: u64,
    },
    /// The newest entry is another one than was acknowledged.
    #[error("entry {newest} is not the one that was written: the head knows it by another hash")]
    Replaced {
        /// Its number.
        newest: u64,
    },
    /// There are entries and no head.
    #[error("the file is missing, so that it cannot be known whether the log's end was cut off")]
    HeadMissing,
    /// The head makes no sense.
    #[error("the file was changed, so that it cannot be known whether the log's end was cut off")]
    HeadChanged,
}

impl Serialize for Defect {
    /// As its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
