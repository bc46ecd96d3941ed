//! What is counted of a module as it is used.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The counts of one module, over all its versions that run.
#[derive(Debug, Default)]
pub struct Counts {
    memory: AtomicI64,
    peak: AtomicI64,
    cpu_nanos: AtomicU64,
    calls: AtomicU64,
}

impl Counts {
    /// A heap, or what waits outside of them, grew by so many bytes, or shrank.
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

    /// Bytes that the heaps of its VMs hold, and the values that wait for it.
    #[must_use]
    pub fn memory(&self) -> u64 {
        bytes(&self.memory)
    }

    /// The most that they held together.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        bytes(&self.peak)
    }

    /// The processor time that its scripts used.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Calls of its scripts.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

fn bytes(count: &AtomicI64) -> u64 {
    u64::try_from(count.load(Ordering::Relaxed)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_most_that_was_held_together() {
        let counts = Counts::default();
        for change in [700, 50, -400, 100, -450] {
            counts.heap(change);
        }
        counts.cpu(Duration::from_micros(1_500));
        counts.cpu(Duration::from_micros(600));
        counts.call();
        assert_eq!((counts.memory(), counts.peak_memory(), counts.calls()), (0, 750, 1));
        assert_eq!(counts.cpu_time(), Duration::from_micros(2_100));
    }
}
