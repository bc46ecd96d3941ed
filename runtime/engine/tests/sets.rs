//! Several modules that take over, are confirmed, and return as one.

use super::*;
use crate::engine::HistoryEntry;

mod turns;

/// What 2.0.0 of `a` and of `b` are made of: `a` needs the `b` of its own number. Neither can take over alone.
const CAREFUL: &str = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";

fn needs(range: &str) -> String {
    format!("dependencies: [{{ id: b, version: ^{range} }}]\n{CAREFUL}")
}

impl World {
    /// 1.0.0 of `a` and `b` serve and 2.0.0 of both are registered; each `a` needs its own `b`.
    pub(super) async fn bound() -> Self {
        let world = Self::new().await;
        for version in ["1.0.0", "2.0.0"] {
            world.register("b", version, CAREFUL).await;
            world.register("a", version, &needs(version)).await;
        }
        world.serves("b@1.0.0").await;
        world.serves("a@1.0.0").await;
        world
    }

    pub(super) async fn set(&self, labels: &[&str]) -> Result<ActivationReport, EngineError> {
        let members: Vec<_> = labels.iter().map(|label| label.split_once('@').unwrap()).collect();
        let members: Vec<_> =
            members.iter().map(|(id, version)| ((*id).to_owned(), version.parse().unwrap())).collect();
        self.engine.activate_set(&members, None).await
    }

    /// `bound`, with 2.0.0 of both provisional as one.
    pub(super) async fn joined() -> Self {
        let world = Self::bound().await;
        let report = world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap();
        assert_eq!((report.id.as_str(), report.outcome), ("a", Outcome::Provisional), "{report:?}");
        world
    }

    /// Which versions of `a` and `b` requests meet.
    fn both(&self) -> [Option<String>; 2] {
        ["a", "b"].map(|id| self.routed(id))
    }

