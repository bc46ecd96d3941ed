//! Suites: the test files of a module, and what a test can do beyond what its module can.
//!
//! A suite's entry returns a table/map of functions, each a test under its name. Its VM has the host functions of the module
//! and two more groups, `test` and `assert`: see [`SUITE`]. What those do is the caller's business, through a [`Stage`].

#[cfg(any(feature = "lua", feature = "rhai"))]
mod assertions;

use std::sync::Arc;

use crate::error::{HostError, ScriptError, SourceFault};
use crate::host::{CallContext, Host, Language, Sources, Vm};
use crate::limits::Limits;
use crate::value::Value;

/// One function that tests have and modules have not.
#[derive(Clone, Copy, Debug)]
pub struct SuiteFunction {
    /// Which it is.
    pub id: SuiteFn,
    /// As scripts write it: `test.clock.set`.
    pub path: &'static str,
    /// As in [`crate::api::Function::params`]; the type `function` is one more.
    pub params: &'static str,
    /// As in [`crate::api::Function::returns`].
    pub returns: &'static str,
    /// One sentence for manuals and editors.
    pub doc: &'static str,
}

macro_rules! suite_functions {
    ($($id:ident = $path:literal ($params:literal) -> $returns:literal, $doc:literal;)*) => {
        /// The functions of suites, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SuiteFn {
            $(#[doc = $doc] $id,)*
        }

        /// Every function of suites, grouped.
        pub const SUITE: &[SuiteFunction] = &[$(SuiteFunction {
            id: SuiteFn::$id, path: $path, params: $params, returns: $returns, doc: $doc,
        },)*];
    };
}

suite_functions! {
    Request = "test.request"("request: map") -> "map", "Sends `{method, path, query, headers, body, principal}` to the api or page of the module that has the path, as the gateway would: `{status, headers, body, json}`, and `{stream, state}` of what streams.";
    Page = "test.page"("component: string, request?: map") -> "map", "Draws a page of the module: `{status, headers, body, json}`.";
    Stream = "test.stream"("name: string, state?: any") -> "map?", "Calls `streams[name]` of the module once, as for the next piece of an answer: `{body, state, after}`, or nothing at the end.";
    Call = "test.call"("service: string, args?: any") -> "any", "Calls `capability.method` of the module, as another module would.";
    Health = "test.health"("") -> "any", "What the module's health handler says.";
    Service = "test.service"("service: string, answer?: any") -> "", "Stands in for a service of another module, or for what else belongs to one (`db.of shop`): `answer` is what it returns, or a function of its arguments.";
    Calls = "test.calls"("service: string") -> "list", "The arguments of the calls of a service that were answered by a stand-in, in order.";
    Publish = "test.publish"("topic: string, payload?: any") -> "", "Publishes an event as its module would: the handler `events[topic]` of this module has run when it returns.";
    Published = "test.published"("topic: string") -> "list", "The payloads of the events of a topic that the module published, in order.";
    Config = "test.config"("key: string, value?: any") -> "", "Gives a setting of the module another value for the rest of the test.";
    ClockSet = "test.clock.set"("millis: number") -> "", "Stops the clock at a moment in milliseconds since 1970-01-01 UTC.";
    ClockAdvance = "test.clock.advance"("millis: number") -> "", "Moves the clock on, with the ticks of the timers that are due by then; it stands until it is moved again.";
    HttpRespond = "test.http.respond"("method: string, url: string, response: map") -> "", "Answers requests of the module to this URL with `{status, headers, body}`; the last answer given for a URL counts.";
    HttpRequests = "test.http.requests"("") -> "list", "The requests that the module sent: `{method, url, headers, body}` each.";
    AssertEqual = "assert.equal"("found: any, expected?: any") -> "", "Fails unless both are the same plain data.";
    AssertOk = "assert.ok"("value?: any, message?: string") -> "any", "Fails if the value is false or nothing; otherwise returns it.";
    AssertContains = "assert.contains"("text: string, part: string") -> "", "Fails unless the text has the part in it.";
    AssertFails = "assert.fails"("f: function, part?: string") -> "string", "Fails unless `f` throws an error whose message has the part in it; otherwise returns the message.";
}

impl SuiteFn {
    /// Its row in the table.
    #[must_use]
    pub fn function(self) -> &'static SuiteFunction {
        &SUITE[self as usize]
    }
}

