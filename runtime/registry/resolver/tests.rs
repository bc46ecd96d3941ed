use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::registry::claims;

mod hosted;
mod newest;
mod resolve;
mod standby;
mod starts;

/// A snapshot of the modules written in a small form: a line `ID VERSION` begins one, further lines are parts of its
/// manifest.
pub(in crate::registry) fn snapshot(text: &str) -> Snapshot {
    let mut modules: BTreeMap<String, BTreeMap<Version, Arc<Definition>>> = BTreeMap::new();
    let mut seq = 0;
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (head, parts) = block.split_once('\n').unwrap_or((block, ""));
        let (id, version) = head.trim().split_once(' ').unwrap();
        let parts: Vec<_> = parts.lines().map(str::trim).collect();
        let manifest = format!("id: {id}\nname: {id}\nversion: {version}\n{}\n", parts.join("\n"));
        let loaded = crate::manifest::load("fixture", manifest.as_bytes()).unwrap_or_else(|faults| panic!("{faults}"));
        seq += 1;
        let definition = Definition {
            manifest: loaded.manifest,
            warnings: Vec::new(),
            digest: format!("{seq:064}"),
            registered_at: 0,
            seq,
            dir: PathBuf::new(),
            files: BTreeSet::new(),
        };
        let versions = modules.entry(id.to_owned()).or_default();
        versions.insert(definition.manifest.version.clone(), Arc::new(definition));
    }
    Snapshot::new(seq, modules, Vec::new())
}

fn running(text: &str) -> Running {
    let labels = text.split_whitespace().map(|label| label.split_once('@').unwrap());
    labels.map(|(id, version)| (id.to_owned(), Version::parse(version).unwrap())).collect()
}

fn found(snapshot: &Snapshot, label: &str, beside: &str) -> Vec<Obstacle> {
    obstacles(snapshot.resolve(&label.parse().unwrap()).unwrap(), snapshot, &running(beside))
}

/// What stands in the way of `label` beside `beside`, one line each.
fn check(modules: &str, label: &str, beside: &str, expected: &[&str]) {
    let shown: Vec<_> = found(&snapshot(modules), label, beside).iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected);
}

const APP: &str = "app 1.0.0\ndependencies: [{ id: db, version: '>=1.1' }, { id: extra, required: false }]";

#[test]
fn a_dependency_must_be_registered_running_and_in_range() {
    let with = |versions: &[&str]| {
        let others: Vec<_> = versions.iter().map(|version| format!("\n\ndb {version}")).collect();
        format!("{APP}{}", others.concat())
    };
    check(
        &with(&[]),
        "app",
        "",
        &["app@1.0.0 needs `db` in a version >=1.1, and no version of it is registered; register `db` first"],
    );
    check(
        &with(&["0.9.0", "1.0.0"]),
        "app",
        "",
        &["app@1.0.0 needs `db` in a version >=1.1, and only 0.9.0, 1.0.0 is registered; register one in that range"],
    );
    check(
        &with(&["1.0.0", "1.2.0", "1.10.0"]),
        "app",
        "",
        &["app@1.0.0 needs `db` in a version >=1.1, which does not run; activate db@1.10.0 first, \
           or app@1.0.0 together with it: --set db@1.10.0"],
    );
    check(
        &with(&["1.0.0", "1.2.0"]),
        "app",
        "db@1.0.0",
        &["app@1.0.0 needs `db` in a version >=1.1, but db@1.0.0 runs; activate db@1.2.0 first, \
           or app@1.0.0 together with it: --set db@1.2.0"],
    );
    check(
        &with(&["1.0.0"]),
        "app",
        "db@1.0.0",
        &["app@1.0.0 needs `db` in a version >=1.1, but db@1.0.0 runs; \
           register a version of `db` in that range and activate it first"],
    );
    check(&with(&["1.2.0"]), "app", "db@1.2.0", &[]);
    check(&with(&["1.2.0"]), "app", "db@1.2.0 extra@0.0.1", &[]);
}

#[test]
fn a_conflict_counts_whichever_side_declares_it() {
    let modules = "a 1.0.0\nconflicts: ['b@<2']\n\nb 1.0.0\n\nb 2.0.0\n\nc 1.0.0\nconflicts: [a]";
    check(
        modules,
        "a",
        "b@1.0.0",
        &[
            "a@1.0.0 cannot run beside b@1.0.0: the manifest of a@1.0.0 declares a conflict with `b@<2`; deactivate `b` first",
        ],
    );
    check(
        modules,
        "b@1.0.0",
        "a@1.0.0",
        &[
            "b@1.0.0 cannot run beside a@1.0.0: the manifest of a@1.0.0 declares a conflict with `b@<2`; deactivate `a` first",
        ],
    );
    check(
        modules,
        "a",
        "c@1.0.0",
        &[
            "a@1.0.0 cannot run beside c@1.0.0: the manifest of c@1.0.0 declares a conflict with `a`; deactivate `c` first",
        ],
    );
    check(modules, "a", "b@2.0.0", &[]);
    check(modules, "a", "a@0.9.0", &[]);
}

