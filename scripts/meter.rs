//! The budget of the call that runs on this thread: ticks, CPU time, wall-clock time, and the one verdict that ends it.
//!
//! A [`Verdict`] is sticky: once there is one, every later [`tick`] returns it until the call's [`MeterGuard`] drops. The
//! hosts ask from the safepoints of their languages, so no script can win a spent call back by catching the error.
//!
//! Clocks are looked at only every few ticks, a *stride*. The wall clock (some 50 ns) more often when ticks turn out to be slow,
//! and at least every [`STRIDE`] ticks or as the host allows in [`look_within`]; the CPU clock (a system call) only when the
//! wall clock has moved by [`CPU_LOOK`] since: no thread uses more CPU time than passes. Whatever is left of a stride, the tick
//! after a [`beat`] looks.

mod beat;

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::cpu::thread_cpu_time;
use crate::limits::{Limits, Verdict};
use crate::observe;

/// How many ticks may pass between two looks at the wall clock, when they are fast and the host says no other number.
const STRIDE: u64 = 64;
/// A stride that takes longer is cut to an eighth; one that takes less than an eighth of this is doubled.
const SLOW_STRIDE: Duration = Duration::from_millis(1);
/// How far the wall clock moves between two looks at the CPU clock.
const CPU_LOOK: Duration = Duration::from_millis(1);
/// How far the wall clock moves between two moments at which the thread gives way to others.
const GIVES_WAY: Duration = Duration::from_micros(100);
/// Bytes that native code processes for one tick.
const BYTES_PER_TICK: u64 = 64;

/// What a call may use and has used; copied as a whole when calls nest.
#[derive(Clone, Copy)]
struct Budget {
    ticks: u64,
    /// Ticks used before the stride that runs now.
    used: u64,
    /// Ticks that the stride was granted; what `countdown` lacks of it was used.
    granted: u64,
    stride: u64,
    /// What the stride may grow to.
    longest: u64,
    cpu_time: Duration,
    /// Thread CPU time at which this call would have begun without its exemptions; read at the first look, so that calls
    /// of a few ticks never pay for the clock.
    cpu_base: Option<Duration>,
    wall_time: Duration,
    memory: usize,
    /// What of it the heap may hold for now.
    heap: usize,
    wall_end: Instant,
    wall_look: Instant,
    cpu_look: Instant,
    gave_way: Instant,
    exempt: bool,
    verdict: Option<Verdict>,
}

