//! `test` and `assert` as Lua sees them.

use std::sync::{Arc, OnceLock};

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::convert::Converter;
use super::{calls, protected, run, thrown};
use crate::crossing::CALL_TICKS;
use crate::error::{HostError, HostErrorKind};
use crate::meter;
use crate::suite::{self, SUITE, Stage, Step, SuiteFn};

/// What runs functions of the suite: those that stand in for services, and that of `assert.fails`.
const PRELUDE: &str = r##"
local begin, resume, failed, call = ...
local stand_ins = {}

local function finish(step)
    while step.service do
        step = resume(call(stand_ins[step.service], step.args))
    end
    return step.value
end

local function driven(name)
    return function(...)
        return finish(begin(name, ...))
    end
end

local function service(name, answer)
    if type(answer) == "function" then
        begin("test.service", name, true)
        stand_ins[name] = answer
    else
        begin("test.service", name, nil, answer)
    end
end

local function fails(f, part)
    local ok, fault = call(f)
    return failed(ok, fault, part)
end

local function plain_assert(_, value, message, ...)
    if not value then
        error(if message == nil then "assertion failed!" else message, 2)
    end
    return value, message, ...
end

local callable = { __call = plain_assert }
return driven, service, fails, callable
"##;

/// Makes the groups global, before the sandbox closes them.
pub(super) fn install(lua: &Lua, stage: &Arc<dyn Stage>, converter: &Converter) -> mlua::Result<()> {
    static BYTECODE: OnceLock<Vec<u8>> = OnceLock::new();
    let bytecode = match BYTECODE.get() {
        Some(bytecode) => bytecode,
        None => {
            let compiled = super::compiler().compile(PRELUDE)?;
            BYTECODE.get_or_init(|| compiled)
        }
    };
    let natives =
        Natives { stage: Arc::clone(stage), converter: converter.clone(), errors: calls::error_metatable(lua)? };
    let begin = natives.begin(lua)?;
    let (resume, failed) = (natives.resume(lua)?, natives.failed(lua)?);
    let (call, _) = protected::protected_calls(lua)?;
    let globals = lua.globals();
    let chunk = super::load(lua, "[test]", bytecode)?;
    let (driven, service, fails, callable): (Function, Function, Function, Table) =
        chunk.call((begin, resume, failed, call))?;
    for function in SUITE {
        let (group, name) = function.path.rsplit_once('.').unwrap_or(("test", function.path));
        let mut table = globals.clone();
        for part in group.split('.') {
            table = match table.raw_get(part)? {
                Value::Table(found) => found,
                _ => {
                    let made = lua.create_table()?;
                    table.raw_set(part, &made)?;
                    made
                }
            };
        }
        match function.id {
            SuiteFn::Service => table.raw_set(name, &service)?,
            SuiteFn::AssertFails => table.raw_set(name, &fails)?,
            SuiteFn::AssertEqual | SuiteFn::AssertOk | SuiteFn::AssertContains => {
                table.raw_set(name, natives.assertion(lua, function.id)?)?;
            }
            _ => table.raw_set(name, driven.call::<Function>(function.path)?)?,
        }
    }
    let assert: Table = globals.raw_get("assert")?;
    assert.set_metatable(Some(callable))?;
    let test: Table = globals.raw_get("test")?;
    for inner in ["clock", "http"] {
        test.raw_get::<Table>(inner)?.set_readonly(true);
    }
    Ok(())
}

/// What the natives share.
#[derive(Clone)]
struct Natives {
    stage: Arc<dyn Stage>,
    converter: Converter,
    errors: Table,
}

type Outcome = Result<crate::Value, HostError>;

impl Natives {
    /// `begin(name, …) -> step`.
    fn begin(&self, lua: &Lua) -> mlua::Result<Function> {
        let stage = Arc::clone(&self.stage);
        self.native(lua, "test", move |mut args| {
            let name = if args.is_empty() { crate::Value::Null } else { args.remove(0) };
            let function = SUITE.iter().find(|function| Some(function.path) == name.as_str());
            let function = function.ok_or_else(|| HostError::new(HostErrorKind::NotFound, "no such function"))?;
            suite::begin(&*stage, function.id, args).map(step)
        })
    }

    /// `resume(ok, value) -> step`.
    fn resume(&self, lua: &Lua) -> mlua::Result<Function> {
        let stage = Arc::clone(&self.stage);
        self.native(lua, "test.service", move |args| {
            let mut args = args.into_iter();
            let (ok, value) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
            let answer = if ok == crate::Value::Bool(true) { Ok(value) } else { Err(suite::thrown(&value)) };
            suite::resume(&*stage, answer).map(step)
        })
    }

    /// `failed(ok, thrown, part) -> message`.
    fn failed(&self, lua: &Lua) -> mlua::Result<Function> {
        self.native(lua, "assert.fails", |args| {
            let get = |index: usize| args.get(index).unwrap_or(&crate::Value::Null);
            let thrown = (*get(0) != crate::Value::Bool(true)).then(|| suite::thrown(get(1)).message);
            suite::failed(thrown.as_deref(), get(2).as_str())
        })
    }

    fn assertion(&self, lua: &Lua, id: SuiteFn) -> mlua::Result<Function> {
        let stage = Arc::clone(&self.stage);
        self.native(lua, id.function().path, move |args| match suite::begin(&*stage, id, args)? {
            Step::Done(value) => Ok(value),
            Step::Answer { .. } => Ok(crate::Value::Null),
        })
    }

    /// A function of the host, bounded as those of modules are.
    fn native(
        &self,
        lua: &Lua,
        path: &'static str,
        run: impl Fn(Vec<crate::Value>) -> Outcome + Send + Sync + 'static,
    ) -> mlua::Result<Function> {
        let (converter, errors) = (self.converter.clone(), self.errors.clone());
        let inner = lua.create_function(move |lua, args: MultiValue| {
            if meter::tick(CALL_TICKS).is_some() {
                return Ok((true, Value::Nil));
            }
            lua.set_memory_limit(0)?;
            let result = match outcome(&converter, path, &args, &run) {
                Ok(value) => match converter.to_script(lua, &value) {
                    Ok(value) => value.and_then(|value| run::fit(lua).map(|()| (false, value))),
                    Err(unfit) => {
                        let error = HostError::new(HostErrorKind::Failed, format!("{path}: the result: {unfit}"));
                        thrown::host_error_table(lua, &errors, &error).map(|table| (true, Value::Table(table)))
                    }
                },
                Err(error) => thrown::host_error_table(lua, &errors, &error).map(|table| (true, Value::Table(table))),
            };
            lua.set_memory_limit(meter::heap())?;
            meter::hurry();
            result
        })?;
        protected::throwing(lua, &inner)
    }
}

fn outcome(
    converter: &Converter,
    path: &str,
    args: &MultiValue,
    run: &impl Fn(Vec<crate::Value>) -> Outcome,
) -> Outcome {
    let mut plain = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        let unfit =
            |unfit| HostError::new(HostErrorKind::InvalidArgument, format!("{path}: argument {}: {unfit}", index + 1));
        plain.push(converter.to_host(arg).map_err(unfit)?);
    }
    run(plain)
}

fn step(step: Step) -> crate::Value {
    match step {
        Step::Done(value) => crate::Value::map([("value", value)]),
        Step::Answer { service, args } => crate::Value::map([("service", service.into()), ("args", args)]),
    }
}
