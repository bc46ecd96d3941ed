//! What the tests of both languages share: the host that scripts call, plain requests, and what must hold of a VM in
//! whatever language its script is written.

pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod contract;
pub(crate) mod fuzz;
#[allow(unreachable_pub, reason = "the fuzz targets include it too")]
pub(crate) mod grammar;
pub(crate) mod hostile;
pub(crate) mod limits;
pub(crate) mod parse;
pub(crate) mod traces;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use crate::api::{HostFn, Request, Response};
use crate::error::{HostError, ScriptError};
use crate::host::{CallContext, Handler, Host, Program, Sources, Vm, compile};
use crate::limits::Limits;
use crate::value::Value;

/// A VM and the host it calls.
pub(crate) type Running = (Box<dyn Vm>, Arc<Notes>);

/// A host that notes its calls and answers a few of them.
#[derive(Default)]
pub(crate) struct Notes {
    calls: Mutex<Vec<(HostFn, Vec<Value>, CallContext)>>,
}

impl Host for Notes {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        self.calls.lock().unwrap().push((function, args.clone(), call.clone()));
        match function {
            HostFn::KvGet => Ok(args.into_iter().next().unwrap_or_default()),
            HostFn::KvList => Ok(Value::List(Vec::new())),
            HostFn::DbQuery => Err(HostError::refusal("permission denied: ask first")),
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
    /// Drops what was noted.
    pub(crate) fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    /// The arguments of every call of `function` so far.
    pub(crate) fn of(&self, function: HostFn) -> Vec<Vec<Value>> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.0 == function).map(|call| call.1.clone()).collect()
    }
}

pub(crate) fn context() -> CallContext {
    CallContext {
        module: "sample".into(),
        version: "1.2.3".into(),
        request_id: "r-1".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(60),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    }
}

/// Limits that a slow machine does not meet by accident.
pub(crate) fn generous() -> Limits {
    Limits { cpu_time: Duration::from_secs(20), wall_time: Duration::from_secs(30), ..Limits::default() }
}

/// Paths with their texts; the first is the entry.
pub(crate) fn sources(files: &[(&str, &str)]) -> Sources {
    let entry = files[0].0.to_owned();
    Sources { entry, files: files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))).collect() }
}

pub(crate) fn program(files: &[(&str, &str)]) -> Arc<dyn Program> {
    compile(&sources(files)).unwrap_or_else(|faults| panic!("{}", faults[0]))
}

/// A VM of these files with the limits given.
pub(crate) fn vm_of(limits: &Limits, files: &[(&str, &str)]) -> Running {
    let notes = Arc::new(Notes::default());
    let host: Arc<dyn Host> = notes.clone();
    (program(files).instantiate(host, limits, &context()).unwrap(), notes)
}

/// What a script that does not get as far as handlers says.
pub(crate) fn refused(files: &[(&str, &str)]) -> ScriptError {
    match program(files).instantiate(Arc::new(Notes::default()), &generous(), &context()) {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

/// The one handler of most tests.
pub(crate) fn api() -> Handler {
    Handler::Api("GET /x".into())
}

/// A plain request for it.
pub(crate) fn request() -> Request {
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

pub(crate) fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}
