//! Who of those that keep the processors busy has its turn.
//!
//! Each has the processor for a quantum when others wait. Modules come round in turn, whatever the number of their threads.
//! Who waits for something else than the processor gives its turn back. So that none that forgets it stops the others, a turn
//! that was taken is a lease: who has not been seen for a while has lost it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a turn lasts when others wait.
pub(super) const QUANTUM: Duration = Duration::from_millis(2);
/// How long a turn is kept for one who is not seen.
pub(super) const LEASE: Duration = Duration::from_millis(50);

/// A turn, or a place in the line for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Turn(u64);

/// Those who have their turn and those who wait.
#[derive(Debug)]
pub(super) struct Rota {
    places: usize,
    number: u64,
    running: Vec<Running>,
    /// By module, in the order of their turns; none is empty.
    line: VecDeque<(usize, VecDeque<Turn>)>,
}

#[derive(Debug)]
struct Running {
    turn: Turn,
    begun: Instant,
    /// None until its thread, which sleeps when the turn comes, has taken it.
    seen: Option<Instant>,
}

impl Rota {
    /// Nobody runs; so many may at once.
    pub(super) fn new(places: usize) -> Self {
        Self { places: places.max(1), number: 0, running: Vec::new(), line: VecDeque::new() }
    }

    /// A thread of `module` gets in line.
    pub(super) fn enter(&mut self, module: usize) -> Turn {
        let turn = Turn(self.number);
        self.number += 1;
        match self.line.iter_mut().find(|(other, _)| *other == module) {
            Some((_, threads)) => threads.push_back(turn),
            None => self.line.push_back((module, VecDeque::from([turn]))),
        }
        turn
    }

    /// Gives free turns to those who are first in line, and says to whom.
    pub(super) fn admit(&mut self, now: Instant) -> Vec<Turn> {
        if self.line.is_empty() {
            return Vec::new();
        }
        let is_seen = |seen| now.saturating_duration_since(seen) < LEASE;
        self.running.retain(|running| running.seen.is_none_or(is_seen));
        let mut admitted = Vec::new();
        while self.running.len() < self.places
            && let Some((module, mut threads)) = self.line.pop_front()
        {
            if let Some(turn) = threads.pop_front() {
                self.running.push(Running { turn, begun: now, seen: None });
                admitted.push(turn);
            }
            if !threads.is_empty() {
                self.line.push_back((module, threads));
            }
        }
        admitted
    }

    /// Begins the turn, if it has come.
    pub(super) fn take(&mut self, turn: Turn, now: Instant) -> bool {
        let running = self.running.iter_mut().find(|running| running.turn == turn);
        running.map(|running| (running.begun, running.seen) = (now, Some(now))).is_some()
    }

    /// Whether it is next.
    pub(super) fn is_next(&self, turn: Turn) -> bool {
        self.line.front().is_some_and(|(_, threads)| threads.front() == Some(&turn))
    }

    /// The one that is next.
    pub(super) fn next(&self) -> Option<Turn> {
        self.line.front().and_then(|(_, threads)| threads.front().copied())
    }

    /// It is seen to run; whether its turn goes on. Otherwise it was lost, or is over because others wait.
    pub(super) fn keeps(&mut self, turn: Turn, now: Instant) -> bool {
        let Some(place) = self.running.iter().position(|running| running.turn == turn) else { return false };
        let running = &mut self.running[place];
        running.seen = Some(now);
        let is_over = !self.line.is_empty() && now.saturating_duration_since(running.begun) >= QUANTUM;
        if is_over {
            self.running.swap_remove(place);
        }
        !is_over
    }

    /// It runs no longer, or waits no longer.
    pub(super) fn leave(&mut self, turn: Turn) {
        self.running.retain(|running| running.turn != turn);
        for (_, threads) in &mut self.line {
            threads.retain(|waiting| *waiting != turn);
        }
        self.line.retain(|(_, threads)| !threads.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn who_is_alone_keeps_its_turn() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let turn = rota.enter(7);
        assert_eq!(rota.admit(start), [turn]);
        for n in 0..100 {
            assert!(rota.keeps(turn, start + millis(n)));
        }
    }

    #[test]
    fn a_turn_ends_after_a_quantum_when_others_wait() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let (one, other) = (rota.enter(7), rota.enter(8));
        assert_eq!(rota.admit(start), [one]);
        assert!(rota.is_next(other) && rota.keeps(one, start + millis(1)));
        assert!(!rota.keeps(one, start + QUANTUM));
        assert_eq!(rota.admit(start + QUANTUM), [other]);
        assert!(!rota.take(one, start + QUANTUM) && rota.take(other, start + QUANTUM));
    }

    #[test]
    fn who_is_not_seen_loses_its_turn_to_one_who_waits() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let one = rota.enter(7);
        rota.admit(start);
        assert!(rota.take(one, start));
        assert!(rota.keeps(one, start + millis(500)), "nobody waits");
        let other = rota.enter(8);
        assert_eq!(rota.admit(start + millis(500) + LEASE - millis(1)), []);
        assert_eq!(rota.admit(start + millis(500) + LEASE), [other]);
        let later = start + millis(510) + LEASE;
        assert!(!rota.keeps(one, later));
        rota.leave(other);
        assert_eq!(rota.admit(later), []);
    }

    #[test]
    fn a_turn_waits_for_a_thread_that_wakes_late() {
        let (mut rota, start) = (Rota::new(1), Instant::now());
        let (one, other) = (rota.enter(7), rota.enter(8));
        assert_eq!(rota.admit(start), [one]);
        let late = start + LEASE * 100;
        assert_eq!(rota.admit(late), []);
        assert!(rota.take(one, late) && rota.keeps(one, late + millis(1)));
        assert!(!rota.take(other, late));
    }

    proptest! {
        /// Threads that never wait for anything else: of every module that wants to run each gets as much, however many
        /// threads it has, and never more run than there are places.
        #[test]
        fn modules_get_as_much_as_each_other(places in 1_usize..4, threads in prop::collection::vec(1_usize..20, 1..6)) {
            let (mut rota, start) = (Rota::new(places), Instant::now());
            let mut owners = HashMap::new();
            for (module, threads) in threads.iter().enumerate() {
                for _ in 0..*threads {
                    owners.insert(rota.enter(module), module);
                }
            }
            let mut ran = vec![0_u64; threads.len()];
            let mut running: Vec<Turn> = rota.admit(start);
            for n in 1..2000_u64 {
                let now = start + millis(n);
                prop_assert!(running.len() <= places);
                prop_assert_eq!(running.len(), places.min(owners.len()));
                for turn in std::mem::take(&mut running) {
                    ran[owners[&turn]] += 1;
                    if rota.keeps(turn, now) {
                        running.push(turn);
                    } else {
                        let module = owners.remove(&turn).expect("known");
                        owners.insert(rota.enter(module), module);
                    }
                }
                running.extend(rota.admit(now));
            }
            // a module with fewer threads than places cannot take more than its threads; among the others none is ahead
            let eager: Vec<u64> =
                threads.iter().zip(&ran).filter(|(threads, _)| **threads >= places).map(|(_, ran)| *ran).collect();
            if let (Some(most), Some(least)) = (eager.iter().max(), eager.iter().min()) {
                prop_assert!(most - least <= 8 + most / 4, "{ran:?} of {threads:?}");
            }
        }
    }
}