thread_local! {
    /// What is left of the stride; apart from the budget because it is all that a tick touches.
    static COUNTDOWN: Cell<i64> = const { Cell::new(i64::MAX) };
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

/// Ends the call's budget when it drops, and gives the thread back to the call around it, whose CPU time the inner
/// call did not use.
#[must_use = "the budget ends when the guard drops"]
pub(crate) struct MeterGuard {
    outer: Option<Paused>,
    /// The meter is the thread's, so the guard stays on it.
    not_send: PhantomData<*const ()>,
}

/// The budget of a call that does not run at present: another one does on its thread, or it waits for its host.
pub(crate) struct Paused {
    budget: Budget,
    /// CPU time that the call has used; none where nobody has looked yet.
    spent: Option<Duration>,
}

/// Begins a call's budget on this thread. Its wall-clock time is that of `limits` or what is left until `deadline`.
pub(crate) fn start(limits: &Limits, deadline: Instant) -> MeterGuard {
    let now = Instant::now();
    let wall_time = limits.wall_time.min(deadline.saturating_duration_since(now));
    let budget = Budget {
        ticks: limits.ticks,
        used: 0,
        granted: STRIDE.min(limits.ticks),
        stride: STRIDE,
        longest: STRIDE,
        cpu_time: limits.cpu_time,
        cpu_base: None,
        wall_time,
        memory: limits.memory,
        heap: limits.heap(),
        wall_end: now + wall_time,
        wall_look: now,
        cpu_look: now,
        gave_way: now,
        exempt: false,
        verdict: None,
    };
    enter(budget)
}

fn enter(budget: Budget) -> MeterGuard {
    let outer = take();
    if outer.is_none() {
        beat::runs();
    }
    COUNTDOWN.set(signed(budget.granted));
    BUDGET.set(Some(budget));
    MeterGuard { outer, not_send: PhantomData }
}

/// Takes the budget off the thread, with its account settled.
fn take() -> Option<Paused> {
    let mut budget = BUDGET.take()?;
    budget.used = budget.used_until(COUNTDOWN.get());
    budget.granted = 0;
    let spent = budget.cpu_base.map(|base| thread_cpu_time().saturating_sub(base));
    Some(Paused { budget, spent })
}

#[cfg(any(feature = "lua", test))]
impl Paused {
    /// The call runs again, on this thread. Its first tick looks at the clocks: time has passed meanwhile.
    pub(crate) fn resume(self) -> MeterGuard {
        let Self { mut budget, spent } = self;
        budget.cpu_base = spent.map(|spent| thread_cpu_time().saturating_sub(spent));
        enter(budget)
    }
}

#[cfg(any(feature = "lua", test))]
impl MeterGuard {
    /// The call waits, and uses up no CPU time until [`Paused::resume`]; its wall-clock time runs on.
    pub(crate) fn pause(self) -> Option<Paused> {
        take()
    }
}

impl Drop for MeterGuard {
    fn drop(&mut self) {
        BUDGET.set(None);
        COUNTDOWN.set(i64::MAX);
        if let Some(outer) = self.outer.take() {
            let Paused { mut budget, spent } = outer;
            budget.cpu_base = spent.map(|spent| thread_cpu_time().saturating_sub(spent));
            COUNTDOWN.set(if budget.verdict.is_some() { -1 } else { 0 });
            BUDGET.set(Some(budget));
        } else {
            beat::rests();
        }
    }
}

/// Counts `n` ticks and says whether the call must end. Without a call on this thread it counts nothing.
#[inline]
pub(crate) fn tick(n: u64) -> Option<Verdict> {
    let left = COUNTDOWN.get().saturating_sub(signed(n));
    COUNTDOWN.set(left);
    if left >= 0 && !beat::has_passed() { None } else { look() }
}

/// Counts one tick and says whether the stride is over or a beat has passed, so that the caller must [`look_within`]. For the hottest safepoints, whose
/// machine code is then a few instructions.
#[inline]
pub(crate) fn step() -> bool {
    let left = COUNTDOWN.get().wrapping_sub(1);
    COUNTDOWN.set(left);
    (left < 0) | beat::has_passed()
}

/// Counts the work of native code on `n` bytes.
#[inline]
pub(crate) fn charge_bytes(n: usize) -> Option<Verdict> {
    tick(n as u64 / BYTES_PER_TICK)
}

/// Makes the next [`tick`] look at the clocks: something slow may have happened without one.
pub(crate) fn hurry() {
    change(|budget| budget.granted = 0);
}

/// Makes the meter look at every tick for now: each may stand for much work. It spaces its looks again by itself.
#[cfg(any(feature = "lua", test))]
pub(crate) fn hurry_on() {
    change(|budget| {
        budget.stride = 1;
        budget.granted = 0;
    });
}

/// The verdict, if there is one.
pub(crate) fn verdict() -> Option<Verdict> {
    BUDGET.get().and_then(|budget| budget.verdict)
}

/// Ends the call with `verdict`, unless it has one already.
pub(crate) fn trip(verdict: Verdict) {
    change(|budget| {
        budget.verdict.get_or_insert(verdict);
    });
}

/// Bytes that the heap of the call's VM may hold; no limit without a call.
pub(crate) fn heap() -> usize {
    BUDGET.get().map_or(usize::MAX, |budget| budget.heap)
}

/// The memory limit of the call's VM, of which the heap may hold less for now.
pub(crate) fn memory() -> usize {
    BUDGET.get().map_or(usize::MAX, |budget| budget.memory)
}

/// Whether the heap of the call's VM may hold less than its memory limit says, because others have the rest.
pub(crate) fn is_crowded() -> bool {
    BUDGET.get().is_some_and(|budget| budget.heap < budget.memory)
}

/// Whether so many bytes are more than the heap of the call's VM may hold. Where that is only because it is crowded, the call
/// ends: the script did nothing that it may not do.
pub(crate) fn refuses(bytes: usize) -> bool {
    let Some(budget) = BUDGET.get() else { return false };
    if bytes > budget.heap && bytes <= budget.memory {
        out_of_memory();
    }
    bytes > budget.heap
}

/// Ends the call because its VM's heap is full.
pub(crate) fn out_of_memory() {
    trip(Verdict::Memory(heap()));
}

/// The ticks that the call has used.
#[cfg(test)]
pub(crate) fn ticks_used() -> u64 {
    BUDGET.get().map_or(0, |budget| budget.used_until(COUNTDOWN.get()))
}

/// Runs `work` without charging its CPU time to the call. Its wall-clock time counts, and so do ticks.
pub(crate) fn exempt<R>(work: impl FnOnce() -> R) -> R {
    /// Restores the base also when `work` panics.
    struct Exemption {
        spent: Option<Duration>,
        nested: bool,
    }
    impl Drop for Exemption {
        fn drop(&mut self) {
            change(|budget| {
                budget.exempt = self.nested;
                budget.cpu_base = self.spent.map(|spent| thread_cpu_time().saturating_sub(spent));
            });
        }
    }
    let Some(budget) = BUDGET.get() else { return work() };
    let spent = budget.cpu_base.map(|base| thread_cpu_time().saturating_sub(base));
    change(|budget| budget.exempt = true);
    let _exemption = Exemption { spent, nested: budget.exempt };
    work()
}

impl Budget {
    fn used_until(&self, countdown: i64) -> u64 {
        let used = signed(self.granted).saturating_sub(countdown);
        self.used.saturating_add(u64::try_from(used).unwrap_or(0))
    }
}

/// Settles what the running stride used, changes the budget, and begins a stride of `granted` ticks, which the change may
/// have set.
fn change(change: impl FnOnce(&mut Budget)) {
    let Some(mut budget) = BUDGET.get() else { return };
    budget.used = budget.used_until(COUNTDOWN.get());
    budget.granted = budget.stride.min(budget.ticks.saturating_sub(budget.used));
    change(&mut budget);
    COUNTDOWN.set(if budget.verdict.is_some() { -1 } else { signed(budget.granted) });
    BUDGET.set(Some(budget));
}

/// Looks at the ticks and the clocks, and says whether the call must end.
fn look() -> Option<Verdict> {
    look_and_change(|_| ())
}

/// The same at the end of a stride, by a host that knows how much work a tick may stand for: from here on there is a look every
/// `longest` ticks at the least.
pub(crate) fn look_within(longest: u64) -> Option<Verdict> {
    look_and_change(|budget| budget.longest = longest)
}

#[cold]
#[inline(never)]
fn look_and_change(spaces: impl FnOnce(&mut Budget)) -> Option<Verdict> {
    let mut verdict = None;
    beat::saw();
    change(|budget| {
        spaces(budget);
        if budget.verdict.is_none() {
            budget.look();
        }
        verdict = budget.verdict;
    });
    if BUDGET.get().is_none() {
        COUNTDOWN.set(i64::MAX);
    }
    verdict
}

/// The verdict by now, where an operation may have taken long or still does. Counts nothing and gives no way: whoever asks may
/// hold locks.
#[cfg(any(feature = "lua", feature = "rhai", test))]
pub(crate) fn conclude() -> Option<Verdict> {
    let now = Instant::now();
    let budget = BUDGET.get()?;
    if budget.verdict.is_none() && now.duration_since(budget.wall_look) >= CPU_LOOK {
        change(|budget| budget.verdict = budget.judge(now));
    }
    verdict()
}

impl Budget {
    /// What the ticks and the clocks say.
    fn judge(&mut self, now: Instant) -> Option<Verdict> {
        if self.used > self.ticks {
            return Some(Verdict::Ticks(self.ticks));
        }
        let base = *self.cpu_base.get_or_insert_with(thread_cpu_time);
        if now >= self.wall_end {
            return Some(Verdict::WallTime(self.wall_time));
        }
        if !self.exempt && now.duration_since(self.cpu_look) >= CPU_LOOK {
            self.cpu_look = now;
            if thread_cpu_time().saturating_sub(base) >= self.cpu_time {
                return Some(Verdict::CpuTime(self.cpu_time));
            }
            if !observe::is_let_go_on() {
                return Some(Verdict::Stopped);
            }
        }
        None
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.verdict = self.judge(now);
        if self.verdict.is_some() {
            return;
        }
        let took = now.duration_since(self.wall_look);
        self.wall_look = now;
        if now.duration_since(self.gave_way) >= GIVES_WAY {
            observe::gives_way(self.wall_end);
            // it may have slept
            let now = Instant::now();
            (self.gave_way, self.wall_look) = (now, now);
            if now >= self.wall_end {
                self.verdict = Some(Verdict::WallTime(self.wall_time));
                return;
            }
        }
        if took >= SLOW_STRIDE {
            self.stride /= 8;
        } else if took < SLOW_STRIDE / 8 {
            self.stride *= 2;
        }
        self.stride = self.stride.clamp(1, self.longest);
        self.granted = self.stride.min(self.ticks - self.used);
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "meter/tests.rs"]
mod tests;
