//! A migration that cannot be taken back: what would be returned from is frozen, and a person decides.

use super::*;
use crate::store::audit::{Kind, Row, Who};

/// 2.0.0 changes rows for good.
pub(super) const FOR_GOOD: &str = "database: { migrations: [{ version: 2.0.0, file: 2.sql, irreversible: true }] }\nlifecycle:\n  activation:\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError]\n    trafficShifting: { interval: 10ms }\n";

impl World {
    /// 1.0.0 is confirmed, and 2.0.0 of this manifest provisional.
    pub(super) async fn one_way(more: &str) -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.serves("a@1.0.0").await;
        world.register_files("a", "2.0.0", more, &[("main.lua", "return {}"), ("2.sql", "create table t (n);")]).await;
        world.provisional("a@2.0.0").await;
        world
    }

    /// The tree of 2.0.0 gives up, and that freezes it.
    async fn freezes(&self) {
        let instance = self.router.snapshot().instance("a", 0).unwrap().key.clone();
        let mut events = self.events.subscribe();
        self.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
        let is_alarm = |event: &Event| matches!(event, Event::Alarm { message, .. } if message.contains("it is frozen and serves on"));
        Self::until(&mut events, is_alarm).await;
    }

    /// 2.0.0 alone serves, and a rollback would return to 1.0.0.
    fn is_kept(&self, state: State) {
        let slot = self.engine.slots().remove(0);
        assert_eq!((slot.version.as_str(), slot.weight, slot.previous.as_deref()), ("2.0.0", 100, Some("1.0.0")));
        assert_eq!((self.routed("a").as_deref(), self.state("a@2.0.0")), (Some("2.0.0"), state));
        assert_eq!(self.tables("a"), ["2.0.0"]);
    }
}

#[tokio::test]
async fn a_trigger_freezes_it_and_it_serves_on_until_somebody_accepts_it() {
    let world = World::one_way(FOR_GOOD).await;
    assert_eq!(world.engine.slots()[0].frozen, None);
    world.freezes().await;
    world.is_kept(State::Provisional);
    let frozen = world.engine.slots().remove(0).frozen;
    assert!(frozen.unwrap().contains("criticalError: its workers die"));
    let refused = world.engine.rollback("a", None).await.unwrap_err();
    assert!(matches!(refused, EngineError::Irreversible { .. }), "{refused}");
    world.engine.confirm("a").await.unwrap();
    world.is_kept(State::Active);
    assert_eq!(world.engine.slots()[0].frozen, None);
}

#[tokio::test]
async fn a_newer_version_mends_what_is_frozen_and_is_kept_as_well() {
    let world = World::one_way(FOR_GOOD).await;
    world.freezes().await;
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n);")];
    world.register_files("a", "3.0.0", FOR_GOOD, &files).await;
    world.provisional("a@3.0.0").await;
    assert_eq!((world.routed("a").as_deref(), &world.engine.slots()[0].frozen), (Some("3.0.0"), &None));
    world.freezes().await;
    assert_eq!(world.routed("a").as_deref(), Some("3.0.0"));
}

#[tokio::test]
async fn after_a_kill_it_serves_on_frozen_or_not() {
    for freezes in [false, true] {
        let world = World::one_way(FOR_GOOD).await;
        if freezes {
            world.freezes().await;
        }
        let killed = world.killed().await;
        killed.engine.resume().await;
        killed.is_kept(State::Active);
        let history = killed.engine.history("a", 9).await.unwrap();
        let kept = history.iter().find(|entry| entry.version == "2.0.0" && entry.command == "activate").unwrap();
        assert_eq!((kept.outcome, kept.confirmed.is_some()), (Some(Outcome::Active), true), "{kept:?}");
        // the log has it too: a store that is made anew of it does not return from the version
        let records = killed.engine.audit().read(1, 100).await.unwrap();
        let told: Vec<_> = records.iter().filter_map(Row::entry).filter(|it| it.kind == Kind::Confirmed).collect();
        let told: Vec<_> = told.iter().map(|it| (it.subject.as_str(), it.who)).collect();
        assert_eq!(told.last(), Some(&("a@2.0.0", Who::Runtime)), "{told:?}");
    }
}

#[tokio::test]
async fn before_it_takes_over_it_is_returned_from_and_what_it_did_for_good_is_told() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let files = [("main.lua", "return { warmup = function() error('cold') end }"), ("2.sql", "create table t (n);")];
    world.register_files("a", "2.0.0", FOR_GOOD, &files).await;
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!((report.outcome, world.routed("a").as_deref()), (Outcome::RolledBack, Some("1.0.0")));
    assert_eq!(world.tables("a"), ["2.0.0"], "data is preserved");
}

#[tokio::test]
async fn a_migration_without_a_way_down_is_no_obstacle_where_data_is_preserved() {
    let additive = FOR_GOOD.replace(", irreversible: true", "");
    let returned = |event: &Event| matches!(event, Event::ActivationEnded { outcome: "rolled-back", .. });
    let world = World::one_way(&additive).await;
    let mut events = world.events.subscribe();
    let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    World::until(&mut events, returned).await;
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));

    let taken_back = additive.replace("lifecycle:\n", "lifecycle:\n  rollback: { preserveData: false }\n");
    let world = World::one_way(&taken_back).await;
    world.freezes().await;
    world.is_kept(State::Provisional);
}

#[tokio::test]
async fn a_forecast_says_that_there_will_be_no_way_back() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.register_files("a", "2.0.0", FOR_GOOD, &[("main.lua", "return {}"), ("2.sql", "create table t (n);")]).await;
    let forecast = world.engine.forecast("a", &Version::new(2, 0, 0), None).await.unwrap();
    let parts = ["returns to 1.0.0 before it takes over", "freezes", "migration 2.0.0 cannot be taken back"];
    assert!(parts.iter().all(|part| forecast.rollback.contains(part)), "{}", forecast.rollback);
}
