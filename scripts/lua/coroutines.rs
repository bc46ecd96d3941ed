//! Calls that wait for their host: each runs in a coroutine of its own, and the VM runs others meanwhile.
//!
//! A host function that the handler itself calls, however deep and through whatever `pcall`, suspends the coroutine; one
//! that is called in a coroutine of the script's own, or by a native function such as a sort, holds the thread.

use std::collections::HashMap;

use mlua::{Function, Lua, MultiValue, Table, Thread};

use super::run::{Ended, Fault};
use super::vm::{Export, LuaVm};
use super::{protected, thrown};
use crate::api;
use crate::error::{HostError, ScriptError};
use crate::host::{CallContext, Handler};
use crate::meter::{self, MeterGuard, Paused};
use crate::observe;
use crate::task::{Advance, Output, Task, Ticket};
use crate::value::Value;

/// Coroutines that are kept for calls to come.
const SPARE: usize = 16;

/// What a handler gets that yields to nobody.
const YIELDED: &str = "attempt to yield from outside a coroutine";

/// The coroutines of a VM.
pub(super) struct Coroutines {
    /// The body of each.
    enter: Function,
    /// The metatable of host errors.
    error: Table,
    held: HashMap<Ticket, Held>,
    spare: Vec<Thread>,
    next: u64,
}

/// A call that waits.
struct Held {
    running: Running,
    budget: Paused,
    /// What it waits for.
    function: &'static api::Function,
}

/// A call that runs.
struct Running {
    coroutine: Thread,
    call: CallContext,
    handler: Handler,
    /// Whether its value is the answer to a request.
    responds: bool,
}

/// What a coroutine goes on with.
enum Input {
    /// Its function and the arguments of that.
    Start(MultiValue),
    /// What the host function returns.
    Return(mlua::Value),
    /// What the host function throws.
    Throw(Table),
}

impl Coroutines {
    pub(super) fn new(lua: &Lua, error: Table) -> mlua::Result<Self> {
        let enter = protected::suspendable_enter_function(lua)?;
        Ok(Self { enter, error, held: HashMap::new(), spare: Vec::new(), next: 0 })
    }

    fn take(&mut self, lua: &Lua) -> mlua::Result<Thread> {
        match self.spare.pop() {
            Some(coroutine) => coroutine.reset(self.enter.clone()).map(|()| coroutine),
            None => lua.create_thread(self.enter.clone()),
        }
    }

    fn give_back(&mut self, coroutine: Thread) {
        // its stack may have grown, and it may hold what threw; who begins anew with it clears both
        if self.spare.len() < SPARE && coroutine.is_finished() {
            self.spare.push(coroutine);
        }
    }

    /// Gives up a call that waits.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.held.remove(&ticket);
    }
}

impl LuaVm {
    /// Begins a call in a coroutine.
    pub(super) fn begin_coroutine(&mut self, export: &Export, task: &Task, call: &CallContext) -> Advance {
        let guard = meter::start(&self.limits, call.deadline);
        self.line.open(call);
        let args = match task {
            Task::Respond(_, request) => self.request_args(export, request, call),
            Task::Call(handler, args) => self.plain_args(export, handler, args, call),
        };
        let (handler, responds) = (task.handler().clone(), matches!(task, Task::Respond(..)));
        let made = args.and_then(|args| Ok((args, self.coroutines.take(&self.lua)?)));
        match made {
            Ok((args, coroutine)) => {
                let running = Running { coroutine, call: call.clone(), handler, responds };
                self.go_on(running, guard, Input::Start(args))
            }
            Err(fault) => Advance::Done(self.settle(Err(fault), |_, _| Ok(Output::Value(Value::Null)))),
        }
    }

    /// Goes on with a call that waited.
    pub(super) fn resume_coroutine(&mut self, ticket: Ticket, answer: Result<Value, HostError>) -> Advance {
        let Some(Held { running, budget, function }) = self.coroutines.held.remove(&ticket) else {
            return Advance::Done(Err(ScriptError::Contract(format!("no call waits under {ticket:?}"))));
        };
        let guard = budget.resume();
        if answer.is_err() {
            // what it waited for may have ended because its module was stopped: no error of the script's
            observe::may_go_on();
        }
        self.line.open(&running.call);
        let value = answer
            .and_then(|value| self.converter.to_script(&self.lua, &value).map_err(|unfit| unfit.host_result(function)));
        let input = match value {
            Ok(value) => value.map(Input::Return),
            Err(error) => thrown::host_error_table(&self.lua, &self.coroutines.error, &error).map(Input::Throw),
        };
        match input {
            Ok(input) => self.go_on(running, guard, input),
            Err(error) => Advance::Done(self.settle(Err(error.into()), |_, _| Ok(Output::Value(Value::Null)))),
        }
    }

    /// Runs a coroutine until it waits or ends.
    fn go_on(&mut self, running: Running, guard: MeterGuard, input: Input) -> Advance {
        let coroutine = &running.coroutine;
        let mut ended = self.limit().and_then(|()| {
            protected::resuming(coroutine, || match input {
                Input::Start(args) => coroutine.resume::<Ended>(args),
                Input::Return(value) => coroutine.resume(value),
                Input::Throw(error) => coroutine.resume_error(error),
            })
        });
        while ended.is_ok() && coroutine.is_resumable() {
            let Some((function, pending)) = self.line.take_pending() else {
                // each round is at least a call, so the ticks end it
                ended = protected::resuming(coroutine, || coroutine.resume_error(YIELDED));
                continue;
            };
            if let Err(error) = self.lua.set_memory_limit(0) {
                ended = Err(error);
                break;
            }
            drop(self.line.close());
            let Some(budget) = guard.pause() else {
                return Advance::Done(Err(ScriptError::Engine("the call lost its budget".into())));
            };
            let ticket = Ticket(self.coroutines.next);
            self.coroutines.next += 1;
            self.coroutines.held.insert(ticket, Held { running, budget, function });
            return Advance::Waits(ticket, pending);
        }
        let ended = ended.map_err(Fault::Lua);
        let (handler, responds) = (&running.handler, running.responds);
        let result = self.settle(ended, |vm, value| {
            if responds {
                vm.keys.response(&value, handler, (&vm.converter, &vm.exports)).map(Output::Response)
            } else {
                vm.converter.to_host(&value).map(Output::Value).map_err(|unfit| unfit.answer(handler))
            }
        });
        self.coroutines.give_back(running.coroutine);
        drop(guard);
        Advance::Done(result)
    }
}
