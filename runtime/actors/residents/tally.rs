//! What may happen very often and is told at most once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines.
const SPACING: Duration = Duration::from_secs(1);

/// Counts what is not told.
#[derive(Default)]
pub(super) struct Tally(Mutex<(Option<Instant>, u64)>);

impl Tally {
    /// It happened; how often since it was last told, if it is time to tell it.
    pub(super) fn happened(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.1 += 1;
        if told.0.is_some_and(|last| now.saturating_duration_since(last) < SPACING) {
            return None;
        }
        told.0 = Some(now);
        Some(std::mem::take(&mut told.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_back_is_told_with_the_next() {
        let (tally, start) = (Tally::default(), Instant::now());
        assert_eq!(tally.happened(start), Some(1));
        for millis in [0, 1, 999] {
            assert_eq!(tally.happened(start + Duration::from_millis(millis)), None);
        }
        assert_eq!(tally.happened(start + SPACING), Some(4));
    }
}
