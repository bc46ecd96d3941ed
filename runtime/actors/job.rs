//! One call on its way through a pool and a VM.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{CallContext, Handler, Request, Response, ScriptError, Task, Value, Verdict, Vm};
use tokio::sync::oneshot;

use super::error::{Blame, CallError};
use super::gate::Pass;
use super::instance::Instance;
use super::vm;
use held::Waiting;
pub use held::{Held, Left, Progress};

mod held;

/// Where a result goes. Dropping it unanswered tells the caller that the worker died.
pub type Reply<T> = oneshot::Sender<Result<T, CallError>>;

/// A call that waits for a worker. It counts as in flight until it is dropped.
pub struct Job {
    /// What to run.
    pub work: Work,
    /// For whom and until when.
    pub call: CallContext,
    /// Keeps the instance from stopping under the call; the farewell, which comes after the gate is closed, has none.
    pub stay: Option<Stay>,
    /// Whether it runs also when the module has used up its share of the processor; see [`Job::is_exempt`].
    pub exempt: bool,
}

/// What holds an instance for a call.
pub enum Stay {
    /// The call's own entrance.
    Own(Pass<Instance>),
    /// That of the stream for which it is made.
    Shared(Arc<Pass<Instance>>),
}

impl Stay {
    /// The same to be shared with calls to come.
    #[must_use]
    pub fn shared(self) -> Arc<Pass<Instance>> {
        match self {
            Self::Own(pass) => Arc::new(pass),
            Self::Shared(pass) => pass,
        }
    }
}

/// What a handler answered.
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// Of one that streams: it holds the instance on, without a moment in which that may close.
    pub stay: Option<Stay>,
}

impl Answered {
    /// Takes over what holds the instance where the answer needs it on.
    fn of(response: Response, stay: &mut Option<Stay>) -> Self {
        let stay = if response.stream.is_some() { stay.take() } else { None };
        Self { response, stay }
    }
}

/// The two shapes of calls.
pub enum Work {
    /// A request to an `apis` or `pages` handler.
    Respond {
        /// Which.
        handler: Handler,
        /// The request.
        request: Box<Request>,
        /// Where the answer goes.
        reply: Reply<Answered>,
    },
    /// Any other handler.
    Call {
        /// Which.
        handler: Handler,
        /// Its arguments, without the context.
        args: Vec<Value>,
        /// Where the result goes.
        reply: Reply<Value>,
    },
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("handler", self.handler()).field("call", &self.call).finish_non_exhaustive()
    }
}

/// Whether only the runtime asks for it.
const fn is_the_runtimes(handler: &Handler) -> bool {
    !matches!(
        handler,
        Handler::Api(_)
            | Handler::Page(_)
            | Handler::Service(_)
            | Handler::Event(_)
            | Handler::Stream(_)
            | Handler::ActorInit(_)
            | Handler::ActorHandle(_)
    )
}

impl Job {
    /// The handler it runs.
    #[must_use]
    pub const fn handler(&self) -> &Handler {
        match &self.work {
            Work::Respond { handler, .. } | Work::Call { handler, .. } => handler,
        }
    }

    /// Whether the runtime asks of its own accord: a module that is over its share must still start, stop and say how it is.
    #[must_use]
    pub const fn is_exempt(&self) -> bool {
        self.exempt || is_the_runtimes(self.handler())
    }

