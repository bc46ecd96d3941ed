//! Requests as the gateway would pass them on, and answers as tests see them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use replug_scripts::{Handler, HostError, HostErrorKind, Principal, Request, Response, Value};

use crate::manifest::Manifest;

/// A path of the manifest.
enum Place {
    /// An api, by its index.
    Api(usize),
    /// A route, by its index.
    Route(usize),
}

/// The paths of one module.
pub(super) struct Gateway {
    paths: matchit::Router<Place>,
}

/// Where a request goes.
pub(super) enum Routed {
    /// To a handler.
    Call {
        /// The request, for messages.
        what: String,
        handler: Handler,
        request: Box<Request>,
    },
    /// Back: the gateway answers.
    Answer(Value),
}

impl Gateway {
    /// # Errors
    /// Two paths of the manifest contradict each other.
    pub(super) fn new(manifest: &Manifest) -> Result<Self, String> {
        let mut paths = matchit::Router::new();
        let apis = manifest.apis.iter().enumerate().map(|(index, api)| (&api.path, Place::Api(index)));
        let routes = manifest.routes.iter().enumerate().map(|(index, route)| (&route.path, Place::Route(index)));
        for (path, place) in apis.chain(routes) {
            paths.insert(path.as_str(), place).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(Self { paths })
    }

    /// Finds the handler and checks who asks.
    ///
    /// # Errors
    /// What was asked is no request.
    pub(super) fn route(&self, manifest: &Manifest, asked: &Value) -> Result<Routed, HostError> {
        let mut request = read("test.request", asked)?;
        let path = request.path.clone();
        let Ok(found) = self.paths.at(&path) else {
            return Ok(Routed::Answer(problem(404, "No such path", &format!("this module has no path {path}"))));
        };
        let mut params = Vec::new();
        for (name, value) in found.params.iter() {
            let value =
                percent_decode_str(value).decode_utf8().map_err(|_| wrong("test.request", "a path of UTF-8"))?;
            params.push((name.to_owned(), value.into_owned()));
        }
        request.params = params;
        let method = request.method.as_str();
        let (handler, permissions) = match found.value {
            Place::Api(index) => {
                let api = &manifest.apis[*index];
                if !api.methods.iter().any(|one| one == method) {
                    return Ok(other_method(&api.methods.join(", ")));
                }
                (Handler::Api(format!("{method} {}", api.path).into()), &api.permissions)
            }
            Place::Route(_) if method != "GET" => return Ok(other_method("GET")),
            Place::Route(index) => {
                let route = &manifest.routes[*index];
                (Handler::Page(route.component.as_str().into()), &route.permissions)
            }
        };
        if let Some(refusal) = refused(request.principal.as_deref(), permissions) {
            return Ok(Routed::Answer(refusal));
        }
        Ok(Routed::Call { what: format!("{method} {path}"), handler, request: Box::new(request) })
    }
}

/// A request for a page, past its route.
///
/// # Errors
/// What was asked is no request.
pub(super) fn page(component: &str, asked: &Value) -> Result<Routed, HostError> {
    let mut asked = match asked {
        Value::Null => Value::map::<String>([]),
        other => other.clone(),
    };
    if let Value::Map(fields) = &mut asked {
        fields.entry("path".into()).or_insert_with(|| "/".into());
    }
    let request = Box::new(read("test.page", &asked)?);
    Ok(Routed::Call { what: format!("page {component}"), handler: Handler::Page(component.into()), request })
}

fn other_method(methods: &str) -> Routed {
    Routed::Answer(problem(405, "Method Not Allowed", &format!("this path takes {methods}")))
}

fn refused(principal: Option<&Principal>, permissions: &[String]) -> Option<Value> {
    match principal {
        _ if permissions.is_empty() => None,
        None => Some(problem(401, "Not signed in", &format!("this path needs {}", permissions.join(", ")))),
        Some(principal) => {
            let missing = permissions.iter().find(|one| !principal.may(one))?;
            Some(problem(403, "Not permitted", &format!("this path needs the permission {missing}")))
        }
    }
}

/// `{method, path, params, query, headers, body, principal}`, all but the path with defaults.
fn read(function: &str, asked: &Value) -> Result<Request, HostError> {
    let Value::Map(_) = asked else { return Err(wrong(function, "a map {method, path, body, …}")) };
    let text = |key: &str| match asked.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(wrong(function, &format!("a string as `{key}`"))),
    };
    let whole = text("path")?.filter(|path| path.starts_with('/'));
    let whole = whole.ok_or_else(|| wrong(function, "a `path` that begins with /"))?;
    let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
    let mut query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    query.extend(pairs(asked.get("query"), function, "query")?);
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(asked.get("headers"), function, "headers")? {
        let name = HeaderName::try_from(name).map_err(|error| wrong(function, &format!("header names: {error}")))?;
        let value =
            HeaderValue::try_from(value).map_err(|error| wrong(function, &format!("header values: {error}")))?;
        headers.append(name, value);
    }
    let body = match asked.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::Text(text)) => Bytes::from(text.clone()),
        Some(Value::Bytes(bytes)) => bytes.clone(),
        Some(data) => {
            headers.entry("content-type").or_insert(HeaderValue::from_static("application/json"));
            Bytes::from(serde_json::to_vec(data).map_err(|error| wrong(function, &format!("a body: {error}")))?)
        }
    };
    let method = text("method")?.unwrap_or("GET").to_ascii_uppercase();
    Ok(Request {
        id: "test".into(),
        method: Method::from_bytes(method.as_bytes()).map_err(|_| wrong(function, "an HTTP method as `method`"))?,
        path: path.to_owned(),
        params: pairs(asked.get("params"), function, "params")?,
        query,
        headers,
        body,
        principal: principal(asked.get("principal"), function)?,
    })
}

