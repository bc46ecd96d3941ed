//! Which versions go together: the wanted ones, what they need, and what runs, changed as little as possible.
//!
//! The search is a SAT solver's (CDCL, as [`resolvo`] has it): a module is a package of which one version is chosen at most, a
//! dependency requires a version in its range, a capability one of the modules that offer it, and conflicts, taken paths and
//! capabilities that one module alone may offer are constraints. What runs is tried in its own version first, all else from the
//! newest on. Circles are no rule of the solver's: where what it chose closes one, it is asked again without one version of the circle
//! after the other, or with another provider of what is needed in it.

use std::collections::{BTreeMap, BTreeSet};

use resolvo::{Problem, Requirement, Solver, UnsolvableOrCancelled};
use semver::Version;
use serde::Serialize;

use super::circles::{Closed, closed};
use super::starts::in_turn;
use super::{Cycle, Moves, Running, Snapshot};
use crate::manifest::CapabilityRequirement;
use crate::registry::compatibility::Way;
use crate::registry::versions::ModuleRef;

mod derivation;
mod universe;

pub use derivation::{Derivation, Fact};
use universe::Universe;

/// Versions that go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// What is wanted, what it needs and what runs, each after those that it needs.
    pub modules: Vec<Chosen>,
}

/// The version of a module that goes with the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// The module's id.
    pub id: String,
    /// The version.
    pub version: Version,
    /// What it takes to get there.
    pub change: Change,
    /// Why it is there: who needs it, and what of it. Nobody, where it is wanted itself or runs.
    pub needed: Vec<Need>,
}

/// What it takes that a version runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// It runs.
    Keep,
    /// Nothing of the module runs.
    Start,
    /// Another version runs.
    Replace {
        /// That version.
        from: Version,
        /// The versions to go through, in order; none: it follows directly.
        via: Vec<Version>,
    },
}

/// What one module needs of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// Who needs it, `id@version`.
    pub by: String,
    /// The module's id, or the capability's.
    pub needs: String,
    /// The versions that would do.
    pub range: String,
    /// Whether it is the capability that is needed.
    pub capability: bool,
}

/// Why no versions go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No set of versions keeps all rules.
    #[error("{0}")]
    NoSet(Derivation),
    /// The versions that would keep them need each other in a circle.
    #[error(transparent)]
    Cycle(#[from] Cycle),
}

impl Resolution {
    /// The modules that do not run in these versions yet, in the order to activate them.
    pub fn changes(&self) -> impl Iterator<Item = &Chosen> {
        self.modules.iter().filter(|chosen| chosen.change != Change::Keep)
    }
}

/// How often the solver is asked again because of circles. Each answer costs as much as a search without any.
const TRIES: usize = 64;

/// The newest consistent set around what is wanted: those modules (a version that is named, otherwise the newest that goes), all
/// that they need, and each module that runs, in its own version where that goes. Needs of what runs that are not met now are
/// not demanded, and a circle of needs among what runs stays as it is.
///
/// # Errors
/// There is none: [`Unresolved`] says why. What is not registered is among the reasons. Where it is a circle that is in the way, it
/// is the first that was found; among very many circles a set may be missed.
pub fn resolve(wanted: &[ModuleRef], snapshot: &Snapshot, running: &Running) -> Result<Resolution, Unresolved> {
    let (mut open, mut circle) = (vec![Limits::default()], None);
    for _ in 0..TRIES {
        let Some(limits) = open.pop() else { break };
        let chosen = match solve(wanted, snapshot, running, &limits) {
            Ok(chosen) => chosen,
            Err(derivation) if circle.is_none() => return Err(Unresolved::NoSet(derivation)),
            // of the circle it is told, which led here
            Err(_) => continue,
        };
        let changed = chosen.iter().filter(|(id, version)| running.get(*id) != Some(*version));
        let moves: Moves = changed.map(|(id, version)| (id.clone(), Some(version.clone()))).collect();
        let Some(closed) = closed(&moves, snapshot, running) else {
            return Ok(Resolution::of(&chosen, snapshot, running));
        };
        // the first is tried first
        open.extend(limits.around(&closed, &chosen).into_iter().rev());
        circle.get_or_insert(closed.cycle);
    }
    let circle = circle.unwrap_or_else(|| unreachable!("the first try ends with a set, a derivation or a circle"));
    Err(Unresolved::Cycle(circle))
}

