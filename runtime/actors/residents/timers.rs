//! The timers of one slot. They know nothing of what a tick does.
//!
//! They are not kept over a restart of the runtime: a script sets them in `init`, under an id, since `init` runs in every
//! VM. So the same timer under the same id goes on as it is; otherwise each new VM would put an hourly timer off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use replug_scripts::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::sandbox::ports::{MAX_TIMERS, Timer};
use crate::sandbox::quota::Parcel;
use crate::sandbox::quota::heap::NoRoom;

/// The timers, by id.
#[derive(Default)]
pub(super) struct Timers {
    table: Arc<Mutex<HashMap<String, Running>>>,
    next: AtomicU64,
}

struct Running {
    /// Tells it from a later one of the same id.
    serial: u64,
    timer: Arc<Timer>,
    task: AbortHandle,
    _room: Parcel,
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

type Table = HashMap<String, Running>;

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timers {
    /// Sets a timer that calls `tick`, and gives its id. `hold` finds room for its payload.
    pub(super) fn set(
        &self,
        timer: Timer,
        runtime: &Handle,
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
        tick: impl Fn(&Timer) + Send + Sync + 'static,
    ) -> Result<String, NotSet> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let id = timer.id.clone().unwrap_or_else(|| format!("timer-{serial}"));
        let mut table = lock(&self.table);
        match table.get(&id) {
            Some(running) if timer.repeats && *running.timer == timer => return Ok(id),
            None if table.len() >= MAX_TIMERS => return Err(NotSet::TooMany),
            _ => {}
        }
        let room = hold(&timer.payload).map_err(NotSet::NoRoom)?;
        let timer = Arc::new(timer);
        let ticking = Arc::clone(&timer);
        let (all, name, every, repeats) = (Arc::downgrade(&self.table), id.clone(), timer.every, timer.repeats);
        let task = runtime.spawn(async move {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                if !repeats && let Some(all) = all.upgrade() {
                    let mut table = lock(&all);
                    // another one may have its id by now
                    if table.get(&name).is_none_or(|running| running.serial != serial) {
                        return;
                    }
                    let over = table.remove(&name);
                    drop(table);
                    tick(&ticking);
                    return drop(over);
                }
                tick(&ticking);
            }
        });
        // the one that it replaces ends by being dropped
        let replaced = table.insert(id.clone(), Running { serial, timer, task: task.abort_handle(), _room: room });
        drop(table);
        drop(replaced);
        Ok(id)
    }

    /// Ends a timer; whether there was one.
    pub(super) fn cancel(&self, id: &str) -> bool {
        let ended = lock(&self.table).remove(id);
        ended.is_some()
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        let ended = std::mem::take(&mut *lock(&self.table));
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    fn free(_: &Value) -> Result<Parcel, NoRoom> {
        Ok(Parcel::none(Arc::default()))
    }

    fn timer(id: Option<&str>, millis: u64, repeats: bool) -> Timer {
        let every = Duration::from_millis(millis);
        Timer { id: id.map(str::to_owned), every, repeats, topic: "x.y".into(), payload: Value::Null }
    }

    async fn until(ticks: &AtomicUsize, count: usize) {
        while ticks.load(Ordering::Acquire) < count {
            tokio::task::yield_now().await;
        }
    }

    fn counter() -> (Arc<AtomicUsize>, impl Fn(&Timer) + Send + Sync + Clone + 'static) {
        let ticks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ticks);
        (ticks, move |_| {
            counted.fetch_add(1, Ordering::AcqRel);
        })
    }

    #[tokio::test]
    async fn one_that_does_not_repeat_ticks_once_and_is_gone() {
        let (timers, (ticks, tick)) = (Timers::default(), counter());
        let once = timers.set(timer(None, 10, false), &Handle::current(), free, tick.clone()).expect("there is room");
        let other = timers.set(timer(None, 10, true), &Handle::current(), free, tick).expect("there is room");
        assert_ne!(once, other);
        until(&ticks, 4).await;
        assert!(!timers.cancel(&once), "it has ended by itself");
        assert!(timers.cancel(&other) && !timers.cancel(&other));
    }

    #[tokio::test]
    async fn the_same_timer_under_its_id_goes_on_and_another_one_replaces_it() {
        let (timers, (first, tick)) = (Timers::default(), counter());
        let named = |millis| timer(Some("a"), millis, true);
        assert_eq!(timers.set(named(3_600_000), &Handle::current(), free, tick.clone()), Ok("a".to_owned()));
        let serial = lock(&timers.table)["a"].serial;
        let none = |_: &Value| Err(NoRoom { bytes: 1, reserved: 1, quota: 1 });
        timers.set(named(3_600_000), &Handle::current(), none, tick).expect("it is there, and needs no room");
        assert_eq!(lock(&timers.table)["a"].serial, serial, "it was not set anew");
        let (second, tick) = counter();
        timers.set(named(10), &Handle::current(), free, tick).expect("it replaces the first");
        until(&second, 2).await;
        assert_eq!((first.load(Ordering::Acquire), lock(&timers.table).len()), (0, 1));
    }

    #[tokio::test]
    async fn there_are_at_most_a_thousand_and_an_end_makes_room() {
        let timers = Timers::default();
        let ids: Vec<_> = (0..MAX_TIMERS)
            .map(|_| timers.set(timer(None, 3_600_000, true), &Handle::current(), free, |_| {}).expect("there is room"))
            .collect();
        assert_eq!(
            timers.set(timer(Some("one more"), 10, true), &Handle::current(), free, |_| {}),
            Err(NotSet::TooMany)
        );
        assert!(timers.cancel(&ids[7]));
        assert!(timers.set(timer(Some("one more"), 10, true), &Handle::current(), free, |_| {}).is_ok());
        let task = lock(&timers.table)["one more"].task.clone();
        timers.clear();
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}
