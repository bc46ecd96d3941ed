//! How much the call on this thread has allocated.
//!
//! With jemalloc as the process's allocator the count is exact and looked at on every tick. Without it Rhai's size caps
//! bound each value, and the pages that the thread touches for the first time are looked at every few milliseconds: they
//! bound what the caps do not see, such as what closures captured.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::{meter, observe};

/// Ticks between two looks at the clock.
const STRIDE: u32 = 8;
/// A stride that takes longer holds slow operations: the meter looks at every tick from there on.
const SLOW: Duration = Duration::from_millis(1);
/// Time between two looks at the thread's page faults.
const FAULTS_LOOK: Duration = Duration::from_millis(4);
/// What a page holds; larger ones make the estimate too small.
const PAGE: u64 = 4096;
/// Pages that a call may touch beside twice its limit: stack, code, the host's own.
const FAULTS_SLACK: u64 = 16 << 20;

/// What is watched during a call.
#[derive(Clone, Copy)]
struct Watch {
    /// The thread's live bytes at which the VM's heap is full; none without a counter.
    full_at: i64,
    /// The thread's live bytes at which the VM would hold nothing.
    empty_at: i64,
    /// Bytes in new pages after which it must be; none with a counter.
    faults_room: Option<u64>,
    /// First-touched bytes at which that is; not looked up before the call has taken a while.
    faults_full_at: Option<u64>,
    clock: Option<Instant>,
    faults_clock: Option<Instant>,
}

const NOTHING: Watch = Watch {
    full_at: i64::MAX,
    empty_at: i64::MAX,
    faults_room: None,
    faults_full_at: None,
    clock: None,
    faults_clock: None,
};

thread_local! {
    static WATCH: Cell<Watch> = const { Cell::new(NOTHING) };
    static FULL_AT: Cell<i64> = const { Cell::new(i64::MAX) };
    static COUNTDOWN: Cell<u32> = const { Cell::new(STRIDE) };
}

/// Ends the watch when it drops, and gives the thread back to the call around it.
pub(super) struct Guard(Watch);

/// Watches a call of a VM that holds `held` bytes and may hold `limit`.
pub(super) fn watch(held: usize, limit: usize) -> Guard {
    let outer = Watch { full_at: FULL_AT.get(), ..WATCH.get() };
    let room = i64::try_from(limit.saturating_sub(held)).unwrap_or(i64::MAX);
    let now = Instant::now();
    let mut watch = Watch { clock: Some(now), faults_clock: Some(now), ..NOTHING };
    match live() {
        Some(live) => {
            watch.full_at = live.saturating_add(room);
            watch.empty_at = live.saturating_sub(i64::try_from(held).unwrap_or(i64::MAX));
        }
        None => {
            let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(FAULTS_SLACK);
            watch.faults_room = Some(room);
        }
    }
    WATCH.set(watch);
    FULL_AT.set(watch.full_at);
    COUNTDOWN.set(STRIDE);
    Guard(outer)
}

impl Drop for Guard {
    fn drop(&mut self) {
        WATCH.set(self.0);
        FULL_AT.set(self.0.full_at);
        COUNTDOWN.set(0);
    }
}

/// Looks whether the heap is full, and now and then at the clock. For every tick.
#[inline]
pub(super) fn look() {
    if FULL_AT.get() != i64::MAX && live().is_some_and(|live| live > FULL_AT.get()) {
        meter::out_of_memory();
    }
    match COUNTDOWN.get() {
        0 => look_at_clock(),
        left => COUNTDOWN.set(left - 1),
    }
}

fn look_at_clock() {
    COUNTDOWN.set(STRIDE);
    let mut watch = WATCH.get();
    if let Some(live) = live() {
        observe::holds(usize::try_from(live.saturating_sub(watch.empty_at)).unwrap_or(0));
    }
    let Some(then) = watch.clock else { return };
    let now = Instant::now();
    watch.clock = Some(now);
    if now.duration_since(then) >= SLOW {
        meter::hurry_on();
    }
    if let Some(room) = watch.faults_room
        && watch.faults_clock.is_some_and(|then| now.duration_since(then) >= FAULTS_LOOK)
        && let Some(touched) = first_touched()
    {
        watch.faults_clock = Some(now);
        if touched > *watch.faults_full_at.get_or_insert(touched.saturating_add(room)) {
            meter::out_of_memory();
        }
    }
    WATCH.set(watch);
}

/// Bytes in pages that this thread touched first, ever.
#[cfg(target_os = "linux")]
fn first_touched() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The name in parentheses may hold anything; minflt is the eighth field after it.
    let faults: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(7)?.parse().ok()?;
    Some(faults.saturating_mul(PAGE))
}

#[cfg(not(target_os = "linux"))]
fn first_touched() -> Option<u64> {
    None
}

/// Bytes that this thread has allocated and not freed; none where nothing counts them. Only differences mean anything.
#[cfg(feature = "jemalloc")]
pub(super) fn live() -> Option<i64> {
    use std::sync::OnceLock;

    use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};

    thread_local! {
        static COUNTERS: Cell<Option<(ThreadLocal<u64>, ThreadLocal<u64>)>> = const { Cell::new(None) };
    }
    static COUNTS: OnceLock<bool> = OnceLock::new();

    let (allocated, freed) = match COUNTERS.get() {
        Some(counters) => counters,
        None => {
            let counters = (allocatedp::read().ok()?, deallocatedp::read().ok()?);
            // They stand still where jemalloc is linked but another allocator serves.
            let counts = COUNTS.get_or_init(|| {
                let before = counters.0.get();
                drop(std::hint::black_box(vec![0u8; 4096]));
                counters.0.get() != before
            });
            if !counts {
                return None;
            }
            COUNTERS.set(Some(counters));
            counters
        }
    };
    Some(allocated.get().wrapping_sub(freed.get()).cast_signed())
}

/// Nothing counts.
#[cfg(not(feature = "jemalloc"))]
pub(super) fn live() -> Option<i64> {
    None
}
