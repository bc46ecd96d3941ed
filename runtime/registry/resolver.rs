//! What may run beside what. Pure: the same snapshot and the same running versions give the same answer.
//!
//! | question | function |
//! |---|---|
//! | what stands in the way of running this version | [`obstacles`] |
//! | which running modules break when these go or change their versions | [`dependents`] |
//! | what of it is a conflict | [`conflicting`] |
//! | the same, where versions stand by that may run again | [`obstacles_beside`], [`dependents_beside`] |
//! | where everything is once these take over as one | [`together`] |
//! | which registered modules lose the last version that they need | [`orphans`] |
//! | which circle of needs these would close | [`circles_beside`] |
//! | who is in a circle with this one | [`circle_of`] |
//! | in which order to start these | [`start_order`] |
//! | which of these can start while others are starting | [`Starts`] |
//! | which versions go together around those that are wanted | [`resolve`] |
//!
//! What is `required` must be there, of module dependencies and of capability requirements alike. A module that is not required may be
//! absent, but where it runs it runs in the range. Ranges are semver's: a
//! pre-release is in a range only if the range names a pre-release of the same version, and build metadata never counts.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use super::capabilities::Provider;
use super::{Definition, Snapshot};
use crate::manifest::{CapabilityRequirement, Dependency, Manifest};

mod circles;
mod obstacle;
mod order;
mod resolve;
mod routes;
mod standby;
mod starts;

#[cfg(test)]
pub(in crate::registry) mod tests;

pub use circles::{circle_of, circles_beside};
pub use obstacle::{Dependent, Obstacle};
pub use order::{Cycle, start_order};
pub use resolve::{Change, Chosen, Derivation, Fact, Need, Resolution, Unresolved, resolve};
pub use standby::{Placed, dependents_beside, obstacles_beside, together};
pub use starts::Starts;

use routes::taken;

/// The version of each running module, by id.
pub type Running = BTreeMap<String, Version>;

/// Everything that stands in the way of running `definition` beside `running`; empty: nothing does. Another version of
/// the same module is not in the way: this one would replace it.
#[must_use]
pub fn obstacles(definition: &Definition, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let manifest = &definition.manifest;
    let mut found = Vec::new();
    found.extend(dependencies(manifest, snapshot, running));
    found.extend(optional(manifest, snapshot, running));
    found.extend(requirements(manifest, snapshot, running));
    found.extend(conflicts(manifest, snapshot, running));
    let others = others(&manifest.id, snapshot, running);
    found.extend(sole(manifest, &others));
    found.extend(hosted(manifest, snapshot));
    found.extend(taken(manifest, &others));
    found
}

/// What a module uses of another one that runs beside it: itself, as a dependency, or a capability; the first that is declared.
#[must_use]
pub fn uses(user: &Manifest, other: &Manifest) -> Option<String> {
    let dependency = user.dependencies.iter().find(|need| need.id == other.id && need.version.matches(&other.version));
    dependency.map(|need| format!("`{}`", need.id)).or_else(|| {
        let needs = user.capabilities.iter().flat_map(|own| &own.requirements);
        let offered = |need: &&CapabilityRequirement| {
            other.capabilities.iter().any(|own| own.id == need.capability && need.version.matches(&own.version))
        };
        needs.clone().find(offered).map(|need| format!("the capability `{}`", need.capability))
    })
}

/// Of [`obstacles`] those that no other module could clear by starting: conflicts, taken paths, and what one module alone may offer.
#[must_use]
pub fn conflicting(definition: &Definition, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let mut found = obstacles(definition, snapshot, running);
    found.retain(Obstacle::is_conflict);
    found
}

/// Capabilities that one module alone may offer at a time. Who says who somebody is sees everybody's tokens: a second
/// module must not slip in beside the first.
const SOLE: [&str; 1] = ["authentication"];

fn sole(manifest: &Manifest, others: &[&Manifest]) -> Vec<Obstacle> {
    let offers = |manifest: &Manifest, capability: &str| manifest.capabilities.iter().any(|own| own.id == capability);
    let both = SOLE.into_iter().filter(|capability| offers(manifest, capability)).filter_map(|capability| {
        let owner = others.iter().find(|other| offers(other, capability))?;
        let (claimant, owner) = (manifest.label(), owner.label());
        Some(Obstacle::TakenCapability { claimant, owner, capability: capability.to_owned() })
    });
    both.collect()
}

/// What the application around the runtime offers itself: a module of the same capability would never be asked.
fn hosted<'a>(manifest: &'a Manifest, snapshot: &'a Snapshot) -> impl Iterator<Item = Obstacle> + 'a {
    let own = manifest.capabilities.iter().filter(|own| snapshot.hosted.contains_key(&own.id));
    own.map(|own| Obstacle::HostedCapability { claimant: manifest.label(), capability: own.id.clone() })
}

