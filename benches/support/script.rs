//! A script and what it is called with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Host, HostError, HostFn, Request, Sources, Value};

pub(crate) fn sources(language: &str, script: &str) -> Sources {
    let entry = format!("main.{language}");
    Sources { files: BTreeMap::from([(entry.clone(), Arc::from(script))]), entry }
}

/// A host for scripts that call none.
pub(crate) struct NoHost;

impl Host for NoHost {
    fn call(&self, _: HostFn, _: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }
}

pub(crate) fn context() -> CallContext {
    CallContext {
        module: "hello".into(),
        version: "1.0.0".into(),
        request_id: "bench".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(10),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    }
}

/// What a browser's request looks like to a script.
pub(crate) fn request() -> Request {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [("host", "localhost"), ("accept", "*/*"), ("user-agent", "bench"), ("accept-language", "en")]
    {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    Request {
        id: "bench".into(),
        method: http::Method::GET,
        path: "/hello".into(),
        params: vec![("name".into(), "ada".into())],
        query: vec![("page".into(), "2".into())],
        headers,
        body: bytes::Bytes::new(),
        principal: None,
    }
}
