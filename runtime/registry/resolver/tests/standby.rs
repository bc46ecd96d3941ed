//! What stands by counts as well as what runs.

use super::*;

fn placed(beside: &str, standby: &str) -> Placed {
    Placed { running: running(beside), standby: running(standby) }
}

/// What stands in the way of `label` beside `beside` while `standby` stands by, one line each.
fn check(modules: &str, label: &str, (beside, standby): (&str, &str), expected: &[&str]) {
    let snapshot = snapshot(modules);
    let definition = snapshot.resolve(&label.parse().unwrap()).unwrap();
    let found = obstacles_beside(definition, &snapshot, &placed(beside, standby));
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn a_path_of_a_version_that_stands_by_is_taken() {
    let x = "apis: [{ path: /x, methods: [GET] }]";
    let modules = format!("o 1.0.0\n{x}\n\nr 1.0.0\n{x}\n\nr 1.1.0\n\nr 1.2.0\n{x}");
    let taken = "r@1.0.0 stands by until r@1.1.0 is confirmed, and if it returns, GET /x of o@1.0.0 is taken: \
                 r@1.0.0 serves it; confirm `r` first";
    check(&modules, "o", ("r@1.1.0", "r@1.0.0"), &[taken]);
    // once it is confirmed, nothing is in the way
    check(&modules, "o", ("r@1.1.0", ""), &[]);
    // where both have it, a confirmation would not help
    let both = "GET /x of o@1.0.0 is taken: r@1.2.0 serves it; \
                change the path in the manifest or deactivate `r` first";
    check(&modules, "o", ("r@1.2.0", "r@1.0.0"), &[both]);
    // its own module may have it again
    check(&modules, "r@1.2.0", ("r@1.1.0", "r@1.0.0"), &[]);
}

#[test]
fn what_only_an_unconfirmed_version_gives_cannot_be_relied_on_yet() {
    let gives = "capabilities: [{ id: c, version: 1.0.0 }]";
    let modules = format!(
        "app 1.0.0\ndependencies: [{{ id: r, version: '>=1.1' }}]\n\n\
         user 1.0.0\ncapabilities: [{{ id: u, version: 1.0.0, requirements: [{{ capability: c, version: '*' }}] }}]\n\n\
         r 1.0.0\n\nr 1.1.0\n{gives}"
    );
    let returns = "r@1.0.0 stands by until r@1.1.0 is confirmed, and if it returns, ";
    let wrong = format!("{returns}app@1.0.0 needs `r` in a version >=1.1, but r@1.0.0 runs; confirm `r` first");
    check(&modules, "app", ("r@1.1.0", "r@1.0.0"), &[&wrong]);
    check(&modules, "app", ("r@1.1.0", ""), &[]);
    let missing = format!(
        "{returns}user@1.0.0 needs the capability `c` in a version *, which no running module offers; confirm `r` first"
    );
    check(&modules, "user", ("r@1.1.0", "r@1.0.0"), &[&missing]);
}

#[test]
fn a_version_that_stands_by_counts_as_running_for_conflicts() {
    let modules = "o 1.0.0\nconflicts: ['r@<1.1']\n\nr 1.0.0\n\nr 1.1.0";
    let conflict = "r@1.0.0 stands by until r@1.1.0 is confirmed, and if it returns, o@1.0.0 cannot run beside r@1.0.0: \
                    the manifest of o@1.0.0 declares a conflict with `r@<1.1`; confirm `r` first";
    check(modules, "o", ("r@1.1.0", "r@1.0.0"), &[conflict]);
    check(modules, "o", ("r@1.1.0", ""), &[]);
}

#[test]
fn what_a_version_that_stands_by_needs_must_not_go() {
    let modules = snapshot("app 1.0.0\ndependencies: [{ id: db, version: ^1 }]\n\napp 2.0.0\n\ndb 1.0.0\n\ndb 2.0.0");
    let found = |after: Option<Version>, standby: &str| {
        let placed = placed("app@2.0.0 db@1.0.0", standby);
        let found = dependents_beside("db", after.as_ref(), &modules, &placed);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let needs = "app@1.0.0, which stands by until `app` is confirmed, needs `db` in a version ^1";
    assert_eq!(found(None, "app@1.0.0"), [needs]);
    assert_eq!(found(Some(Version::new(2, 0, 0)), "app@1.0.0"), [needs]);
    assert!(found(Some(Version::new(1, 0, 0)), "app@1.0.0").is_empty());
    assert!(found(None, "").is_empty());
}