/// What becomes of modules: the version that each is at afterwards; `None`: it is gone.
pub type Moves = BTreeMap<String, Option<Version>>;

/// The move of one module alone.
#[must_use]
pub fn one_move(id: &str, after: Option<&Version>) -> Moves {
    Moves::from([(id.to_owned(), after.cloned())])
}

/// What runs after these moves.
#[must_use]
pub fn moved(running: &Running, moves: &Moves) -> Running {
    let mut then = running.clone();
    for (id, after) in moves {
        match after {
            Some(version) => then.insert(id.clone(), version.clone()),
            None => then.remove(id),
        };
    }
    then
}

/// The running modules that need something of those that move which these no longer give afterwards, or that can do without one of
/// them but not in that version. A module whose need is
/// not met now either is not among them, and neither is one that moves itself.
#[must_use]
pub fn dependents(moves: &Moves, snapshot: &Snapshot, running: &Running) -> Vec<Dependent> {
    let then = moved(running, moves);
    let mut found = Vec::new();
    let others = running.iter().filter(|(other, _)| !moves.contains_key(*other));
    let others = others.filter_map(|(other, version)| snapshot.get(other, version));
    for manifest in others.map(|definition| &definition.manifest) {
        let dependent = |needs: &str, range: &VersionReq| Dependent::new(manifest, needs, range);
        for need in manifest.dependencies.iter().filter(|need| !need.required && moves.contains_key(&need.id)) {
            if leaves_be(need, running) && !leaves_be(need, &then) {
                found.push(Dependent { optional: true, ..dependent(&need.id, &need.version) });
            }
        }
        for need in manifest.dependencies.iter().filter(|need| need.required && moves.contains_key(&need.id)) {
            let meets = |running: &Running| running.get(&need.id).is_some_and(|version| need.version.matches(version));
            if meets(running) && !meets(&then) {
                found.push(dependent(&need.id, &need.version));
            }
        }
        for need in required_capabilities(manifest) {
            let meets = |running| offered(need, &manifest.id, snapshot, running);
            if meets(running) && !meets(&then) {
                found.push(dependent(&need.capability, &need.version));
            }
        }
    }
    found
}

/// The registered definitions that could not run any more without `id@version`: it is the last registered version that
/// meets a dependency of theirs, or that offers a capability which they need. Versions of `id` itself are not among them.
#[must_use]
pub fn orphans(id: &str, version: &Version, snapshot: &Snapshot) -> Vec<Dependent> {
    let mut found = Vec::new();
    for manifest in snapshot.definitions().map(|definition| &definition.manifest).filter(|it| it.id != id) {
        let orphaned = |needs: &str, range: &VersionReq| Dependent::new(manifest, needs, range);
        for need in manifest.dependencies.iter().filter(|need| need.required && need.id == id) {
            let mut others = snapshot.versions(id).filter(|other| *other != version);
            if need.version.matches(version) && !others.any(|other| need.version.matches(other)) {
                found.push(orphaned(&need.id, &need.version));
            }
        }
        for need in required_capabilities(manifest).filter(|need| offers(need, id, version, snapshot)) {
            let hosted = snapshot.hosted.get(&need.capability).is_some_and(|own| need.version.matches(own));
            let mut others = snapshot.providers(&need.capability).iter().filter(|it| it.module != manifest.id);
            let is_other = |it: &Provider| (it.module.as_str(), &it.version) != (id, version);
            if !hosted && !others.any(|it| is_other(it) && need.version.matches(&it.capability_version)) {
                found.push(orphaned(&need.capability, &need.version));
            }
        }
    }
    found
}

/// The manifests of what runs, without module `id`. A version that is not in the snapshot says nothing.
fn others<'a>(id: &str, snapshot: &'a Snapshot, running: &Running) -> Vec<&'a Manifest> {
    let others = running.iter().filter(|(other, _)| *other != id);
    others.filter_map(|(other, version)| snapshot.get(other, version)).map(|definition| &definition.manifest).collect()
}

fn dependencies(manifest: &Manifest, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for need in manifest.dependencies.iter().filter(|need| need.required) {
        let module = manifest.label();
        let (needs, range) = (need.id.clone(), need.version.clone());
        let fitting = newest_fitting(snapshot, &need.id, &need.version);
        match running.get(&need.id) {
            Some(version) if need.version.matches(version) => {}
            Some(version) => {
                found.push(Obstacle::WrongVersionRunning { module, needs, range, running: version.clone(), fitting });
            }
            None => found.push(match fitting {
                Some(fitting) => Obstacle::DependencyNotRunning { module, needs, range, fitting },
                None => {
                    let registered = snapshot.versions(&need.id).cloned().collect();
                    Obstacle::MissingDependency { module, needs, range, registered }
                }
            }),
        }
    }
    found
}

