//! Requests into maps and maps into responses.

use rhai::{Array, Dynamic, Map};

use super::convert::{self, kind};
use crate::api::{Request, Response, Stream};
use crate::error::ScriptError;
use crate::host::{CallContext, Exports, Handler};
use crate::message::clip;
use crate::meter;
use crate::response::{Body, Draft, HeaderRoom, refused};

/// `{id, method, path, params, query, headers, body, principal}`. Larger than the VM may be, it ends the call.
pub(super) fn request(request: &Request) -> Dynamic {
    let headers: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let strings = request.params.iter().chain(&request.query).map(|(name, value)| name.len() + value.len());
    let size = strings.fold(request.body.len() + request.path.len() + headers, usize::saturating_add);
    if size > meter::heap() {
        meter::out_of_memory();
        return Dynamic::UNIT;
    }
    let mut map = Map::new();
    map.insert("id".into(), (&*request.id).into());
    map.insert("method".into(), request.method.as_str().into());
    map.insert("path".into(), request.path.as_str().into());
    map.insert("params".into(), pairs(&request.params));
    map.insert("query".into(), pairs(&request.query));
    map.insert("headers".into(), header_map(request));
    map.insert("body".into(), text_or_blob(&request.body));
    let principal = request.principal.as_ref().map_or(Dynamic::UNIT, |principal| {
        let permissions: Array = principal.permissions.iter().map(|name| name.as_str().into()).collect();
        let mut person = Map::new();
        person.insert("subject".into(), principal.subject.as_str().into());
        person.insert("permissions".into(), permissions.into());
        person.into()
    });
    map.insert("principal".into(), principal);
    map.into()
}

/// `{module, version, request_id, caller}`.
pub(super) fn context(call: &CallContext) -> Dynamic {
    let mut map = Map::new();
    map.insert("module".into(), (&*call.module).into());
    map.insert("version".into(), (&*call.version).into());
    map.insert("request_id".into(), (&*call.request_id).into());
    map.insert("caller".into(), call.caller.as_deref().map_or(Dynamic::UNIT, Into::into));
    map.into()
}

/// A map of `pairs`; of repeated names the last.
fn pairs(pairs: &[(String, String)]) -> Dynamic {
    pairs.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect::<Map>().into()
}

fn text_or_blob(bytes: &[u8]) -> Dynamic {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => Dynamic::from_blob(bytes.to_vec()),
    }
}

/// Names in lower case, as `http` has them; repeats joined.
fn header_map(request: &Request) -> Dynamic {
    let mut map = Map::new();
    for name in request.headers.keys() {
        let mut values = request.headers.get_all(name).iter();
        let (Some(first), second) = (values.next(), values.next()) else { continue };
        let value = match (first.to_str(), second) {
            (Ok(text), None) => text.into(),
            _ => {
                let all: Vec<&[u8]> = request.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                text_or_blob(&all.join(&b", "[..]))
            }
        };
        map.insert(name.as_str().into(), value);
    }
    map.into()
}

/// Reads what a handler answered: `{status, headers, body}` with any of them, `{status, headers, stream, state}`, or a string,
/// which is the body.
pub(super) fn response(answer: &Dynamic, handler: &Handler, exports: &Exports) -> Result<Response, ScriptError> {
    let draft = if let Some(map) = answer.read_lock::<Map>() {
        let get = |key: &str| map.get(key).filter(|value| !value.is_unit());
        let (status, headers, body, stream) = (get("status"), get("headers"), get("body"), get("stream"));
        if status.is_none() && headers.is_none() && body.is_none() && stream.is_none() && !map.is_empty() {
            return Err(refused(handler, "a map without status, headers or body; put data under body"));
        }
        Draft {
            status: status.map(|status| read_status(status, handler)).transpose()?,
            headers: headers.map(|headers| read_headers(headers, handler)).transpose()?.unwrap_or_default(),
            body: body.map(|body| read_body(body, handler)).transpose()?.unwrap_or_default(),
            stream: stream.map(|name| read_stream(name, get("state"), handler)).transpose()?,
        }
    } else if answer.is_string() {
        Draft { body: read_body(answer, handler)?, ..Draft::default() }
    } else {
        let found = format!("{}; return #{{ status: …, headers: …, body: … }}", kind(answer));
        return Err(refused(handler, &found));
    };
    draft.finish(handler, exports)
}

fn read_stream(name: &Dynamic, state: Option<&Dynamic>, handler: &Handler) -> Result<Stream, ScriptError> {
    let Ok(text) = name.as_immutable_string_ref() else {
        return Err(refused(handler, &format!("a stream that is a {}; name one of `streams`", kind(name))));
    };
    let state = state.map(convert::to_host).transpose().map_err(|unfit| unfit.answer(handler))?;
    Ok(Stream { name: text.as_str().into(), state: state.unwrap_or_default() })
}

fn read_status(status: &Dynamic, handler: &Handler) -> Result<i64, ScriptError> {
    if let Ok(status) = status.as_int() {
        return Ok(status);
    }
    if let Ok(status) = status.as_float() {
        #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
        if status.fract() == 0.0 && status.abs() < 1000.0 {
            return Ok(status as i64);
        }
        return Err(refused(handler, &format!("the status {status}; it must be 200 to 599")));
    }
    Err(refused(handler, &format!("a status that is a {}; it must be a number", kind(status))))
}

fn read_headers(headers: &Dynamic, handler: &Handler) -> Result<Vec<(String, String)>, ScriptError> {
    let Some(map) = headers.read_lock::<Map>() else {
        return Err(refused(handler, &format!("headers that are a {}; they must be a map", kind(headers))));
    };
    let (mut read, mut room) = (Vec::new(), HeaderRoom::default());
    for (name, value) in map.iter() {
        read_header(&mut read, &mut room, name, value, handler)?;
    }
    Ok(read)
}

fn read_header(
    read: &mut Vec<(String, String)>,
    room: &mut HeaderRoom,
    name: &str,
    value: &Dynamic,
    handler: &Handler,
) -> Result<(), ScriptError> {
    let mut push = |value: &Dynamic| {
        let length = value.as_immutable_string_ref().map_or(0, |text| text.len());
        room.take(name.len() + length, handler)?;
        read.push((name.to_owned(), value.to_string()));
        Ok(())
    };
    if value.is_string() || value.is_int() || value.is_float() || value.is_char() {
        return push(value);
    }
    let shown = clip(name);
    let Some(list) = value.read_lock::<Array>() else {
        return Err(refused(handler, &format!("a value of the header {shown:?} that is a {}", kind(value))));
    };
    list.iter().try_for_each(|value| {
        if value.is_string() {
            return push(value);
        }
        Err(refused(handler, &format!("a value of the header {shown:?} that is no string")))
    })
}

fn read_body(body: &Dynamic, handler: &Handler) -> Result<Body, ScriptError> {
    if let Ok(text) = body.as_immutable_string_ref() {
        return Ok(Body::Text(text.as_str().to_owned()));
    }
    if let Ok(blob) = body.as_blob_ref() {
        return Ok(Body::Bytes(blob.to_vec().into()));
    }
    if body.is_map() || body.is_array() {
        let value = convert::to_host(body).map_err(|unfit| unfit.answer(handler))?;
        return Body::json(&value, handler);
    }
    Err(refused(handler, &format!("a body that is a {}; use a string, map or array", kind(body))))
}
