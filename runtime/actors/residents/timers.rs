//! The timers of one slot. They know nothing of what a tick does.
//!
//! They are not kept over a restart of the runtime: a script sets them in `init`, which runs in every VM. So what a version sets
//! again goes on, at most with another payload; otherwise each new VM, and clients have them made, would put an hourly timer off.
//! It is known by its id, or by what it is and how many of its kind the same run has set before.
//!
//! | set by | ticks |
//! |---|---|
//! | `init` or `warmup` of a version | as long as that version has the slot; kept aside before, and while another one has it |
//! | anything else | until it is cancelled or replaced, whichever version has the slot; kept aside while a version has one of its id |
//!
//! What never happens: `init` or `warmup` of a version that was taken back leaves a timer, or the loss of one that it replaced. Nothing
//! is kept of what ticks once and has ticked, for `init` runs in every VM.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use replug_scripts::{Readying, Value};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::monitor::InstanceKey;
use crate::sandbox::ports::{MAX_TIMERS, Timer};
use crate::sandbox::quota::Parcel;
use crate::sandbox::quota::heap::NoRoom;

/// The timers.
#[derive(Default)]
pub(super) struct Timers {
    table: Arc<Mutex<Table>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Table {
    /// Those that tick, by id.
    running: HashMap<String, Running>,
    /// What each version has set for the time in which it has the slot, by id.
    own: HashMap<InstanceKey, HashMap<String, Arc<Kept>>>,
    /// Those of the slot that a version's own have replaced, by id, until no version returns to before that.
    covered: HashMap<String, Arc<Kept>>,
}

/// A timer with the room of its payload.
struct Kept {
    timer: Arc<Timer>,
    _room: Parcel,
}

struct Running {
    /// Tells it from a later one of the same id.
    serial: u64,
    kept: Arc<Kept>,
    /// The version with which it ends; none: the slot.
    of: Option<InstanceKey>,
    task: AbortHandle,
}

/// Why a timer was not set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotSet {
    /// There are [`MAX_TIMERS`].
    TooMany,
    /// There is no room for its payload.
    NoRoom(NoRoom),
}

/// What ends by being dropped, which is left to who does not hold the table.
#[derive(Default)]
struct Over {
    _running: Option<Running>,
    _kept: Option<Arc<Kept>>,
}

