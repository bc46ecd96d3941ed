//! How a file is read: nothing in it is believed before its checksum was found right.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{About, ArchiveError, Contents, END, FORMAT, HASH, Kind, MAGIC, MAX_CONTENT, MAX_NAME, Section};

/// A file that is being read, section by section.
pub struct Archive<R> {
    path: PathBuf,
    from: R,
    total: blake3::Hasher,
    /// Bytes that were read, and where the present section began.
    at: u64,
    began: u64,
    sections: u64,
    about: About,
    /// The checksum of all of it, once the end was reached.
    hash: Option<String>,
}

impl Archive<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, is something else, or is of a newer format.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|error| ArchiveError::io(path, "opening", &error))?;
        Self::begin(BufReader::with_capacity(256 * 1024, file), path)
    }
}

impl<R: Read> Archive<R> {
    /// Begins to read; `path` is the file's name in errors.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn begin(from: R, path: &Path) -> Result<Self, ArchiveError> {
        let nothing = super::Head { seq: 0, hash: String::new() };
        let about = About { what: super::What::Backup, program: String::new(), at: 0, audit: nothing };
        let (path, total) = (path.to_owned(), blake3::Hasher::new());
        let mut archive = Self { path, from, total, at: 0, began: 0, sections: 0, about, hash: None };
        let foreign = |_| ArchiveError::Foreign { path: archive.path.clone() };
        let mut magic = [0; MAGIC.len()];
        archive.from.read_exact(&mut magic).map_err(foreign)?;
        if magic != *MAGIC {
            return Err(ArchiveError::Foreign { path: archive.path });
        }
        archive.total.update(&magic);
        archive.at += magic.len() as u64;
        let found = u16::from_be_bytes(archive.take()?);
        if found > FORMAT {
            return Err(ArchiveError::TooNew { path: archive.path, found });
        }
        archive.about = match archive.next()? {
            Some(Section { kind: Kind::About, content, .. }) => serde_json::from_slice(&content)
                .map_err(|error| archive.damaged(format!("what it is cannot be read: {error}")))?,
            _ => return Err(archive.damaged("it does not say what it is")),
        };
        Ok(archive)
    }

    /// What the file is.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The checksum of all of it, once its end was reached.
    pub const fn hash(&self) -> Option<&String> {
        self.hash.as_ref()
    }

    /// The next section; `None` once the end was reached, everything was there and the checksum of all is right.
    ///
    /// # Errors
    /// The file is not what was written, or cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator does not say")]
    pub fn next(&mut self) -> Result<Option<Section>, ArchiveError> {
        if self.hash.is_some() {
            return Ok(None);
        }
        self.began = self.at;
        let [kind] = self.take()?;
        let (name, content) = (u16::from_be_bytes(self.take()?).into(), u32::from_be_bytes(self.take()?));
        let content = usize::try_from(content).unwrap_or(usize::MAX);
        if name > MAX_NAME || content > MAX_CONTENT {
            return Err(self.damaged(format!("a section of {content} bytes with a name of {name}")));
        }
        let mut sum = blake3::Hasher::new();
        sum.update(&[kind]);
        sum.update(&u16::try_from(name).unwrap_or(u16::MAX).to_be_bytes());
        sum.update(&u32::try_from(content).unwrap_or(u32::MAX).to_be_bytes());
        let (name, content) = (self.bytes(name)?, self.bytes(content)?);
        let expected = *sum.update(&name).update(&content).finalize().as_bytes();
        if self.take::<HASH>()? != expected {
            return Err(self.damaged("the checksum of a section is not that of its content"));
        }
        if kind == END {
            return self.end(&content).map(|()| None);
        }
        let kind = Kind::of(kind).ok_or_else(|| self.damaged(format!("there is no section of kind {kind}")))?;
        if (kind == Kind::About) != (self.sections == 0) {
            return Err(self.damaged("a section stands in the wrong place"));
        }
        self.sections += 1;
        let name = String::from_utf8(name).map_err(|_| self.damaged("the name of a section is no text"))?;
        Ok(Some(Section { kind, name, content }))
    }

    fn end(&mut self, content: &[u8]) -> Result<(), ArchiveError> {
        if content != self.sections.to_be_bytes() {
            return Err(self.damaged("sections are missing"));
        }
        let expected = self.total.finalize();
        self.began = self.at;
        let mut found = [0; HASH];
        self.from.read_exact(&mut found).map_err(|error| self.failed(&error))?;
        self.at += HASH as u64;
        if found != *expected.as_bytes() {
            return Err(self.damaged("the checksum at its end is not that of all before"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(self.damaged("something stands behind its end")),
            Err(error) => return Err(self.failed(&error)),
        }
        self.hash = Some(expected.to_hex().to_string());
        Ok(())
    }

    /// Reads all that is left and says what the file holds. Call it before anything of the file was taken.
    ///
    /// # Errors
    /// As [`Archive::next`].
    pub fn look_through(mut self) -> Result<Contents, ArchiveError> {
        let (mut records, mut files) = (0, [0; 3]);
        while let Some(section) = self.next()? {
            if section.kind == Kind::Records {
                records += section.records().map_err(|cause| self.damaged(cause))?.len() as u64;
                continue;
            }
            let last = section.part().map_err(|cause| self.damaged(cause))?.last;
            match section.kind {
                Kind::Bundle => files[0] += u64::from(last),
                Kind::Database => files[1] += u64::from(last),
                Kind::File => files[2] += u64::from(last),
                Kind::About | Kind::Records | Kind::Private => {}
            }
        }
        let ([bundle_files, databases, files], hash) = (files, self.hash.unwrap_or_default());
        Ok(Contents { about: self.about, bytes: self.at, hash, records, bundle_files, databases, files })
    }

    /// The error of a section that was read and makes no sense.
    pub fn damaged(&self, cause: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), at: self.began, cause: cause.into() }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| self.failed(&error))?;
        self.total.update(&bytes);
        self.at += N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = vec![0; count];
        self.from.read_exact(&mut bytes).map_err(|error| self.failed(&error))?;
        self.total.update(&bytes);
        self.at += count as u64;
        Ok(bytes)
    }

    fn failed(&self, error: &io::Error) -> ArchiveError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.damaged("it is cut off");
        }
        ArchiveError::io(&self.path, "reading", error)
    }
}

/// Looks a file through: each checksum, and that it is there to its end.
///
/// # Errors
/// As [`Archive::open`] and [`Archive::next`].
pub fn verify(path: &Path) -> Result<Contents, ArchiveError> {
    Archive::open(path)?.look_through()
}
