//! The one contract behind both languages: sources, programs, virtual machines and the host they call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::api::{HostFn, Principal, Request, Response};
use crate::error::{HostError, HostErrorKind, ScriptError, SourceFault};
use crate::limits::Limits;
use crate::readying::Readying;
use crate::task::{Advance, Answer, Output, Task, Ticket};
use crate::value::Value;

/// A script language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Luau, by file ending `.lua`.
    Lua,
    /// Rhai, by file ending `.rhai`.
    Rhai,
}

impl Language {
    /// The language of a file by its ending; `None` for any other file.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "lua" => Some(Self::Lua),
            "rhai" => Some(Self::Rhai),
            _ => None,
        }
    }

    /// The file ending, without the dot.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Lua => "lua",
            Self::Rhai => "rhai",
        }
    }

    /// What it calls the value that is none.
    #[must_use]
    pub const fn nothing(self) -> &'static str {
        match self {
            Self::Lua => "nil",
            Self::Rhai => "()",
        }
    }
}

/// The script files of one module: paths relative to its folder, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The path of the entry script, one of the keys of `files`.
    pub entry: String,
    /// Every file of the entry's language, by path.
    pub files: BTreeMap<String, Arc<str>>,
}

/// Compiles `sources` for the language of the entry's ending. Nothing is run.
///
/// # Errors
/// Every file that does not compile, each with line and column; an entry that is missing, of an unknown ending, or of a
/// language this build leaves out.
pub fn compile(sources: &Sources) -> Result<Arc<dyn Program>, Vec<SourceFault>> {
    compile_within(sources, &|work| work())
}

/// Does work that it is given, once, with whatever is to surround it.
pub type Around<'a> = dyn Fn(&mut dyn FnMut()) + Sync + 'a;

/// [`compile`], where `around` surrounds what is done on another thread than this one.
///
/// # Errors
/// As [`compile`].
pub fn compile_within(sources: &Sources, around: &Around<'_>) -> Result<Arc<dyn Program>, Vec<SourceFault>> {
    #[cfg(not(feature = "rhai"))]
    let _ = around;
    let fault = |message: String| vec![SourceFault { file: sources.entry.clone(), line: 0, column: 0, message }];
    if !sources.files.contains_key(&sources.entry) {
        return Err(fault("the entry script does not exist".into()));
    }
    #[cfg(any(feature = "lua", feature = "rhai"))]
    crate::contract::check_sizes(sources.files.values().map(|source| &**source)).map_err(fault)?;
    match Language::of(&sources.entry) {
        #[cfg(feature = "lua")]
        Some(Language::Lua) => Ok(Arc::new(crate::lua::LuaProgram::compile(sources)?)),
        #[cfg(feature = "rhai")]
        Some(Language::Rhai) => Ok(Arc::new(crate::rhai::RhaiProgram::compile_within(sources, around)?)),
        #[allow(unreachable_patterns, reason = "reached when a language feature is off")]
        Some(language) => Err(fault(format!("this build leaves out the language {}", language.ending()))),
        None => Err(fault("the entry script must end in .lua or .rhai".into())),
    }
}

/// Compiled sources: bytecode or a syntax tree. Shared between threads; running it never changes it.
pub trait Program: Send + Sync {
    /// The language it was written in.
    fn language(&self) -> Language;

    /// Makes a VM on the calling thread and runs the entry script's top level in it, under `limits` and under the
    /// deadline of `call`. The handler `init` is not called here.
    ///
    /// # Errors
    /// What the top level threw, the limit it met, or [`ScriptError::Contract`] when it does not return a table/map of
    /// handlers.
    fn instantiate(&self, host: Arc<dyn Host>, limits: &Limits, call: &CallContext)
    -> Result<Box<dyn Vm>, ScriptError>;
}

/// One running script with its own globals and memory. It stays on the thread that made it.
///
/// After an error for which [`ScriptError::retires_vm`] is true the VM answers every further call with that error: the
/// owner drops it and makes another.
pub trait Vm {
    /// What the entry script returned.
    fn exports(&self) -> &Exports;

    /// Runs an `apis` or `pages` handler. A body that is a table/map becomes JSON with its content type; pages default
    /// to `text/html; charset=utf-8`, a string body of an api to `text/plain; charset=utf-8`. An api may name one of
    /// `streams` instead of a body, which the caller then calls as often as it wants pieces.
    ///
    /// # Errors
    /// What the handler threw, the limit it met, no such handler, or an answer that is not a response.
    fn respond(&mut self, handler: &Handler, request: &Request, call: &CallContext) -> Result<Response, ScriptError>;

