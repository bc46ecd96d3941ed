//! Bytes a second on the network, in both directions together.

use std::time::{Duration, Instant};

use super::schedule::Schedule;

/// How much of its rate may come at once after a rest.
const BURST: Duration = Duration::from_secs(1);

/// A bucket that fills at a rate: bytes are taken after they went over the wire, and what went over the rate is waited for
/// before more goes.
#[derive(Debug)]
pub struct Bandwidth {
    bytes_a_second: u64,
    schedule: Schedule,
}

impl Bandwidth {
    /// A full bucket.
    #[must_use]
    pub fn new(bytes_a_second: u64) -> Self {
        Self { bytes_a_second, schedule: Schedule::new(Instant::now()) }
    }

    /// Takes `bytes`; tells how long to wait before more may go.
    pub fn take(&self, bytes: usize, now: Instant) -> Duration {
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.bytes_a_second.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.schedule.charge(cost, now, Duration::MAX).saturating_sub(BURST)
    }

    /// How long to wait now before anything may go.
    pub fn debt(&self, now: Instant) -> Duration {
        self.schedule.ahead(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_comes_at_once_and_the_rest_at_the_rate() {
        let (bucket, start) = (Bandwidth::new(1000), Instant::now());
        assert_eq!(bucket.take(1000, start), Duration::ZERO);
        assert_eq!(bucket.take(500, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(300);
        assert_eq!(bucket.debt(later), Duration::from_millis(200));
        assert_eq!(bucket.debt(start + Duration::from_millis(500)), Duration::ZERO);
        // a long rest saves up no more than one burst
        let rested = start + Duration::from_secs(100);
        assert_eq!(bucket.take(1000, rested), Duration::ZERO);
        assert_eq!(bucket.take(1, rested), Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_never_exceeds_the_rate(
            rate in 1024u64..10_000_000,
            sizes in prop::collection::vec(1usize..100_000, 1..50),
        ) {
            let (bucket, start) = (Bandwidth::new(rate), Instant::now());
            let (mut now, mut sent) = (start, 0u64);
            for size in sizes {
                now += bucket.take(size, now);
                sent += size as u64;
                let allowed = rate as f64 * ((now - start).as_secs_f64() + BURST.as_secs_f64());
                prop_assert!(sent as f64 <= allowed + 1.0, "{sent} in {:?}", now - start);
            }
        }
    }
}