    /// These versions of `a` and `b` serve and nothing else of them runs or is to be decided.
    pub(super) async fn is_settled(&self, version: &str) {
        assert_eq!(self.both(), [Some(version.to_owned()), Some(version.to_owned())]);
        let stopped = async {
            while self.held() != [format!("a@{version}"), format!("b@{version}")] {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("the others stop");
        for slot in self.engine.slots() {
            assert_eq!(
                (slot.version.as_str(), slot.state, &slot.candidate),
                (version, State::Active, &None),
                "{slot:?}"
            );
        }
        let open = self.engine.shared.records.all().unwrap().open;
        assert!(open.is_empty(), "{open:?}");
    }

    pub(super) async fn newest(&self, id: &str) -> HistoryEntry {
        self.engine.history(id, 1).await.unwrap().remove(0)
    }

    /// The tree of what serves of `id` gives up.
    pub(super) fn member_fails(&self, id: &str) {
        let instance = self.router.snapshot().instance(id, 0).unwrap().key.clone();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    }

    async fn routes(&self, expected: [Option<&str>; 2]) {
        let reached = async {
            while self.both().each_ref().map(Option::as_deref) != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("it is so at some time");
    }
}

#[tokio::test]
async fn versions_that_fit_only_each_other_take_over_as_one_and_are_confirmed_as_one() {
    let world = World::bound().await;
    for (alone, help) in [
        ("a@2.0.0", "; activate b@2.0.0 first, or a@2.0.0 together with it: --set b@2.0.0"),
        ("b@2.0.0", "; deactivate a first, or activate a@2.0.0 together with it: --set a@2.0.0"),
    ] {
        let refused = world.activate(alone).await.unwrap_err();
        assert!(matches!(refused, EngineError::Obstructed { .. } | EngineError::Needed { .. }), "{alone}: {refused}");
        assert!(refused.to_string().ends_with(help), "{alone}: {refused}");
    }
    let report = world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap();
    let others: Vec<_> = report.set.iter().map(|it| (it.id.as_str(), it.version.as_str(), it.outcome)).collect();
    assert_eq!(
        (report.id.as_str(), report.outcome, others),
        ("a", Outcome::Provisional, vec![("b", "2.0.0", Outcome::Provisional)])
    );
    assert!(report.steps.len() == 8 && report.traffic_shift.is_empty(), "{report:?}");
    assert_eq!((world.state("a@2.0.0"), world.state("b@1.0.0")), (State::Provisional, State::Standby));
    let confirmed = world.engine.confirm("b").await.unwrap();
    assert_eq!((confirmed.id.as_str(), confirmed.set[0].id.as_str(), confirmed.already), ("b", "a", false));
    world.is_settled("2.0.0").await;
    assert_eq!(world.newest("a").await.set, ["b@2.0.0", "a@2.0.0"]);
    // from then on each is on its own
    assert!(matches!(
        world.engine.rollback("b", None).await,
        Err(EngineError::Needed { .. } | EngineError::Obstructed { .. })
    ));
}

#[tokio::test]
async fn what_fails_in_one_member_leaves_all_as_they_were() {
    let world = World::bound().await;
    let hasty = CAREFUL.replace("  activation:\n", "  activation:\n    timeout: 1s\n");
    world.register("b", "2.1.0", &hasty).await;
    world.register("a", "2.1.0", &format!("dependencies: [{{ id: b, version: ^2 }}]\n{hasty}")).await;
    for fault in [Fault::Error, Fault::Panic, Fault::Hang] {
        for place in [Place::Prepare, Place::Commit] {
            for member in ["a", "b"] {
                world.fail_of(member, &[(place, fault)]);
                let report = world.set(&["b@2.1.0", "a@2.1.0"]).await.unwrap();
                let of = format!("{member} {place:?} {fault:?}: {report:?}");
                assert_eq!((report.outcome, report.serves()), (Outcome::RolledBack, false), "{of}");
                assert!(report.reason.as_ref().unwrap().starts_with(&format!("{member}@2.1.0: ")), "{of}");
                world.fail_of(member, &[]);
                world.is_settled("1.0.0").await;
            }
        }
    }
    world.set(&["b@2.1.0", "a@2.1.0"]).await.unwrap().ensure_serves().unwrap();
}

#[tokio::test]
async fn a_member_that_is_unwell_after_the_switch_takes_all_back() {
    let world = World::bound().await;
    // asked once before the switch
    let unwell = "return { health = function()
        local asked = (kv.get('asked') or 0) + 1
        kv.put('asked', asked)
        return if asked > 1 then 'unhealthy' else 'healthy'
    end }";
    world.register_script("a", "2.0.1", &needs("2.0.0"), unwell).await;
    let mut events = world.events.subscribe();
    let report = world.set(&["a@2.0.1", "b@2.0.0"]).await.unwrap();
    assert_eq!((report.outcome, report.set[0].outcome), (Outcome::RolledBack, Outcome::RolledBack), "{report:?}");
    let reason = report.reason.unwrap();
    assert!(reason.contains("a@2.0.1: verify"), "{reason}");
    world.is_settled("1.0.0").await;
    assert_eq!((world.state("a@2.0.1"), world.state("b@2.0.0")), (State::Failed, State::Failed));
    let mut served = 0;
    while let Ok(event) = events.try_recv() {
        served += u32::from(matches!(&*event, Event::StateChanged { to: "standby", .. }));
    }
    assert_eq!(served, 2, "both had taken over");
}

#[tokio::test]
async fn nothing_is_routed_to_a_member_that_is_not_well() {
    let world = World::bound().await;
    world.register_script("a", "2.0.1", &needs("2.0.0"), "return { health = function() return 'unhealthy' end }").await;
    let mut events = world.events.subscribe();
    let report = world.set(&["a@2.0.1", "b@2.0.0"]).await.unwrap();
    assert!(report.outcome == Outcome::RolledBack && report.reason.unwrap().contains("healthCheckFailure"));
    world.is_settled("1.0.0").await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(&*event, Event::StateChanged { to: "standby", .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_trigger_of_one_member_returns_from_all() {
    for member in ["a", "b"] {
        let world = World::joined().await;
        world.member_fails(member);
        world.routes([Some("1.0.0"), Some("1.0.0")]).await;
        // a command of either has its turn behind the way back
        assert_eq!(world.activate("a@1.0.0").await.unwrap().outcome, Outcome::Active);
        world.is_settled("1.0.0").await;
        for id in ["a", "b"] {
            let entry = world.newest(id).await;
            assert_eq!(entry.outcome, Some(Outcome::RolledBack), "{entry:?}");
            assert!(entry.reason.unwrap().contains("criticalError: its workers die"));
        }
    }
}

#[tokio::test]
async fn a_first_version_goes_out_of_service_when_its_set_returns() {
    let world = World::new().await;
    world.register("b", "1.0.0", CAREFUL).await;
    world.register("b", "2.0.0", CAREFUL).await;
    world.register("a", "2.0.0", &needs("2.0.0")).await;
    world.serves("b@1.0.0").await;
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    assert_eq!(world.state("a@2.0.0"), State::Provisional);
    let report = world.engine.rollback("b", None).await.unwrap();
    assert_eq!(
        (report.version.as_str(), report.outcome, report.set[0].outcome),
        ("1.0.0", Outcome::Active, Outcome::Inactive)
    );
    assert_eq!((world.both(), world.state("a@2.0.0")), ([None, Some("1.0.0".to_owned())], State::Failed));
    // and over a restart
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    let world = world.restarted().await;
    assert_eq!(world.engine.resume().await, Vec::<String>::new());
    assert_eq!((world.both(), world.state("a@2.0.0")), ([None, Some("1.0.0".to_owned())], State::Failed));
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    world.engine.confirm("a").await.unwrap();
    world.is_settled("2.0.0").await;
}

#[tokio::test]
async fn a_rollback_of_one_member_returns_from_all_and_until_then_none_is_changed_alone() {
    let world = World::joined().await;
    world.register("b", "2.1.0", CAREFUL).await;
    for refused in [
        world.activate("b@2.1.0").await.err(),
        world.engine.deactivate("a").await.err(),
        world.engine.rollback("b", Some(&Version::new(2, 1, 0))).await.err(),
    ] {
        assert!(matches!(refused, Some(EngineError::InSet { .. })), "{refused:?}");
    }
    let refused = world.set(&["a@1.0.0", "b@2.1.0"]).await.unwrap_err();
    assert!(refused.to_string().contains("is provisional"), "{refused}");
    assert_eq!(world.both(), [Some("2.0.0".to_owned()), Some("2.0.0".to_owned())]);
    let back = world.engine.rollback("b", None).await.unwrap();
    assert_eq!((back.id.as_str(), back.version.as_str(), back.outcome), ("b", "1.0.0", Outcome::Active));
    assert_eq!((back.set[0].id.as_str(), back.set[0].version.as_str()), ("a", "1.0.0"));
    world.is_settled("1.0.0").await;
}

#[tokio::test]
async fn a_set_that_was_not_confirmed_is_returned_from_by_a_restart_and_one_that_was_is_not() {
    let world = World::joined().await;
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, Vec::<String>::new());
    killed.is_settled("1.0.0").await;
    world.engine.confirm("a").await.unwrap();
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, Vec::<String>::new());
    killed.is_settled("2.0.0").await;
}

#[tokio::test]
async fn behind_a_migration_of_one_that_has_no_way_back_all_are_kept() {
    let world = World::bound().await;
    let for_good =
        format!("database: {{ migrations: [{{ version: 3.0.0, file: 3.sql, irreversible: true }}] }}\n{CAREFUL}");
    let files = [("main.lua", "return {}"), ("3.sql", "create table t (n);")];
    world.register_files("b", "3.0.0", &for_good, &files).await;
    world.register("a", "3.0.0", &needs("3.0.0")).await;
    world.set(&["a@3.0.0", "b@3.0.0"]).await.unwrap().ensure_serves().unwrap();
    let mut events = world.events.subscribe();
    world.member_fails("a");
    let is_frozen = |event: &Event| matches!(event, Event::Frozen { migration, .. } if migration == "3.0.0 of b");
    World::until(&mut events, is_frozen).await;
    assert!(matches!(world.engine.rollback("a", None).await, Err(EngineError::Irreversible { id, .. }) if id == "b"));
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, Vec::<String>::new());
    killed.is_settled("3.0.0").await;
}

#[tokio::test]
async fn a_first_version_whose_migration_has_no_way_back_keeps_its_set_too() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("b", version, CAREFUL).await;
    }
    let for_good =
        format!("database: {{ migrations: [{{ version: 1.0.0, file: 1.sql, irreversible: true }}] }}\n{CAREFUL}");
    world.register_files("a", "2.0.0", &for_good, &[("main.lua", "return {}"), ("1.sql", "create table t (n);")]).await;
    world.serves("b@1.0.0").await;
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    let mut events = world.events.subscribe();
    world.member_fails("b");
    let is_frozen = |event: &Event| matches!(event, Event::Frozen { migration, .. } if migration == "1.0.0 of a");
    World::until(&mut events, is_frozen).await;
    let killed = world.killed().await;
    assert_eq!(killed.engine.resume().await, Vec::<String>::new());
    killed.is_settled("2.0.0").await;
}

