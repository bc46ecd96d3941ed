//! The order in which modules start: what is needed before who needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Running, Snapshot, required_capabilities};
use crate::manifest::{CapabilityRequirement, Manifest};

/// Modules that need each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Cycle {
    /// The ids around the circle: each needs the next, the last is the first again.
    pub chain: Vec<String>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.chain.join(" -> ");
        write!(f, "modules need each other in a circle: {chain}; make one of these dependencies `required: false`")
    }
}

/// The order in which to start these versions: each module after those of them that it needs, otherwise by id; among what
/// could start next, modules wait for their optional dependencies as long as something else can go first. Of a capability
/// that several of them offer one is needed, and the others are such optional dependencies. What is not among them is not
/// looked at.
///
/// # Errors
/// [`Cycle`], always the same one for the same modules.
pub fn start_order(modules: &Running, snapshot: &Snapshot) -> Result<Vec<String>, Cycle> {
    let edges = Edges::of(modules, snapshot);
    let mut order = Vec::with_capacity(modules.len());
    let mut waiting: BTreeSet<&str> = modules.keys().map(String::as_str).collect();
    while !waiting.is_empty() {
        let waits = |other: &str| waiting.contains(other);
        let mut ready = waiting.iter().copied().filter(|id| edges.is_free(id, waits));
        let next = ready.clone().find(|id| edges.has_all(id, waits)).or_else(|| ready.next());
        let Some(next) = next else { return Err(edges.cycle(&waiting)) };
        waiting.remove(next);
        order.push(next.to_owned());
    }
    Ok(order)
}

/// A need that others of the modules meet: one of these has to start first.
pub(super) struct Group<'a> {
    pub(super) providers: BTreeSet<&'a str>,
    /// Where it is a capability that is needed.
    pub(super) capability: Option<CapabilityRequirement>,
}

/// Who must start before whom, and who should.
pub(super) struct Edges<'a> {
    needs: BTreeMap<&'a str, Vec<Group<'a>>>,
    wishes: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Edges<'a> {
    pub(super) fn of(modules: &'a Running, snapshot: &Snapshot) -> Self {
        let mut edges = Self { needs: BTreeMap::new(), wishes: BTreeMap::new() };
        for (id, version) in modules {
            let found = snapshot.get(id, version).map(|definition| of(&definition.manifest, modules, snapshot));
            let (needs, wishes) = found.unwrap_or_default();
            edges.needs.insert(id, needs);
            edges.wishes.insert(id, wishes);
        }
        edges
    }

    fn of_module(&self, id: &str) -> &[Group<'a>] {
        self.needs.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether all that a module needs is there, by who waits still.
    pub(super) fn is_free(&self, id: &str, waits: impl Fn(&str) -> bool) -> bool {
        self.of_module(id).iter().all(|group| group.providers.iter().any(|other| !waits(other)))
    }

    /// Whether all that it could do with is there.
    pub(super) fn has_all(&self, id: &str, waits: impl Fn(&str) -> bool) -> bool {
        self.wishes.get(id).is_none_or(|wishes| wishes.iter().all(|other| !waits(other)))
    }

    /// The modules that no order starts, where `founded` run already.
    pub(super) fn stuck(&self, founded: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let mut waiting: BTreeSet<&str> = self.needs.keys().copied().filter(|id| !founded.contains(id)).collect();
        loop {
            let free = waiting.iter().copied().filter(|id| self.is_free(id, |other| waiting.contains(other)));
            let free: Vec<&str> = free.collect();
            if free.is_empty() {
                return waiting;
            }
            for id in free {
                waiting.remove(id);
            }
        }
    }

    /// What keeps a module of `waiting` from starting: a need of which all that could meet it wait.
    fn blocked(&self, id: &str, waiting: &BTreeSet<&str>) -> Option<&Group<'a>> {
        self.of_module(id).iter().find(|group| group.providers.iter().all(|other| waiting.contains(other)))
    }

    /// The circle found from the first waiting id on. Each of `waiting` needs another of them, so walking on must come round.
    pub(super) fn cycle(&self, waiting: &BTreeSet<&str>) -> Cycle {
        let mut walked: Vec<&str> = Vec::new();
        let mut at = waiting.first().copied();
        while let Some(id) = at {
            if let Some(start) = walked.iter().position(|seen| *seen == id) {
                walked.drain(..start);
                walked.push(id);
                break;
            }
            walked.push(id);
            at = self.blocked(id, waiting).and_then(|group| group.providers.first().copied());
        }
        Cycle { chain: walked.into_iter().map(str::to_owned).collect() }
    }

    /// Modules of `waiting` that wait for nobody but each other, `first` among them, each with the need that it waits for.
    pub(super) fn deadlock(
        &self,
        first: &str,
        waiting: &BTreeSet<&str>,
    ) -> BTreeMap<String, Option<CapabilityRequirement>> {
        let (mut found, mut open) = (BTreeMap::new(), vec![first]);
        while let Some(id) = open.pop() {
            let Some(group) = self.blocked(id, waiting).filter(|_| !found.contains_key(id)) else { continue };
            found.insert(id.to_owned(), group.capability.clone());
            open.extend(group.providers.iter().copied());
        }
        found
    }

    /// Those on a circle with `id`: it needs them, directly or not, and they need it.
    pub(super) fn circle_of(&self, id: &str) -> BTreeSet<&'a str> {
        self.reach(id).into_iter().filter(|other| self.reach(other).contains(id)).collect()
    }

    fn reach(&self, from: &str) -> BTreeSet<&'a str> {
        let next = |of: &str| self.of_module(of).iter().flat_map(|group| group.providers.iter().copied());
        let (mut reached, mut open) = (BTreeSet::new(), next(from).collect::<Vec<_>>());
        while let Some(at) = open.pop() {
            if reached.insert(at) {
                open.extend(next(at));
            }
        }
        reached
    }
}

/// The needs of a module that others of `modules` meet, and whom of them it could do with.
pub(super) fn of<'a>(
    manifest: &Manifest,
    modules: &'a Running,
    snapshot: &Snapshot,
) -> (Vec<Group<'a>>, BTreeSet<&'a str>) {
    let (mut needs, mut wishes) = (Vec::new(), BTreeSet::new());
    let others = manifest.dependencies.iter().filter(|need| need.id != manifest.id);
    for need in others {
        let Some((other, version)) = modules.get_key_value(&need.id) else { continue };
        if need.required && need.version.matches(version) {
            needs.push(Group { providers: BTreeSet::from([other.as_str()]), capability: None });
        } else {
            wishes.insert(other.as_str());
        }
    }
    for need in required_capabilities(manifest) {
        let providers = snapshot.providers(&need.capability).iter();
        let fitting = providers.filter(|it| need.version.matches(&it.capability_version) && it.module != manifest.id);
        let chosen =
            fitting.filter_map(|it| modules.get_key_value(&it.module).filter(|(_, version)| **version == it.version));
        let providers: BTreeSet<&str> = chosen.map(|(other, _)| other.as_str()).collect();
        let hosted = snapshot.hosted.get(&need.capability).is_some_and(|version| need.version.matches(version));
        if providers.len() != 1 || hosted {
            wishes.extend(&providers);
        }
        if !providers.is_empty() && !hosted {
            needs.push(Group { providers, capability: Some(need.clone()) });
        }
    }
    (needs, wishes)
}
