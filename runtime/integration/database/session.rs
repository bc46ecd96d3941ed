//! One connection to a module's file, set up against hostile SQL, and the deadline of what runs on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use replug_scripts::may_go_on;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{Action, AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, Statement};

use super::effort::Effort;
use super::rules::{self, Author, Note};
use super::split::Piece;

/// The largest value and the largest row, in bytes.
pub(super) const MAX_VALUE: i32 = 16 * 1024 * 1024;

/// The longest text of a statement, in bytes.
pub(super) const MAX_SQL: i32 = 1024 * 1024;

/// What one statement may be made of.
const LIMITS: [(Limit, i32); 14] = [
    (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL),
    (Limit::SQLITE_LIMIT_COLUMN, 500),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 500),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 4096),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    (Limit::SQLITE_LIMIT_SCHEMA, 1000),
];

/// What a connection may and may not do, whoever asks.
const CONFIG: [(DbConfig, bool); 12] = [
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    (DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false),
    (DbConfig::SQLITE_DBCONFIG_LEGACY_FILE_FORMAT, false),
    // A misspelt column in double quotes is an error, not a string.
    (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
];

/// The bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// The most pages of a file: 1 GiB.
pub(super) const MAX_PAGES: u32 = 262_144;

/// Set once for each connection. `synchronous=FULL` makes a commit wait for the disk: with NORMAL the last commits are lost
/// in a power cut, and what the runtime acknowledges must not be (measured: 0.2 ms for a write instead of 0.01 ms).
/// `secure_delete` overwrites what was deleted, such as signing keys.
const PRAGMAS: &str = "PRAGMA synchronous = FULL;
    PRAGMA page_size = 4096;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA mmap_size = 0;
    PRAGMA cell_size_check = ON;
    PRAGMA secure_delete = FAST;";

/// How far apart two looks are whether the module still runs, which also charge it.
const LOOK: Duration = Duration::from_millis(1);

/// Steps of SQLite's machine between two looks at the clock; a step may take 20 ms. See [`super::effort`] for what hears nothing.
const STEPS: i32 = 100;

/// The longest that a busy lock is waited for in one go; the deadline is nearer in practice.
const MAX_BUSY: Duration = Duration::from_secs(600);

/// Statements kept compiled on each connection, and the longest text of such a statement.
const CACHED: usize = 64;
const MAX_CACHED_SQL: usize = 4096;

/// A connection. Statements are the runtime's own unless [`Session::written_by`] says otherwise.
pub(super) struct Session {
    connection: Connection,
    watch: Arc<Watch>,
    /// The pages that the file may have, as this connection was told.
    pages: Cell<u32>,
    /// The largest value of each statement that may be kept compiled: what it calls is only seen while it is compiled.
    bounds: RefCell<HashMap<String, i32>>,
}

impl Session {
    /// Opens the file at `path`, which must exist. Statements end at `deadline`.
    pub(super) fn open(path: &Path, deadline: Instant) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(wait(deadline))?;
        for (option, on) in CONFIG {
            connection.set_db_config(option, on)?;
        }
        connection.execute_batch(PRAGMAS)?;
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most)?;
        }
        connection.set_prepared_statement_cache_capacity(CACHED);
        let watch = Arc::new(Watch::default());
        let seen = Arc::clone(&watch);
        connection.progress_handler(STEPS, Some(move || seen.is_over()))?;
        let seen = Arc::clone(&watch);
        connection.authorizer(Some(move |context: AuthContext<'_>| seen.judge(context)))?;
        let seen = Arc::clone(&watch);
        connection.update_hook(Some(move |action: Action, _: &str, _: &str, _: i64| {
            if action == Action::SQLITE_INSERT {
                seen.inserted.store(true, Ordering::Relaxed);
            }
        }))?;
        let session = Self { connection, watch, pages: Cell::new(0), bounds: RefCell::default() };
        session.until(deadline)?;
        session.bound(MAX_PAGES)?;
        Ok(session)
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// From now on statements end at `deadline`.
    pub(super) fn until(&self, deadline: Instant) -> rusqlite::Result<()> {
        self.watch.deadline.store(self.watch.nanos(deadline), Ordering::Relaxed);
        self.watch.stopped.store(false, Ordering::Relaxed);
        self.connection.busy_timeout(wait(deadline))
    }

    /// From now on nothing ends a statement, no deadline and no stop: for commit and rollback, which must not stop half-way.
    pub(super) fn without_deadline(&self) {
        self.watch.deadline.store(u64::MAX, Ordering::Relaxed);
    }

    /// From now on the file may have so many pages, or as many as it has if those are more.
    pub(super) fn bound(&self, pages: u32) -> rusqlite::Result<()> {
        if self.pages.get() != pages {
            self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            self.pages.set(pages);
        }
        Ok(())
    }

    /// While the guard lives, what is compiled is written by `author`.
    pub(super) fn written_by(&self, author: Author) -> Authored<'_> {
        self.watch.author.store(author as u8, Ordering::Relaxed);
        Authored(&self.watch)
    }

    /// Compiles one statement of `author` and gives it to `work`, within the bounds of what it is made of.
    pub(super) fn with<T>(
        &self,
        author: Author,
        piece: &Piece<'_>,
        work: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let _author = self.written_by(author);
        self.watch.begin(piece.tokens);
        // Migrations are run once, and what they may do scripts may not: none of theirs is kept.
        if author == Author::Script && piece.text.len() <= MAX_CACHED_SQL {
            let known = self.bounds.borrow().get(piece.text).copied();
            if known.is_none() && self.bounds.borrow().len() >= CACHED {
                // Both at once: a compiled statement whose bound is unknown must not be found.
                self.connection.flush_prepared_statement_cache();
                self.bounds.borrow_mut().clear();
            }
            let mut statement = self.connection.prepare_cached(piece.text)?;
            let bound = known.unwrap_or_else(|| self.watch.seen().effort.largest_value());
            self.bounds.borrow_mut().insert(piece.text.to_owned(), bound);
            return self.bounded(bound, || work(&mut statement));
        }
        let mut statement = self.connection.prepare(piece.text)?;
        let bound = self.watch.seen().effort.largest_value();
        self.bounded(bound, || work(&mut statement))
    }

    /// Does `work` while no value may be larger than `bound`.
    fn bounded<T>(&self, bound: i32, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        if bound == MAX_VALUE {
            return work();
        }
        self.watch.seen().largest = bound;
        self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bound)?;
        let result = work();
        self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
        result
    }
}

