//! What stands by keeps its place among the other modules, so that its module can return to it.

use super::*;

/// The binding gives each `GET /ID`; the manifest's api is what validation looks at.
const SAME: &str = "apis:\n  - path: /same\n    methods: [GET]\n";

impl World {
    async fn refused(&self, label: &str) -> String {
        match self.activate(label).await {
            Err(error @ EngineError::Obstructed { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_path_of_a_version_on_standby_is_free_only_once_the_newer_one_is_confirmed() {
    let world = World::new().await;
    world.register("r", "1.0.0", SAME).await;
    world.register("r", "1.1.0", "").await;
    world.register("o", "1.0.0", SAME).await;
    world.serves("r@1.0.0").await;
    world.provisional("r@1.1.0").await;
    let refused = world.refused("o@1.0.0").await;
    assert!(refused.contains("r@1.0.0 stands by") && refused.ends_with("confirm `r` first"), "{refused}");
    let killed = world.killed().await;
    killed.engine.resume().await;
    assert_eq!((killed.routed("r").as_deref(), killed.routed("o")), (Some("1.0.0"), None));
    assert_eq!(world.engine.rollback("r", None).await.unwrap().version, "1.0.0");
    world.serves("r@1.1.0").await;
    world.serves("o@1.0.0").await;
}

#[tokio::test]
async fn what_only_an_unconfirmed_version_meets_is_relied_on_once_it_is_confirmed() {
    let world = World::new().await;
    world.register("r", "1.0.0", "").await;
    world.register("r", "1.1.0", "").await;
    world.register("app", "1.0.0", "dependencies:\n  - id: r\n    version: '>=1.1'\n").await;
    world.serves("r@1.0.0").await;
    world.provisional("r@1.1.0").await;
    let refused = world.refused("app@1.0.0").await;
    assert!(refused.ends_with("confirm `r` first"), "{refused}");
    world.engine.confirm("r").await.unwrap();
    world.serves("app@1.0.0").await;
}

#[tokio::test]
async fn what_a_version_on_standby_needs_cannot_be_deactivated() {
    let world = World::new().await;
    world.register("db", "1.0.0", "").await;
    world.register("app", "1.0.0", "dependencies:\n  - id: db\n").await;
    world.register("app", "2.0.0", "").await;
    world.serves("db@1.0.0").await;
    world.serves("app@1.0.0").await;
    world.provisional("app@2.0.0").await;
    let refused = world.engine.deactivate("db").await.unwrap_err();
    assert!(refused.to_string().contains("app@1.0.0, which stands by until `app` is confirmed"), "{refused}");
    assert!(refused.to_string().ends_with("confirm app first"), "{refused}");
    world.engine.confirm("app").await.unwrap();
    world.engine.deactivate("db").await.unwrap();
}

const OFFERS: &str = "capabilities: [{ id: x.y, name: X, category: ui, version: 1.0.0 }]\n";
const NEEDS: &str = "capabilities: [{ id: own, name: O, category: ui, requirements: ['x.y@*'] }]\n";

#[tokio::test]
async fn what_a_third_module_needs_after_a_return_cannot_be_deactivated() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", OFFERS).await;
    world.register("b", "1.0.0", OFFERS).await;
    world.register("c", "1.0.0", NEEDS).await;
    for label in ["a@1.0.0", "b@1.0.0", "c@1.0.0"] {
        world.serves(label).await;
    }
    world.provisional("a@2.0.0").await;
    let refused = world.engine.deactivate("b").await.unwrap_err().to_string();
    assert!(refused.contains("once a@1.0.0 is returned to") && refused.ends_with("confirm a first"), "{refused}");
    world.engine.confirm("a").await.unwrap();
    world.engine.deactivate("b").await.unwrap();
}

#[tokio::test]
async fn what_two_unconfirmed_modules_offer_is_relied_on_once_one_of_them_is_confirmed() {
    let world = World::new().await;
    for id in ["a", "b"] {
        world.register(id, "1.0.0", "").await;
        world.register(id, "2.0.0", OFFERS).await;
        world.serves(&format!("{id}@1.0.0")).await;
        world.provisional(&format!("{id}@2.0.0")).await;
    }
    world.register("c", "1.0.0", NEEDS).await;
    let refused = world.refused("c@1.0.0").await;
    assert!(refused.contains("as well as b@1.0.0") && refused.ends_with("confirm `a` first"), "{refused}");
    world.engine.confirm("a").await.unwrap();
    world.serves("c@1.0.0").await;
    let world = world.restarted().await;
    assert!(world.engine.resume().await.is_empty());
    assert_eq!((world.routed("b").as_deref(), world.routed("c").as_deref()), (Some("1.0.0"), Some("1.0.0")));
}
