//! Snapshots: small files with the records of registry, engine and decisions, from which a store that is damaged is made anew.
//!
//! `DATA/snapshots/` holds the newest few, named by the number of the log's entry up to which they tell all. One is exported a
//! while after something changed, so that many changes make one, and at the end. It is read back before it counts. What modules
//! keep (key-value entries, databases, files) is not in it: that is what backups are for. Nor is the history of modules, which
//! grows without being needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backup::{self, BackupError};
use crate::engine::retell;
use crate::monitor::{Event, Events};
use crate::store::archive::{About, Archive, ArchiveError, Draft, Kind as Part, What, Writer};
use crate::store::audit::{AuditLog, Head};
use crate::store::{RawRecord, Store};

#[cfg(test)]
mod tests;

/// The folder in the data directory.
pub(super) const FOLDER: &str = "snapshots";

/// How many are kept.
const KEPT: usize = 3;

/// How long nothing may have changed before one is exported, and after how long one is all the same. What a command told the log
/// is in the store long before: a snapshot says of which entry it was begun, and that was written before the wait.
const QUIET: Duration = Duration::from_secs(3);
const LATEST: Duration = Duration::from_secs(30);

/// The trees of what modules keep themselves.
const OF_MODULES: [&str; 2] = ["kv", "kv-used"];

/// Whether a tree's records are what modules keep themselves.
pub(super) fn is_of_modules(tree: &str) -> bool {
    OF_MODULES.contains(&tree)
}

/// Exports snapshots as long as it lives.
pub(super) struct Snapshots {
    maker: Maker,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Maker {
    dir: PathBuf,
    store: Store,
    audit: AuditLog,
    events: Events,
    /// [`QUIET`] and [`LATEST`]; a test has its own.
    pace: (Duration, Duration),
    /// Held while one is written: at the end the one before may be on its way still.
    turn: Arc<Mutex<()>>,
    /// Whether nobody waits any more: what is on its way gives up at its next record.
    given_up: Arc<AtomicBool>,
}

impl Snapshots {
    /// Exports one whenever the log has told something, once it is quiet again. Never in the way of who told it.
    pub(super) fn start(data: &Path, store: &Store, audit: &AuditLog, events: &Events) -> Self {
        let dir = data.join(FOLDER);
        let (store, audit, events) = (store.clone(), audit.clone(), events.clone());
        Self::of(Maker::new(dir, store, audit, events, (QUIET, LATEST)))
    }

    fn of(maker: Maker) -> Self {
        let task = tokio::spawn(maker.clone().follow());
        Self { maker, task }
    }

    /// Exports what changed since the last one; the caller sees to it that nothing changes any more. What is not written by
    /// `until` is given up, with an alarm: a slow disk keeps no runtime from its end, and the audit log has what is not in the
    /// snapshot.
    pub(super) async fn end(self, until: Instant) {
        self.task.abort();
        let _ = self.task.await;
        let Self { maker, .. } = self;
        let mut told = false;
        if tokio::time::timeout_at(until, maker.export(maker.audit.head(), &mut told)).await.is_err() {
            maker.given_up.store(true, Ordering::Release);
            maker.alarm("the time of the stop passed before it was written");
        }
    }
}

impl Maker {
    fn new(dir: PathBuf, store: Store, audit: AuditLog, events: Events, pace: (Duration, Duration)) -> Self {
        Self { dir, store, audit, events, pace, turn: Arc::default(), given_up: Arc::default() }
    }

    async fn follow(self) {
        let mut newest = self.audit.follow();
        let mut told = false;
        loop {
            // before the wait, so that whatever it tells is in the store after it
            let head = self.audit.head();
            let (quiet, latest) = self.pace;
            let latest = tokio::time::sleep(latest);
            tokio::pin!(latest);
            loop {
                tokio::select! {
                    () = &mut latest => break,
                    () = tokio::time::sleep(quiet) => break,
                    changed = newest.changed() => if changed.is_err() { return },
                }
            }
            self.export(head, &mut told).await;
            if newest.changed().await.is_err() {
                return;
            }
        }
    }

