//! What has to be done now and then as long as a runtime lives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::store::KvStore;

/// How often expired entries of modules' stores are looked for, and how many are looked at each time.
const SWEEP: (Duration, usize) = (Duration::from_secs(5), 512);

/// Sweeps for as long as it is kept.
pub(super) struct Sweeper(JoinHandle<()>);

impl Sweeper {
    pub(super) fn start(kv: KvStore) -> Self {
        Self(tokio::spawn(sweep(kv)))
    }

    /// Ends it, and returns when it holds nothing any more.
    pub(super) async fn stop(mut self) {
        self.0.abort();
        // it was told to end, so how it ended says nothing
        let _ = (&mut self.0).await;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
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
