//! How often a child may be restarted, and how long to wait before the next try. Pure: time is passed in.
//!
//! The rule is OTP's (`supervisor`, "maximum restart intensity"): more than `intensity` restarts within `period` and
//! the supervisor gives up and fails itself.

use std::collections::VecDeque;
use std::time::Duration;

/// The first wait once a child fails again within the period.
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
/// The longest wait.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// At most `intensity` restarts within `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed.
    pub intensity: u32,
    /// Within which time.
    pub period: Duration,
}

/// What to do about one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Restart after this wait: none for the first failure of a period, doubling from 10 ms to 5 s after it.
    Restart(Duration),
    /// Give up.
    Escalate,
}

/// The restarts of the last period.
#[derive(Clone, Debug)]
pub struct RestartWindow {
    rule: Intensity,
    restarts: VecDeque<Duration>,
}

impl RestartWindow {
    /// An empty window.
    #[must_use]
    pub const fn new(rule: Intensity) -> Self {
        Self { rule, restarts: VecDeque::new() }
    }

    /// Notes a failure at `now` (time since any fixed moment, never decreasing) and decides.
    pub fn failed(&mut self, now: Duration) -> Decision {
        while self.restarts.front().is_some_and(|&at| now.saturating_sub(at) > self.rule.period) {
            self.restarts.pop_front();
        }
        let before = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if before >= self.rule.intensity {
            return Decision::Escalate;
        }
        self.restarts.push_back(now);
        Decision::Restart(match before {
            0 => Duration::ZERO,
            n => FIRST_BACK_OFF.saturating_mul(1 << (n - 1).min(20)).min(LONGEST_BACK_OFF),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(intensity: u32, seconds: u64) -> RestartWindow {
        RestartWindow::new(Intensity { intensity, period: Duration::from_secs(seconds) })
    }

    #[test]
    fn intensity_just_not_reached_restarts_and_reached_escalates() {
        let mut window = window(2, 10);
        assert_eq!(window.failed(Duration::from_secs(1)), Decision::Restart(Duration::ZERO));
        assert_eq!(window.failed(Duration::from_secs(2)), Decision::Restart(Duration::from_millis(10)));
        assert_eq!(window.failed(Duration::from_secs(3)), Decision::Escalate);
    }

    #[test]
    fn intensity_resets_after_the_period() {
        let mut window = window(1, 10);
        assert_eq!(window.failed(Duration::from_secs(1)), Decision::Restart(Duration::ZERO));
        assert_eq!(window.failed(Duration::from_secs(12)), Decision::Restart(Duration::ZERO));
        assert_eq!(window.failed(Duration::from_secs(20)), Decision::Escalate);
    }

    #[test]
    fn an_intensity_of_zero_never_restarts() {
        assert_eq!(window(0, 10).failed(Duration::ZERO), Decision::Escalate);
    }

    proptest! {
        #[test]
        fn no_period_ever_holds_more_restarts_than_allowed(
            steps in prop::collection::vec(0u64..5_000, 1..200), intensity in 0u32..8, period in 1u64..20,
        ) {
            let mut window = window(intensity, period);
            let (mut now, mut granted) = (Duration::ZERO, Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                if let Decision::Restart(wait) = window.failed(now) {
                    prop_assert!(wait <= LONGEST_BACK_OFF);
                    granted.push(now);
                }
            }
            for (i, &at) in granted.iter().enumerate() {
                let within = granted[i..].iter().take_while(|&&t| t - at <= Duration::from_secs(period)).count();
                prop_assert!(within <= intensity as usize);
            }
        }
    }
}
