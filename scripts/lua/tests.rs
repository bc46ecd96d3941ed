//! One VM driven through the public contract.

mod calls;
mod contract;
mod coroutines;
mod hostile;
mod libraries;
mod limits;
mod numbers;
mod sources;
mod stacks;
mod traces;
mod values;

use std::sync::Arc;
use std::time::Duration;

use crate::api::{HostFn, Response};
use crate::error::ScriptError;
use crate::host::{Handler, compile};
use crate::limits::Limits;
use crate::testing::{Notes, Running, api, context, generous, program, refused, request, sources, text, vm_of};
use crate::value::Value;

fn vm_with(limits: &Limits, source: &str) -> Running {
    vm_of(limits, &[("main.lua", source)])
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
    format!("return {{ apis = {{ [\"GET /x\"] = function(req, ctx)\n{body}\nend }} }}")
}

/// What a service with this body returns for `args`.
fn call(body: &str, args: Value) -> Result<Value, ScriptError> {
    let source = format!("return {{ services = {{ [\"a.b\"] = function(args, ctx)\n{body}\nend }} }}");
    vm(&source).0.call(&Handler::Service("a.b".into()), &[args], &context())
}
