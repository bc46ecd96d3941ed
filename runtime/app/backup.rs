//! Backups: one file that holds everything that a runtime is brought back with.
//!
//! | in it | as of |
//! |---|---|
//! | every record of the store: registry, slots, journal, decisions, modules' key-value entries | one moment |
//! | the bundles of the registered versions | the same: content never changes under its digest |
//! | each module's database | a moment after that, each one transaction |
//! | the files that modules keep | after that, one by one |
//! | the secret of webhooks, and who aborted the process | after that |
//! | number and hash of the audit log's newest entry | before the records |
//!
//! Not in it: the audit log itself, the token of the admin API and where the runtime listens. A restored directory has a log of
//! its own and makes a token of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::engine::retell::Pending;
use crate::registry::Registry;
use crate::store::Store;
use crate::store::archive::{About, ArchiveError, Kind as Part, What, Writer};
use crate::store::audit::{AuditLog, By, Entry, Head, Kind};

mod error;
mod keep;
mod parts;
pub mod restore;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

pub use error::BackupError;
pub(super) use parts::make_private;

#[cfg(feature = "sqlite")]
use crate::integration::database::Databases;

/// Files of the data directory itself that are part of a backup: what receivers of webhooks know the runtime by, and which versions
/// are in quarantine.
const PRIVATE: [&str; 2] = ["webhook.secret", "aborts"];

/// Where a backup is put together, below the data directory; emptied at each start.
pub(super) const SPOOL: &str = "spool";

/// How long to wait before each try. One is in vain where a version was unregistered or activated in the middle of it; a module that
/// takes its steps one after the other is between two of them, or at its end, some time later.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// Makes backups of a runtime. Clones share it.
#[derive(Clone)]
pub(crate) struct Backups {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    /// Held while one is made: each needs room on the disk.
    turn: tokio::sync::Mutex<()>,
}

/// What a backup is made of.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) data: PathBuf,
    pub(super) store: Store,
    pub(super) audit: AuditLog,
    pub(super) registry: Registry,
    #[cfg(feature = "sqlite")]
    pub(super) databases: Databases,
}

/// A backup that was made: an open file that stands in no folder, at its beginning.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) file: File,
    pub(crate) hash: String,
}

impl Backups {
    pub(super) fn new(sources: Sources) -> Self {
        Self { inner: Arc::new(Inner { sources, turn: tokio::sync::Mutex::default() }) }
    }

    /// Makes a backup; the audit log has it before anybody has the file. The runtime serves on meanwhile. It needs as much room
    /// in the data directory as the backup takes, until the file is closed.
    ///
    /// # Errors
    /// Something cannot be read or written, or modules were unregistered or activated again and again meanwhile.
    pub(crate) async fn make(&self, by: By) -> Result<Made, BackupError> {
        let _turn = self.inner.turn.lock().await;
        let (made, about) = self.inner.sources.made(TRIES, || {}).await?;
        let bytes = made.file.metadata().map_or(0, |found| found.len());
        let data = json!({ "at": about.at, "audit": about.audit, "bytes": bytes, "hash": made.hash });
        self.inner.sources.audit.append(Entry::new(Kind::BackedUp, by, "runtime").with(data)).await?;
        Ok(made)
    }
}

impl Sources {
    /// Makes one, in as many tries as there are `pauses` before them; `between` is called when the records are written and the
    /// databases are not, in each.
    async fn made(
        &self,
        pauses: [Duration; 3],
        between: impl Fn() + Clone + Send + 'static,
    ) -> Result<(Made, About), BackupError> {
        for pause in pauses {
            tokio::time::sleep(pause).await;
            let (sources, between) = (self.clone(), between.clone());
            let tried = tokio::task::spawn_blocking(move || sources.tried(&between)).await;
            match tried.map_err(|error| BackupError::Broken { cause: error.to_string() })?? {
                Some(made) => return Ok(made),
                None => {
                    tracing::info!(
                        "a version was unregistered or activated while a backup was made, which begins anew"
                    );
                }
            }
        }
        Err(BackupError::Restless)
    }

