//! Copies of the databases for a backup: each as it is at one moment, page by page, beside whoever works on it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::error::DatabaseError;
use super::{Databases, PATIENCE, create_file, is_id};

/// Who has the connection; no module has such an id.
const BACKUP: &str = "a backup";

impl Databases {
    /// The modules that have a database, by id.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn modules(&self) -> Result<Vec<String>, DatabaseError> {
        let dir = &self.shared.dir;
        let failed = |error: std::io::Error| DatabaseError::Directory { dir: dir.clone(), cause: error.to_string() };
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            found.extend(
                name.to_str().and_then(|name| name.strip_suffix(".sqlite")).filter(|id| is_id(id)).map(str::to_owned),
            );
        }
        found.sort();
        Ok(found)
    }

    /// Copies the database of `module` into the new file `to`, mode 0600, as one transaction sees it: readers and writers go on
    /// meanwhile. The copy stands alone, without a log beside it; it is not synced.
    ///
    /// # Errors
    /// There is no database, it cannot be read, or no connection is free for five seconds. An unfinished copy may stay then.
    pub fn copy(&self, module: &str, to: &Path) -> Result<(), DatabaseError> {
        let pool = self.pool(module)?;
        let failed = |cause: String| DatabaseError::File { module: module.to_owned(), cause };
        create_file(to).map_err(|error| failed(error.to_string()))?;
        // counted among the module's connections: its file is not removed while this reads it
        let lease = pool.lend(BACKUP, Instant::now() + PATIENCE)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let copy = || {
            let mut copy = Connection::open_with_flags(to, flags)?;
            // whoever finds it after a crash finds no backup that names it
            copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
            // one step is one transaction: whoever writes meanwhile writes behind it, into the log
            Backup::new(lease.session(), &mut copy)?.step(-1)
        };
        match copy().map_err(|error| pool.file_fault(&error))? {
            StepResult::Done => Ok(()),
            _ => Err(pool.busy("it is locked")),
        }
    }
}
