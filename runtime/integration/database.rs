//! SQLite for modules: one file for each module that declares `database`, reached by that module and by those
//! that are granted it.
//!
//! A script's SQL is hostile until proven otherwise. Each call is one transaction of single statements that read or change
//! rows; schema changes belong in [migrations](super::migrations). SQLite's authorizer refuses all else (`ATTACH`, `PRAGMA`,
//! transactions, DDL, the runtime's own tables) whatever the text looks like, connections are in defensive mode, sizes and
//! shapes of statements and results are bounded, and a statement ends at its deadline, a second late at worst: SQLite does not
//! look at the clock inside a function, so the size of values is bounded by what a statement calls (16 MiB, with `like` 2 MiB,
//! `instr` and `replace` 256 KiB, `trim` 16 KiB, less for many calls).
//!
//! A module has at most four connections, made on demand, and each other module that works on its database has one beside them,
//! so that no statements of others keep it from its own data. Readers run beside one writer (WAL); writers queue in this process. A commit is on the disk before the script hears of it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use replug_scripts::{HostError, Value};

use self::pool::{Lease, Pool, Turn};
use self::session::Session;
use crate::sandbox::ports;

mod copy;
mod effort;
mod error;
mod fault;
mod ledger;
mod pool;
mod rules;
mod run;
mod session;
mod split;
mod values;

#[cfg(test)]
mod tests;

pub use error::DatabaseError;
pub(super) use ledger::{Applied, Change, MAX_SCRIPT, ScriptFault, Shape};

/// How long the runtime's own short statements and the end of a module's connections are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest module id.
const MAX_ID: usize = 128;

/// What SQLite puts beside a file.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The databases of all modules. Clones share everything. All methods block.
#[derive(Clone)]
pub struct Databases {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

impl Databases {
    /// Takes `dir`, created if it is missing, as the place of the files `ID.sqlite`. Opens none of them. At most one `Databases`
    /// and its clones may use a directory at a time, and nobody else may open, copy or remove its files meanwhile: closing any
    /// handle of theirs would drop the locks that SQLite holds.
    ///
    /// # Errors
    /// The directory cannot be created or reached.
    pub fn open(dir: PathBuf) -> Result<Self, DatabaseError> {
        // Absolute, so that it means the same whatever happens to the working directory, and never reads as a URI.
        let ready = create_dir(&dir).and_then(|()| fs::canonicalize(&dir));
        let dir = ready.map_err(|error| DatabaseError::Directory { dir, cause: error.to_string() })?;
        Ok(Self { shared: Arc::new(Shared { dir, pools: Mutex::default() }) })
    }

    /// Creates the file of `module`, unless it exists, and what the runtime needs in it.
    ///
    /// # Errors
    /// `module` is no id, or the file cannot be created or is no database.
    pub fn create(&self, module: &str) -> Result<(), DatabaseError> {
        let path = self.path(module)?;
        let failed = |cause: String| DatabaseError::File { module: module.to_owned(), cause };
        if create_file(&path).map_err(|error| failed(error.to_string()))? {
            sync_dir(&self.shared.dir).map_err(|error| failed(error.to_string()))?;
        }
        let pool = self.pool(module)?;
        let deadline = Instant::now() + PATIENCE;
        let _turn = pool.write(deadline)?;
        let lease = pool.take(deadline)?;
        let session = lease.session();
        let mode: String = session
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| pool.file_fault(&error))?;
        if mode != "wal" {
            return Err(failed(format!("the file system allows only journal mode {mode}, not a write-ahead log")));
        }
        session.execute_batch(ledger::CREATE).map_err(|error| pool.sql_fault(&error))
    }

    /// Whether `module` has a file.
    #[must_use]
    pub fn exists(&self, module: &str) -> bool {
        self.path(module).is_ok_and(|path| path.is_file())
    }

    /// Closes the connections of `module`: idle ones now, the others when their statements end. The next use opens new ones.
    pub fn close(&self, module: &str) {
        let pool = self.pools().get(module).cloned();
        if let Some(pool) = pool {
            pool.close();
        }
    }

