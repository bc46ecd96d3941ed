//! Values on their way between a script and the host: how large they may be, why they may not cross, and the host call
//! that they cross for.
//!
//! How a value of a language looks on the other side is that language's own: see its `convert`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::api::Function;
use crate::error::{HostError, HostErrorKind, ScriptError};
use crate::host::{CallContext, Handler, Host};
#[cfg(feature = "lua")]
use crate::task::Answer;
use crate::value::{MAX_DEPTH, Value};
use crate::{meter, observe};

/// What a value takes beside its own bytes, roughly, on either side: the place of one in a list that grows.
const NODE: usize = 64;
/// What a map takes as soon as it has an entry: a node of a tree with room for eleven.
const MAP: usize = 720;
/// What each entry of a map takes beside that, its value and its key: nodes are rarely full.
const ENTRY: usize = 32;

/// Ticks that a host call costs beside its own CPU time.
pub(crate) const CALL_TICKS: u64 = 64;

/// Why a value does not cross.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Or it contains itself.
    #[error("the value nests deeper than {MAX_DEPTH} levels, or contains itself")]
    Depth,
    /// The copy would be larger than the VM may be.
    #[error("the value is larger than the memory limit")]
    Size,
    /// A function and the like.
    #[error("a {0} cannot leave the script; pass plain data")]
    Kind(&'static str),
    /// A key that neither lists nor maps have. Only tables of Lua can.
    #[cfg(feature = "lua")]
    #[error("{0}")]
    Key(String),
    /// The call is over; the meter says why.
    #[error("a limit was reached")]
    Over,
}

impl Unfit {
    /// The error of a handler's argument.
    pub(crate) fn argument(&self, handler: &Handler) -> ScriptError {
        ScriptError::Contract(format!("what was passed to {handler} cannot enter the script: {self}"))
    }

    /// The error of a handler's answer.
    pub(crate) fn answer(&self, handler: &Handler) -> ScriptError {
        ScriptError::Contract(format!("what {handler} returned cannot leave the script: {self}"))
    }

    /// The error of a host function's argument, by its index.
    pub(crate) fn host_argument(&self, function: &Function, index: usize) -> HostError {
        let (group, name) = (function.group, function.name);
        let message = format!("{group}.{name}: argument {}: {self}", index + 1);
        HostError::new(HostErrorKind::InvalidArgument, message)
    }

    /// The error of a host function's result. One that is too large ends the call: the script asked for it.
    pub(crate) fn host_result(&self, function: &Function) -> HostError {
        if *self == Self::Size {
            meter::out_of_memory();
        }
        let (group, name) = (function.group, function.name);
        let message = format!("{group}.{name}: the result cannot enter the script: {self}");
        HostError::new(HostErrorKind::Failed, message)
    }
}

/// What is left for the copy of a value: bytes, of as many as the VM of the call may hold.
pub(crate) struct Room(usize);

impl Room {
    /// For a value of the call that runs on this thread.
    pub(crate) fn of_call() -> Self {
        Self(meter::heap())
    }

    /// Takes a value beside its own bytes. Every one is a tick.
    pub(crate) fn take_node(&mut self) -> Result<(), Unfit> {
        self.take(NODE)?;
        if meter::tick(1).is_some() { Err(Unfit::Over) } else { Ok(()) }
    }

    /// Takes an entry of a map that has `entries`, beside its key and value.
    pub(crate) fn take_entry(&mut self, entries: usize) -> Result<(), Unfit> {
        self.take(if entries == 0 { MAP } else { ENTRY })
    }

    /// Takes bytes, and charges the call for copying them.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.take(bytes)?;
        self.charge(bytes)
    }

    /// Charges the call for copying bytes.
    #[allow(clippy::unused_self, reason = "the room is the call's")]
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Unfit> {
        if meter::charge_bytes(bytes).is_some() { Err(Unfit::Over) } else { Ok(()) }
    }

    /// Takes bytes that the call is charged for apart.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Unfit> {
        match self.0.checked_sub(bytes) {
            Some(left) => self.0 = left,
            // another time the value would perhaps fit
            None if meter::is_crowded() => {
                meter::out_of_memory();
                return Err(Unfit::Over);
            }
            None => return Err(Unfit::Size),
        }
        Ok(())
    }
}

/// Whether a list or map may stand this deep.
pub(crate) fn check_depth(depth: usize) -> Result<(), Unfit> {
    if depth == MAX_DEPTH { Err(Unfit::Depth) } else { Ok(()) }
}

/// Whether the host's value fits, before anything is made of it.
pub(crate) fn check(value: &Value) -> Result<(), Unfit> {
    measure(value, 0, &mut Room::of_call())
}

fn measure(value: &Value, depth: usize, room: &mut Room) -> Result<(), Unfit> {
    room.take(NODE)?;
    match value {
        Value::Text(text) => room.take(text.len()),
        Value::Bytes(bytes) => room.take(bytes.len()),
        Value::List(items) => {
            check_depth(depth)?;
            items.iter().try_for_each(|item| measure(item, depth + 1, room))
        }
        Value::Map(map) => {
            check_depth(depth)?;
            map.iter().try_for_each(|(key, item)| {
                room.take(key.len())?;
                measure(item, depth + 1, room)
            })
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
    }
}

/// A host, and the call for which its functions are to act.
pub(crate) type Line<'a> = (&'a Arc<dyn Host>, &'a CallContext);

/// Runs a host function for the call of `line`, or says that there is no call to run it for. `keep` gets what it panicked
/// with, and the call is over then: no script may swallow a panic.
pub(crate) fn call_host(
    function: &Function,
    args: Vec<Value>,
    line: Option<Line<'_>>,
    keep: impl FnOnce(Box<dyn Any + Send>),
) -> Result<Value, HostError> {
    let (host, call) = line.ok_or_else(no_call)?;
    if function.waits {
        observe::waits();
    }
    guarded(function, keep, || host.call(function.id, args, call)).unwrap_or_else(Err)
}

/// The same for a script that can wait for the result.
#[cfg(feature = "lua")]
pub(crate) fn begin_host(
    function: &Function,
    args: Vec<Value>,
    line: Option<Line<'_>>,
    keep: impl FnOnce(Box<dyn Any + Send>),
) -> Answer {
    let (host, call) = match line.ok_or_else(no_call) {
        Ok(line) => line,
        Err(error) => return Answer::Ready(Err(error)),
    };
    let begun = guarded(function, keep, || Arc::clone(host).begin(function.id, args, call));
    begun.unwrap_or_else(|error| Answer::Ready(Err(error)))
}

fn no_call() -> HostError {
    HostError::new(HostErrorKind::Failed, "host functions work only during a call")
}

fn guarded<R>(
    function: &Function,
    keep: impl FnOnce(Box<dyn Any + Send>),
    run: impl FnOnce() -> R,
) -> Result<R, HostError> {
    let run = || if function.own_quota { meter::exempt(run) } else { run() };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        keep(panic);
        meter::out_of_memory();
        HostError::new(HostErrorKind::Failed, "the host function failed")
    })
}