#[test]
fn a_path_that_another_module_serves_is_taken_on_the_same_method_only() {
    let modules = "a 1.0.0\nroutes: [{ path: '/x/{id}', component: X }]\napis: [{ path: /api/n, methods: [GET, POST] }]\n\n\
                   b 1.0.0\napis: [{ path: '/x/{name}', methods: [GET, PUT] }, { path: /api/n, methods: [DELETE] }]\n\n\
                   c 1.0.0\nroutes: [{ path: /x/fixed, component: C }]\napis: [{ path: /api/n, methods: [POST] }]";
    check(
        modules,
        "b",
        "a@1.0.0",
        &[
            "GET /x/{name} of b@1.0.0 is taken: a@1.0.0 serves /x/{id}; change the path in the manifest or deactivate `a` first",
        ],
    );
    check(
        modules,
        "c",
        "a@1.0.0 b@1.0.0",
        &[
            "POST /api/n of c@1.0.0 is taken: a@1.0.0 serves it; change the path in the manifest or deactivate `a` first",
        ],
    );
    check(modules, "a", "a@0.9.0", &[]);
}

#[test]
fn only_one_running_module_says_who_somebody_is() {
    let offers = "capabilities: [{ id: authentication, name: A, category: security }]";
    let modules = format!("auth 1.0.0\n{offers}\n\nauth 2.0.0\n{offers}\n\nmine 1.0.0\n{offers}");
    let taken = "mine@1.0.0 offers `authentication`, which only one module may offer at a time and auth@1.0.0 does; \
                 deactivate `auth` first";
    check(&modules, "mine", "auth@1.0.0", &[taken]);
    check(&modules, "mine", "", &[]);
    check(&modules, "auth@2.0.0", "auth@1.0.0", &[]);
}

#[test]
fn a_required_capability_must_be_offered_by_what_runs() {
    let modules = "a 1.0.0\ncapabilities: [{ id: a.own, requirements: ['mail@^2', a.own, { capability: x, required: false }] }]\n\n\
                   m 1.0.0\ncapabilities: [{ id: mail, version: 1.0.0 }]\n\nm 2.0.0\ncapabilities: [{ id: mail, version: 2.1.0 }]";
    check(
        modules,
        "a",
        "m@1.0.0",
        &[
            "a@1.0.0 needs the capability `mail` in a version ^2, which no running module offers; activate m@2.0.0 first, \
             or a@1.0.0 together with it: --set m@2.0.0",
        ],
    );
    check(modules, "a", "m@2.0.0", &[]);
    check(
        modules.split("\n\n").next().unwrap(),
        "a",
        "",
        &[
            "a@1.0.0 needs the capability `mail` in a version ^2, which no running module offers; register a module that offers it",
        ],
    );
    let shown = |after: Option<Version>| -> Vec<String> {
        let found = dependents(&one_move("m", after.as_ref()), &snapshot(modules), &running("a@1.0.0 m@2.0.0"));
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(None), ["a@1.0.0 needs `mail` in a version ^2"]);
    assert_eq!(shown(Some(Version::new(1, 0, 0))), ["a@1.0.0 needs `mail` in a version ^2"]);
    assert_eq!(shown(Some(Version::new(2, 0, 0))), [""; 0]);
}

#[test]
fn dependents_are_those_that_a_change_would_break() {
    let modules =
        format!("{APP}\n\ndb 1.0.0\n\ndb 1.2.0\n\nother 1.0.0\ndependencies: [{{ id: db, required: false }}]");
    let modules = snapshot(&modules);
    let shown = |after: Option<&str>, beside: &str| -> Vec<String> {
        let after = after.map(|version| Version::parse(version).unwrap());
        let found = dependents(&one_move("db", after.as_ref()), &modules, &running(beside));
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(None, "app@1.0.0 db@1.2.0 other@1.0.0"), ["app@1.0.0 needs `db` in a version >=1.1"]);
    assert_eq!(shown(Some("1.0.0"), "app@1.0.0 db@1.2.0"), ["app@1.0.0 needs `db` in a version >=1.1"]);
    assert_eq!(shown(Some("1.3.0"), "app@1.0.0 db@1.2.0"), [""; 0]);
    assert_eq!(shown(None, "app@1.0.0 db@1.0.0"), [""; 0], "it is broken already");
    assert_eq!(shown(None, "db@1.2.0"), [""; 0], "it does not run");
    let orphaned = |version: &str| orphans("db", &Version::parse(version).unwrap(), &modules).len();
    assert_eq!((orphaned("1.2.0"), orphaned("1.0.0")), (1, 0));
}

