//! Who of those that keep the processors busy has its turn.
//!
//! Each has the processor for a quantum when others wait, and the module that has had least of the processors comes first,
//! whatever the number of its threads and the length of their turns: start-time fair queueing (Goyal, Vin, Cheng 1996), by the
//! processor time that the modules have used. Who comes begins with what the least of those here has had; who was away for a
//! moment keeps a little that it had less.
//!
//! Who waits for something else than the processor gives its turn back. So that none that forgets it stops the others, a turn
//! that was taken is a lease: who has not been seen for a while has lost it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a turn lasts when others wait.
pub(super) const QUANTUM: Duration = Duration::from_millis(2);
/// How long a turn is kept for one who is not seen.
pub(super) const LEASE: Duration = Duration::from_millis(50);

/// How much less than those here one who was away may have had.
const CREDIT: Duration = Duration::from_millis(20);

/// A turn, or a place in the line for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(u64);

/// A module, and the processor time that it has used in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    /// Which module.
    pub(super) module: usize,
    /// Of all its threads.
    pub(super) used: Duration,
}

/// Those who have their turn and those who wait.
#[derive(Debug)]
pub(super) struct Rota {
    places: usize,
    number: u64,
    running: Vec<Running>,
    modules: HashMap<usize, Module>,
    /// What the one that had least of those here has had.
    clock: Duration,
}

#[derive(Debug)]
struct Running {
    turn: Turn,
    module: usize,
    begun: Instant,
    /// None until its thread, which sleeps when the turn comes, has taken it.
    seen: Option<Instant>,
}

#[derive(Debug)]
struct Module {
    /// What it has had, on the clock of those here.
    had: Duration,
    used: Duration,
    line: VecDeque<Turn>,
}

impl Module {
    fn has_used(&mut self, used: Duration) {
        self.had += used.saturating_sub(self.used);
        self.used = self.used.max(used);
    }
}

impl Rota {
    /// Nobody runs; so many may at once.
    pub(super) fn new(places: usize) -> Self {
        let (running, modules) = Default::default();
        Self { places: places.max(1), number: 0, running, modules, clock: Duration::ZERO }
    }

    /// A thread gets in line.
    pub(super) fn enter(&mut self, User { module, used }: User) -> Turn {
        let turn = Turn(self.number);
        self.number += 1;
        self.forget();
        let clock = self.clock;
        let entry = self.modules.entry(module).or_insert_with(|| Module { had: clock, used, line: VecDeque::new() });
        entry.has_used(used);
        entry.had = entry.had.max(clock.saturating_sub(CREDIT));
        entry.line.push_back(turn);
        turn
    }

    /// Moves the clock on, and forgets modules that are away of which nothing is to be remembered.
    fn forget(&mut self) {
        let running = &self.running;
        let is_here =
            |id: usize, module: &Module| !module.line.is_empty() || running.iter().any(|running| running.module == id);
        let here = self.modules.iter().filter(|(id, module)| is_here(**id, module));
        let least = here.map(|(_, module)| module.had).min();
        self.clock = self.clock.max(least.unwrap_or(self.clock));
        let clock = self.clock;
        self.modules.retain(|id, module| is_here(*id, module) || (least.is_some() && module.had + CREDIT > clock));
    }

    /// Of the modules that wait, the one whose turn is next.
    fn next_module(&self) -> Option<usize> {
        let waiting = self.modules.iter().filter_map(|(id, module)| Some((id, module, *module.line.front()?)));
        let key = |(id, module, turn): &(&usize, &Module, Turn)| {
            let running = self.running.iter().filter(|running| running.module == **id).map(|_| QUANTUM);
            (module.had + running.sum::<Duration>(), *turn)
        };
        waiting.min_by_key(key).map(|(id, ..)| *id)
    }

    /// Gives free turns to those who are first in line, and says to whom.
    pub(super) fn admit(&mut self, now: Instant) -> Vec<Turn> {
        let mut admitted = Vec::new();
        if self.modules.values().all(|module| module.line.is_empty()) {
            return admitted;
        }
        let is_seen = |seen| now.saturating_duration_since(seen) < LEASE;
        self.running.retain(|running| running.seen.is_none_or(is_seen));
        while self.running.len() < self.places
            && let Some(module) = self.next_module()
            && let Some(turn) = self.modules.get_mut(&module).and_then(|module| module.line.pop_front())
        {
            self.running.push(Running { turn, module, begun: now, seen: None });
            admitted.push(turn);
        }
        admitted
    }

