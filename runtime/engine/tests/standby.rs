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