#[tokio::test]
async fn the_windows_of_all_must_pass_before_a_set_confirms_itself() {
    let world = World::bound().await;
    let quick = |more: &str| {
        format!("{more}lifecycle:\n  activation:\n    confirmWindow: 0\n    trafficShifting: {{ interval: 10ms }}\n")
    };
    world.register("b", "2.1.0", &quick("")).await;
    let report = world.set(&["a@2.0.0", "b@2.1.0"]).await.unwrap();
    assert_eq!((report.outcome, report.set[0].outcome), (Outcome::Provisional, Outcome::Provisional), "{report:?}");
    world.engine.rollback("a", None).await.unwrap().ensure_serves().unwrap();
    world.register("a", "2.1.0", &quick("dependencies: [{ id: b, version: ^2 }]\n")).await;
    let report = world.set(&["a@2.1.0", "b@2.1.0"]).await.unwrap();
    assert_eq!((report.outcome, report.set[0].outcome), (Outcome::Active, Outcome::Active), "{report:?}");
    world.is_settled("2.1.0").await;
}

#[tokio::test]
async fn sets_that_make_no_sense_are_refused_and_change_nothing() {
    let world = World::bound().await;
    let many: Vec<String> = (0..17).map(|n| format!("m{n}@1.0.0")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases: [(&[&str], &str); 5] = [
        (&[], "it has no members"),
        (&many, "17 members, and 16 are the most"),
        (&["a@2.0.0", "a@1.0.0"], "name each module once"),
        (&["a@2.0.0", "c@1.0.0"], "c@1.0.0"),
        (&["a@2.0.0", "b@1.0.0"], "a@2.0.0 needs `b` in a version ^2.0.0"),
    ];
    for (labels, expected) in cases {
        let refused = world.set(labels).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{labels:?}: {refused}");
    }
    world.is_settled("1.0.0").await;
    let already = world.set(&["a@1.0.0", "b@1.0.0"]).await.unwrap();
    assert!(already.outcome == Outcome::Active && already.steps.is_empty(), "{already:?}");
}

#[tokio::test]
async fn who_depends_on_what_a_set_takes_away_keeps_it_from_being_activated() {
    let world = World::bound().await;
    world.register("c", "1.0.0", "dependencies: [{ id: b, version: ^1 }]\n").await;
    world.serves("c@1.0.0").await;
    let refused = world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap_err();
    assert!(matches!(&refused, EngineError::Needed { dependents, .. } if dependents[0].id == "c"), "{refused}");
    // what would be lost when the set returns is not relied on before it is confirmed
    world.engine.deactivate("c").await.unwrap();
    world.register("c", "2.0.0", "dependencies: [{ id: b, version: ^2 }]\n").await;
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    assert!(matches!(world.activate("c@2.0.0").await, Err(EngineError::Obstructed { .. })));
    world.engine.confirm("a").await.unwrap();
    world.serves("c@2.0.0").await;
}
