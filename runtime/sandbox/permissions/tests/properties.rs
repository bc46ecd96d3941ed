//! What holds for all permissions.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::decisions::{Decision, Decisions, effective};
use super::*;
use crate::manifest::{
    Access, ConfigurationPermission, DatabasePermission, FilesystemPermission, NetworkPermission, Permissions,
};

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write)]
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "(\\*\\.)?([ab]\\.){0,2}(x|y)\\.org",
        "(\\*\\.)?[a-z0-9_]{1,9}",
        Just("10.0.0.7".to_owned()),
        Just("::1".to_owned()),
        Just("*.0.0.7".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof!["(/(a|b|\\{id\\})){1,3}(/\\*)?", "/[a-z!$&'()+,;=:@~]{1,6}(/\\*)?", Just("/*".to_owned())]
        .prop_filter("a path", |path| crate::manifest::is_path_pattern(path))
}

fn file() -> impl Strategy<Value = String> {
    prop_oneof!["(a|b|ab)(/(a|b|ab)){0,2}", "[a-zA-Z0-9 ,#\"'{}!@*-]{0,6}[a-z]", "(true|null|1|é/ü)"]
        .prop_filter("a path", |path| crate::manifest::is_data_path(path))
}

fn resource() -> impl Strategy<Value = ResourceType> {
    (0..ResourceType::ALL.len()).prop_map(|index| ResourceType::ALL[index])
}

fn any_permission() -> impl Strategy<Value = Permission> {
    let id = || "[a-c]{1,2}(\\.[a-c-]{1,2}){0,1}";
    prop_oneof![
        (prop_oneof![Just("caller".to_owned()), id()], access())
            .prop_map(|(module, access)| Permission::Database { module, access }),
        (file(), access()).prop_map(|(path, access)| Permission::Filesystem { path, access }),
        (host(), prop_oneof![Just(443_u16), 1..=u16::MAX]).prop_map(|(host, port)| Permission::Network { host, port }),
        "[A-Z_][A-Z0-9_]{0,5}".prop_map(Permission::Environment),
        path().prop_map(Permission::Route),
        path().prop_map(Permission::Api),
        "[A-Z][a-zA-Z0-9_.-]{0,5}".prop_map(Permission::Component),
        (id(), "[a-z_][a-z.-]{0,4}").prop_map(|(module, key)| Permission::Configuration { module, key }),
        (resource(), prop_oneof![0..300_u64 << 20, any::<u64>()])
            .prop_map(|(resource, amount)| Permission::Quota { resource, amount }),
    ]
    .prop_filter("an amount that can be written", |permission| match permission {
        Permission::Quota { resource, amount } => resource.read(&resource.spelled(*amount)) == Some(*amount),
        _ => true,
    })
}

/// A manifest that asks for these.
fn asking(all: &[Permission]) -> Manifest {
    let mut manifest = module("1.0.0", "");
    let Permissions { system, application, .. } = &mut manifest.permissions;
    for permission in all.iter().cloned() {
        match permission {
            Permission::Database { module, access } => system.database.push(DatabasePermission { module, access }),
            Permission::Filesystem { path, access } => system.filesystem.push(FilesystemPermission { path, access }),
            Permission::Network { host, port } => system.network.push(NetworkPermission { host, ports: vec![port] }),
            Permission::Environment(name) => system.environment.push(name),
            Permission::Route(path) => application.routes.push(path),
            Permission::Api(path) => application.apis.push(path),
            Permission::Component(id) => application.components.push(id),
            Permission::Configuration { module, key } => {
                application.configurations.push(ConfigurationPermission { module, keys: vec![key] });
            }
            Permission::Quota { .. } => {}
        }
    }
    for permission in all {
        if let Permission::Quota { resource, amount } = permission {
            resource.set(&mut manifest.permissions, *amount);
        }
    }
    manifest
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Granted), Just(Verdict::Denied), vec(any_permission(), 0..3).prop_map(Verdict::Narrowed),]
}

fn made(verdict: Verdict) -> Decision {
    Decision { verdict, who: Who::Admin, at: 1 }
}

