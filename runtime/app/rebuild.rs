//! A store that is damaged is put aside, never removed, and made anew: of the newest snapshot that is whole, and of what the audit
//! log tells since.
//!
//! The new one is built beside the old one. Names say how far that came, and a start goes on with what it finds:
//!
//! | in the data directory | what it means | what is done |
//! |---|---|---|
//! | `store.rebuilding` | the building was cut off | it is removed, and begins anew if the store is still damaged |
//! | `store.rebuilt` beside `store` | the new one is whole | the old one becomes `store.damaged-TIME` |
//! | `store.rebuilt` alone | the old one is aside | the new one becomes `store` |
//! | `store/rebuilt.json` | the new one is in its place | the log and an alarm tell it, then the file goes |

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{backup, snapshots, upkeep};
use crate::error::Error;
use crate::monitor::{Event, Events};
use crate::store::archive::About;
use crate::store::audit::{AuditError, AuditLog, Entry, Kind, Who};
use crate::store::{KvStore, RawRecord, Store, StoreError, sync_dir};

mod told;

#[cfg(test)]
mod tests;

const STORE: &str = "store";
const REBUILDING: &str = "store.rebuilding";
const REBUILT: &str = "store.rebuilt";

/// The file in a store that was made anew and was not told of yet.
const REPORT: &str = "rebuilt.json";

/// How many things that could not be made anew are named; the rest is counted.
const NAMED: usize = 50;

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// What showed that it is damaged.
    cause: String,
    /// The folder in the data directory that it was moved to.
    damaged: String,
    /// The snapshot that the new one was made of, and the newest entry of the log that it knows.
    snapshot: String,
    from: u64,
    /// The newest entry of the log at the time.
    to: u64,
    /// Entries of modules' stores and histories that could be read out of the damaged store.
    saved: u64,
    /// What is not as it was, for people.
    left: Vec<String>,
}

/// Whether there is a store, or one on its way.
pub(super) fn is_there(data: &Path) -> bool {
    data.join(STORE).is_dir() || data.join(REBUILT).is_dir()
}

/// Opens the store of a data directory whose log is open. One that is damaged is made anew; the report is then to be told.
/// Blocks.
///
/// # Errors
/// The store cannot be opened, or it is damaged and there is nothing to make it anew of. It is then left as it is.
pub(super) fn open(data: &Path, log: &AuditLog) -> Result<(Store, Option<Report>), Error> {
    settle(data)?;
    let dir = data.join(STORE);
    let (cause, damaged) = match Store::open(&dir) {
        Ok(store) => match whole(&store, log) {
            Ok(()) => return Ok((store, report(&dir)?)),
            Err(StoreError::Damaged { cause, .. }) => (cause, Some(store)),
            Err(error @ StoreError::Corrupt { .. }) => (error.to_string(), Some(store)),
            Err(error) => return Err(error.into()),
        },
        Err(StoreError::Damaged { cause, .. }) => (cause, Store::open_damaged(&dir).ok()),
        Err(error) => return Err(error.into()),
    };
    tracing::error!(store = %dir.display(), %cause, "the store is damaged");
    build(data, log, cause, damaged)?;
    settle(data)?;
    let store = Store::open(&dir)?;
    check(&store)?;
    Ok((store, report(&dir)?))
}

/// Whether a store has what it should; a new one is begun.
fn whole(store: &Store, log: &AuditLog) -> Result<(), StoreError> {
    check(store)?;
    if !store.is_blank()? {
        return Ok(());
    }
    // the engine underneath makes an empty one of a folder that lost its files
    let told = told::first(log).map_err(|error| store.damaged(error.to_string()))?;
    match told {
        Some(seq) => Err(store.damaged(format!("it is empty, and entry {seq} of the audit log tells what was in it"))),
        None => store.begin_blocking(),
    }
}

