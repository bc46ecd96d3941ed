//! `config.of`, `services.request` and `services.render`: what belongs to other modules, each by a grant of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use replug_scripts::api::Request;
use replug_scripts::{CallContext, HostError, HostErrorKind, Pending, Value};

use super::data::not_too_deep;
use super::{Args, Guard};

impl Guard {
    pub(super) fn config_of(&self, args: &Args) -> Result<Value, HostError> {
        let (module, key) = (args.text(0)?, args.text(1)?);
        if module == &*self.key.id {
            return self.config_get(&Args::new(args.function, vec![Value::Text(key.to_owned())]));
        }
        self.live.grants().configuration(&args.function.path(), module, key)?;
        self.supplies.application.setting(module, key)
    }

    /// The answer of another module's api or page, to come.
    pub(super) fn services_request(&self, args: &Args, call: &CallContext) -> Result<Pending, HostError> {
        let wrong = || args.wrong(0, "a method such as GET");
        let method = args.text(0)?;
        if !method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let method: Method = method.parse().map_err(|_| wrong())?;
        let path = args.text(1)?;
        if path.contains(['?', '#']) {
            let why = "the path ends before `?` and `#`; give the query as options.query";
            return Err(args.failed(HostErrorKind::InvalidArgument, why));
        }
        let reach = self.live.grants().at_path(&args.function.path(), path)?;
        not_too_deep(args, path, call)?;
        let request = request(args, 2, &["query", "headers", "body"], (method, path), call)?;
        let (application, call) = (Arc::clone(&self.supplies.application), call.clone());
        Ok(Box::pin(async move { application.request(request, reach, &call).await }))
    }

    /// Another module's component, to come.
    pub(super) fn services_render(&self, args: &Args, call: &CallContext) -> Result<Pending, HostError> {
        let component = args.text(0)?;
        self.live.grants().component(&args.function.path(), component)?;
        not_too_deep(args, component, call)?;
        let known = ["path", "params", "query", "headers", "body"];
        let request = request(args, 1, &known, (Method::GET, "/"), call)?;
        let (application, component, call) =
            (Arc::clone(&self.supplies.application), component.to_owned(), call.clone());
        Ok(Box::pin(async move { application.render(&component, request, &call).await }))
    }
}

/// The request that the options in argument `index` describe, of which `known` may be there.
fn request(
    args: &Args,
    index: usize,
    known: &[&str],
    (method, path): (Method, &str),
    call: &CallContext,
) -> Result<Request, HostError> {
    let none = BTreeMap::new();
    let options = match args.get(index) {
        Value::Null => &none,
        Value::Map(options) => options,
        _ => return Err(args.wrong(index, "a map")),
    };
    let invalid = |why: String| args.failed(HostErrorKind::InvalidArgument, why);
    if let Some(other) = options.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(invalid(format!("option `{other}`: there are {}", known.join(", "))));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(args, options, "headers")? {
        let pair = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&value).ok());
        let (name, value) = pair.ok_or_else(|| invalid(format!("option `headers`: `{name}` is no header")))?;
        headers.insert(name, value);
    }
    let body = match options.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Value::Bytes(bytes)) => bytes.clone(),
        Some(json) => {
            let text =
                replug_scripts::json::encode(json).map_err(|error| invalid(format!("option `body`: {error}")))?;
            headers.entry(http::header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            text.into()
        }
    };
    let path = match options.get("path") {
        None | Some(Value::Null) => path,
        Some(Value::Text(path)) => path,
        Some(_) => return Err(invalid("option `path` must be a string".to_owned())),
    };
    Ok(Request {
        id: Arc::clone(&call.request_id),
        method,
        path: path.to_owned(),
        params: pairs(args, options, "params")?,
        query: pairs(args, options, "query")?,
        headers,
        body,
        principal: call.principal.clone(),
    })
}

/// A map of texts and numbers among the options.
fn pairs(args: &Args, options: &BTreeMap<String, Value>, name: &str) -> Result<Vec<(String, String)>, HostError> {
    let wrong = || args.failed(HostErrorKind::InvalidArgument, format!("option `{name}` must be a map of strings"));
    match options.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Map(map)) => {
            let pair = |(name, value): (&String, &Value)| match value {
                Value::Text(text) => Ok((name.clone(), text.clone())),
                Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                    Ok((name.clone(), serde_json::to_string(value).map_err(|_| wrong())?))
                }
                _ => Err(wrong()),
            };
            map.iter().map(pair).collect()
        }
        Some(_) => Err(wrong()),
    }
}
