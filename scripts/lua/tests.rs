//! One VM driven through the public contract.

mod calls;
mod contract;
mod hostile;
mod limits;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use crate::api::{HostFn, Request, Response};
use crate::error::{HostError, HostErrorKind, ScriptError};
use crate::host::{CallContext, Handler, Host, Program, Sources, Vm, compile};
use crate::limits::Limits;
use crate::value::Value;

/// A host that notes its calls and answers a few of them.
#[derive(Default)]
struct Notes {
    calls: Mutex<Vec<(HostFn, Vec<Value>, CallContext)>>,
}

impl Host for Notes {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        self.calls.lock().unwrap().push((function, args.clone(), call.clone()));
        match function {
            HostFn::KvGet => Ok(args.into_iter().next().unwrap_or_default()),
            HostFn::KvList => Ok(Value::List(Vec::new())),
            HostFn::DbQuery => Err(HostError::new(HostErrorKind::PermissionDenied, "permission denied: ask first")),
            HostFn::CryptoPasswordHash => {
                let end = Instant::now() + Duration::from_millis(80);
                while Instant::now() < end {
                    std::hint::black_box(0);
                }
                Ok(Value::from("$argon2id$"))
            }
            HostFn::CryptoUuid => panic!("the host's own fault"),
            HostFn::ConfigGet => {
                let text = "x".repeat(1 << 20);
                Ok(Value::List((0..64).map(|_| Value::from(text.as_str())).collect()))
            }
            _ => Ok(Value::Null),
        }
    }
}

impl Notes {
    /// The arguments of every call of `function` so far.
    fn of(&self, function: HostFn) -> Vec<Vec<Value>> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.0 == function).map(|call| call.1.clone()).collect()
    }
}

fn context() -> CallContext {
    CallContext {
        module: "sample".into(),
        version: "1.2.3".into(),
        request_id: "r-1".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(60),
        depth: 0,
        principal: None,
    }
}

fn sources(files: &[(&str, &str)]) -> Sources {
    let files: BTreeMap<_, _> = files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))).collect();
    Sources { entry: "main.lua".into(), files }
}

fn program(files: &[(&str, &str)]) -> Arc<dyn Program> {
    compile(&sources(files)).unwrap()
}

/// A VM of one file with the limits given, and the host it calls.
fn vm_with(limits: &Limits, source: &str) -> (Box<dyn Vm>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let host: Arc<dyn Host> = notes.clone();
    (program(&[("main.lua", source)]).instantiate(host, limits, &context()).unwrap(), notes)
}

fn vm(source: &str) -> (Box<dyn Vm>, Arc<Notes>) {
    vm_with(&generous(), source)
}

/// Limits that a slow machine does not meet by accident.
fn generous() -> Limits {
    Limits { cpu_time: Duration::from_secs(20), wall_time: Duration::from_secs(30), ..Limits::default() }
}

/// What a script that does not get as far as handlers says.
fn refused(files: &[(&str, &str)]) -> ScriptError {
    match program(files).instantiate(Arc::new(Notes::default()), &generous(), &context()) {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

fn api() -> Handler {
    Handler::Api("GET /x".into())
}

fn request() -> Request {
    Request {
        id: "r-1".into(),
        method: http::Method::GET,
        path: "/x".into(),
        params: Vec::new(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        principal: None,
    }
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

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}
