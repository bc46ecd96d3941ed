//! What a thread that runs scripts takes: its processor time and the heap of its VM, told to the metrics.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{Overseen, Overseer, thread_cpu_time};

use super::instance::Instance;
use super::quotas::Quotas;
use crate::monitor::InstanceMetrics;
use crate::sandbox::Halt;
use crate::sandbox::quota::{Account, Turn};

/// How far apart two looks are at least. The thread's clock is a system call, which short calls need not pay each.
const SPACING: Duration = Duration::from_millis(1);

/// The account of the calling thread. What it held is given back when it is dropped, and the rest of its time counted.
pub(super) struct Usage {
    ledger: Rc<Ledger>,
    looked: Instant,
    _overseen: Overseen,
}

/// What the thread takes, which is also told while a script runs.
struct Ledger {
    metrics: InstanceMetrics,
    account: Arc<Account>,
    quotas: Quotas,
    /// Whether what runs is to end.
    halt: Arc<Halt>,
    /// Processor time that is counted already.
    counted: Cell<Duration>,
    /// What the metrics were told that it holds.
    shown: Cell<i64>,
    /// What its VMs hold, as the account has it.
    held: Cell<i64>,
    /// The part of it that belongs to VMs which do not run.
    resting: Cell<usize>,
    /// Whether its module keeps the processors busy, when it was last counted.
    is_busy: Cell<bool>,
    /// Whether it is to look for its turn when it next gives way.
    is_due: Cell<bool>,
    /// Whether what it runs takes no turns.
    is_exempt: Cell<bool>,
    /// Its turn at the processors, which only threads of busy modules take.
    turn: Cell<Option<Turn>>,
}

impl Usage {
    /// Begins with the time that the thread has used so far, which is its start.
    pub(super) fn new(instance: &Instance) -> Self {
        let (account, quotas) = (Arc::clone(instance.account()), instance.quotas().clone());
        Self::of(instance.metrics.clone(), account, quotas, instance.halting())
    }

    fn of(metrics: InstanceMetrics, account: Arc<Account>, quotas: Quotas, halt: Arc<Halt>) -> Self {
        let (counted, shown, held, resting) = Default::default();
        let (is_busy, is_due, is_exempt, turn) = Default::default();
        let ledger = Rc::new(Ledger {
            metrics,
            account,
            quotas,
            halt,
            counted,
            shown,
            held,
            resting,
            is_busy,
            is_due,
            is_exempt,
            turn,
        });
        let overseen = Overseen::by(Rc::clone(&ledger) as Rc<dyn Overseer>);
        Self { ledger, looked: Instant::now(), _overseen: overseen }
    }

    /// After a call: `heap` is what the thread's VMs hold now, in bytes.
    pub(super) fn look(&mut self, heap: usize) {
        self.ledger.hold(heap);
        // last, so that who sees the call sees what it left
        self.ledger.account.counts.call();
        let now = Instant::now();
        if now.duration_since(self.looked) >= SPACING {
            self.looked = now;
            self.ledger.count();
            self.ledger.is_due.set(true);
        }
    }

    /// Before a call that nobody waits for after `until`: a thread of a module that keeps the processors busy waits for its
    /// turn, unless the call is `exempt` from the module's share of them.
    pub(super) fn begin(&self, until: Instant, exempt: bool) {
        self.ledger.is_exempt.set(exempt);
        if self.ledger.is_due.take() {
            self.ledger.wait_for_turn(until);
        }
    }

    /// Before a call goes on that waited for its host.
    pub(super) fn resume(&self, exempt: bool) {
        self.ledger.is_exempt.set(exempt);
    }

    /// Makes a VM when the thread's turn has come, at `until` at the latest. Its `init` is exempt: that it may take long is
    /// no reason to make it take longer.
    pub(super) fn making<R>(&self, until: Instant, make: impl FnOnce() -> R) -> R {
        self.ledger.count();
        self.ledger.wait_for_turn(until);
        let before = self.ledger.is_exempt.replace(true);
        let made = make();
        self.ledger.is_exempt.set(before);
        made
    }

    /// What the thread runs from now on is exempt from the module's share of the processors.
    pub(super) fn exempt(self) -> Self {
        self.ledger.is_exempt.set(true);
        self
    }

    /// The thread has nothing to do for now.
    pub(super) fn rests(&self) {
        self.ledger.leave();
    }

    /// Before a call: `bytes` are those that the thread's other VMs hold.
    pub(super) fn beside(&self, bytes: usize) {
        self.ledger.resting.set(bytes);
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.ledger.hold(0);
        self.ledger.count();
        self.ledger.leave();
    }
}

impl Ledger {
    fn set(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.held.replace(bytes);
        if before != bytes {
            self.account.counts.heap(bytes - before);
        }
    }

    fn hold(&self, bytes: usize) {
        self.set(bytes);
        let is_shown = self.quotas.read(|quotas| quotas.memory.memory_usage_monitoring);
        let shown = if is_shown { self.held.get() } else { 0 };
        let before = self.shown.replace(shown);
        if shown != before {
            self.metrics.memory.add(shown - before);
        }
    }

    fn count(&self) {
        let used = thread_cpu_time();
        let since = used.saturating_sub(self.counted.replace(used));
        self.account.counts.cpu(since);
        let now = Instant::now();
        self.is_busy.set(self.account.load.charge(since, now));
        let is_told = self.quotas.read(|quotas| {
            self.account.cpu.charge(&quotas.cpu, since, now);
            quotas.cpu.cpu_monitoring_enabled
        });
        if is_told {
            self.metrics.cpu_seconds.inc_by(since.as_secs_f64());
        }
    }

