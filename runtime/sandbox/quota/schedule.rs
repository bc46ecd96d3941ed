//! The generic cell rate algorithm (ITU-T I.371) in its form of a virtual schedule.
//!
//! What is used costs time, by its rate. Who uses more than the rate gets ahead of the clock, and by how much is all that is
//! kept: what was not used is not saved up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far something is ahead of its rate.
#[derive(Debug)]
pub(super) struct Schedule {
    epoch: Instant,
    /// Nanoseconds after the epoch at which all will be paid back.
    due: AtomicU64,
}

impl Schedule {
    /// Nothing is due at `now`, which is the earliest time that may be asked about.
    pub(super) const fn new(now: Instant) -> Self {
        Self { epoch: now, due: AtomicU64::new(0) }
    }

    /// Something that costs `cost` was used until `now`, of which no more than `most` is remembered; how far it is ahead then.
    pub(super) fn charge(&self, cost: Duration, now: Instant, most: Duration) -> Duration {
        let (cost, now) = (nanos(cost), self.since_epoch(now));
        let most = now.saturating_add(nanos(most));
        let charged = |due: u64| due.max(now).saturating_add(cost).min(most);
        // it always says what the next value is
        let due = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(charged(due)));
        Duration::from_nanos(charged(due.unwrap_or_else(|due| due)) - now)
    }

    /// How far it is ahead at `now`.
    pub(super) fn ahead(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.due.load(Ordering::Relaxed).saturating_sub(self.since_epoch(now)))
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
