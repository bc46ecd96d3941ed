//! Which versions go together.

use proptest::prelude::*;

use super::small::{IDS, Small, VERSIONS, boots, may_run, registered, universe};
use super::*;
use crate::registry::versions::ModuleRef;

fn wanted(text: &str) -> Vec<ModuleRef> {
    text.split_whitespace().map(|label| label.parse().unwrap()).collect()
}

/// What goes together around `wanted` beside `beside`: `id@version` in the order to activate them, what is kept in parentheses.
fn resolved(modules: &str, labels: &str, beside: &str) -> Result<String, String> {
    let found = resolve(&wanted(labels), &snapshot(modules), &running(beside));
    let found = found.map_err(|error| error.to_string())?;
    let shown = found.modules.iter().map(|chosen| match &chosen.change {
        Change::Keep => format!("({}@{})", chosen.id, chosen.version),
        Change::Start => format!("{}@{}", chosen.id, chosen.version),
        Change::Replace { from, via } => {
            let via: Vec<_> = via.iter().map(ToString::to_string).collect();
            format!("{}@{from}->{}", chosen.id, [via, vec![chosen.version.to_string()]].concat().join("->"))
        }
    });
    Ok(shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn what_is_needed_comes_along_in_the_newest_version_that_goes() {
    let modules = "app 1.0.0\ndependencies: [{ id: db, version: '^1' }, { id: extra, required: false }]\n\n\
                   db 1.0.0\n\ndb 1.2.0\ndependencies: [{ id: disk }]\n\ndb 2.0.0\n\ndisk 0.1.0\n\ndisk 0.2.0-rc.1\n\nextra 1.0.0";
    assert_eq!(resolved(modules, "app", "").unwrap(), "disk@0.1.0 db@1.2.0 app@1.0.0");
    assert_eq!(resolved(modules, "app", "db@1.0.0").unwrap(), "(db@1.0.0) app@1.0.0", "what runs stays");
    assert_eq!(resolved(modules, "app", "db@2.0.0").unwrap(), "disk@0.1.0 db@2.0.0->1.2.0 app@1.0.0", "or gives way");
    assert_eq!(resolved(modules, "db app", "").unwrap(), "disk@0.1.0 db@1.2.0 app@1.0.0");
}

#[test]
fn a_newer_version_gives_way_where_its_own_needs_cannot_be_met() {
    let modules = "app 1.0.0\ndependencies: [{ id: db }]\n\ndb 1.0.0\n\ndb 2.0.0\ndependencies: [{ id: gone }]\n\n\
                   db 1.5.0\nconflicts: [app]";
    assert_eq!(resolved(modules, "app", "").unwrap(), "db@1.0.0 app@1.0.0");
}

#[test]
fn of_several_providers_one_that_runs_is_taken() {
    let offers = "capabilities: [{ id: mail, version: 1.0.0 }]";
    let modules = format!(
        "app 1.0.0\ncapabilities: [{{ id: app, requirements: ['mail@^1'] }}]\n\na-mail 1.0.0\n{offers}\n\nb-mail 1.0.0\n{offers}"
    );
    assert_eq!(resolved(&modules, "app", "").unwrap(), "a-mail@1.0.0 app@1.0.0");
    assert_eq!(resolved(&modules, "app", "b-mail@1.0.0").unwrap(), "(b-mail@1.0.0) app@1.0.0");
    let hosted = Arc::new(BTreeMap::from([("mail".to_owned(), Version::new(1, 1, 0))]));
    let found = resolve(&wanted("app"), &snapshot(&modules).beside(hosted), &Running::new()).unwrap();
    assert_eq!(found.modules.len(), 1, "the host offers it: {found:?}");
}

#[test]
fn who_needs_what_is_told_of_each() {
    let modules = "app 1.0.0\ndependencies: [{ id: db, version: '^1' }]\n\ndb 1.0.0";
    let found = resolve(&wanted("app"), &snapshot(modules), &Running::new()).unwrap();
    let need = Need { by: "app@1.0.0".into(), needs: "db".into(), range: "^1".into(), capability: false };
    assert_eq!((&found.modules[0].needed, found.modules[1].needed.len()), (&vec![need], 0));
    assert_eq!(found.changes().count(), 2);
}

#[test]
fn a_version_that_cannot_follow_directly_goes_through_those_between() {
    let follow = r#"lifecycle: { updates: { compatibility: { "3.0.0": ">=2" }, migrationPaths: [{ from: "^1", via: [2.0.0], to: 3.0.0 }] } }"#;
    let never = "lifecycle: { updates: { supported: false } }";
    let modules = format!(
        "app 1.0.0\ndependencies: [{{ id: db, version: '>=3' }}]\n\ndb 1.0.0\n\ndb 2.0.0\n\ndb 3.0.0\n{follow}\n\ndb 4.0.0\n{never}"
    );
    assert_eq!(resolved(&modules, "app", "db@1.0.0").unwrap(), "db@1.0.0->2.0.0->3.0.0 app@1.0.0");
    assert_eq!(resolved(&modules, "app", "").unwrap(), "db@4.0.0 app@1.0.0");
    assert_eq!(
        resolved(&modules, "db@4.0.0", "db@1.0.0").unwrap_err(),
        "no versions go together: db@4.0.0 is to run; db@4.0.0 cannot follow db@1.0.0, by `lifecycle.updates` of its manifest"
    );
}

#[test]
fn a_way_that_cannot_be_gone_is_none() {
    let leads = r#"lifecycle: { updates: { compatibility: { "3.0.0": ">=2" }, migrationPaths: [{ from: "^1", via: [2.0.0], to: 3.0.0 }] } }"#;
    let app = "app 1.0.0\ndependencies: [{ id: db, version: '>=3' }]";
    let fails = |stop: &str, expected: &str| {
        let error = resolved(&format!("{app}\n\ndb 1.0.0\n\n{stop}db 3.0.0\n{leads}"), "app", "db@1.0.0").unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    fails("", "db@3.0.0 follows db@1.0.0 only by 2.0.0, of which 2.0.0 is not registered");
    fails(
        "db 2.0.0\nlifecycle: { updates: { supported: false } }\n\n",
        "db@3.0.0 follows db@1.0.0 only by 2.0.0, of which 2.0.0 cannot follow 1.0.0 by its own manifest",
    );
}

#[test]
fn needs_that_what_runs_lacks_already_are_not_demanded() {
    let modules = "app 1.0.0\ndependencies: [{ id: gone }]\n\nother 1.0.0";
    assert_eq!(resolved(modules, "other", "app@1.0.0").unwrap(), "(app@1.0.0) other@1.0.0");
    assert!(resolved(modules, "app", "app@1.0.0").is_err(), "but those of what is asked for are");
}

#[test]
fn what_does_not_go_together_is_derived_in_plain_words() {
    let fails = |modules: &str, labels: &str, beside: &str, expected: &str| {
        assert_eq!(resolved(modules, labels, beside).unwrap_err(), format!("no versions go together: {expected}"));
    };
    fails("app 1.0.0", "app@2.0.0", "", "app@2.0.0 is to run, and only 1.0.0 is registered");
    fails("app 1.0.0", "none", "", "`none` is to run, and no version of it is registered");
    fails(
        "app 1.0.0\ndependencies: [{ id: db, version: '^2' }]\n\ndb 1.0.0\n\ndb 1.1.0",
        "app",
        "",
        "`app` is to run; app@1.0.0 needs `db` in a version ^2, and only 1.0.0, 1.1.0 is registered",
    );
    fails(
        "app 1.0.0\ncapabilities: [{ id: app, requirements: ['mail@^1'] }]",
        "app",
        "",
        "`app` is to run; app@1.0.0 needs the capability `mail` in a version ^1, and no registered module offers it",
    );
    fails(
        "app 1.0.0\nconflicts: ['old@<2']\n\nold 1.0.0\n\nold 1.1.0",
        "app",
        "old@1.0.0",
        "`app` is to run; `old` runs and is to go on, in its version or another; app@1.0.0 cannot run beside `old` in each of its \
         versions 1.0.0, 1.1.0: its manifest declares a conflict with `old@<2`",
    );
    fails(
        "app 1.0.0\ndependencies: [{ id: db, version: '^2' }]\n\nold 1.0.0\ndependencies: [{ id: db, version: '^1' }]\n\ndb 1.0.0\n\ndb 2.0.0",
        "app",
        "old@1.0.0 db@1.0.0",
        "`app` is to run; `old` runs and is to go on, in its version or another; app@1.0.0 needs `db` in a version ^2, so db@2.0.0; \
         old@1.0.0 needs `db` in a version ^1, so db@1.0.0; one version of `db` runs at a time",
    );
    let serves = "apis: [{ path: '/api/{id}', methods: [GET] }]";
    fails(
        &format!("app 1.0.0\n{serves}\n\nother 1.0.0\n{serves}"),
        "app",
        "other@1.0.0",
        "`app` is to run; `other` runs and is to go on, in its version or another; app@1.0.0 cannot run beside other@1.0.0: both \
         serve GET /api/{id}",
    );
    let auth = "capabilities: [{ id: authentication }]";
    fails(
        &format!("app 1.0.0\n{auth}\n\nother 1.0.0\n{auth}"),
        "app",
        "other@1.0.0",
        "`app` is to run; `other` runs and is to go on, in its version or another; app@1.0.0 cannot run beside other@1.0.0: both \
         offer `authentication`, which only one module may offer at a time",
    );
}

#[test]
fn a_circle_is_told_as_such() {
    let modules = "a 1.0.0\ndependencies: [{ id: b }]\n\nb 1.0.0\ndependencies: [{ id: a }]";
    let error = resolved(modules, "a", "").unwrap_err();
    assert!(error.starts_with("modules need each other in a circle: a -> b -> a"), "{error}");
}

#[test]
fn an_older_set_without_a_circle_is_found() {
    let modules = "a 1.0.0\ndependencies: [{ id: b }]\n\nb 1.0.0\n\nb 2.0.0\ndependencies: [{ id: a }]";
    assert_eq!(resolved(modules, "a", "").unwrap(), "b@1.0.0 a@1.0.0");
    assert_eq!(resolved(modules, "a", "b@1.0.0").unwrap(), "(b@1.0.0) a@1.0.0");
    let offers = "capabilities: [{ id: x }]";
    let modules = format!(
        "a 1.0.0\ncapabilities: [{{ id: own, requirements: [x] }}]\n\nb 1.0.0\n{offers}\ndependencies: [{{ id: a }}]\n\nc 1.0.0\n{offers}"
    );
    assert_eq!(resolved(&modules, "a b", "").unwrap(), "c@1.0.0 a@1.0.0 b@1.0.0", "another provider");
    let modules = format!("{modules}\nconflicts: [a@1.0.0]\n\na 0.9.0");
    assert_eq!(
        resolved(&modules, "a", "").unwrap(),
        "a@0.9.0",
        "another provider of what nobody needs then is not taken"
    );
}

#[test]
fn a_circle_that_runs_already_keeps_no_other_module_from_being_resolved() {
    let modules = "a 1.0.0\ndependencies: [{ id: b }]\n\nb 1.0.0\ndependencies: [{ id: a }]\n\nc 1.0.0\ndependencies: [{ id: a }]\n\nd 1.0.0";
    assert_eq!(resolved(modules, "d", "a@1.0.0 b@1.0.0").unwrap(), "d@1.0.0 (a@1.0.0) (b@1.0.0)");
    assert_eq!(resolved(modules, "c", "a@1.0.0 b@1.0.0").unwrap(), "(a@1.0.0) (b@1.0.0) c@1.0.0");
    assert_eq!(resolved(modules, "a", "a@1.0.0 b@1.0.0").unwrap(), "(a@1.0.0) (b@1.0.0)");
}

#[test]
fn what_a_module_can_do_without_is_in_its_range_or_absent() {
    let modules = "app 1.0.0\ndependencies: [{ id: db, version: '^1', required: false }]\n\ndb 1.0.0\n\ndb 2.0.0\n\n\
                   old 1.0.0\ndependencies: [{ id: db }]\n\nnew 1.0.0\ndependencies: [{ id: db, version: '^2' }]";
    assert_eq!(resolved(modules, "app", "").unwrap(), "app@1.0.0");
    assert_eq!(
        resolved(modules, "app old", "").unwrap(),
        "app@1.0.0 db@1.0.0 old@1.0.0".replace("app@1.0.0 db@1.0.0", "db@1.0.0 app@1.0.0")
    );
    assert_eq!(
        resolved(modules, "app new", "").unwrap_err(),
        "no versions go together: `app` is to run; `new` is to run; app@1.0.0 cannot run beside db@2.0.0: its manifest takes `db` in a \
         version ^1 or not at all; new@1.0.0 needs `db` in a version ^2, so db@2.0.0"
    );
    assert_eq!(
        resolved(modules, "new", "app@1.0.0 db@2.0.0").unwrap(),
        "(db@2.0.0) (app@1.0.0) new@1.0.0",
        "it runs so already"
    );
}

/// All sets of versions of the universe, as indices of versions by module.
fn sets() -> impl Iterator<Item = Vec<Option<usize>>> {
    (0..256_usize).map(|n| (0..4).map(|id| (n >> (2 * id) & 3).checked_sub(1)).collect())
}

fn members<'a>(all: &'a [Small], set: &[Option<usize>]) -> Option<Vec<&'a Small>> {
    let chosen = set.iter().enumerate().filter_map(|(id, version)| version.map(|version| (id, version)));
    chosen.map(|(id, version)| all.iter().find(|it| (it.id, it.version) == (id, version))).collect()
}

fn goes(all: &[Small], set: &[Option<usize>]) -> bool {
    members(all, set).is_some_and(|members| members.iter().all(|one| may_run(one, &members)) && boots(&members))
}

fn label(id: usize, version: usize) -> (String, Version) {
    (IDS[id].to_owned(), Version::parse(VERSIONS[version]).unwrap())
}

fn as_running(set: &[Option<usize>]) -> Running {
    set.iter().enumerate().filter_map(|(id, version)| version.map(|version| label(id, version))).collect()
}

/// A module that is wanted, in this version or the newest that goes.
type Want = (usize, Option<usize>);

/// Whether this set goes, has what is wanted, and has everything of before in a version that may follow.
fn holds(all: &[Small], set: &[Option<usize>], wants: &[Want], before: &[Option<usize>]) -> bool {
    let follows = |one: &&Small| before[one.id].is_none_or(|from| one.may_follow(from));
    goes(all, set)
        && wants.iter().all(|(id, version)| set[*id].is_some() && (version.is_none() || set[*id] == *version))
        && set.iter().zip(before).all(|(now, then)| now.is_some() || then.is_none())
        && members(all, set).is_some_and(|members| members.iter().all(follows))
}

/// How far a version is from the best of its module: the one that runs, and then from the newest on. Of one that is wanted the newest is
/// the best.
fn distance(version: usize, runs: Option<usize>, is_wanted: bool) -> usize {
    if runs == Some(version) && !is_wanted { 0 } else { VERSIONS.len() - version }
}

fn check_found(
    all: &[Small],
    wants: &[Want],
    runs: &proptest::sample::Index,
    newest: bool,
) -> Result<(), TestCaseError> {
    let snapshot = registered(all);
    let alive: Vec<_> = sets().filter(|set| goes(all, set)).collect();
    let before = &alive[runs.index(alive.len())];
    let holds = |set: &[Option<usize>]| holds(all, set, wants, before);
    let wanted = wants.iter().map(|(id, version)| ModuleRef {
        id: IDS[*id].to_owned(),
        version: version.map(|version| label(*id, version).1),
    });
    let found = match resolve(&wanted.collect::<Vec<_>>(), &snapshot, &as_running(before)) {
        Ok(found) => found,
        Err(error) => {
            let missed = sets().find(|set| holds(set));
            prop_assert!(missed.is_none(), "{error}, but {missed:?} from {before:?}");
            return Ok(());
        }
    };
    let chosen: Running = found.modules.iter().map(|it| (it.id.clone(), it.version.clone())).collect();
    let set = sets().find(|set| as_running(set) == chosen).unwrap();
    prop_assert!(holds(&set), "{chosen:?} from {before:?}");
    let is_wanted = |id: usize| wants.iter().any(|want| want.0 == id);
    for (id, chosen) in found.modules.iter().filter_map(|it| Some((IDS.iter().position(|id| *id == it.id)?, it))) {
        let is_there = is_wanted(id) || before[id].is_some();
        prop_assert!(is_there || !chosen.needed.is_empty(), "{} for nothing", chosen.id);
    }
    // no set of the same modules is nearer to the best in one of them and as near in all others
    let distances = |set: &[Option<usize>]| -> Vec<Option<usize>> {
        let of = |(id, version): (usize, &Option<usize>)| version.map(|it| distance(it, before[id], is_wanted(id)));
        set.iter().enumerate().map(of).collect()
    };
    let ours = distances(&set);
    for other in sets().filter(|other| newest && *other != set && holds(other)) {
        let theirs = distances(&other);
        let is_same = theirs.iter().zip(&ours).all(|(theirs, ours)| theirs.is_some() == ours.is_some());
        let is_better = theirs.iter().zip(&ours).all(|(theirs, ours)| theirs <= ours);
        prop_assert!(!(is_same && is_better), "{other:?} is better than {set:?}, from {before:?} for {wants:?}");
    }
    Ok(())
}

/// One or two modules, each in a version of it or whichever goes.
fn wants() -> impl Strategy<Value = Vec<Want>> {
    proptest::collection::btree_map(0..4_usize, proptest::option::of(0..3_usize), 1..3)
        .prop_map(|wants| wants.into_iter().collect())
}

/// Whether each is of a version that is registered.
fn are_registered(all: &[Small], wants: &[Want]) -> bool {
    let is = |(id, version): &Want| all.iter().any(|it| it.id == *id && version.is_none_or(|want| want == it.version));
    wants.iter().all(is)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]
    #[test]
    fn the_newest_versions_are_found_exactly_when_a_set_of_them_goes_together(
        (all, _) in universe(false), wants in wants(), runs in any::<proptest::sample::Index>(),
    ) {
        prop_assume!(are_registered(&all, &wants));
        check_found(&all, &wants, &runs, true)?;
    }

    #[test]
    fn versions_are_found_around_circles_as_well(
        (all, _) in universe(true), wants in wants(), runs in any::<proptest::sample::Index>(),
    ) {
        prop_assume!(are_registered(&all, &wants));
        // after a circle the next best set is another one, not the nearest
        check_found(&all, &wants, &runs, false)?;
    }
}
