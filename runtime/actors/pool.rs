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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::{ActorRef, ActorStatus};

use super::error::CallError;
use super::gate::{Gate, Pass};
use super::inbox::{Arrived, Inbox};
use super::job::Job;
use super::throttle::Throttle;
use super::worker::WorkerMsg;

/// How long a thread waits for its next job before it gives its VM and itself back.
const IDLE: Duration = Duration::from_secs(10);

/// How often a thread that found no job gives its processor to others and looks again before it sleeps. Under load the
/// next job comes within that time, and then neither a sleep nor a wake-up is paid for it.
const LOOKS: u32 = 8;

/// The queue of one instance.
pub struct Pool {
    name: String,
    capacity: usize,
    idle: Duration,
    throttle: Option<Throttle>,
    state: Mutex<State>,
    /// How many jobs wait, for those who look without the lock.
    queued: AtomicUsize,
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
    /// Threads that sleep until a job comes.
    waiting: usize,
    /// Of those, the ones that were woken and are on their way.
    coming: usize,
    /// Threads that look a few times more before they sleep.
    looking: usize,
    closed: bool,
}

/// What a thread is to do next.
pub enum Next {
    /// A job.
    Job(Job),
    /// What a call that it holds waited for.
    Answer(Arrived),
    /// Nothing more.
    Nothing,
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
            let abandoned = {
                let mut state = self.pool.lock();
                let abandoned = state.jobs.remove(&number);
                self.pool.count(&state);
                abandoned
            };
            drop(abandoned);
        }
    }
}

impl Pool {
    /// An empty queue for at most `capacity` waiting jobs; `name` is for messages.
    #[must_use]
    pub fn new(name: String, capacity: usize) -> Self {
        Self {
            name,
            capacity,
            idle: IDLE,
            throttle: None,
            state: Mutex::default(),
            queued: AtomicUsize::new(0),
            stirred: Condvar::new(),
            threads: Arc::default(),
        }
    }

    /// From now on its jobs keep to this share of the processor.
    pub fn throttle(&mut self, throttle: Throttle) {
        self.throttle = Some(throttle);
    }

    /// The same with a share of the processor that its jobs keep to.
    #[must_use]
    pub fn throttled(self, throttle: Throttle) -> Self {
        Self { throttle: Some(throttle), ..self }
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

    /// Queues a job; answers it at once with [`CallError::Overloaded`] when the queue is full, with
    /// [`CallError::Throttled`] when the module's share of the processor does not let it run in time, and with
    /// [`CallError::Closed`] when it is closed.
    pub fn submit(&self, job: Job) -> Place<'_> {
        let over = self.throttle.as_ref().and_then(|throttle| throttle.refuses(&job));
        let mut state = self.lock();
        let refused = if state.closed {
            CallError::Closed(self.name.clone())
        } else if let Some(wait) = over {
            CallError::Throttled { instance: self.name.clone(), wait }
        } else if state.jobs.len() >= self.capacity {
            CallError::Overloaded { instance: self.name.clone(), queue: self.capacity }
        } else {
            let number = state.next;
            state.next += 1;
            state.jobs.insert(number, job);
            self.count(&state);
            state.rouse(&self.stirred);
            return Place { pool: self, number: Some(number) };
        };
        drop(state);
        self.turn_away(job, refused);
        Place { pool: self, number: None }
    }

    fn turn_away(&self, job: Job, error: CallError) {
        if let Some(throttle) = &self.throttle {
            throttle.tell(&error, &job);
        }
        job.fail(error);
    }

    fn count(&self, state: &State) {
        self.queued.store(state.jobs.len(), Ordering::Release);
    }

