//! A call in a VM that holds several: it waits for its host while others run.

use std::time::Instant;

use replug_scripts::{
    Advance, CallContext, Handler, HostError, Output, Pending, ScriptError, Ticket, Value, Verdict, Vm,
};

use super::{Answered, Reply, Stay, answer, call_failed, response_failed};
use crate::actors::error::CallError;
use crate::actors::instance::Instance;

/// How far a call came in a VM that holds several.
pub enum Progress {
    /// It was answered; what it left of the VM.
    Over(Left),
    /// It waits for the future's result.
    Waits(Ticket, Pending, Box<Held>),
}

/// What a call left of its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It takes further calls.
    Sound,
    /// It takes none, but those that it holds may run to their end.
    Retired,
    /// Its heap is full or its engine failed: all that it holds is over.
    Lost,
}

impl Left {
    const fn after<T>(result: &Result<T, ScriptError>) -> Self {
        match result {
            Err(ScriptError::Limit(Verdict::Memory(_)) | ScriptError::Engine(_)) => Self::Lost,
            Err(error) if error.retires_vm() => Self::Retired,
            _ => Self::Sound,
        }
    }
}

/// Where the result of a call goes that a VM holds.
pub(super) enum Waiting {
    Response(Reply<Answered>),
    Value(Reply<Value>),
}

/// A call that a VM holds while it waits for its host.
pub struct Held {
    pub(super) reply: Waiting,
    /// How long the caller waits.
    pub(super) patience: Instant,
    pub(super) handler: Handler,
    /// Its deadline is that of what it waits for.
    pub(super) call: CallContext,
    pub(super) stay: Option<Stay>,
}

impl Held {
    /// As [`is_exempt`](super::Job::is_exempt) of a job.
    #[must_use]
    pub const fn is_exempt(&self) -> bool {
        super::is_the_runtimes(&self.handler)
    }

    /// When what it waits for comes too late.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.call.deadline
    }

    /// Whether nobody waits for it any more.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        match &self.reply {
            Waiting::Response(reply) => reply.is_closed(),
            Waiting::Value(reply) => reply.is_closed(),
        }
    }

    /// Goes on with it in its VM.
    pub fn resume(
        self,
        vm: &mut dyn Vm,
        ticket: Ticket,
        answer: Result<Value, HostError>,
        instance: &Instance,
    ) -> Progress {
        let step = vm.resume(ticket, answer);
        self.follow(step, instance)
    }

    /// Answers with an error.
    pub fn fail(self, error: CallError) {
        match self.reply {
            Waiting::Response(reply) => drop(reply.send(Err(error))),
            Waiting::Value(reply) => drop(reply.send(Err(error))),
        }
    }

    pub(super) fn follow(self, step: Advance, instance: &Instance) -> Progress {
        let result = match step {
            Advance::Waits(ticket, pending) => return Progress::Waits(ticket, pending, Box::new(self)),
            Advance::Done(result) => result,
        };
        let left = Left::after(&result);
        let Self { reply, patience, handler, call, mut stay } = self;
        let of = (instance, &handler, &call);
        match reply {
            Waiting::Response(reply) => {
                let result = result.and_then(|output| match output {
                    Output::Response(response) => Ok(Answered::of(response, &mut stay)),
                    Output::Value(_) => Err(ScriptError::Engine("a plain value for a request".to_owned())),
                });
                answer(result, (reply, patience), of, response_failed);
            }
            Waiting::Value(reply) => {
                let result = result.and_then(|output| match output {
                    Output::Value(value) => Ok(value),
                    Output::Response(_) => Err(ScriptError::Engine("a response for a plain call".to_owned())),
                });
                answer(result, (reply, patience), of, |result| call_failed(&handler, result));
            }
        }
        drop(stay);
        Progress::Over(left)
    }
}