#[test]
fn modules_start_after_what_they_need() {
    let modules = "a 1.0.0\ndependencies: [{ id: z }]\n\nb 1.0.0\ndependencies: [{ id: y, required: false }]\n\n\
                   y 1.0.0\ncapabilities: [{ id: y.it, requirements: [power] }]\n\nz 1.0.0\ncapabilities: [{ id: power }]";
    let order = start_order(&running("a@1.0.0 b@1.0.0 y@1.0.0 z@1.0.0"), &snapshot(modules)).unwrap();
    assert_eq!(order, ["z", "a", "y", "b"]);
}

#[test]
fn a_circle_is_named_and_an_optional_one_is_none() {
    let modules = "a 1.0.0\ndependencies: [{ id: b }]\n\nb 1.0.0\ndependencies: [{ id: c }]\n\nc 1.0.0\ndependencies: [{ id: b }]";
    let cycle = start_order(&running("a@1.0.0 b@1.0.0 c@1.0.0"), &snapshot(modules)).unwrap_err();
    assert_eq!(cycle.chain, ["b", "c", "b"]);
    assert!(cycle.to_string().starts_with("modules need each other in a circle: b -> c -> b;"));
    let optional = "b 1.0.0\ndependencies: [{ id: c }]\n\nc 1.0.0\ndependencies: [{ id: b, required: false }]";
    assert_eq!(start_order(&running("b@1.0.0 c@1.0.0"), &snapshot(optional)).unwrap(), ["c", "b"]);
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "2.0.0"];
const RANGES: [&str; 4] = ["*", "^1", ">=1.1.0", "=2.0.0"];
const PATHS: [&str; 6] = ["/p", "/p/q", "/p/{x}", "/p/{y}", "/{x}/q", "/p/{*rest}"];

/// One module version of a small universe.
#[derive(Debug, Clone)]
struct Small {
    id: usize,
    version: usize,
    needs: BTreeMap<usize, (usize, bool)>,
    conflicts: BTreeMap<usize, Option<usize>>,
    api: Option<(usize, bool)>,
}

impl Small {
    fn text(&self) -> String {
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
        text
    }
}

fn universe() -> impl Strategy<Value = (Vec<Small>, Vec<Option<usize>>)> {
    let small = |id: usize, version: usize| {
        let needs = proptest::collection::btree_map(0..4_usize, (0..4_usize, any::<bool>()), 0..3);
        let conflicts = proptest::collection::btree_map(0..4_usize, proptest::option::of(0..4_usize), 0..2);
        let api = proptest::option::of((0..PATHS.len(), any::<bool>()));
        (needs, conflicts, api).prop_map(move |(mut needs, mut conflicts, api)| {
            needs.remove(&id);
            conflicts.retain(|other, _| *other != id && !needs.contains_key(other));
            Small { id, version, needs, conflicts, api }
        })
    };
    let all: Vec<_> = (0..12).map(|n| proptest::option::weighted(0.7, small(n / 3, n % 3))).collect();
    let all = all.prop_map(|found: Vec<Option<Small>>| found.into_iter().flatten().collect());
    (all, proptest::collection::vec(proptest::option::of(0..3_usize), 4))
}

/// The rules again, as plainly as possible and from the generated values rather than the manifests.
fn may_run(one: &Small, running: &[&Small]) -> bool {
    let in_range = |range: usize, version: usize| match RANGES[range] {
        "*" => true,
        "^1" => version < 2,
        ">=1.1.0" => version >= 1,
        _ => version == 2,
    };
    let others: Vec<_> = running.iter().filter(|other| other.id != one.id).collect();
    let names = |a: &Small, b: &Small| {
        a.conflicts.get(&b.id).is_some_and(|range| range.is_none_or(|range| in_range(range, b.version)))
    };
    let one_router = |a: &str, b: &str| {
        let mut router = matchit::Router::new();
        router.insert(a, ()).unwrap();
        router.insert(b, ()).is_ok()
    };
    one.needs.iter().all(|(id, (range, required))| {
        !required || others.iter().any(|other| other.id == *id && in_range(*range, other.version))
    }) && others.iter().all(|other| {
        let apart = match (one.api, other.api) {
            (Some((a, post)), Some((b, other_post))) => post != other_post || one_router(PATHS[a], PATHS[b]),
            _ => true,
        };
        apart && !names(one, other) && !names(other, one)
    })
}

