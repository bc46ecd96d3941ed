//! Processor time that a module has used on threads that are not its own.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Counter;
use replug_scripts::{Overseen, Overseer, thread_cpu_time};

use crate::monitor::{InstanceKey, Named};
use crate::sandbox::Supplies;
use crate::sandbox::permissions::Live;
use crate::sandbox::quota::Account;

/// Whom it is charged to.
#[derive(Clone)]
pub(super) struct Charge {
    account: Arc<Account>,
    live: Arc<Live>,
    cpu_seconds: Counter,
    /// What a thread that works for it is named by, should it abort the process.
    named: Option<Named>,
}

impl Charge {
    pub(super) fn new(key: &InstanceKey, live: Arc<Live>, supplies: &Supplies) -> Self {
        let Supplies { accounts, metrics, aborts, .. } = supplies;
        let named = aborts.name(&format!("{}@{}", key.id, key.version));
        Self { account: accounts.of(&key.id), live, cpu_seconds: metrics.instance(key).cpu_seconds, named }
    }

    /// Does `work`, and charges what the thread uses for it: meanwhile, where the work asks whether it may go on, and at its end.
    pub(super) fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        let meter = Rc::new(Meter { charge: self.clone(), counted: Cell::new(thread_cpu_time()) });
        let _overseen = Overseen::by(meter);
        match &self.named {
            Some(named) => named.during(work),
            None => work(),
        }
    }
}

/// Work of a module on a thread that is not its own.
struct Meter {
    charge: Charge,
    /// What the thread has used that is charged already, or is nobody's.
    counted: Cell<Duration>,
}

impl Meter {
    fn count(&self) {
        let Charge { account, live, cpu_seconds, .. } = &self.charge;
        let time = thread_cpu_time();
        let used = time.saturating_sub(self.counted.replace(time));
        account.counts.cpu(used);
        let grants = live.grants();
        let quota = &grants.effective().resources.cpu;
        let now = Instant::now();
        account.load.charge(used, now);
        account.cpu.charge(quota, used, now);
        if quota.cpu_monitoring_enabled {
            cpu_seconds.inc_by(used.as_secs_f64());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.count();
    }
}

impl Overseer for Meter {
    fn holds(&self, _: usize) {}

    fn may_go_on(&self) -> bool {
        self.count();
        !self.charge.live.halt().is_set()
    }
}
