//! What a module uses: counted as it is used, read as one snapshot.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The counts of one module, over all its versions that run.
#[derive(Debug, Default)]
pub struct Tracker {
    memory: AtomicI64,
    peak: AtomicI64,
    cpu_nanos: AtomicU64,
    calls: AtomicU64,
}

/// What a module uses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Bytes that the heaps of its VMs hold.
    pub memory: u64,
    /// The most that they held together.
    pub peak_memory: u64,
    /// Milliseconds of CPU time that its scripts used.
    pub cpu_millis: u64,
    /// Calls of its scripts.
    pub calls: u64,
}

impl Tracker {
    /// A heap grew by so many bytes, or shrank.
    pub fn heap(&self, change: i64) {
        let now = self.memory.fetch_add(change, Ordering::Relaxed).saturating_add(change);
        if change > 0 {
            self.peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// A thread used CPU time.
    pub fn cpu(&self, used: Duration) {
        self.cpu_nanos.fetch_add(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A script was called.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let bytes = |count: &AtomicI64| u64::try_from(count.load(Ordering::Relaxed)).unwrap_or(0);
        Usage {
            memory: bytes(&self.memory),
            peak_memory: bytes(&self.peak),
            cpu_millis: self.cpu_nanos.load(Ordering::Relaxed) / 1_000_000,
            calls: self.calls.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_most_that_was_held_together() {
        let tracker = Tracker::default();
        for change in [700, 50, -400, 100, -450] {
            tracker.heap(change);
        }
        tracker.cpu(Duration::from_micros(1_500));
        tracker.cpu(Duration::from_micros(600));
        tracker.call();
        assert_eq!(tracker.usage(), Usage { memory: 0, peak_memory: 750, cpu_millis: 2, calls: 1 });
    }
}
