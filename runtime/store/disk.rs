//! The files: opened once, locked, and synced by a handle of our own.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StoreError;
use super::rouse::Rouse;

/// Bytes of tree pages kept in memory.
const CACHE: u64 = 64 * 1024 * 1024;

/// The engine writes a page larger than a quarter of a segment as a file of its own and never syncs it. A page holds up
/// to 17 records before it splits, each under 64 KiB with a key of up to 4 KiB: about 1.2 MiB. So segments of 8 MiB keep every
/// page in the one file that is synced.
const SEGMENT: usize = 8 * 1024 * 1024;

/// How often the engine collects its garbage, in milliseconds. Its own flush at that pace is no part of our promise.
const HOUSEKEEPING_MS: u64 = 1_000;

/// How long to wait for the engine of a store just dropped in this process to let go of its file.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// The open files. The fields are dropped in this order: the lock goes last.
pub(super) struct Disk {
    rouse: Rouse,
    pub(super) db: sled::Db,
    file: File,
    dir: PathBuf,
    _lock: File,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { dir: dir.to_owned(), cause };
        create_synced(dir).map_err(|error| failed(error.to_string()))?;
        let lock = lock(dir)?;
        let db = open_engine(dir).map_err(|error| failed(error.to_string()))?;
        // The same inode as the engine's own handle, so syncing it syncs what the engine wrote.
        let file = File::options().read(true).write(true).open(dir.join("db"));
        let file = file.map_err(|error| failed(format!("db: {error}")))?;
        file.sync_all().and_then(|()| sync_dir(dir)).map_err(|error| failed(error.to_string()))?;
        let rouse = Rouse::start(db.clone()).map_err(|error| failed(format!("thread: {error}")))?;
        Ok(Self { rouse, db, file, dir: dir.to_owned(), _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Applies changes, not yet durably.
    pub(super) fn apply(&self, changes: sled::Batch) -> sled::Result<()> {
        self.rouse.over(|| self.db.apply_batch(changes))
    }

    /// Puts all that was applied onto the disk: the engine's flush writes it out, the sync makes it survive a power cut.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.rouse.over(|| self.db.flush()).map_err(|error| StoreError::Write { cause: error.to_string() })?;
        self.file.sync_data().map_err(|error| StoreError::Write { cause: format!("sync: {error}") })
    }
}

/// Creates `dir` and what leads to it; each new entry is synced in its parent.
pub(super) fn create_synced(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(dir)?;
    for path in missing {
        if let Some(parent) = path.parent() {
            sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
    }
    Ok(())
}

#[cfg(unix)]
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(()) // A directory cannot be opened as a file there; the file system journals its entries.
}

/// Takes the directory for this process. The lock goes with the process, however it ends.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |error: io::Error| StoreError::Open { dir: dir.to_owned(), cause: format!("lock: {error}") };
    let path = dir.join("lock");
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let mut id = String::new();
            let read = file.take(20).read_to_string(&mut id);
            let holder = match (read, id.trim().parse::<u32>()) {
                (Ok(_), Ok(id)) if id == std::process::id() => "this process".to_owned(),
                (Ok(_), Ok(id)) => format!("process {id}"),
                _ => "another process".to_owned(),
            };
            Err(StoreError::Locked { dir: dir.to_owned(), holder })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine tells nobody when it let go of its file, so this asks again")]
fn open_engine(dir: &Path) -> sled::Result<sled::Db> {
    let config =
        sled::Config::new().path(dir).cache_capacity(CACHE).segment_size(SEGMENT).flush_every_ms(Some(HOUSEKEEPING_MS));
    let give_up = Instant::now() + RELEASE_WAIT;
    loop {
        match config.open() {
            // We hold the directory, so only an engine of this process that is still ending can hold the file.
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
