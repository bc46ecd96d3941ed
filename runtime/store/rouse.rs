//! Rouses a write of the engine that sleeps although what it waits for has failed.
//!
//! In sled 0.34.7 a thread that waits in `flush` for another thread's write is not woken if that write fails (its
//! `Log::exit_reservation` sets the error and notifies nobody), and then sleeps for ever. Every later flush sees the failure
//! and wakes all that wait, so one is begun whenever a write takes long. On a disk that is merely slow it changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::FutureExt as _;

/// How often it is looked whether a write takes long.
const LOOK: Duration = Duration::from_millis(250);

/// The watch over one engine; it ends when it is dropped.
pub(super) struct Rouse {
    /// Odd while something is written; the writer is one thread.
    writes: Arc<AtomicU64>,
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rouse {
    pub(super) fn start(db: sled::Db) -> std::io::Result<Self> {
        // polled once it runs on a thread of the engine, so that it cannot keep this one
        Self::with(LOOK, move || drop(db.flush_async().now_or_never()))
    }

    fn with(look: Duration, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let writes = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&writes);
        let thread = thread::Builder::new().name("replug-store-rouse".to_owned()).spawn(move || {
            let (mut last, mut looks) = (0, 0_u32);
            while stopped.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
                let now = seen.load(Ordering::Acquire);
                looks = if now == last { looks.saturating_add(1) } else { 0 };
                last = now;
                // again after twice the time: each may have to wait for a slow disk on a thread of the engine
                if now % 2 == 1 && looks.is_power_of_two() {
                    wake();
                }
            }
        })?;
        Ok(Self { writes, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a write under the watch.
    pub(super) fn over<T>(&self, write: impl FnOnce() -> T) -> T {
        let _over = Over::begin(&self.writes);
        write()
    }
}

/// A write on its way; over when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicU64);

impl<'a> Over<'a> {
    fn begin(writes: &'a AtomicU64) -> Self {
        writes.fetch_add(1, Ordering::AcqRel);
        Self(writes)
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Rouse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watch over the store's writes panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_takes_long_is_roused_and_others_are_not() {
        let (roused, rouses) = mpsc::sync_channel(3);
        let rouse = Rouse::with(Duration::from_millis(1), move || {
            let _ = roused.try_send(());
        })
        .unwrap();
        for _ in 0..1000 {
            rouse.over(|| {});
        }
        while rouses.try_recv().is_ok() {}
        // it ends only because it is roused, and roused again
        rouse.over(|| (0..3).for_each(|_| rouses.recv_timeout(Duration::from_secs(20)).expect("it is roused")));
        drop(rouse);
        assert!(rouses.try_iter().count() <= 1, "nothing is roused that is over");
    }
}
