//! The memory of a module's VMs together, and of the values that wait for it outside of them, reserved before it may be used.
//!
//! A VM that runs reserves as much as it may grow to, one that rests what it holds. The reservations of a module never
//! exceed its quota, so its heaps do not either, but for what one operation in Rhai makes before it is looked at. Where the quota is less than all VMs may use, one that runs leaves each of the
//! others a floor, so that a few do not keep the rest from running; it then meets a limit smaller than its own. While one
//! version takes another's place there are twice as many, so a VM may still find no room: it waits for one that runs.
//!
//! Requests wait for actors, so the VMs of requests leave to each VM of actors and events what that needs to run: all would wait until
//! the requests' deadlines. A worker of those that has no VM is owed what a new one needs ([`AsideRoom`]), a VM of theirs that rests what it
//! lacks of a floor, or the least in which it is let run. Together that is half of the quota at most, and where no request runs one
//! gets what it needs all the same, but for what one actor needs: a quota too small for all is for requests too. Where it is too small for all actors, each
//! may take what another is owed.
//!
//! Values that wait (see [`Parcel`](super::parcel::Parcel)) have a small part of the quota that VMs leave to them. What is
//! beyond it takes room that is free, but never that which the VMs need to run: they are who handles what waits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use aside::Aside;
pub use aside::AsideRoom;

mod aside;

/// The bits of the account that hold bytes; those above count the VMs that run for requests, and then those for actors and events.
const BYTES: u64 = (1 << 40) - 1;
const ONE_REQUEST: u64 = 1 << 40;
const ONE_ASIDE: u64 = 1 << 52;

/// How many VMs run for requests, and for actors and events.
const fn running(state: u64) -> (u64, u64) {
    ((state % ONE_ASIDE) / ONE_REQUEST, state / ONE_ASIDE)
}

/// The least room in which a VM is let run, in bytes: what it holds anyway, and this. A new one needs twice as much.
pub const LEAST_ROOM: u64 = 1 << 20;

/// The part of a quota that VMs leave to values that wait.
const VALUES: u64 = 8;

/// What the VMs and the waiting values of a module have reserved together.
#[derive(Debug, Default)]
pub struct HeapAccount {
    /// Bytes, and above [`BYTES`] how many VMs run: both change in one step.
    state: AtomicU64,
    /// Those of the bytes that are values which wait; while one comes or goes, fewer.
    values: AtomicU64,
    /// Workers for actors and events that have no VM.
    vacant: AtomicU64,
    /// What the resting VMs of actors and events may take before the others do, in bytes. It grows before the account shrinks, so that
    /// nobody takes it between.
    owed: AtomicU64,
    /// How many wait for room.
    waiting: AtomicUsize,
    turn: Mutex<()>,
    freed: Condvar,
}

