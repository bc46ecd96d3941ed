//! Puts what a backup holds into a data directory in which nothing runs.
//!
//! Everything is built in a folder of that directory first; that the folder is given another name is the point of no return. The
//! names say how far it came, so whoever finds them goes on with it, be it the next restore or the next start:
//!
//! | in the data directory | what it means | what is done |
//! |---|---|---|
//! | `restore.unfinished` | the building was cut off | it is removed: nothing had changed |
//! | `restore.ready` | all is built and on the disk | what was there before moves into `before-TIME`, then it becomes `restore.placing` |
//! | `restore.placing` | nothing of before is in its place any more | what is in it moves to its place, then the log is told and it goes |
//!
//! The audit log stays: it is the directory's, and says what was done to it. Whoever restores holds its lock, so that no runtime
//! starts in between.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BackupError, PRIVATE, SPOOL, parts};
use crate::app::rebuild;
use crate::error::Error;
use crate::registry;
use crate::store::archive::{self, Archive, Contents, Kind as Part, Section, What};
use crate::store::audit::{self, AuditLog, Entry, Head, Kind, Who};
use crate::store::{Store, sync_dir};

#[cfg(test)]
mod tests;

/// What is replaced, in the data directory.
const PARTS: [&str; 9] = [
    "store",
    "store.rebuilt",
    "store.rebuilding",
    "snapshots",
    "bundles",
    "databases",
    "files",
    PRIVATE[0],
    PRIVATE[1],
];

const UNFINISHED: &str = "restore.unfinished";
const READY: &str = "restore.ready";
const PLACING: &str = "restore.placing";

/// The file that says what is restored, in the folder that is.
const ORDER: &str = "restore.json";

/// What is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    /// The checksum of the backup.
    hash: String,
    /// When its records were as they are in it.
    at: u64,
    /// The newest entry of the log of the runtime that made it.
    audit: Head,
    /// Where what was there before is kept, if there was anything.
    kept: Option<String>,
}

/// What a restore came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// What the backup holds.
    #[serde(flatten)]
    pub contents: Contents,
    /// The folder in the data directory that has what was there before; none if there was nothing.
    pub kept: Option<String>,
}

/// Restores the backup `file` into the data directory `data`, which is made where it is missing. It may hold something only if
/// `replace` says so; that is then kept in a folder in it. A restore that was cut off is gone on with first.
///
/// # Errors
/// The file is not whole, a newer program wrote it, a runtime uses the directory, or it holds something; nothing is changed then.
/// What the system refuses after that is gone on with by the next restore or start.
pub async fn restore(file: &Path, data: &Path, replace: bool) -> Result<Restored, Error> {
    let (file, dir) = (file.to_owned(), data.to_owned());
    let placed = tokio::task::spawn_blocking(move || prepared(&file, &dir, replace)).await;
    let (contents, order, log, _store) = placed.map_err(|error| BackupError::Broken { cause: error.to_string() })??;
    tell(data, &log, &order, Who::Admin).await?;
    log.close().await?;
    Ok(Restored { contents, kept: order.kept })
}

type Placed = (Contents, Order, AuditLog, Option<File>);

fn prepared(file: &Path, data: &Path, replace: bool) -> Result<Placed, BackupError> {
    // before anything is made: a wrong file leaves no trace
    let contents = archive::verify(file)?;
    let unfit = |cause: &str| BackupError::Content { file: file.to_owned(), cause: cause.to_owned() };
    if contents.about.what != What::Backup {
        return Err(unfit("it is a snapshot, from which a start rebuilds a damaged store by itself"));
    }
    parts::make_private(data)?;
    let log = AuditLog::open(&data.join(audit::FOLDER))?;
    let held = data.join("store");
    let store = held.is_dir().then(|| crate::store::hold(&held)).transpose()?;
    if let Some(order) = settle(data)? {
        tokio::runtime::Handle::current().block_on(tell(data, &log, &order, Who::Runtime))?;
    }
    let found = PARTS.iter().find(|part| holds(&data.join(part)));
    if let Some(found) = found.filter(|_| !replace) {
        return Err(BackupError::NotEmpty { data: data.to_owned(), found });
    }
    let kept = found.map(|_| format!("before-{}", crate::app::upkeep::now()));
    let about = contents.about.clone();
    let order = Order { hash: contents.hash.clone(), at: about.at, audit: about.audit, kept };
    let unfinished = data.join(UNFINISHED);
    if let Err(error) = build(file, &unfinished, &order) {
        // the next one removes it where this cannot
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error);
    }
    rename(&unfinished, &data.join(READY)).and_then(|()| sync_dir(data)).map_err(failed(data, "renaming"))?;
    place(data, &order, &mut rename)?;
    Ok((contents, order, log, store))
}