/// What a set must keep besides the rules, so that it has no circle that was found before.
#[derive(Clone, Default)]
struct Limits {
    /// Versions that are not in it.
    without: BTreeSet<(String, Version)>,
    /// Versions that get what they need of somebody outside of a circle.
    besides: Vec<Besides>,
}

/// Where `by` is there, a module that is not among `others` gives what it needs.
#[derive(Clone)]
struct Besides {
    by: (String, Version),
    need: CapabilityRequirement,
    others: BTreeSet<String>,
}

impl Limits {
    /// What keeps a circle from being: one of those that wait for each other is not there in this version, or, where it waits for a
    /// capability, somebody else gives it. A set without this circle keeps one of these. Other providers are tried first.
    fn around(&self, closed: &Closed, chosen: &Running) -> Vec<Self> {
        let (mut besides, mut without) = (Vec::new(), Vec::new());
        for (id, waits_for) in &closed.deadlock {
            let Some(version) = chosen.get(id) else { continue };
            let (mut limits, by) = (self.clone(), (id.clone(), version.clone()));
            if let Some(need) = waits_for.clone() {
                limits.besides.push(Besides { by, need, others: closed.deadlock.keys().cloned().collect() });
                besides.push(limits);
            } else {
                limits.without.insert(by);
                without.push(limits);
            }
        }
        besides.append(&mut without);
        besides
    }
}

fn solve(wanted: &[ModuleRef], snapshot: &Snapshot, running: &Running, limits: &Limits) -> Result<Running, Derivation> {
    let universe = Universe::of(wanted, snapshot, running, limits);
    let requirements: Vec<Requirement> = universe.roots().collect();
    let mut solver = Solver::new(universe);
    let problem = Problem::new().requirements(requirements.into_iter().map(Into::into).collect());
    match solver.solve(problem) {
        Ok(solvables) => Ok(solver.provider().versions(&solvables)),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => Err(Derivation::of(&conflict, &solver)),
        Err(UnsolvableOrCancelled::Cancelled(_)) => unreachable!("nothing cancels it"),
    }
}

impl Resolution {
    fn of(chosen: &Running, snapshot: &Snapshot, running: &Running) -> Self {
        let modules = in_turn(chosen, snapshot).into_iter().filter_map(|id| {
            let version = chosen.get(&id)?.clone();
            let needed = needed(&id, &version, chosen, snapshot);
            Some(Chosen { change: change(&id, &version, snapshot, running), id, version, needed })
        });
        Self { modules: modules.collect() }
    }
}

fn change(id: &str, version: &Version, snapshot: &Snapshot, running: &Running) -> Change {
    match running.get(id) {
        None => Change::Start,
        Some(current) if current == version => Change::Keep,
        Some(from) => {
            let via = match snapshot.get(id, version).map(|definition| snapshot.way(&definition.manifest, from)) {
                Some(Way::Through { via }) => via,
                _ => Vec::new(),
            };
            Change::Replace { from: from.clone(), via }
        }
    }
}

/// Who of `chosen` needs this version, and what of it.
fn needed(id: &str, version: &Version, chosen: &BTreeMap<String, Version>, snapshot: &Snapshot) -> Vec<Need> {
    let mut needed = BTreeSet::new();
    for (other, its_version) in chosen.iter().filter(|(other, _)| *other != id) {
        let Some(definition) = snapshot.get(other, its_version) else { continue };
        let manifest = &definition.manifest;
        for need in manifest.dependencies.iter().filter(|need| need.required && need.id == id) {
            let (by, range) = (manifest.label(), need.version.to_string());
            needed.insert(Need { by, needs: id.to_owned(), range, capability: false });
        }
        for need in super::required_capabilities(manifest).filter(|need| super::offers(need, id, version, snapshot)) {
            let (by, range) = (manifest.label(), need.version.to_string());
            needed.insert(Need { by, needs: need.capability.clone(), range, capability: true });
        }
    }
    needed.into_iter().collect()
}
