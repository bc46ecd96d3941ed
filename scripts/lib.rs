//! Script hosts for Lua (Luau) and Rhai.
//!
//! A [`Program`] is what was compiled from a module's sources; it is shared. A [`Vm`] is what runs: it is made from a
//! program on the thread that will use it, holds its own globals and memory, and is thrown away after a limit verdict.
//! This crate knows nothing of modules, actors or HTTP servers: whatever a script may reach outside its VM goes through
//! the [`Host`] that the caller supplies.
//!
//! Limits hold from the first call: see [`Limits`] for their units and [`Verdict`] for what they say.

pub mod api;
#[cfg(any(feature = "lua", feature = "rhai"))]
mod contract;
mod cpu;
#[cfg(any(feature = "lua", feature = "rhai"))]
mod crossing;
pub mod error;
mod evaluate;
pub mod exports;
pub mod handled;
pub mod host;
pub mod json;
pub mod limits;
#[cfg(feature = "lua")]
mod lua;
#[cfg(any(feature = "lua", feature = "rhai"))]
mod message;
#[cfg(any(feature = "lua", feature = "rhai"))]
mod meter;
mod observe;
mod readying;
#[cfg(any(feature = "lua", feature = "rhai"))]
mod response;
#[cfg(feature = "rhai")]
mod rhai;
pub mod scan;
pub mod streamed;
pub mod stubs;
pub mod suite;
mod task;
#[cfg(all(test, any(feature = "lua", feature = "rhai")))]
mod testing;
pub mod value;

#[cfg(feature = "rhai")]
pub use self::rhai::counts_rhai_memory;
pub use api::{HostFn, Principal, Request, Response, Stream};
pub use cpu::thread_cpu_time;
pub use error::{HostError, HostErrorKind, ScriptError, SourceFault};
pub use evaluate::{EvaluateError, code_path, evaluate};
pub use host::{
    Around, CallContext, Exports, Handler, Host, Language, Mirrored, Program, Sources, Vm, WallClock, compile,
    compile_within,
};
pub use limits::{Limits, Verdict};
pub use observe::{Overseen, Overseer, may_go_on, waits};
pub use readying::Readying;
pub use suite::{Stage, Step, Suite, SuiteFn};
pub use task::{Advance, Answer, Output, Pending, Task, Ticket};
pub use value::{Misfit, Value, from_value, to_value};
