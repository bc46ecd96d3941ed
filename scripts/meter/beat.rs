//! A beat of about a millisecond while calls run, which a tick can look at for less than a nanosecond.
//!
//! Strides are sized by what their ticks took before. The next tick may take ten million times as long: a text of megabytes
//! that is read as a number, after a loop over small ones. With the beat the tick after it looks at the clocks, whatever is left
//! of the stride. The thread that gives it sleeps for good while no call runs.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// How long a beat takes.
const BEAT: Duration = Duration::from_millis(1);
/// Beats without a call after which the thread sleeps for good: calls that come one after the other need not wake it.
const IDLE_BEATS: u32 = 20;

static BEATS: AtomicU32 = AtomicU32::new(0);
/// Calls that run now.
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

/// Whether there was a beat since this thread last [`saw`] one.
#[inline]
pub(super) fn has_passed() -> bool {
    BEATS.load(Ordering::Relaxed) != SEEN.get()
}

/// This thread looks at the clocks now.
pub(super) fn saw() {
    SEEN.set(BEATS.load(Ordering::Relaxed));
}

/// A call begins to run on this thread. Ends with [`rests`].
pub(super) fn runs() {
    saw();
    // with the load of the thread that is about to sleep: one of both sees the other
    if CALLS.fetch_add(1, Ordering::SeqCst) == 0
        && let Some(thread) = thread()
    {
        thread.unpark();
    }
}

/// It ends, or waits.
pub(super) fn rests() {
    CALLS.fetch_sub(1, Ordering::SeqCst);
}

/// Who gives the beat; nobody where no thread can be made. Strides are looked at all the same.
fn thread() -> Option<&'static Thread> {
    static THREAD: OnceLock<Option<Thread>> = OnceLock::new();
    let spawned = || std::thread::Builder::new().name("replug-beat".to_owned()).spawn(beat).ok();
    THREAD.get_or_init(|| spawned().map(|handle| handle.thread().clone())).as_ref()
}

#[expect(clippy::disallowed_methods, reason = "a beat is a wait of a fixed length")]
fn beat() {
    let mut idle = 0;
    loop {
        if CALLS.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else if idle == IDLE_BEATS {
            idle = 0;
            std::thread::park();
        } else {
            idle += 1;
        }
        std::thread::sleep(BEAT);
        BEATS.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_is_given_while_a_call_runs_also_after_a_rest() {
        for _ in 0..2 {
            runs();
            let deadline = Instant::now() + Duration::from_secs(30);
            while !has_passed() {
                assert!(Instant::now() < deadline, "there is no beat");
                std::thread::yield_now();
            }
            saw();
            rests();
            // longer than it takes to fall asleep
            let asleep = Instant::now() + BEAT * IDLE_BEATS * 2;
            while Instant::now() < asleep {
                std::thread::yield_now();
            }
        }
    }
}
