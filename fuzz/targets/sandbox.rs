//! Runs a script under limits. It must end in time, its VM within its memory, the thread must have its memory back, and the VM
//! after it must answer. That the process lives is for libFuzzer to see (`-timeout`, `-rss_limit_mb`).

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use replug_scripts::{
    CallContext, Handler, Host, HostError, HostFn, Limits, Request, ScriptError, Sources, Value, compile, thread_cpu_time,
};
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes that a thread may keep of a VM: what is made once.
const KEPT: i64 = 256 << 10;

/// Bytes that this thread has allocated and not freed.
fn live() -> i64 {
    let (allocated, freed) = (allocatedp::read().expect("a counter"), deallocatedp::read().expect("a counter"));
    allocated.get().wrapping_sub(freed.get()).cast_signed()
}

/// Answers with what it is asked.
struct Echo;

impl Host for Echo {
    fn call(&self, _: HostFn, args: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        Ok(args.into_iter().next().unwrap_or_default())
    }
}

/// CPU time over the budget that is no fault yet: the fuzzer's instruments make everything slower.
const GUARD: Duration = Duration::from_millis(500);

pub fn run(path: &'static str, source: String) {
    let limits = Limits {
        ticks: 2_000_000,
        cpu_time: Duration::from_millis(20),
        wall_time: Duration::from_secs(5),
        memory: 8 << 20,
        room: None,
        stack: None,
    };
    let thread = std::thread::Builder::new().stack_size(limits.stack_size());
    let ran = thread.spawn(move || on_its_thread(path, source, &limits)).expect("a thread");
    if ran.join().is_err() {
        std::process::abort();
    }
}

fn on_its_thread(path: &str, source: String, limits: &Limits) {
    let sources = Sources { entry: path.into(), files: [(path.to_owned(), Arc::from(source))].into() };
    let Ok(program) = compile(&sources) else { return };
    let make = || program.instantiate(Arc::new(Echo), limits, &context());
    // what is made once in a process, such as the library of Rhai, is nothing that a script left
    static WARM: Once = Once::new();
    WARM.call_once(|| drop(make()));
    let held = live();
    let Ok(mut vm) = make() else { return };
    let before = thread_cpu_time();
    let result = vm.respond(&Handler::Api("GET /x".into()), &request(), &context());
    let took = thread_cpu_time().saturating_sub(before);
    assert!(took < limits.cpu_time + GUARD, "it took {took:?}");
    assert!(vm.memory() <= limits.memory + (1 << 20), "the VM holds {} bytes", vm.memory());
    assert!(!matches!(result, Err(ScriptError::Engine(_))), "{result:?}");
    drop((vm, result));
    let kept = live() - held;
    assert!(kept < KEPT, "it left {kept} bytes");
    let mut next = make().unwrap_or_else(|error| panic!("no VM to replace it: {error}"));
    let alive = next.respond(&Handler::Api("GET /alive".into()), &request(), &context());
    assert!(alive.is_ok_and(|answer| &*answer.body == b"alive"), "the next VM does not answer");
}

fn context() -> CallContext {
    CallContext {
        module: "fuzz".into(),
        version: "1.0.0".into(),
        request_id: "r".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(60),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    }
}

fn request() -> Request {
    Request {
        id: "r".into(),
        method: http::Method::GET,
        path: "/x".into(),
        params: Vec::new(),
        query: Vec::new(),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
        principal: None,
    }
}
