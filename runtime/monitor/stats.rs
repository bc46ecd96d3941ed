//! What one instance answered since it started, for whoever compares two of them.
//!
//! [`Metrics`](super::Metrics) are for people: they belong to a version and cannot be read back. These belong to an
//! instance, cost three relaxed additions at most a request, and are read as a [`Sample`], of which two subtract.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use histogram::{AtomicHistogram, Config, Histogram};

/// Each power of two of microseconds has 2^5 buckets, so a time is known to 1/32 (3.1 %) of itself, or to 1 us.
const PRECISION: u8 = 5;

/// Times of 2^30 us (17.9 min) and more are counted as the longest below it.
const RANGE: u8 = 30;

/// The cumulative counts of one instance: about 7 KB.
pub struct Stats {
    answered: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    failed_unheard: AtomicU64,
    incomparable: AtomicU64,
    times: AtomicHistogram,
    /// What had been done when the time began that counts as recent; nothing: all of it.
    recent_since: Mutex<Option<Sample>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            failed_unheard: AtomicU64::new(0),
            incomparable: AtomicU64::new(0),
            times: AtomicHistogram::with_config(&config()),
            recent_since: Mutex::default(),
        }
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats")
            .field("answered", &self.answered)
            .field("failed", &self.failed)
            .field("abandoned", &self.abandoned)
            .finish_non_exhaustive()
    }
}

impl Stats {
    /// Counts one answer and the time from admission to it. It waits for nobody.
    pub fn record(&self, failed: bool, took: Duration) {
        // one counter or the other, so that no sample ever has more errors than requests
        self.add(if failed { &self.failed } else { &self.answered }, took);
    }

    /// Counts a request whose client went away before its answer, and the time it had waited by then, which is the least
    /// that the answer takes.
    pub fn abandon(&self, waited: Duration) {
        self.add(&self.abandoned, waited);
    }

    /// Counts that a streamed answer failed, whose head was counted before as one that did not. It has no time: as long as it
    /// lasted it was well.
    pub fn fail_stream(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts that the instance failed a request which was abandoned before.
    pub fn fail_unheard(&self) {
        self.failed_unheard.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a copy of a request that failed where something was refused to it, which says nothing of the instance. It is none
    /// of the requests.
    pub fn leave_out(&self) {
        self.incomparable.fetch_add(1, Ordering::Relaxed);
    }

    fn add(&self, counter: &AtomicU64, took: Duration) {
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let counted = self.times.increment(micros.min((1 << RANGE) - 1));
        debug_assert!(counted.is_ok(), "the range was clamped");
    }

    /// From now on what came after `began`, an earlier sample of this instance, counts as recent.
    pub fn set_recent(&self, began: Sample) {
        *self.recent_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
    }

    /// What was done lately, so that an outage of last week does not excuse one of today.
    #[must_use]
    pub fn recent(&self) -> Sample {
        let since = self.recent_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.as_ref().map_or_else(|| self.sample(), |began| self.sample().since(began))
    }

    /// Everything so far: a copy of 7 KB. A request that is being counted at this moment may be in one part of it only.
    #[must_use]
    pub fn sample(&self) -> Sample {
        Sample {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
            failed_unheard: self.failed_unheard.load(Ordering::Relaxed),
            incomparable: self.incomparable.load(Ordering::Relaxed),
            times: self.times.load(),
        }
    }
}

/// What an instance answered until some moment, or between two.
#[derive(Clone, Debug)]
pub struct Sample {
    answered: u64,
    failed: u64,
    abandoned: u64,
    failed_unheard: u64,
    incomparable: u64,
    times: Histogram,
}

impl Default for Sample {
    /// No request.
    fn default() -> Self {
        let times = Histogram::with_config(&config());
        Self { answered: 0, failed: 0, abandoned: 0, failed_unheard: 0, incomparable: 0, times }
    }
}

impl Sample {
    /// What came after `earlier`, a sample of the same instance. Of another instance's sample nothing sensible comes, but
    /// nothing below zero either.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(earlier.answered),
            failed: self.failed.saturating_sub(earlier.failed),
            abandoned: self.abandoned.saturating_sub(earlier.abandoned),
            failed_unheard: self.failed_unheard.saturating_sub(earlier.failed_unheard),
            incomparable: self.incomparable.saturating_sub(earlier.incomparable),
            times: self.times.checked_sub(&earlier.times).unwrap_or_else(|_| Self::default().times),
        }
    }

    /// How many requests were answered, failed, or abandoned by their clients; and how many streamed answers failed after their
    /// heads.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.answered + self.failed + self.abandoned
    }

    /// How many of them the instance failed. A request that is abandoned in one interval may fail in the next: no more
    /// than all of an interval count.
    #[must_use]
    pub fn errors(&self) -> u64 {
        (self.failed + self.failed_unheard).min(self.requests())
    }

    /// How many copies of requests say nothing of the instance; they are not among [`Sample::requests`].
    #[must_use]
    pub const fn incomparable(&self) -> u64 {
        self.incomparable
    }

    /// The share of the requests that failed, from 0 to 1; 0 without a request.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        match self.requests() {
            0 => 0.0,
            requests => self.errors() as f64 / requests as f64,
        }
    }

    /// The time within which 95 of 100 requests ended, failed and abandoned ones included, by nearest rank. It is the upper end of its
    /// bucket: up to 3.1 % too long, never too short. Nothing without a request.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        let bucket = self.times.quantile_bucket(0.95).ok().flatten()?;
        Some(Duration::from_micros(bucket.end()))
    }
}

