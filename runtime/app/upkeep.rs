//! What has to be done now and then, or watched, as long as a runtime lives.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::notify::Notifier;
use crate::monitor::{Event, Events, Metrics};
use crate::sandbox::PermissionManager;
use crate::sandbox::permissions::ResourceType;
use crate::sandbox::ports::Usage;
use crate::sandbox::tracker::ResourceTracker;
use crate::store::{KvStore, WriteFault};

/// How often expired entries of modules' stores are looked for, and how many are looked at each time.
const SWEEP: (Duration, usize) = (Duration::from_secs(5), 512);

/// How often what modules use is measured.
const MEASURE: Duration = Duration::from_secs(2);

/// How often denials are looked through for repeats that nobody told yet.
const FLUSH: Duration = Duration::from_secs(10);

/// Goes on for as long as it is kept.
#[derive(Default)]
pub(super) struct Upkeep(JoinSet<()>);

impl Upkeep {
    /// Sweeps the stores of modules.
    pub(super) fn sweep(&mut self, kv: KvStore) {
        self.0.spawn(sweep(kv));
    }

    /// Has repeated denials written once their minute is over.
    pub(super) fn flush(&mut self, permissions: PermissionManager) {
        self.0.spawn(async move {
            let mut ticks = tokio::time::interval(FLUSH);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                permissions.flush();
            }
        });
    }

    /// Measures what modules use, and tells it as metrics beside their quotas.
    pub(super) fn measure(&mut self, tracker: ResourceTracker, permissions: PermissionManager) {
        self.0.spawn(async move {
            let mut ticks = tokio::time::interval(MEASURE);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                for module in tracker.measure(Instant::now()) {
                    for resource in ResourceType::ALL {
                        if let Some(amount) = tracker.used(&module, resource) {
                            permissions.log_resource_usage(&module, resource, amount);
                        }
                    }
                }
            }
        });
    }

    /// Tells of the rollbacks among these events.
    pub(super) fn notify(&mut self, notifier: Notifier, events: broadcast::Receiver<Arc<Event>>) {
        self.0.spawn(notifier.run(events));
    }

    /// Raises an alarm once `part` of what the runtime keeps takes no writes any more.
    pub(super) fn watch(&mut self, part: &'static str, fault: WriteFault, events: Events, metrics: Metrics) {
        metrics.set_writable(part, true);
        self.0.spawn(async move {
            let cause = fault.wait().await;
            metrics.set_writable(part, false);
            let message = format!(
                "it takes no writes since one failed ({cause}); what serves goes on, but what has to be written fails: mend \
                 the disk and restart the runtime"
            );
            events.emit(Event::Alarm { subject: part.to_owned(), message });
        });
    }

    /// Ends it, and returns when it holds nothing any more.
    pub(super) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// Removes what expired.
async fn sweep(kv: KvStore) {
    let mut ticks = tokio::time::interval(SWEEP.0);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let kv = kv.clone();
        match tokio::task::spawn_blocking(move || kv.sweep(SWEEP.1, now())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "expired entries could not be removed"),
            Err(error) => tracing::error!(%error, "the search for expired entries broke off"),
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
