//! Copies of clients' requests that a candidate answers for nobody, so that it is judged before a client depends on it.
//!
//! An instance takes copies while [`Taking`] lives, which is as long as it is judged by them; what is on its way then is given up.
//! So many are on their way at once at most that what it does with them stays small, and none is sent, nor run in its turn, where
//! the module, whose quotas the versions share, has little to spare: those are counted as dropped. Of those under way as many run
//! at once as leave to the version that serves the memory of all its VMs, and one where the module has a database, of whose
//! connections copies have one, or a share of the processor, which one call may overdraw. The others wait for their turn.
//!
//! What the module lacked says nothing of the version: a copy that never began, since its turn did not come or there was no
//! VM for it, is dropped, but for one that waited behind a copy that met its limit of time while none was answered.
//!
//! Each answer is compared with the one that the client got to the same request. Its time begins in the VM: that of making one is
//! not in it, for which few clients wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, Mirrored, Request, Response, ScriptError, Verdict};
use tokio::sync::{Semaphore, SetOnce};

use super::error::{Blame, CallError};
use super::instance::{Instance, Lane};
use crate::manifest::Mirror;
use crate::monitor::{InstanceMetrics, MirrorMetrics, Sample, Stats};

/// Copies that may be on their way to one instance; more than a judgement needs, so that one which answers none of them is seen.
pub const MOST_COPIES: usize = 32;

/// The least time that a copy is given.
const SHORTEST: Duration = Duration::from_secs(1);

/// What an instance makes of copies.
pub struct Copies {
    mirror: Mirror,
    /// How many are on their way.
    under_way: AtomicUsize,
    /// The turns of those that run.
    turns: Semaphore,
    /// How many were answered, other than by a failure of the instance.
    answered: AtomicU64,
    /// How many met their limit of time in their VM.
    timed_out: AtomicU64,
    /// Set when no more are wanted.
    over: SetOnce<()>,
    metrics: MirrorMetrics,
    /// What came of them.
    own: Stats,
    /// What came of the requests of which they are copies.
    clients: Stats,
}

/// As long as it lives, its instance takes copies.
#[must_use]
pub struct Taking(Arc<Instance>);

/// A place among the copies that are under way.
pub struct Place {
    instance: Arc<Instance>,
}

/// How a request of a client ended, or a copy.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The first digit of its status.
    pub class: u16,
    /// From admission to answer.
    pub took: Duration,
}

/// What a copy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// To an answer of this class.
    Answered(u16),
    /// It failed after something had been refused to it, or was crowded, so nobody can tell.
    Incomparable,
    /// Admission turned it away, or the instance ended.
    Refused,
}

impl Came {
    /// What a copy came to. One that was crowded says nothing. It met a limit, died or was late whatever was refused to it; of any
    /// other failure that may be the reason.
    #[must_use]
    pub fn of(result: &Result<Response, CallError>, mirrored: &Mirrored) -> Self {
        use ScriptError::{Engine, Limit};
        let its_own = matches!(
            result,
            Err(CallError::Timeout(_) | CallError::Crashed(_) | CallError::Script(Limit(_) | Engine(_)))
        );
        match Self::class(result.as_ref()) {
            None => Self::Refused,
            Some(_) if mirrored.was_crowded() || matches!(result, Err(CallError::Cramped { .. })) => Self::Incomparable,
            Some(class) if class >= 5 && mirrored.was_refused() && !its_own => Self::Incomparable,
            Some(class) => Self::Answered(class),
        }
    }

    /// The first digit of the status that a client gets; nothing for what the instance has not seen.
    #[must_use]
    pub fn class(result: Result<&Response, &CallError>) -> Option<u16> {
        let status = match result {
            Ok(response) => response.status.as_u16(),
            Err(CallError::Script(ScriptError::Problem { status, .. })) => *status,
            Err(error) if error.blame() == Blame::Instance => 500,
            Err(_) => return None,
        };
        Some(status / 100)
    }
}

