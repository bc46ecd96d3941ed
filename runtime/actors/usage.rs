//! What a thread that runs scripts takes: its processor time and the heap of its VM, told to the metrics.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{HeapObserver, thread_cpu_time};

use super::instance::Instance;
use super::quotas::Quotas;
use crate::monitor::InstanceMetrics;
use crate::sandbox::quota::Account;

/// How far apart two looks are at least. The thread's clock is a system call, which short calls need not pay each.
const SPACING: Duration = Duration::from_millis(1);

/// The account of the calling thread. What it held is given back when it is dropped, and the rest of its time counted.
pub(super) struct Usage<'a> {
    metrics: &'a InstanceMetrics,
    account: &'a Arc<Account>,
    quotas: &'a Quotas,
    /// Processor time that is counted already.
    counted: Duration,
    looked: Instant,
    /// What the metrics were told that it holds.
    shown: i64,
    held: Rc<Held>,
    _observer: HeapObserver,
}

/// What the VMs of the thread hold, as the account has it.
struct Held {
    account: Arc<Account>,
    bytes: Cell<i64>,
    /// The part of it that belongs to VMs which do not run.
    resting: Cell<usize>,
}

impl Held {
    fn set(&self, bytes: i64) {
        let before = self.bytes.replace(bytes);
        if before != bytes {
            self.account.counts.heap(bytes - before);
        }
    }
}

impl<'a> Usage<'a> {
    /// Begins with the time that the thread has used so far, which is its start.
    pub(super) fn new(instance: &'a Instance) -> Self {
        Self::of(&instance.metrics, instance.account(), instance.quotas())
    }

    fn of(metrics: &'a InstanceMetrics, account: &'a Arc<Account>, quotas: &'a Quotas) -> Self {
        let held = Held { account: Arc::clone(account), bytes: Cell::new(0), resting: Cell::new(0) };
        let held = Rc::new(held);
        let told = Rc::clone(&held);
        let observer = HeapObserver::begin(move |bytes| told.set(signed(bytes.saturating_add(told.resting.get()))));
        let (counted, looked) = (Duration::ZERO, Instant::now());
        Self { metrics, account, quotas, counted, looked, shown: 0, held, _observer: observer }
    }

    /// After a call: `heap` is what the thread's VMs hold now, in bytes.
    pub(super) fn look(&mut self, heap: usize) {
        self.hold(heap);
        // last, so that who sees the call sees what it left
        self.account.counts.call();
        let now = Instant::now();
        if now.duration_since(self.looked) >= SPACING {
            self.looked = now;
            self.count();
        }
    }

    /// Before a call: `bytes` are those that the thread's other VMs hold.
    pub(super) fn beside(&self, bytes: usize) {
        self.held.resting.set(bytes);
    }

    fn hold(&mut self, bytes: usize) {
        let bytes = signed(bytes);
        self.held.set(bytes);
        let is_shown = self.quotas.read(|quotas| quotas.memory.memory_usage_monitoring);
        let shown = if is_shown { bytes } else { 0 };
        if shown != self.shown {
            self.metrics.memory.add(shown - self.shown);
            self.shown = shown;
        }
    }

    fn count(&mut self) {
        let used = thread_cpu_time();
        let since = used.saturating_sub(self.counted);
        self.counted = used;
        self.account.counts.cpu(since);
        let is_told = self.quotas.read(|quotas| {
            self.account.cpu.charge(&quotas.cpu, since, Instant::now());
            quotas.cpu.cpu_monitoring_enabled
        });
        if is_told {
            self.metrics.cpu_seconds.inc_by(since.as_secs_f64());
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Drop for Usage<'_> {
    fn drop(&mut self) {
        self.hold(0);
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{self, ResourceQuotas};
    use crate::monitor::{InstanceKey, Metrics};

    fn asked(change: impl FnOnce(&mut ResourceQuotas)) -> Quotas {
        let mut manifest =
            manifest::load(manifest::FILE_NAME, b"id: shop\nname: Shop\nversion: 1.0.0\n").expect("one").manifest;
        change(&mut manifest.permissions.resources);
        Quotas::Asked(Arc::new(manifest))
    }

    fn metrics() -> InstanceMetrics {
        Metrics::default().instance(&InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 })
    }

    #[test]
    fn the_time_of_a_thread_is_counted_once_and_to_its_end() {
        let (metrics, account, quotas) = (metrics(), Arc::new(Account::default()), asked(|_| ()));
        let used = std::thread::scope(|scope| {
            let run = || {
                let mut usage = Usage::of(&metrics, &account, &quotas);
                for _ in 0..3 {
                    let until = thread_cpu_time() + Duration::from_millis(2);
                    while thread_cpu_time() < until {}
                    usage.look(0);
                }
                drop(usage);
                thread_cpu_time()
            };
            scope.spawn(run).join().expect("it ends")
        });
        let counted = metrics.cpu_seconds.get();
        assert!(counted >= 0.006, "{counted}");
        assert!(counted <= used.as_secs_f64(), "{counted} of {used:?}");
    }

    #[test]
    fn what_is_held_is_the_sum_over_threads_and_goes_with_them() {
        let (metrics, account, quotas) = (metrics(), Arc::new(Account::default()), asked(|_| ()));
        let usage = || Usage::of(&metrics, &account, &quotas);
        let (mut one, mut other) = (usage(), usage());
        one.hold(700);
        other.hold(50);
        one.hold(300);
        assert_eq!(metrics.memory.get(), 350);
        drop(one);
        assert_eq!(metrics.memory.get(), 50);
        other.look(0);
        assert_eq!(metrics.memory.get(), 0);
        assert_eq!((account.counts.memory(), account.counts.peak_memory()), (0, 750));
    }

    #[test]
    fn what_is_not_monitored_is_charged_but_not_told() {
        let quotas = asked(|quotas| {
            (quotas.cpu.cpu_monitoring_enabled, quotas.memory.memory_usage_monitoring) = (false, false);
            quotas.cpu.max_cpu_usage = Some(0.000_001);
        });
        let (metrics, account) = (metrics(), Arc::new(Account::default()));
        let mut usage = Usage::of(&metrics, &account, &quotas);
        usage.hold(700);
        assert_eq!((metrics.memory.get(), account.counts.memory()), (0, 700));
        drop(usage);
        assert!(metrics.cpu_seconds.get() == 0.0);
        assert!(quotas.read(|quotas| account.cpu.wait(&quotas.cpu, Instant::now())) > Duration::ZERO);
    }
}