    /// Begins the turn, if it has come.
    pub(super) fn take(&mut self, turn: Turn, now: Instant) -> bool {
        let running = self.running.iter_mut().find(|running| running.turn == turn);
        running.map(|running| (running.begun, running.seen) = (now, Some(now))).is_some()
    }

    /// The turn that is next.
    pub(super) fn next(&self) -> Option<Turn> {
        self.modules.get(&self.next_module()?)?.line.front().copied()
    }

    /// When the first turn is lost, if its thread is not seen until then.
    pub(super) fn loses_at(&self) -> Option<Instant> {
        self.running.iter().filter_map(|running| running.seen).min().map(|seen| seen + LEASE)
    }

    /// It is seen to run: the turn that goes on, or its new place in line where that was lost, or is over because others wait.
    pub(super) fn goes_on(&mut self, turn: Turn, user: User, now: Instant) -> Turn {
        if let Some(module) = self.modules.get_mut(&user.module) {
            module.has_used(user.used);
        }
        let others_wait = self.modules.values().any(|module| !module.line.is_empty());
        let Some(place) = self.running.iter().position(|running| running.turn == turn) else {
            return self.enter(user);
        };
        let running = &mut self.running[place];
        running.seen = Some(now);
        if !others_wait || now.saturating_duration_since(running.begun) < QUANTUM {
            return turn;
        }
        // in line before it leaves its place: it is not away for a moment
        let next = self.enter(user);
        self.running.retain(|running| running.turn != turn);
        next
    }

    /// It runs no longer, or waits no longer.
    pub(super) fn leave(&mut self, turn: Turn) {
        self.running.retain(|running| running.turn != turn);
        for module in self.modules.values_mut() {
            module.line.retain(|waiting| *waiting != turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const fn user(module: usize, used: u64) -> User {
        User { module, used: millis(used) }
    }

    #[test]
    fn who_is_alone_keeps_its_turn() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let turn = rota.enter(user(7, 0));
        assert_eq!(rota.admit(start), [turn]);
        for n in 0..100 {
            assert_eq!(rota.goes_on(turn, user(7, n), start + millis(n)), turn);
        }
    }

    #[test]
    fn a_turn_ends_after_a_quantum_when_others_wait() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let (one, other) = (rota.enter(user(7, 100)), rota.enter(user(8, 0)));
        assert_eq!(rota.admit(start), [one]);
        assert_eq!(rota.next(), Some(other));
        assert_eq!(rota.goes_on(one, user(7, 101), start + millis(1)), one);
        assert_ne!(rota.goes_on(one, user(7, 102), start + QUANTUM), one);
        assert_eq!(rota.admit(start + QUANTUM), [other]);
        assert!(!rota.take(one, start + QUANTUM) && rota.take(other, start + QUANTUM));
    }

    #[test]
    fn who_is_not_seen_loses_its_turn_to_one_who_waits() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let one = rota.enter(user(7, 0));
        rota.admit(start);
        assert!(rota.take(one, start));
        assert_eq!(rota.goes_on(one, user(7, 0), start + millis(500)), one, "nobody waits");
        let other = rota.enter(user(8, 0));
        assert_eq!(rota.loses_at(), Some(start + millis(500) + LEASE));
        assert_eq!(rota.admit(start + millis(500) + LEASE - millis(1)), []);
        assert_eq!(rota.admit(start + millis(500) + LEASE), [other]);
        let later = start + millis(510) + LEASE;
        let again = rota.goes_on(one, user(7, 0), later);
        assert_ne!(again, one);
        rota.leave(other);
        assert_eq!(rota.admit(later), [again]);
    }

