//! Work that waits for its turn in one lane or in several: first come, first served in each, and one at a time.
//!
//! What needs several lanes takes all of them at once, when it is the first in each and none is busy. It is put into all of
//! them at once as well, so no two such works are in one order here and in another there, and nothing waits for itself.

use std::collections::{HashMap, VecDeque};

/// The lanes. One that is neither busy nor waited for takes no room.
pub(in crate::engine) struct Queues<T> {
    lanes: HashMap<String, Lane>,
    waiting: HashMap<u64, (Vec<String>, T)>,
    last: u64,
}

#[derive(Default)]
struct Lane {
    busy: bool,
    /// The numbers of what waits.
    queue: VecDeque<u64>,
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), waiting: HashMap::new(), last: 0 }
    }
}

impl<T> Queues<T> {
    /// Whether nothing runs or waits in the lane.
    pub(in crate::engine) fn is_free(&self, id: &str) -> bool {
        !self.lanes.contains_key(id)
    }

    /// How many wait in the lane.
    pub(in crate::engine) fn waiting(&self, id: &str) -> usize {
        self.lanes.get(id).map_or(0, |lane| lane.queue.len())
    }

    /// What waits in the lane, the next first.
    pub(in crate::engine) fn look(&mut self, id: &str, mut at: impl FnMut(&mut T)) {
        for number in self.lanes.get(id).map(|lane| &lane.queue).into_iter().flatten() {
            if let Some((_, work)) = self.waiting.get_mut(number) {
                at(work);
            }
        }
    }

    /// Puts work behind what waits.
    pub(in crate::engine) fn push_back(&mut self, ids: Vec<String>, work: T) {
        self.push(ids, work, VecDeque::push_back);
    }

    /// Puts work before what waits.
    pub(in crate::engine) fn push_front(&mut self, ids: Vec<String>, work: T) {
        self.push(ids, work, VecDeque::push_front);
    }

    fn push(&mut self, ids: Vec<String>, work: T, push: fn(&mut VecDeque<u64>, u64)) {
        self.last += 1;
        for id in &ids {
            push(&mut self.lanes.entry(id.clone()).or_default().queue, self.last);
        }
        self.waiting.insert(self.last, (ids, work));
    }