    /// Runs any other handler with `args`, followed by the context where the contract passes one.
    ///
    /// # Errors
    /// As [`Vm::respond`].
    fn call(&mut self, handler: &Handler, args: &[Value], call: &CallContext) -> Result<Value, ScriptError>;

    /// Begins a call that may wait for its host without holding the thread: the VM may run others meanwhile. A language
    /// that cannot wait so runs it to its end.
    ///
    /// The calls that a VM holds share its globals, its memory and its limits on it; each has a budget of its own. After a
    /// verdict on ticks or time the VM begins nothing more, but those it holds may run to their end; after any other error
    /// that retires the VM, they are over with it.
    fn begin(&mut self, task: &Task, call: &CallContext) -> Advance {
        Advance::Done(match task {
            Task::Respond(handler, request) => self.respond(handler, request, call).map(Output::Response),
            Task::Call(handler, args) => self.call(handler, args, call).map(Output::Value),
        })
    }

    /// Goes on with a call that waited, now that its answer is there. An unknown ticket is an error of its caller.
    fn resume(&mut self, ticket: Ticket, answer: Result<Value, HostError>) -> Advance {
        let _ = answer;
        Advance::Done(Err(ScriptError::Contract(format!("no call waits under {ticket:?}"))))
    }

    /// Gives up a call that waits; its script does not run again.
    fn forget(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// Bytes the VM's heap holds now; an estimate where the language keeps no count.
    fn memory(&self) -> usize;

    /// Frees what the script can no longer reach, where the language does not do so at once.
    fn collect(&mut self) {}

    /// Replaces the limits of the calls to come. The memory limit holds at once.
    fn set_limits(&mut self, limits: Limits);
}

/// Which function of the entry's table is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Handler {
    /// `init(ctx)`: in every new VM before its first other call.
    Init,
    /// `warmup(ctx)`: once an instance, before it takes traffic.
    Warmup,
    /// `shutdown(ctx)`: once an instance, after its last request.
    Shutdown,
    /// `health(ctx)`.
    Health,
    /// `on_config(next, previous)`.
    OnConfig,
    /// `upgrade(state, from_version, actor)`: the state of an actor that another version made.
    Upgrade,
    /// `apis["GET /api/…"](req, ctx)`; the name is `METHOD PATH` with the manifest's path.
    Api(Arc<str>),
    /// `pages[component](req, ctx)`.
    Page(Arc<str>),
    /// `services["capability.method"](args, ctx)`.
    Service(Arc<str>),
    /// `cleanup[name](ctx)`.
    Cleanup(Arc<str>),
    /// A test of a test file; it takes no arguments. See [`crate::Suite`].
    Test(Arc<str>),
    /// `events[topic](message, ctx)`.
    Event(Arc<str>),
    /// `streams[name](state, ctx)`: the next piece of an answer; see [`crate::streamed`].
    Stream(Arc<str>),
    /// `actors[name].init(ctx)`.
    ActorInit(Arc<str>),
    /// `actors[name].handle(state, message, ctx)`.
    ActorHandle(Arc<str>),
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Warmup => f.write_str("warmup"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Health => f.write_str("health"),
            Self::OnConfig => f.write_str("on_config"),
            Self::Upgrade => f.write_str("upgrade"),
            Self::Api(name) => write!(f, "apis[\"{name}\"]"),
            Self::Page(name) => write!(f, "pages[\"{name}\"]"),
            Self::Service(name) => write!(f, "services[\"{name}\"]"),
            Self::Cleanup(name) => write!(f, "cleanup[\"{name}\"]"),
            Self::Test(name) => write!(f, "the test \"{name}\""),
            Self::Event(topic) => write!(f, "events[\"{topic}\"]"),
            Self::Stream(name) => write!(f, "streams[\"{name}\"]"),
            Self::ActorInit(name) => write!(f, "actors[\"{name}\"].init"),
            Self::ActorHandle(name) => write!(f, "actors[\"{name}\"].handle"),
        }
    }
}

impl Handler {
    /// Whether the contract passes `ctx` after the arguments.
    #[must_use]
    pub const fn takes_context(&self) -> bool {
        !matches!(self, Self::OnConfig | Self::Upgrade | Self::Test(_))
    }
}

