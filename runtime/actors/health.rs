//! Whether an instance is well: its health checks, asked at once by [`examine`] or at intervals by the prober.
//!
//! | check | passes when |
//! |---|---|
//! | `endpoint: PATH` | the module's api `GET PATH` answers below 400, asked in this instance without the gateway; without such an api as `custom` |
//! | `database` | the module's database answers and has every table that its applied migrations made |
//! | `service: CAPABILITY.METHOD` | the service answers an empty map without an error: this instance if its module provides the capability, otherwise whichever module does |
//! | `custom` | the script's `health(ctx)` does not say `unhealthy` |
//!
//! A failure is forgiven `retries` times in a row, and asked again after 100 ms, then 200 ms and so on up to a second (never
//! longer than the interval). A full queue is no failure: it says nothing about health.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use replug_scripts::Handler;

use super::instance::Instance;
use crate::manifest::{HealthCheck, HealthCheckKind};
use crate::monitor::health::{CheckReport, Report};

pub(super) mod ask;
pub mod schedule;

use schedule::Course;

/// The check of a module that declares none: how long `health` may take and how often it is asked.
const TIMEOUT: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(30);

/// Asks every check of the instance now, side by side, each with its own timeout and retries, and waits for all of them:
/// at most `timeout * (retries + 1)` and the pauses between. It neither needs that the instance serves nor changes what
/// [`Instance::health`] says; dropping the future takes the questions back.
///
/// The report's status is `Unhealthy` if a critical check failed beyond its retries, and `Unknown` if there is nothing to
/// ask or a queue stayed full; `Report::detail` names what does not pass.
pub async fn examine(instance: &Arc<Instance>) -> Report {
    let checks = checks(instance);
    let asked = checks.into_iter().map(|check| settle(instance, check));
    Report::of(futures::future::join_all(asked).await)
}

/// Asks until an answer stands.
async fn settle(instance: &Arc<Instance>, check: HealthCheck) -> CheckReport {
    let mut course = Course::new(check);
    loop {
        let (answer, took) = ask::ask(instance, course.check()).await;
        match course.answered(answer, took, now()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return course.report().clone(),
        }
    }
}

/// The checks of the manifest; without any, the script's `health` if it has one.
pub(super) fn checks(instance: &Instance) -> Vec<HealthCheck> {
    let declared = &instance.manifest.lifecycle.activation.health_checks;
    if !declared.is_empty() || !instance.exports().has(&Handler::Health) {
        return declared.clone();
    }
    let (id, kind) = ("health".to_owned(), HealthCheckKind::Custom);
    vec![HealthCheck { id, kind, timeout: TIMEOUT, interval: INTERVAL, retries: 0, critical: true }]
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
