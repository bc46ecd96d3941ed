//! What stands by counts as well as what runs.

use proptest::prelude::*;

use super::small::IDS;
use super::*;

fn placed(beside: &str, standby: &str) -> Placed {
    Placed { running: running(beside), standby: running(standby), ..Placed::default() }
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
        let found = dependents_beside(&one_move("db", after.as_ref()), &modules, &placed);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let needs = "app@1.0.0, which stands by until `app` is confirmed, needs `db` in a version ^1";
    assert_eq!(found(None, "app@1.0.0"), [needs]);
    assert_eq!(found(Some(Version::new(2, 0, 0)), "app@1.0.0"), [needs]);
    assert!(found(Some(Version::new(1, 0, 0)), "app@1.0.0").is_empty());
    assert!(found(None, "").is_empty());
}

const OFFERS: &str = "capabilities: [{ id: x, version: 1.0.0 }]";
const NEEDS: &str = "capabilities: [{ id: own, requirements: ['x@*'] }]";

#[test]
fn who_runs_and_would_lack_a_capability_once_another_module_has_returned_is_told() {
    let modules = snapshot(&format!("a 1.0.0\n\na 2.0.0\n{OFFERS}\n\nb 1.0.0\n{OFFERS}\n\nc 1.0.0\n{NEEDS}"));
    let found = |standby: &str| {
        let found = dependents_beside(&one_move("b", None), &modules, &placed("a@2.0.0 b@1.0.0 c@1.0.0", standby));
        found.iter().map(|it| (it.to_string(), it.way_out().0, it.way_out().1.to_owned())).collect::<Vec<_>>()
    };
    let lost = "c@1.0.0 needs `x` in a version *, which no other module gives once a@1.0.0 is returned to".to_owned();
    assert_eq!(found("a@1.0.0"), [(lost, "confirm", "a".to_owned())]);
    assert_eq!(found(""), []);
}

#[test]
fn what_returns_together_must_not_take_a_capability_away() {
    let modules = format!("a 1.0.0\n\na 2.0.0\n{OFFERS}\n\nb 1.0.0\n\nb 2.0.0\n{OFFERS}\n\nc 1.0.0\n{NEEDS}");
    let lost = "a@1.0.0 stands by until a@2.0.0 is confirmed, and if it returns as well as b@1.0.0, c@1.0.0 needs the \
                capability `x` in a version *, which no running module offers; confirm `a` first";
    check(&modules, "c", ("a@2.0.0 b@2.0.0", "a@1.0.0 b@1.0.0"), &[lost]);
    // one of them that stays is enough
    check(&modules, "c", ("a@2.0.0 b@2.0.0", "b@1.0.0"), &[]);
}

#[test]
fn what_stands_by_must_find_a_capability_also_if_others_return_as_well() {
    let modules = format!(
        "a 1.0.0\n\na 2.0.0\n{OFFERS}\n\nb 1.0.0\n{OFFERS}\n\nb 2.0.0\n{OFFERS}\n\nc 1.0.0\n{NEEDS}\n\nc 2.0.0"
    );
    let modules = snapshot(&modules);
    let placed = placed("a@2.0.0 b@2.0.0 c@2.0.0", "a@1.0.0 c@1.0.0");
    let found = dependents_beside(&one_move("b", None), &modules, &placed);
    let lost = "c@1.0.0, which stands by until `c` is confirmed, needs `x` in a version *, which no other module gives \
                once a@1.0.0 is returned to";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [lost]);
    assert_eq!(found[0].way_out(), ("confirm", "c"));
}

/// A version of a small world: what it offers and needs of two capabilities, and which module it needs.
#[derive(Debug, Clone)]
struct One {
    offers: [bool; 2],
    needs: [bool; 2],
    module: Option<usize>,
    path: bool,
}

