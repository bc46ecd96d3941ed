//! How much the call on this thread has allocated.
//!
//! With jemalloc as the process's allocator the count is exact and looked at on every tick. Without it Rhai's size caps
//! bound each value, and the pages that the thread touches for the first time are looked at every few milliseconds: they
//! bound what the caps do not see, such as what closures captured.
//!
//! What a VM holds also says how long one operation may take, which copies, compares or drops a value as large as that: so
//! [`look`] spaces the looks of the [`meter`].

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::limits::Verdict;
use crate::{meter, observe};

/// Bytes that operations may work on between two looks at the clocks: some 10 ms.
const SEEN_BYTES: u64 = 16 << 20;
/// Ticks between two looks: so few where the VM holds much, or nothing counts, and so many where it holds little.
const STRIDES: (u64, u64) = (8, 256);
/// Bytes by which the heap may grow without a look.
const GROWTH: i64 = 64 << 10;
/// Time between two looks at the thread's page faults.
const FAULTS_LOOK: Duration = Duration::from_millis(4);
/// What a page holds; larger ones make the estimate too small.
const PAGE: u64 = 4096;
/// Pages that a call may touch beside twice its limit and its stack: code, the host's own.
const FAULTS_SLACK: u64 = 16 << 20;

/// What is watched during a call.
#[derive(Clone, Copy)]
struct Watch {
    /// The thread's live bytes at which the VM's heap is full; none without a counter.
    full_at: i64,
    /// The thread's live bytes at which the VM would hold nothing.
    empty_at: i64,
    /// The new pages of a call; none with a counter.
    faults: Option<Faults>,
}

/// New pages that a call may touch where nothing counts.
#[derive(Clone, Copy)]
struct Faults {
    /// Bytes in them after which the heap is full.
    room: u64,
    /// First-touched bytes at which that is; not looked up before the call has taken a while.
    full_at: Option<u64>,
    clock: Instant,
    /// Where the stack stood when the call began, and how many bytes deeper it was found since: its pages are no heap.
    stack: usize,
    deepest: u64,
}

const NOTHING: Watch = Watch { full_at: i64::MAX, empty_at: i64::MAX, faults: None };

thread_local! {
    static WATCH: Cell<Watch> = const { Cell::new(NOTHING) };
    /// The thread's live bytes beyond which the heap has grown enough for a look.
    static LOOK_AT: Cell<i64> = const { Cell::new(i64::MAX) };
}

/// Ends the watch when it drops, and gives the thread back to the call around it.
pub(super) struct Guard(Watch);

/// Watches a call of a VM that holds `held` bytes and may hold `limit`.
pub(super) fn watch(held: usize, limit: usize) -> Guard {
    let outer = WATCH.get();
    let room = i64::try_from(limit.saturating_sub(held)).unwrap_or(i64::MAX);
    let (mut watch, mut look_at) = (NOTHING, i64::MAX);
    match live() {
        Some(live) => {
            watch.full_at = live.saturating_add(room);
            look_at = live.saturating_add(GROWTH).min(watch.full_at);
            watch.empty_at = live.saturating_sub(i64::try_from(held).unwrap_or(i64::MAX));
        }
        None => {
            let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(FAULTS_SLACK);
            let faults = Faults { room, full_at: None, clock: Instant::now(), stack: stack(), deepest: 0 };
            watch.faults = Some(faults);
        }
    }
    WATCH.set(watch);
    LOOK_AT.set(look_at);
    Guard(outer)
}

impl Drop for Guard {
    fn drop(&mut self) {
        WATCH.set(self.0);
        // the call around this one looks at its next step
        LOOK_AT.set(if self.0.full_at == i64::MAX { i64::MAX } else { i64::MIN });
    }
}

/// Whether the heap has grown so much that it is time to [`look`]. For every tick.
#[inline]
pub(super) fn has_grown() -> bool {
    LOOK_AT.get() != i64::MAX && live().is_some_and(|live| live > LOOK_AT.get())
}

/// Looks whether the heap is full, and lets the meter look at the rest of the budget.
#[cold]
#[inline(never)]
pub(super) fn look() -> Option<Verdict> {
    let mut watch = WATCH.get();
    let mut longest = STRIDES.0;
    if watch.full_at != i64::MAX
        && let Some(live) = live()
    {
        if live > watch.full_at {
            meter::out_of_memory();
        }
        LOOK_AT.set(live.saturating_add(GROWTH).min(watch.full_at));
        let held = u64::try_from(live.saturating_sub(watch.empty_at)).unwrap_or(0);
        observe::holds(usize::try_from(held).unwrap_or(usize::MAX));
        longest = (SEEN_BYTES / held.max(1)).clamp(STRIDES.0, STRIDES.1);
    }
    if let Some(faults) = &mut watch.faults {
        faults.look();
        WATCH.set(watch);
    }
    meter::look_within(longest)
}

impl Faults {
    fn look(&mut self) {
        let now = Instant::now();
        self.deepest = self.deepest.max(self.stack.saturating_sub(stack()) as u64);
        if now.duration_since(self.clock) >= FAULTS_LOOK
            && let Some(touched) = first_touched()
        {
            self.clock = now;
            let heap = touched.saturating_sub(self.deepest);
            if heap > *self.full_at.get_or_insert(heap.saturating_add(self.room)) {
                meter::out_of_memory();
            }
        }
    }
}

/// Roughly where the thread's stack stands, which grows towards lower addresses.
fn stack() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
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
