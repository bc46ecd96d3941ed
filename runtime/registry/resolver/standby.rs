//! What a return must find as it was left. As long as a version is not confirmed, the one before it stands by, and its
//! module may be back at it at any moment: after a trigger, a command or a restart.

use semver::Version;

use super::{Definition, Dependent, Obstacle, Running, Snapshot, dependents, obstacles};

/// The versions that have a place, by module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// What runs, confirmed or not.
    pub running: Running,
    /// What stands by, of those modules whose running version is not confirmed.
    pub standby: Running,
}

impl Placed {
    /// What would run after each return that is possible now, without that of module `id`, which is about to change.
    fn returns<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Return<'a>> + 'a {
        let others = self.standby.iter().filter(move |(other, _)| *other != id);
        others.filter_map(|(other, standby)| {
            let mut running = self.running.clone();
            let left = running.insert(other.clone(), standby.clone())?;
            Some(Return { id: other, standby, left, running })
        })
    }
}

/// A return of one module, as if it had been made.
struct Return<'a> {
    id: &'a str,
    standby: &'a Version,
    /// The version that is returned from.
    left: Version,
    running: Running,
}

/// Everything that stands in the way of running `definition` beside what runs, and beside what may run again: each return
/// that is possible now must stay possible. What is in the way either way is told once, of what runs.
#[must_use]
pub fn obstacles_beside(definition: &Definition, snapshot: &Snapshot, placed: &Placed) -> Vec<Obstacle> {
    let now = obstacles(definition, snapshot, &placed.running);
    let known = |obstacle: &Obstacle| now.iter().any(|known| known.matter() == obstacle.matter());
    let mut found = now.clone();
    for Return { id, standby, left, running } in placed.returns(&definition.manifest.id) {
        let then = obstacles(definition, snapshot, &running).into_iter().filter(|obstacle| !known(obstacle));
        found.extend(then.map(|obstacle| Obstacle::StandsBy {
            standby: format!("{id}@{standby}"),
            unconfirmed: format!("{id}@{left}"),
            obstacle: Box::new(obstacle),
        }));
    }
    found
}

/// The modules that need something of `id` which it no longer gives once it is at version `after` (`None`: once it is
/// gone): those that run, and versions that stand by.
#[must_use]
pub fn dependents_beside(id: &str, after: Option<&Version>, snapshot: &Snapshot, placed: &Placed) -> Vec<Dependent> {
    let mut found = dependents(id, after, snapshot, &placed.running);
    for Return { id: other, running, .. } in placed.returns(id) {
        let then = dependents(id, after, snapshot, &running).into_iter().filter(|dependent| dependent.id == *other);
        found.extend(then.map(|dependent| Dependent { stands_by: true, ..dependent }));
    }
    found
}
