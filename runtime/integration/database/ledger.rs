//! What the runtime itself writes into a module's file: the record of applied migrations, in one transaction with what
//! they do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, Row};
use semver::Version;

use super::error::DatabaseError;
use super::pool::Pool;
use super::rules::Author;
use super::session::{MAX_SQL, Session};
use super::{fault, split};

/// Made when the file is.
pub(super) const CREATE: &str = "CREATE TABLE IF NOT EXISTS _replug_migrations (
    version TEXT PRIMARY KEY NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    down_sql TEXT,
    tables TEXT NOT NULL
) STRICT";

/// An applied migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::integration) struct Applied {
    pub(in crate::integration) version: Version,
    /// BLAKE3 of the file, in hex.
    pub(in crate::integration) checksum: String,
    /// What takes it back; none if nothing does.
    pub(in crate::integration) down: Option<String>,
    /// The tables that it made, in lower case.
    pub(in crate::integration) tables: BTreeSet<String>,
}

/// The tables of a module with their columns, in lower case, without the runtime's and SQLite's own.
pub(in crate::integration) type Shape = BTreeMap<String, BTreeSet<String>>;

/// Why a script of statements stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::integration) struct ScriptFault {
    /// The line of the statement, from 1; 0 when the script as a whole is meant.
    pub(in crate::integration) line: usize,
    pub(in crate::integration) cause: String,
    /// The deadline ended it.
    pub(in crate::integration) late: bool,
}

impl ScriptFault {
    fn whole(cause: String) -> Self {
        Self { line: 0, cause, late: false }
    }
}

/// An open write transaction of the runtime. What is not committed is rolled back.
pub(in crate::integration) struct Change<'a> {
    pub(super) pool: &'a Pool,
    pub(super) session: &'a Session,
    pub(super) deadline: Instant,
}

impl Change<'_> {
    /// The applied migrations, in ascending order of their versions.
    pub(in crate::integration) fn applied(&self) -> Result<Vec<Applied>, DatabaseError> {
        applied(self.pool, self.session)
    }

    /// Writes down that `applied` was applied now.
    pub(in crate::integration) fn record(&self, applied: &Applied) -> Result<(), DatabaseError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let tables: Vec<&String> = applied.tables.iter().collect();
        let tables = serde_json::to_string(&tables).map_err(|error| DatabaseError::Record {
            module: self.pool.module().to_owned(),
            version: applied.version.to_string(),
            cause: error.to_string(),
        })?;
        let values = (
            applied.version.to_string(),
            &applied.checksum,
            i64::try_from(now).unwrap_or(i64::MAX),
            &applied.down,
            tables,
        );
        let insert = "INSERT INTO _replug_migrations VALUES (?, ?, ?, ?, ?)";
        self.session.execute(insert, values).map(drop).map_err(|error| self.pool.sql_fault(&error))
    }

    /// Removes the record of `version`.
    pub(in crate::integration) fn forget(&self, version: &Version) -> Result<(), DatabaseError> {
        let delete = "DELETE FROM _replug_migrations WHERE version = ?";
        self.session.execute(delete, [version.to_string()]).map(drop).map_err(|error| self.pool.sql_fault(&error))
    }

    /// The schema as it now is.
    pub(in crate::integration) fn shape(&self) -> Result<Shape, DatabaseError> {
        shape(self.session).map_err(|error| self.pool.sql_fault(&error))
    }

    /// Runs the statements of `sql` under the rules of migrations. After each one that changes the schema `judge` sees the
    /// new shape; its error stops the script. The caller must not commit after an error.
    pub(in crate::integration) fn script(
        &self,
        sql: &str,
        mut judge: impl FnMut(&Shape) -> Result<(), String>,
    ) -> Result<(), ScriptFault> {
        let pieces = split::pieces(sql).map_err(ScriptFault::whole)?;
        for piece in pieces {
            let line = piece.line;
            let fail = |error: &rusqlite::Error| ScriptFault {
                line,
                late: fault::is_timeout(error),
                cause: fault::of_statement(self.session, error).message,
            };
            if Instant::now() >= self.deadline {
                return Err(ScriptFault { line, late: true, cause: "the deadline passed".to_owned() });
            }
            let parameters = self
                .session
                .with(Author::Migration, &piece, |statement| {
                    let count = statement.parameter_count();
                    // A query gives rows that nobody wants; it may be meant for what its functions do.
                    let mut rows = statement.raw_query();
                    while count == 0 && rows.next()?.is_some() {}
                    Ok(count)
                })
                .map_err(|error| fail(&error))?;
            if parameters > 0 {
                let cause = "a migration has no parameters: write the value itself".to_owned();
                return Err(ScriptFault { line, cause, late: false });
            }
            if self.session.watch().changes_schema() {
                let shape = shape(self.session).map_err(|error| fail(&error))?;
                // Of a renaming the authorizer is told the old name only.
                let foreign = foreign(self.session).map_err(|error| fail(&error))?;
                if let Some(name) = foreign {
                    let cause = format!("{name} is a name of the runtime's: those that begin with _replug are refused");
                    return Err(ScriptFault { line, cause, late: false });
                }
                judge(&shape).map_err(|cause| ScriptFault { line, cause, late: false })?;
            }
        }
        Ok(())
    }
}

