//! `deps`, `conflicts`, `versions --compatible-with`, `find --compatible` and `why`, over a real registry.

use super::*;
use crate::engine::{HistoryEntry, Outcome};
use crate::registry::resolver;

/// `shop` needs `stock` in 1.x, `pay` keeps from running what it conflicts with, and `stock` is there twice.
async fn shop() -> World {
    let world = World::with(&[("stock", "1.0.0"), ("stock", "1.1.0"), ("stock", "2.0.0")]).await;
    let needs = "dependencies:\n  - { id: stock, version: ^1 }\n  - { id: mail, version: '*', required: false }\n";
    world.commands.register(bundle("shop", "1.0.0", needs)).await.unwrap();
    world
}

async fn serves(world: &World, label: &str) {
    world.commands.activate(&wanted(label), None).await.unwrap().ensure_serves().unwrap();
}

fn rows(found: &Dependencies) -> Vec<(String, String)> {
    found.modules.iter().map(|row| (format!("{}@{}", row.id, row.version), row.change.clone())).collect()
}

fn row(label: &str, change: &str) -> (String, String) {
    (label.to_owned(), change.to_owned())
}

#[tokio::test]
async fn dependencies_are_the_newest_set_and_what_runs_stays_where_it_goes() {
    let world = shop().await;
    let found = world.commands.dependencies(&wanted("shop")).await.unwrap();
    assert_eq!(rows(&found), [row("stock@1.1.0", "start"), row("shop@1.0.0", "start")]);
    assert_eq!(found.modules[0].needed[0].by, "shop@1.0.0");
    assert_eq!((found.optional[0].id.as_str(), &found.optional[0].met), ("mail", &None));
    assert!(found.obstacles[0].contains("activate stock@1.1.0 first"), "{found:?}");

    serves(&world, "stock@1.0.0").await;
    let found = world.commands.dependencies(&wanted("shop")).await.unwrap();
    assert_eq!(rows(&found), [row("stock@1.0.0", "keep"), row("shop@1.0.0", "start")]);
    assert!(found.obstacles.is_empty(), "{found:?}");

    serves(&world, "stock@2.0.0").await;
    let found = world.commands.dependencies(&wanted("shop")).await.unwrap();
    assert_eq!(rows(&found), [row("stock@1.1.0", "replace"), row("shop@1.0.0", "start")]);
    assert_eq!(found.modules[0].from.as_deref(), Some("2.0.0"));
}

#[tokio::test]
async fn where_no_versions_go_together_the_error_derives_why() {
    let world = shop().await;
    let needs = "dependencies:\n  - { id: stock, version: ^2 }\n  - { id: shop, version: ^1 }\n";
    world.commands.register(bundle("mall", "1.0.0", needs)).await.unwrap();
    let error = world.commands.dependencies(&wanted("mall")).await.unwrap_err();
    assert_eq!(error.kind, "unresolvable");
    for part in [
        "mall@1.0.0 needs `stock` in a version ^2",
        "shop@1.0.0 needs `stock` in a version ^1",
        "one version of `stock` runs at a time",
    ] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    let circle = |needs: &str| format!("dependencies:\n  - {{ id: {needs}, version: '*' }}\n");
    world.commands.register(bundle("a", "1.0.0", &circle("b"))).await.unwrap();
    world.commands.register(bundle("b", "1.0.0", &circle("a"))).await.unwrap();
    let error = world.commands.dependencies(&wanted("a")).await.unwrap_err();
    assert_eq!(error.kind, "cycle");
    assert!(error.message.contains("a -> b -> a"), "{}", error.message);
}

#[tokio::test]
async fn conflicts_are_told_apart_by_whether_the_other_one_runs() {
    let world = World::with(&[("stock", "1.0.0"), ("idle", "1.0.0")]).await;
    let more = "conflicts: [stock, idle, \"idle@^9\"]\n";
    world.commands.register(bundle("shop", "1.0.0", more)).await.unwrap();
    serves(&world, "stock").await;
    let found = world.commands.conflicts(&wanted("shop")).unwrap();
    assert_eq!((found.running.len(), found.registered.len()), (1, 1), "{found:?}");
    assert!(found.running[0].starts_with("shop@1.0.0 cannot run beside stock@1.0.0"), "{found:?}");
    assert!(found.registered[0].starts_with("shop@1.0.0 cannot run beside idle@1.0.0"), "{found:?}");
    let other = world.commands.conflicts(&wanted("stock")).unwrap();
    assert!(other.running.is_empty() && other.registered[0].contains("the manifest of shop@1.0.0"), "{other:?}");
}

