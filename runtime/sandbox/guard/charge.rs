//! Processor time that a module has used on threads that are not its own.

use std::sync::Arc;
use std::time::Instant;

use prometheus::Counter;
use replug_scripts::thread_cpu_time;

use crate::monitor::{InstanceKey, Metrics};
use crate::sandbox::permissions::Live;
use crate::sandbox::quota::{Account, ModuleAccounts};

/// Whom it is charged to.
#[derive(Clone)]
pub(super) struct Charge {
    account: Arc<Account>,
    live: Arc<Live>,
    cpu_seconds: Counter,
}

impl Charge {
    pub(super) fn new(key: &InstanceKey, live: Arc<Live>, accounts: &ModuleAccounts, metrics: &Metrics) -> Self {
        Self { account: accounts.of(&key.id), live, cpu_seconds: metrics.instance(key).cpu_seconds }
    }

    /// Does `work`, and charges what the thread used for it.
    pub(super) fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = thread_cpu_time();
        let done = work();
        let used = thread_cpu_time().saturating_sub(before);
        self.account.counts.cpu(used);
        let grants = self.live.grants();
        let quota = &grants.effective().resources.cpu;
        self.account.cpu.charge(quota, used, Instant::now());
        if quota.cpu_monitoring_enabled {
            self.cpu_seconds.inc_by(used.as_secs_f64());
        }
        done
    }
}
