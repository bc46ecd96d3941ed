use super::*;
use crate::admin::commands::{FoundCapability, FoundModule};
use crate::admin::repl::line;

/// `id@version state`, a line each.
fn inventory(rows: &str) -> Inventory {
    let row = |row: &str| {
        let (module, state) = row.trim().split_once(' ').expect("a state");
        let (id, version) = module.split_once('@').expect("a version");
        let offers = FoundCapability { id: format!("{id}.talk"), version: "1.0.0".into(), category: "social".into() };
        FoundModule {
            id: id.into(),
            version: version.into(),
            state: state.to_owned().into(),
            capabilities: vec![offers],
            asks: if id == "mailer" {
                ["system.network:*.x.org:443", "system.environment:HOME"].map(String::from).to_vec()
            } else {
                vec![]
            },
        }
    };
    Inventory(rows.trim().lines().map(row).collect())
}

const ROWS: &str = "
    greeter@1.0.0 standby
    greeter@1.1.0 active
    greeter@2.0.0 registered
    greeter-two@1.0.0 failed
    mailer@0.9.0 provisional
    archive@1.0.0 inactive";

fn completed(line: &str) -> Completion {
    complete(&line::definition(), &inventory(ROWS), line)
}

/// The line with each of its candidates in it.
fn check(line: &str, expected: &[&str]) {
    let Completion { start, offer } = completed(line);
    let Offer::Words(candidates) = offer else { panic!("{line}: {offer:?}") };
    let lines: Vec<_> = candidates.iter().map(|it| format!("{}{}", &line[..start], it.value)).collect();
    assert_eq!(lines, expected, "{line}");
}

#[test]
fn verbs_come_from_the_table_with_help_and_exit() {
    let Offer::Words(candidates) = completed("").offer else { panic!() };
    let found: Vec<_> = candidates.iter().map(|candidate| candidate.value.as_str()).collect();
    for verb in crate::admin::commands::verbs::VERBS {
        let expected = !matches!(verb.name, "serve" | "demo" | "repl" | "restore");
        assert_eq!(found.contains(&verb.name), expected, "{} in {found:?}", verb.name);
    }
    assert!(found.contains(&"help") && found.contains(&"exit"), "{found:?}");
    assert!(candidates.iter().all(|candidate| candidate.about.is_some()), "{candidates:?}");
    check("deac", &["deactivate"]);
    check("help deac", &["help deactivate"]);
    check("replug deac", &["replug deactivate"]);
    check("dance a", &[]);
}

#[test]
fn ids_are_those_that_the_verb_is_for() {
    check("deactivate ", &["deactivate greeter", "deactivate mailer"]);
    check("rollback g", &["rollback greeter"]);
    check("confirm ", &["confirm mailer"]);
    check("versions g", &["versions greeter", "versions greeter-two"]);
    check("activate ", &["activate archive", "activate greeter", "activate greeter-two"]);
    check("unregister m", &[]);
    check("--json show m", &["--json show mailer"]);
    check("deactivate greeter mai", &[]);
}

#[test]
fn an_id_that_is_typed_is_followed_by_its_versions() {
    check("activate gree", &["activate greeter", "activate greeter-two"]);
    check("activate greeter", &["activate greeter-two", "activate greeter@1.0.0", "activate greeter@2.0.0"]);
    check("activate greeter@", &["activate greeter@1.0.0", "activate greeter@2.0.0"]);
    check("activate greeter@2", &["activate greeter@2.0.0"]);
    check("show greeter@1.1", &["show greeter@1.1.0"]);
    check("unregister greeter@", &["unregister greeter@2.0.0"]);
    check("rollback greeter --to ", &["rollback greeter --to 1.0.0", "rollback greeter --to 2.0.0"]);
    check("rollback --to 1", &[]);
}

#[test]
fn a_word_is_whole_unless_a_version_can_follow() {
    let ends = |line| match completed(line).offer {
        Offer::Words(candidates) => candidates.iter().map(|candidate| candidate.ends).collect::<Vec<_>>(),
        offer @ Offer::Paths { .. } => panic!("{offer:?}"),
    };
    assert_eq!(
        (ends("activate arch"), ends("activate archive@"), ends("deactivate mail")),
        (vec![false], vec![true], vec![true])
    );
}

#[test]
fn options_come_once_and_their_values_after_a_space_or_a_sign() {
    check("activate greeter --s", &["activate greeter --strategy", "activate greeter --set"]);
    check("activate --strategy ", &["activate --strategy instant", "activate --strategy gradual"]);
    check("activate --strategy=g", &["activate --strategy=gradual"]);
    check("activate --strategy instant --s", &["activate --strategy instant --set"]);
    check("activate --strategy instant --st", &[]);
    check("activate --strategy instant arch", &["activate --strategy instant archive"]);
    check("find --capability g", &["find --capability greeter-two.talk", "find --capability greeter.talk"]);
    check("find --category ", &["find --category social"]);
    check("list ", &["list --json", "list --help"]);
}

#[test]
fn paths_are_folders_where_a_folder_is_meant() {
    for (line, start, typed) in [("register ./gr", 9, "./gr"), ("update \"my mo", 7, "my mo"), ("check ", 6, "")] {
        let offer = Offer::Paths { typed: typed.to_owned(), files: false };
        assert_eq!(completed(line), Completion { start, offer }, "{line}");
    }
}

#[test]
fn a_hint_says_what_comes_next() {
    let hint = |line| next(&line::definition(), line);
    assert_eq!(hint("activate "), "ID[@V] [--strategy instant|gradual] [--set ID[@V]] [--no-wait]");
    assert_eq!(hint("activate greeter --strategy "), "instant|gradual");
    assert_eq!(hint("activate greeter --strategy instant "), "[--set ID[@V]] [--no-wait]");
    assert_eq!(hint("rollback "), "ID [--to V] [--no-wait]");
    assert_eq!((hint(""), hint("act"), hint("activate gre"), hint("list ")), Default::default());
}

#[test]
fn a_runtime_that_has_nothing_leaves_the_words_of_the_definitions() {
    let empty = Inventory::default();
    let words = |line| complete(&line::definition(), &empty, line).offer;
    assert_eq!(words("activate "), Offer::Words(vec![]));
    assert!(matches!(words("activate --strategy "), Offer::Words(found) if found.len() == 2));
}

#[test]
fn permissions_are_those_that_the_module_asks_for_and_each_is_offered_once() {
    check("permissions ", &["permissions show", "permissions grant", "permissions narrow", "permissions deny"]);
    check("permissions grant m", &["permissions grant mailer"]);
    let (home, network) = ("system.environment:HOME", "system.network:*.x.org:443");
    for module in ["mailer", "mailer@0.9.0"] {
        let line = format!("permissions grant {module} ");
        check(&line, &[&format!("{line}{home}"), &format!("{line}{network}")]);
        let given = format!("{line}{home} ");
        check(&given, &[&format!("{given}{network}")]);
    }
    check("permissions deny mailer system.n", &[&format!("permissions deny mailer {network}")]);
    check("permissions grant greeter ", &[]);
    check("permissions grant mailer@1.0.0 ", &[]);
}
