//! The files: opened once, locked, and synced by a handle of our own.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;
use super::batch::Change;
use super::dump::guarded;
use super::rouse::Rouse;
use super::sum::Sum;
use super::tap::Taps;
use super::watermark::{self, Fault, Mark, Unreadable, Watermark};

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
    pub(super) taps: Taps,
    mark: Mutex<Watermark>,
    file: File,
    dir: PathBuf,
    _lock: File,
}

impl Disk {
    /// Opens the files; with `lenient`, also where they lack what was acknowledged.
    pub(super) fn open(dir: &Path, lenient: bool) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { dir: dir.to_owned(), cause };
        create_synced(dir).map_err(|error| failed(error.to_string()))?;
        let lock = lock(dir)?;
        let damaged = |cause: String| StoreError::Damaged { dir: dir.to_owned(), cause };
        let db = guarded(|| open_engine(dir)).map_err(damaged)?.map_err(|error| refused(dir, &error))?;
        // The same inode as the engine's own handle, so syncing it syncs what the engine wrote.
        let file = File::options().read(true).write(true).open(dir.join("db"));
        let file = file.map_err(|error| failed(format!("db: {error}")))?;
        file.sync_all().and_then(|()| sync_dir(dir)).map_err(|error| failed(error.to_string()))?;
        let stored = guarded(|| db.get(watermark::key())).map_err(damaged)?.map_err(|error| refused(dir, &error))?;
        let mut stored =
            stored.map_or(Ok(Mark::default()), |value| watermark::decode(&value)).map_err(|why| match why {
                Unreadable::Nonsense => damaged("the number of its last write makes no sense".to_owned()),
                Unreadable::TooNew(format) => failed(format!(
                    "its last write was counted in format {format}, of a newer version of Replug; use that one"
                )),
            })?;
        if lenient {
            // whatever it is, it is not what was written
            stored.sum = None;
        } else if stored.sum.is_none() {
            // an older program wrote it, or nobody did: what is there is what counts
            let all = guarded(|| sum(&db)).map_err(damaged)?.map_err(|error| refused(dir, &error))?;
            stored.sum = Some(all);
        }
        let mark = match Watermark::open(dir, stored) {
            Err(Fault::Behind { acknowledged, .. }) if lenient => {
                Watermark::open(dir, Mark { number: acknowledged, ..stored })
            }
            mark => mark,
        };
        let mark = mark.map_err(|fault| match fault {
            Fault::Io(error) => failed(format!("watermark: {error}")),
            Fault::Behind { stored, acknowledged } => damaged(format!(
                "it ends with write {stored}, and {acknowledged} were acknowledged: the last ones are lost"
            )),
        })?;
        let rouse = Rouse::start(db.clone()).map_err(|error| failed(format!("thread: {error}")))?;
        let (taps, mark) = (Taps::default(), Mutex::new(mark));
        Ok(Self { rouse, db, taps, mark, file, dir: dir.to_owned(), _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Applies changes, not yet durably. They are counted, and the sum of all records is as they leave it, in the same write.
    pub(super) fn apply(&self, changes: Vec<Change>) -> sled::Result<()> {
        self.taps.over(&self.db, changes, |changes| {
            let mut mark = self.mark();
            let Mark { number, mut sum } = mark.record();
            let mut writes = sled::Batch::default();
            // of two changes to one key the later counts
            for (key, value) in changes.into_iter().collect::<BTreeMap<_, _>>() {
                if let Some(sum) = &mut sum {
                    self.db.get(&key)?.iter().for_each(|old| sum.take(&key, old));
                    value.iter().for_each(|value| sum.add(&key, value));
                }
                match value {
                    Some(value) => writes.insert(key, value),
                    None => writes.remove(key),
                }
            }
            let record = Mark { number: number.saturating_add(1), sum };
            writes.insert(watermark::key(), watermark::encode(record));
            self.rouse.over(|| self.db.apply_batch(writes))?;
            mark.applied(record);
            Ok(())
        })
    }

    /// Says that all that was applied is on the disk.
    pub(super) fn counted(&self) -> Result<(), StoreError> {
        self.mark().write().map_err(|error| StoreError::Write { cause: format!("watermark: {error}") })
    }

    /// How far it has got. While it is held nothing is applied.
    pub(super) fn mark(&self) -> MutexGuard<'_, Watermark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts all that was applied onto the disk: the engine's flush writes it out, the sync makes it survive a power cut.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.rouse.over(|| self.db.flush()).map_err(|error| StoreError::Write { cause: error.to_string() })?;
        self.file.sync_data().map_err(|error| StoreError::Write { cause: format!("sync: {error}") })
    }
}

/// The sum of all records but that of the watermark.
fn sum(db: &sled::Db) -> sled::Result<Sum> {
    let (mut sum, mark) = (Sum::default(), watermark::key());
    for pair in db.iter() {
        let (key, value) = pair?;
        if *key != *mark {
            sum.add(&key, &value);
        }
    }
    Ok(sum)
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
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_dir(_dir: &Path) -> io::Result<()> {
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

/// What the engine says of its files.
pub(super) fn refused(dir: &Path, error: &sled::Error) -> StoreError {
    let (dir, cause) = (dir.to_owned(), error.to_string());
    if is_damage(error) { StoreError::Damaged { dir, cause } } else { StoreError::Open { dir, cause } }
}

/// Whether the engine says that its files are not what it wrote, rather than that the system fails.
fn is_damage(error: &sled::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => true,
        // another version of the engine wrote them
        sled::Error::Unsupported(_) => false,
        sled::Error::Io(error) => matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof),
        sled::Error::CollectionNotFound(_) => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_not_what_was_written_are_damage() {
        let io = |kind: io::ErrorKind| sled::Error::Io(kind.into());
        for (error, damage) in [
            (sled::Error::ReportableBug("x".into()), true),
            (sled::Error::Corruption { at: None, bt: () }, true),
            (io(io::ErrorKind::UnexpectedEof), true),
            (io(io::ErrorKind::PermissionDenied), false),
            (io(io::ErrorKind::StorageFull), false),
            (sled::Error::Unsupported("it was written by another version".into()), false),
        ] {
            let refused = refused(Path::new("store"), &error);
            assert_eq!(matches!(refused, StoreError::Damaged { .. }), damage, "{refused}");
            assert_eq!(matches!(refused, StoreError::Open { .. }), !damage, "{refused}");
        }
    }
}
