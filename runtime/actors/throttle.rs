//! Whether a module's share of the processor lets it run its next call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::Job;
use crate::manifest::CpuQuota;
use crate::sandbox::quota::Account;

/// The share of one instance in its module's account.
pub struct Throttle {
    account: Arc<Account>,
    quota: CpuQuota,
}

impl Throttle {
    /// For an instance with this quota; nothing without a share.
    #[must_use]
    pub fn of(account: &Arc<Account>, quota: &CpuQuota) -> Option<Self> {
        quota.max_cpu_usage?;
        Some(Self { account: Arc::clone(account), quota: quota.clone() })
    }

    /// How long its calls must wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.account.cpu.wait(&self.quota, Instant::now())
    }

    /// How long a job would have to wait, if it is not to: where throttling is off, at all; otherwise longer than its caller
    /// waits.
    #[must_use]
    pub fn refuses(&self, job: &Job) -> Option<Duration> {
        let wait = self.wait();
        let patience = if self.quota.cpu_throttling_enabled {
            job.call.deadline.saturating_duration_since(Instant::now())
        } else {
            Duration::ZERO
        };
        (wait > patience && !job.is_exempt()).then_some(wait)
    }
}