    /// Exports one, unless the newest holds the same. That it fails is an alarm, once until it works again.
    async fn export(&self, head: Result<Head, crate::store::audit::AuditError>, told: &mut bool) {
        let maker = self.clone();
        let exported = tokio::task::spawn_blocking(move || {
            let head = head?;
            maker.write(backup::about(What::Snapshot, head))
        });
        let exported = exported.await.unwrap_or_else(|error| Err(BackupError::Broken { cause: error.to_string() }));
        match exported {
            Ok(()) => *told = false,
            Err(error) if *told => tracing::warn!(%error, "a snapshot could not be exported"),
            Err(error) => {
                *told = true;
                self.alarm(&error.to_string());
            }
        }
    }

    fn alarm(&self, why: &str) {
        let message = format!(
            "a snapshot could not be exported: {why}; what serves goes on, but a damaged store could be rebuilt from older ones \
             only"
        );
        self.events.emit(Event::Alarm { subject: "snapshots".to_owned(), message });
    }

    /// Whether somebody still waits for it.
    fn goes_on(&self) -> Result<(), BackupError> {
        let cause = || "nobody waits for it any more".to_owned();
        if self.given_up.load(Ordering::Acquire) { Err(BackupError::Broken { cause: cause() }) } else { Ok(()) }
    }

    fn write(&self, about: About) -> Result<(), BackupError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        let wants = |tree: &str| !is_of_modules(tree);
        self.store.dump(wants, |record| {
            self.goes_on()?;
            // the audit log has what was done; entries with which something is left to do are needed
            records.extend(Some(record).filter(|record| !retell::is_history(record)));
            Ok::<_, BackupError>(())
        })?;
        backup::make_private(&self.dir)?;
        let found = list(&self.dir)?;
        // this log has not come so far: they are of one that is gone, and would pass for the newest
        let (strange, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| seq(path) > about.audit.seq);
        if found.first().is_some_and(|newest| read(newest).is_ok_and(|(_, kept)| kept == records)) {
            return Ok(());
        }
        let path = self.dir.join(format!("{:020}-{}.snapshot", about.audit.seq, about.at));
        let mut draft = Draft::of(&path)?;
        let mut writer = Writer::begin(&mut draft, &path, &about)?;
        for record in &records {
            self.goes_on()?;
            writer.record(record)?;
        }
        writer.finish()?;
        draft.put(|written| match read(written)? {
            (_, kept) if kept == records => Ok(()),
            _ => Err(ArchiveError::Damaged { path: written.to_owned(), at: 0, cause: "it reads otherwise".to_owned() }),
        })?;
        // and what was cut off while it was written
        for old in found.iter().skip(KEPT - 1).chain(&strange).chain(&named(&self.dir, "new")?) {
            fs::remove_file(old).map_err(|error| BackupError::io(old, "removing", &error))?;
        }
        Ok(())
    }
}

/// The snapshots in a folder, the newest first; none where there is no folder.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    named(dir, "snapshot")
}

/// The number of the log's entry in a snapshot's name; the largest where there is none.
fn seq(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.get(..20)?.parse().ok()).unwrap_or(u64::MAX)
}

fn named(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |error: &std::io::Error| BackupError::io(dir, "reading", error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&error))?.path();
        found.extend(Some(path).filter(|path| path.extension().is_some_and(|found| found == extension)));
    }
    found.sort();
    found.reverse();
    Ok(found)
}

/// What a snapshot holds, each checksum found right.
///
/// # Errors
/// It is not what was written, or is no snapshot.
pub(super) fn read(path: &Path) -> Result<(About, Vec<RawRecord>), ArchiveError> {
    let mut archive = Archive::open(path)?;
    let mut records = Vec::new();
    if archive.about().what != What::Snapshot {
        return Err(archive.damaged("it is no snapshot"));
    }
    while let Some(section) = archive.next()? {
        if section.kind != Part::Records {
            return Err(archive.damaged("it holds more than records"));
        }
        records.extend(section.records().map_err(|cause| archive.damaged(cause))?);
    }
    Ok((archive.about().clone(), records))
}
