use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;

mod hosted;
mod newest;
mod properties;
mod resolve;
mod small;
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

#[test]
fn what_a_module_can_do_without_is_absent_or_in_its_range() {
    let modules =
        "app 1.0.0\ndependencies: [{ id: db, version: ^1, required: false }]\n\ndb 1.0.0\n\ndb 2.0.0\n\nother 1.0.0";
    check(modules, "app", "", &[]);
    check(modules, "app", "db@1.0.0", &[]);
    let wrong = "app@1.0.0 takes `db` in a version ^1 or not at all, but db@2.0.0 runs; activate db@1.0.0 first, or deactivate `db`";
    check(modules, "app", "db@2.0.0", &[wrong]);
    let modules = snapshot(modules);
    let told = |after: Option<Version>, beside: &str| -> Vec<String> {
        let found = dependents(&one_move("db", after.as_ref()), &modules, &running(beside));
        found.iter().map(ToString::to_string).collect()
    };
    let (two, takes) = (Some(Version::new(2, 0, 0)), "app@1.0.0 takes `db` in a version ^1 or not at all");
    assert_eq!(told(two.clone(), "app@1.0.0 db@1.0.0"), [takes]);
    assert_eq!(told(two.clone(), "app@1.0.0"), [takes]);
    assert_eq!(told(None, "app@1.0.0 db@1.0.0"), [""; 0], "it can do without");
    assert_eq!(told(two, "app@1.0.0 db@2.0.0"), [""; 0], "it is so already");
}

#[test]
fn the_last_version_that_offers_a_capability_is_needed_like_a_module() {
    let needs = "capabilities: [{ id: own, requirements: ['mail@^1'] }]";
    let mail = |version: &str| format!("capabilities: [{{ id: mail, version: {version} }}]");
    let modules = format!("app 1.0.0\n{needs}\n\npost 1.0.0\n{}\n\npost 2.0.0\n{}", mail("1.1.0"), mail("2.0.0"));
    let orphaned = |modules: &Snapshot, version: &str| -> Vec<String> {
        let found = orphans("post", &Version::parse(version).unwrap(), modules);
        found.iter().map(ToString::to_string).collect()
    };
    let alone = snapshot(&modules);
    assert_eq!(orphaned(&alone, "1.0.0"), ["app@1.0.0 needs `mail` in a version ^1"]);
    assert_eq!(orphaned(&alone, "2.0.0"), [""; 0]);
    let two = snapshot(&format!("{modules}\n\nother 1.0.0\n{}", mail("1.0.0")));
    assert_eq!(orphaned(&two, "1.0.0"), [""; 0], "another module offers it");
    let hosted = Arc::new(BTreeMap::from([("mail".to_owned(), Version::new(1, 0, 0))]));
    assert_eq!(orphaned(&alone.beside(hosted), "1.0.0"), [""; 0], "the host offers it");
}
