//! The host functions as Lua sees them: a read-only table for each group of [`FUNCTIONS`].

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::convert::Converter;
use super::{protected, thrown};
use crate::api::{self, FUNCTIONS, HostFn};
use crate::crossing::{self, CALL_TICKS, Room};
use crate::error::HostError;
use crate::host::{CallContext, Host, WallClock};
use crate::meter;
use crate::task::{Answer, Pending};

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
    /// What the script waits for, between the host function that suspends it and the VM that learns of it.
    pending: Option<(&'static api::Function, Pending)>,
}

impl Line {
    pub(super) fn new(host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self { host, state: Mutex::default() })
    }

    /// The host's own clock, if it has one.
    pub(super) fn clock(&self) -> Option<WallClock> {
        self.host.clock()
    }

    /// From here on host functions act for `call`.
    pub(super) fn open(&self, call: &CallContext) {
        self.state().call = Some(call.clone());
    }

    /// No host function acts from here on; gives back what one panicked with.
    pub(super) fn close(&self) -> Option<Box<dyn Any + Send>> {
        let mut state = self.state();
        state.call = None;
        state.pending = None;
        state.panic.take()
    }

    /// What a script that was suspended waits for; none where it suspended itself.
    pub(super) fn take_pending(&self) -> Option<(&'static api::Function, Pending)> {
        self.state().pending.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the host function, or has the script wait for it where it can. A panic is kept for [`Line::close`], and ends
    /// the script: no `pcall` may swallow it.
    fn call(
        &self,
        function: &'static api::Function,
        args: Vec<crate::Value>,
    ) -> Option<Result<crate::Value, HostError>> {
        let call = self.state().call.clone();
        let line = call.as_ref().map(|call| (&self.host, call));
        let keep = |panic| self.state().panic = Some(panic);
        if !(function.waits && protected::may_wait()) {
            return Some(crossing::call_host(function, args, line, keep));
        }
        match crossing::begin_host(function, args, line, keep) {
            Answer::Ready(result) => Some(result),
            Answer::Pending(pending) => {
                self.state().pending = Some((function, pending));
                None
            }
        }
    }
}

/// What else is made with the host functions.
pub(super) struct Installed {
    /// `log.info`, for `print`.
    pub(super) info: Function,
    /// The metatable of host errors.
    pub(super) error: Table,
}

/// Makes the groups global.
pub(super) fn install(lua: &Lua, line: &Arc<Line>, converter: &Converter) -> mlua::Result<Installed> {
    let globals = lua.globals();
    let error = error_metatable(lua)?;
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
        let callable = host_function(lua, function, line, converter, &error)?;
        if function.id == HostFn::LogInfo {
            info = Some(callable.clone());
        }
        group.raw_set(function.name, callable)?;
    }
    let info = info.ok_or_else(|| mlua::Error::runtime("the host table lacks log.info"))?;
    Ok(Installed { info, error })
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
            return Ok((Some(true), Value::Nil));
        }
        // The limit is off while the host converts: with it every conversion would run protected.
        lua.set_memory_limit(0)?;
        let result = match convert_and_call(lua, function, &line, &converter, &args) {
            Ok(Some(value)) => super::run::fit(lua).map(|()| (Some(false), value)),
            Ok(None) => Ok((None, Value::Nil)),
            Err(Fault::Thrown(error)) => {
                thrown::host_error_table(lua, &metatable, &error).map(|table| (Some(true), Value::Table(table)))
            }
            Err(Fault::Lua(error)) => Err(error),
        };
        lua.set_memory_limit(meter::heap())?;
        // The host may have blocked: the next safepoint looks at the clocks.
        meter::hurry();
        result
    })?;
    protected::throwing(lua, &inner)
}

enum Fault {
    Thrown(HostError),
    Lua(mlua::Error),
}

/// Nothing where the script must wait for the result.
fn convert_and_call(
    lua: &Lua,
    function: &'static api::Function,
    line: &Line,
    converter: &Converter,
    args: &MultiValue,
) -> Result<Option<Value>, Fault> {
    let mut plain = Vec::with_capacity(args.len());
    let mut room = Room::of_call();
    for (index, arg) in args.iter().enumerate() {
        let value = converter
            .to_host_within(arg, &mut room)
            .map_err(|unfit| Fault::Thrown(unfit.host_argument(function, index)))?;
        plain.push(value);
    }
    let Some(result) = line.call(function, plain) else { return Ok(None) };
    match converter.to_script(lua, &result.map_err(Fault::Thrown)?) {
        Ok(value) => value.map(Some).map_err(Fault::Lua),
        Err(unfit) => Err(Fault::Thrown(unfit.host_result(function))),
    }
}
