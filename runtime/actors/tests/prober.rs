//! The prober asks, waits for the answer, and only then for the next time to ask.

use super::*;
use crate::manifest::{HealthCheck, HealthCheckKind};
use crate::monitor::HealthStatus;

fn check(id: &str, kind: HealthCheckKind, timeout: Duration) -> HealthCheck {
    HealthCheck { id: id.into(), kind, timeout, interval: Duration::from_millis(1), retries: 0, critical: true }
}

async fn probed(rig: &Rig, script: &Arc<Script>, timeout: Duration) -> Arc<Instance> {
    let instance = rig
        .start(script, |manifest| {
            let kind = HealthCheckKind::Endpoint { path: "/health".into() };
            manifest.lifecycle.activation.health_checks = vec![check("health", kind, timeout)];
        })
        .await;
    // before that its tables may not be there yet
    assert_eq!(script.ran(), 0, "a module is not asked before it serves");
    instance.serves();
    script.begun().await;
    instance
}

/// Lets this answer and those of the questions to come through.
fn release_all(script: &Script) {
    for _ in 0..500 {
        script.release();
    }
}

#[tokio::test]
async fn a_slow_answer_holds_up_the_next_question() {
    let (mut rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let instance = probed(&rig, &script, SOON).await;
    for asked in 1..5 {
        // many intervals pass
        let now = Instant::now();
        until(|| now.elapsed() > Duration::from_millis(10)).await;
        assert_eq!((script.ran(), instance.in_flight(), instance.pool.waiting()), (asked, 1, 0));
        script.release();
        script.begun().await;
    }
    rig.hear(|event| matches!(event, Event::HealthChanged { status: HealthStatus::Healthy, .. })).await;
    release_all(&script);
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_question_without_an_answer_makes_the_module_unhealthy() {
    let (mut rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let instance = probed(&rig, &script, Duration::from_millis(10)).await;
    rig.hear(|event| matches!(event, Event::HealthChanged { status: HealthStatus::Unhealthy, .. })).await;
    release_all(&script);
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_question_that_is_out_does_not_hold_up_a_stop() {
    let (rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let instance = probed(&rig, &script, SOON).await;
    let stop = rig.stop(&instance);
    let finish = async {
        until(|| instance.pool.is_closed() && rig.modules.get_children().is_empty()).await;
        assert_eq!(script.alive(), 1, "the tree was gone before the answer came");
        script.release();
    };
    tokio::join!(stop, finish);
    assert_eq!((script.alive(), instance.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_check_that_is_slow_holds_up_no_other() {
    let (mut rig, script) = (Rig::new().await, Script::with(&[Handler::Health, Handler::Service("own.ok".into())]));
    let instance = rig
        .start(&script, |manifest| {
            manifest.runtime.workers = 2;
            let text = b"id: own\nversion: 1.0.0\ncapabilities: [{ id: own }]\n";
            manifest.capabilities = crate::manifest::load("m", text).expect("a manifest").manifest.capabilities;
            manifest.lifecycle.activation.health_checks = vec![
                check("slow", HealthCheckKind::Custom, SOON),
                check("quick", HealthCheckKind::Service { service: "own.ok".into() }, SOON),
            ];
        })
        .await;
    instance.serves();
    script.begun().await;
    // the slow one is asked once meanwhile
    until(|| script.ran() > 20).await;
    let report = instance.health.report();
    let found: Vec<_> = report.checks.iter().map(|check| (check.id.as_str(), check.status)).collect();
    assert_eq!(found, [("slow", HealthStatus::Unknown), ("quick", HealthStatus::Healthy)]);
    assert_eq!(report.status, HealthStatus::Unknown, "the verdict is open until each has answered");
    script.release();
    rig.hear(|event| matches!(event, Event::HealthChanged { status: HealthStatus::Healthy, .. })).await;
    release_all(&script);
    rig.stop(&instance).await;
}
