//! Calls that wait for their host without holding a thread.

use std::pin::Pin;

use crate::api::{Request, Response};
use crate::error::{HostError, ScriptError};
use crate::host::Handler;
use crate::value::Value;

/// A call to begin in a VM.
#[derive(Debug)]
pub enum Task {
    /// As [`Vm::respond`](crate::Vm::respond).
    Respond(Handler, Box<Request>),
    /// As [`Vm::call`](crate::Vm::call).
    Call(Handler, Vec<Value>),
}

impl Task {
    /// The handler it runs.
    #[must_use]
    pub const fn handler(&self) -> &Handler {
        match self {
            Self::Respond(handler, _) | Self::Call(handler, _) => handler,
        }
    }
}

/// What a [`Task`] came to.
#[derive(Debug)]
pub enum Output {
    /// Of [`Task::Respond`].
    Response(Response),
    /// Of [`Task::Call`].
    Value(Value),
}

/// Which of the calls that a VM holds is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// How far a call came.
pub enum Advance {
    /// To its end.
    Done(Result<Output, ScriptError>),
    /// It waits for its host: hand what the future gives to [`Vm::resume`](crate::Vm::resume). The future ends by the call's deadline.
    Waits(Ticket, Pending),
}

/// The result of a host function that takes a while.
pub type Pending = Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send>>;

/// What a host function answers to a script that can wait.
pub enum Answer {
    /// The result.
    Ready(Result<Value, HostError>),
    /// The result to come; dropping it takes the call back as far as that is possible.
    Pending(Pending),
}