/// How far a function of a suite has come.
#[derive(Clone, Debug)]
pub enum Step {
    /// It returns this.
    Done(Value),
    /// The suite's own function that stands in for a service is to be run, and [`Stage::resume`]d with what comes of it.
    Answer {
        /// The service.
        service: String,
        /// What it was called with.
        args: Value,
    },
}

/// What the functions of a suite do. They run on the VM's thread.
pub trait Stage: Send + Sync {
    /// Begins a function of `test`. `args` are what the test passed; a function that stands in for a service arrives as
    /// `true`.
    ///
    /// # Errors
    /// What the test sees as `{kind, message}`.
    fn begin(&self, function: SuiteFn, args: Vec<Value>) -> Result<Step, HostError>;

    /// Goes on after [`Step::Answer`].
    ///
    /// # Errors
    /// As [`Stage::begin`].
    fn resume(&self, answer: Result<Value, HostError>) -> Result<Step, HostError>;
}

/// A compiled test file with the other files of its module.
pub struct Suite(Inner);

enum Inner {
    #[cfg(feature = "lua")]
    Lua(crate::lua::LuaProgram),
    #[cfg(feature = "rhai")]
    Rhai(crate::rhai::RhaiProgram),
}

impl Suite {
    /// Compiles a test file, the entry of `sources`, with the files that it may use. Nothing is run.
    ///
    /// # Errors
    /// As [`crate::compile`].
    pub fn compile(sources: &Sources) -> Result<Self, Vec<SourceFault>> {
        let fault = |message: String| vec![SourceFault { file: sources.entry.clone(), line: 0, column: 0, message }];
        match Language::of(&sources.entry) {
            #[cfg(feature = "lua")]
            Some(Language::Lua) => Ok(Self(Inner::Lua(crate::lua::LuaProgram::compile(sources)?))),
            #[cfg(feature = "rhai")]
            Some(Language::Rhai) => Ok(Self(Inner::Rhai(crate::rhai::RhaiProgram::compile(sources)?))),
            #[allow(unreachable_patterns, reason = "reached when a language feature is off")]
            Some(language) => Err(fault(format!("this build leaves out the language {}", language.ending()))),
            None => Err(fault("a test file must end in .lua or .rhai".into())),
        }
    }

    /// Makes a VM on the calling thread, the only one of a suite there, and runs the top level in it. Its handlers are
    /// [`crate::Handler::Test`]s.
    ///
    /// # Errors
    /// As [`crate::Program::instantiate`].
    #[cfg_attr(
        not(any(feature = "lua", feature = "rhai")),
        expect(unused_variables, reason = "no language takes them")
    )]
    pub fn open(
        &self,
        host: Arc<dyn Host>,
        stage: Arc<dyn Stage>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Box<dyn Vm>, ScriptError> {
        match &self.0 {
            #[cfg(feature = "lua")]
            Inner::Lua(program) => program.open_suite(host, stage, limits, call),
            #[cfg(feature = "rhai")]
            Inner::Rhai(program) => program.open_suite(host, stage, limits, call),
            #[allow(unreachable_patterns, reason = "reached in a build without languages, which compiles no suite")]
            _ => Err(ScriptError::Contract("this build has no script language".into())),
        }
    }
}

/// Runs a function of a suite as far as it goes without the suite's own functions. A panic of the stage is an error here:
/// none may unwind through a VM.
#[cfg(any(feature = "lua", feature = "rhai"))]
pub(crate) fn begin(stage: &dyn Stage, function: SuiteFn, args: Vec<Value>) -> Result<Step, HostError> {
    use SuiteFn as F;
    match function {
        F::AssertEqual | F::AssertOk | F::AssertContains => assertions::check(function, args).map(Step::Done),
        _ => guarded(|| stage.begin(function, args)),
    }
}

/// Goes on with `answer`, or with what a stand-in threw.
#[cfg(any(feature = "lua", feature = "rhai"))]
pub(crate) fn resume(stage: &dyn Stage, answer: Result<Value, HostError>) -> Result<Step, HostError> {
    guarded(|| stage.resume(answer))
}

#[cfg(any(feature = "lua", feature = "rhai"))]
pub(crate) use assertions::{failed, thrown};

#[cfg(any(feature = "lua", feature = "rhai"))]
fn guarded(work: impl FnOnce() -> Result<Step, HostError>) -> Result<Step, HostError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(HostError::new(crate::error::HostErrorKind::Failed, "the test runner failed; its log says why"))
    })
}

#[cfg(all(test, feature = "lua", feature = "rhai"))]
mod tests;
