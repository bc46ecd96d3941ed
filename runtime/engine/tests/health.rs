//! What health checks mean for an activation, and how they are seen from outside.

use super::*;
use crate::monitor::HealthStatus;

fn checks(checks: &str) -> String {
    format!("lifecycle:\n  activation:\n    healthChecks: [{checks}]\n")
}

const DARK: &str = r#"return { health = function() return { status = "unhealthy", detail = "it is dark" } end }"#;

#[tokio::test]
async fn a_critical_check_that_fails_refuses_the_activation_and_is_named() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.register_script("a", "2.0.0", &checks("{ custom: lights, retries: 1 }"), DARK).await;
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(report.reason.as_deref(), Some("activate: healthCheckFailure: health: lights: it is dark"));
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_check_that_is_not_critical_lets_the_version_serve_degraded() {
    let world = World::new().await;
    let mut events = world.events.subscribe();
    world.register_script("a", "1.0.0", &checks("{ custom: lights, retries: 0, critical: false }"), DARK).await;
    world.register("b", "1.0.0", "").await;
    world.serves("b@1.0.0").await;
    world.serves("a@1.0.0").await;
    let changed = async {
        loop {
            if let Event::HealthChanged { instance, status, detail } = &*events.recv().await.unwrap() {
                return (instance.id.to_string(), *status, detail.clone());
            }
        }
    };
    let changed = tokio::time::timeout(Duration::from_secs(20), changed).await.expect("its health is asked");
    assert_eq!(changed, ("a".into(), HealthStatus::Degraded, "lights: it is dark".into()));
    assert_eq!(world.engine.slots()[0].health, "degraded");
    let views = world.engine.health();
    let seen = |at: usize| (&*views[at].id, &*views[at].serving.version, views[at].serving.report.status);
    assert_eq!((seen(0), seen(1)), (("a", "1.0.0", HealthStatus::Degraded), ("b", "1.0.0", HealthStatus::Unknown)));
    let check = &views[0].serving.report.checks[0];
    assert_eq!((&*check.id, &*check.kind, check.failures, check.critical), ("lights", "custom", 1, false));
    assert!(views[0].candidate.is_none() && check.last_check > 0);
    world.engine.deactivate("a").await.unwrap();
    assert_eq!(world.engine.health().len(), 1);
}
