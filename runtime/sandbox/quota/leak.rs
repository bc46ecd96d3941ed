//! A heap that grows from call to call: the sign of a script that keeps what it should let go.
//!
//! Every [`SPACING`] calls the heap is measured after a full collection, so that garbage is not in it. Over a window of
//! eight measurements it is a leak when the heap grew from each to the next, but for one at most, and by at least
//! 64 KiB and a twentieth in all. A cache that fills up grows too, but levels off; it is reported once at most.

use std::collections::VecDeque;
use std::fmt;

/// Calls between two measurements.
pub const SPACING: u64 = 64;
/// Measurements that are compared.
const WINDOW: usize = 8;
/// Bytes by which a heap must grow over a window.
const LEAST_GROWTH: u64 = 64 << 10;

/// What is known of one VM's heap.
#[derive(Debug, Default)]
pub struct LeakWatch {
    calls: u64,
    measured: VecDeque<u64>,
    /// The size last reported; the next report comes when it has doubled.
    reported: u64,
}

/// A heap that grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Bytes at the beginning of the window.
    pub from: u64,
    /// Bytes now.
    pub to: u64,
    /// Calls in between.
    pub calls: u64,
}

impl Leak {
    /// Bytes for each call, rounded down.
    #[must_use]
    pub const fn per_call(&self) -> u64 {
        (self.to - self.from) / self.calls
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, calls } = self;
        write!(f, "the heap grew from {from} to {to} bytes over {calls} calls, {} a call", self.per_call())
    }
}

impl LeakWatch {
    /// Counts a call; whether the heap is to be measured now.
    pub fn call(&mut self) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(SPACING)
    }

    /// The heap holds `bytes` after a full collection.
    pub fn measure(&mut self, bytes: u64) -> Option<Leak> {
        self.measured.push_back(bytes);
        if self.measured.len() > WINDOW {
            self.measured.pop_front();
        }
        let from = *self.measured.front()?;
        let pairs = self.measured.iter().zip(self.measured.iter().skip(1));
        let grown = pairs.filter(|(before, after)| after > before).count();
        let least = LEAST_GROWTH.max(from / 20);
        let leaks = self.measured.len() == WINDOW && grown >= WINDOW - 2 && bytes >= from.saturating_add(least);
        if !leaks || bytes < self.reported.saturating_mul(2) {
            return None;
        }
        self.reported = bytes;
        Some(Leak { from, to: bytes, calls: SPACING * (WINDOW as u64 - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(sizes: impl IntoIterator<Item = u64>) -> Vec<Leak> {
        let mut watch = LeakWatch::default();
        sizes.into_iter().filter_map(|bytes| watch.measure(bytes)).collect()
    }

    #[test]
    fn steady_growth_is_reported_with_its_numbers_and_again_when_it_has_doubled() {
        let found = reports((0..100).map(|n| 1_000_000 + n * 64_000));
        assert_eq!(found[0], Leak { from: 1_000_000, to: 1_448_000, calls: 448 });
        assert_eq!(found[0].to_string(), "the heap grew from 1000000 to 1448000 bytes over 448 calls, 1000 a call");
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn what_levels_off_goes_up_and_down_or_hardly_grows_is_none() {
        let cache = (0..50).map(|n: u64| 1_000_000 + 500_000 * n.min(4));
        let wave = (0..50).map(|n: u64| 1_000_000 + 500_000 * (n % 3));
        let crawl = (0..50).map(|n: u64| 100_000_000 + 1_000 * n);
        assert_eq!(reports(cache), []);
        assert_eq!(reports(wave), []);
        assert_eq!(reports(crawl), []);
        assert_eq!(reports(std::iter::repeat_n(5_000_000, 50)), []);
    }

    #[test]
    fn it_is_measured_every_so_many_calls() {
        let mut watch = LeakWatch::default();
        let measured = (0..640).filter(|_| watch.call()).count();
        assert_eq!(measured, 10);
    }
}
