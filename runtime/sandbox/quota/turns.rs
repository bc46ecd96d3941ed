//! Turns for work that takes a thread of the process: a few at once for a module, some more for all.
//!
//! Password hashes are slow and large on purpose (19 MiB, some 20 ms): neither the sign-ins of one module nor a flood of them may
//! starve the others of processors. What blocks on a disk or a database takes a thread of the pool that administration uses as
//! well: no module may fill it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use replug_scripts::{HostError, HostErrorKind};
use tokio::sync::Semaphore;

/// Password hashes of one module that may wait for their turn.
pub const MAX_HASHES_WAITING: usize = 16;

/// Calls of one module that block, at once; beyond the four connections to its database.
const BLOCKING: usize = 8;

/// Calls of all modules that block, at once: a quarter of the threads that tokio makes for such work.
const ALL_BLOCKING: usize = 128;

/// The turns of a runtime for one kind of work. Clones share them.
#[derive(Clone)]
pub struct Turns {
    /// What the work is called, of which there may be several.
    what: &'static str,
    all: Arc<Semaphore>,
    lanes: Arc<Mutex<HashMap<Arc<str>, Arc<Lane>>>>,
    at_once: usize,
    waiting: usize,
}

/// The turns of one module.
struct Lane {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Counted among those that wait, until it is dropped.
struct Waiting(Arc<Lane>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// Password hashes, for this machine: half of its processors for a module, all but one for all modules, at least one each.
    #[must_use]
    pub fn of_passwords() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new("password hashes", (processors / 2).max(1), (processors - 1).max(1), MAX_HASHES_WAITING)
    }

    /// Calls that block. How many may wait is bounded by how many calls a module's VMs hold.
    #[must_use]
    pub fn of_what_blocks() -> Self {
        Self::new("calls that take a thread", BLOCKING, ALL_BLOCKING, usize::MAX - BLOCKING)
    }

    /// So many at once for a module, and for all; so many of a module may wait.
    #[must_use]
    pub fn new(what: &'static str, of_module: usize, of_all: usize, waiting: usize) -> Self {
        Self { what, all: Arc::new(Semaphore::new(of_all)), lanes: Arc::default(), at_once: of_module, waiting }
    }

    fn lane(&self, module: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = || Lane { turns: Arc::new(Semaphore::new(self.at_once)), waiting: AtomicUsize::new(0) };
        Arc::clone(lanes.entry(module.into()).or_insert_with(|| Arc::new(lane())))
    }

    /// Does `work` for `module` when it is its turn. Work that has begun is done even if nobody waits for it any more.
    ///
    /// # Errors
    /// `overloaded` when as many as may wait already, or when its turn does not come before `deadline`; what `work` says.
    pub async fn run<T: Send + 'static>(
        self,
        function: String,
        module: Arc<str>,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let overloaded = |what: String| HostError::new(HostErrorKind::Overloaded, format!("{function}: {what}"));
        let lane = self.lane(&module);
        let before = lane.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Arc::clone(&lane));
        if before >= self.waiting + self.at_once {
            return Err(overloaded(format!("too many {} of this module wait already", self.what)));
        }
        let turn = async {
            // its own turn first: who waits for that takes none of the others' turns
            let own = Arc::clone(&lane.turns).acquire_owned().await;
            let shared = Arc::clone(&self.all).acquire_owned().await;
            own.and_then(|own| shared.map(|shared| (own, shared)))
        };
        let turn = match tokio::time::timeout_at(deadline.into(), turn).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(overloaded("the runtime is shutting down".to_owned())),
            Err(_) => {
                return Err(overloaded(format!("among the {} its turn did not come before the deadline", self.what)));
            }
        };
        // the turn ends with the work, not with whoever waits for it
        let done = tokio::task::spawn_blocking(move || {
            let _kept = (turn, waiting);
            work()
        });
        done.await.unwrap_or_else(|error| {
            if error.is_cancelled() {
                return Err(HostError::new(HostErrorKind::Failed, format!("{function}: the runtime is shutting down")));
            }
            tracing::error!(function, %error, "a host call broke off by a panic, which stands above");
            let message = format!("{function}: the call broke off; the runtime's log says why");
            Err(HostError::new(HostErrorKind::Failed, message))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    async fn hash<T: Send + 'static>(
        passwords: &Turns,
        module: &str,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HostError> {
        passwords.clone().run("crypto.password_hash".into(), module.into(), deadline, || Ok(work())).await
    }

    #[tokio::test]
    async fn no_more_than_allowed_run_at_once_and_the_rest_waits_its_turn() {
        let passwords = Turns::new("password hashes", 2, 3, 16);
        let running = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let most = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let work = |module: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move || {
                let now = running[module].fetch_add(1, Ordering::SeqCst) + 1;
                most[module].fetch_max(now, Ordering::SeqCst);
                std::hint::black_box((0..200_000).fold(0u64, |sum, n| sum.wrapping_mul(31).wrapping_add(n)));
                running[module].fetch_sub(1, Ordering::SeqCst);
            }
        };
        let hashes = (0..20).map(|n| hash(&passwords, ["a", "b"][n % 2], soon(), work(n % 2)));
        for done in futures::future::join_all(hashes).await {
            done.unwrap();
        }
        for module in 0..2 {
            assert!(most[module].load(Ordering::SeqCst) <= 2);
        }
    }

    #[tokio::test]
    async fn a_full_lane_and_a_late_turn_are_refused_and_leave_the_others_alone() {
        let passwords = Turns::new("password hashes", 1, 2, MAX_HASHES_WAITING);
        let (go, gone) = mpsc::sync_channel::<()>(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let held = tokio::spawn({
            let passwords = passwords.clone();
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    gone.recv().unwrap();
                };
                hash(&passwords, "busy", soon(), work).await
            }
        });
        has_begun.await.unwrap();
        let late = hash(&passwords, "busy", Instant::now() + Duration::from_millis(20), || ()).await.unwrap_err();
        assert_eq!(late.kind, HostErrorKind::Overloaded);
        assert!(late.message.contains("did not come before the deadline"), "{late}");
        let crowd: Vec<_> = (0..MAX_HASHES_WAITING)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { hash(&passwords, "busy", soon(), || ()).await })
            })
            .collect();
        let lane = passwords.lane("busy");
        while lane.waiting.load(Ordering::Relaxed) < MAX_HASHES_WAITING + 1 {
            tokio::task::yield_now().await;
        }
        let refused = hash(&passwords, "busy", soon(), || ()).await.unwrap_err();
        assert!(refused.message.contains("wait already"), "{refused}");
        hash(&passwords, "calm", soon(), || ()).await.unwrap();
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
        for waiting in crowd {
            waiting.await.unwrap().unwrap();
        }
        assert_eq!(lane.waiting.load(Ordering::Relaxed), 0);
    }
}