/// Whether every record of the store can be read, and those of registry, engine and decisions make sense.
///
/// # Errors
/// [`StoreError::Damaged`] or [`StoreError::Corrupt`] for what is not what was written, [`StoreError::TooNew`] for what a newer
/// program wrote.
pub(super) fn check(store: &Store) -> Result<(), StoreError> {
    store.look_through()?;
    crate::registry::readable(store)?;
    crate::engine::retell::check(store)?;
    crate::sandbox::permissions::retell::check(store)
}

/// Goes on from where the names say that it is.
fn settle(data: &Path) -> Result<(), Error> {
    let (store, rebuilding, rebuilt) = (data.join(STORE), data.join(REBUILDING), data.join(REBUILT));
    if rebuilding.exists() {
        fs::remove_dir_all(&rebuilding).map_err(failed(&rebuilding, "removing"))?;
    }
    if !rebuilt.exists() {
        return Ok(());
    }
    if store.exists() {
        let name =
            report(&rebuilt)?.map_or_else(|| format!("store.damaged-{}", upkeep::now()), |report| report.damaged);
        fs::rename(&store, data.join(name)).and_then(|()| sync_dir(data)).map_err(failed(&store, "renaming"))?;
    }
    fs::rename(&rebuilt, &store).and_then(|()| sync_dir(data)).map_err(failed(&rebuilt, "renaming"))
}

/// Builds a new store beside the damaged one, and names it once it is whole.
fn build(data: &Path, log: &AuditLog, cause: String, damaged: Option<Store>) -> Result<(), Error> {
    let rebuilding = data.join(REBUILDING);
    let (store, snapshot, about, mut left) = newest(data, log, &cause)?;
    let saved = salvage(damaged, &store, &mut left)?;
    told::retell(&store, &data.join("bundles"), log, about.audit.seq, &mut left)?;
    check(&store)?;
    store.close_blocking()?;
    drop(store);
    if left.len() > NAMED {
        let more = left.len() - NAMED;
        left.truncate(NAMED);
        left.push(format!("and {more} more"));
    }
    let report = Report {
        cause: cause.chars().take(1000).collect(),
        damaged: format!("store.damaged-{}", upkeep::now()),
        snapshot,
        from: about.audit.seq,
        to: log.newest(),
        saved,
        left,
    };
    let path = rebuilding.join(REPORT);
    let text = serde_json::to_vec(&report).map_err(io::Error::other);
    let write = |text: Vec<u8>| {
        let mut file = fs::File::create_new(&path)?;
        file.write_all(&text)?;
        file.sync_all()
    };
    text.and_then(write).map_err(failed(&path, "writing"))?;
    let rebuilt = data.join(REBUILT);
    let named = sync_dir(&rebuilding).and_then(|()| fs::rename(&rebuilding, &rebuilt)).and_then(|()| sync_dir(data));
    named.map_err(failed(&rebuilding, "renaming"))
}

type Begun = (Store, String, About, Vec<String>);

/// A store of the newest snapshot that is whole, makes sense and fits the log; what is wrong with newer ones.
fn newest(data: &Path, log: &AuditLog, cause: &str) -> Result<Begun, Error> {
    let (rebuilding, mut unfit) = (data.join(REBUILDING), Vec::new());
    for path in snapshots::list(&data.join(snapshots::FOLDER))? {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let (about, records) = match snapshots::read(&path) {
            Ok(read) => read,
            Err(error) => {
                unfit.push(format!("snapshot: {error}"));
                continue;
            }
        };
        if let Err(why) = told::fits(log, &about) {
            unfit.push(format!("snapshot {name}: {why}"));
            continue;
        }
        match loaded(&rebuilding, records)? {
            Ok(store) => return Ok((store, name, about, unfit)),
            Err(nonsense) => unfit.push(format!("snapshot {name}: {nonsense}")),
        }
    }
    if rebuilding.exists() {
        fs::remove_dir_all(&rebuilding).map_err(failed(&rebuilding, "removing"))?;
    }
    let (store, cause) = (data.join(STORE), cause.to_owned());
    let snapshots = if unfit.is_empty() { "there is no snapshot".to_owned() } else { unfit.join("; ") };
    Err(Error::StoreDamaged { store, cause, snapshots })
}

