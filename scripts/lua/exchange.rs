//! Requests into tables and tables into responses, without plain data in between: this is what a request costs most.

use mlua::{Lua, LuaString, Table, Value};

use super::convert::{Converter, kind};
use crate::api::{Request, Response, Stream};
use crate::error::ScriptError;
use crate::host::{CallContext, Exports, Handler};
use crate::message::clip;
use crate::response::{Body, Draft, HeaderRoom, refused};

/// The keys of the tables that cross, made once for a VM.
pub(super) struct Keys {
    id: LuaString,
    method: LuaString,
    path: LuaString,
    params: LuaString,
    query: LuaString,
    headers: LuaString,
    body: LuaString,
    principal: LuaString,
    subject: LuaString,
    permissions: LuaString,
    status: LuaString,
    stream: LuaString,
    state: LuaString,
    module: LuaString,
    version: LuaString,
    request_id: LuaString,
    caller: LuaString,
}

impl Keys {
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        Ok(Self {
            id: lua.create_string("id")?,
            method: lua.create_string("method")?,
            path: lua.create_string("path")?,
            params: lua.create_string("params")?,
            query: lua.create_string("query")?,
            headers: lua.create_string("headers")?,
            body: lua.create_string("body")?,
            principal: lua.create_string("principal")?,
            subject: lua.create_string("subject")?,
            permissions: lua.create_string("permissions")?,
            status: lua.create_string("status")?,
            stream: lua.create_string("stream")?,
            state: lua.create_string("state")?,
            module: lua.create_string("module")?,
            version: lua.create_string("version")?,
            request_id: lua.create_string("request_id")?,
            caller: lua.create_string("caller")?,
        })
    }

    /// `{id, method, path, params, query, headers, body, principal}`.
    pub(super) fn request(&self, lua: &Lua, request: &Request) -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(0, 8)?;
        table.raw_set(&self.id, &*request.id)?;
        table.raw_set(&self.method, request.method.as_str())?;
        table.raw_set(&self.path, request.path.as_str())?;
        table.raw_set(&self.params, pairs(lua, &request.params)?)?;
        table.raw_set(&self.query, pairs(lua, &request.query)?)?;
        table.raw_set(&self.headers, headers(lua, request)?)?;
        match std::str::from_utf8(&request.body) {
            Ok(text) => table.raw_set(&self.body, text)?,
            Err(_) => table.raw_set(&self.body, lua.create_string(&request.body)?)?,
        }
        if let Some(principal) = &request.principal {
            let person = lua.create_table_with_capacity(0, 2)?;
            person.raw_set(&self.subject, principal.subject.as_str())?;
            let permissions = principal.permissions.iter().map(String::as_str);
            person.raw_set(&self.permissions, lua.create_sequence_from(permissions)?)?;
            table.raw_set(&self.principal, person)?;
        }
        Ok(table)
    }

    /// `{module, version, request_id, caller}`.
    pub(super) fn context(&self, lua: &Lua, call: &CallContext) -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(0, 4)?;
        table.raw_set(&self.module, &*call.module)?;
        table.raw_set(&self.version, &*call.version)?;
        table.raw_set(&self.request_id, &*call.request_id)?;
        if let Some(caller) = &call.caller {
            table.raw_set(&self.caller, &**caller)?;
        }
        Ok(table)
    }

    /// Reads what a handler answered: `{status, headers, body}` with any of them, `{status, headers, stream, state}`, or a
    /// string, which is the body.
    pub(super) fn response(
        &self,
        answer: &Value,
        handler: &Handler,
        (converter, exports): (&Converter, &Exports),
    ) -> Result<Response, ScriptError> {
        let draft = match answer {
            Value::Table(table) => {
                let get = |key: &LuaString| table.raw_get::<Value>(key).unwrap_or(Value::Nil);
                let (status, headers, body) = (get(&self.status), get(&self.headers), get(&self.body));
                let stream = get(&self.stream);
                let is_none = status.is_nil() && headers.is_nil() && body.is_nil() && stream.is_nil();
                if is_none && !table.is_empty() {
                    return Err(refused(handler, "a table without status, headers or body; put data under body"));
                }
                let stream = match stream {
                    Value::Nil => None,
                    Value::String(name) => {
                        let state = converter.to_host(&get(&self.state)).map_err(|unfit| unfit.answer(handler))?;
                        Some(Stream { name: name.to_string_lossy().into(), state })
                    }
                    other => {
                        let found = format!("a stream that is a {}; name one of `streams`", kind(&other));
                        return Err(refused(handler, &found));
                    }
                };
                Draft {
                    stream,
                    status: read_status(&status, handler)?,
                    headers: read_headers(&headers, handler)?,
                    body: read_body(&body, handler, converter)?,
                }
            }
            Value::String(_) => Draft { body: read_body(answer, handler, converter)?, ..Draft::default() },
            other => {
                let found = format!("{}; return {{ status = …, headers = …, body = … }}", kind(other));
                return Err(refused(handler, &found));
            }
        };
        draft.finish(handler, exports)
    }
}

