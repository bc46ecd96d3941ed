//! The host functions as Lua sees them: a read-only table for each group of [`FUNCTIONS`].

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::convert::Converter;
use super::{interrupt, thrown};
use crate::api::{self, FUNCTIONS, HostFn};
use crate::crossing::{self, CALL_TICKS};
use crate::error::HostError;
use crate::host::{CallContext, Host};
use crate::meter;

/// What host functions share with the VM that they are called from.
pub(super) struct Line {
    host: Arc<dyn Host>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// For whom the script runs now; `None` between calls.
    call: Option<CallContext>,
    /// What a host function panicked with.
    panic: Option<Box<dyn Any + Send>>,
}

impl Line {
    pub(super) fn new(host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self { host, state: Mutex::default() })
    }

    /// From here on host functions act for `call`.
    pub(super) fn open(&self, call: &CallContext) {
        self.state().call = Some(call.clone());
    }

    /// No host function acts from here on; gives back what one panicked with.
    pub(super) fn close(&self) -> Option<Box<dyn Any + Send>> {
        let mut state = self.state();
        state.call = None;
        state.panic.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the host function. A panic is kept for [`Line::close`], and ends the script: no `pcall` may swallow it.
    fn call(&self, function: &api::Function, args: Vec<crate::Value>) -> Result<crate::Value, HostError> {
        let call = self.state().call.clone();
        let line = call.as_ref().map(|call| (&*self.host, call));
        crossing::call_host(function, args, line, |panic| self.state().panic = Some(panic))
    }
}

/// Makes the groups global. Returns `log.info`, for `print`.
pub(super) fn install(lua: &Lua, line: &Arc<Line>, converter: &Converter) -> mlua::Result<Function> {
    let globals = lua.globals();
    let metatable = error_metatable(lua)?;
    let mut info = None;
    for function in FUNCTIONS {
        let group = match globals.raw_get(function.group)? {
            Value::Table(group) => group,
            _ => {
                let group = lua.create_table()?;
                globals.raw_set(function.group, &group)?;
                group
            }
        };
        let callable = host_function(lua, function, line, converter, &metatable)?;
        if function.id == HostFn::LogInfo {
            info = Some(callable.clone());
        }
        group.raw_set(function.name, callable)?;
    }
    info.ok_or_else(|| mlua::Error::runtime("the host table lacks log.info"))
}

/// Host errors read as their message.
pub(super) fn error_metatable(lua: &Lua) -> mlua::Result<Table> {
    let metatable = lua.create_table()?;
    let message = lua.create_function(|_, error: Value| match error {
        Value::Table(error) => error.raw_get("message"),
        _ => Ok(Value::Nil),
    })?;
    metatable.raw_set("__tostring", message)?;
    metatable.raw_set("__metatable", "host error")?;
    metatable.set_readonly(true);
    Ok(metatable)
}

fn host_function(
    lua: &Lua,
    function: &'static api::Function,
    line: &Arc<Line>,
    converter: &Converter,
    metatable: &Table,
) -> mlua::Result<Function> {
    let (line, converter, metatable) = (Arc::clone(line), converter.clone(), metatable.clone());
    let inner = lua.create_function(move |lua, args: MultiValue| {
        if meter::tick(CALL_TICKS).is_some() {
            return Ok((true, Value::Nil));
        }
        // The limit is off while the host converts: with it every conversion would run protected.
        lua.set_memory_limit(0)?;
        let result = convert_and_call(lua, function, &line, &converter, &args);
        let result = match result {
            Ok(value) => super::vm::fit(lua).map(|()| (false, value)),
            Err(Fault::Thrown(error)) => {
                thrown::host_error_table(lua, &metatable, &error).map(|table| (true, Value::Table(table)))
            }
            Err(Fault::Lua(error)) => Err(error),
        };
        lua.set_memory_limit(meter::memory())?;
        // The host may have blocked: the next safepoint looks at the clocks.
        meter::hurry();
        result
    })?;
    interrupt::throwing(lua, &inner)
}

enum Fault {
    Thrown(HostError),
    Lua(mlua::Error),
}

fn convert_and_call(
    lua: &Lua,
    function: &api::Function,
    line: &Line,
    converter: &Converter,
    args: &MultiValue,
) -> Result<Value, Fault> {
    let mut plain = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        let value = converter.to_host(arg).map_err(|unfit| Fault::Thrown(unfit.host_argument(function, index)))?;
        plain.push(value);
    }
    let value = line.call(function, plain).map_err(Fault::Thrown)?;
    match converter.to_script(lua, &value) {
        Ok(value) => value.map_err(Fault::Lua),
        Err(unfit) => Err(Fault::Thrown(unfit.host_result(function))),
    }
}
