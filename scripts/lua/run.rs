//! Running functions of a script from outside: what they are passed, under which limits, and what came of it.

use std::panic::resume_unwind;

use mlua::{Lua, MultiValue};

use super::vm::{Export, LuaVm};
use super::{protected, thrown};
use crate::api::Request;
use crate::error::ScriptError;
use crate::host::{CallContext, Handler};
use crate::meter;
use crate::value::Value;

/// Why a function was not run, or not to its end.
pub(super) enum Fault {
    /// What it was to be passed cannot enter the script.
    Argument(ScriptError),
    /// What the VM said.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// Whether it ended without an error, and its value or what was thrown.
pub(super) type Ended = (bool, mlua::Value);

impl LuaVm {
    /// Runs a function within the budget of a call: `args` makes it and its arguments, `read` takes over what it returned.
    /// The memory limit is on only while the script runs.
    pub(super) fn run<R>(
        &mut self,
        call: &CallContext,
        args: impl FnOnce(&Self) -> Result<MultiValue, Fault>,
        read: impl FnOnce(&Self, mlua::Value) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let _guard = meter::start(&self.limits, call.deadline);
        self.line.open(call);
        let ended = args(self).and_then(|args| {
            self.limit()?;
            Ok(self.enter.call(args)?)
        });
        self.settle(ended, read)
    }

    /// Turns the memory limit on.
    pub(super) fn limit(&self) -> mlua::Result<()> {
        fit(&self.lua)?;
        self.lua.set_memory_limit(self.limits.heap())?;
        Ok(())
    }

    /// What came of a function that has ended. A verdict outranks whatever the script made of it.
    pub(super) fn settle<R>(
        &mut self,
        ended: Result<Ended, Fault>,
        read: impl FnOnce(&Self, mlua::Value) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let unlimited = self.lua.set_memory_limit(0);
        if let Some(panic) = self.line.close() {
            self.spent = Some(ScriptError::Contract("a host function panicked in this VM".into()));
            resume_unwind(panic);
        }
        let result = match (ended, unlimited) {
            (Ok((true, value)), Ok(_)) => read(self, value),
            (Ok((false, error)), Ok(_)) => Err(thrown::error(&error, protected::take_trace())),
            (Err(Fault::Argument(error)), _) => Err(error),
            (Err(Fault::Lua(mlua::Error::MemoryError(_))), _) => {
                meter::out_of_memory();
                Err(ScriptError::Contract("out of memory".into()))
            }
            (Err(Fault::Lua(error)), _) | (_, Err(error)) => Err(broken(&error)),
        };
        match meter::verdict() {
            Some(verdict) => {
                let error = ScriptError::Limit(verdict);
                self.spent = Some(error.clone());
                Err(error)
            }
            None => result,
        }
    }

    /// The function of a handler and a request.
    pub(super) fn request_args(
        &self,
        export: &Export,
        request: &Request,
        call: &CallContext,
    ) -> Result<MultiValue, Fault> {
        let mut args = MultiValue::with_capacity(3);
        args.push_back(mlua::Value::Function(export.function.clone()));
        if export.parameters > 0 {
            args.push_back(mlua::Value::Table(self.keys.request(&self.lua, request)?));
        }
        if export.parameters > 1 {
            args.push_back(mlua::Value::Table(self.keys.context(&self.lua, call)?));
        }
        Ok(args)
    }

    /// The function of a handler and plain arguments.
    pub(super) fn plain_args(
        &self,
        export: &Export,
        handler: &Handler,
        args: &[Value],
        call: &CallContext,
    ) -> Result<MultiValue, Fault> {
        let mut passed = MultiValue::with_capacity(args.len() + 2);
        passed.push_back(mlua::Value::Function(export.function.clone()));
        for arg in args.iter().take(export.parameters) {
            let arg = self.converter.to_script(&self.lua, arg);
            passed.push_back(arg.map_err(|unfit| Fault::Argument(unfit.argument(handler)))??);
        }
        if handler.takes_context() && export.parameters > args.len() {
            passed.push_back(mlua::Value::Table(self.keys.context(&self.lua, call)?));
        }
        Ok(passed)
    }
}

/// Whether the heap keeps its limit after the host has made values in it, if need be without its garbage.
///
/// # Errors
/// It does not: the call is over.
pub(super) fn fit(lua: &Lua) -> mlua::Result<()> {
    if lua.used_memory() > meter::heap() {
        lua.gc_collect()?;
        if lua.used_memory() > meter::heap() {
            meter::out_of_memory();
            return Err(mlua::Error::MemoryError("the heap is full".into()));
        }
    }
    Ok(())
}

/// A fault of the VM itself, not of the script.
pub(super) fn broken(error: &mlua::Error) -> ScriptError {
    ScriptError::Contract(format!("the Lua VM failed: {error}"))
}
