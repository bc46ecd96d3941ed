//! How busy a module keeps the processors, and whether it is to yield to others.
//!
//! A virtual schedule (GCRA), as its [share of the processor](super::cpu) is one: what a module uses beyond a quarter of a core puts it ahead,
//! and it yields while it is ahead by more than a burst. How far it can be is bounded, so that a module is soon like any other
//! after it has become calm.

use std::time::{Duration, Instant};

use super::schedule::Schedule;

/// Of one core, what a module may use without yielding to others.
const LIGHT: f64 = 0.25;
/// How far ahead of that it may be: a burst of fifty milliseconds.
const BURST: Duration = Duration::from_millis(200);
/// How far ahead it is at most.
const MOST: Duration = Duration::from_millis(1200);

/// What a module has used lately.
#[derive(Debug)]
pub struct Load(Schedule);

impl Load {
    /// Nothing was used at `now`, which is the earliest time that may be asked about.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self(Schedule::new(now))
    }

    /// `used` was used until `now`; whether the module is to yield to others.
    pub fn charge(&self, used: Duration, now: Instant) -> bool {
        self.0.charge(used.div_f64(LIGHT), now, MOST) > BURST
    }

    /// Whether the module is to yield to others at `now`.
    #[must_use]
    pub fn yields(&self, now: Instant) -> bool {
        self.0.ahead(now) > BURST
    }
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
