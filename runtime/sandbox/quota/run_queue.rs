//! Turns of busy modules at the processors.
//!
//! The system shares the processors among threads: of sixty that never wait each gets as much as the one thread of a
//! neighbour that has a moment's work. So threads of modules that keep the processors busy, by their [load](super::load),
//! take turns here: as many as there are processors run at once, the others sleep. Who uses little asks nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::rota::{Rota, Turn, User};

/// How long one sleeps at most who is not next, or whose turn nobody keeps without being seen. Whoever ends threads [wakes](RunQueue::wake) them.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line of a runtime's busy threads.
pub struct RunQueue(Mutex<State>);

struct State {
    rota: Rota,
    sleepers: HashMap<Turn, Thread>,
}

impl Default for RunQueue {
    /// For the processors that this process may use.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

impl RunQueue {
    /// Lets so many threads run at once.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self(Mutex::new(State { rota: Rota::new(places), sleepers: HashMap::new() }))
    }

    /// The calling thread, one of `user`'s, is to run on: keeps the turn that it `holds`, or sleeps until it has one; without one
    /// until `until`, or until `is_wanted` says no.
    #[must_use]
    pub(super) fn take_turn(
        &self,
        holds: Option<Turn>,
        user: User,
        until: Instant,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Turn> {
        let mut state = self.lock();
        let turn = match holds {
            Some(turn) => state.rota.goes_on(turn, user, Instant::now()),
            None => state.rota.enter(user),
        };
        if holds == Some(turn) {
            return holds;
        }
        loop {
            state.admit();
            let now = Instant::now();
            if state.rota.take(turn, now) {
                state.sleepers.remove(&turn);
                return Some(turn);
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() || !is_wanted() {
                state.leave(turn);
                return None;
            }
            let next_look = (state.rota.next() == Some(turn)).then(|| state.rota.loses_at()).flatten();
            let patience = next_look.map_or(PATIENCE, |at| at.saturating_duration_since(now));
            state.sleepers.entry(turn).or_insert_with(thread::current);
            drop(state);
            thread::park_timeout(patience.min(left));
            state = self.lock();
        }
    }

    /// The turn is over: its thread has nothing to do for now.
    pub fn leave(&self, turn: Turn) {
        self.lock().leave(turn);
    }

    /// Has all that wait look whether they are still wanted.
    pub fn wake(&self) {
        for thread in self.lock().sleepers.values() {
            thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // nothing under the lock leaves a state half changed
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Wakes those whose turn it is, and whoever is next, which sees to it that turns are not kept for nobody.
    fn admit(&mut self) {
        let admitted = self.rota.admit(Instant::now());
        if !admitted.is_empty() {
            admitted.into_iter().for_each(|turn| self.rouse(turn));
            self.rouse_next();
        }
    }

    fn rouse(&self, turn: Turn) {
        if let Some(thread) = self.sleepers.get(&turn) {
            thread.unpark();
        }
    }

    fn rouse_next(&self) {
        if let Some(turn) = self.rota.next() {
            self.rouse(turn);
        }
    }

    fn leave(&mut self, turn: Turn) {
        self.sleepers.remove(&turn);
        self.rota.leave(turn);
        self.admit();
        // whoever is next now may have slept behind this one
        self.rouse_next();
    }
}

impl fmt::Debug for RunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn user(module: usize) -> User {
        User { module, used: Duration::ZERO }
    }

    #[test]
    fn all_threads_of_all_modules_come_round() {
        let queue = RunQueue::new(2);
        let work = &|module: usize| {
            let mut turn = None;
            for round in 0..20 {
                turn = queue.take_turn(turn, user(module), far(), || true);
                if round % 3 == 0 {
                    queue.leave(turn.take().expect("it is wanted"));
                }
            }
            queue.leave(turn.expect("it is wanted"));
        };
        let ended = thread::scope(|scope| {
            let threads: Vec<_> = (0..12).map(|n| scope.spawn(move || work(n % 3))).collect();
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        assert!(ended);
        assert!(queue.lock().sleepers.is_empty() && queue.lock().rota.next().is_none());
    }

    #[test]
    fn who_is_not_wanted_any_more_stops_waiting_and_leaves_nothing() {
        let (queue, wanted) = (&RunQueue::new(1), &AtomicBool::new(true));
        let is_wanted = || wanted.load(Ordering::Relaxed);
        // never taken, so never lost: nobody else gets one
        let never_taken = queue.lock().rota.enter(user(1));
        assert_eq!(queue.lock().rota.admit(Instant::now()), [never_taken]);
        thread::scope(|scope| {
            let sleep = |module| queue.take_turn(None, user(module), far(), is_wanted);
            let sleepers: Vec<_> = (0..3).map(|n| scope.spawn(move || sleep(n))).collect();
            while queue.lock().sleepers.len() < 3 {
                thread::yield_now();
            }
            wanted.store(false, Ordering::Relaxed);
            queue.wake();
            assert!(sleepers.into_iter().all(|sleeper| sleeper.join().is_ok_and(|turn| turn.is_none())));
        });
        assert_eq!(queue.take_turn(None, user(2), Instant::now(), || true), None, "its time is over");
        queue.leave(never_taken);
        assert!(queue.lock().sleepers.is_empty() && queue.lock().rota.next().is_none());
    }
}
