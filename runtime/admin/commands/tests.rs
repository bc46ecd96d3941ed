use super::*;
use fake::{World, bundle};

pub(crate) mod fake;
mod relations;

fn wanted(text: &str) -> ModuleRef {
    text.parse().unwrap()
}

#[tokio::test]
async fn registering_is_told_once_and_the_same_content_again_changes_nothing() {
    let world = World::new().await;
    let mut events = world.events.subscribe();
    let first = world.commands.register(bundle("a", "1.0.0", "")).await.unwrap();
    let again = world.commands.register(bundle("a", "1.0.0", "")).await.unwrap();
    assert!(first.fresh && !again.fresh && first.digest == again.digest);
    assert!(matches!(&*events.try_recv().unwrap(), Event::Registered { id, .. } if id == "a"));
    assert!(events.try_recv().is_err(), "the second registration is no event");
    let error = world.commands.register(bundle("a", "1.0.0", "author: x\n")).await.unwrap_err();
    assert_eq!(error.kind, "content-differs");
}

#[tokio::test]
async fn update_activates_only_where_another_version_serves() {
    let world = World::new().await;
    let done = world.commands.update(bundle("a", "1.0.0", ""), None).await.unwrap();
    assert!(done.activation.is_none(), "nothing served");
    world.commands.activate(&wanted("a"), None).await.unwrap().ensure_serves().unwrap();
    let done = world.commands.update(bundle("a", "1.1.0", ""), None).await.unwrap();
    assert_eq!(done.activation.map(|report| report.version).as_deref(), Some("1.1.0"));
    let done = world.commands.update(bundle("a", "1.1.0", ""), None).await.unwrap();
    assert!(done.activation.is_none() && !done.registered.fresh, "it serves already");
    let sent = serde_json::to_value(&done).unwrap();
    assert!(sent["id"] == "a" && sent["activation"].is_null() && sent["fresh"] == false, "{sent}");
}

#[tokio::test]
async fn activate_takes_the_newest_version_unless_one_is_named() {
    let world = World::with(&[("a", "1.0.0"), ("a", "1.1.0"), ("a", "2.0.0-rc.1")]).await;
    world.commands.activate(&wanted("a"), None).await.unwrap().ensure_serves().unwrap();
    world
        .commands
        .activate(&wanted("a@1.0.0"), Some(ActivationStrategy::Instant))
        .await
        .unwrap()
        .ensure_serves()
        .unwrap();
    assert_eq!(world.fake.calls(), ["activate a@1.1.0 None", "activate a@1.0.0 Some(Instant)"]);
}

#[tokio::test]
async fn what_is_not_registered_is_named_with_what_is_like_it() {
    let world = World::with(&[("greeter", "1.0.0")]).await;
    let error = world.commands.activate(&wanted("greter"), None).await.unwrap_err();
    assert_eq!((error.kind.as_ref(), error.help.as_deref()), ("not-registered", Some("did you mean `greeter`?")));
    let error = world.commands.deactivate("zebra").await.unwrap_err();
    assert_eq!(error.help.as_deref(), Some("replug register PATH, with the folder of `zebra`"));
    let error = world.commands.rollback("greeter", Some(&Version::new(9, 0, 0))).await.unwrap_err();
    assert_eq!(error.message, "greeter@9.0.0 is not registered; registered of `greeter`: 1.0.0");
    assert!(world.fake.calls().is_empty(), "the engine was not asked");
}

#[tokio::test]
async fn show_gives_the_serving_version_its_share_and_all_defaults() {
    let world = World::with(&[("a", "1.0.0"), ("a", "1.1.0")]).await;
    let before = world.commands.show(&wanted("a")).unwrap();
    assert_eq!((before.version.as_str(), before.weight), ("1.1.0", 0), "the newest while none serves");
    world.commands.activate(&wanted("a@1.0.0"), None).await.unwrap().ensure_serves().unwrap();
    let shown = serde_json::to_value(world.commands.show(&wanted("a")).unwrap()).unwrap();
    assert_eq!((&shown["version"], &shown["weight"]), (&"1.0.0".into(), &100.into()));
    assert_eq!((&shown["state"], &shown["slot"]["version"]), (&"active".into(), &"1.0.0".into()));
    assert_eq!((&shown["registeredAt"], &shown["manifest"]["runtime"]["workers"]), (&1000.into(), &2.into()));
    let other = world.commands.show(&wanted("a@1.1.0")).unwrap();
    assert_eq!((other.weight, other.state.state), (0, State::Registered));
}

#[tokio::test]
async fn versions_come_ascending_with_state_time_and_digest() {
    let world = World::with(&[("a", "1.10.0"), ("a", "1.9.0")]).await;
    let rows = world.commands.versions("a").unwrap();
    let shown: Vec<_> = rows.iter().map(|row| (row.version.as_str(), row.state.as_ref(), row.registered_at)).collect();
    assert_eq!(shown, [("1.9.0", "registered", Some(1001)), ("1.10.0", "registered", Some(1000))]);
    assert_eq!(rows[0].digest.len(), 64);
    assert_eq!(world.commands.versions("b").unwrap_err().kind, "not-registered");
}

#[tokio::test]
async fn find_names_the_capabilities_that_were_meant() {
    let world = World::new().await;
    let offers = "capabilities:\n  - { id: sql, category: data }\n  - { id: sql.admin, category: data }\n  - { id: ui.x, category: ui }\n";
    world.commands.register(bundle("a", "1.0.0", offers)).await.unwrap();
    let names = |found: Vec<FoundModule>| -> Vec<String> {
        found.into_iter().flat_map(|row| row.capabilities).map(|offered| offered.id).collect()
    };
    assert_eq!(names(world.commands.find_by_capability("sql")), ["sql"]);
    assert_eq!(names(world.commands.find_by_category("data")), ["sql", "sql.admin"]);
    assert!(world.commands.find_by_capability("nothing").is_empty());
}

#[tokio::test]
async fn a_revision_changes_with_versions_and_with_what_serves() {
    let world = World::with(&[("a", "1.0.0"), ("b", "1.0.0")]).await;
    let mut seen = vec![world.commands.revision("a")];
    world.commands.activate(&wanted("b"), None).await.unwrap().ensure_serves().unwrap();
    assert_eq!(world.commands.revision("a"), seen[0], "another module's affair");
    world.commands.register(bundle("a", "1.1.0", "")).await.unwrap();
    seen.push(world.commands.revision("a"));
    world.commands.activate(&wanted("a"), None).await.unwrap().ensure_serves().unwrap();
    seen.push(world.commands.revision("a"));
    world.commands.rollback("a", Some(&Version::new(1, 0, 0))).await.unwrap().ensure_serves().unwrap();
    seen.push(world.commands.revision("a"));
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
}

#[tokio::test]
async fn a_version_whose_files_are_gone_is_listed_as_unusable_and_said_to_be() {
    let mut world = World::with(&[("a", "1.0.0")]).await;
    let digest = world.commands.versions("a").unwrap()[0].digest.clone();
    std::fs::remove_dir_all(world.dir.path().join("bundles").join(digest)).unwrap();
    world = world.reopen().await;
    let rows = world.commands.versions("a").unwrap();
    assert_eq!((rows[0].state.as_ref(), rows[0].registered_at), ("unusable", None));
    let error = world.commands.activate(&wanted("a"), None).await.unwrap_err();
    assert_eq!(error.kind, "unusable");
    assert!(error.message.starts_with("a@1.0.0 is registered, but cannot be used"), "{}", error.message);
}
