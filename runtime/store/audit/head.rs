//! `head`: number and hash of the newest acknowledged entry, so that an end that was cut off is found.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::files;
use super::line::ORIGIN;

/// The file's name.
pub(super) const NAME: &str = "head";

/// How often a reader looks again when it meets a write half done.
const LOOKS: usize = 1000;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// Number and hash of the newest entry.
    Newest(u64, String),
    /// There is no file.
    Missing,
    /// It makes no sense.
    Changed,
}

/// The one line of the file, always of the same length so that it is replaced in place.
fn text(seq: u64, hash: &str) -> String {
    let line = format!("{seq:020} {hash}");
    let check = blake3::hash(line.as_bytes()).to_hex();
    format!("{line} {}\n", &check[..16])
}

fn parse(found: &str) -> Option<(u64, String)> {
    let mut words = found.split(' ');
    let (seq, hash) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    (text(seq, &hash) == found).then_some((seq, hash))
}

/// What the head of `dir` says.
pub(super) fn read(dir: &Path) -> io::Result<Kept> {
    for _ in 0..LOOKS {
        let mut found = Vec::new();
        match File::open(dir.join(NAME)) {
            Ok(file) => file.take(1024).read_to_end(&mut found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Missing),
            Err(error) => return Err(error),
        };
        if let Some((seq, hash)) = std::str::from_utf8(&found).ok().and_then(parse) {
            return Ok(Kept::Newest(seq, hash));
        }
        std::thread::yield_now();
    }
    Ok(Kept::Changed)
}

/// The file, open to be set.
pub(super) struct HeadFile(File);

impl HeadFile {
    /// Opens the file. One that is missing or makes no sense is replaced by one that says this.
    pub(super) fn open(dir: &Path, seq: u64, hash: &str) -> io::Result<Self> {
        if !matches!(read(dir)?, Kept::Newest(..)) {
            files::replace(dir, NAME, text(seq, hash).as_bytes())?;
        }
        Ok(Self(File::options().write(true).open(dir.join(NAME))?))
    }

    /// Sets what the file says. It is not synced: an older head is one that raises no false alarm.
    pub(super) fn set(&mut self, seq: u64, hash: &str) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(text(seq, hash).as_bytes())
    }
}

/// The head of a log without entries.
pub(super) fn origin() -> (u64, String) {
    (0, ORIGIN.to_owned())
}