    fn wait_for_turn(&self, until: Instant) {
        // what the thread itself used is not all that its module did
        self.is_busy.set(self.account.load.yields(Instant::now()));
        if self.is_busy.get() && !self.is_exempt.get() {
            let is_wanted = || !self.halt.is_set();
            self.turn.set(self.account.take_turn(self.turn.get(), until, is_wanted));
        } else {
            self.leave();
        }
    }

    fn leave(&self) {
        if let Some(turn) = self.turn.take() {
            self.account.run_queue.leave(turn);
        }
    }
}

impl Overseer for Ledger {
    fn holds(&self, bytes: usize) {
        self.set(bytes.saturating_add(self.resting.get()));
    }

    /// What it uses is charged as it is used: calls that would begin meanwhile wait for it.
    fn may_go_on(&self) -> bool {
        self.count();
        self.is_due.set(true);
        !self.halt.is_set()
    }

    /// What others have to do is often done in less time than the system lets a thread run that is there first.
    fn gives_way(&self, until: Instant) {
        if self.is_due.take() {
            // here and not where it is asked whether it may go on: the host asks that too, and may hold what others wait for
            self.wait_for_turn(until);
        }
        if self.is_busy.get() {
            std::thread::yield_now();
        }
    }

    fn waits(&self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{self, ResourceQuotas};
    use crate::monitor::{InstanceKey, Metrics};
    use crate::sandbox::quota::ModuleAccounts;

    fn asked(change: impl FnOnce(&mut ResourceQuotas)) -> Quotas {
        let mut manifest =
            manifest::load(manifest::FILE_NAME, b"id: shop\nname: Shop\nversion: 1.0.0\n").expect("one").manifest;
        change(&mut manifest.permissions.resources);
        Quotas::Asked(Arc::new(manifest))
    }

    fn metrics() -> InstanceMetrics {
        Metrics::default().instance(&InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 })
    }

    fn of(metrics: &InstanceMetrics, account: &Arc<Account>, quotas: &Quotas) -> Usage {
        Usage::of(metrics.clone(), Arc::clone(account), quotas.clone(), Arc::default())
    }

    #[test]
    fn what_runs_is_charged_while_it_runs_and_ends_when_it_is_halted() {
        let quotas = asked(|quotas| quotas.cpu.max_cpu_usage = Some(0.000_001));
        let (metrics, account, halt) = (metrics(), Arc::new(Account::default()), Arc::<Halt>::default());
        let usage = Usage::of(metrics, Arc::clone(&account), quotas.clone(), Arc::clone(&halt));
        let until = thread_cpu_time() + Duration::from_millis(2);
        while thread_cpu_time() < until {}
        assert!(usage.ledger.may_go_on());
        assert!(account.counts.cpu_time() >= Duration::from_millis(2));
        assert!(quotas.read(|quotas| account.cpu.wait(&quotas.cpu, Instant::now())) > Duration::ZERO);
        usage.ledger.resting.set(10);
        usage.ledger.holds(500);
        assert_eq!(account.counts.memory(), 510);
        halt.set();
        assert!(!usage.ledger.may_go_on());
    }

    #[test]
    fn a_busy_modules_thread_takes_a_turn_unless_what_it_runs_is_exempt_and_gives_it_back() {
        let (metrics, quotas) = (metrics(), asked(|_| ()));
        let account = ModuleAccounts::on_processors(1).of(&"shop".into());
        let usage = of(&metrics, &account, &quotas);
        let soon = Instant::now() + Duration::from_secs(60);
        let begin = |exempt| {
            account.load.charge(Duration::from_secs(3600), Instant::now());
            usage.ledger.is_due.set(true);
            usage.begin(soon, exempt);
            usage.ledger.turn.get()
        };
        usage.begin(soon, false);
        assert_eq!(usage.ledger.turn.get(), None, "a calm module asks nobody");
        assert_eq!(begin(true), None);
        let turn = begin(false);
        assert!(turn.is_some());
        assert_eq!(begin(false), turn, "nobody else waits");
        usage.ledger.waits();
        assert_eq!(usage.ledger.turn.get(), None);
        assert!(begin(false).is_some());
        usage.rests();
        assert_eq!(usage.ledger.turn.get(), None);
    }

    #[test]
    fn the_time_of_a_thread_is_counted_once_and_to_its_end() {
        let (metrics, account, quotas) = (metrics(), Arc::new(Account::default()), asked(|_| ()));
        let used = std::thread::scope(|scope| {
            let run = || {
                let mut usage = of(&metrics, &account, &quotas);
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
        let usage = || of(&metrics, &account, &quotas);
        let (one, mut other) = (usage(), usage());
        one.ledger.hold(700);
        other.ledger.hold(50);
        one.ledger.hold(300);
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
        let usage = of(&metrics, &account, &quotas);
        usage.ledger.hold(700);
        assert_eq!((metrics.memory.get(), account.counts.memory()), (0, 700));
        drop(usage);
        assert!(metrics.cpu_seconds.get() == 0.0);
        assert!(quotas.read(|quotas| account.cpu.wait(&quotas.cpu, Instant::now())) > Duration::ZERO);
    }
}