/// Whether there is something that would be replaced.
fn holds(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Builds what the backup holds in `to`, and sees to it that it is on the disk.
fn build(file: &Path, to: &Path, order: &Order) -> Result<(), BackupError> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(failed(to, "removing"))?;
    }
    parts::make_private(to)?;
    let store = Store::open(&to.join("store"))?;
    store.begin_blocking()?;
    let mut archive = Archive::open(file)?;
    let (mut needed, mut open) = (BTreeSet::new(), None::<(PathBuf, File)>);
    while let Some(section) = archive.next()? {
        if section.kind == Part::Records {
            ended(&archive, open.as_ref())?;
            let records = section.records().map_err(|cause| archive.damaged(cause))?;
            needed.extend(records.iter().filter_map(registry::digest_of));
            store.load_blocking(records)?;
            continue;
        }
        let path = path_of(&section).map_err(|cause| BackupError::Content { file: file.to_owned(), cause })?;
        let part = section.part().map_err(|cause| archive.damaged(cause))?;
        let path = to.join(path);
        let mut writing = match open.take() {
            Some((name, writing)) if name == path => writing,
            other => {
                ended(&archive, other.as_ref())?;
                parts::make_private(path.parent().unwrap_or(to))?;
                parts::create(&path)?
            }
        };
        writing.write_all(part.bytes).map_err(failed(&path, "writing"))?;
        if part.last {
            writing.sync_all().map_err(failed(&path, "writing"))?;
        } else {
            open = Some((path, writing));
        }
    }
    ended(&archive, open.as_ref())?;
    if archive.hash() != Some(&order.hash) {
        return Err(archive.damaged("it was changed while it was read").into());
    }
    rebuild::check(&store).map_err(|error| match error {
        crate::store::StoreError::TooNew { .. } => BackupError::Store(error),
        error => BackupError::Content { file: file.to_owned(), cause: error.to_string() },
    })?;
    store.close_blocking()?;
    drop(store);
    // what was unregistered while the backup was made
    for digest in fs::read_dir(to.join("bundles")).into_iter().flatten().flatten() {
        if !digest.file_name().to_str().is_some_and(|digest| needed.contains(digest)) {
            fs::remove_dir_all(digest.path()).map_err(failed(&digest.path(), "removing"))?;
        }
    }
    let text = serde_json::to_vec(order).map_err(io::Error::other).map_err(failed(to, "writing"))?;
    let (path, mut options) = (to.join(ORDER), OpenOptions::new());
    let written = options.write(true).create_new(true).open(&path);
    written
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(failed(&path, "writing"))?;
    sync_folders(to).map_err(failed(to, "syncing"))
}

/// Whether no file is open that has more parts.
fn ended<R: io::Read>(archive: &Archive<R>, open: Option<&(PathBuf, File)>) -> Result<(), BackupError> {
    let cut = |(path, _): &(PathBuf, File)| archive.damaged(format!("`{}` is not told to its end", path.display()));
    open.map_or(Ok(()), |open| Err(cut(open).into()))
}

/// Where a part belongs, below the data directory. Nothing leads out of it.
fn path_of(section: &Section) -> Result<PathBuf, String> {
    let name = section.name.as_str();
    let plain = !name.is_empty()
        && !name.contains('\0')
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    let single = plain && !name.contains('/');
    match section.kind {
        Part::Bundle if plain && name.split('/').next().is_some_and(registry::is_digest) => {
            Ok(Path::new("bundles").join(name))
        }
        Part::Database if single => Ok(Path::new("databases").join(format!("{name}.sqlite"))),
        Part::File if plain && !single => Ok(Path::new("files").join(name)),
        Part::Private if PRIVATE.contains(&name) => Ok(PathBuf::from(name)),
        _ => Err(format!("`{}` is no name of something that belongs into a data directory", name.escape_debug())),
    }
}

fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_dir(dir)
}

type Rename<'a> = &'a mut dyn FnMut(&Path, &Path) -> io::Result<()>;

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Goes on from where the names say that it is, to the end.
fn place(data: &Path, order: &Order, rename: Rename<'_>) -> Result<(), BackupError> {
    let (ready, placing) = (data.join(READY), data.join(PLACING));
    if ready.exists() {
        if let Some(kept) = order.kept.as_ref().map(|kept| data.join(kept)) {
            parts::make_private(&kept)?;
            for (from, to) in PARTS.iter().map(|part| (data.join(part), kept.join(part))) {
                if from.symlink_metadata().is_ok() {
                    rename(&from, &to).map_err(failed(&from, "moving"))?;
                }
            }
            sync_dir(&kept).map_err(failed(&kept, "syncing"))?;
        }
        // an empty folder is nothing that is kept, and in the way of nothing
        sync_dir(data).and_then(|()| rename(&ready, &placing)).map_err(failed(&ready, "renaming"))?;
    }
    sync_dir(data).map_err(failed(data, "syncing"))?;
    for entry in fs::read_dir(&placing).map_err(failed(&placing, "reading"))? {
        let from = entry.map_err(failed(&placing, "reading"))?.path();
        if let Some(name) = from.file_name().filter(|name| *name != ORDER) {
            rename(&from, &data.join(name)).map_err(failed(&from, "moving"))?;
        }
    }
    sync_dir(data).map_err(failed(data, "syncing"))
}

/// Goes on with a restore that was cut off, if there is one, and says what it was. The caller holds the audit log.
fn settle(data: &Path) -> Result<Option<Order>, BackupError> {
    let unfinished = data.join(UNFINISHED);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed(&unfinished, "removing"))?;
    }
    let Some(at) = [READY, PLACING].iter().map(|name| data.join(name)).find(|path| path.exists()) else {
        return Ok(None);
    };
    let path = at.join(ORDER);
    let order = match fs::read(&path) {
        // its last step was cut off
        Err(error) if error.kind() == io::ErrorKind::NotFound && at.ends_with(PLACING) => {
            forget(data)?;
            return Ok(None);
        }
        read => read.map_err(failed(&path, "reading"))?,
    };
    let order: Order = serde_json::from_slice(&order).map_err(io::Error::other).map_err(failed(&path, "reading"))?;
    place(data, &order, &mut rename)?;
    Ok(Some(order))
}

/// The end of a restore: nothing of it is left to do.
fn forget(data: &Path) -> Result<(), BackupError> {
    let placing = data.join(PLACING);
    fs::remove_dir_all(&placing).and_then(|()| sync_dir(data)).map_err(failed(&placing, "removing"))
}

/// Tells the log, then forgets that there was something to do. Cut off between the two, it is told twice.
async fn tell(data: &Path, log: &AuditLog, order: &Order, who: Who) -> Result<(), BackupError> {
    let Order { hash, at, audit, kept } = order;
    let told = json!({ "hash": hash, "at": at, "audit": audit, "kept": kept });
    log.append(Entry::new(Kind::Restored, who, "runtime").with(told)).await?;
    forget(data)
}

/// What a restore that was cut off left to be told by the start that went on with it.
pub(in crate::app) struct Untold(Order);

impl Untold {
    /// Goes on with a restore that was cut off, and removes what backups that were cut off left.
    pub(in crate::app) fn find(data: &Path) -> Result<Option<Self>, BackupError> {
        let spool = data.join(SPOOL);
        if spool.exists() {
            fs::remove_dir_all(&spool).map_err(failed(&spool, "removing"))?;
        }
        Ok(settle(data)?.map(Self))
    }

    pub(in crate::app) async fn tell(self, data: &Path, log: &AuditLog) -> Result<(), BackupError> {
        tell(data, log, &self.0, Who::Runtime).await
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::io(&path, action, &error)
}
