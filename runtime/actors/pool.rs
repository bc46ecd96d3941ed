//! The bounded queue in front of an instance's workers, and who is awake to empty it.
//!
//! Worker threads exist only while there is work: a submit that finds nobody idle wakes a parked worker, a worker that
//! takes a job while others wait wakes the next, and one that has waited for ten seconds without a job parks again.
//!
//! What never happens: a job waits while a worker is parked and nobody is on the way to it; a job stays in the queue
//! when its caller is gone; a job is neither run nor answered. One short lock guards the queue, the idle threads and the
//! parked workers together, because each of these facts is about two of them. It is never held while a script runs, a
//! job is answered or a thread waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::{ActorRef, ActorStatus};

use super::error::CallError;
use super::gate::{Gate, Pass};
use super::job::Job;
use super::worker::WorkerMsg;

/// How long a thread waits for its next job before it gives its VM and itself back.
const IDLE: Duration = Duration::from_secs(10);

/// The queue of one instance.
pub struct Pool {
    name: String,
    capacity: usize,
    idle: Duration,
    state: Mutex<State>,
    /// A job came, or those who wait must look whether they are still wanted.
    stirred: Condvar,
    /// The worker threads that live.
    threads: Arc<Gate>,
}

#[derive(Default)]
struct State {
    /// By number, which is the order in which they came; a caller that goes away takes its own out of the middle.
    jobs: BTreeMap<u64, Job>,
    next: u64,
    /// Workers without a thread, each at most once.
    parked: VecDeque<ActorRef<WorkerMsg>>,
    /// Threads that wait for a job.
    waiting: usize,
    closed: bool,
}

/// A place in the queue. Dropping it takes the job out if nobody has taken it yet, so that a caller that goes away or
/// gives up leaves nothing behind, whether or not a worker ever comes up.
#[must_use]
pub struct Place<'a> {
    pool: &'a Pool,
    number: Option<u64>,
}

impl Place<'_> {
    /// The job was answered: there is nothing to take out.
    pub fn answered(mut self) {
        self.number = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // bound, so that the job is dropped after the lock is released
            let abandoned = self.pool.lock().jobs.remove(&number);
            drop(abandoned);
        }
    }
}

impl Pool {
    /// An empty queue for at most `capacity` waiting jobs; `name` is for messages.
    #[must_use]
    pub fn new(name: String, capacity: usize) -> Self {
        Self { name, capacity, idle: IDLE, state: Mutex::default(), stirred: Condvar::new(), threads: Arc::default() }
    }

    /// A queue whose threads park after `idle` without a job.
    #[cfg(test)]
    pub(super) fn with_idle(name: String, capacity: usize, idle: Duration) -> Self {
        Self { idle, ..Self::new(name, capacity) }
    }

    /// How many threads wait for a job.
    #[cfg(test)]
    pub(super) fn idle_threads(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // nothing under the lock leaves a state half changed
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job; answers it at once with [`CallError::Overloaded`] when the queue is full and with
    /// [`CallError::Closed`] when it is closed.
    pub fn submit(&self, job: Job) -> Place<'_> {
        let mut state = self.lock();
        let refused = if state.closed {
            CallError::Closed(self.name.clone())
        } else if state.jobs.len() >= self.capacity {
            CallError::Overloaded { instance: self.name.clone(), queue: self.capacity }
        } else {
            let number = state.next;
            state.next += 1;
            state.jobs.insert(number, job);
            state.rouse(&self.stirred);
            return Place { pool: self, number: Some(number) };
        };
        drop(state);
        job.fail(refused);
        Place { pool: self, number: None }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many jobs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Notes a worker that has no thread; wakes one again at once if jobs wait.
    pub fn park(&self, worker: ActorRef<WorkerMsg>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        // those that died while parked go, or every restart would leave one behind
        state.parked.retain(|parked| parked.get_status() < ActorStatus::Draining);
        state.parked.push_back(worker);
        state.rouse(&self.stirred);
    }

    /// Counts a thread as long as the pass lives; nothing when the pool is closed and no thread may start.
    #[must_use]
    pub fn thread(&self) -> Option<Pass<Gate>> {
        Pass::enter(Arc::clone(&self.threads))
    }

    /// Waits for a job; nothing after ten seconds without one, when the pool is closed, or when `gone` says that the
    /// thread's worker went.
    pub fn take(&self, gone: &AtomicBool) -> Option<Job> {
        let park_at = Instant::now() + self.idle;
        let mut state = self.lock();
        loop {
            if gone.load(Ordering::Acquire) {
                // the wake-up that brought this thread here may have been for a job
                state.rouse(&self.stirred);
                return None;
            }
            if let Some((_, job)) = state.jobs.pop_first() {
                state.rouse(&self.stirred);
                return Some(job);
            }
            let left = park_at.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state.waiting += 1;
            state = self.stirred.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
    }

    /// A worker went: its thread, if it waits for a job, must notice, and a wake-up that was on the way to the worker
    /// goes to another one.
    pub fn stir(&self) {
        self.lock().rouse(&self.stirred);
        self.stirred.notify_all();
    }

    /// Answers whatever still waits with an error and ends the threads, each after the job in hand. For good.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            state.parked.clear();
            std::mem::take(&mut state.jobs)
        };
        self.threads.close();
        self.stirred.notify_all();
        for job in waiting.into_values() {
            job.fail(CallError::Closed(self.name.clone()));
        }
    }

    /// Waits until it is closed and the last thread has ended.
    pub async fn ended(&self) {
        self.threads.drained().await;
    }
}

impl State {
    /// Sees to it that somebody comes for the next job: a thread that waits, or else a parked worker. Nobody, when all
    /// are busy (each looks here when it has finished) or down (each looks here when it parks).
    fn rouse(&mut self, stirred: &Condvar) {
        if self.jobs.is_empty() {
            return;
        }
        if self.waiting > 0 {
            stirred.notify_one();
            return;
        }
        // workers that died since they parked are passed over
        while let Some(worker) = self.parked.pop_front() {
            if worker.send_message(WorkerMsg::Wake).is_ok() {
                return;
            }
        }
    }
}