    /// Whether nobody waits for it any more: its deadline passed or the caller went away.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        let gone = match &self.work {
            Work::Respond { reply, .. } => reply.is_closed(),
            Work::Call { reply, .. } => reply.is_closed(),
        };
        gone || Instant::now() >= self.call.deadline
    }

    /// Until when it may wait for memory: half of the time that is left, so that the call itself has the rest.
    pub fn patience(&self) -> Instant {
        let now = Instant::now();
        now + self.call.deadline.saturating_duration_since(now) / 2
    }

    /// Answers with an error. A caller that went away is no fault.
    pub fn fail(self, error: CallError) {
        match self.work {
            Work::Respond { reply, .. } => drop(reply.send(Err(error))),
            Work::Call { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    /// Runs it in a VM of `instance` and answers; says whether the VM is spent. A verdict is counted and told before its caller
    /// hears of it.
    ///
    /// A call ends the limit of wall-clock time after it began, also inside a host function, which knows only the deadline.
    pub fn run(self, vm: &mut dyn Vm, instance: &Instance) -> bool {
        let Self { work, mut call, mut stay, .. } = self;
        let patience = begin(&mut call, instance);
        let spent = match work {
            Work::Respond { handler, request, reply } => {
                let result = vm.respond(&handler, &request, &call);
                let result = result.map(|response| Answered::of(response, &mut stay));
                answer(result, (reply, patience), (instance, &handler, &call), response_failed)
            }
            Work::Call { handler, args, reply } => {
                let failed = |result: &Result<Value, CallError>| call_failed(&handler, result);
                let result = vm.call(&handler, &args, &call);
                answer(result, (reply, patience), (instance, &handler, &call), failed)
            }
        };
        drop(stay);
        spent
    }

    /// Begins it in `vm`, which may hold several, and answers it if it comes to its end at once. As [`Job::run`] otherwise.
    pub fn begin(self, vm: &mut dyn Vm, instance: &Instance) -> Progress {
        let Self { work, mut call, stay, .. } = self;
        let patience = begin(&mut call, instance);
        let (task, reply) = match work {
            Work::Respond { handler, request, reply } => (Task::Respond(handler, request), Waiting::Response(reply)),
            Work::Call { handler, args, reply } => (Task::Call(handler, args), Waiting::Value(reply)),
        };
        let step = vm.begin(&task, &call);
        let (Task::Respond(handler, _) | Task::Call(handler, _)) = task;
        Held { reply, patience, handler, call, stay }.follow(step, instance)
    }
}

/// A call of `instance` begins in its VM; until when its caller waits.
fn begin(call: &mut CallContext, instance: &Instance) -> Instant {
    let patience = call.deadline;
    call.deadline = patience.min(Instant::now() + instance.limits().wall_time);
    if let Some(copy) = &call.mirrored {
        copy.begin();
    }
    patience
}

fn response_failed(result: &Result<Answered, CallError>) -> bool {
    match result {
        Ok(answered) => answered.response.status.is_server_error(),
        Err(error) => error.blame() == Blame::Instance,
    }
}

/// What the runtime asks of its own accord is no request.
fn call_failed(handler: &Handler, result: &Result<Value, CallError>) -> bool {
    let blame = result.as_ref().err().map(|error| match handler {
        Handler::Service(_) => error.blame_of_service(),
        Handler::Stream(_) => error.blame(),
        _ => Blame::Nobody,
    });
    blame == Some(Blame::Instance)
}

/// Sends the result. A caller that went away counted its request as abandoned, and cannot know that it failed; one that
/// waited until its deadline, `patience`, knows.
fn answer<T>(
    result: Result<T, ScriptError>,
    (reply, patience): (Reply<T>, Instant),
    (instance, handler, call): (&Instance, &Handler, &CallContext),
    failed: impl FnOnce(&Result<T, CallError>) -> bool,
) -> bool {
    let spent = result.as_ref().is_err_and(ScriptError::retires_vm);
    let is_verdict = matches!(result, Err(ScriptError::Limit(verdict)) if verdict != Verdict::Stopped);
    let (metrics, equal) = (&instance.metrics, || vm::share(instance).equal());
    let result = result.map_err(|error| CallError::of_script(error, &instance.key, equal));
    if is_verdict {
        metrics.verdicts.inc();
    }
    if let Err(error) = &result {
        instance.quotas().tell(error, handler, call);
    }
    if let Err(unheard) = reply.send(result)
        && call.mirrored.is_none()
        && Instant::now() < patience
        && failed(&unheard)
    {
        metrics.failed_unheard();
    }
    spent
}
