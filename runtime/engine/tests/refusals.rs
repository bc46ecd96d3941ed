//! What an activation is refused for is known before: the forecast and the refusals say the same as the command.

use super::*;

/// A module that tests ask about, and what the first refusal says; none: it would begin.
async fn asked(world: &World, label: &str, strategy: Option<ActivationStrategy>, says: Option<&str>) {
    let (id, version) = label.split_once('@').unwrap();
    let version: Version = version.parse().unwrap();
    let refused: Vec<String> =
        world.engine.refusals(id, &version, strategy).await.unwrap().iter().map(ToString::to_string).collect();
    let forecast = world.engine.forecast(id, &version, strategy).await.unwrap();
    assert_eq!(refused, forecast.refused, "{label}");
    match (says, world.engine.activate(id, &version, strategy).await) {
        (Some(says), Err(error)) => {
            assert_eq!(refused[0], error.to_string(), "{label}");
            assert!(refused[0].contains(says), "{label}: {refused:?}");
        }
        (None, Ok(_)) => assert!(refused.is_empty(), "{label}: {refused:?}"),
        (expected, done) => panic!("{label}: {expected:?}, but {refused:?} and then {done:?}"),
    }
}

#[tokio::test]
async fn every_refusal_of_an_activation_is_foreseen_and_without_one_it_begins() {
    let world = World::new().await;
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        world.register("a", version, "").await;
    }
    world.register("a", "3.0.0", "lifecycle: { updates: { supported: false } }\n").await;
    world.register("b", "1.0.0", "dependencies: [{ id: a, version: ^1 }]\n").await;
    world.register("c", "1.0.0", "config: { schema: { key: { type: string, required: true } } }\n").await;
    world.register_script("d", "1.0.0", "", "return {").await;
    world.register("e", "1.0.0", "dependencies: [{ id: gone }]\n").await;
    world.serves("a@1.0.0").await;

    asked(&world, "e@1.0.0", None, Some("no version of it is registered")).await;
    asked(&world, "c@1.0.0", None, Some("the required setting key")).await;
    asked(&world, "d@1.0.0", None, Some("do not compile")).await;
    asked(&world, "a@3.0.0", None, Some("supported: false")).await;
    asked(&world, "b@1.0.0", None, None).await;
    world.engine.confirm("b").await.unwrap();
    asked(&world, "a@2.0.0", None, Some("b@1.0.0 needs `a` in a version ^1")).await;
    asked(&world, "a@1.1.0", None, None).await;
    // 1.0.0 stands by
    asked(&world, "a@1.0.0", None, None).await;
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_version_that_stands_by_and_migrations_are_foreseen_too() {
    let world = World::new().await;
    let database = "database: { migrations: [{ version: 1.0.0, file: up.sql, down: down.sql }] }\n";
    let files = [("main.lua", "return {}"), ("up.sql", "select 1;"), ("down.sql", "select 1;")];
    world.register_files("m", "1.0.0", database, &files).await;
    asked(&world, "m@1.0.0", Some(ActivationStrategy::Instant), Some("has pending migrations (1.0.0)")).await;
    asked(&world, "m@1.0.0", Some(ActivationStrategy::Gradual), None).await;

    world.register("a", "1.0.0", "").await;
    world
        .register(
            "a",
            "2.0.0",
            "lifecycle: { activation: { confirmWindow: 1h, trafficShifting: { interval: 10ms } } }\n",
        )
        .await;
    world.register("c", "1.0.0", "dependencies: [{ id: a, version: ^2 }]\n").await;
    world.serves("a@1.0.0").await;
    world.provisional("a@2.0.0").await;
    asked(&world, "c@1.0.0", None, Some("a@1.0.0 stands by until a@2.0.0 is confirmed")).await;
    world.engine.confirm("a").await.unwrap();
    asked(&world, "c@1.0.0", None, None).await;
}

#[tokio::test]
async fn what_a_version_on_the_way_is_refused_for_is_foreseen() {
    let world = World::new().await;
    let leads = "lifecycle:\n  activation: { trafficShifting: { interval: 10ms } }\n  updates:\n    compatibility: { \"3.0.0\": \"^2\" }\n    migrationPaths: [{ from: \"^1\", via: [2.0.0], to: 3.0.0 }]\n";
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "dependencies: [{ id: gone }]\n").await;
    world.register("a", "3.0.0", leads).await;
    world.serves("a@1.0.0").await;
    asked(&world, "a@3.0.0", None, Some("a@2.0.0 cannot be activated: a@2.0.0 needs `gone`")).await;
}

#[tokio::test]
async fn what_a_module_can_do_without_is_refused_in_a_wrong_version_and_may_go() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    world.register("b", "1.0.0", "dependencies: [{ id: a, version: ^1, required: false }]\n").await;
    world.serves("a@2.0.0").await;
    asked(&world, "b@1.0.0", None, Some("b@1.0.0 takes `a` in a version ^1 or not at all, but a@2.0.0 runs")).await;
    world.engine.deactivate("a").await.unwrap();
    asked(&world, "b@1.0.0", None, None).await;
    asked(&world, "a@2.0.0", None, Some("b@1.0.0 takes `a` in a version ^1 or not at all; deactivate b first")).await;
    asked(&world, "a@1.0.0", None, None).await;
    world.engine.deactivate("a").await.unwrap();
    assert_eq!(world.routed("b").as_deref(), Some("1.0.0"));
}
