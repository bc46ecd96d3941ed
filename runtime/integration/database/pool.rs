//! The connections to one module's file: few, made on demand, kept when idle.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use replug_scripts::may_go_on;

use super::error::DatabaseError;
use super::fault;
use super::session::{PAGE, Session};
use crate::sandbox::ports::CONNECTION_TAKEN;

/// The most connections that a module has to its own file. Each other module that works on it has one beside them.
pub(super) const MAX_CONNECTIONS: usize = 4;

/// How far apart those who wait look whether their modules still run.
const LOOK: Duration = Duration::from_millis(20);

/// A module's connections.
pub(super) struct Pool {
    module: String,
    path: PathBuf,
    state: Mutex<State>,
    freed: Condvar,
    /// Bytes as of the last commit; the largest number where none was seen.
    size: AtomicU64,
    /// Held while writing. SQLite's own lock is polled with growing waits; this one hands over at once.
    pub(super) writing: Arc<Gate>,
    /// Held for a whole run of migrations.
    pub(super) migrating: Arc<Gate>,
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    /// In use, idle, or not closed yet.
    open: usize,
    /// Those that the owner uses.
    own: usize,
    /// The modules that use one.
    guests: HashSet<Box<str>>,
    /// Grows when all are closed: what is in use then is closed on its return.
    epoch: u64,
    gone: bool,
}

