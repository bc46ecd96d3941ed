//! The one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::disk::Disk;
use super::dump::panic_text;
use super::fault::WriteFault;
use super::{Batch, StoreError};

/// Commits that may wait; who comes after them waits to be let in.
const QUEUE: usize = 256;

/// One sync serves at most this many commits or bytes, so that no caller waits for an endless group.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 8 * 1024 * 1024;

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// Something to do for the writer.
pub(super) enum Job {
    Commit { batch: Batch, reply: Reply },
    Decide { decide: Box<dyn FnOnce() -> Option<Batch> + Send>, reply: Reply },
    Close { reply: Reply },
}

/// What a decision returned, once its job was answered.
pub(super) struct Outcome<T, E>(Arc<Mutex<Option<Result<T, E>>>>);

impl<T, E: From<StoreError>> Outcome<T, E> {
    pub(super) fn take(self) -> Result<T, E> {
        let outcome = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| Err(StoreError::Decision { cause: "it left no outcome".to_owned() }.into()))
    }
}

impl Job {
    pub(super) fn decide<T: Send + 'static, E: Send + 'static>(
        decide: impl FnOnce(&mut Batch) -> Result<T, E> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<(), StoreError>>, Outcome<T, E>) {
        let (reply, answer) = oneshot::channel();
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        let decide = Box::new(move || {
            let mut batch = Batch::new();
            let outcome = decide(&mut batch);
            let batch = outcome.is_ok().then_some(batch);
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            batch
        });
        (Self::Decide { decide, reply }, answer, Outcome(slot))
    }
}