/// A store in `dir` of nothing but these records, or why they make no sense.
fn loaded(dir: &Path, records: Vec<RawRecord>) -> Result<Result<Store, StoreError>, Error> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(failed(dir, "removing"))?;
    }
    backup::make_private(dir)?;
    let store = Store::open(dir)?;
    store.begin_blocking()?;
    store.load_blocking(records)?;
    match check(&store) {
        Ok(()) => Ok(Ok(store)),
        Err(error @ StoreError::Corrupt { .. }) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// Saves what modules keep, and their histories, as far as the damaged store still gives it.
fn salvage(damaged: Option<Store>, store: &Store, left: &mut Vec<String>) -> Result<u64, Error> {
    const LOST: &str = "the entries of modules' key-value stores and their histories";
    let Some(damaged) = damaged else {
        left.push(format!("{LOST} are lost: the damaged store does not open"));
        return Ok(0);
    };
    let (mut saved, mut chunk, mut failed) = (0, Vec::new(), None);
    let wants = |tree: &str| tree == "kv" || tree == "journal";
    let broke_off = damaged.salvage(wants, |record| {
        if record.tree == "journal" && !crate::engine::retell::is_history(&record) {
            return;
        }
        saved += 1;
        chunk.push(record);
        if chunk.len() >= 256 && failed.is_none() {
            failed = store.load_blocking(std::mem::take(&mut chunk)).err();
        }
    });
    failed.map_or(Ok(()), Err)?;
    store.load_blocking(chunk)?;
    crate::engine::retell::salvaged(store)?;
    let unreadable = KvStore::new(store).recount()?;
    if let Some(why) = broke_off {
        left.push(format!("{LOST} are lost from some place on: {why}"));
    } else {
        left.push(format!("of {LOST} the newest may be missing: {saved} were read out of the damaged store"));
    }
    if unreadable > 0 {
        left.push(format!("{unreadable} entries of modules' key-value stores make no sense and were left out"));
    }
    Ok(saved)
}

fn report(dir: &Path) -> Result<Option<Report>, Error> {
    let path = dir.join(REPORT);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let text = read.map_err(failed(&path, "reading"))?;
            serde_json::from_slice(&text).map_err(io::Error::other).map_err(failed(&path, "reading")).map(Some)
        }
    }
}

impl Report {
    /// What a person is told.
    fn message(&self) -> String {
        let Self { cause, damaged, snapshot, from, to, left, .. } = self;
        let left: String = left.iter().map(|it| format!("; {it}")).collect();
        format!(
            "it was damaged ({cause}) and is made anew of {snapshot} and the log's entries {} to {to}; the damaged one is kept as \
             {damaged}: look for what the disk did, compare `replug list`, and restore a backup where something is missing{left}",
            from + 1
        )
    }

    /// Tells the log and raises an alarm; cut off in between, both are told again by the next start. Returns what the alarm says,
    /// with its subject before it.
    pub(super) async fn tell(self, data: &Path, log: &AuditLog, events: &Events) -> Result<String, Error> {
        let Self { cause, damaged, snapshot, from, to, saved, left } = &self;
        let told = json!({
            "cause": cause, "damaged": damaged, "snapshot": snapshot, "from": from, "to": to, "saved": saved, "left": left,
        });
        let appended = log.append(Entry::new(Kind::StoreRebuilt, Who::Runtime, "runtime").with(told)).await;
        match appended {
            Ok(_) | Err(AuditError::TooLarge { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let message = self.message();
        let trouble = format!("{STORE}: {message}");
        events.emit(Event::Alarm { subject: STORE.to_owned(), message });
        let path: PathBuf = data.join(STORE).join(REPORT);
        fs::remove_file(&path).map_err(failed(&path, "removing"))?;
        Ok(trouble)
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Directory { path, action, cause: error.to_string() }
}