    /// Whether a worker is free for one job more, now or as soon as it is up.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        let state = self.lock();
        state.jobs.len() < state.waiting + state.looking + state.parked.len()
    }

    /// Whether the share of the processor that its jobs keep to is far from used up.
    #[must_use]
    pub fn has_to_spare(&self) -> bool {
        self.throttle.as_ref().is_none_or(Throttle::has_to_spare)
    }

    /// Whether its jobs keep to a share of the processor.
    #[must_use]
    pub fn has_share(&self) -> bool {
        self.throttle.as_ref().is_some_and(Throttle::has_share)
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
    /// thread's worker went. `rests` is told when there is none at once.
    pub fn take(&self, gone: &AtomicBool, rests: &dyn Fn()) -> Option<Job> {
        match self.next(gone, None, rests) {
            Next::Job(job) => Some(job),
            Next::Answer(_) | Next::Nothing => None,
        }
    }

    /// The same for a thread that can hold several calls: what comes into its inbox goes before a job. While it holds any it
    /// does not grow tired of waiting.
    pub fn take_beside(&self, gone: &AtomicBool, (inbox, holds): (&Inbox, bool), rests: &dyn Fn()) -> Next {
        self.next(gone, Some((inbox, holds)), rests)
    }

    fn next(&self, gone: &AtomicBool, inbox: Option<(&Inbox, bool)>, rests: &dyn Fn()) -> Next {
        let (inbox, holds) = (inbox.map(|(inbox, _)| inbox), inbox.is_some_and(|(_, holds)| holds));
        let park_at = Instant::now() + self.idle;
        let mut state = self.lock();
        let mut has_looked = false;
        loop {
            if let Some(answer) = inbox.and_then(Inbox::take) {
                // the wake-up that brought this thread here may have been for a job
                state.rouse(&self.stirred);
                return Next::Answer(answer);
            }
            if gone.load(Ordering::Acquire) {
                state.rouse(&self.stirred);
                return Next::Nothing;
            }
            let throttled = self.throttle.as_ref().map_or(Duration::ZERO, Throttle::wait);
            // time is charged when it has been used: what was let in before may have no chance by now
            let late = if throttled.is_zero() { Vec::new() } else { state.take_late(Instant::now() + throttled) };
            if !late.is_empty() {
                self.count(&state);
                drop(state);
                for job in late {
                    self.turn_away(job, CallError::Throttled { instance: self.name.clone(), wait: throttled });
                }
                state = self.lock();
                continue;
            }
            let job = if throttled.is_zero() { state.jobs.pop_first() } else { state.pop_exempt() };
            if let Some((_, job)) = job {
                self.count(&state);
                state.rouse(&self.stirred);
                return Next::Job(job);
            }
            let left = park_at.saturating_duration_since(Instant::now());
            if state.closed || (left.is_zero() && !holds && state.jobs.is_empty()) {
                return Next::Nothing;
            }
            if !has_looked {
                has_looked = true;
                state.looking += 1;
                drop(state);
                rests();
                for _ in 0..LOOKS {
                    if self.queued.load(Ordering::Acquire) > 0 {
                        break;
                    }
                    std::thread::yield_now();
                }
                state = self.lock();
                state.looking -= 1;
                continue;
            }
            state.waiting += 1;
            let left = match state.jobs.is_empty() {
                // what waits here waits for the share to come back
                false => throttled,
                true if holds => self.idle,
                true => left,
            };
            state = self.stirred.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
            // one that woke by itself takes another's place in the count, which costs a wake-up too many at worst
            state.coming = state.coming.saturating_sub(1);
        }
    }

    /// Something came into the inbox of a thread that may wait here.
    pub fn knock(&self) {
        // under the lock: a thread that has looked into its inbox sleeps by now, or looks again
        let state = self.lock();
        self.stirred.notify_all();
        drop(state);
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
            let waiting = std::mem::take(&mut state.jobs);
            self.count(&state);
            waiting
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
    /// The jobs that the throttle holds back until after their callers have gone.
    fn take_late(&mut self, free_at: Instant) -> Vec<Job> {
        self.jobs.extract_if(.., |_, job| !job.is_exempt() && job.call.deadline < free_at).map(|(_, job)| job).collect()
    }

    /// The first job that runs in spite of the throttle.
    fn pop_exempt(&mut self) -> Option<(u64, Job)> {
        let number = self.jobs.iter().find(|(_, job)| job.is_exempt()).map(|(number, _)| *number)?;
        self.jobs.remove_entry(&number)
    }

    /// Sees to it that somebody comes for every job, as far as there are workers: those who look or are on their way
    /// first, then a thread that sleeps, or else a parked worker. Nobody, when all are busy (each looks here when it has
    /// finished) or down (each looks here when it parks).
    fn rouse(&mut self, stirred: &Condvar) {
        if self.jobs.len() <= self.coming + self.looking {
            return;
        }
        if self.waiting > self.coming {
            self.coming += 1;
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