impl Pool {
    pub(super) fn new(module: &str, path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            module: module.to_owned(),
            path,
            state: Mutex::default(),
            freed: Condvar::new(),
            size: AtomicU64::new(u64::MAX),
            writing: Arc::default(),
            migrating: Arc::default(),
        })
    }

    pub(super) fn module(&self) -> &str {
        &self.module
    }

    /// Bytes that the database takes, if a commit was seen.
    pub(super) fn size(&self) -> Option<u64> {
        Some(self.size.load(Ordering::Relaxed)).filter(|size| *size != u64::MAX)
    }

    /// Remembers how large the database is after a commit.
    pub(super) fn measure(&self, session: &Session) {
        // not to know is no failure of what was committed
        if let Ok(pages) = session.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)) {
            self.size.store(u64::from(pages) * PAGE, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of the owner's, free before `deadline`, whose statements end at `deadline`. Who is stopped waits no longer.
    pub(super) fn take(self: &Arc<Self>, deadline: Instant) -> Result<Lease, DatabaseError> {
        self.lease(None, deadline)
    }

    /// The same for another module: it has one at a time, and takes none of the owner's.
    pub(super) fn lend(self: &Arc<Self>, guest: &str, deadline: Instant) -> Result<Lease, DatabaseError> {
        self.lease(Some(guest), deadline)
    }

    fn lease(self: &Arc<Self>, guest: Option<&str>, deadline: Instant) -> Result<Lease, DatabaseError> {
        let mut state = self.state();
        let (found, epoch) = loop {
            if state.gone {
                return Err(DatabaseError::NotFound { module: self.module.clone() });
            }
            if state.enter(guest) {
                let found = state.idle.pop();
                state.open += usize::from(found.is_none());
                break (found, state.epoch);
            }
            let Some(wait) = patience(deadline) else {
                return Err(self.busy(match guest {
                    None => "all connections are in use",
                    Some(_) => CONNECTION_TAKEN,
                }));
            };
            state = self.freed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        // From here on the lease gives the place back, whatever happens.
        let mut lease = Lease { pool: Arc::clone(self), session: found, epoch, guest: guest.map(Into::into) };
        let ready = match lease.session.take() {
            Some(session) => session.until(deadline).map(|()| session),
            None => Session::open(&self.path, deadline),
        };
        lease.session = Some(ready.map_err(|error| self.file_fault(&error))?);
        Ok(lease)
    }

    /// Closes what is idle; what is in use is closed when it comes back.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.epoch += 1;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        let closed = idle.len();
        // Closing may write the log back and remove it, so they count as open until that is done.
        drop(idle);
        self.state().open -= closed;
        self.freed.notify_all();
    }

    /// Gives out nothing more and waits until nothing is open. False if another caller did or does the same. Undone when
    /// `deadline` passes first.
    pub(super) fn end(&self, deadline: Instant) -> Result<bool, DatabaseError> {
        if std::mem::replace(&mut self.state().gone, true) {
            return Ok(false);
        }
        self.close();
        let mut state = self.state();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.gone = false;
                return Err(self.busy("connections are in use"));
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(true)
    }

    /// Takes [`Pool::end`] back.
    pub(super) fn revive(&self) {
        self.state().gone = false;
    }

    /// The right to write, before `deadline`.
    pub(super) fn write(&self, deadline: Instant) -> Result<Turn, DatabaseError> {
        self.writing.enter(deadline).ok_or_else(|| self.busy("another one writes"))
    }

    /// What was waited for did not come, or who waited was stopped.
    pub(super) fn busy(&self, what: &'static str) -> DatabaseError {
        if !may_go_on() {
            return DatabaseError::Stopped { module: self.module.clone(), what };
        }
        DatabaseError::Busy { module: self.module.clone(), what }
    }

    /// A statement of the runtime's own that failed.
    pub(super) fn sql_fault(&self, error: &rusqlite::Error) -> DatabaseError {
        if fault::is_timeout(error) {
            return self.busy("a statement did not end");
        }
        DatabaseError::Sql { module: self.module.clone(), cause: fault::cause(error) }
    }

    pub(super) fn file_fault(&self, error: &rusqlite::Error) -> DatabaseError {
        DatabaseError::File { module: self.module.clone(), cause: fault::cause(error) }
    }
}

impl State {
    /// Takes a place, if there is one.
    fn enter(&mut self, guest: Option<&str>) -> bool {
        match guest {
            None if self.own == MAX_CONNECTIONS => false,
            None => {
                self.own += 1;
                true
            }
            Some(guest) => self.guests.insert(guest.into()),
        }
    }

    fn leave(&mut self, guest: Option<&str>) {
        match guest {
            None => self.own -= 1,
            Some(guest) => drop(self.guests.remove(guest)),
        }
    }
}

/// A connection in use.
pub(super) struct Lease {
    pool: Arc<Pool>,
    session: Option<Session>,
    epoch: u64,
    /// Whose it is, if it is not the owner's.
    guest: Option<Box<str>>,
}

impl Lease {
    pub(super) fn session(&self) -> &Session {
        self.session.as_ref().expect("a lease that was given out holds its connection until it is dropped")
    }

    /// Closes the connection instead of keeping it.
    pub(super) fn spoil(&mut self) {
        self.epoch = u64::MAX;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut session = self.session.take();
        if let Some(open) = &session {
            open.without_deadline();
            let clean = open.is_autocommit() || open.execute_batch("ROLLBACK").is_ok();
            if !clean || std::thread::panicking() {
                session = None;
            }
        }
        let mut state = self.pool.state();
        let keep = state.epoch == self.epoch && !state.gone && state.idle.len() < MAX_CONNECTIONS;
        match session.take_if(|_| keep) {
            Some(session) => state.idle.push(session),
            None => {
                // Closed before its place is free, so that whoever waits for the end finds no open file.
                drop(state);
                drop(session);
                state = self.pool.state();
                state.open -= 1;
            }
        }
        state.leave(self.guest.as_deref());
        drop(state);
        self.pool.freed.notify_all();
    }
}

/// How long to wait before the next look; nothing where there is no time left, or who waits was stopped.
fn patience(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero() && may_go_on()).then_some(left.min(LOOK))
}

/// Lets one in at a time.
#[derive(Default)]
pub(super) struct Gate {
    taken: Mutex<bool>,
    freed: Condvar,
}

impl Gate {
    /// Waits until `deadline`; `None` if it was not free by then, or if the module that waits was stopped.
    pub(super) fn enter(self: &Arc<Self>, deadline: Instant) -> Option<Turn> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = self.freed.wait_timeout(taken, patience(deadline)?).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn(Arc::clone(self)))
    }
}

/// The right that a [`Gate`] gives, until it is dropped.
pub(in crate::integration) struct Turn(Arc<Gate>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}
