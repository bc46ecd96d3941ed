//! A script's statements: checked, run as one transaction, their results within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{HostError, HostErrorKind, Value};
use rusqlite::{Error, Statement};

use super::fault;
use super::pool::Pool;
use super::rules::Author;
use super::session::{MAX_PAGES, MAX_SQL, PAGE, Session};
use super::split::{self, Piece};
use super::values::{self, Param};
use crate::manifest::Access;
use crate::sandbox::ports::{self, Guest};

/// The most statements in one transaction.
const MAX_STATEMENTS: usize = 1000;

/// The most text of all statements of a transaction together, in bytes.
const MAX_TEXT: usize = 4 * MAX_SQL as usize;

/// The most rows of one statement.
const MAX_ROWS: usize = 10_000;

/// The most that all rows of a transaction take in memory, in bytes.
const MAX_RESULT: usize = 16 * 1024 * 1024;

/// What a row takes in memory beyond its bytes: a map has a node for eleven columns, however few there are.
const ROW: usize = 720;
/// What a column takes beyond its bytes.
const COLUMN: usize = 64;

/// Runs `statements` as one transaction; see [`ports::Database::run_within`].
pub(super) fn run(
    pool: &Arc<Pool>,
    (guest, room): (Option<Guest<'_>>, u64),
    statements: &[ports::Statement],
    deadline: Instant,
) -> Result<Vec<Value>, HostError> {
    let wrong = |message: String| Err(HostError::new(HostErrorKind::InvalidArgument, message));
    if statements.len() > MAX_STATEMENTS {
        return wrong(format!("{} statements are more than {MAX_STATEMENTS} in one transaction", statements.len()));
    }
    if statements.iter().map(|statement| statement.sql.len()).sum::<usize>() > MAX_TEXT {
        return wrong(format!("the text of the statements is longer than {} MiB", MAX_TEXT / (1024 * 1024)));
    }
    let place = Place { of: statements.len() };
    let mut parts = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        parts.push(Part::new(statement).map_err(|error| place.name(index, error))?);
    }
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut lease = match guest {
        None => pool.take(deadline)?,
        Some(guest) => pool.lend(guest.module, deadline)?,
    };
    let access = guest.map_or(Access::Write, |guest| guest.access);
    let done = transaction(pool, lease.session(), (access, room), &parts, place, deadline);
    done.map_err(|failure| {
        if failure.spoils {
            lease.spoil();
        }
        failure.error
    })
}

/// A statement that was looked at.
struct Part<'a> {
    sql: Piece<'a>,
    params: Vec<Param<'a>>,
}

impl<'a> Part<'a> {
    fn new(statement: &'a ports::Statement) -> Result<Self, HostError> {
        let sql = split::single(&statement.sql).map_err(|why| HostError::new(HostErrorKind::InvalidArgument, why))?;
        let params = statement.params.iter().enumerate().map(|(index, value)| Param::new(index + 1, value));
        Ok(Self { sql, params: params.collect::<Result<_, _>>()? })
    }
}

/// Names the statement that an error is about, where there are several.
#[derive(Clone, Copy)]
struct Place {
    of: usize,
}

impl Place {
    fn name(self, index: usize, mut error: HostError) -> HostError {
        if self.of > 1 {
            error.message = format!("statement {} of {}: {}", index + 1, self.of, error.message);
        }
        error
    }
}

/// Pages of a file of so many bytes.
fn pages(room: u64) -> u32 {
    u32::try_from(room / PAGE).unwrap_or(u32::MAX).clamp(1, MAX_PAGES)
}

struct Failure {
    error: HostError,
    /// The connection is not to be used again.
    spoils: bool,
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self { error, spoils: false }
    }
}