/// The handlers that an entry script returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// All of them, sorted.
    pub handlers: BTreeSet<Handler>,
    /// Keys beside them that the contract does not know, at most [`Exports::MOST_UNKNOWN`]: nothing reads what is there.
    pub unknown: BTreeSet<Arc<str>>,
}

impl Exports {
    /// How many unknown keys are noted.
    pub const MOST_UNKNOWN: usize = 16;

    /// Notes a key of the entry's table if the contract does not know it.
    #[cfg(any(feature = "lua", feature = "rhai"))]
    pub(crate) fn note(&mut self, key: &str) {
        if self.unknown.len() < Self::MOST_UNKNOWN && !Handler::keys().any(|known| known == key) {
            self.unknown.insert(crate::message::clip(key).into());
        }
    }

    /// Whether `handler` exists.
    #[must_use]
    pub fn has(&self, handler: &Handler) -> bool {
        self.handlers.contains(handler)
    }
}

/// For whom and until when a call runs; handed back to the [`Host`] with each host call and shown to scripts as `ctx`
/// (`{module, version, request_id, caller}`).
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The module whose script runs.
    pub module: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The id of the request at whose origin this call stands; logs carry it.
    pub request_id: Arc<str>,
    /// The module that called this service; `None` when the runtime or the gateway did.
    pub caller: Option<Arc<str>>,
    /// When whoever asked stops waiting.
    pub deadline: Instant,
    /// The modules whose service calls led here, outermost first; none at the gateway.
    pub chain: Vec<Arc<str>>,
    /// The events that led here, each published by what the one before caused; none for a request and for the tick of a timer.
    pub hops: u8,
    /// On whose behalf, where somebody signed in.
    pub principal: Option<Arc<Principal>>,
    /// Set where the request at whose origin this call stands is a copy of a client's.
    pub mirrored: Option<Arc<Mirrored>>,
    /// Set where the runtime has a version get ready by this call, and in what follows from it.
    pub readying: Option<Arc<Readying>>,
}

/// A copy of a client's request: nobody waits for its answer, and nothing may come of it.
#[derive(Debug, Default)]
pub struct Mirrored {
    was_refused: AtomicBool,
    was_crowded: AtomicBool,
    began: OnceLock<Instant>,
}

impl Mirrored {
    /// Refuses `what`, such as `kv.put`, which would outlive the copy, and notes that.
    #[must_use]
    pub fn refuse(&self, what: &str) -> HostError {
        self.was_refused.store(true, Ordering::Relaxed);
        HostError::new(
            HostErrorKind::Mirrored,
            format!(
                "{what}: refused in a mirrored request, of which nothing may be left; it is carried out in a client's own"
            ),
        )
    }

    /// Notes that the copy met others of its kind, or clients, at what only a few may use at once.
    pub fn crowd(&self) {
        self.was_crowded.store(true, Ordering::Relaxed);
    }

    /// Whether it did, which says nothing of whoever answers it.
    #[must_use]
    pub fn was_crowded(&self) -> bool {
        self.was_crowded.load(Ordering::Relaxed)
    }

    /// Notes that its script begins now.
    pub fn begin(&self) {
        // once: a copy is one call
        let _ = self.began.set(Instant::now());
    }

    /// When its script began; nothing where it never did.
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Whether the host refused anything, after which nobody can tell what the call would have come to.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }
}

/// What a script can reach outside its VM. Implementations check, count and audit each call.
pub trait Host: Send + Sync {
    /// Runs one function of the host table on the script's thread; it may block, at most until `call.deadline`.
    /// `args` are what the script passed, in order, trailing ones possibly missing.
    ///
    /// # Errors
    /// A [`HostError`] that the script sees as `{kind, message}`.
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError>;

    /// The same for a script that can wait: what may take long comes as a future, which ends by `call.deadline`.
    fn begin(self: Arc<Self>, function: HostFn, args: Vec<Value>, call: &CallContext) -> Answer {
        Answer::Ready(self.call(function, args, call))
    }

    /// Closes the connections to others that nobody uses at this moment; what needs one later opens a new one.
    fn close_connections(&self) {}

    /// The clock of the languages' own functions, where it is another one than the system's: asked once for each VM.
    fn clock(&self) -> Option<WallClock> {
        None
    }
}

/// Gives milliseconds since 1970-01-01 UTC.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;