    /// One try; nothing as [`Sources::write`].
    fn tried(&self, between: &dyn Fn()) -> Result<Option<(Made, About)>, BackupError> {
        let spool = self.data.join(SPOOL);
        parts::make_private(&spool)?;
        let path = spool.join("backup");
        let file = parts::create(&path)?;
        // a crash leaves nothing of it; where an open file keeps its name, the next start removes it
        parts::unlink(&path)?;
        self.write(BufWriter::with_capacity(256 * 1024, file), &path, &spool, between)
    }

    /// Writes a backup; nothing where a bundle went that its records need, or a module with a database was on its way to another version
    /// between the records and the databases: its migrations would be in the one and not in the other.
    fn write(
        &self,
        to: BufWriter<File>,
        path: &Path,
        spool: &Path,
        between: &dyn Fn(),
    ) -> Result<Option<(Made, About)>, BackupError> {
        // what is registered and cannot be used now is taken as it is
        let known: BTreeSet<String> = self.registry.snapshot().problems.iter().map(|it| it.digest.clone()).collect();
        let about = about(What::Backup, self.audit.head()?);
        let mut writer = Writer::begin(to, path, &about)?;
        let bundles = self.data.join("bundles");
        let mut written = BTreeSet::new();
        // before the records: one of them may be unregistered meanwhile
        parts::bundles(&bundles, &mut written, &mut writer)?;
        let mut needed = BTreeSet::new();
        let pending = Pending::of(&self.store)?;
        self.store.dump(
            |_| true,
            |record| {
                needed.extend(crate::registry::digest_of(&record));
                writer.record(&record).map_err(BackupError::from)
            },
        )?;
        // and those that were registered since
        parts::bundles(&bundles, &mut written, &mut writer)?;
        if needed.iter().any(|digest| !written.contains(digest) && !known.contains(digest)) {
            return Ok(None);
        }
        between();
        self.databases(spool, &mut writer)?;
        let moved = Pending::of(&self.store)?.moved_since(&pending);
        if self.with_databases()?.iter().any(|module| moved.contains(module)) {
            return Ok(None);
        }
        parts::files(&self.data.join("files"), &mut writer)?;
        for name in PRIVATE {
            parts::file(&self.data.join(name), Part::Private, name, &mut writer)?;
        }
        let (to, hash) = writer.finish()?;
        let failed = |error: &std::io::Error| ArchiveError::Io {
            path: path.to_owned(),
            action: "writing",
            cause: error.to_string(),
        };
        let mut file = to.into_inner().map_err(|error| failed(error.error()))?;
        file.rewind().map_err(|error| failed(&error))?;
        Ok(Some((Made { file, hash }, about)))
    }

    /// The modules that have a database.
    fn with_databases(&self) -> Result<Vec<String>, BackupError> {
        #[cfg(feature = "sqlite")]
        return Ok(self.databases.modules()?);
        // nobody writes to them
        #[cfg(not(feature = "sqlite"))]
        Ok(Vec::new())
    }

    #[cfg(feature = "sqlite")]
    fn databases<W: Write>(&self, spool: &Path, writer: &mut Writer<W>) -> Result<(), BackupError> {
        use crate::integration::database::DatabaseError;

        for module in self.databases.modules()? {
            let copy = spool.join("database");
            parts::unlink(&copy)?;
            match self.databases.copy(&module, &copy) {
                Ok(()) => parts::file(&copy, Part::Database, &module, writer)?,
                // dropped since
                Err(DatabaseError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            parts::unlink(&copy)?;
        }
        Ok(())
    }

    #[cfg(not(feature = "sqlite"))]
    fn databases<W: Write>(&self, _spool: &Path, writer: &mut Writer<W>) -> Result<(), BackupError> {
        // files of a runtime with that feature are kept as they are: nobody writes to them now
        parts::databases(&self.data.join("databases"), writer)
    }
}

pub(super) fn about(what: What, audit: Head) -> About {
    About { what, program: env!("CARGO_PKG_VERSION").to_owned(), at: super::upkeep::now(), audit }
}