fn config() -> Config {
    Config::new(PRECISION, RANGE).expect("the range is larger than the precision")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_rate_and_no_time() {
        let sample = Stats::default().sample();
        assert_eq!((sample.requests(), sample.errors(), sample.p95()), (0, 0, None));
        assert_eq!(sample.error_rate().to_bits(), 0.0f64.to_bits());
        assert_eq!(Sample::default().since(&sample).requests(), 0);
    }

    #[test]
    fn a_sample_since_an_earlier_one_has_what_came_between() {
        let stats = Stats::default();
        for _ in 0..30 {
            stats.record(false, Duration::from_millis(1));
        }
        let earlier = stats.sample();
        for number in 0..20 {
            stats.record(number < 5, Duration::from_millis(80));
        }
        let between = stats.sample().since(&earlier);
        assert_eq!((between.requests(), between.errors(), between.error_rate()), (20, 5, 0.25));
        let p95 = between.p95().expect("there were requests");
        assert!((Duration::from_millis(80)..Duration::from_millis(83)).contains(&p95), "{p95:?}");
        assert_eq!(stats.sample().requests(), 50);
    }

    #[test]
    fn failures_of_streams_count_in_the_interval_in_which_they_come() {
        let stats = Stats::default();
        (0..20).for_each(|_| stats.record(false, Duration::from_millis(1)));
        let heads = stats.sample();
        (0..15).for_each(|_| stats.fail_stream());
        (0..5).for_each(|_| stats.record(false, Duration::from_millis(1)));
        let ends = stats.sample().since(&heads);
        assert_eq!((ends.requests(), ends.errors()), (20, 15));
        assert!(ends.p95().expect("five have a time") < Duration::from_millis(2));
    }

    #[test]
    fn what_is_recent_begins_where_it_was_set() {
        let stats = Stats::default();
        (0..30).for_each(|_| stats.record(true, Duration::from_millis(1)));
        assert_eq!(stats.recent().errors(), 30);
        stats.set_recent(stats.sample());
        (0..20).for_each(|_| stats.record(false, Duration::from_millis(1)));
        assert_eq!((stats.recent().requests(), stats.recent().errors()), (20, 0));
    }

    #[test]
    fn samples_of_two_instances_never_go_below_zero() {
        let (one, other) = (Stats::default(), Stats::default());
        one.record(true, Duration::from_millis(1));
        other.record(false, Duration::from_millis(2));
        let mixed = one.sample().since(&other.sample());
        assert_eq!((mixed.requests(), mixed.errors(), mixed.p95()), (1, 1, None));
    }

    #[test]
    fn what_clients_abandon_counts_with_its_time_and_as_failed_once_it_fails() {
        let stats = Stats::default();
        (0..20).for_each(|_| stats.abandon(Duration::from_millis(300)));
        let first = stats.sample();
        assert_eq!((first.requests(), first.errors()), (20, 0));
        assert!(first.p95().is_some_and(|p95| p95 >= Duration::from_millis(300)));
        (0..5).for_each(|_| stats.fail_unheard());
        assert_eq!((stats.sample().requests(), stats.sample().errors()), (20, 5));
        let later = stats.sample().since(&first);
        assert_eq!((later.requests(), later.errors(), later.error_rate().to_bits()), (0, 0, 0.0f64.to_bits()));
    }

    #[test]
    fn what_is_left_out_is_no_request() {
        let stats = Stats::default();
        stats.record(false, Duration::from_millis(1));
        let earlier = stats.sample();
        (0..3).for_each(|_| stats.leave_out());
        let later = stats.sample().since(&earlier);
        assert_eq!((later.requests(), later.errors(), later.incomparable()), (0, 0, 3));
        assert_eq!(stats.sample().p95(), earlier.p95(), "it has no time");
    }

    #[test]
    fn a_time_beyond_the_range_counts_as_the_longest() {
        let stats = Stats::default();
        stats.record(true, Duration::MAX);
        assert_eq!(stats.sample().p95(), Some(Duration::from_micros((1 << RANGE) - 1)));
    }

    #[test]
    fn what_many_threads_count_is_all_there() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let stats = &stats;
                scope.spawn(move || {
                    (0..5000).for_each(|number| stats.record(thread == 0, Duration::from_micros(number)));
                });
            }
            for _ in 0..50 {
                let sample = stats.sample();
                assert!(sample.errors() <= sample.requests() && sample.error_rate() <= 1.0);
            }
        });
        let sample = stats.sample();
        assert_eq!((sample.requests(), sample.errors()), (20_000, 5000));
    }

    proptest! {
        #[test]
        fn the_percentile_is_known_to_its_documented_error(mut micros in prop::collection::vec(0u64..1 << RANGE, 1..200)) {
            let stats = Stats::default();
            micros.iter().for_each(|micros| stats.record(false, Duration::from_micros(*micros)));
            micros.sort_unstable();
            let exact = micros[(micros.len() * 95).div_ceil(100) - 1];
            let told = stats.sample().p95().expect("there were requests");
            let told = u64::try_from(told.as_micros()).expect("it is in range");
            prop_assert!(told >= exact && told <= exact + exact / 32 + 1, "{told} for {exact}");
        }
    }
}