fn wait(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).min(MAX_BUSY)
}

/// The runtime's own statements go straight to the connection.
impl Deref for Session {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// While it lives, statements are not the runtime's own.
pub(super) struct Authored<'a>(&'a Watch);

impl Drop for Authored<'_> {
    fn drop(&mut self) {
        self.0.author.store(Author::Runtime as u8, Ordering::Relaxed);
    }
}

/// What the callbacks of a connection and its user tell each other. SQLite calls back on the thread that uses the
/// connection, so nothing here is contended.
pub(super) struct Watch {
    start: Instant,
    /// Nanoseconds after `start`; the largest number means none.
    deadline: AtomicU64,
    /// When it was asked last whether the module still runs, in nanoseconds after `start`.
    looked: AtomicU64,
    /// The module that has the connection was stopped.
    stopped: AtomicBool,
    author: AtomicU8,
    inserted: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was seen of the statement compiled last.
struct Seen {
    effort: Effort,
    /// The largest value that it may handle.
    largest: i32,
    /// It changes the schema.
    schema: bool,
    refusal: Option<String>,
}

impl Seen {
    fn new(tokens: usize) -> Self {
        Self { effort: Effort::new(tokens), largest: MAX_VALUE, schema: false, refusal: None }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            deadline: AtomicU64::new(u64::MAX),
            looked: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            author: AtomicU8::new(Author::Runtime as u8),
            inserted: AtomicBool::new(false),
            seen: Mutex::new(Seen::new(0)),
        }
    }
}

impl Watch {
    /// The largest value that the statement compiled last may handle, in bytes.
    pub(super) fn largest_value(&self) -> i32 {
        self.seen().largest
    }

    /// Whether the statement compiled last changes the schema.
    pub(super) fn changes_schema(&self) -> bool {
        self.seen().schema
    }

    /// Whether the statement run last inserted a row into a table that has row ids.
    pub(super) fn inserted(&self) -> bool {
        self.inserted.load(Ordering::Relaxed)
    }

    /// Why the statement compiled last was refused, if it was.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.seen().refusal.take()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A statement of so many tokens is compiled next.
    fn begin(&self, tokens: usize) {
        self.inserted.store(false, Ordering::Relaxed);
        *self.seen() = Seen::new(tokens);
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX - 1)
    }

    /// Whether the module that has the connection was seen to be stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether what runs must end: at its deadline, or because its module was stopped.
    pub(super) fn is_over(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        if deadline == u64::MAX {
            return false;
        }
        let now = self.nanos(Instant::now());
        if now.saturating_sub(self.looked.load(Ordering::Relaxed)) >= LOOK.as_nanos() as u64 {
            self.looked.store(now, Ordering::Relaxed);
            self.stopped.store(!may_go_on(), Ordering::Relaxed);
        }
        now >= deadline || self.is_stopped()
    }

    fn judge(&self, context: AuthContext<'_>) -> Authorization {
        let author = match self.author.load(Ordering::Relaxed) {
            by if by == Author::Runtime as u8 => Author::Runtime,
            by if by == Author::Migration as u8 => Author::Migration,
            _ => Author::Script,
        };
        match rules::judge(author, context.action) {
            Ok(Note::Plain) => {}
            Ok(Note::Call) => {
                if let AuthAction::Function { function_name } = context.action {
                    self.seen().effort.call(function_name);
                }
            }
            Ok(Note::Schema) => self.seen().schema = true,
            Err(reason) => {
                self.seen().refusal = Some(reason);
                return Authorization::Deny;
            }
        }
        Authorization::Allow
    }
}