#[tokio::test]
async fn versions_that_can_take_over_and_versions_in_a_range_are_found() {
    let world = World::with(&[("a", "1.0.0"), ("a", "1.1.0")]).await;
    let strict = "lifecycle: { updates: { compatibility: { \"2.0.0\": \"^1.1\" } } }\n";
    world.commands.register(bundle("a", "2.0.0", strict)).await.unwrap();
    let from = |version: &str| -> Vec<String> {
        let found = world.commands.compatible_versions("a", &version.parse().unwrap()).unwrap();
        found.into_iter().map(|row| row.version).collect()
    };
    assert_eq!((from("1.0.0"), from("1.1.0")), (vec!["1.1.0".into()], vec!["1.0.0".into(), "2.0.0".into()]));
    let found = world.commands.find_compatible(&["a@^1".parse().unwrap()]).unwrap();
    assert_eq!(found.iter().map(|row| row.version.as_str()).collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
    let error = world.commands.find_compatible(&["a@^1".parse().unwrap(), "a@^3".parse().unwrap()]).unwrap_err();
    assert_eq!(error.message, "a@^3 is not registered; registered of `a`: 1.0.0, 1.1.0, 2.0.0");
}

async fn told(world: &World, label: &str) -> (Why, Vec<(String, String)>) {
    let why = world.commands.why(&wanted(label)).await.unwrap();
    let reasons = why.reasons.iter().map(|reason| (reason.kind.clone(), reason.text.clone())).collect();
    (why, reasons)
}

fn entry(command: &str, version: &str, outcome: Outcome) -> HistoryEntry {
    HistoryEntry {
        lost: 0,
        set: Vec::new(),
        number: 1,
        command: command.into(),
        version: version.into(),
        from: Some("1.0.0".into()),
        strategy: "gradual".into(),
        began: 4_000,
        ended: Some(5_000),
        outcome: Some(outcome),
        confirmed: None,
        reason: (!outcome.serves()).then(|| "its checks failed".into()),
        steps: vec![],
        traffic_shift: vec![],
    }
}

#[tokio::test]
async fn why_a_module_does_not_run_names_what_is_in_the_way_and_what_would_clear_it() {
    let world = shop().await;
    let (why, reasons) = told(&world, "shop").await;
    assert_eq!((why.version.as_str(), why.state.as_str()), ("1.0.0", "registered"));
    assert_eq!(reasons[0], ("state".into(), "it is registered and was never activated".into()));
    assert!(reasons[1].0 == "obstacle" && reasons[1].1.contains("activate stock@1.1.0 first"), "{reasons:?}");
    assert!(reasons[2].1.contains("stock@1.1.0") && reasons[2].1.contains("shop@1.0.0"), "{reasons:?}");
    let (_, reasons) = told(&world, "stock").await;
    assert_eq!(reasons.last().unwrap(), &("ready".into(), "nothing is in the way: replug activate stock@2.0.0".into()));
}

#[tokio::test]
async fn why_a_module_runs_names_who_brought_it_who_needs_it_and_why_no_newer_version_does() {
    let world = shop().await;
    serves(&world, "stock@1.1.0").await;
    serves(&world, "shop").await;
    world.fake.played.lock().unwrap().history = vec![entry("activate", "1.1.0", Outcome::Active)];
    let (why, reasons) = told(&world, "stock").await;
    assert_eq!((why.version.as_str(), why.reasons[0].at), ("1.1.0", Some(4_000)));
    assert_eq!(reasons[0], ("command".into(), "it was activated (gradual), in the place of 1.0.0".into()));
    assert_eq!(reasons[1], ("needed".into(), "shop@1.0.0 needs `stock` in a version ^1".into()));
    assert!(reasons[2].0 == "newer" && reasons[2].1.starts_with("stock@2.0.0: no versions go together"), "{reasons:?}");
}

#[tokio::test]
async fn why_a_version_does_not_run_beside_another_names_that_one() {
    let world = shop().await;
    serves(&world, "stock@1.1.0").await;
    world.fake.played.lock().unwrap().history = vec![entry("activate", "2.0.0", Outcome::RolledBack)];
    let (why, reasons) = told(&world, "stock@2.0.0").await;
    assert_eq!(why.version, "2.0.0");
    assert!(reasons.contains(&("state".into(), "stock@1.1.0 runs in its place".into())), "{reasons:?}");
    assert_eq!(world.commands.why(&wanted("nobody")).await.unwrap_err().kind, "not-registered");
}

#[tokio::test]
async fn nothing_is_said_to_be_ready_that_an_activation_would_be_refused_for() {
    let world = shop().await;
    serves(&world, "stock@1.1.0").await;
    serves(&world, "shop").await;
    let dependents = resolver::dependents(
        &resolver::one_move("stock", Some(&Version::new(2, 0, 0))),
        &world.commands.registry.snapshot(),
        &world.commands.running(),
    );
    let needed = EngineError::Needed {
        id: "stock".into(),
        action: "activated at 2.0.0".into(),
        dependents,
        together: Vec::new(),
    };
    world.fake.played.lock().unwrap().refusal = Some(needed);
    let (_, reasons) = told(&world, "stock@2.0.0").await;
    let refused = reasons.iter().find(|(kind, _)| kind == "refused").unwrap();
    assert!(refused.1.contains("shop@1.0.0 needs `stock` in a version ^1; deactivate shop first"), "{reasons:?}");
    assert!(reasons.iter().all(|(kind, _)| kind != "ready"), "{reasons:?}");
    let error = world.commands.dependencies(&wanted("stock@2.0.0")).await.unwrap_err();
    assert_eq!(error.kind, "unresolvable");
    let found = world.commands.dependencies(&wanted("stock@1.0.0")).await.unwrap();
    assert!(found.obstacles[0].contains("deactivate shop first"), "{found:?}");
}

#[tokio::test]
async fn a_version_that_serves_since_its_rollback_failed_is_said_to_run() {
    let world = shop().await;
    serves(&world, "stock@1.1.0").await;
    world.fake.played.lock().unwrap().slots.get_mut("stock").unwrap().state = State::FailedToRestore;
    let found = world.commands.dependencies(&wanted("shop")).await.unwrap();
    assert_eq!(rows(&found), [row("stock@1.1.0", "keep"), row("shop@1.0.0", "start")]);
    let (why, reasons) = told(&world, "stock").await;
    assert_eq!(why.version, "1.1.0");
    assert!(reasons[0].1.contains("serves only since nothing could take its place"), "{reasons:?}");
}

#[tokio::test]
async fn what_is_not_confirmed_or_frozen_is_said_to_be_with_who_decides() {
    let world = shop().await;
    serves(&world, "stock@1.1.0").await;
    let slot = |frozen: Option<&str>| {
        let mut played = world.fake.played.lock().unwrap();
        let slot = played.slots.get_mut("stock").unwrap();
        (slot.state, slot.previous, slot.frozen) =
            (State::Provisional, Some("1.0.0".into()), frozen.map(str::to_owned));
    };
    slot(None);
    let (_, reasons) = told(&world, "stock").await;
    let says =
        "it is not confirmed yet, and 1.0.0 stands by: replug confirm stock keeps it, replug rollback stock returns";
    assert_eq!(reasons[0], ("provisional".into(), says.into()));
    slot(Some("criticalError: it is out of ink"));
    let (_, reasons) = told(&world, "stock").await;
    let (kind, text) = &reasons[0];
    assert!(
        kind == "frozen" && text.contains("criticalError: it is out of ink") && text.contains("replug confirm stock"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn a_version_that_takes_away_what_another_promises_is_refused_with_the_difference() {
    let world = World::new().await;
    let offers = |methods: &str| {
        format!(
            "capabilities:\n  - {{ id: mail, version: 1.4.0, interfaces: [{{ name: send, methods: [{methods}] }}] }}\n"
        )
    };
    world.commands.register(bundle("post", "1.0.0", &offers("one, many"))).await.unwrap();
    let error = world.commands.register(bundle("post", "1.1.0", &offers("one"))).await.unwrap_err();
    let said = "post@1.1.0 and post@1.0.0, which is registered, contradict each other: `mail` 1.4.0 lacks `send.many` that 1.4.0 has";
    assert!(error.kind == "breaking-change" && error.message.starts_with(said), "{error:?}");
    assert_eq!(world.commands.versions("post").unwrap().len(), 1, "nothing was registered");
    let again = world.commands.register(bundle("post", "1.0.0", &offers("one, many"))).await.unwrap();
    assert!(!again.fresh);
    world.commands.register(bundle("post", "2.0.0", &offers("one").replace("1.4.0", "2.0.0"))).await.unwrap();
    world.commands.register(bundle("post", "1.1.0+dev.abc", &offers("one"))).await.unwrap();
}