    /// Takes out what waits in the lane and is meant, with its lanes.
    pub(in crate::engine) fn take_out(&mut self, id: &str, meant: impl Fn(&T) -> bool) -> Vec<(Vec<String>, T)> {
        let queue = self.lanes.get(id).map(|lane| lane.queue.clone()).unwrap_or_default();
        let is_meant = |number: &u64| self.waiting.get(number).is_some_and(|(_, work)| meant(work));
        let numbers: Vec<u64> = queue.into_iter().filter(is_meant).collect();
        let taken: Vec<_> = numbers.iter().filter_map(|number| self.waiting.remove(number)).collect();
        for id in taken.iter().flat_map(|(ids, _)| ids) {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.queue.retain(|number| !numbers.contains(number));
                if !lane.busy && lane.queue.is_empty() {
                    self.lanes.remove(id);
                }
            }
        }
        taken
    }

    /// The work that can begin now in one of these lanes; its lanes are busy until it has [ended](Self::ended).
    pub(in crate::engine) fn next(&mut self, ids: &[String]) -> Option<(Vec<String>, T)> {
        let number = ids.iter().find_map(|id| {
            let number = *self.lanes.get(id)?.queue.front()?;
            let (needs, _) = self.waiting.get(&number)?;
            let has_its_turn = |lane: &Lane| !lane.busy && lane.queue.front() == Some(&number);
            needs.iter().all(|id| self.lanes.get(id).is_some_and(has_its_turn)).then_some(number)
        })?;
        let (needs, work) = self.waiting.remove(&number)?;
        for id in &needs {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.queue.pop_front();
                lane.busy = true;
            }
        }
        Some((needs, work))
    }

    /// What ran in these lanes has ended.
    pub(in crate::engine) fn ended(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.busy = false;
                if lane.queue.is_empty() {
                    self.lanes.remove(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const IDS: [&str; 4] = ["a", "b", "c", "d"];

    /// Work that needs these lanes, in front or behind; and whether something that runs ends before it comes.
    fn works() -> impl Strategy<Value = Vec<(BTreeSet<usize>, bool, bool)>> {
        let one = (proptest::collection::btree_set(0..IDS.len(), 1..4), any::<bool>(), any::<bool>());
        proptest::collection::vec(one, 1..40)
    }

    proptest! {
        #[test]
        fn whatever_waits_has_its_turn_and_no_two_at_once_share_a_lane(works in works()) {
            let (mut queues, mut running, mut begun) = (Queues::default(), Vec::<Vec<String>>::new(), 0);
            let mut begin = |queues: &mut Queues<usize>, running: &mut Vec<Vec<String>>, ids: &[String]| {
                while let Some((ids, _)) = queues.next(ids) {
                    assert!(ids.iter().all(|id| running.iter().all(|other| !other.contains(id))), "{ids:?} beside {running:?}");
                    running.push(ids);
                    begun += 1;
                }
            };
            for (number, (needs, front, ends)) in works.iter().enumerate() {
                if *ends && let Some(ids) = running.pop() {
                    queues.ended(&ids);
                    begin(&mut queues, &mut running, &ids);
                }
                let ids: Vec<String> = needs.iter().map(|at| IDS[*at].to_owned()).collect();
                if *front { queues.push_front(ids.clone(), number) } else { queues.push_back(ids.clone(), number) }
                begin(&mut queues, &mut running, &ids);
            }
            while let Some(ids) = running.pop() {
                queues.ended(&ids);
                begin(&mut queues, &mut running, &ids);
            }
            prop_assert_eq!(begun, works.len(), "nothing waits for ever");
            prop_assert!(IDS.iter().all(|id| queues.is_free(id)) && queues.waiting.is_empty());
        }
    }

    #[test]
    fn in_one_lane_the_first_to_come_is_the_first_to_go_unless_it_is_put_in_front() {
        let lane = || vec!["a".to_owned()];
        let mut queues = Queues::default();
        for number in 0..3 {
            queues.push_back(lane(), number);
        }
        queues.push_front(lane(), 3);
        let mut order = Vec::new();
        while let Some((ids, number)) = queues.next(&lane()) {
            assert!(queues.next(&lane()).is_none(), "it is busy");
            order.push(number);
            queues.ended(&ids);
        }
        assert_eq!(order, [3, 0, 1, 2]);
    }

    #[test]
    fn what_is_taken_out_leaves_all_of_its_lanes() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let mut queues = Queues::default();
        queues.push_back(ids(&["a"]), 1);
        assert!(queues.next(&ids(&["a"])).is_some());
        queues.push_back(ids(&["a", "b"]), 2);
        queues.push_back(ids(&["b"]), 3);
        assert_eq!(queues.take_out("b", |work| *work == 2), [(ids(&["a", "b"]), 2)]);
        assert_eq!(queues.next(&ids(&["b"])), Some((ids(&["b"]), 3)));
        assert_eq!((queues.waiting("a"), queues.take_out("a", |_| true)), (0, Vec::new()));
    }

    #[test]
    fn what_needs_two_lanes_waits_for_both_and_keeps_its_place_in_each() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let mut queues = Queues::default();
        queues.push_back(ids(&["a"]), 1);
        assert_eq!(queues.next(&ids(&["a"])), Some((ids(&["a"]), 1)));
        queues.push_back(ids(&["a", "b"]), 2);
        queues.push_back(ids(&["b"]), 3);
        assert_eq!(queues.next(&ids(&["a", "b"])), None, "`a` is busy, and the third waits behind the second");
        queues.ended(&ids(&["a"]));
        assert_eq!(queues.next(&ids(&["a"])), Some((ids(&["a", "b"]), 2)));
        queues.ended(&ids(&["a", "b"]));
        assert_eq!(queues.next(&ids(&["a", "b"])), Some((ids(&["b"]), 3)));
    }
}
