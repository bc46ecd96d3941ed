//! Plain data ↔ SQLite's values.

use bytes::Bytes;
use replug_scripts::{HostError, HostErrorKind, Value};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

/// A parameter: null, true and false as 1 and 0, numbers, text, bytes as a blob.
pub(super) struct Param<'a>(ValueRef<'a>);

impl<'a> Param<'a> {
    /// The parameter that stands at `position`, from 1.
    pub(super) fn new(position: usize, value: &'a Value) -> Result<Self, HostError> {
        let refuse =
            |why: &str| Err(HostError::new(HostErrorKind::InvalidArgument, format!("parameter {position} is {why}")));
        Ok(Self(match value {
            Value::Null => ValueRef::Null,
            Value::Bool(truth) => ValueRef::Integer(i64::from(*truth)),
            Value::Int(number) => ValueRef::Integer(*number),
            // SQLite would store null without a word.
            Value::Float(number) if number.is_nan() => return refuse("not a number, which a database cannot hold"),
            Value::Float(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::List(_) | Value::Map(_) => {
                return refuse(&format!("a {}: a database holds single values, use json.encode", value.kind()));
            }
        }))
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// What a column holds. Text that is not UTF-8, which only a cast can make, arrives as bytes.
pub(super) fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(Bytes::copy_from_slice(text)),
        },
        ValueRef::Blob(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
    }
}

/// The bytes that the value behind `value` takes beyond its place in a row.
pub(super) fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        _ => 0,
    }
}
