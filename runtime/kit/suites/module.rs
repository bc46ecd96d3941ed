//! The module's VM in a test, on a thread of its own as in production: it starts with the first call, and one that a limit
//! has spent is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use replug_scripts::{CallContext, Handler, Host, HostError, Request, Response, ScriptError, Value, Vm};

use super::services::IN_MODULE;
use super::world::World;

/// A call of a handler.
pub(super) enum Call {
    Respond(Handler, Box<Request>, CallContext),
    Run(Handler, Vec<Value>, CallContext),
    /// Calls it only where there is one.
    Deliver(Handler, Vec<Value>, CallContext),
}

/// What a handler answered.
pub(super) enum Answer {
    Response(Response),
    Value(Value),
}

/// What the thread tells the test.
pub(super) enum Event {
    /// The call is over; nothing if it took the thread with it.
    Done(Option<Result<Answer, ScriptError>>),
    /// The call waits for a function of the test.
    Ask { service: String, args: Value, reply: SyncSender<Result<Value, HostError>> },
}

/// The thread. Dropping it waits for the call in hand, which its limits bound.
pub(super) struct ModuleThread {
    calls: Option<SyncSender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl ModuleThread {
    /// Of a test that must have ended by `end`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        world: &Arc<World>,
        host: Arc<dyn Host>,
        events: SyncSender<Event>,
        end: Instant,
    ) -> Result<Self, String> {
        // a call is handed over when the one before it is over
        let (calls, taken) = sync_channel(1);
        let world = Arc::clone(world);
        let thread = std::thread::Builder::new()
            .name(format!("vm:{}", world.key.id))
            .stack_size(world.limits.stack_size())
            .spawn(move || serve(&|| make(&world, &host, end), &taken, &events))
            .map_err(|error| error.to_string())?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Hands a call over; an [`Event::Done`] follows.
    pub(super) fn send(&self, call: Call) {
        if let Some(calls) = &self.calls {
            // a thread that is gone has said so by an event
            let _ = calls.send(call);
        }
    }
}

impl Drop for ModuleThread {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Make<'a> = dyn Fn() -> Result<Box<dyn Vm>, ScriptError> + 'a;

fn serve(make: &Make<'_>, calls: &Receiver<Call>, events: &SyncSender<Event>) {
    IN_MODULE.set(true);
    let mut vm: Option<Box<dyn Vm>> = None;
    while let Ok(call) = calls.recv() {
        let done = catch_unwind(AssertUnwindSafe(|| answer(make, &mut vm, call))).ok();
        let is_over = match &done {
            Some(Err(error)) => error.retires_vm(),
            Some(Ok(_)) => false,
            None => true,
        };
        if is_over {
            vm = None;
        }
        if events.send(Event::Done(done)).is_err() {
            return;
        }
    }
}

fn answer(make: &Make<'_>, vm: &mut Option<Box<dyn Vm>>, call: Call) -> Result<Answer, ScriptError> {
    let vm = match vm {
        Some(vm) => vm,
        None => vm.insert(make()?),
    };
    match call {
        Call::Respond(handler, request, call) => vm.respond(&handler, &request, &call).map(Answer::Response),
        Call::Deliver(handler, ..) if !vm.exports().has(&handler) => Ok(Answer::Value(Value::Null)),
        Call::Run(handler, args, call) | Call::Deliver(handler, args, call) => {
            vm.call(&handler, &args, &call).map(Answer::Value)
        }
    }
}

pub(super) fn make(world: &World, host: &Arc<dyn Host>, end: Instant) -> Result<Box<dyn Vm>, ScriptError> {
    let call = world.call_within(end);
    let mut vm = world.program.instantiate(Arc::clone(host), &world.limits, &call)?;
    if vm.exports().has(&Handler::Init) {
        vm.call(&Handler::Init, &[], &call)?;
    }
    Ok(vm)
}