/// The longest script, in bytes.
pub(in crate::integration) const MAX_SCRIPT: usize = MAX_SQL as usize;

pub(super) fn shape(session: &Session) -> rusqlite::Result<Shape> {
    let mut statement = session.prepare(
        r"SELECT t.name, c.name FROM sqlite_schema t, pragma_table_xinfo(t.name) c
          WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name NOT LIKE '\_replug%' ESCAPE '\'",
    )?;
    let mut shape = Shape::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, column): (String, String) = (row.get(0)?, row.get(1)?);
        shape.entry(table.to_ascii_lowercase()).or_default().insert(column.to_ascii_lowercase());
    }
    Ok(shape)
}

/// Whether nothing was made in the file but the record of migrations, and that says so.
pub(super) fn is_empty(pool: &Pool, session: &Session) -> Result<bool, DatabaseError> {
    let select = r"SELECT count(*) FROM sqlite_schema
                   WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_replug%' ESCAPE '\'";
    let made: i64 = session.query_row(select, [], |row| row.get(0)).map_err(|error| pool.sql_fault(&error))?;
    Ok(made == 0 && (!exists(pool, session)? || applied(pool, session)?.is_empty()))
}

/// Something whose name only the runtime may give.
fn foreign(session: &Session) -> rusqlite::Result<Option<String>> {
    let select =
        r"SELECT name FROM sqlite_schema WHERE name LIKE '\_replug%' ESCAPE '\' AND name <> '_replug_migrations'";
    session.query_row(select, [], |row| row.get(0)).optional()
}

/// Whether the file has the record of migrations; one that was only just created may not.
pub(super) fn exists(pool: &Pool, session: &Session) -> Result<bool, DatabaseError> {
    let select = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_replug_migrations'";
    session.query_row(select, [], |row| row.get::<_, bool>(0)).map_err(|error| pool.sql_fault(&error))
}

pub(super) fn applied(pool: &Pool, session: &Session) -> Result<Vec<Applied>, DatabaseError> {
    type Columns = (String, String, Option<String>, String);
    let columns =
        |row: &Row<'_>| -> rusqlite::Result<Columns> { Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)) };
    let read = || -> rusqlite::Result<Vec<Columns>> {
        let select = "SELECT version, checksum, down_sql, tables FROM _replug_migrations";
        session.prepare(select)?.query_map([], columns)?.collect()
    };
    let mut found = Vec::new();
    for (version, checksum, down, tables) in read().map_err(|error| pool.sql_fault(&error))? {
        let damaged =
            |cause: String| DatabaseError::Record { module: pool.module().to_owned(), version: version.clone(), cause };
        found.push(Applied {
            version: version.parse().map_err(|error: semver::Error| damaged(error.to_string()))?,
            checksum,
            down,
            tables: serde_json::from_str(&tables).map_err(|error| damaged(error.to_string()))?,
        });
    }
    found.sort_by(|a, b| a.version.cmp(&b.version));
    Ok(found)
}
