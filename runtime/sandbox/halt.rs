//! The end of what an instance's scripts do, wherever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use replug_scripts::{HostError, HostErrorKind, HostFn, Value};
use tokio::sync::Notify;

/// Whether the scripts of an instance are to end, and what is done for them. It is for good.
#[derive(Debug, Default)]
pub struct Halt {
    /// What scripts look at as they run.
    is_set: AtomicBool,
    /// Wakes who waits for a host.
    told: Notify,
}

impl Halt {
    /// From now on they are.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Whether they are.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// What `pending` answers, or an error as soon as nobody is to wait for it any more. What answers at once costs nothing here.
    pub(super) async fn cuts(
        &self,
        function: HostFn,
        pending: impl Future<Output = Result<Value, HostError>>,
    ) -> Result<Value, HostError> {
        tokio::select! {
            biased;
            done = pending => done,
            () = self.wait() => Err(stopped(function)),
        }
    }

    /// The same for `work` that `place` has done elsewhere, in its turn say: what has not begun by then never does, and what has
    /// is waited for, so that it does not outlive who asked for it.
    pub(super) async fn cuts_unbegun<W, P>(
        &self,
        function: HostFn,
        work: W,
        place: impl FnOnce(Box<dyn FnOnce() -> Result<Value, HostError> + Send>) -> P,
    ) -> Result<Value, HostError>
    where
        W: FnOnce() -> Result<Value, HostError> + Send + 'static,
        P: Future<Output = Result<Value, HostError>>,
    {
        // whoever takes it first has it; who goes, because the call's time is over, leaves nothing to begin
        let claim = Claim::default();
        let takes = Arc::clone(&claim.0);
        let work = move || if takes.swap(true, Ordering::AcqRel) { Err(stopped(function)) } else { work() };
        let mut pending = std::pin::pin!(place(Box::new(work)));
        tokio::select! {
            biased;
            done = &mut pending => done,
            () = self.wait() => if claim.take() { Err(stopped(function)) } else { pending.await },
        }
    }

    async fn wait(&self) {
        let mut told = std::pin::pin!(self.told.notified());
        // first listening, then looking: what is set in between is heard
        told.as_mut().enable();
        if !self.is_set.load(Ordering::SeqCst) {
            told.await;
        }
    }
}

/// A piece of work that either a thread begins or who waits for it gives up.
#[derive(Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether nobody had it before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.take();
    }
}

fn stopped(function: HostFn) -> HostError {
    HostError::new(HostErrorKind::Failed, format!("{}: the module is stopped", function.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: HostFn = HostFn::ServicesCall;

    #[tokio::test]
    async fn what_waits_ends_when_it_is_set_and_what_begins_to_wait_later_does_too() {
        let halt = Arc::new(Halt::default());
        let waits = |halt: &Arc<Halt>| {
            let halt = Arc::clone(halt);
            tokio::spawn(async move { halt.cuts(FUNCTION, std::future::pending()).await })
        };
        let first = waits(&halt);
        tokio::task::yield_now().await;
        assert!(!first.is_finished());
        halt.set();
        let second = waits(&halt);
        for cut in [first, second] {
            let error = cut.await.expect("no panic").expect_err("no answer");
            assert_eq!((error.kind, &*error.message), (HostErrorKind::Failed, "services.call: the module is stopped"));
        }
    }

    /// Work that says that it was done, and whether.
    fn work() -> (impl FnOnce() -> Result<Value, HostError> + Send + 'static, Arc<AtomicBool>) {
        let ran = Arc::<AtomicBool>::default();
        let runs = Arc::clone(&ran);
        let work = move || {
            runs.store(true, Ordering::SeqCst);
            Ok(Value::Int(1))
        };
        (work, ran)
    }

    #[tokio::test]
    async fn work_that_has_begun_is_waited_for() {
        let (halt, (work, ran)) = (Halt::default(), work());
        let done = halt.cuts_unbegun(FUNCTION, work, |work| async {
            let done = work();
            halt.set();
            tokio::task::yield_now().await;
            done
        });
        assert_eq!(done.await, Ok(Value::Int(1)));
        assert!(ran.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_never_begins() {
        for is_stopped in [true, false] {
            let (halt, (work, ran)) = (Halt::default(), work());
            let queue = std::sync::Mutex::new(None);
            let waits = halt.cuts_unbegun(FUNCTION, work, |work| {
                *queue.lock().expect("no test panics here") = Some(work);
                std::future::pending()
            });
            if is_stopped {
                halt.set();
                assert!(waits.await.is_err());
            } else {
                // the time of its call is over
                let late = tokio::time::timeout(std::time::Duration::ZERO, waits);
                assert!(late.await.is_err());
            }
            let turn = queue.into_inner().expect("no test panics here").expect("it was queued");
            assert!(turn().is_err(), "its turn comes too late");
            assert!(!ran.load(Ordering::SeqCst));
        }
    }

    #[tokio::test]
    async fn what_answers_at_once_is_answered_whatever_is_set() {
        let halt = Halt::default();
        halt.set();
        assert_eq!(halt.cuts(FUNCTION, async { Ok(Value::Int(1)) }).await, Ok(Value::Int(1)));
    }
}