impl Running {
    /// Whether it goes on where `of` sets this in its place: the same version its own, at most with another payload; another one
    /// what is the very same.
    fn goes_on_as(&self, kept: &Kept, of: Option<&InstanceKey>) -> bool {
        (self.of.as_ref() == of && self.kept.beats_as(&kept.timer)) || self.kept.is(&kept.timer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kept {
    fn new(timer: Timer, hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>) -> Result<Arc<Self>, NotSet> {
        let room = hold(&timer.payload).map_err(NotSet::NoRoom)?;
        Ok(Arc::new(Self { timer: Arc::new(timer), _room: room }))
    }

    /// Whether `timer` calls the same at the same times, whatever it says there.
    fn beats_as(&self, timer: &Timer) -> bool {
        let Timer { every, repeats, topic, .. } = &*self.timer;
        (every, repeats, topic) == (&timer.every, &timer.repeats, &timer.topic)
    }

    /// Whether `timer` would be the same, which goes on.
    fn is(&self, timer: &Timer) -> bool {
        timer.repeats && *self.timer == *timer
    }
}

impl Table {
    /// How many of those that tick are the slot's.
    fn of_slot(&self) -> usize {
        self.running.values().filter(|running| running.of.is_none()).count()
    }

    /// What ticks now, and what is over by that; nothing where another one has the id by now.
    fn due(&mut self, id: &str, serial: u64) -> Option<(Arc<Timer>, Option<Over>)> {
        let running = self.running.get(id).filter(|running| running.serial == serial)?;
        let timer = Arc::clone(&running.kept.timer);
        if timer.repeats {
            return Some((timer, None));
        }
        let over = self.running.remove(id)?;
        let own = self.ticked(id, &over);
        Some((timer, Some(Over { _running: Some(over), _kept: own })))
    }

    /// What ticks once has ticked: its version does not set it again when it is back. What was kept for that.
    fn ticked(&mut self, id: &str, over: &Running) -> Option<Arc<Kept>> {
        let own = self.own.get_mut(over.of.as_ref()?)?;
        let is_this = own.get(id).is_some_and(|kept| Arc::ptr_eq(kept, &over.kept));
        if is_this { own.remove(id) } else { None }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where timers tick, and what they call.
pub(super) struct Beat<'a, T> {
    pub(super) runtime: &'a Handle,
    /// What a timer calls.
    pub(super) tick: &'a dyn Fn(&Timer) -> T,
}

impl Timers {
    /// Sets a timer of the slot, and gives its id. `hold` finds room for its payload.
    pub(super) fn set<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        timer: Timer,
        beat: &Beat<'_, T>,
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
    ) -> Result<String, NotSet> {
        let next = || format!("timer-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let id = timer.id.clone().unwrap_or_else(next);
        let mut table = lock(&self.table);
        match table.running.get(&id) {
            Some(running) if running.kept.is(&timer) => return Ok(id),
            // those of versions count for themselves: what clients have set must not keep an `init` from its own
            None if table.running.len() >= MAX_TIMERS && table.of_slot() >= MAX_TIMERS => return Err(NotSet::TooMany),
            _ => {}
        }
        let replaced = self.start(&mut table, (&id, Kept::new(timer, hold)?), None, beat);
        let covered = table.covered.remove(&id);
        drop(table);
        drop((replaced, covered));
        Ok(id)
    }

    /// Sets a timer that ends with a version, on behalf of a run of its `init` or `warmup`, and gives its id. It is kept aside
    /// unless the version `owns` the slot, which is asked while nobody can be told of another owner.
    pub(super) fn set_own<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        (key, owns): (&InstanceKey, impl FnOnce() -> bool),
        (timer, run): (Timer, &Readying),
        beat: &Beat<'_, T>,
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
    ) -> Result<String, NotSet> {
        let id = match &timer.id {
            Some(id) => id.clone(),
            None => run.name(&kind(&timer)).ok_or(NotSet::TooMany)?,
        };
        let mut table = lock(&self.table);
        let owns = owns();
        let own = table.own.get(key);
        let kept = match own.and_then(|own| own.get(&id)) {
            Some(kept) if *kept.timer == timer => Arc::clone(kept),
            None if own.is_some_and(|own| own.len() >= MAX_TIMERS) => return Err(NotSet::TooMany),
            _ => Kept::new(timer, hold)?,
        };
        let before = table.own.entry(key.clone()).or_default().insert(id.clone(), Arc::clone(&kept));
        let replaced = owns.then(|| self.takes_up(&mut table, (&id, kept), Some(key), beat));
        drop(table);
        drop((before, replaced));
        Ok(id)
    }

    /// Another version has the slot: its own timers tick, and those of the version before no more.
    pub(super) fn move_to<T: Fn(&Timer) + Send + Sync + 'static>(&self, owner: &InstanceKey, beat: &Beat<'_, T>) {
        let mut table = lock(&self.table);
        let own = table.own.get(owner).cloned().unwrap_or_default();
        let uncovered: HashMap<_, _> = table.covered.extract_if(|id, _| !own.contains_key(id)).collect();
        let is_over = |id: &String, running: &mut Running| {
            let next = own.get(id).or_else(|| uncovered.get(id));
            let stays = running.of.as_ref().is_none_or(|of| of == owner)
                || next.is_some_and(|kept| kept.is(&running.kept.timer));
            !stays
        };
        let over: Vec<_> = table.running.extract_if(is_over).collect();
        let mut replaced = Vec::new();
        for (id, kept) in uncovered {
            replaced.push(self.takes_up(&mut table, (&id, kept), None, beat));
        }
        for (id, kept) in own {
            replaced.push(self.takes_up(&mut table, (&id, kept), Some(owner), beat));
        }
        drop(table);
        drop((over, replaced));
    }

    /// No version returns to before the one that has the slot: what its timers have replaced is gone.
    pub(super) fn settle(&self) {
        let gone = std::mem::take(&mut lock(&self.table).covered);
        drop(gone);
    }

    /// Forgets what a version set for itself: it is gone.
    pub(super) fn forget(&self, key: &InstanceKey) {
        let own = lock(&self.table).own.remove(key);
        drop(own);
    }

    /// Ends a timer on behalf of a version; whether there was one. Where the version only gets ready, its own is meant.
    pub(super) fn cancel(&self, id: &str, key: &InstanceKey, is_getting_ready: bool) -> bool {
        let mut table = lock(&self.table);
        let own = table.own.get_mut(key).and_then(|own| own.remove(id));
        let is_own = table.running.get(id).is_some_and(|running| running.of.as_ref() == Some(key));
        let ended = if is_getting_ready && !is_own { None } else { table.running.remove(id) };
        let covered = if is_getting_ready { None } else { table.covered.remove(id) };
        drop(table);
        own.is_some() || ended.is_some() || covered.is_some()
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        let ended = std::mem::take(&mut *lock(&self.table));
        drop(ended);
    }

    /// A timer of the slot or of the version that has it ticks, from now on or as the one in its place did before.
    fn takes_up<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        table: &mut Table,
        (id, kept): (&str, Arc<Kept>),
        of: Option<&InstanceKey>,
        beat: &Beat<'_, T>,
    ) -> Over {
        let present = table.running.get_mut(id);
        if let (Some(of_slot), Some(_)) = (present.as_ref().filter(|running| running.of.is_none()), of) {
            table.covered.insert(id.to_owned(), Arc::clone(&of_slot.kept));
        }
        match present {
            Some(running) if running.goes_on_as(&kept, of) => {
                running.of = of.cloned();
                Over { _kept: Some(std::mem::replace(&mut running.kept, kept)), ..Over::default() }
            }
            _ => Over { _running: self.start(table, (id, kept), of.cloned(), beat), ..Over::default() },
        }
    }

    /// Starts a timer; the one that it replaces ends by being dropped, which is left to the caller.
    fn start<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        table: &mut Table,
        (id, kept): (&str, Arc<Kept>),
        of: Option<InstanceKey>,
        beat: &Beat<'_, T>,
    ) -> Option<Running> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        // not what it is kept in: its room is given back at once where it is cancelled, and the task ends a little later
        let (all, name, every) = (Arc::downgrade(&self.table), id.to_owned(), kept.timer.every);
        let tick = (beat.tick)(&kept.timer);
        let task = beat.runtime.spawn(async move {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                // what it says may be another thing by now
                let due = all.upgrade().and_then(|all| lock(&all).due(&name, serial));
                let Some((timer, over)) = due else { return };
                tick(&timer);
                if over.is_some() {
                    return;
                }
            }
        });
        table.running.insert(id.to_owned(), Running { serial, kept, of, task: task.abort_handle() })
    }
}

/// By what a timer without an id is known.
fn kind(Timer { every, repeats, topic, .. }: &Timer) -> String {
    format!("timer-{topic}-{every:?}-{}", if *repeats { "every" } else { "after" })
}

#[cfg(test)]
mod tests;