/// The handle on the writer. Dropping it finishes what is queued and ends the thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    fault: WriteFault,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn spawn(
        disk: Arc<Disk>,
        make_durable: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let fault = WriteFault::default();
        let dir = disk.dir().to_owned();
        let mut state = State { disk, make_durable, fault: fault.clone() };
        let thread = thread::Builder::new().name("replug-store".to_owned()).spawn(move || state.run(queue));
        let thread = thread.map_err(|error| StoreError::Open { dir, cause: format!("writer thread: {error}") })?;
        Ok(Self { jobs: Some(jobs), fault, thread: Some(thread) })
    }

    pub(super) async fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).await.map_err(|_| self.gone())
    }

    pub(super) fn send_blocking(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.blocking_send(job).map_err(|_| self.gone())
    }

    /// Why the writer does not answer any more.
    pub(super) fn gone(&self) -> StoreError {
        poisoned(&self.fault).unwrap_or(StoreError::Closed)
    }

    pub(super) fn fault(&self) -> WriteFault {
        self.fault.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

struct State<F> {
    disk: Arc<Disk>,
    make_durable: F,
    fault: WriteFault,
}

/// The commits that share one sync.
#[derive(Default)]
struct Group {
    answers: Vec<(Reply, Result<(), StoreError>)>,
    bytes: usize,
    closing: Option<Reply>,
}

impl Group {
    fn is_full(&self) -> bool {
        self.closing.is_some() || self.answers.len() >= GROUP || self.bytes >= GROUP_BYTES
    }
}

impl<F: FnMut() -> Result<(), StoreError>> State<F> {
    fn run(&mut self, mut queue: mpsc::Receiver<Job>) {
        // A panic of the engine ends this thread; callers then learn why writes are refused.
        let result = catch_unwind(AssertUnwindSafe(|| self.serve(&mut queue)));
        if let Err(panic) = result {
            let cause = panic_text(panic.as_ref());
            tracing::error!(%cause, "the store's writer panicked, writes are refused from now on");
            self.fault.set(cause);
        }
    }

    fn serve(&mut self, queue: &mut mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Group::default();
            self.take(first, &mut group);
            while !group.is_full() {
                let Ok(job) = queue.try_recv() else { break };
                self.take(job, &mut group);
            }
            if let Some(reply) = self.settle(group) {
                queue.close();
                while let Ok(job) = queue.try_recv() {
                    let (Job::Commit { reply, .. } | Job::Decide { reply, .. } | Job::Close { reply }) = job;
                    let _ = reply.send(Err(StoreError::Closed));
                }
                let _ = reply.send(poisoned(&self.fault).map_or(Ok(()), Err));
                return;
            }
        }
        if self.fault.cause().is_none()
            && let Err(error) = (self.make_durable)()
        {
            tracing::error!(%error, "the store's last flush failed");
        }
    }

    fn take(&mut self, job: Job, group: &mut Group) {
        match job {
            Job::Close { reply } => group.closing = Some(reply),
            Job::Commit { batch, reply } => {
                group.bytes += batch.bytes();
                let result = self.apply(batch);
                group.answers.push((reply, result));
            }
            Job::Decide { decide, reply } => {
                let result = match catch_unwind(AssertUnwindSafe(decide)) {
                    Ok(None) => Ok(()),
                    Ok(Some(batch)) => {
                        group.bytes += batch.bytes();
                        self.apply(batch)
                    }
                    Err(panic) => Err(StoreError::Decision { cause: panic_text(panic.as_ref()) }),
                };
                group.answers.push((reply, result));
            }
        }
    }

    /// Checks the conditions against all that was applied before, then applies the batch (not yet durably).
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        if let Some(error) = poisoned(&self.fault) {
            return Err(error);
        }
        let (conditions, changes) = batch.into_parts();
        for condition in conditions {
            let found = self.disk.db.get(&condition.key);
            let found = found.map_err(|error| StoreError::Read { tree: condition.tree, cause: error.to_string() })?;
            if found.as_deref() != condition.expected.as_deref() {
                return Err(StoreError::Conflict { tree: condition.tree, key: condition.label });
            }
        }
        match catch_unwind(AssertUnwindSafe(|| self.disk.apply(changes))) {
            Ok(result) => result.map_err(|error| self.refuse_from_now_on(error.to_string())),
            Err(panic) => Err(self.refuse_from_now_on(panic_text(panic.as_ref()))),
        }
    }

    /// Makes the group durable and answers it. Refusals too wait for that: they may rest on what the group wrote.
    fn settle(&mut self, mut group: Group) -> Option<Reply> {
        let applied = group.answers.iter().any(|(_, result)| result.is_ok());
        if (applied || group.closing.is_some()) && self.fault.cause().is_none() {
            let make_durable = || {
                (self.make_durable)()?;
                if applied { self.disk.counted() } else { Ok(()) }
            };
            let durable = catch_unwind(AssertUnwindSafe(make_durable))
                .unwrap_or_else(|panic| Err(StoreError::Write { cause: panic_text(panic.as_ref()) }));
            if let Err(error) = durable {
                let cause = if let StoreError::Write { cause } = error { cause } else { error.to_string() };
                let error = self.refuse_from_now_on(cause);
                for (_, result) in &mut group.answers {
                    *result = Err(error.clone());
                }
            }
        } else if let Some(cause) = self.fault.cause().filter(|_| applied) {
            // An apply of this group failed after others had been applied; they cannot be promised either.
            for (_, result) in group.answers.iter_mut().filter(|(_, result)| result.is_ok()) {
                *result = Err(StoreError::Write { cause: cause.to_owned() });
            }
        }
        for (reply, result) in group.answers {
            let _ = reply.send(result); // A caller that stopped waiting does not take its write back.
        }
        group.closing
    }

    fn refuse_from_now_on(&self, cause: String) -> StoreError {
        tracing::error!(%cause, "a write to the store failed, writes are refused from now on");
        self.fault.set(cause.clone());
        StoreError::Write { cause }
    }
}

fn poisoned(fault: &WriteFault) -> Option<StoreError> {
    fault.cause().map(|cause| StoreError::Poisoned { cause: cause.to_owned() })
}