impl HeapAccount {
    /// Whether a VM waits for room.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Bytes that are reserved.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.state.load(Ordering::Relaxed) & BYTES
    }

    /// Those of them that are values which wait.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.values.load(Ordering::Relaxed)
    }

    /// Reserves bytes for a value that waits.
    ///
    /// # Errors
    /// There is no room; nothing was reserved.
    pub(super) fn keep(&self, share: HeapShare, bytes: u64) -> Result<(), NoRoom> {
        let quota = share.quota.min(BYTES);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (reserved, (requests, aside)) = (state & BYTES, running(state));
            let run = requests + aside;
            let left = match self.values().saturating_add(bytes) <= share.values {
                true => 0,
                false => {
                    share.least() + (share.floor() * share.workers.saturating_sub(run)).max(self.owed(share, None))
                }
            };
            if reserved.saturating_add(bytes).saturating_add(left) > quota {
                return Err(NoRoom { bytes, reserved, quota: share.quota });
            }
            match self.state.compare_exchange_weak(state, state + bytes, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        self.values.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what was kept.
    pub(super) fn give_back(&self, bytes: u64) {
        self.values.fetch_sub(bytes, Ordering::Relaxed);
        self.release(bytes);
    }

    /// What a VM leaves to those of actors and events, `to` being what it is owed itself.
    fn owed(&self, share: HeapShare, to: Option<&Aside>) -> u64 {
        let (fills, own) = to.map_or((false, 0), |aside| (aside.fills_a_place(), aside.owed));
        let vacant = self.vacant.load(Ordering::Acquire).saturating_sub(u64::from(fills));
        let owed = share.enough().saturating_mul(vacant).saturating_add(self.owed.load(Ordering::Acquire));
        owed.saturating_sub(own).min((share.quota - share.values) / 2)
    }

    fn release(&self, change: u64) {
        self.state.fetch_sub(change, Ordering::SeqCst);
        self.stir();
    }

    /// Has all that wait look whether they may go on.
    pub fn wake(&self) {
        self.stir();
    }

    /// There may be more room for who waits.
    fn stir(&self) {
        // who begins to wait either sees what was done before, or is seen here
        fence(Ordering::SeqCst);
        if self.is_waited_for() {
            // who looked already is asleep once the lock is free
            drop(self.turn.lock());
            self.freed.notify_all();
        }
    }
}

/// How a quota is shared out.
#[derive(Clone, Copy, Debug)]
pub struct HeapShare {
    /// `permissions.resources.memory.maxHeapSize`.
    pub quota: u64,
    /// What one VM may hold at most, `runtime.limits.memory`.
    pub limit: u64,
    /// How many VMs may run at once.
    pub workers: u64,
    /// How many of them are for actors and events.
    pub aside: u64,
    /// What VMs leave to values that wait.
    values: u64,
}

impl HeapShare {
    /// The share of a module for whose actors, events, timers or streams values may wait, if `waits`.
    #[must_use]
    pub fn new(quota: u64, limit: u64, workers: usize, waits: bool) -> Self {
        let quota = quota.min(BYTES);
        let values = if waits { (quota / VALUES).min(quota.saturating_sub(2 * LEAST_ROOM)) } else { 0 };
        Self { quota, limit, workers: workers as u64, aside: 0, values }
    }

    /// The same with so many more VMs for actors and events.
    #[must_use]
    pub const fn with_aside(self, aside: usize) -> Self {
        Self { workers: self.workers + aside as u64, aside: aside as u64, ..self }
    }

    /// What is left for a VM while others run. Half of an equal share: while a version takes another's place, twice as
    /// many VMs run.
    const fn floor(&self) -> u64 {
        let share = (self.quota - self.values) / (2 * if self.workers == 0 { 1 } else { self.workers });
        if share < self.limit { share } else { self.limit }
    }

    /// What a VM has where all have as much: one with less is crowded.
    #[must_use]
    pub const fn equal(&self) -> u64 {
        let share = (self.quota - self.values) / if self.workers == 0 { 1 } else { self.workers };
        if share < self.limit { share } else { self.limit }
    }

    /// What is left to a VM of actors and events that is to be made.
    const fn enough(&self) -> u64 {
        if self.floor() > self.least() { self.floor() } else { self.least() }
    }

    /// What a request leaves to one actor even where no other runs; nothing of a quota in which only one of them has room.
    const fn left_to_one(&self) -> u64 {
        if self.quota - self.values < self.least() + self.enough() { 0 } else { self.enough() }
    }

    /// Whether a value of so many bytes has room where nothing else takes any.
    #[must_use]
    pub const fn could_hold(&self, bytes: u64) -> bool {
        let left = self.least() + self.floor() * self.workers;
        bytes <= self.values || bytes.saturating_add(left) <= self.quota
    }

    /// What a new VM needs.
    #[must_use]
    pub const fn least(&self) -> u64 {
        if self.limit < 2 * LEAST_ROOM { self.limit } else { 2 * LEAST_ROOM }
    }
}

/// The part of one VM; it goes back when dropped.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<HeapAccount>,
    bytes: u64,
    runs: bool,
    /// Of a VM for actors and events.
    aside: Option<Aside>,
}

/// A quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the module's VMs and the values that wait for it have reserved {reserved} of the {quota} bytes of its quota, and this \
     one needs {least} at least; `permissions.resources.memory.maxHeapSize` in module.manifest.yaml asks for more"
)]
pub struct HeapFull {
    /// What the others have.
    pub reserved: u64,
    /// `permissions.resources.memory.maxHeapSize`.
    pub quota: u64,
    /// What would be needed.
    pub least: u64,
}

/// A quota has no room for a value that is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room for {bytes} bytes: the module's VMs and the values that wait for it have reserved {reserved} of the {quota} bytes \
     of its quota, and the VMs need some to run; `permissions.resources.memory.maxHeapSize` in module.manifest.yaml asks for \
     more"
)]
pub struct NoRoom {
    /// What the value takes.
    pub bytes: u64,
    /// What is reserved.
    pub reserved: u64,
    /// `permissions.resources.memory.maxHeapSize`.
    pub quota: u64,
}

impl Reservation {
    /// Nothing, of this account.
    #[must_use]
    pub const fn none(account: Arc<HeapAccount>) -> Self {
        Self { account, bytes: 0, runs: false, aside: None }
    }

