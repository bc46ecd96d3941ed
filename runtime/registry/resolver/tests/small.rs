//! Small universes of modules, and the rules again as plainly as possible.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

pub(super) const IDS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "2.0.0"];
const RANGES: [&str; 4] = ["*", "^1", ">=1.1.0", "=2.0.0"];
const PATHS: [&str; 6] = ["/p", "/p/q", "/p/{x}", "/p/{y}", "/{x}/q", "/p/{*rest}"];
const CAPABILITIES: [&str; 2] = ["x", "y"];

/// One module version of a small universe.
#[derive(Debug, Clone)]
pub(super) struct Small {
    pub(super) id: usize,
    pub(super) version: usize,
    /// The modules that it takes, each in a range, and whether it needs them.
    pub(super) needs: BTreeMap<usize, (usize, bool)>,
    conflicts: BTreeMap<usize, Option<usize>>,
    api: Option<(usize, bool)>,
    /// The capabilities that it offers, in its own version.
    pub(super) offers: BTreeSet<usize>,
    /// The capabilities that it takes, likewise.
    pub(super) wants: BTreeMap<usize, (usize, bool)>,
    /// Whether it says who somebody is, which one module alone may.
    sole: bool,
    /// The versions that it may follow.
    follows: Option<usize>,
}

impl Small {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{} {}", IDS[self.id], VERSIONS[self.version]);
        let needs = self.needs.iter().map(|(id, (range, required))| {
            format!("{{ id: {}, version: '{}', required: {required} }}", IDS[*id], RANGES[*range])
        });
        text += &format!("\ndependencies: [{}]", needs.collect::<Vec<_>>().join(", "));
        let conflicts = self.conflicts.iter().map(|(id, range)| match range {
            None => IDS[*id].to_owned(),
            Some(range) => format!("'{}@{}'", IDS[*id], RANGES[*range]),
        });
        text += &format!("\nconflicts: [{}]", conflicts.collect::<Vec<_>>().join(", "));
        if let Some((path, post)) = self.api {
            let method = if post { "POST" } else { "GET" };
            text += &format!("\napis: [{{ path: '{}', methods: [{method}] }}]", PATHS[path]);
        }
        let wants = self.wants.iter().map(|(capability, (range, required))| {
            let (capability, range) = (CAPABILITIES[*capability], RANGES[*range]);
            format!("{{ capability: {capability}, version: '{range}', required: {required} }}")
        });
        let own = format!("{{ id: own.{}, requirements: [{}] }}", IDS[self.id], wants.collect::<Vec<_>>().join(", "));
        let version = VERSIONS[self.version];
        let offers = self.offers.iter().map(|it| format!("{{ id: {}, version: {version} }}", CAPABILITIES[*it]));
        let sole = self.sole.then(|| "{ id: authentication }".to_owned());
        let capabilities: Vec<_> = std::iter::once(own).chain(offers).chain(sole).collect();
        text += &format!("\ncapabilities: [{}]", capabilities.join(", "));
        if let Some(range) = self.follows {
            text +=
                &format!("\nlifecycle: {{ updates: {{ compatibility: {{ \"{version}\": '{}' }} }} }}", RANGES[range]);
        }
        text
    }

    /// Whether it needs this one, as a module or for a capability.
    pub(super) fn needs_of(&self, other: &Self) -> bool {
        let as_module =
            self.needs.get(&other.id).is_some_and(|(range, required)| *required && in_range(*range, other.version));
        as_module || self.open_wants().any(|(capability, range)| other.gives(capability, range))
    }

    /// The capabilities that it must get from others.
    pub(super) fn open_wants(&self) -> impl Iterator<Item = (usize, usize)> {
        let required = self.wants.iter().filter(|(_, (_, required))| *required).map(|(it, (range, _))| (*it, *range));
        required.filter(|(capability, range)| !self.gives(*capability, *range))
    }

    pub(super) fn gives(&self, capability: usize, range: usize) -> bool {
        self.offers.contains(&capability) && in_range(range, self.version)
    }

    /// Whether its module may go on in it from this version.
    pub(super) fn may_follow(&self, from: usize) -> bool {
        from == self.version || self.follows.is_none_or(|range| in_range(range, from))
    }
}

