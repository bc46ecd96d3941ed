//! Circles that a change would close. Modules that need each other in one run as long as nobody stops them, and no order starts
//! them: what would bring such a state about is refused while it is not there yet.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{Edges, of};
use super::standby::{Returning, in_order, label};
use super::{Cycle, Moves, Obstacle, Placed, Running, Snapshot, moved, offers, required_capabilities};
use crate::manifest::CapabilityRequirement;

/// A circle that a change closes.
pub(super) struct Closed {
    pub(super) cycle: Cycle,
    /// Modules that wait for nobody but each other, each with the need that it waits for, where that is a capability.
    pub(super) deadlock: BTreeMap<String, Option<CapabilityRequirement>>,
}

/// Of how many that move each is looked at alone before all is.
const FEW: usize = 4;

/// The circle that `moves` close beside what runs. One that is there already is none: whoever is in it runs.
pub(super) fn closed(moves: &Moves, snapshot: &Snapshot, running: &Running) -> Option<Closed> {
    let then = moved(running, moves);
    if moves.len() < FEW && !may_close(moves, snapshot, running, &then) {
        return None;
    }
    let (before, after) = (Edges::of(running, snapshot), Edges::of(&then, snapshot));
    let stuck = after.stuck(&before.stuck(&BTreeSet::new()));
    let first = *stuck.first()?;
    let cycle = after.cycle(&stuck);
    let deadlock = after.deadlock(cycle.chain.first().map_or(first, String::as_str), &stuck);
    Some(Closed { cycle, deadlock })
}

/// Whether a circle could come of it at all: one of those that move is needed by what it needs, or gives no more what somebody
/// needs of it, who then needs it of fewer. That is found out without looking at the needs of all that runs.
fn may_close(moves: &Moves, snapshot: &Snapshot, running: &Running, then: &Running) -> bool {
    let needs = |id: &str| {
        let definition = then.get(id).and_then(|version| snapshot.get(id, version));
        definition.map(|definition| of(&definition.manifest, then, snapshot).0).unwrap_or_default()
    };
    let comes_round = |id: &str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![id]);
        while let Some(at) = open.pop() {
            open.extend(needs(at).into_iter().flat_map(|group| group.providers).filter(|other| reached.insert(*other)));
        }
        reached.contains(id)
    };
    let gives_less = |id: &str| {
        let Some(before) = running.get(id) else { return false };
        let gave = |need: &&CapabilityRequirement| {
            offers(need, id, before, snapshot) && !then.get(id).is_some_and(|after| offers(need, id, after, snapshot))
        };
        let others = then.iter().filter(|(other, _)| *other != id);
        let mut others = others.filter_map(|(other, version)| snapshot.get(other, version));
        others.any(|other| required_capabilities(&other.manifest).any(|need| gave(&need)))
    };
    moves.keys().any(|id| comes_round(id) || gives_less(id))
}

/// The circle that `moves` close beside what runs, or beside what may run again; at most one.
#[must_use]
pub fn circles_beside(moves: &Moves, snapshot: &Snapshot, placed: &Placed) -> Option<Obstacle> {
    let obstacle = |running: &Running| {
        let chain = closed(moves, snapshot, running)?.cycle.chain;
        let module = moves.keys().find(|id| chain.contains(id)).or_else(|| moves.keys().next())?;
        Some(Obstacle::Circle { module: label(module, &moved(running, moves)), chain })
    };
    if let Some(found) = obstacle(&placed.running) {
        return Some(found);
    }
    let all: Returning<'_> = placed.alone(moves).flatten().collect();
    in_order(placed.alone(moves).chain([all])).into_iter().find_map(|returning| {
        let found = obstacle(&placed.after(&returning))?;
        let mut ids = returning.into_iter();
        let first = ids.next()?;
        Some(Obstacle::StandsBy {
            standby: label(first, &placed.standby),
            unconfirmed: label(first, &placed.running),
            with: ids.map(|id| label(id, &placed.standby)).collect(),
            obstacle: Box::new(found),
        })
    })
}

/// The modules of `modules` that need `id` in a circle and that it needs, with their versions; not itself.
#[must_use]
pub fn circle_of(id: &str, modules: &Running, snapshot: &Snapshot) -> Running {
    let edges = Edges::of(modules, snapshot);
    let others = edges.circle_of(id).into_iter().filter(|other| *other != id);
    others.filter_map(|other| Some((other.to_owned(), modules.get(other)?.clone()))).collect()
}