/// The lease rolls back what is not committed.
fn transaction(
    pool: &Pool,
    session: &Session,
    (access, room): (Access, u64),
    parts: &[Part<'_>],
    place: Place,
    deadline: Instant,
) -> Result<Vec<Value>, Failure> {
    let sql =
        |error: &Error| Failure { error: fault::of_statement(session, error), spoils: fault::spoils_connection(error) };
    let (mut writes, mut denied) = (false, None);
    for (index, part) in parts.iter().enumerate() {
        let checked = session.with(Author::Script, &part.sql, |statement| Ok(check(statement, part)));
        match checked {
            Ok(Ok(false)) if access == Access::Read => {
                // what is wrong with those behind it is said first: that no access would mend
                denied = denied.or(Some(index));
            }
            Ok(Ok(read_only)) => writes |= !read_only,
            Ok(Err(error)) => return Err(place.name(index, error).into()),
            Err(error) => {
                let Failure { error, spoils } = sql(&error);
                return Err(Failure { error: place.name(index, error), spoils });
            }
        }
    }
    if let Some(index) = denied {
        let why = "permission denied: the statement changes data, and this access is only to read";
        return Err(place.name(index, HostError::new(HostErrorKind::PermissionDenied, why)).into());
    }
    // A transaction that read first could no longer write once another one did, so writers say so at the start.
    let _turn = if writes { Some(pool.write(deadline).map_err(HostError::from)?) } else { None };
    // A single query is a transaction by itself. A single change is not: with RETURNING it would stay, though its result is
    // refused.
    if writes {
        // under the turn to write: those beside it may have another bound
        session.bound(pages(room)).map_err(|error| sql(&error))?;
    }
    let begun = writes || parts.len() > 1;
    if begun {
        session.execute_batch(if writes { "BEGIN IMMEDIATE" } else { "BEGIN" }).map_err(|error| sql(&error))?;
    }
    let mut left = MAX_RESULT;
    let mut results = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let named = |error| place.name(index, error);
        if session.watch().is_over() {
            return Err(named(over(session)).into());
        }
        let mut refused = None;
        let result = session.with(Author::Script, &part.sql, |statement| {
            step(session, statement, part, &mut left).or_else(|stop| match stop {
                Stop::Sql(error) => Err(error),
                Stop::Bound(error) => {
                    refused = Some(error);
                    Ok(Value::Null)
                }
            })
        });
        if let Some(error) = refused {
            return Err(named(error).into());
        }
        results.push(result.map_err(|error| {
            let Failure { error, spoils } = sql(&error);
            Failure { error: named(error), spoils }
        })?);
    }
    if session.watch().is_over() {
        return Err(over(session).into());
    }
    if begun {
        session.without_deadline();
        session.execute_batch("COMMIT").map_err(|error| sql(&error))?;
        if writes {
            pool.measure(session);
        }
    }
    Ok(results)
}

/// Why nothing more is run.
fn over(session: &Session) -> HostError {
    if session.watch().is_stopped() {
        return fault::stopped();
    }
    HostError::new(
        HostErrorKind::Timeout,
        "the deadline passed before the transaction could be committed: nothing changed",
    )
}

/// Whether the statement only reads.
fn check(statement: &Statement<'_>, part: &Part<'_>) -> Result<bool, HostError> {
    let (wanted, given) = (statement.parameter_count(), part.params.len());
    if wanted != given {
        let message = format!("the statement has {wanted} parameters, but {given} values were given");
        return Err(HostError::new(HostErrorKind::InvalidArgument, message));
    }
    Ok(statement.readonly())
}

/// Why a statement did not end well.
enum Stop {
    Sql(Error),
    Bound(HostError),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

/// Runs one statement to its end: rows if it gives any, otherwise what it changed.
fn step(session: &Session, statement: &mut Statement<'_>, part: &Part<'_>, room: &mut usize) -> Result<Value, Stop> {
    for (index, param) in part.params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, param)?;
    }
    if statement.column_count() == 0 {
        let changes = statement.raw_execute()?;
        let id = if session.watch().inserted() { session.last_insert_rowid() } else { 0 };
        let changes = i64::try_from(changes).unwrap_or(i64::MAX);
        return Ok(Value::map([("changes", Value::Int(changes)), ("last_insert_id", Value::Int(id))]));
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width: usize = ROW + names.iter().map(|name| COLUMN + name.len()).sum::<usize>();
    let over = |what: String| {
        let message = format!("the result has more than {what}: ask for less, with LIMIT or fewer columns");
        Stop::Bound(HostError::new(HostErrorKind::InvalidArgument, message))
    };
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if found.len() == MAX_ROWS {
            return Err(over(format!("{MAX_ROWS} rows")));
        }
        let mut size = width;
        for index in 0..names.len() {
            size += values::size(row.get_ref(index)?);
        }
        *room = room.checked_sub(size).ok_or_else(|| over(format!("{} MiB", MAX_RESULT / (1024 * 1024))))?;
        let mut columns = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            columns.insert(name.clone(), values::read(row.get_ref(index)?));
        }
        found.push(Value::Map(columns));
    }
    Ok(Value::List(found))
}
