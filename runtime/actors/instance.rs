//! One running version of a module: its program, its queue, its entrance and its tree of actors.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use replug_scripts::{CallContext, Exports, Handler, Host, Limits, Program, Readying, Value};
use tokio::sync::{Semaphore, SetOnce, oneshot};

use super::copies::Copies;
use super::error::CallError;
use super::gate::{Gate, Gated, Pass};
use super::job::{Job, Stay, Work};
use super::pool::Pool;
use super::quotas::Quotas;
use super::throttle::Throttle;
use crate::manifest::Manifest;
use crate::monitor::{Event, Health, InstanceKey, InstanceMetrics, Named};
use crate::sandbox::permissions::{Live, script_limits};
use crate::sandbox::quota::Account;
use crate::sandbox::{Halt, Supplies};

mod aside;
mod evaluate;
mod first;
mod renewal;
mod requests;
mod streams;

pub use aside::Lane;
pub(super) use aside::workers_aside;
use renewal::Renewal;
use streams::Streams;
pub use streams::{Broken, Piece, Streaming, Turn};

/// A new VM may take this much longer to come up than a call may take, whatever the limits of a call are: a start that
/// is merely slow must not look like a failing `init`.
pub(super) const START_GRACE: Duration = Duration::from_secs(5);

/// A result that arrives a little after its deadline is still taken: the script's own limit names the cause better.
const REPLY_GRACE: Duration = Duration::from_millis(250);

/// One running version.
pub struct Instance {
    /// Which it is.
    pub key: InstanceKey,
    /// `id@version`, as answers name who made them.
    pub label: HeaderValue,
    /// What it was started from.
    pub manifest: Arc<Manifest>,
    /// Its queue.
    pub pool: Pool,
    /// The queue of what its slot's actors, events and timers run, for workers of its own: a request may wait for an actor.
    pub(super) aside: Pool,
    /// The calls that [`Instance::call_aside`] holds.
    calls_aside: AtomicUsize,
    /// Its streamed answers.
    streams: Streams,
    /// What is made anew in it.
    renewal: Renewal,
    /// Its counters.
    pub metrics: InstanceMetrics,
    /// What its prober found last; see [`super::health::examine`] for what it is now.
    pub health: Health,
    /// When it was started.
    pub since: SystemTime,
    gate: Gate,
    program: Arc<dyn Program>,
    host: Arc<dyn Host>,
    limits: Limits,
    exports: OnceLock<Exports>,
    /// Set once it takes traffic.
    serving: SetOnce<()>,
    account: Arc<Account>,
    /// Bytes in which a VM of it did not come up while others had the rest: its top level and `init` need more.
    pub(super) needs_more_than: AtomicU64,
    /// The copies of requests that it takes, or took.
    pub(super) copies: OnceLock<Copies>,
    quotas: Quotas,
    /// Whether its scripts are to end.
    halt: Arc<Halt>,
    /// What a thread that executes it is named by, should it abort the process.
    pub(super) named: Option<Named>,
    /// What its health checks reach beside its script; none where there is only the script.
    pub(super) supplies: Option<Supplies>,
    /// Whether nobody looks at its database: a look that hangs must not be joined by another.
    pub(super) look: Arc<Semaphore>,
}

impl Gated for Instance {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Instance {
    /// An instance that has no actors and no exports yet.
    pub fn new(
        key: InstanceKey,
        manifest: Arc<Manifest>,
        program: Arc<dyn Program>,
        host: Arc<dyn Host>,
        metrics: InstanceMetrics,
    ) -> Self {
        let spec = &manifest.runtime.limits;
        let limits = script_limits(&manifest, &manifest.permissions.resources);
        let account = Arc::<Account>::default();
        let quotas = Quotas::Asked(Arc::clone(&manifest));
        let throttle = || Throttle::new(Arc::clone(&account), quotas.clone());
        Self {
            pool: Pool::new(key.to_string(), spec.queue).throttled(throttle()),
            calls_aside: AtomicUsize::new(0),
            streams: Streams::new(&manifest.runtime),
            renewal: Renewal::default(),
            aside: Pool::new(key.to_string(), aside::ASIDE).throttled(throttle()),
            account,
            quotas,
            halt: Arc::default(),
            label: HeaderValue::try_from(format!("{}@{}", key.id, key.version))
                .expect("ids and versions are visible ASCII"),
            key,
            manifest,
            metrics,
            health: Health::default(),
            since: SystemTime::now(),
            gate: Gate::default(),
            program,
            host,
            limits,
            exports: OnceLock::new(),
            needs_more_than: AtomicU64::new(0),
            copies: OnceLock::new(),
            serving: SetOnce::new(),
            named: None,
            supplies: None,
            look: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same with what its health checks ask beside its script, and with the account of its module.
    #[must_use]
    pub fn supplied(mut self, supplies: Supplies) -> Self {
        self.account = supplies.accounts.of(&self.key.id);
        self.named = supplies.aborts.name(&format!("{}@{}", self.key.id, self.key.version));
        self.throttle();
        self.supplies = Some(supplies);
        self
    }

    /// The same with the quotas that an administrator has decided about, and halted together with what its host does for it.
    #[must_use]
    pub fn governed(mut self, live: Arc<Live>) -> Self {
        self.halt = Arc::clone(live.halt());
        self.quotas = Quotas::Decided(live);
        self.throttle();
        self
    }

    fn throttle(&mut self) {
        for pool in [&mut self.pool, &mut self.aside] {
            pool.throttle(Throttle::new(Arc::clone(&self.account), self.quotas.clone()));
        }
    }

    /// The quotas that it keeps to.
    pub(super) const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What its module uses.
    #[must_use]
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(super) const fn program(&self) -> &Arc<dyn Program> {
        &self.program
    }

    pub(super) const fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Has the audit log told that calls are cut off after `patience`; how many. Streams break off at once, other calls when
    /// it stops.
    pub fn cuts_off(&self, patience: Duration, inside: usize) {
        self.cut_streams();
        if let Some(live) = self.quotas.teller() {
            live.cut_off(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), inside);
        }
    }

    /// Has its scripts ended wherever they are, as soon as their VMs look at their clocks, what they wait for, and its statements
    /// on databases.
    pub(super) fn halt(&self) {
        self.halt.set();
        self.account.run_queue.wake();
        self.account.heap.wake();
    }

    /// Whether its scripts are to end.
    pub(super) fn is_halted(&self) -> bool {
        self.halt.is_set()
    }

    /// What tells whether they are.
    pub(super) fn halting(&self) -> Arc<Halt> {
        Arc::clone(&self.halt)
    }

    /// Tells what happened in it.
    pub(super) fn report(&self, event: Event) {
        if let Some(supplies) = &self.supplies {
            supplies.events.emit(event);
        }
    }

    /// The limits of its calls and VMs, with the stack that its manifest asks for; a thread may be
    /// given another stack.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A thread for VMs of this instance, with the stack that its module is given at this moment, and the limits of the VMs on
    /// it, which nest calls as deep as that stack lets them.
    pub(super) fn thread(&self, kind: &str) -> (std::thread::Builder, Limits) {
        let limits = self.quotas.read(|quotas| script_limits(&self.manifest, quotas));
        let name = format!("{kind}:{}", self.key.id);
        (std::thread::Builder::new().name(name).stack_size(limits.stack_size()), limits)
    }

    /// Does what executes it, on this thread.
    pub(super) fn executing<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.named {
            Some(named) => named.during(work),
            None => work(),
        }
    }