proptest! {
    #[test]
    fn there_are_no_obstacles_exactly_when_the_plain_rules_hold((all, chosen) in universe()) {
        let text: Vec<_> = all.iter().map(Small::text).collect();
        let snapshot = snapshot(&text.join("\n\n"));
        let runs = |small: &&Small| chosen[small.id] == Some(small.version);
        let running_small: Vec<_> = all.iter().filter(runs).collect();
        let running: Running = running_small.iter().map(|it| (IDS[it.id].to_owned(), VERSIONS[it.version].parse().unwrap())).collect();
        for small in &all {
            let definition = snapshot.get(IDS[small.id], &VERSIONS[small.version].parse().unwrap()).unwrap();
            let obstacles = obstacles(definition, &snapshot, &running);
            prop_assert_eq!(obstacles.is_empty(), may_run(small, &running_small), "{:?}", obstacles);
        }
    }

    #[test]
    fn dependents_are_exactly_those_that_get_a_new_obstacle((all, chosen) in universe(), id in 0..4_usize, after in proptest::option::of(0..3_usize)) {
        let text: Vec<_> = all.iter().map(Small::text).collect();
        let snapshot = snapshot(&text.join("\n\n"));
        let running: Running = all.iter().filter(|it| chosen[it.id] == Some(it.version))
            .map(|it| (IDS[it.id].to_owned(), VERSIONS[it.version].parse().unwrap())).collect();
        let mut then = running.clone();
        then.remove(IDS[id]);
        let after: Option<Version> = after.map(|version| VERSIONS[version].parse().unwrap());
        then.extend(after.clone().map(|version| (IDS[id].to_owned(), version)));
        let found: BTreeSet<_> = dependents(&one_move(IDS[id], after.as_ref()), &snapshot, &running).into_iter().map(|it| it.id).collect();
        let lacks = |other: &str, version: &Version, running: &Running| {
            let needs = dependencies(&snapshot.get(other, version).unwrap().manifest, &snapshot, running);
            needs.iter().any(|it| match it {
                Obstacle::MissingDependency { needs, .. } | Obstacle::DependencyNotRunning { needs, .. }
                | Obstacle::WrongVersionRunning { needs, .. } => needs == IDS[id],
                _ => false,
            })
        };
        let expected: BTreeSet<_> = running.iter().filter(|(other, _)| *other != IDS[id])
            .filter(|(other, version)| !lacks(other, version, &running) && lacks(other, version, &then))
            .map(|(other, _)| other.clone()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_order_respects_dependencies_or_there_is_a_circle((all, chosen) in universe()) {
        let text: Vec<_> = all.iter().map(Small::text).collect();
        let snapshot = snapshot(&text.join("\n\n"));
        let started: Vec<_> = all.iter().filter(|it| chosen[it.id] == Some(it.version)).collect();
        let modules: Running = started.iter().map(|it| (IDS[it.id].to_owned(), VERSIONS[it.version].parse().unwrap())).collect();
        let needs = |id: &str, other: &str| {
            let one = started.iter().find(|it| IDS[it.id] == id).unwrap();
            one.needs.iter().any(|(need, (_, required))| *required && IDS[*need] == other)
        };
        match start_order(&modules, &snapshot) {
            Ok(order) => {
                let ids: BTreeSet<_> = order.iter().cloned().collect();
                prop_assert!(order.len() == modules.len() && ids.iter().eq(modules.keys()));
                for (at, id) in order.iter().enumerate() {
                    prop_assert!(order[at..].iter().all(|later| !needs(id, later)), "{:?}", order);
                }
            }
            Err(Cycle { chain }) => {
                prop_assert!(chain.len() > 2 && chain.first() == chain.last());
                prop_assert!(chain.windows(2).all(|pair| needs(&pair[0], &pair[1])), "{:?}", chain);
            }
        }
    }

    #[test]
    fn paths_that_do_not_clash_fit_one_router_in_any_order(paths in proptest::collection::vec("(/(p|q|\\{x\\}|\\{y\\}|p\\{x\\})){1,3}(/\\{\\*r\\})?", 1..6)) {
        let valid = |path: &String| matchit::Router::new().insert(path.as_str(), ()).is_ok();
        let mut kept: Vec<String> = Vec::new();
        for path in paths.into_iter().filter(valid) {
            for other in &kept {
                prop_assert_eq!(claims::clash(&path, other), claims::clash(other, &path), "{} {}", path, other);
            }
            if kept.iter().all(|other| !claims::clash(&path, other)) {
                kept.push(path);
            }
        }
        let mut router = matchit::Router::new();
        for path in &kept {
            prop_assert!(router.insert(path.as_str(), ()).is_ok(), "{} among {:?}", path, kept);
        }
    }
}
