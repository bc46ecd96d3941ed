//! What can be done with the files of one module.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use cap_std::fs::{Dir, FileType, Metadata};
use replug_scripts::{HostError, HostErrorKind};

use super::{ENTRY_COST, FilePath, MAX_LISTED, RESERVED, fault, walk};

/// How deep folders are looked through for their size; scripts make none deeper.
const DEEPEST: usize = 64;

/// Says whether the files may take so many bytes of the storage quota.
pub type Room<'a> = &'a dyn Fn(u64) -> Result<(), HostError>;

/// The folder of one module. All methods block. Paths are those that its [rules](super::FileRules) let through.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Held while something changes, so that what is measured before a change still holds in it.
    changing: Mutex<()>,
    /// Measured at the first use, then kept; a change counts from before it happens.
    used: OnceLock<AtomicU64>,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link, a device and the like, which only somebody outside can have put there. It is not opened.
    Other,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; empty where it was asked for by its path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file; 0 otherwise.
    pub size: u64,
    /// When it was changed, in milliseconds since 1970-01-01 UTC; 0 where the system does not say.
    pub modified: u64,
}

impl Folder {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root, changing: Mutex::new(()), used: OnceLock::new() }
    }

    /// Bytes of the storage quota that the files take: contents, and [`ENTRY_COST`] for each file and folder.
    ///
    /// # Errors
    /// `failed` when the folder cannot be read, the first time.
    pub fn used(&self) -> Result<u64, HostError> {
        self.counter().map(|used| used.load(Ordering::SeqCst))
    }

    fn counter(&self) -> Result<&AtomicU64, HostError> {
        if let Some(used) = self.used.get() {
            return Ok(used);
        }
        let _changing = self.change();
        let cost = match walk::open_root(&self.root).and_then(|dir| walk::cost(&dir, DEEPEST)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            cost => cost.map_err(|error| fault::of("the module's files", &error))?,
        };
        Ok(self.used.get_or_init(|| AtomicU64::new(cost)))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// `not-found`; `invalid-argument` for what is no plain file with one name, or is larger than `most` bytes.
    pub fn read(&self, path: &FilePath, most: u64) -> Result<Vec<u8>, HostError> {
        let shown = show(path);
        let failed = |error: io::Error| fault::of(&shown, &error);
        let (dir, name) = self.parent(path)?;
        let found = walk::look(&dir, name).map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        plain(&shown, &found)?;
        let file = dir.open_with(name, walk::options().read(true)).map_err(failed)?;
        // again, of what was opened: what stands there may be another by now
        plain(&shown, &file.metadata().map_err(failed)?)?;
        let mut data = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut data).map_err(failed)?;
        if data.len() as u64 > most {
            let what = format!("the file is larger than {most} bytes, a quarter of `runtime.limits.memory`");
            return Err(fault::not_plain(&shown, &what));
        }
        Ok(data)
    }

    /// Replaces a file as a whole, or makes it, with the folders on the way. It is on the disk when this returns.
    ///
    /// # Errors
    /// What `room` says; `invalid-argument` where no plain file can stand; `overloaded` for a full disk. Nothing of the
    /// file was changed then.
    pub fn write(&self, path: &FilePath, data: &[u8], room: Room<'_>) -> Result<(), HostError> {
        self.put(path, data, room, false)
    }

    /// Writes at the end of a file, or makes it, with the folders on the way. It is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Folder::write`].
    pub fn append(&self, path: &FilePath, data: &[u8], room: Room<'_>) -> Result<(), HostError> {
        self.put(path, data, room, true)
    }

    fn put(&self, path: &FilePath, data: &[u8], room: Room<'_>, append: bool) -> Result<(), HostError> {
        let shown = show(path);
        let failed = |error: io::Error| fault::of(&shown, &error);
        let (folders, name) = path.split().ok_or_else(|| fault::not_plain(&shown, "it is a folder"))?;
        let used = self.counter()?;
        let _changing = self.change();
        let root = walk::make_root(&self.root).map_err(failed)?;
        let (dir, missing) = walk::descend(root, folders).map_err(failed)?;
        let found = if missing.is_empty() { walk::look(&dir, name).map_err(failed)? } else { None };
        if let Some(found) = &found {
            plain(&shown, found)?;
        }
        let (before, size) = (found.as_ref().map_or(0, Metadata::len), data.len() as u64);
        let after = if append { before + size } else { size };
        let entries = missing.len() as u64 + u64::from(found.is_none());
        let growth = Growth::take(used, entries * ENTRY_COST + after.saturating_sub(before), room)?;
        let dir = walk::make(dir, missing).map_err(failed)?;
        if append && found.is_some() { extend(&dir, name, before, data) } else { replace(&dir, name, data) }
            .map_err(failed)?;
        growth.keep();
        used.fetch_sub(before.saturating_sub(after), Ordering::SeqCst);
        Ok(())
    }

    /// Makes a folder and those on the way; tells whether it was missing.
    ///
    /// # Errors
    /// What `room` says; `invalid-argument` where something else stands there.
    pub fn mkdir(&self, path: &FilePath, room: Room<'_>) -> Result<bool, HostError> {
        let shown = show(path);
        let failed = |error: io::Error| fault::of(&shown, &error);
        let used = self.counter()?;
        let _changing = self.change();
        let root = walk::make_root(&self.root).map_err(failed)?;
        let (dir, missing) = walk::descend(root, path.parts()).map_err(failed)?;
        let growth = Growth::take(used, missing.len() as u64 * ENTRY_COST, room)?;
        walk::make(dir, missing).map_err(failed)?;
        growth.keep();
        Ok(!missing.is_empty())
    }

    /// Removes a file or an empty folder; tells whether there was one.
    ///
    /// # Errors
    /// `conflict` for a folder that is not empty; `invalid-argument` for the module's folder itself and what is neither.
    pub fn remove(&self, path: &FilePath) -> Result<bool, HostError> {
        let shown = show(path);
        let failed = |error: io::Error| fault::of(&shown, &error);
        let Some((folders, name)) = path.split() else {
            return Err(fault::not_plain(&shown, "the module's own folder stays"));
        };
        let used = self.counter()?;
        let _changing = self.change();
        let Some(dir) = self.missing_is_none(|root| walk::follow(root, folders)).map_err(failed)? else {
            return Ok(false);
        };
        let Some(found) = walk::look(&dir, name).map_err(failed)? else { return Ok(false) };
        let kind = found.file_type();
        if kind.is_dir() {
            dir.remove_dir(name).map_err(failed)?;
        } else if kind.is_file() {
            dir.remove_file(name).map_err(failed)?;
        } else {
            return Err(fault::not_plain(&shown, "it is neither a file nor a folder"));
        }
        walk::sync(&dir).map_err(failed)?;
        let size = if kind.is_file() { found.len() } else { 0 };
        used.fetch_sub(ENTRY_COST + size, Ordering::SeqCst);
        Ok(true)
    }

    /// What stands at a path, if anything does.
    ///
    /// # Errors
    /// `invalid-argument` where the way leads through something that is no folder.
    pub fn stat(&self, path: &FilePath) -> Result<Option<Entry>, HostError> {
        let failed = |error: io::Error| fault::of(&show(path), &error);
        let Some((folders, name)) = path.split() else {
            let root = self.missing_is_none(|root| root.dir_metadata()).map_err(failed)?;
            return Ok(root.map(|found| entry(String::new(), &found)));
        };
        let dir = self.missing_is_none(|root| walk::follow(root, folders)).map_err(failed)?;
        let found = dir.map_or(Ok(None), |dir| walk::look(&dir, name)).map_err(failed)?;
        Ok(found.map(|found| entry(String::new(), &found)))
    }

    /// What is in a folder, in the order of the names. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// `not-found`; `invalid-argument` for what is no folder; `failed` with more than [`MAX_LISTED`] entries.
    pub fn list(&self, path: &FilePath) -> Result<Vec<Entry>, HostError> {
        let shown = show(path);
        let failed = |error: io::Error| fault::of(&shown, &error);
        let dir = match self.missing_is_none(|root| walk::follow(root, path.parts())).map_err(failed)? {
            Some(dir) => dir,
            // a module that has written nothing yet has an empty folder
            None if path.parts().is_empty() => return Ok(Vec::new()),
            None => return Err(failed(io::ErrorKind::NotFound.into())),
        };
        let mut entries = Vec::new();
        for found in dir.entries().map_err(failed)? {
            let found = found.map_err(failed)?;
            let Ok(name) = found.file_name().into_string() else { continue };
            if name.starts_with(RESERVED) {
                continue;
            }
            if entries.len() == MAX_LISTED {
                let what =
                    format!("{shown}: the folder has more than {MAX_LISTED} entries; keep them in several folders");
                return Err(HostError::new(HostErrorKind::Failed, what));
            }
            // what is removed meanwhile is not there
            if let Some(found) = walk::look(&dir, &name).map_err(failed)? {
                entries.push(entry(name, &found));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The folder that a file is in, and its name there.
    fn parent<'p>(&self, path: &'p FilePath) -> Result<(Dir, &'p str), HostError> {
        let (folders, name) = path.split().ok_or_else(|| fault::not_plain(".", "it is a folder"))?;
        let dir = walk::open_root(&self.root).and_then(|root| walk::follow(root, folders));
        Ok((dir.map_err(|error| fault::of(&show(path), &error))?, name))
    }

    fn missing_is_none<T>(&self, work: impl FnOnce(Dir) -> io::Result<T>) -> io::Result<Option<T>> {
        match walk::open_root(&self.root).and_then(work) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Bytes that count before they are written, and no more if they are not.
struct Growth<'a> {
    used: &'a AtomicU64,
    bytes: u64,
}

impl<'a> Growth<'a> {
    fn take(used: &'a AtomicU64, bytes: u64, room: Room<'_>) -> Result<Self, HostError> {
        let growth = Self { used, bytes };
        let after = used.fetch_add(bytes, Ordering::SeqCst) + bytes;
        // what takes no more than before is always taken
        if bytes > 0 {
            room(after)?;
        }
        Ok(growth)
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Growth<'_> {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

fn show(path: &FilePath) -> String {
    if path.parts().is_empty() { ".".to_owned() } else { path.as_str().to_owned() }
}

fn plain(shown: &str, found: &Metadata) -> Result<(), HostError> {
    walk::odd(found).map_or(Ok(()), |what| Err(fault::not_plain(shown, what)))
}

fn entry(name: String, found: &Metadata) -> Entry {
    let kind = match found.file_type() {
        kind if FileType::is_file(&kind) => Kind::File,
        kind if kind.is_dir() => Kind::Folder,
        _ => Kind::Other,
    };
    let modified = found.modified().ok().and_then(|at| at.into_std().duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Entry { name, kind, size: if kind == Kind::File { found.len() } else { 0 }, modified }
}

/// Writes beside the file and then takes its name: whoever reads sees the old contents or the new.
fn replace(dir: &Dir, name: &str, data: &[u8]) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let beside = format!("{RESERVED}{:016x}", u64::from_ne_bytes(random));
    let written = (|| {
        let mut file = dir.open_with(&beside, &walk::creating())?;
        file.write_all(data)?;
        file.sync_all()?;
        dir.rename(&beside, dir, name)
    })();
    if let Err(error) = written {
        // at the next start it is removed if not now
        let _ = dir.remove_file(&beside);
        return Err(error);
    }
    walk::sync(dir)
}

/// Writes at the end of a file of `before` bytes, and cuts off what was written if not all was.
fn extend(dir: &Dir, name: &str, before: u64, data: &[u8]) -> io::Result<()> {
    let mut file = dir.open_with(name, walk::options().append(true))?;
    if let Some(what) = walk::odd(&file.metadata()?) {
        return Err(io::Error::other(what));
    }
    let written = file.write_all(data).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}
