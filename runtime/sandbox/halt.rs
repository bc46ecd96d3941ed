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
        // whoever takes it first has it
        let taken = Arc::new(AtomicBool::new(false));
        let takes = Arc::clone(&taken);
        let work = move || if takes.swap(true, Ordering::AcqRel) { Err(stopped(function)) } else { work() };
        let mut pending = std::pin::pin!(place(Box::new(work)));
        tokio::select! {
            biased;
            done = &mut pending => done,
            () = self.wait() => if taken.swap(true, Ordering::AcqRel) { pending.await } else { Err(stopped(function)) },
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

    #[tokio::test]
    async fn work_that_has_begun_is_waited_for_and_what_has_not_never_does() {
        for begins in [true, false] {
            let (halt, ran) = (Halt::default(), Arc::<AtomicBool>::default());
            let runs = Arc::clone(&ran);
            let work = move || {
                runs.store(true, Ordering::SeqCst);
                Ok(Value::Int(1))
            };
            let done = halt.cuts_unbegun(FUNCTION, work, |work| async {
                let done = if begins { Some(work()) } else { None };
                halt.set();
                tokio::task::yield_now().await;
                done.unwrap_or_else(|| panic!("it waits for its turn no more"))
            });
            let done = done.await;
            assert_eq!((done.is_ok(), ran.load(Ordering::SeqCst)), (begins, begins), "{done:?}");
        }
    }

    #[tokio::test]
    async fn what_answers_at_once_is_answered_whatever_is_set() {
        let halt = Halt::default();
        halt.set();
        assert_eq!(halt.cuts(FUNCTION, async { Ok(Value::Int(1)) }).await, Ok(Value::Int(1)));
    }
}
