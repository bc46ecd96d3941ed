//! Questions about health beside other calls: a full queue says nothing, and waiting for it ends by itself.

use super::*;
use crate::actors::health::examine;
use crate::manifest::{HealthCheck, HealthCheckKind};
use crate::monitor::HealthStatus;

/// An instance whose only worker is held by a call and whose queue is full.
async fn full(rig: &Rig, script: &Arc<Script>, timeout: Duration) -> (Arc<Instance>, [JoinHandle<CallResultOf>; 2]) {
    let instance = rig
        .start(script, |manifest| {
            manifest.runtime.limits.queue = 1;
            manifest.lifecycle.activation.health_checks = vec![HealthCheck {
                id: "lights".into(),
                kind: HealthCheckKind::Custom,
                timeout,
                interval: Duration::from_secs(60),
                retries: 0,
                critical: true,
            }];
        })
        .await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let queued = calling(&instance, "wait");
    until(|| instance.pool.waiting() == 1).await;
    (instance, [held, queued])
}

type CallResultOf = Result<Value, CallError>;

#[tokio::test]
async fn a_queue_that_stays_full_says_nothing_about_health() {
    let (rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let (instance, calls) = full(&rig, &script, Duration::from_millis(50)).await;
    let report = soon(examine(&instance)).await;
    let check = &report.checks[0];
    assert_eq!((report.status, check.failures, check.last_check), (HealthStatus::Unknown, 0, 0));
    assert!(check.detail.contains("is full (1 waiting)"), "{check:?}");
    for call in calls {
        script.release();
        result(call).await.expect("it was never in the way");
    }
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_queue_that_empties_within_the_timeout_is_waited_for() {
    let (rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let (instance, calls) = full(&rig, &script, SOON).await;
    let examined = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move { examine(&instance).await })
    };
    for _ in 0..3 {
        script.release();
    }
    assert_eq!(soon(examined).await.expect("does not panic").status, HealthStatus::Healthy);
    for call in calls {
        result(call).await.expect("it was never in the way");
    }
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_question_that_is_dropped_leaves_nothing_in_the_queue() {
    let (rig, script) = (Rig::new().await, Script::with(&[Handler::Health]));
    let instance = rig.start(&script, |_| {}).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let examined = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move { examine(&instance).await })
    };
    until(|| instance.pool.waiting() == 1).await;
    examined.abort();
    until(|| instance.pool.waiting() == 0 && instance.in_flight() == 1).await;
    script.release();
    result(held).await.expect("it ends");
    rig.stop(&instance).await;
}