    #[test]
    fn a_turn_waits_for_a_thread_that_wakes_late() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let (one, other) = (rota.enter(user(7, 0)), rota.enter(user(8, 0)));
        assert_eq!(rota.admit(start), [one]);
        let late = start + LEASE * 100;
        assert_eq!(rota.admit(late), []);
        assert!(rota.take(one, late));
        assert_eq!(rota.goes_on(one, user(7, 0), late + millis(1)), one);
        assert!(!rota.take(other, late));
    }

    #[test]
    fn who_comes_has_nothing_saved_up_and_who_took_much_lets_the_others_go_first() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let one = rota.enter(user(7, 0));
        rota.admit(start);
        assert!(rota.take(one, start));
        assert_eq!(rota.goes_on(one, user(7, 1000), start), one);
        let other = rota.enter(user(8, 0));
        let one = rota.goes_on(one, user(7, 1002), start + QUANTUM);
        assert_eq!(rota.admit(start), [other]);
        // one large operation within its turn
        assert!(rota.take(other, start));
        let other = rota.goes_on(other, user(8, 500), start + QUANTUM);
        let mut turn = one;
        for used in (1004..1400).step_by(2) {
            assert_eq!(rota.admit(start), [turn], "the other one had hundreds of milliseconds");
            assert!(rota.take(turn, start));
            turn = rota.goes_on(turn, user(7, used), start + QUANTUM);
        }
        rota.leave(turn);
        rota.leave(other);
        assert_eq!((rota.next(), rota.loses_at()), (None, None));
        rota.enter(user(9, 0));
        assert_eq!(rota.modules.len(), 1, "the others are forgotten");
    }

    /// What each of the modules can have of the processors, if the least gets as much as it can: its threads bound it.
    fn fair(places: usize, threads: &[usize]) -> Vec<f64> {
        let mut shares = vec![0.0_f64; threads.len()];
        let caps: Vec<f64> = threads.iter().map(|threads| f64::from(u32::try_from(*threads).unwrap())).collect();
        let mut left = f64::from(u32::try_from(places).unwrap());
        while left > 1e-9 {
            let open: Vec<usize> = (0..caps.len()).filter(|n| shares[*n] + 1e-9 < caps[*n]).collect();
            let Some(step) = open.iter().map(|n| caps[*n] - shares[*n]).min_by(f64::total_cmp) else { break };
            let step = step.min(left / f64::from(u32::try_from(open.len()).unwrap()));
            for n in open {
                shares[n] += step;
                left -= step;
            }
        }
        shares
    }

    proptest! {
        /// Threads that never wait for anything else, some of which look at their clocks only every so many milliseconds.
        #[test]
        fn modules_get_as_much_as_each_other(
            places in 1_usize..4, modules in prop::collection::vec((1_usize..20, 1_u64..20), 1..6)
        ) {
            let (mut rota, start) = (Rota::new(places), Instant::now());
            let mut used = vec![0_u64; modules.len()];
            let mut owners = HashMap::new();
            for (module, (threads, _)) in modules.iter().enumerate() {
                for _ in 0..*threads {
                    owners.insert(rota.enter(user(module, 0)), module);
                }
            }
            let mut running: Vec<(Turn, u64)> = Vec::new();
            for n in 0..4000_u64 {
                let now = start + millis(n);
                for (turn, since) in std::mem::take(&mut running) {
                    let module = owners[&turn];
                    used[module] += 1;
                    let looks = (n - since) % modules[module].1 == 0;
                    let next = if looks { rota.goes_on(turn, user(module, used[module]), now) } else { turn };
                    if next == turn {
                        running.push((turn, since));
                    } else {
                        owners.remove(&turn);
                        owners.insert(next, module);
                    }
                }
                for turn in rota.admit(now) {
                    prop_assert!(rota.take(turn, now));
                    running.push((turn, n));
                }
                prop_assert_eq!(running.len(), places.min(owners.len()));
            }
            let threads: Vec<usize> = modules.iter().map(|(threads, _)| *threads).collect();
            for (had, fair) in used.iter().zip(fair(places, &threads)) {
                let had = f64::from(u32::try_from(*had).unwrap());
                prop_assert!(had >= fair * 4000.0 * 0.85 - 60.0, "{used:?} of {modules:?}: {fair}");
            }
        }
    }
}
