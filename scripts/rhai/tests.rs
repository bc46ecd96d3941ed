//! One VM driven through the public contract, on threads such as scripts get.

mod calls;
mod contract;
mod files;
mod hostile;
mod limits;
mod nests;
mod sources;
mod stacks;
mod traces;
mod values;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::{HostFn, Response};
use crate::error::ScriptError;
use crate::host::{Handler, compile};
use crate::limits::Limits;
use crate::testing::{Notes, Running, api, context, generous, program, refused, request, sources, text, vm_of};
use crate::value::Value;

/// The counters count only where jemalloc serves, so the tests of that feature run on it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs a test where scripts may run: on a thread with their stack.
fn scripted<R: Send>(test: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(Limits::default().stack_size());
        thread.spawn_scoped(scope, test).unwrap().join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn vm_with(limits: &Limits, source: &str) -> Running {
    vm_of(limits, &[("main.rhai", source)])
}

fn vm(source: &str) -> Running {
    vm_with(&generous(), source)
}

/// The answer of a handler with this body to a plain request.
fn respond(body: &str) -> Result<Response, ScriptError> {
    vm(&handler(body)).0.respond(&api(), &request(), &context())
}

/// An entry script whose one handler has this body.
fn handler(body: &str) -> String {
    format!("fn answer(req, ctx) {{\n{body}\n}}\n#{{ apis: #{{ \"GET /x\": Fn(\"answer\") }} }}")
}

/// What a service with this body returns for `args`.
fn call(body: &str, args: Value) -> Result<Value, ScriptError> {
    let source = format!("#{{ services: #{{ \"a.b\": |args, ctx| {{\n{body}\n}} }} }}");
    vm(&source).0.call(&Handler::Service("a.b".into()), &[args], &context())
}