/// Whether a module that is not required is absent or in its range.
fn leaves_be(need: &Dependency, running: &Running) -> bool {
    running.get(&need.id).is_none_or(|version| need.version.matches(version))
}

fn optional(manifest: &Manifest, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let others = manifest.dependencies.iter().filter(|need| !need.required && need.id != manifest.id);
    let wrong = others.filter(|need| !leaves_be(need, running)).filter_map(|need| {
        Some(Obstacle::WrongOptional {
            module: manifest.label(),
            takes: need.id.clone(),
            range: need.version.clone(),
            running: running.get(&need.id)?.clone(),
            fitting: newest_fitting(snapshot, &need.id, &need.version),
        })
    });
    wrong.collect()
}

fn newest_fitting(snapshot: &Snapshot, id: &str, range: &VersionReq) -> Option<Version> {
    let versions = snapshot.modules.get(id).into_iter().flatten();
    let fitting = versions.filter(|(version, _)| range.matches(version));
    super::versions::newest(fitting.map(|(version, definition)| (version, definition.seq))).cloned()
}

fn requirements(manifest: &Manifest, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let unmet = required_capabilities(manifest).filter(|need| !offered(need, &manifest.id, snapshot, running));
    unmet
        .map(|need| {
            let providers = snapshot.providers(&need.capability).iter().filter(|provider| {
                provider.module != manifest.id && need.version.matches(&provider.capability_version)
            });
            Obstacle::MissingCapability {
                module: manifest.label(),
                capability: need.capability.clone(),
                range: need.version.clone(),
                providers: providers.map(|provider| format!("{}@{}", provider.module, provider.version)).collect(),
            }
        })
        .collect()
}

fn required_capabilities(manifest: &Manifest) -> impl Iterator<Item = &CapabilityRequirement> {
    let needs = manifest.capabilities.iter().flat_map(|capability| &capability.requirements);
    let mut seen = Vec::new();
    // What the module offers itself it need not get from others.
    needs.filter(move |need| {
        let own = |need: &CapabilityRequirement| {
            let mut own = manifest.capabilities.iter();
            own.any(|own| own.id == need.capability && need.version.matches(&own.version))
        };
        let again = seen.contains(need);
        seen.push(*need);
        need.required && !again && !own(need)
    })
}

/// Whether a running module other than `id`, or the application around the runtime, offers what is needed.
fn offered(need: &CapabilityRequirement, id: &str, snapshot: &Snapshot, running: &Running) -> bool {
    if snapshot.hosted.get(&need.capability).is_some_and(|version| need.version.matches(version)) {
        return true;
    }
    let mut others = running.iter().filter(|(other, _)| *other != id);
    others.any(|(other, version)| offers(need, other, version, snapshot))
}

/// Whether this version of a module offers what is needed.
fn offers(need: &CapabilityRequirement, id: &str, version: &Version, snapshot: &Snapshot) -> bool {
    snapshot.providers(&need.capability).iter().any(|provider| {
        provider.module == id && provider.version == *version && need.version.matches(&provider.capability_version)
    })
}

fn conflicts(manifest: &Manifest, snapshot: &Snapshot, running: &Running) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for (id, version) in running.iter().filter(|(id, _)| **id != manifest.id) {
        let other = format!("{id}@{version}");
        if let Some(range) = declared(manifest, id, version) {
            found.push(Obstacle::Conflict {
                module: manifest.label(),
                running: other,
                declared_by_running: false,
                range,
            });
        } else if let Some(other_manifest) = snapshot.get(id, version).map(|definition| &definition.manifest)
            && let Some(range) = declared(other_manifest, &manifest.id, &manifest.version)
        {
            found.push(Obstacle::Conflict {
                module: manifest.label(),
                running: other,
                declared_by_running: true,
                range,
            });
        }
    }
    found
}

/// The range by which `manifest` declares a conflict with `id@version`; `None` inside: with any version.
fn declared(manifest: &Manifest, id: &str, version: &Version) -> Option<Option<VersionReq>> {
    let mut conflicts = manifest.conflicts.iter().filter(|conflict| conflict.id == id);
    let fits = |range: &Option<VersionReq>| range.as_ref().is_none_or(|range| range.matches(version));
    conflicts.find(|conflict| fits(&conflict.range)).map(|conflict| conflict.range.clone())
}