fn pairs(value: Option<&Value>, function: &str, key: &str) -> Result<Vec<(String, String)>, HostError> {
    let map = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Map(map)) => map,
        Some(_) => return Err(wrong(function, &format!("a map as `{key}`"))),
    };
    let pair = |(name, value): (&String, &Value)| match value {
        Value::Text(text) => Ok((name.clone(), text.clone())),
        Value::Int(number) => Ok((name.clone(), number.to_string())),
        _ => Err(wrong(function, &format!("strings in `{key}`"))),
    };
    map.iter().map(pair).collect()
}

fn principal(value: Option<&Value>, function: &str) -> Result<Option<Arc<Principal>>, HostError> {
    let value = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let subject = value.get("subject").and_then(Value::as_str);
    let permissions = match value.get("permissions") {
        Some(Value::List(list)) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        Some(Value::Map(map)) if map.is_empty() => Some(Vec::new()),
        None | Some(Value::Null) => Some(Vec::new()),
        Some(_) => None,
    };
    match (subject, permissions) {
        (Some(subject), Some(permissions)) => {
            Ok(Some(Arc::new(Principal { subject: subject.to_owned(), permissions })))
        }
        _ => Err(wrong(function, "a `principal` {subject, permissions}")),
    }
}

fn wrong(function: &str, expected: &str) -> HostError {
    HostError::new(HostErrorKind::InvalidArgument, format!("{function}: expected {expected}"))
}

/// `{status, headers, body, json}`: header names in lower case, `json` what the body says where it is JSON. Of an answer that
/// streams also `{stream, state}`, and nothing is sent of it.
pub(super) fn answer(response: &Response) -> Value {
    let text = |value: &HeaderValue| Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned());
    let headers = Value::map(response.headers.iter().map(|(name, value)| (name.as_str(), text(value))));
    let body = match std::str::from_utf8(&response.body) {
        Ok(text) => Value::from(text),
        Err(_) => Value::Bytes(response.body.clone()),
    };
    let kind = response.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let json =
        if kind.contains("json") { serde_json::from_slice(&response.body).unwrap_or_default() } else { Value::Null };
    let status = Value::Int(response.status.as_u16().into());
    let stream =
        response.stream.iter().flat_map(|it| [("stream", Value::from(&*it.name)), ("state", it.state.clone())]);
    let whole = [("status", status), ("headers", headers), ("body", body), ("json", json)];
    Value::map(whole.into_iter().chain(stream))
}

/// The answer of the gateway to a problem.
pub(super) fn problem(status: u16, title: &str, detail: &str) -> Value {
    let json = Value::map([("status", Value::Int(status.into())), ("title", title.into()), ("detail", detail.into())]);
    let body = Value::Text(serde_json::to_string(&json).unwrap_or_default());
    let headers = Value::map([("content-type", "application/problem+json".into())]);
    Value::map([("status", Value::Int(status.into())), ("headers", headers), ("body", body), ("json", json)])
}
