//! How busy a module keeps the processors, and whether it is to yield to others.
//!
//! A leaky bucket as a virtual schedule, as the [share of the processor](super::cpu) is one: what a module uses beyond a
//! quarter of a core fills it, and a module yields while there are more than fifty milliseconds of it. What it holds is
//! bounded, so that a module is soon like any other after it has become calm.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of one core, what a module may use without yielding to others.
const LIGHT: f64 = 0.25;
/// How far ahead of that it may be: a burst of a call or two.
const BURST: Duration = Duration::from_millis(200);
/// What is remembered of its use at most, from the burst on.
const MEMORY: Duration = Duration::from_millis(1000);

/// What a module has used lately.
#[derive(Debug)]
pub struct Load {
    epoch: Instant,
    /// Nanoseconds after the epoch at which its use will be forgotten.
    due: AtomicU64,
}

impl Load {
    /// Nothing was used at `now`, which is the earliest time that may be asked about.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { epoch: now, due: AtomicU64::new(0) }
    }

    /// `used` was used until `now`; whether the module is to yield to others.
    pub fn charge(&self, used: Duration, now: Instant) -> bool {
        let (cost, now) = (nanos(used.div_f64(LIGHT)), self.since_epoch(now));
        let most = now.saturating_add(nanos(BURST + MEMORY));
        let charged = |due: u64| Some(due.max(now).saturating_add(cost).min(most));
        // it always says what the next value is
        let _ = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
        self.yields_at(now)
    }

    /// Whether the module is to yield to others at `now`.
    #[must_use]
    pub fn yields(&self, now: Instant) -> bool {
        self.yields_at(self.since_epoch(now))
    }

    fn yields_at(&self, now: u64) -> bool {
        self.due.load(Ordering::Relaxed) > now.saturating_add(nanos(BURST))
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_burst_yields_to_nobody_and_a_busy_module_does() {
        let start = Instant::now();
        let load = Load::new(start);
        assert!(!load.charge(millis(50), start));
        assert!(load.charge(millis(2), start));
        assert!(load.yields(start + millis(7)));
        assert!(!load.yields(start + millis(8)), "what was used beyond the burst is forgotten at a quarter of a core");
    }

    #[test]
    fn a_module_that_keeps_to_a_quarter_of_a_core_never_yields() {
        let start = Instant::now();
        let load = Load::new(start);
        for second in 0..1000_u32 {
            assert!(!load.charge(millis(2), start + millis(8) * second));
        }
    }

    #[test]
    fn a_module_that_was_busy_for_long_is_calm_after_a_second() {
        let start = Instant::now();
        let load = Load::new(start);
        assert!(load.charge(Duration::from_secs(3600), start));
        assert!(load.yields(start + millis(999)));
        assert!(!load.yields(start + millis(1000)));
    }
}
