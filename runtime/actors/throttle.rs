//! Whether a module's share of the processor lets it run its next call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::CallError;
use super::job::Job;
use super::quotas::Quotas;
use crate::manifest::CpuQuota;
use crate::sandbox::quota::Account;

/// The share of one instance in its module's account.
pub struct Throttle {
    account: Arc<Account>,
    quotas: Quotas,
}

impl Throttle {
    /// For an instance with these quotas.
    #[must_use]
    pub const fn new(account: Arc<Account>, quotas: Quotas) -> Self {
        Self { account, quotas }
    }

    /// Has the audit log told that a job was turned away, where a limit or a quota is why.
    pub fn tell(&self, error: &CallError, job: &Job) {
        self.quotas.tell(error, job.handler(), &job.call);
    }

    /// How long its calls must wait; zero without a share, and where calls are turned away instead.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.quotas
            .read(|quotas| if quotas.cpu.cpu_throttling_enabled { self.left(&quotas.cpu) } else { Duration::ZERO })
    }

    fn left(&self, quota: &CpuQuota) -> Duration {
        // without a share the clock is not looked at
        if quota.max_cpu_usage.is_none() { Duration::ZERO } else { self.account.cpu.wait(quota, Instant::now()) }
    }

    /// Whether there is a share that the module keeps to.
    #[must_use]
    pub fn has_share(&self) -> bool {
        self.quotas.read(|quotas| quotas.cpu.max_cpu_usage.is_some())
    }

    /// Whether calls need not wait, nor would if half of the share were all of it.
    #[must_use]
    pub fn has_to_spare(&self) -> bool {
        self.quotas.read(|quotas| {
            let half = quotas.cpu.cpu_quota_period / 2;
            self.left(&CpuQuota { cpu_quota_period: half, ..quotas.cpu.clone() }).is_zero()
        })
    }

    /// How long a job would have to wait, if it is not to: where throttling is off, at all; otherwise longer than its caller
    /// waits.
    #[must_use]
    pub fn refuses(&self, job: &Job) -> Option<Duration> {
        let (wait, is_patient) = self.quotas.read(|quotas| (self.left(&quotas.cpu), quotas.cpu.cpu_throttling_enabled));
        if wait.is_zero() || job.is_exempt() {
            return None;
        }
        let patience =
            if is_patient { job.call.deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        (wait > patience).then_some(wait)
    }
}
