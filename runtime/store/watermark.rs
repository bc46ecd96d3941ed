//! How far the store had got: the number of its newest group of writes, in the store and in a file beside it.
//!
//! The engine underneath repairs what it finds damaged at its end by leaving it out, and says nothing. So each group that is
//! written counts itself in a record of its own, and once it is on the disk, before anybody is told so, the file says its number.
//! A store that is behind its file has lost what was acknowledged. The file is written without a sync of its own: after a power
//! cut it may be older than the store, never newer, so it raises no false alarm.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::keys::KeyOf;

/// The tree of the record, which is no one else's.
pub(super) const TREE: &str = "\u{1}watermark";

const NAME: &str = "watermark";

/// The file, and the number that it says.
pub(super) struct Watermark {
    file: File,
    number: u64,
}

/// The record's key.
pub(super) fn key() -> Vec<u8> {
    let mut key = Vec::new();
    TREE.write(&mut key);
    key
}

/// The number in the record.
pub(super) fn decode(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.strip_prefix(&1_u16.to_be_bytes())?.try_into().ok()?))
}

/// The record of a number.
pub(super) fn encode(number: u64) -> Vec<u8> {
    [&1_u16.to_be_bytes()[..], &number.to_be_bytes()].concat()
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
    /// Opens the file in `dir` beside a store whose newest group is number `stored`. One that is missing or makes no sense
    /// (it is written in place, and a power cut may tear it) is written anew.
    pub(super) fn open(dir: &Path, stored: u64) -> Result<Self, Fault> {
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
        if let Some(acknowledged) = said.filter(|said| *said > stored) {
            return Err(Fault::Behind { stored, acknowledged });
        }
        let mut mark = Self { file, number: stored };
        mark.write().map_err(Fault::Io)?;
        Ok(mark)
    }

    /// The number of the next group.
    pub(super) const fn next(&self) -> u64 {
        self.number.saturating_add(1)
    }

    /// Says that the next group is on the disk.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.number = self.next();
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text(self.number).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_and_a_torn_file_is_written_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let open = |stored| Watermark::open(dir.path(), stored);
        let mut mark = open(0).unwrap_or_else(|_| panic!("it opens"));
        for _ in 0..3 {
            mark.advance().unwrap();
        }
        assert!(matches!(open(2), Err(Fault::Behind { stored: 2, acknowledged: 3 })));
        assert!(open(3).is_ok() && open(4).is_ok(), "a file that is older is that of a power cut");
        std::fs::write(dir.path().join(NAME), "0000000000000000").unwrap();
        assert_eq!(open(2).map(|mark| mark.next()).unwrap_or_default(), 3);
        assert_eq!(std::fs::read_to_string(dir.path().join(NAME)).unwrap(), text(2));
        assert_eq!((decode(&encode(7)), decode(&encode(7)[1..]), decode(b"")), (Some(7), None, None));
    }
}