/// A table of `pairs`; of repeated names the last.
fn pairs(lua: &Lua, pairs: &[(String, String)]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, pairs.len())?;
    for (name, value) in pairs {
        table.raw_set(name.as_str(), value.as_str())?;
    }
    Ok(table)
}

/// Names in lower case, as `http` has them; repeats joined.
fn headers(lua: &Lua, request: &Request) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, request.headers.keys_len())?;
    for name in request.headers.keys() {
        let mut values = request.headers.get_all(name).iter();
        let (Some(first), second) = (values.next(), values.next()) else { continue };
        match (first.to_str(), second) {
            (Ok(text), None) => table.raw_set(name.as_str(), text)?,
            _ => {
                let all: Vec<&[u8]> = request.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                table.raw_set(name.as_str(), lua.create_string(all.join(&b", "[..]))?)?;
            }
        }
    }
    Ok(table)
}

fn read_status(status: &Value, handler: &Handler) -> Result<Option<i64>, ScriptError> {
    match status {
        Value::Nil => Ok(None),
        Value::Integer(status) => Ok(Some(*status)),
        Value::Number(status) => Err(refused(handler, &format!("the status {status}; it must be 200 to 599"))),
        other => Err(refused(handler, &format!("a status that is a {}; it must be a number", kind(other)))),
    }
}

fn read_headers(headers: &Value, handler: &Handler) -> Result<Vec<(String, String)>, ScriptError> {
    let table = match headers {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(table) => table,
        other => return Err(refused(handler, &format!("headers that are a {}; they must be a table", kind(other)))),
    };
    let (mut read, mut room) = (Vec::new(), HeaderRoom::default());
    let mut fault = None;
    let walked = table.for_each(|name: Value, value: Value| {
        if let Err(error) = read_header(&mut read, &mut room, &name, &value, handler) {
            fault = Some(error);
            return Err(mlua::Error::StackError);
        }
        Ok(())
    });
    match (fault, walked) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(refused(handler, &format!("headers that cannot be read: {error}"))),
        (None, Ok(())) => Ok(read),
    }
}

fn read_header(
    read: &mut Vec<(String, String)>,
    room: &mut HeaderRoom,
    name: &Value,
    value: &Value,
    handler: &Handler,
) -> Result<(), ScriptError> {
    let Value::String(name) = name else {
        return Err(refused(handler, "a header name that is no string"));
    };
    let mut push = |value: Result<&LuaString, String>| {
        let length = value.as_ref().map_or_else(String::len, |text| text.as_bytes().len());
        room.take(name.as_bytes().len() + length, handler)?;
        read.push((name.to_string_lossy(), value.map_or_else(|number| number, LuaString::to_string_lossy)));
        Ok(())
    };
    match value {
        Value::String(value) => push(Ok(value)),
        Value::Integer(value) => push(Err(value.to_string())),
        Value::Number(value) => push(Err(value.to_string())),
        Value::Table(list) => (1..=list.raw_len()).try_for_each(|index| match list.raw_get(index) {
            Ok(Value::String(value)) => push(Ok(&value)),
            _ => Err(refused(handler, &format!("a value of the header {:?} that is no string", shown(name)))),
        }),
        other => Err(refused(handler, &format!("a value of the header {:?} that is a {}", shown(name), kind(other)))),
    }
}

fn shown(name: &LuaString) -> String {
    clip(&name.to_string_lossy()).to_string()
}

fn read_body(body: &Value, handler: &Handler, converter: &Converter) -> Result<Body, ScriptError> {
    Ok(match body {
        Value::Nil => Body::Empty,
        Value::String(text) => match String::from_utf8(text.as_bytes().to_vec()) {
            Ok(text) => Body::Text(text),
            Err(error) => Body::Bytes(error.into_bytes().into()),
        },
        Value::Buffer(buffer) => Body::Bytes(buffer.to_vec().into()),
        Value::Table(_) => {
            let value = converter.to_host(body).map_err(|unfit| unfit.answer(handler))?;
            Body::json(&value, handler)?
        }
        other => return Err(refused(handler, &format!("a body that is a {}; use a string or table", kind(other)))),
    })
}
