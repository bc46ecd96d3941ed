//! How far the store had got: the number of its newest write, in the store and in a file beside it, and the sum of its records.
//!
//! The engine underneath repairs what it finds damaged at its end by leaving it out, and says nothing. So each batch that is
//! written counts itself in a record that is part of it, and once it is on the disk, before anybody is told so, the file says its
//! number. A store that is behind its file has lost what was acknowledged. The file is written without a sync of its own: after a
//! power cut it may be older than the store, never newer, so it raises no false alarm. The same record has the [`Sum`] of all others
//! as they are with that batch.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::keys::KeyOf;
use super::sum::Sum;

/// The tree of the record, which is no one else's.
pub(super) const TREE: &str = "\u{1}watermark";

const NAME: &str = "watermark";

/// The newest format of the record. 1 has no sum.
const FORMAT: u16 = 2;

/// The file, and what the record says.
pub(super) struct Watermark {
    file: File,
    record: Mark,
}

/// What the record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the newest write.
    pub(super) number: u64,
    /// The sum of all other records; `None`: nobody kept it.
    pub(super) sum: Option<Sum>,
}

/// Why a record says nothing.
pub(super) enum Unreadable {
    Nonsense,
    /// A newer program wrote it.
    TooNew(u16),
}

/// The record's key.
pub(super) fn key() -> Vec<u8> {
    let mut key = Vec::new();
    TREE.write(&mut key);
    key
}

/// What a record says.
pub(super) fn decode(value: &[u8]) -> Result<Mark, Unreadable> {
    let (format, rest) = value.split_first_chunk().ok_or(Unreadable::Nonsense)?;
    let format = u16::from_be_bytes(*format);
    let (number, sum) = rest.split_first_chunk().ok_or(Unreadable::Nonsense)?;
    let number = u64::from_be_bytes(*number);
    match format {
        1 if sum.is_empty() => Ok(Mark { number, sum: None }),
        FORMAT => Sum::read(sum).map(|sum| Mark { number, sum: Some(sum) }).ok_or(Unreadable::Nonsense),
        0 | 1 => Err(Unreadable::Nonsense),
        newer => Err(Unreadable::TooNew(newer)),
    }
}

/// The record that says it.
pub(super) fn encode(mark: Mark) -> Vec<u8> {
    let format = if mark.sum.is_some() { FORMAT } else { 1 };
    let mut bytes = [&format.to_be_bytes()[..], &mark.number.to_be_bytes()].concat();
    mark.sum.into_iter().for_each(|sum| sum.write(&mut bytes));
    bytes
}

/// The file's content, always of the same length so that it is replaced in place.
fn text(number: u64) -> String {
    let line = format!("{number:020}");
    let check = blake3::hash(line.as_bytes()).to_hex();
    format!("{line} {}\n", &check[..16])
}

/// Why a store is not as its file says.
pub(super) enum Fault {
    /// It is behind.
    Behind { stored: u64, acknowledged: u64 },
    /// The file could not be read or written.
    Io(io::Error),
}

impl Watermark {
    /// Opens the file in `dir` beside a store whose record is `stored`. One that is missing or makes no sense
    /// (it is written in place, and a power cut may tear it) is written anew.
    pub(super) fn open(dir: &Path, stored: Mark) -> Result<Self, Fault> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(dir.join(NAME)).map_err(Fault::Io)?;
        let mut found = String::new();
        let read = (&mut file).take(1024).read_to_string(&mut found);
        match read {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(Fault::Io(error)),
            _ => {}
        }
        let said = found.get(..20).and_then(|digits| digits.parse().ok()).filter(|number| text(*number) == found);
        if let Some(acknowledged) = said.filter(|said| *said > stored.number) {
            return Err(Fault::Behind { stored: stored.number, acknowledged });
        }
        let mut mark = Self { file, record: stored };
        mark.write().map_err(Fault::Io)?;
        Ok(mark)
    }

    /// What the record says.
    pub(super) const fn record(&self) -> Mark {
        self.record
    }

    /// A batch with this record was applied.
    pub(super) fn applied(&mut self, record: Mark) {
        self.record = record;
    }

    /// Says that all that was applied is on the disk.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text(self.record.number).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_and_a_torn_file_is_written_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let open = |number| Watermark::open(dir.path(), Mark { number, sum: None });
        let mut mark = open(0).unwrap_or_else(|_| panic!("it opens"));
        mark.applied(Mark { number: 3, sum: None });
        mark.write().unwrap();
        assert!(matches!(open(2), Err(Fault::Behind { stored: 2, acknowledged: 3 })));
        assert!(open(3).is_ok() && open(4).is_ok(), "a file that is older is that of a power cut");
        std::fs::write(dir.path().join(NAME), "0000000000000000").unwrap();
        assert_eq!(open(2).map(|mark| mark.record().number).unwrap_or_default(), 2);
        assert_eq!(std::fs::read_to_string(dir.path().join(NAME)).unwrap(), text(2));
    }

    #[test]
    fn records_of_each_format_are_read_and_no_others() {
        let sum = Sum::read(&[7; 24]);
        for mark in [Mark { number: 7, sum: None }, Mark { number: 7, sum }] {
            let bytes = encode(mark);
            assert_eq!(decode(&bytes).ok(), Some(mark));
            for cut in [0, 1, 2, bytes.len() - 1] {
                assert!(matches!(decode(&bytes[..cut]), Err(Unreadable::Nonsense)), "{cut} bytes of {mark:?}");
            }
        }
        assert!(matches!(decode(&[[0, 3], [0, 0], [0, 0], [0, 0], [0, 0]].concat()), Err(Unreadable::TooNew(3))));
    }
}