    /// Removes the file of `module` with all its data; nothing happens if there is none.
    ///
    /// # Errors
    /// Statements still run after five seconds, another caller drops it, or the file cannot be removed. What was not removed
    /// stays usable.
    pub fn drop_file(&self, module: &str) -> Result<(), DatabaseError> {
        let path = self.path(module)?;
        let pool = match self.pool(module) {
            Err(DatabaseError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        // Whoever ends the pool is the only one to touch the files until the pool has left the map: SQLite finds a log by its
        // path, so two files that follow each other under one name must never be open at once.
        if !pool.end(Instant::now() + PATIENCE)? {
            return Err(pool.busy("another caller drops it"));
        }
        // The file first: what stays beside a missing one is never read again, but a log beside a file would be.
        let removed = remove(&path).and_then(|()| {
            COMPANIONS.iter().try_for_each(|companion| remove(&beside(&path, companion)))?;
            sync_dir(&self.shared.dir)
        });
        if let Err(error) = removed {
            pool.revive();
            return Err(DatabaseError::File { module: module.to_owned(), cause: error.to_string() });
        }
        self.pools().remove(module);
        Ok(())
    }

    /// Removes the file of `module` if nothing was ever made in it, or all of it was taken back. What cannot be read is left
    /// as it is.
    ///
    /// # Errors
    /// As of [`Databases::drop_file`]; or migrations run for longer than five seconds.
    pub fn drop_empty(&self, module: &str) -> Result<(), DatabaseError> {
        let deadline = Instant::now() + PATIENCE;
        let pool = match self.pool(module) {
            Err(DatabaseError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        // until it is gone nothing may be made in it
        let _turn = self.migrating(module, deadline)?;
        let is_empty = pool.take(deadline).and_then(|lease| ledger::is_empty(&pool, lease.session()));
        if is_empty.unwrap_or(false) { self.drop_file(module) } else { Ok(()) }
    }

    /// The bytes that the database of `module` takes on the disk, its log included; 0 if there is none.
    #[must_use]
    pub fn size(&self, module: &str) -> u64 {
        let Ok(path) = self.path(module) else { return 0 };
        let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        length(&path) + length(&beside(&path, "-wal"))
    }

    /// Checks that the database of `module` answers and has every table that its applied migrations made.
    ///
    /// # Errors
    /// It does not answer within five seconds, cannot be read, or tables are missing.
    pub fn verify(&self, module: &str) -> Result<(), DatabaseError> {
        self.verify_until(module, Instant::now() + PATIENCE)
    }

    fn verify_until(&self, module: &str, deadline: Instant) -> Result<(), DatabaseError> {
        let pool = self.pool(module)?;
        let lease = pool.take(deadline)?;
        let shape = ledger::shape(lease.session()).map_err(|error| pool.sql_fault(&error))?;
        let made = ledger::applied(&pool, lease.session())?.into_iter().flat_map(|applied| applied.tables);
        let mut tables: Vec<String> = made.filter(|table| !shape.contains_key(table)).collect();
        if tables.is_empty() {
            return Ok(());
        }
        tables.sort();
        Err(DatabaseError::MissingTables { module: module.to_owned(), tables })
    }

    /// The applied migrations of `module`, in ascending order; none if it has no file.
    pub(super) fn applied(&self, module: &str) -> Result<Vec<Applied>, DatabaseError> {
        let pool = match self.pool(module) {
            Err(DatabaseError::NotFound { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let lease = pool.take(Instant::now() + PATIENCE)?;
        if ledger::exists(&pool, lease.session())? { ledger::applied(&pool, lease.session()) } else { Ok(Vec::new()) }
    }

    /// The right to run migrations of `module`, until it is dropped.
    pub(super) fn migrating(&self, module: &str, deadline: Instant) -> Result<Turn, DatabaseError> {
        let pool = self.pool(module)?;
        pool.migrating.enter(deadline).ok_or_else(|| pool.busy("other migrations run"))
    }

    /// Does `work` in one write transaction, committed if it succeeds and undone if not. Only a deadline that passes before
    /// the commit counts. Connections made before it are closed: they keep statements compiled under the old schema.
    pub(super) fn change<T, E: From<DatabaseError>>(
        &self,
        module: &str,
        deadline: Instant,
        work: impl FnOnce(&Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let pool = self.pool(module)?;
        let turn = pool.write(deadline)?;
        let lease: Lease = pool.take(deadline)?;
        let session: &Session = lease.session();
        // what a migration makes is bounded by the largest file alone: half a schema helps nobody
        session.bound(session::MAX_PAGES).map_err(|error| pool.sql_fault(&error))?;
        let own = |sql: &str| session.execute_batch(sql).map_err(|error| pool.sql_fault(&error));
        own("BEGIN IMMEDIATE")?;
        // So that a script may drop tables that refer to each other in any order.
        own("PRAGMA defer_foreign_keys = ON")?;
        let done = work(&Change { pool: &pool, session, deadline })?;
        session.without_deadline();
        own("COMMIT")?;
        pool.measure(session);
        drop(turn);
        pool.close();
        Ok(done)
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Pool>>> {
        self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections of `module`, which must have a file.
    fn pool(&self, module: &str) -> Result<Arc<Pool>, DatabaseError> {
        let mut pools = self.pools();
        if let Some(pool) = pools.get(module) {
            return Ok(Arc::clone(pool));
        }
        let path = self.path(module)?;
        if !path.is_file() {
            return Err(DatabaseError::NotFound { module: module.to_owned() });
        }
        let pool = Pool::new(module, path);
        pools.insert(module.to_owned(), Arc::clone(&pool));
        Ok(pool)
    }

    fn path(&self, module: &str) -> Result<PathBuf, DatabaseError> {
        if is_id(module) {
            Ok(self.shared.dir.join(format!("{module}.sqlite")))
        } else {
            Err(DatabaseError::Module { module: module.chars().take(MAX_ID).collect() })
        }
    }
}

impl ports::Database for Databases {
    fn run_within(
        &self,
        room: u64,
        module: &str,
        guest: Option<ports::Guest<'_>>,
        statements: &[ports::Statement],
        deadline: Instant,
    ) -> Result<Vec<Value>, HostError> {
        run::run(&self.pool(module)?, (guest, room), statements, deadline)
    }

    fn size(&self, module: &str) -> u64 {
        let known = self.pools().get(module).and_then(|pool| pool.size());
        let file = || self.path(module).ok().and_then(|path| fs::metadata(path).ok()).map_or(0, |meta| meta.len());
        known.unwrap_or_else(file)
    }

    fn check(&self, module: &str, deadline: Instant) -> Result<(), HostError> {
        Ok(self.verify_until(module, deadline)?)
    }
}

/// The manifest's form of an id; checked once more, because a path is made of it.
fn is_id(module: &str) -> bool {
    let word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    module.len() <= MAX_ID && module.split('.').all(word)
}

fn beside(path: &Path, companion: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(companion);
    PathBuf::from(name)
}

/// Files hold people's data and signing keys: they are for the owner alone, and SQLite gives its companions the same mode.
fn create_file(path: &Path) -> io::Result<bool> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(()) // A directory cannot be opened as a file there; the file system journals its entries.
}
