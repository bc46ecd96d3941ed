//! One running Lua script.

use std::collections::{BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::sync::Arc;

use mlua::{Function, Lua, LuaOptions, MultiValue, Table};

use super::calls::{self, Line};
use super::convert::{Converter, kind};
use super::exchange::Keys;
use super::{Files, interrupt, library, load, thrown};
use crate::api::{Request, Response};
use crate::contract;
use crate::error::ScriptError;
use crate::host::{CallContext, Exports, Handler, Host, Vm};
use crate::limits::Limits;
use crate::message::clip;
use crate::meter;
use crate::value::Value;

mod suite;

/// A Luau state with the handlers of its entry script.
pub(super) struct LuaVm {
    lua: Lua,
    /// Runs functions of the script from outside.
    enter: Function,
    line: Arc<Line>,
    converter: Converter,
    keys: Keys,
    handlers: HashMap<Handler, Export>,
    exports: Exports,
    limits: Limits,
    /// The error that retired the VM.
    spent: Option<ScriptError>,
}

/// A handler and how many arguments it declares.
#[derive(Clone)]
struct Export {
    function: Function,
    parameters: usize,
}

impl LuaVm {
    /// Makes a VM and runs the entry script's top level.
    pub(super) fn new(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Self, ScriptError> {
        let line = Line::new(host);
        let mut vm = Self::closed(files, line, limits, |_, _| Ok(())).map_err(|error| broken(&error))?;
        let entry = files.bytecode.get(&files.entry).map_or(&[][..], Vec::as_slice);
        let entry = load(&vm.lua, &files.entry, entry).map_err(|error| broken(&error))?;
        let exported =
            vm.run(call, |vm| vm.enter(MultiValue::from_iter([mlua::Value::Function(entry)])), |_, value| Ok(value))?;
        vm.export(&exported)?;
        // What making the VM left behind is a third of its size.
        vm.lua.gc_collect().map_err(|error| broken(&error))?;
        Ok(vm)
    }

    /// A VM in which everything is in place but the script; `add` puts in more before the sandbox closes.
    fn closed(
        files: &Arc<Files>,
        line: Arc<Line>,
        limits: &Limits,
        add: impl FnOnce(&Lua, &Converter) -> mlua::Result<()>,
    ) -> mlua::Result<Self> {
        // Panics of host functions are caught where they happen; this is for those of mlua itself.
        let lua = Lua::new_with(library::loaded(), LuaOptions::new().catch_rust_panics(false))?;
        library::restrict(&lua)?;
        let converter = Converter::new(&lua)?;
        let info = calls::install(&lua, &line, &converter)?;
        let (resolve, load) = file_functions(&lua, files)?;
        library::add_prelude(&lua, &info, &resolve, &load)?;
        add(&lua, &converter)?;
        let enter = interrupt::enter_function(&lua)?;
        let keys = Keys::new(&lua)?;
        interrupt::install(&lua)?;
        lua.sandbox(true)?;
        Ok(Self {
            lua,
            enter,
            line,
            converter,
            keys,
            handlers: HashMap::new(),
            exports: Exports::default(),
            limits: *limits,
            spent: None,
        })
    }

    /// Notes the handlers in what the entry returned.
    fn export(&mut self, exported: &mlua::Value) -> Result<(), ScriptError> {
        let mlua::Value::Table(table) = exported else {
            let found = kind(exported);
            return Err(ScriptError::Contract(format!(
                "the entry script must return a table of handlers, but returned {found}"
            )));
        };
        for (key, handler) in Handler::TOP {
            match get(table, key)? {
                mlua::Value::Nil => {}
                mlua::Value::Function(function) => self.add(handler, function),
                other => return Err(contract::not_a_function(key, kind(&other))),
            }
        }
        for (key, make) in Handler::NAMED {
            match get(table, key)? {
                mlua::Value::Nil => {}
                mlua::Value::Table(group) => {
                    for pair in group.pairs::<mlua::Value, mlua::Value>() {
                        let (name, function) = pair.map_err(|error| broken(&error))?;
                        let mlua::Value::String(name) = name else {
                            let found = kind(&name);
                            let message = format!("the entry script's {key} has a {found} as a key; use strings");
                            return Err(ScriptError::Contract(message));
                        };
                        contract::check_count(self.handlers.len())?;
                        let handler = make(name.to_string_lossy().into());
                        match function {
                            mlua::Value::Function(function) => self.add(handler, function),
                            other => return Err(contract::not_a_function(&handler.to_string(), kind(&other))),
                        }
                    }
                }
                other => {
                    let found = kind(&other);
                    let message = format!("the entry script's {key} must be a table, found {found}");
                    return Err(ScriptError::Contract(message));
                }
            }
        }
        self.exports = Exports { handlers: self.handlers.keys().cloned().collect::<BTreeSet<_>>() };
        Ok(())
    }

    fn add(&mut self, handler: Handler, function: Function) {
        let info = function.info();
        let parameters = if info.is_vararg { usize::MAX } else { info.num_params.into() };
        self.handlers.insert(handler, Export { function, parameters });
    }

    fn handler(&self, handler: &Handler) -> Result<Export, ScriptError> {
        if let Some(error) = &self.spent {
            return Err(error.clone());
        }
        let export = self.handlers.get(handler);
        export.cloned().ok_or_else(|| contract::no_handler(handler))
    }

    /// Runs script code within the budget of a call: `enter` calls it, `read` takes over what it returned. The memory
    /// limit is on only while the script runs.
    fn run<R>(
        &mut self,
        call: &CallContext,
        enter: impl FnOnce(&Self) -> mlua::Result<(bool, mlua::Value)>,
        read: impl FnOnce(&Self, mlua::Value) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let _guard = meter::start(&self.limits, call.deadline);
        self.line.open(call);
        let entered = enter(self);
        let unlimited = self.lua.set_memory_limit(0);
        if let Some(panic) = self.line.close() {
            self.spent = Some(ScriptError::Contract("a host function panicked in this VM".into()));
            resume_unwind(panic);
        }
        let result = match (entered, unlimited) {
            (Ok((true, value)), Ok(_)) => read(self, value),
            (Ok((false, error)), Ok(_)) => Err(thrown::error(&error, interrupt::take_trace())),
            (Err(mlua::Error::MemoryError(_)), _) => {
                meter::out_of_memory();
                Err(ScriptError::Contract("out of memory".into()))
            }
            (Err(error), _) | (_, Err(error)) => Err(broken(&error)),
        };
        // A verdict outranks whatever the script made of it.
        match meter::verdict() {
            Some(verdict) => {
                let error = ScriptError::Limit(verdict);
                self.spent = Some(error.clone());
                Err(error)
            }
            None => result,
        }
    }

    /// Turns the memory limit on and enters the handler.
    fn enter(&self, args: MultiValue) -> mlua::Result<(bool, mlua::Value)> {
        fit(&self.lua)?;
        self.lua.set_memory_limit(self.limits.memory)?;
        self.enter.call(args)
    }
}

impl Vm for LuaVm {
    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn respond(&mut self, handler: &Handler, request: &Request, call: &CallContext) -> Result<Response, ScriptError> {
        let export = self.handler(handler)?;
        self.run(
            call,
            |vm| {
                let mut args = MultiValue::with_capacity(3);
                args.push_back(mlua::Value::Function(export.function));
                if export.parameters > 0 {
                    args.push_back(mlua::Value::Table(vm.keys.request(&vm.lua, request)?));
                }
                if export.parameters > 1 {
                    args.push_back(mlua::Value::Table(vm.keys.context(&vm.lua, call)?));
                }
                vm.enter(args)
            },
            |vm, answer| vm.keys.response(&answer, handler, &vm.converter),
        )
    }

    fn call(&mut self, handler: &Handler, args: &[Value], call: &CallContext) -> Result<Value, ScriptError> {
        let export = self.handler(handler)?;
        let mut unfit = None;
        let result = self.run(
            call,
            |vm| {
                let mut passed = MultiValue::with_capacity(args.len() + 2);
                passed.push_back(mlua::Value::Function(export.function));
                for arg in args.iter().take(export.parameters) {
                    match vm.converter.to_script(&vm.lua, arg) {
                        Ok(arg) => passed.push_back(arg?),
                        Err(reason) => {
                            unfit = Some(reason);
                            return Err(mlua::Error::StackError);
                        }
                    }
                }
                if handler.takes_context() && export.parameters > args.len() {
                    passed.push_back(mlua::Value::Table(vm.keys.context(&vm.lua, call)?));
                }
                vm.enter(passed)
            },
            |vm, value| vm.converter.to_host(&value).map_err(|unfit| unfit.answer(handler)),
        );
        match unfit {
            Some(unfit) => Err(unfit.argument(handler)),
            None => result,
        }
    }

    fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }
}

fn get(table: &Table, key: &str) -> Result<mlua::Value, ScriptError> {
    table.raw_get(key).map_err(|error| broken(&error))
}

/// Whether the heap keeps its limit after the host has made values in it, if need be without its garbage.
///
/// # Errors
/// It does not: the call is over.
pub(super) fn fit(lua: &Lua) -> mlua::Result<()> {
    if lua.used_memory() > meter::memory() {
        lua.gc_collect()?;
        if lua.used_memory() > meter::memory() {
            meter::out_of_memory();
            return Err(mlua::Error::MemoryError("the heap is full".into()));
        }
    }
    Ok(())
}

/// A fault of the VM itself, not of the script.
fn broken(error: &mlua::Error) -> ScriptError {
    ScriptError::Contract(format!("the Lua VM failed: {error}"))
}

/// `resolve(name) -> file | nil, fault` and `load(file) -> function`, for `require`.
fn file_functions(lua: &Lua, files: &Arc<Files>) -> mlua::Result<(Function, Function)> {
    let known = Arc::clone(files);
    let resolve = lua.create_function(move |_, name: mlua::Value| {
        Ok(match resolve(&known, &name) {
            Ok(file) => (Some(file), None),
            Err(fault) => (None, Some(fault)),
        })
    })?;
    let known = Arc::clone(files);
    let load = lua.create_function(move |lua, file: String| {
        let bytecode = known.bytecode.get(&file).map_or(&[][..], Vec::as_slice);
        load(lua, &file, bytecode).inspect_err(|error| {
            if matches!(error, mlua::Error::MemoryError(_)) {
                meter::out_of_memory();
            }
        })
    })?;
    Ok((resolve, load))
}

/// The file that `require(name)` means: a path from the module's folder, without the ending. What is not among the
/// module's sources does not exist, so no name leads outside.
fn resolve(files: &Files, name: &mlua::Value) -> Result<String, String> {
    let mlua::Value::String(name) = name else {
        return Err(format!("require: the name of a file must be a string, found {}", kind(name)));
    };
    let name = name.to_string_lossy();
    let file = format!("{name}.lua");
    if file == files.entry {
        return Err(format!("require: {file} is the entry script, which cannot be required"));
    }
    if files.bytecode.contains_key(&file) {
        return Ok(file);
    }
    let shown = clip(&name);
    Err(match files.bytecode.contains_key(&*name) {
        true => format!("require: leave out the ending: require({:?})", shown.trim_end_matches(".lua")),
        false => format!("require: the module has no file {shown}.lua; paths begin at the module's folder"),
    })
}
