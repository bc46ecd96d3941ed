//! Bundles as folders: read with bounds, written whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Bounds, Bundle, MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, RegistryError, no_bundle, paths, refused};

/// Folders begun and not finished, or doomed; swept at start.
const UNFINISHED: &str = ".unfinished-";

pub(super) fn read(dir: &Path) -> Result<BTreeMap<String, Bytes>, RegistryError> {
    let (mut files, mut bounds, mut folders) = (BTreeMap::new(), Bounds::default(), vec![String::new()]);
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let at = dir.join(&folder);
        for entry in fs::read_dir(&at).map_err(failed(&at, "reading"))? {
            let entry = entry.map_err(failed(&at, "reading"))?;
            seen += 1;
            if seen > 4 * MAX_BUNDLE_FILES {
                let most = 4 * MAX_BUNDLE_FILES;
                return Err(no_bundle(format!("the folder has more than {most} entries; is it the module's folder?")));
            }
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let path = if folder.is_empty() { shown.to_string() } else { format!("{folder}/{shown}") };
            if paths::is_left_out(&path) {
                continue;
            }
            if name.to_str().is_none() {
                return Err(refused(&path, "is not UTF-8; rename it"));
            }
            paths::check(&path)?;
            let kind = entry.file_type().map_err(failed(&entry.path(), "reading"))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let content = read_file(&entry.path(), &path, &mut bounds)?;
                files.insert(path, content);
            } else if kind.is_symlink() {
                return Err(refused(&path, "is a symbolic link; put the file itself there"));
            } else {
                return Err(refused(&path, "is neither a plain file nor a folder"));
            }
        }
    }
    Ok(files)
}

fn read_file(file: &Path, path: &str, bounds: &mut Bounds) -> Result<Bytes, RegistryError> {
    let opened = File::open(file).map_err(failed(file, "reading"))?;
    let metadata = opened.metadata().map_err(failed(file, "reading"))?;
    if !metadata.is_file() {
        return Err(refused(path, "is no plain file any more"));
    }
    bounds.add(metadata.len())?;
    let mut content = Vec::new();
    opened.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut content).map_err(failed(file, "reading"))?;
    if content.len() as u64 != metadata.len() {
        return Err(refused(path, "changed while it was read; try again"));
    }
    Ok(Bytes::from(content))
}

pub(super) fn write(bundle: &Bundle, bundles: &Path) -> Result<PathBuf, RegistryError> {
    let dir = bundles.join(bundle.digest());
    if !bundles.is_dir() {
        make_home(bundles)?;
    }
    if dir.symlink_metadata().is_ok() {
        if Bundle::load(&dir, bundle.digest()).is_ok() {
            // Whoever wrote it may have been stopped before the folder's own entry was on the disk.
            sync_dir(bundles)?;
            return Ok(dir);
        }
        remove(&dir)?;
    }
    let unfinished = unfinished(bundles);
    let written = write_files(bundle, &unfinished).and_then(|()| {
        fs::rename(&unfinished, &dir).map_err(failed(&dir, "renaming"))?;
        sync_dir(bundles)
    });
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&unfinished); // What stays is swept at the next start.
        return Err(error);
    }
    Ok(dir)
}

/// Makes the folder of all bundles, if it is missing, and sees to it that it outlives a power cut.
pub(in crate::registry) fn make_home(bundles: &Path) -> Result<(), RegistryError> {
    fs::create_dir_all(bundles).map_err(failed(bundles, "creating"))?;
    match bundles.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

fn write_files(bundle: &Bundle, dir: &Path) -> Result<(), RegistryError> {
    let mut folders = BTreeSet::from([dir.to_owned()]);
    folders.extend(bundle.files().keys().flat_map(|path| paths::folders(path)).map(|folder| dir.join(folder)));
    for folder in &folders {
        fs::create_dir(folder).map_err(failed(folder, "creating"))?;
    }
    for (path, content) in bundle.files() {
        let path = dir.join(path);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(failed(&path, "writing"))?;
    }
    folders.iter().rev().try_for_each(|folder| sync_dir(folder))
}

/// Removes a bundle's folder; an interrupted removal leaves no half of it under its name.
pub(in crate::registry) fn remove(dir: &Path) -> Result<(), RegistryError> {
    let bundles = dir.parent().unwrap_or(Path::new("."));
    let doomed = unfinished(bundles);
    match fs::rename(dir, &doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(failed(dir, "removing"))?,
    }
    let is_dir = doomed.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_dir { fs::remove_dir_all(&doomed) } else { fs::remove_file(&doomed) };
    removed.map_err(failed(&doomed, "removing"))
}

/// Removes what an interrupted write or removal left in `bundles`. What cannot be removed is logged and left.
pub(in crate::registry) fn remove_unfinished(bundles: &Path) {
    for entry in fs::read_dir(bundles).into_iter().flatten().flatten() {
        let is_unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        if is_unfinished && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "an unfinished bundle could not be removed");
        }
    }
}

/// Whether the text has the form of a digest, and so can be a folder's name.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 2 * blake3::OUT_LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unfinished(bundles: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The store's lock keeps other processes out; after a crash the sweep at start makes old names free.
    bundles.join(format!("{UNFINISHED}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), RegistryError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir, "syncing"))
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), RegistryError> {
    Ok(()) // A directory cannot be opened as a file there; the file system journals its entries.
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |error| RegistryError::Files { path, action, cause: error.to_string() }
}
