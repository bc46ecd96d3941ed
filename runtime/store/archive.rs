//! The file of a backup or a snapshot: sections with a checksum each, and one over all of it at its end.
//!
//! ```text
//! "REPLUGBK"  format: u16
//! section …   kind: u8  name's length: u16  content's length: u32  name  content  BLAKE3 of all that: 32 bytes
//! end         a section of kind 0: the number of sections before it, as u64
//! total       BLAKE3 of everything before: 32 bytes
//! ```
//!
//! Numbers are big-endian. The first section says what the file is ([`About`]). A content of more than 1 MiB is told in several
//! sections of the same name; the first byte of each says whether it is the last ([`Part`]). Whoever cuts the file off, changes
//! a byte of it or moves a section is found out; somebody who writes another file that is whole in itself is not, so keep the
//! hash that a backup was told with where that matters.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RawRecord;
use super::audit::Head;

mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{Archive, verify};
pub use write::{Draft, Writer};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"REPLUGBK";

/// The most bytes of content in a section.
const MAX_CONTENT: usize = 1024 * 1024 + 1;

/// The longest name of a section, in bytes.
const MAX_NAME: usize = 4096;

const END: u8 = 0;

/// Bytes of a BLAKE3 hash.
const HASH: usize = blake3::OUT_LEN;

/// What stands in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What the file is: an [`About`], as JSON. The first section, and only that.
    About,
    /// Records of the store, one behind the other.
    Records,
    /// A part of a file of a bundle; the name is `DIGEST/PATH`.
    Bundle,
    /// A part of a module's SQLite file; the name is the module's id.
    Database,
    /// A part of a file that a module keeps; the name is `MODULE/PATH`.
    File,
    /// A part of a file of the data directory itself; the name is its name.
    Private,
}

impl Kind {
    const ALL: [Self; 6] = [Self::About, Self::Records, Self::Bundle, Self::Database, Self::File, Self::Private];

    const fn code(self) -> u8 {
        match self {
            Self::About => 1,
            Self::Records => 2,
            Self::Bundle => 3,
            Self::Database => 4,
            Self::File => 5,
            Self::Private => 6,
        }
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Everything that a runtime is brought back with.
    Backup,
    /// The records of registry, engine and permissions.
    Snapshot,
}

/// The first section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What the file is.
    pub what: What,
    /// The version of the program that wrote it.
    pub program: String,
    /// When the records were as they are here, in milliseconds since 1970.
    pub at: u64,
    /// The newest entry of the audit log at that time or before. What an entry tells before it is done may lack in the records
    /// of a backup; a snapshot waits for it.
    pub audit: Head,
}

/// A section that was read, its checksum found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What stands in it.
    pub kind: Kind,
    /// What it is about.
    pub name: String,
    /// It.
    pub content: Vec<u8>,
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Whether it is the last.
    pub last: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Section {
    /// The part of a file that stands in it.
    ///
    /// # Errors
    /// A text that says why it is none.
    pub fn part(&self) -> Result<Part<'_>, String> {
        match self.content.split_first() {
            Some((last @ (0 | 1), bytes)) => Ok(Part { last: *last == 1, bytes }),
            _ => Err(format!("the part of `{}` does not say whether it is the last", self.name)),
        }
    }

    /// The records that stand in it.
    ///
    /// # Errors
    /// A text that says why they are none.
    pub fn records(&self) -> Result<Vec<RawRecord>, String> {
        let (mut rest, mut records) = (self.content.as_slice(), Vec::new());
        while !rest.is_empty() {
            let mut take = || {
                let (length, after) = rest.split_first_chunk::<2>()?;
                let (taken, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
                rest = after;
                Some(taken.to_vec())
            };
            let (key, value) = take().zip(take()).ok_or("a record is cut off")?;
            records.push(RawRecord::new(key, value)?);
        }
        Ok(records)
    }
}

/// What a file was found to hold when it was looked through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// What the file is.
    #[serde(flatten)]
    pub about: About,
    /// Its size.
    pub bytes: u64,
    /// The checksum at its end, in hexadecimal digits.
    pub hash: String,
    /// Records of the store.
    pub records: u64,
    /// Files of bundles.
    pub bundle_files: u64,
    /// Modules with a database.
    pub databases: u64,
    /// Files that modules keep.
    pub files: u64,
}

/// Why a file cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The system failed.
    #[error("{}: {action} failed: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as `reading`.
        action: &'static str,
        /// What the system said.
        cause: String,
    },
    /// It is something else.
    #[error("{}: this is no backup of replug: it does not begin as one", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{}: the backup has format {found}, this version knows up to {FORMAT}; use the newer version", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u16,
    },
    /// It is not what was written.
    #[error("{}: the backup is damaged at byte {at}: {cause}; use another one, nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the section begins that is not what was written.
        at: u64,
        /// What is wrong with it.
        cause: String,
    },
}

impl ArchiveError {
    pub(super) fn io(path: &Path, action: &'static str, cause: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, cause: cause.to_string() }
    }
}
