//! The timers of one slot. They know nothing of what a tick does.
//!
//! They are not kept over a restart of the runtime: a script sets them in `init`, under an id, since `init` runs in every
//! VM. So the same timer under the same id goes on as it is; otherwise each new VM would put an hourly timer off.
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

use replug_scripts::Value;
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

    /// Whether `timer` is but for what it says.
    fn is_alike(&self, timer: &Timer) -> bool {
        let Timer { id, every, repeats, topic, .. } = &*self.timer;
        (id, every, repeats, topic) == (&timer.id, &timer.every, &timer.repeats, &timer.topic)
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
        let id = self.name(&timer);
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

    /// Sets a timer that ends with a version, and gives its id. It is kept aside unless the version `owns` the slot, which is
    /// asked while nobody can be told of another owner.
    pub(super) fn set_own<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        (key, owns): (&InstanceKey, impl FnOnce() -> bool),
        timer: Timer,
        beat: &Beat<'_, T>,
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
    ) -> Result<String, NotSet> {
        let mut id = self.name(&timer);
        let mut table = lock(&self.table);
        let owns = owns();
        let own = table.own.get(key);
        // `init` of each VM sets it again: without an id it is known by what it is
        let alike = own.filter(|_| timer.id.is_none()).into_iter().flatten();
        if let Some((same, kept)) = alike.into_iter().find(|(_, kept)| kept.is_alike(&timer)) {
            id.clone_from(same);
            if *kept.timer == timer {
                return Ok(id);
            }
        }
        let known = own.and_then(|own| own.get(&id)).filter(|kept| kept.is(&timer)).cloned();
        let is_full = own.is_some_and(|own| own.len() >= MAX_TIMERS && !own.contains_key(&id));
        let kept = match known {
            Some(kept) => kept,
            None if is_full => return Err(NotSet::TooMany),
            None => Kept::new(timer, hold)?,
        };
        table.own.entry(key.clone()).or_default().insert(id.clone(), Arc::clone(&kept));
        let replaced = if owns { self.takes_up(&mut table, (&id, kept), Some(key), beat) } else { None };
        drop(table);
        drop(replaced);
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
            replaced.extend(self.takes_up(&mut table, (&id, kept), None, beat));
        }
        for (id, kept) in own {
            replaced.extend(self.takes_up(&mut table, (&id, kept), Some(owner), beat));
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

    fn name(&self, timer: &Timer) -> String {
        timer.id.clone().unwrap_or_else(|| format!("timer-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A timer of the slot or of the version that has it ticks, from now on or as the same one did before.
    fn takes_up<T: Fn(&Timer) + Send + Sync + 'static>(
        &self,
        table: &mut Table,
        (id, kept): (&str, Arc<Kept>),
        of: Option<&InstanceKey>,
        beat: &Beat<'_, T>,
    ) -> Option<Running> {
        let present = table.running.get_mut(id);
        if let (Some(of_slot), Some(_)) = (present.as_ref().filter(|running| running.of.is_none()), of) {
            table.covered.insert(id.to_owned(), Arc::clone(&of_slot.kept));
        }
        match present {
            Some(running) if running.kept.is(&kept.timer) => {
                running.of = of.cloned();
                None
            }
            _ => self.start(table, (id, kept), of.cloned(), beat),
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
        let (all, name, ticking) = (Arc::downgrade(&self.table), id.to_owned(), Arc::clone(&kept.timer));
        let tick = (beat.tick)(&kept.timer);
        let task = beat.runtime.spawn(async move {
            let (every, repeats) = (ticking.every, ticking.repeats);
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                if !repeats && let Some(all) = all.upgrade() {
                    let mut table = lock(&all);
                    // another one may have its id by now
                    if table.running.get(&name).is_none_or(|running| running.serial != serial) {
                        return;
                    }
                    let over = table.running.remove(&name);
                    let own = over.as_ref().and_then(|over| table.ticked(&name, over));
                    drop(table);
                    tick(&ticking);
                    return drop((over, own));
                }
                tick(&ticking);
            }
        });
        table.running.insert(id.to_owned(), Running { serial, kept, of, task: task.abort_handle() })
    }
}

#[cfg(test)]
mod tests;
