//! From what a script threw to an error.

use mlua::{Lua, Table, Value};

use super::convert::kind;
use crate::error::{HostError, HostErrorKind, ScriptError};
use crate::message::cut;
use crate::response::problem_from;

/// The error of a thrown value: a table with a status of 400 to 599 is a problem, one with the kind and message of a host
/// error is that, everything else a message.
pub(super) fn error(thrown: &Value, trace: String) -> ScriptError {
    let message = match thrown {
        Value::Table(table) => {
            if let Some(error) = problem(table) {
                return error;
            }
            if let Some(error) = host_error(table) {
                return ScriptError::Host { error, trace };
            }
            text(table, "message").unwrap_or_else(|| "a table without status or message was thrown".into())
        }
        Value::String(message) => cut(message.to_string_lossy()),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Error(error) => cut(error.to_string()),
        other => format!("a {} value was thrown", kind(other)),
    };
    ScriptError::Thrown { message, trace }
}

/// A host error as scripts see it: `{kind, message}`, which reads as its message.
pub(super) fn host_error_table(lua: &Lua, metatable: &Table, error: &HostError) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("kind", error.kind.name())?;
    table.raw_set("message", error.message.as_str())?;
    table.set_metatable(Some(metatable.clone()))?;
    Ok(table)
}

fn problem(table: &Table) -> Option<ScriptError> {
    let status = match table.raw_get("status").ok()? {
        Value::Integer(status) => status,
        _ => return None,
    };
    problem_from(status, text(table, "title"), text(table, "detail"))
}

fn host_error(table: &Table) -> Option<HostError> {
    let kind = HostErrorKind::parse(&text(table, "kind")?)?;
    Some(HostError::new(kind, text(table, "message")?))
}

fn text(table: &Table, key: &str) -> Option<String> {
    match table.raw_get(key).ok()? {
        Value::String(text) => Some(cut(text.to_string_lossy())),
        _ => None,
    }
}
