//! What a return must find as it was left. As long as a version is not confirmed, the one before it stands by, and its
//! module may be back at it at any moment: after a trigger, a command or a restart. So may several modules together.
//!
//! What runs must fit each combination of such returns. Paths, conflicts and the need for a module are between two
//! modules, so each return alone shows them all. A capability may be offered by many, and is lost once all of them have
//! returned to versions that do not offer it: for each need that combination is looked at too.

use std::collections::BTreeSet;

use semver::Version;

use super::{Definition, Dependent, Obstacle, Running, Snapshot, dependents, obstacles, offers, required_capabilities};
use crate::manifest::Manifest;

/// The versions that have a place, by module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// What runs, confirmed or not.
    pub running: Running,
    /// What stands by, of those modules whose running version is not confirmed.
    pub standby: Running,
}

/// Modules that return together.
type Returning<'a> = BTreeSet<&'a str>;

impl Placed {
    /// Each module that may return, alone; without module `id`, which is about to change.
    fn alone<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Returning<'a>> {
        let others = self.standby.keys().filter(move |other| *other != id && self.running.contains_key(*other));
        others.map(|other| Returning::from([other.as_str()]))
    }

    /// For each capability that `manifest` needs, the modules that offer it until they return; without module `id`, which
    /// is about to change.
    fn together<'a>(
        &'a self,
        manifest: &'a Manifest,
        id: &'a str,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = Returning<'a>> {
        required_capabilities(manifest).map(move |need| {
            let until_return = self.standby.iter().filter(|(other, standby)| {
                let offers = |version| offers(need, other, version, snapshot);
                **other != manifest.id
                    && *other != id
                    && self.running.get(*other).is_some_and(offers)
                    && !offers(standby)
            });
            until_return.map(|(other, _)| other.as_str()).collect()
        })
    }

    /// What runs once these modules have returned.
    fn after(&self, returning: &Returning<'_>) -> Running {
        let returned = self.standby.iter().filter(|(id, _)| returning.contains(id.as_str()));
        let mut running = self.running.clone();
        running.extend(returned.map(|(id, standby)| (id.clone(), standby.clone())));
        running
    }
}

/// The combinations to look at, the smaller ones first: what one of them shows is not told again of a larger one.
fn in_order<'a>(returns: impl Iterator<Item = Returning<'a>>) -> Vec<Returning<'a>> {
    let mut returns: Vec<_> = returns.filter(|returning| !returning.is_empty()).collect();
    returns.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    returns.dedup();
    returns
}

fn label(id: &str, versions: &Running) -> String {
    versions.get(id).map_or_else(|| id.to_owned(), |version| format!("{id}@{version}"))
}

/// Everything that stands in the way of running `definition` beside what runs, and beside what may run again: each return
/// that is possible now must stay possible. What is in the way either way is told once, of what runs.
#[must_use]
pub fn obstacles_beside(definition: &Definition, snapshot: &Snapshot, placed: &Placed) -> Vec<Obstacle> {
    let manifest = &definition.manifest;
    let mut found = obstacles(definition, snapshot, &placed.running);
    let now = found.len();
    let together = placed.together(manifest, &manifest.id, snapshot);
    for returning in in_order(placed.alone(&manifest.id).chain(together)) {
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

/// The modules that need something of `id` which it no longer gives once it is at version `after` (`None`: once it is
/// gone): those that run, versions that stand by, and those that would lack it once others have returned. Each need is
/// told once.
#[must_use]
pub fn dependents_beside(id: &str, after: Option<&Version>, snapshot: &Snapshot, placed: &Placed) -> Vec<Dependent> {
    let mut found = dependents(id, after, snapshot, &placed.running);
    let others = placed.running.iter().chain(&placed.standby).filter(|(other, _)| *other != id);
    let together = others.filter_map(|(other, version)| snapshot.get(other, version)).flat_map(|definition| {
        let manifest = &definition.manifest;
        let stands_by = placed.standby.get(&manifest.id) == Some(&manifest.version);
        let own = stands_by.then_some(manifest.id.as_str());
        placed.together(manifest, id, snapshot).map(move |returning| returning.into_iter().chain(own).collect())
    });
    for returning in in_order(placed.alone(id).chain(together)) {
        for dependent in dependents(id, after, snapshot, &placed.after(&returning)) {
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
