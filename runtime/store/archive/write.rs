//! How a file is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{About, ArchiveError, END, FORMAT, HASH, Kind, MAGIC, MAX_CONTENT, MAX_NAME};
use crate::store::RawRecord;
use crate::store::disk::sync_dir;

/// Bytes of a file in one part.
const PART: usize = MAX_CONTENT - 1;

/// Bytes of records after which a section is full.
const RECORDS: usize = 512 * 1024;

/// A file that is being written. It is whole once [`Writer::finish`] has returned.
pub struct Writer<W> {
    /// For errors.
    path: PathBuf,
    to: W,
    total: blake3::Hasher,
    sections: u64,
    records: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins with what the file is; `path` is its name in errors.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(to: W, path: &Path, about: &About) -> Result<Self, ArchiveError> {
        let mut writer =
            Self { path: path.to_owned(), to, total: blake3::Hasher::new(), sections: 0, records: Vec::new() };
        writer.put(MAGIC)?;
        writer.put(&FORMAT.to_be_bytes())?;
        let about = serde_json::to_vec(about).map_err(|error| writer.failed(&io::Error::other(error)))?;
        writer.section(Kind::About.code(), "", &about)?;
        Ok(writer)
    }

    /// Adds a record of the store. Those that follow each other share a section.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn record(&mut self, record: &RawRecord) -> Result<(), ArchiveError> {
        for bytes in [&record.key, &record.value] {
            let length = u16::try_from(bytes.len()).map_err(|error| self.failed(&io::Error::other(error)))?;
            self.records.extend_from_slice(&length.to_be_bytes());
            self.records.extend_from_slice(bytes);
        }
        if self.records.len() >= RECORDS { self.flush_records() } else { Ok(()) }
    }

    fn flush_records(&mut self) -> Result<(), ArchiveError> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() { Ok(()) } else { self.section(Kind::Records.code(), "", &records) }
    }

    /// Adds a file, as what `from` gives to its end; says how many bytes that was.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn file(&mut self, kind: Kind, name: &str, mut from: impl Read) -> Result<u64, ArchiveError> {
        self.flush_records()?;
        let (mut bytes, mut ahead) = (0, self.stretch(name, &mut from)?);
        loop {
            let next = if ahead.len() < PART { Vec::new() } else { self.stretch(name, &mut from)? };
            let last = next.is_empty();
            bytes += ahead.len() as u64;
            ahead.insert(0, u8::from(last));
            self.section(kind.code(), name, &ahead)?;
            if last {
                return Ok(bytes);
            }
            ahead = next;
        }
    }

    fn stretch(&self, name: &str, from: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let read = from.take(PART as u64).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|error| ArchiveError::io(Path::new(name), "reading", &error))
    }

    fn section(&mut self, kind: u8, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        let too_large = || io::Error::other(format!("a section of {} bytes named `{name:.64}`", content.len()));
        if name.len() > MAX_NAME || content.len() > MAX_CONTENT {
            return Err(self.failed(&too_large()));
        }
        let mut head = vec![kind];
        head.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        head.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        let mut sum = blake3::Hasher::new();
        for bytes in [&head, name.as_bytes(), content] {
            sum.update(bytes);
            self.put(bytes)?;
        }
        self.sections += 1;
        self.put(sum.finalize().as_bytes())
    }

    /// Ends the file and gives its checksum, in hexadecimal digits. What it is written to is flushed, not synced.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<(W, String), ArchiveError> {
        self.flush_records()?;
        let sections = self.sections;
        self.section(END, "", &sections.to_be_bytes())?;
        let total: [u8; HASH] = *self.total.finalize().as_bytes();
        let written = self.to.write_all(&total).and_then(|()| self.to.flush());
        written.map_err(|error| self.failed(&error))?;
        Ok((self.to, blake3::Hash::from_bytes(total).to_hex().to_string()))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.total.update(bytes);
        self.to.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> ArchiveError {
        ArchiveError::io(&self.path, "writing", error)
    }
}

/// A file that is written beside its place, mode 0600, and put there in one step: a crash leaves what was there or the new file.
/// Dropped before that, nothing of it is left.
pub struct Draft {
    path: PathBuf,
    new: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Draft {
    /// Begins the file that is to stand at `path`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn of(path: &Path) -> Result<Self, ArchiveError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{serial}.new", std::process::id()));
        let new = PathBuf::from(name);
        // left behind by a crash of a process that had this id
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&new).map_err(|error| ArchiveError::io(path, "writing", &error))?;
        let file = Some(BufWriter::with_capacity(256 * 1024, file));
        Ok(Self { path: path.to_owned(), new, file })
    }

    /// Puts it there, once it is on the disk and `check` has looked at it there and found nothing wrong.
    ///
    /// # Errors
    /// What `check` returns, or the system's.
    pub fn put<T, E: From<ArchiveError>>(mut self, check: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
        let path = self.path.clone();
        let failed = |error: &io::Error| ArchiveError::io(&path, "writing", error);
        self.flush().map_err(|error| failed(&error))?;
        if let Some(file) = self.file.take() {
            file.get_ref().sync_all().map_err(|error| failed(&error))?;
        }
        let checked = check(&self.new)?;
        fs::rename(&self.new, &path).map_err(|error| failed(&error))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(parent).map_err(|error| failed(&error))?;
        Ok(checked)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // it has another name once it was put
        let _ = fs::remove_file(&self.new);
    }
}
