//! Bundles: a module's files, read once and known by their content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::RegistryError;
use crate::manifest::FILE_NAME;

mod archive;
mod disk;
mod paths;

pub(crate) use disk::is_digest;
pub(super) use disk::{make_home, remove, remove_unfinished};

/// The most files in a bundle.
pub const MAX_BUNDLE_FILES: usize = 4096;

/// The most bytes of all files together.
pub const MAX_BUNDLE_BYTES: u64 = 64 * 1024 * 1024;

/// The most bytes of a file's path.
pub const MAX_BUNDLE_PATH: usize = 512;

/// The files of a module. What is in it passed the checks of [`Bundle::new`], whether it came from a folder or an archive;
/// cloning shares the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, Bytes>,
    digest: String,
}

impl Bundle {
    /// The bundle of these files, by path relative to the module's folder, with `/`.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] for a path that leaves the folder, is written in another way than the one, is hidden, is
    /// too long, or is a file and a folder at once; [`RegistryError::NoBundle`] when there are too many files or bytes or
    /// there is no manifest.
    pub fn new(files: BTreeMap<String, Bytes>) -> Result<Self, RegistryError> {
        let mut bounds = Bounds::default();
        for (path, content) in &files {
            paths::check(path)?;
            if paths::is_left_out(path) {
                return Err(refused(path, "is hidden, a backup or a build product; leave it out"));
            }
            if let Some(folder) = paths::folders(path).find(|folder| files.contains_key(*folder)) {
                return Err(refused(path, &format!("is inside `{folder}`, which is a file")));
            }
            bounds.add(content.len() as u64)?;
        }
        if !files.contains_key(FILE_NAME) {
            return Err(no_bundle(format!("it has no `{FILE_NAME}` at its top; register a module's folder")));
        }
        let digest = digest(&files);
        Ok(Self { files, digest })
    }

    /// Reads a module's folder. Hidden files, editor backups (`x~`, `x.bak`, `x.swp`, `#x#`) and a `target` folder at the
    /// top are left out; symbolic links are not followed but refused, as is everything else that is no plain file.
    ///
    /// # Errors
    /// As [`Bundle::new`]; [`RegistryError::Files`] when something cannot be read.
    pub fn read_dir(dir: &Path) -> Result<Self, RegistryError> {
        Self::new(disk::read(dir)?)
    }

    /// Reads the archive that [`Bundle::to_tar`] or any tar program wrote. What is left out of a folder is left out here too.
    ///
    /// # Errors
    /// As [`Bundle::new`]; also for links, devices, sparse files, entries named twice, and what is no tar or cut off.
    pub fn from_tar(archive: &[u8]) -> Result<Self, RegistryError> {
        Self::new(archive::read(archive)?)
    }

    /// The bundle as a tar archive: the same bytes for the same files.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        archive::write(&self.files)
    }

    /// Writes the files to `bundles/<digest>` and returns that folder; all of it is on the disk then. An interrupted write
    /// leaves no such folder. If it exists with this content nothing is done, with other content it is replaced.
    ///
    /// # Errors
    /// [`RegistryError::Files`].
    pub fn write_to(&self, bundles: &Path) -> Result<PathBuf, RegistryError> {
        disk::write(self, bundles)
    }

    /// Reads the folder that [`Bundle::write_to`] made.
    ///
    /// # Errors
    /// [`RegistryError::Corrupt`] when the files are not those with `digest`; otherwise as [`Bundle::read_dir`].
    pub fn load(dir: &Path, digest: &str) -> Result<Self, RegistryError> {
        let bundle = Self::read_dir(dir)?;
        if bundle.digest != digest {
            return Err(RegistryError::Corrupt { expected: digest.to_owned(), found: bundle.digest });
        }
        Ok(bundle)
    }

    /// BLAKE3 over the files in the order of their paths, in hex. Of each file: the length of the path as 8 bytes,
    /// little-endian, the path, the length of the content likewise, the content.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The files, by path.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Bytes> {
        &self.files
    }

    /// The content of one file.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        self.files.keys().cloned().collect()
    }

    /// The manifest's text.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        self.files.get(FILE_NAME).map_or(&[], |text| text)
    }
}

fn digest(files: &BTreeMap<String, Bytes>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (path, content) in files {
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path.as_bytes());
        hasher.update(&(content.len() as u64).to_le_bytes()).update(content);
    }
    hasher.finalize().to_hex().to_string()
}

/// Counts files and bytes while they are read, so that too much is refused before it is in memory.
#[derive(Default)]
struct Bounds {
    files: usize,
    bytes: u64,
}

impl Bounds {
    fn add(&mut self, bytes: u64) -> Result<(), RegistryError> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.files > MAX_BUNDLE_FILES {
            return Err(no_bundle(format!("it has more than {MAX_BUNDLE_FILES} files; is this the module's folder?")));
        }
        if self.bytes > MAX_BUNDLE_BYTES {
            let mib = MAX_BUNDLE_BYTES >> 20;
            return Err(no_bundle(format!("its files take more than {mib} MiB; keep data out of the module's folder")));
        }
        Ok(())
    }
}

fn refused(path: &str, reason: &str) -> RegistryError {
    // Control characters of a hostile path must not reach a terminal.
    let path = path.chars().take(MAX_BUNDLE_PATH).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    RegistryError::Refused { path, reason: reason.to_owned() }
}

fn no_bundle(reason: impl Into<String>) -> RegistryError {
    RegistryError::NoBundle { reason: reason.into() }
}

#[cfg(test)]
mod tests;
