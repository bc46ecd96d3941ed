//! A program whose services do what their names say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use replug_scripts::{
    CallContext, Exports, Handler, Host, HostError, HostFn, Language, Limits, Program, Request, Response, ScriptError,
    Value, Verdict, Vm,
};
use tokio::sync::Semaphore;

/// What the fakes of one module share with their test.
pub(in crate::actors) struct Script {
    pub(super) exports: BTreeSet<Handler>,
    /// How many VMs to come fail in `init`.
    pub(super) failing: AtomicUsize,
    /// Whether an `init` to come waits as `wait` does.
    slow_init: AtomicBool,
    /// VMs made, VMs that live, calls run (`init` apart).
    pub(super) made: AtomicUsize,
    pub(super) alive: AtomicUsize,
    pub(super) ran: AtomicUsize,
    /// Bytes of stack that the thread of the VM made last had left.
    pub(super) stack: AtomicUsize,
    /// A permit for each `wait` that has begun.
    begun: Semaphore,
    release: (Sender<()>, Receiver<()>),
}

impl Script {
    pub(super) fn new() -> Arc<Self> {
        Self::with(&[])
    }

    /// One that exports `handlers`.
    pub(in crate::actors) fn with(handlers: &[Handler]) -> Arc<Self> {
        Arc::new(Self {
            exports: handlers.iter().cloned().collect(),
            failing: AtomicUsize::new(0),
            slow_init: AtomicBool::new(false),
            made: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            ran: AtomicUsize::new(0),
            stack: AtomicUsize::new(0),
            begun: Semaphore::new(0),
            release: bounded(1024),
        })
    }

    pub(super) fn fail_init(&self, count: usize) {
        self.failing.store(count, Ordering::SeqCst);
    }

    pub(super) fn slow_init(&self) {
        self.slow_init.store(true, Ordering::SeqCst);
    }

    /// Waits until another `wait` holds a worker.
    pub(super) async fn begun(&self) {
        super::soon(self.begun.acquire()).await.expect("open").forget();
    }

    /// Lets one `wait` end.
    pub(super) fn release(&self) {
        self.release.0.send(()).expect("open");
    }

    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    pub(super) fn ran(&self) -> usize {
        self.ran.load(Ordering::SeqCst)
    }
}

/// The program.
pub(super) struct Fake(pub(super) Arc<Script>);

impl Program for Fake {
    fn language(&self) -> Language {
        Language::Lua
    }

    fn instantiate(&self, _: Arc<dyn Host>, _: &Limits, _: &CallContext) -> Result<Box<dyn Vm>, ScriptError> {
        let failing = &self.0.failing;
        if failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(thrown("told to fail"));
        }
        self.0.made.fetch_add(1, Ordering::SeqCst);
        self.0.stack.store(stack_left(), Ordering::SeqCst);
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        let exports = Exports { handlers: self.0.exports.clone(), ..Exports::default() };
        Ok(Box::new(FakeVm { script: Arc::clone(&self.0), exports, brittle: false }))
    }
}

struct FakeVm {
    script: Arc<Script>,
    exports: Exports,
    /// Its end panics.
    brittle: bool,
}

impl Drop for FakeVm {
    fn drop(&mut self) {
        self.script.alive.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.brittle, "told to panic at the end");
    }
}

impl FakeVm {
    fn waits(&self) {
        self.script.begun.add_permits(1);
        self.script.release.1.recv_timeout(Duration::from_secs(60)).expect("a release");
    }
}

impl Vm for FakeVm {
    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn respond(&mut self, _: &Handler, _: &Request, _: &CallContext) -> Result<Response, ScriptError> {
        Err(ScriptError::Contract("the fake has services only".into()))
    }

    fn call(&mut self, handler: &Handler, _: &[Value], _: &CallContext) -> Result<Value, ScriptError> {
        if *handler == Handler::Init {
            if self.script.slow_init.swap(false, Ordering::SeqCst) {
                self.waits();
            }
            return Ok(Value::Null);
        }
        self.script.ran.fetch_add(1, Ordering::SeqCst);
        let name = match handler {
            Handler::Service(name) => &**name,
            Handler::Health => "wait",
            other => panic!("the fake has no {other}"),
        };
        match name {
            "ok" | "own.ok" => Ok(Value::Null),
            "thread" => Ok(Value::from(std::thread::current().name().unwrap_or_default())),
            "deep" => Ok(Value::Bool(dig(16 << 10) > 0)),
            "throw" => Err(thrown("told to throw")),
            "limit" => Err(ScriptError::Limit(Verdict::Ticks(1))),
            "panic" => panic!("told to panic"),
            "brittle" => {
                self.brittle = true;
                Ok(Value::Null)
            }
            "wait" | "wait, then limit" => {
                self.waits();
                if name == "wait" { Ok(Value::Null) } else { Err(ScriptError::Limit(Verdict::Ticks(1))) }
            }
            other => panic!("the fake has no service {other}"),
        }
    }

    fn memory(&self) -> usize {
        0
    }

    fn set_limits(&mut self, _: Limits) {}
}

fn thrown(message: &str) -> ScriptError {
    ScriptError::Thrown { message: message.to_owned(), trace: String::new() }
}

/// Uses a kibibyte of stack or more for each level.
fn dig(levels: usize) -> usize {
    let room = std::hint::black_box([1u8; 1024]);
    if levels == 0 { 1 } else { dig(levels - 1) + usize::from(std::hint::black_box(&room)[levels % 1024]) }
}

/// Bytes of this thread's stack below here; its lowest page is guarded, so that the stack is a mapping that begins above it.
/// Nothing where the system does not show its mappings.
fn stack_left() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let here = std::ptr::from_ref(&maps).addr();
    let bounds = maps.lines().filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
    });
    bounds.into_iter().find(|(from, to)| (*from..*to).contains(&here)).map_or(0, |(from, _)| here - from)
}

/// A host that has nothing.
pub(super) struct NoHost;

impl Host for NoHost {
    fn call(&self, _: HostFn, _: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }
}