impl Copies {
    fn new(mirror: Mirror, at_once: usize, metrics: &InstanceMetrics) -> Self {
        Self {
            mirror,
            under_way: AtomicUsize::new(0),
            turns: Semaphore::new(at_once),
            answered: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            over: SetOnce::new(),
            metrics: metrics.mirror(),
            own: Stats::default(),
            clients: Stats::default(),
        }
    }

    /// Which requests are copied.
    #[must_use]
    pub const fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// How many are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// How many more may begin now.
    #[cfg(test)]
    pub fn turns(&self) -> usize {
        self.turns.available_permits()
    }

    /// Whether they are wanted no more.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// What came of the copies, and of the requests of which they are copies.
    #[must_use]
    pub fn samples(&self) -> (Sample, Sample) {
        (self.own.sample(), self.clients.sample())
    }

    fn enter(&self) -> bool {
        let one_more = |count| (count < MOST_COPIES).then_some(count + 1);
        !self.are_over() && self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

impl Instance {
    /// Takes copies of requests that `serving` answers, from now on. An instance does so once.
    pub fn take_copies(self: &Arc<Self>, mirror: &Mirror, serving: &Self) -> Taking {
        // its health is one of the things that it is judged by
        self.serves();
        self.copies.get_or_init(|| Copies::new(mirror.clone(), self.copies_at_once(serving), &self.metrics));
        Taking(Arc::clone(self))
    }

    /// How many copies may run at once: in as many VMs as leave room for all those of `serving`.
    fn copies_at_once(&self, serving: &Self) -> usize {
        let keeps = self.manifest.database.is_some() || !self.manifest.permissions.system.database.is_empty();
        if keeps || self.pool.has_share() {
            return 1;
        }
        let workers = self.workers(Lane::Requests);
        if workers == 1 {
            return self.manifest.runtime.concurrency.clamp(1, MOST_COPIES);
        }
        // a thread of several VMs may get any of the copies, so that each may take one of them
        let quota = |of: &Self| of.quotas().read(|quotas| quotas.memory.max_heap_size);
        let left = quota(self).min(quota(serving)).saturating_sub(serving.memory_of_vms());
        let beside = usize::try_from(left / (self.limits().memory as u64).max(1)).unwrap_or(usize::MAX);
        beside.clamp(1, workers.max(1)).min(MOST_COPIES)
    }

    /// Bytes that all its VMs may hold together.
    fn memory_of_vms(&self) -> u64 {
        let vms = self.workers(Lane::Requests) + self.workers(Lane::Aside);
        (self.limits().memory as u64).saturating_mul(vms as u64)
    }

    /// The copies that it takes at this moment, if it does.
    #[must_use]
    pub fn copies(&self) -> Option<&Copies> {
        self.copies.get().filter(|copies| !copies.are_over())
    }

    /// A place for one more copy. Where there is none, or the module has little to spare, the copy is dropped and counted.
    #[must_use]
    pub fn place_for_copy(self: &Arc<Self>) -> Option<Place> {
        let copies = self.copies()?;
        if self.has_to_spare() && copies.enter() {
            return Some(Place { instance: Arc::clone(self) });
        }
        copies.metrics.dropped.inc();
        None
    }

    /// Whether the module has so much of its quotas left that a copy takes nothing that a client's request needs.
    fn has_to_spare(&self) -> bool {
        let heap = &self.account().heap;
        let quota = self.quotas().read(|quotas| quotas.memory.max_heap_size);
        // a VM that runs reserves as much as it may grow to
        let room = heap.reserved().saturating_add(self.limits().memory as u64) <= quota;
        room && !self.is_held_up()
    }

    /// Whether what the module lacks may be why a call of it is late.
    fn is_held_up(&self) -> bool {
        self.account().heap.is_waited_for() || !self.pool.has_to_spare()
    }
}

/// Whether a call met its limit of time.
const fn is_out_of_time(answer: &Result<Response, CallError>) -> bool {
    use Verdict::{CpuTime, Ticks, WallTime};
    matches!(
        answer,
        Err(CallError::Timeout(_) | CallError::Script(ScriptError::Limit(Ticks(_) | CpuTime(_) | WallTime(_))))
    )
}

impl Taking {
    /// What came of the copies so far, and of the requests of which they are copies.
    #[must_use]
    pub fn samples(&self) -> (Sample, Sample) {
        self.0.copies.get().map(Copies::samples).unwrap_or_default()
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if let Some(copies) = self.0.copies.get() {
            // over twice is over
            let _ = copies.over.set(());
        }
    }
}

impl Place {
    /// Until when a copy that is sent now is waited for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + SHORTEST.max(self.instance.limits().wall_time.saturating_mul(2))
    }

    /// Which instance.
    #[must_use]
    pub const fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    fn copies(&self) -> Option<&Copies> {
        self.instance.copies.get()
    }

    /// Has the copy answered, and says how long that took once it was its turn; nothing where nobody needs the answer any more, or
    /// where its turn did not come.
    pub async fn answer(
        &self,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Option<(Result<Response, CallError>, Duration)> {
        let copies = self.copies()?;
        let answer = tokio::select! {
            biased;
            _ = copies.over.wait() => None,
            answer = self.in_turn(copies, handler, request, call) => Some(answer),
        };
        match answer {
            Some(Some(answer)) => return Some(answer),
            Some(None) => copies.metrics.dropped.inc(),
            None => copies.metrics.given_up.inc(),
        }
        None
    }

    async fn in_turn(
        &self,
        copies: &Copies,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Option<(Result<Response, CallError>, Duration)> {
        let counts = || (copies.answered.load(Ordering::Acquire), copies.timed_out.load(Ordering::Acquire));
        let (entered, (answered, timed_out)) = (Instant::now(), counts());
        let turn = tokio::time::timeout_at(call.deadline.into(), copies.turns.acquire()).await;
        let is_stuck = || {
            let now = counts();
            now.0 == answered && now.1 > timed_out
        };
        let Ok(_turn) = turn else {
            let waited = entered.elapsed();
            return is_stuck().then(|| (Err(CallError::Timeout(waited)), waited));
        };
        // what there was to spare when it was sent may be gone
        if !self.instance.has_to_spare() {
            return None;
        }
        let mirrored = call.mirrored.clone().unwrap_or_default();
        let answer = self.instance.respond(handler, request, call).await;
        let took = mirrored.began().map(|began| began.elapsed());
        if let Err(CallError::Timeout(_)) = answer
            && (self.instance.is_held_up() || (took.is_none() && !is_stuck()))
        {
            return None;
        }
        if took.is_some() && is_out_of_time(&answer) && !mirrored.was_crowded() {
            // before its turn ends: whoever waits for it looks
            copies.timed_out.fetch_add(1, Ordering::AcqRel);
        }
        Some((answer, took.unwrap_or_else(|| entered.elapsed())))
    }

    /// Counts what the copy came to after it `took` so long, beside what the client's request came to.
    pub fn came_to(self, came: Came, took: Duration, client: Ended) {
        let Some(copies) = self.copies() else { return };
        let metrics = &copies.metrics;
        if !matches!(came, Came::Answered(5..) | Came::Refused) {
            copies.answered.fetch_add(1, Ordering::AcqRel);
        }
        match came {
            Came::Answered(class) => {
                let failed = class >= 5;
                let counter = if failed { &metrics.failed } else { &metrics.answered };
                counter.inc();
                if class != client.class {
                    metrics.differences.inc();
                }
                copies.own.record(failed, took);
                copies.clients.record(client.class >= 5, client.took);
            }
            Came::Incomparable => {
                metrics.incomparable.inc();
                copies.own.leave_out();
            }
            Came::Refused => metrics.refused.inc(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(copies) = self.copies() {
            copies.under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