/// Everything that the texts of `all` name is allowed by `outer` if it is by `inner`.
fn within(inner: &Grants, outer: &Grants, all: &[Permission]) -> Result<(), TestCaseError> {
    for permission in all {
        let allowed = inner.permit("f", permission).is_ok();
        prop_assert!(!allowed || outer.permit("f", permission).is_ok(), "{} is new", permission);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_text_is_read_back_as_the_permission_that_it_is_of(permission in any_permission()) {
        prop_assert_eq!(permission.to_string().parse(), Ok(permission));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "(system|application|resources)?\\.?[a-z.]{0,12}[:=]?\\PC{0,20}", any in "\\PC{0,40}") {
        for text in [text, any] {
            if let Ok(permission) = text.parse::<Permission>() {
                prop_assert_eq!(permission.to_string().parse(), Ok(permission));
            }
        }
    }

    #[test]
    fn what_two_permissions_both_allow_is_held_by_each_and_by_no_less(a in any_permission(), b in any_permission(), c in any_permission()) {
        prop_assert!(a.covers(&a));
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        if let Some(both) = a.meet(&b) {
            prop_assert!(a.covers(&both) && b.covers(&both));
        }
        if a.covers(&b) && b.covers(&a) {
            prop_assert_eq!(&a, &b);
        }
        if a.covers(&b) && b.covers(&c) {
            prop_assert!(a.covers(&c), "{} {} {}", a, b, c);
        }
        if a.covers(&c) && b.covers(&c) {
            prop_assert!(a.meet(&b).is_some_and(|both| both.covers(&c)), "{} {} {}", a, b, c);
        }
    }

    #[test]
    fn the_line_that_a_refusal_names_asks_for_what_was_refused(permission in any_permission()) {
        let is_quota = matches!(permission, Permission::Quota { .. });
        if !is_quota {
            let manifest = read(&format!("id: m\nversion: 1.0.0\n{}\n", permission.asking()));
            let asked = asked::asked(&manifest);
            prop_assert!(asked.iter().any(|it| it.permission == permission && it.line == Some(3)), "{}", permission.asking());
        }
    }

    #[test]
    fn what_is_given_is_never_more_than_what_is_asked_for(
        all in vec(any_permission(), 0..6),
        decided in vec((any_permission(), verdict()), 0..6),
        verdicts in vec(verdict(), 6),
    ) {
        let manifest = asking(&all);
        let mut decisions = Decisions::default();
        for (permission, verdict) in decided.into_iter().chain(all.iter().cloned().zip(verdicts)) {
            decisions.decide(permission, made(verdict));
        }
        let ruled = decisions.rule(&manifest);
        for it in &ruled {
            for given in &it.given {
                prop_assert!(it.asked.permission.covers(given), "{} of {}", given, it.asked.permission);
            }
            let nothing_asked = !it.asked.needs_grant || decisions.about(&it.asked.permission).is_some();
            prop_assert_eq!(it.standing == Standing::Waiting, !nothing_asked);
        }
        let left = effective(&manifest, &ruled);
        for resource in ResourceType::ALL {
            let asked = resource.amount(&manifest, &manifest.permissions);
            prop_assert!(resource.amount(&manifest, &left) <= asked);
        }
        let given: Vec<_> = ruled.iter().flat_map(|it| it.given.clone()).collect();
        let whole = Grants::compile(&manifest, &manifest.permissions);
        within(&Grants::compile(&manifest, &left), &whole, &[all, given].concat())?;
    }

    #[test]
    fn narrowing_and_denying_never_widen(
        all in vec(any_permission(), 1..5),
        parts in vec(any_permission(), 0..4),
        which in 0..5_usize,
        denies: bool,
    ) {
        let manifest = asking(&all);
        let mut decisions = Decisions::default();
        for permission in &all {
            decisions.decide(permission.clone(), made(Verdict::Granted));
        }
        let rules = |decisions: &Decisions| Grants::compile(&manifest, &effective(&manifest, &decisions.rule(&manifest)));
        let before = rules(&decisions);
        let verdict = if denies { Verdict::Denied } else { Verdict::Narrowed(parts.clone()) };
        decisions.decide(all[which % all.len()].clone(), made(verdict));
        within(&rules(&decisions), &before, &[all, parts].concat())?;
    }

    #[test]
    fn compiled_rules_allow_what_the_permissions_cover(all in vec(any_permission(), 0..5), used in any_permission()) {
        let concrete = match &used {
            Permission::Network { host, .. } => !host.contains('*'),
            Permission::Route(path) | Permission::Api(path) => !path.contains(['*', '{']),
            Permission::Quota { .. } => false,
            _ => true,
        };
        // a parameter in a path stands for more than the text that it is
        let plain = all.iter().all(|it| !matches!(it, Permission::Route(path) | Permission::Api(path) if path.contains('{')));
        if concrete && plain {
            let manifest = asking(&all);
            let grants = Grants::compile(&manifest, &manifest.permissions);
            let covered = all.iter().any(|it| it.covers(&used));
            prop_assert_eq!(grants.permit("f", &used).is_ok(), covered, "{} of {:?}", used, all);
        }
    }
}