impl One {
    fn text(&self, id: &str, version: &str) -> String {
        let named = |of: [bool; 2]| ["x", "y"].into_iter().zip(of).filter(|(_, yes)| *yes).map(|(name, _)| name);
        let needs: Vec<_> = named(self.needs).collect();
        let offers: String = named(self.offers).map(|name| format!(", {{ id: {name}, version: 1.0.0 }}")).collect();
        let module = self.module.map(|at| IDS[at]).filter(|needed| *needed != id).unwrap_or_default();
        let module = if module.is_empty() { String::new() } else { format!("{{ id: {module}, version: ^1 }}") };
        let api = if self.path { "{ path: /p, methods: [GET] }" } else { "" };
        let needs = needs.join(", ");
        format!(
            "{id} {version}\ncapabilities: [{{ id: own.{id}, requirements: [{needs}] }}{offers}]\ndependencies: [{module}]\napis: [{api}]"
        )
    }
}

fn one() -> impl Strategy<Value = One> {
    let module = proptest::option::weighted(0.2, 0..4_usize);
    (any::<[bool; 2]>(), any::<[bool; 2]>(), module, proptest::bool::weighted(0.15))
        .prop_map(|(offers, needs, module, path)| One { offers, needs, module, path })
}

/// What may run once any of the modules but `id` have returned, nobody included; of a set all or none.
fn combinations(placed: &Placed, id: &str) -> Vec<Running> {
    let mut all = vec![placed.running.clone()];
    let alone = |other: &&String| *other != id && placed.sets.iter().all(|set| !set.contains(*other));
    let alone = placed.standby.keys().filter(alone).map(|other| BTreeSet::from([other.clone()]));
    for unit in alone.chain(placed.sets.iter().cloned()) {
        let mut returned = all.clone();
        let back = unit.iter().map(|other| (other.clone(), placed.standby.get(other).cloned())).collect();
        returned.iter_mut().for_each(|running| *running = moved(running, &back));
        all.extend(returned);
    }
    all
}

proptest! {
    #[test]
    fn what_is_told_of_returns_is_what_any_combination_of_them_shows(
        all in proptest::collection::vec((one(), one(), 0..3_u8), 4),
        (next, goes, joined) in (one(), any::<bool>(), any::<[bool; 4]>()),
    ) {
        let mut texts = vec![next.text("a", "3.0.0")];
        let mut placed = Placed::default();
        for (id, (before, now, place)) in IDS.iter().zip(&all) {
            texts.extend([before.text(id, "1.0.0"), now.text(id, "2.0.0")]);
            if *place > 0 {
                placed.running.insert((*id).to_owned(), Version::new(2, 0, 0));
            }
            if *place > 1 {
                placed.standby.insert((*id).to_owned(), Version::new(1, 0, 0));
            }
        }
        // of those that took over as one some may have nothing that stands by
        let joined = IDS.iter().zip(joined).filter(|(id, joined)| *joined && **id != "a" && placed.running.contains_key(**id));
        let set: BTreeSet<String> = joined.map(|(id, _)| (*id).to_owned()).collect();
        placed.sets.extend(Some(set).filter(|set| set.len() > 1));
        let snapshot = snapshot(&texts.join("\n\n"));
        let combinations = combinations(&placed, "a");
        let next = snapshot.get("a", &Version::new(3, 0, 0)).unwrap();
        let found = obstacles_beside(next, &snapshot, &placed);
        let is_free = combinations.iter().all(|running| obstacles(next, &snapshot, running).is_empty());
        prop_assert_eq!(found.is_empty(), is_free, "{:?}", found);

        let after = Some(Version::new(3, 0, 0)).filter(|_| !goes);
        let told = |dependent: &Dependent| (dependent.id.clone(), dependent.version.clone(), dependent.needs.clone());
        let found = dependents_beside(&one_move("a", after.as_ref()), &snapshot, &placed);
        let lacking = combinations.iter().flat_map(|running| dependents(&one_move("a", after.as_ref()), &snapshot, running));
        let expected: BTreeSet<_> = lacking.map(|it| told(&it)).collect();
        prop_assert_eq!(found.len(), expected.len(), "each is told once: {:?}", found);
        prop_assert_eq!(found.iter().map(told).collect::<BTreeSet<_>>(), expected);
    }
}
