//! A module's share of the processor, by the CPU time of the threads that run its scripts.
//!
//! A virtual schedule (GCRA): time that was used is due to be paid back at the rate of the share, and a call may begin while no more than one
//! period's share is due. So a module may use its share of a period at once, and over many periods never more than its share.
//! Time is charged when it has been used: a call that began runs to its own limits, and the next ones wait the longer for it.

use std::time::{Duration, Instant};

use super::schedule::Schedule;
use crate::manifest::CpuQuota;

/// What a module has used and not yet paid back.
#[derive(Debug)]
pub struct CpuAccount(Schedule);

impl CpuAccount {
    /// Nothing is due at `now`, which is the earliest time that may be asked about.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self(Schedule::new(now))
    }

    /// `used` was used until `now`. Without a share nothing is due.
    pub fn charge(&self, quota: &CpuQuota, used: Duration, now: Instant) {
        let Some(share) = quota.max_cpu_usage else { return };
        self.0.charge(used.div_f64(share), now, Duration::MAX);
    }

    /// How long it is from `now` until a call may begin; zero when one may at once.
    #[must_use]
    pub fn wait(&self, quota: &CpuQuota, now: Instant) -> Duration {
        if quota.max_cpu_usage.is_none() {
            return Duration::ZERO;
        }
        self.0.ahead(now).saturating_sub(quota.cpu_quota_period)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn quota(share: f64, period: u64) -> CpuQuota {
        CpuQuota { max_cpu_usage: Some(share), cpu_quota_period: millis(period), ..CpuQuota::default() }
    }

    #[test]
    fn a_periods_share_may_be_used_at_once_and_the_rest_is_waited_for() {
        let start = Instant::now();
        let (account, quota) = (CpuAccount::new(start), quota(0.5, 100));
        account.charge(&quota, millis(50), start);
        assert_eq!(account.wait(&quota, start), Duration::ZERO, "half of the period is its share");
        account.charge(&quota, millis(10), start);
        assert_eq!(account.wait(&quota, start), millis(20), "ten more are paid back in twenty");
        assert_eq!(account.wait(&quota, start + millis(20)), Duration::ZERO);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let (account, quota) = (CpuAccount::new(start), quota(1.0, 100));
        let later = start + Duration::from_secs(3600);
        account.charge(&quota, millis(150), later);
        assert_eq!(account.wait(&quota, later), millis(50));
    }

    #[test]
    fn without_a_share_nothing_waits() {
        let start = Instant::now();
        let (account, quota) = (CpuAccount::new(start), CpuQuota::default());
        account.charge(&quota, Duration::from_secs(3600), start);
        assert_eq!(account.wait(&quota, start), Duration::ZERO);
    }

    #[test]
    fn more_than_one_core_is_a_share_too() {
        let start = Instant::now();
        let (account, quota) = (CpuAccount::new(start), quota(2.0, 100));
        account.charge(&quota, millis(210), start);
        assert_eq!(account.wait(&quota, start), millis(5));
    }

    proptest! {
        /// A module that runs whenever it may uses its share and a period's, and a last call's overshoot, at most.
        #[test]
        fn over_many_periods_no_more_than_the_share_is_used(
            share in 0.05_f64..4.0, period in 1_u64..500, calls in proptest::collection::vec(1_u64..400, 1..200)
        ) {
            let start = Instant::now();
            let (account, quota) = (CpuAccount::new(start), quota(share, period));
            let (mut now, mut used) = (start, Duration::ZERO);
            for call in calls {
                now += account.wait(&quota, now);
                prop_assert_eq!(account.wait(&quota, now), Duration::ZERO);
                let allowed = (now - start + quota.cpu_quota_period).mul_f64(share);
                prop_assert!(used <= allowed + millis(1), "{:?} of {:?}", used, allowed);
                // the worst case: it takes no time on the clock
                account.charge(&quota, millis(call), now);
                used += millis(call);
            }
        }
    }
}
