//! What a return must find as it was left. As long as a version is not confirmed, the one before it stands by, and its
//! module may be back at it at any moment: after a trigger, a command or a restart. So may several modules together.
//!
//! What runs must fit each combination of such returns. Paths, conflicts and the need for a module are between two
//! modules, so each return alone shows them all. A capability may be offered by many, and is lost once all of them have
//! returned to versions that do not offer it: for each need that combination is looked at too. Modules that took over as one
//! set return as one, so what is looked at has all of a set or none of it.

use std::collections::BTreeSet;

use super::{
    Definition, Dependent, Moves, Obstacle, Running, Snapshot, dependents, moved, obstacles, offers,
    required_capabilities,
};
use crate::manifest::Manifest;

/// The versions that have a place, by module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// What runs, confirmed or not.
    pub running: Running,
    /// What stands by, of those modules whose running version is not confirmed.
    pub standby: Running,
    /// The modules that took over as one and are not confirmed. One of them that nothing stands by for goes with a return.
    pub sets: Vec<BTreeSet<String>>,
}

/// Modules that return together.
pub(super) type Returning<'a> = BTreeSet<&'a str>;

impl Placed {
    /// The module with those that return whenever it does.
    fn with_its_set<'a>(&'a self, id: &'a str) -> Returning<'a> {
        let set = self.sets.iter().find(|set| set.contains(id));
        set.map_or_else(|| Returning::from([id]), |set| set.iter().map(String::as_str).collect())
    }

    /// Each module that may return, with its set; without those that are about to move.
    pub(super) fn alone<'a>(&'a self, moving: &'a Moves) -> impl Iterator<Item = Returning<'a>> {
        let others = self.standby.keys().chain(self.sets.iter().flatten()).filter(|id| self.running.contains_key(*id));
        let returns = others.map(|id| self.with_its_set(id));
        returns.filter(move |returning| returning.iter().all(|id| !moving.contains_key(*id)))
    }

    /// For each capability that `manifest` needs, the modules that offer it until they return, with their sets; without those
    /// that are about to move.
    fn together<'a>(
        &'a self,
        manifest: &'a Manifest,
        moving: &'a Moves,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = Returning<'a>> {
        required_capabilities(manifest).map(move |need| {
            let until_return = self.alone(moving).filter(|returning| {
                let offers = |versions: &Running| {
                    let of = |id: &&str| versions.get(*id).is_some_and(|version| offers(need, id, version, snapshot));
                    returning.iter().any(of)
                };
                !returning.contains(manifest.id.as_str()) && offers(&self.running) && !offers(&self.standby)
            });
            until_return.flatten().collect()
        })
    }

    /// What runs once these modules have returned.
    pub(super) fn after(&self, returning: &Returning<'_>) -> Running {
        let back = returning.iter().map(|id| ((*id).to_owned(), self.standby.get(*id).cloned())).collect();
        moved(&self.running, &back)
    }
}

/// Where everything is once `moves` have taken over as one set: what served until then stands by.
#[must_use]
pub fn together(placed: &Placed, moves: &Moves) -> Placed {
    let mut then = Placed { running: moved(&placed.running, moves), ..placed.clone() };
    let before = placed.running.iter().filter(|(id, _)| moves.contains_key(*id));
    then.standby.extend(before.map(|(id, version)| (id.clone(), version.clone())));
    then.sets.push(moves.keys().cloned().collect());
    then
}

/// The combinations to look at, the smaller ones first: what one of them shows is not told again of a larger one.
pub(super) fn in_order<'a>(returns: impl Iterator<Item = Returning<'a>>) -> Vec<Returning<'a>> {
    let mut returns: Vec<_> = returns.filter(|returning| !returning.is_empty()).collect();
    returns.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    returns.dedup();
    returns
}

pub(super) fn label(id: &str, versions: &Running) -> String {
    versions.get(id).map_or_else(|| id.to_owned(), |version| format!("{id}@{version}"))
}

/// Everything that stands in the way of running `definition` beside what runs, and beside what may run again: each return
/// that is possible now must stay possible. What is in the way either way is told once, of what runs.
#[must_use]
pub fn obstacles_beside(definition: &Definition, snapshot: &Snapshot, placed: &Placed) -> Vec<Obstacle> {
    let manifest = &definition.manifest;
    let mut found = obstacles(definition, snapshot, &placed.running);
    let now = found.len();
    // with its set it is there or it is not: only the others' returns are looked at
    let moving = placed.with_its_set(&manifest.id).into_iter().map(|id| (id.to_owned(), None)).collect();
    let together = placed.together(manifest, &moving, snapshot);
    for returning in in_order(placed.alone(&moving).chain(together)) {
        let told = if returning.len() == 1 { now } else { found.len() };
        let mut then = obstacles(definition, snapshot, &placed.after(&returning));
        then.retain(|obstacle| found[..told].iter().all(|known| known.matter() != obstacle.matter()));
        let mut ids = returning.into_iter();
        let Some(first) = ids.next() else { continue };
        let with: Vec<String> = ids.map(|id| label(id, &placed.standby)).collect();
        found.extend(then.into_iter().map(|obstacle| Obstacle::StandsBy {
            standby: label(first, &placed.standby),
            unconfirmed: label(first, &placed.running),
            with: with.clone(),
            obstacle: Box::new(obstacle),
        }));
    }
    found
}

/// The modules that need something of those that move which these no longer give afterwards: those that run, versions that
/// stand by, and those that would lack it once others have returned. Each need is told once.
#[must_use]
pub fn dependents_beside(moves: &Moves, snapshot: &Snapshot, placed: &Placed) -> Vec<Dependent> {
    let mut found = dependents(moves, snapshot, &placed.running);
    let others = placed.running.iter().chain(&placed.standby).filter(|(other, _)| !moves.contains_key(*other));
    let together = others.filter_map(|(other, version)| snapshot.get(other, version)).flat_map(|definition| {
        let manifest = &definition.manifest;
        let stands_by = placed.standby.get(&manifest.id) == Some(&manifest.version);
        let own = if stands_by { placed.with_its_set(&manifest.id) } else { Returning::new() };
        let returns = placed.together(manifest, moves, snapshot);
        returns.map(move |returning| returning.into_iter().chain(own.iter().copied()).collect())
    });
    for returning in in_order(placed.alone(moves).chain(together)) {
        for dependent in dependents(moves, snapshot, &placed.after(&returning)) {
            let same = |known: &Dependent| known.of() == dependent.of();
            if found.iter().any(same) {
                continue;
            }
            let stands_by = returning.contains(dependent.id.as_str());
            let returned = returning.iter().filter(|id| **id != dependent.id).map(|id| label(id, &placed.standby));
            found.push(Dependent { stands_by, returned: returned.collect(), ..dependent });
        }
    }
    found
}