/// Versions, and which of each module runs; `None`: none. Without circles a module needs those of higher ids alone.
pub(super) fn universe(circles: bool) -> impl Strategy<Value = (Vec<Small>, Vec<Option<usize>>)> {
    let small = move |id: usize, version: usize| {
        let needs = proptest::collection::btree_map(0..4_usize, (0..4_usize, any::<bool>()), 0..3);
        let conflicts = proptest::collection::btree_map(0..4_usize, proptest::option::of(0..4_usize), 0..2);
        let api = proptest::option::weighted(0.3, (0..PATHS.len(), any::<bool>()));
        let offers = proptest::collection::btree_set(0..2_usize, 0..2);
        let wants = proptest::collection::btree_map(0..2_usize, (0..4_usize, any::<bool>()), 0..2);
        let rest = (proptest::bool::weighted(0.15), proptest::option::weighted(0.2, 0..4_usize));
        let parts = (needs, conflicts, api, offers, wants, rest);
        parts.prop_map(move |(mut needs, mut conflicts, api, mut offers, mut wants, (sole, follows))| {
            needs.retain(|other, _| if circles { *other != id } else { *other > id });
            conflicts.retain(|other, _| *other != id && !needs.contains_key(other));
            if !circles {
                // whoever offers something needs nothing of that kind
                offers.retain(|_| id > 1);
                wants.retain(|_, _| id < 2);
            }
            Small { id, version, needs, conflicts, api, offers, wants, sole, follows }
        })
    };
    let all: Vec<_> = (0..12).map(|n| proptest::option::weighted(0.7, small(n / 3, n % 3))).collect();
    let all = all.prop_map(|found: Vec<Option<Small>>| found.into_iter().flatten().collect());
    (all, proptest::collection::vec(proptest::option::of(0..3_usize), 4))
}

fn in_range(range: usize, version: usize) -> bool {
    match RANGES[range] {
        "*" => true,
        "^1" => version < 2,
        ">=1.1.0" => version >= 1,
        _ => version == 2,
    }
}

/// Whether all that it must have is among these.
fn has_its_needs(one: &Small, running: &[&Small]) -> bool {
    let others = || running.iter().filter(|other| other.id != one.id);
    let modules = one.needs.iter().filter(|(_, (_, required))| *required);
    modules.into_iter().all(|(id, (range, _))| others().any(|other| other.id == *id && in_range(*range, other.version)))
        && one.open_wants().all(|(capability, range)| others().any(|other| other.gives(capability, range)))
}

/// The rules again, from the generated values rather than the manifests.
pub(super) fn may_run(one: &Small, running: &[&Small]) -> bool {
    let others: Vec<_> = running.iter().filter(|other| other.id != one.id).collect();
    let names = |a: &Small, b: &Small| {
        a.conflicts.get(&b.id).is_some_and(|range| range.is_none_or(|range| in_range(range, b.version)))
    };
    let one_router = |a: &str, b: &str| {
        let mut router = matchit::Router::new();
        router.insert(a, ()).unwrap();
        router.insert(b, ()).is_ok()
    };
    let takes = |other: &Small| one.needs.get(&other.id).is_none_or(|(range, _)| in_range(*range, other.version));
    has_its_needs(one, running)
        && others.iter().all(|other| {
            let apart = match (one.api, other.api) {
                (Some((a, post)), Some((b, other_post))) => post != other_post || one_router(PATHS[a], PATHS[b]),
                _ => true,
            };
            apart && takes(other) && !names(one, other) && !names(other, one) && !(one.sole && other.sole)
        })
}

/// Whether these can be started one after the other, each with what it needs there already. What none of them has is not waited for.
pub(super) fn boots(members: &[&Small]) -> bool {
    let waits_for = |one: &Small, started: &[&Small]| {
        let meets =
            |id: usize, range: usize, of: &[&Small]| of.iter().any(|it| it.id == id && in_range(range, it.version));
        let gets =
            |capability, range, of: &[&Small]| of.iter().any(|it| it.id != one.id && it.gives(capability, range));
        let mut modules = one.needs.iter().filter(|(_, (_, required))| *required);
        modules.any(|(id, (range, _))| meets(*id, *range, members) && !meets(*id, *range, started))
            || one.open_wants().any(|(it, range)| gets(it, range, members) && !gets(it, range, started))
    };
    let (mut waiting, mut started) = (members.to_vec(), Vec::new());
    while let Some(at) = waiting.iter().position(|one| !waits_for(one, &started)) {
        started.push(waiting.remove(at));
    }
    waiting.is_empty()
}

/// The snapshot of a universe.
pub(super) fn registered(all: &[Small]) -> Snapshot {
    let text: Vec<_> = all.iter().map(Small::text).collect();
    snapshot(&text.join("\n\n"))
}

/// Those that are chosen of each module.
pub(super) fn chosen_of<'a>(all: &'a [Small], chosen: &[Option<usize>]) -> Vec<&'a Small> {
    all.iter().filter(|it| chosen[it.id] == Some(it.version)).collect()
}

pub(super) fn versions_of(members: &[&Small]) -> Running {
    members.iter().map(|it| (IDS[it.id].to_owned(), VERSIONS[it.version].parse().unwrap())).collect()
}
