//! A jump that a version's manifest leads by others: as one command, there or back.

use crate::engine::Impassable;

use super::*;

/// 3.0.0 follows 2.x only, and leads there by 2.0.0 and 2.1.0.
pub(super) const LEADS: &str = "lifecycle:\n  activation: { trafficShifting: { interval: 10ms } }\n  updates:\n    compatibility: { \"3.0.0\": \"^2.1\" }\n    migrationPaths: [{ from: \">=1\", via: [2.0.0, 2.1.0], to: 3.0.0 }]\n";

/// A version that is confirmed at once.
pub(super) const CONFIRMS: &str =
    "lifecycle:\n  activation: { confirmWindow: 0, trafficShifting: { interval: 10ms } }\n";

impl World {
    /// 1.0.0 serves; 3.0.0 leads by 2.0.0 and 2.1.0, which is registered with this.
    pub(super) async fn led(between: &str) -> Self {
        Self::led_to(between, LEADS).await
    }

    /// The same, and 3.0.0 is registered with `last`.
    pub(super) async fn led_to(between: &str, last: &str) -> Self {
        Self::led_by(["", between], last).await
    }

    /// The same, and both between are registered with these.
    pub(super) async fn led_by(between: [&str; 2], last: &str) -> Self {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register("a", "2.0.0", between[0]).await;
        world.register("a", "2.1.0", between[1]).await;
        world.register("a", "3.0.0", last).await;
        world.serves("a@1.0.0").await;
        world
    }

    /// What was done to `a`, oldest first, as `command version outcome`.
    pub(super) async fn done(&self) -> Vec<String> {
        let history = self.engine.history("a", 20).await.unwrap();
        let line = |entry: &crate::engine::HistoryEntry| {
            let outcome = entry.outcome.map_or("runs", Outcome::name);
            format!("{} {} {outcome}", entry.command, entry.version)
        };
        history.iter().rev().map(line).collect()
    }
}

#[tokio::test]
async fn a_jump_goes_by_the_versions_between_and_returns_to_where_it_began() {
    let world = World::led("").await;
    let report = world.activate("a@3.0.0").await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("3.0.0", Outcome::Provisional));
    let via: Vec<_> = report.via.iter().map(|leg| (leg.version.as_str(), leg.outcome)).collect();
    assert_eq!(via, [("2.0.0", Outcome::Provisional), ("2.1.0", Outcome::Provisional)]);
    assert_eq!(world.state("a@1.0.0"), State::Standby);
    let back = world.engine.rollback("a", None).await.unwrap();
    assert_eq!((back.version.as_str(), world.routed("a").as_deref()), ("1.0.0", Some("1.0.0")));
}

#[tokio::test]
async fn a_version_in_the_range_follows_directly_and_one_on_the_way_goes_on_from_there() {
    let world = World::led("").await;
    world.serves("a@2.0.0").await;
    let report = world.activate("a@3.0.0").await.unwrap();
    assert_eq!(report.via.iter().map(|leg| leg.version.as_str()).collect::<Vec<_>>(), ["2.1.0"]);
    world.engine.rollback("a", Some(&Version::new(2, 1, 0))).await.unwrap().ensure_serves().unwrap();
    assert!(world.activate("a@3.0.0").await.unwrap().via.is_empty());
}

#[tokio::test]
async fn where_a_version_between_fails_the_module_is_where_it_was() {
    let world = World::led("").await;
    let fails = "return { init = function() error('no') end }";
    world.register_script("a", "4.0.0", &LEADS.replace("3.0.0", "4.0.0"), fails).await;
    let report = world.activate("a@4.0.0").await.unwrap();
    assert_eq!((report.version.as_str(), report.outcome), ("4.0.0", Outcome::RolledBack));
    assert!(report.reason.as_deref().unwrap().contains("no"), "{report:?}");
    let via: Vec<_> = report.via.iter().map(|leg| leg.version.as_str()).collect();
    assert_eq!(via, ["2.0.0", "2.1.0"]);
    assert_eq!((world.routed("a").as_deref(), world.state("a@1.0.0")), (Some("1.0.0"), State::Active));
    assert_eq!((world.state("a@2.1.0"), world.held()), (State::Failed, vec!["a@1.0.0".to_owned()]));
}

#[tokio::test]
async fn what_was_confirmed_on_the_way_is_returned_from_as_well() {
    let world = World::led(CONFIRMS).await;
    let files = [("main.lua", "return { init = function() error('no') end }")];
    world.register_files("a", "3.0.1", &LEADS.replace("3.0.0", "3.0.1"), &files).await;
    let report = world.activate("a@3.0.1").await.unwrap();
    assert_eq!(
        (report.outcome, report.via.last().map(|leg| leg.outcome)),
        (Outcome::RolledBack, Some(Outcome::Active))
    );
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
    let told =
        ["activate 1.0.0 active", "activate 2.0.0 active", "activate 2.1.0 active", "activate 3.0.1 rolled-back"];
    let done = world.done().await;
    assert_eq!(
        (done.last().map(String::as_str), done[0].as_str(), done[3].as_str()),
        (Some("rollback 1.0.0 active"), told[0], told[3])
    );
}

#[tokio::test]
async fn a_way_that_cannot_be_gone_is_refused_and_says_why() {
    let world = World::led("").await;
    world.engine.unregister("a", Some(&Version::new(2, 1, 0))).await.unwrap();
    let before = world.done().await;
    let missing = world.activate("a@3.0.0").await.unwrap_err();
    let said = "a@3.0.0 cannot take over from 1.0.0, which serves: its manifest leads by 2.0.0, 2.1.0, and 2.1.0 is not registered; register that first";
    assert_eq!(missing.to_string(), said);

    world.register("a", "5.0.0", "lifecycle: { updates: { supported: false } }\n").await;
    world.register("a", "6.0.0", "lifecycle: { updates: { compatibility: { \"6.0.0\": \"^5\" } } }\n").await;
    let refused = async |label: &str| match world.activate(label).await {
        Err(EngineError::NoWay(no_way)) => no_way.cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("a@5.0.0").await, Impassable::Unsupported);
    assert_eq!(refused("a@6.0.0").await, Impassable::Outside(Some("^5".parse().unwrap())));
    world.register("a", "7.0.0", &LEADS.replace("3.0.0", "7.0.0").replace("2.0.0, 2.1.0", "2.0.0, 5.0.0")).await;
    let (via, [two, five]) =
        (vec![Version::new(2, 0, 0), Version::new(5, 0, 0)], [2, 5].map(|n| Version::new(n, 0, 0)));
    assert_eq!(refused("a@7.0.0").await, Impassable::Stop { via, stop: five, after: two });
    assert_eq!((world.done().await, world.routed("a").as_deref()), (before, Some("1.0.0")));

    let forecast = world.engine.forecast("a", &Version::new(5, 0, 0), None).await.unwrap();
    assert!(forecast.refused[0].contains("supported: false"), "{forecast:?}");
    world.engine.deactivate("a").await.unwrap();
    world.activate("a@5.0.0").await.unwrap().ensure_serves().unwrap();
}

#[tokio::test]
async fn a_forecast_tells_the_versions_between() {
    let world = World::led("").await;
    let forecast = world.engine.forecast("a", &Version::new(3, 0, 0), None).await.unwrap();
    assert_eq!((forecast.via, forecast.refused), (vec!["2.0.0".to_owned(), "2.1.0".to_owned()], Vec::new()));
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}