    /// The handlers its entry script returned; empty before [`Instance::first_vm`].
    #[must_use]
    pub fn exports(&self) -> &Exports {
        static NONE: Exports =
            Exports { handlers: std::collections::BTreeSet::new(), unknown: std::collections::BTreeSet::new() };
        self.exports.get().unwrap_or(&NONE)
    }

    /// Whether its first VM came up.
    #[must_use]
    pub fn has_come_up(&self) -> bool {
        self.exports.get().is_some()
    }

    /// How many calls it holds, waiting or running.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.gate.inside()
    }

    /// Says that it takes traffic from now on; from then on its health is asked.
    pub fn serves(&self) {
        // a version that returns from standby was said to serve before
        let _ = self.serving.set(());
    }

    /// Waits until it takes traffic for the first time.
    pub async fn serving(&self) {
        self.serving.wait().await;
    }

    /// A context for a call that the runtime makes of its own accord; `purpose` becomes its request id.
    #[must_use]
    pub fn context(&self, purpose: &str, time: Duration) -> CallContext {
        CallContext {
            module: Arc::clone(&self.key.id),
            version: Arc::clone(&self.key.version),
            request_id: purpose.into(),
            caller: None,
            deadline: Instant::now() + time,
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: Readying::of(purpose).map(Arc::new),
        }
    }

    /// Runs any other handler in one of the workers.
    ///
    /// # Errors
    /// As [`Instance::respond`].
    pub async fn call(
        self: &Arc<Self>,
        handler: Handler,
        args: Vec<Value>,
        call: CallContext,
    ) -> Result<Value, CallError> {
        let (reply, answer) = oneshot::channel();
        self.run(Work::Call { handler, args, reply }, call, answer).await
    }

    /// Lets nobody enter any more; those inside finish.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Waits until it is closed and nobody is inside.
    pub async fn drained(&self) {
        self.gate.drained().await;
    }

    /// Runs a handler when the instance takes no more calls: its farewell.
    ///
    /// # Errors
    /// As [`Instance::respond`].
    pub async fn call_after_close(
        self: &Arc<Self>,
        handler: Handler,
        args: Vec<Value>,
        call: CallContext,
    ) -> Result<Value, CallError> {
        let (reply, answer) = oneshot::channel();
        self.wait(&self.pool, Job { work: Work::Call { handler, args, reply }, call, stay: None, exempt: true }, answer)
            .await
    }

    async fn run<T>(
        self: &Arc<Self>,
        work: Work,
        call: CallContext,
        answer: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.enter(&self.pool, (work, false), call, answer).await
    }

    /// Lets a call in, if anybody may still enter, and waits for its answer; `exempt` as in [`Job`].
    async fn enter<T>(
        self: &Arc<Self>,
        pool: &Pool,
        (work, exempt): (Work, bool),
        call: CallContext,
        answer: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let Some(pass) = Pass::enter(Arc::clone(self)) else {
            return Err(CallError::Closed(self.key.to_string()));
        };
        self.wait(pool, Job { work, call, stay: Some(Stay::Own(pass)), exempt }, answer).await
    }

    async fn wait<T>(
        &self,
        pool: &Pool,
        job: Job,
        answer: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let deadline = job.call.deadline;
        let started = Instant::now();
        // held while it waits: a caller that gives up or is dropped takes its job out of the queue
        let place = pool.submit(job);
        let Ok(answer) = tokio::time::timeout_at((deadline + REPLY_GRACE).into(), answer).await else {
            return Err(CallError::Timeout(started.elapsed()));
        };
        place.answered();
        match answer {
            // the worker knows that it was too late, not how long this waited
            Ok(Err(CallError::Timeout(_))) => Err(CallError::Timeout(started.elapsed())),
            Ok(result) => result,
            Err(_) => Err(CallError::Crashed(self.key.to_string())),
        }
    }
}
