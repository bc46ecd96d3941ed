//! The arguments of one call.

use replug_scripts::{HostError, HostErrorKind, HostFn, Value};

/// The arguments of one call, read with errors that name function and position.
pub(super) struct Args {
    pub(super) function: HostFn,
    args: Vec<Value>,
}

impl Args {
    pub(super) const fn new(function: HostFn, args: Vec<Value>) -> Self {
        Self { function, args }
    }

    pub(super) fn get(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&Value::Null)
    }

    pub(super) fn take(&mut self, index: usize) -> Value {
        self.args.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn wrong(&self, index: usize, expected: &str) -> HostError {
        HostError::argument(&self.function.path(), index + 1, expected, self.get(index).kind())
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, HostError> {
        self.get(index).as_str().ok_or_else(|| self.wrong(index, "a string"))
    }

    pub(super) fn bytes(&self, index: usize) -> Result<&[u8], HostError> {
        self.get(index).as_bytes().ok_or_else(|| self.wrong(index, "a string"))
    }

    pub(super) fn whole(&self, index: usize) -> Result<i64, HostError> {
        self.get(index).as_i64().ok_or_else(|| self.wrong(index, "a whole number"))
    }

    pub(super) fn list(&mut self, index: usize) -> Result<Vec<Value>, HostError> {
        match self.take(index) {
            Value::Null => Ok(Vec::new()),
            Value::List(items) => Ok(items),
            // an empty table says no more than that it is empty
            Value::Map(map) if map.is_empty() => Ok(Vec::new()),
            other => Err(HostError::argument(&self.function.path(), index + 1, "a list", other.kind())),
        }
    }

    /// An error of this function, from outside.
    pub(super) fn failed(&self, kind: HostErrorKind, cause: impl std::fmt::Display) -> HostError {
        HostError::new(kind, format!("{}: {cause}", self.function.path()))
    }
}