    /// Nothing, for a VM of this worker for actors and events.
    #[must_use]
    pub fn aside(worker: &Arc<AsideRoom>) -> Self {
        Self { account: Arc::clone(worker.account()), bytes: 0, runs: false, aside: Some(Aside::of(worker)) }
    }

    const fn one(&self) -> u64 {
        if self.aside.is_some() { ONE_ASIDE } else { ONE_REQUEST }
    }

    /// The VM is about to run: makes it as much as the share leaves, up to the limit, but `least` at least. Says how much.
    ///
    /// # Errors
    /// Less than `least` is left; the reservation is as it was.
    pub fn run(&mut self, share: HeapShare, least: u64) -> Result<u64, HeapFull> {
        let room = self.try_run(share, least).map_err(|(full, _)| full)?;
        self.tell();
        Ok(room)
    }

    /// A VM of actors and events that has what it needs is owed nothing any more. Not to be called by who holds the lock of those that
    /// wait.
    fn tell(&self) {
        if self.aside.is_some() {
            self.account.stir();
        }
    }

    /// As [`Reservation::run`]; beside the error, whether other VMs ran at that moment.
    fn try_run(&mut self, share: HeapShare, least: u64) -> Result<u64, (HeapFull, bool)> {
        let mut state = self.account.state.load(Ordering::Acquire);
        loop {
            let others = (state & BYTES) - self.bytes;
            let others_running = (state & !BYTES) - if self.runs { self.one() } else { 0 };
            let (requests, actors) = running(others_running);
            let left_to_values = share.values.saturating_sub(self.account.values());
            let floor = share.floor();
            // of the VMs for requests
            let idle = (share.workers - share.aside).saturating_sub(requests + u64::from(self.aside.is_none()));
            let left_to_aside = self.account.owed(share, self.aside.as_ref());
            let there = share.quota.saturating_sub(others).saturating_sub(left_to_values);
            let free = there.saturating_sub(left_to_aside);
            // one of each kind has to go on, whatever the others are owed; a request with no more of that than it needs
            let needs = match (&self.aside, requests, actors) {
                (Some(_), ..) => floor.max(least).min(there),
                (None, 0, 1..) => floor.max(least).min(free.max(least)).min(there),
                (None, 0, 0) => {
                    let left = there.saturating_sub(left_to_aside.min(share.left_to_one()));
                    floor.max(least).min(free.max(least)).min(left)
                }
                (None, 1.., _) => floor.min(free),
            };
            let bytes = share.limit.min(free.saturating_sub(floor * idle).max(needs));
            if bytes < least {
                return Err((HeapFull { reserved: others, quota: share.quota, least }, others_running > 0));
            }
            let after = (others + bytes) | (others_running + self.one());
            match self.account.state.compare_exchange_weak(state, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if let Some(aside) = &mut self.aside {
                        aside.begin(&self.account, share);
                    }
                    (self.bytes, self.runs) = (bytes, true);
                    return Ok(bytes);
                }
                Err(now) => state = now,
            }
        }
    }

    /// As [`Reservation::run`]; where too little is left and other VMs of the module run, which give back what they do not
    /// hold when their calls end, blocks for that until `until`, or until what runs on this thread is to end.
    ///
    /// # Errors
    /// As there.
    pub fn run_by(&mut self, share: HeapShare, least: u64, until: Instant) -> Result<u64, HeapFull> {
        self.run(share, least).or_else(|_| self.wait(share, least, until))
    }

    #[cold]
    fn wait(&mut self, share: HeapShare, least: u64, until: Instant) -> Result<u64, HeapFull> {
        replug_scripts::waits();
        let account = Arc::clone(&self.account);
        let mut turn = account.turn.lock().unwrap_or_else(PoisonError::into_inner);
        account.waiting.fetch_add(1, Ordering::SeqCst);
        // whoever gives back either sees that somebody waits, or is seen by the look below
        fence(Ordering::SeqCst);
        let done = loop {
            let (full, others_run) = match self.try_run(share, least) {
                Ok(bytes) => break Ok(bytes),
                Err(failed) => failed,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !others_run || !replug_scripts::may_go_on() {
                break Err(full);
            }
            turn = account.freed.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        account.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(turn);
        self.tell();
        done
    }

    /// The VM rests and holds `bytes`: gives back what is beyond that.
    pub fn rest(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        let change = back + if self.runs { self.one() } else { 0 };
        (self.bytes, self.runs) = (self.bytes - back, false);
        if let Some(aside) = &mut self.aside {
            aside.rest(&self.account, self.bytes);
        }
        self.account.release(change);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.end(&self.account);
        }
        self.rest(0);
    }
}

#[cfg(test)]
mod tests;
