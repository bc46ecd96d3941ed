//! The clock of a test: the system's until a test sets or moves it, then it stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC at which it stands; 0 while it goes with the system's.
#[derive(Debug, Default)]
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    pub(super) fn now(&self) -> u64 {
        match self.0.load(Ordering::Acquire) {
            0 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            millis => millis,
        }
    }

    /// Stops it at a moment; the first millisecond of 1970 is the earliest.
    pub(super) fn set(&self, millis: u64) {
        self.0.store(millis.max(1), Ordering::Release);
    }

    pub(super) fn advance(&self, millis: u64) {
        self.set(self.now().saturating_add(millis));
    }
}
