//! The VM of a test file.

use std::sync::Arc;

use mlua::MultiValue;

use super::{Files, Line, LuaVm, broken, kind, load};
use crate::contract;
use crate::error::ScriptError;
use crate::host::{CallContext, Handler, Host};
use crate::limits::Limits;
use crate::lua::suite;
use crate::suite::Stage;
use crate::value::Value;

impl LuaVm {
    /// Makes a VM with `test` and `assert`, and runs the top level of the test file.
    pub(in crate::lua) fn suite(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        stage: &Arc<dyn Stage>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Self, ScriptError> {
        let mut vm =
            Self::closed(files, Line::new(host), limits, |lua, converter| suite::install(lua, stage, converter))
                .map_err(|error| broken(&error))?;
        let exported = vm.run_entry(files, call, |_, value| Ok(value))?;
        let mlua::Value::Table(tests) = &exported else {
            let message = format!("a test file must return a table of tests, but returned {}", kind(&exported));
            return Err(ScriptError::Contract(message));
        };
        for pair in tests.pairs::<mlua::Value, mlua::Value>() {
            let (name, test) = pair.map_err(|error| broken(&error))?;
            contract::check_count(vm.handlers.len())?;
            match (&name, test) {
                (mlua::Value::String(name), mlua::Value::Function(test)) => {
                    vm.add(Handler::Test(name.to_string_lossy().into()), test);
                }
                (mlua::Value::String(name), other) => {
                    let handler = Handler::Test(name.to_string_lossy().into());
                    let found = kind(&other);
                    return Err(ScriptError::Contract(format!("{handler} must be a function, found {found}")));
                }
                (name, _) => {
                    let message = format!("a test file has a {} as the name of a test; use strings", kind(name));
                    return Err(ScriptError::Contract(message));
                }
            }
        }
        vm.exports.handlers = vm.handlers.keys().cloned().collect();
        Ok(vm)
    }

    /// Makes a VM, runs the entry's top level, and gives what it returned as plain data.
    pub(in crate::lua) fn value(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Value, ScriptError> {
        let mut vm = Self::closed(files, Line::new(host), limits, |_, _| Ok(())).map_err(|error| broken(&error))?;
        vm.run_entry(files, call, |vm, value| {
            let leave = |unfit| ScriptError::Contract(format!("the value cannot leave the script: {unfit}"));
            vm.converter.to_host(&value).map_err(leave)
        })
    }

    fn run_entry<R>(
        &mut self,
        files: &Files,
        call: &CallContext,
        read: impl FnOnce(&Self, mlua::Value) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let entry = files.bytecode.get(&files.entry).map_or(&[][..], Vec::as_slice);
        let entry = load(&self.lua, &files.entry, entry).map_err(|error| broken(&error))?;
        self.run(call, |_| Ok(MultiValue::from_iter([mlua::Value::Function(entry)])), read)
    }
}
