//! One running Lua script.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mlua::{Function, Lua, LuaOptions, MultiValue, Table};

use super::calls::{self, Line};
use super::convert::{Converter, kind};
use super::coroutines::Coroutines;
use super::exchange::Keys;
use super::files::file_functions;
use super::run::broken;
use super::{Files, interrupt, library, load, protected};
use crate::api::{Request, Response};
use crate::contract;
use crate::error::{HostError, ScriptError};
use crate::host::{CallContext, Exports, Handler, Host, Vm};
use crate::limits::Limits;
use crate::observe;
use crate::task::{Advance, Task, Ticket};
use crate::value::Value;

mod suite;

/// Keys of the entry's table that are looked at for those that the contract does not know.
const MOST_KEYS: usize = 64;

/// A Luau state with the handlers of its entry script.
pub(super) struct LuaVm {
    pub(super) lua: Lua,
    /// Runs functions of the script from outside.
    pub(super) enter: Function,
    pub(super) line: Arc<Line>,
    pub(super) converter: Converter,
    pub(super) keys: Keys,
    handlers: HashMap<Handler, Export>,
    pub(super) exports: Exports,
    pub(super) limits: Limits,
    /// The calls that wait.
    pub(super) coroutines: Coroutines,
    /// The error that retired the VM.
    pub(super) spent: Option<ScriptError>,
}

/// A handler and how many arguments it declares.
#[derive(Clone)]
pub(super) struct Export {
    pub(super) function: Function,
    pub(super) parameters: usize,
}

impl LuaVm {
    /// Makes a VM and runs the entry script's top level.
    pub(super) fn new(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Self, ScriptError> {
        observe::gives_way(call.deadline);
        let line = Line::new(host);
        let mut vm = Self::closed(files, line, limits, |_, _| Ok(())).map_err(|error| broken(&error))?;
        observe::gives_way(call.deadline);
        let entry = files.bytecode.get(&files.entry).map_or(&[][..], Vec::as_slice);
        let entry = load(&vm.lua, &files.entry, entry).map_err(|error| broken(&error))?;
        let exported =
            vm.run(call, |_| Ok(MultiValue::from_iter([mlua::Value::Function(entry)])), |_, value| Ok(value))?;
        vm.export(&exported)?;
        observe::gives_way(call.deadline);
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
        let calls::Installed { info, error } = calls::install(&lua, &line, &converter)?;
        let (resolve, load) = file_functions(&lua, files)?;
        library::add_prelude(&lua, &info, &resolve, &load)?;
        if let Some(clock) = line.clock() {
            library::follow(&lua, clock)?;
        }
        add(&lua, &converter)?;
        let enter = protected::enter_function(&lua)?;
        let keys = Keys::new(&lua)?;
        interrupt::install(&lua)?;
        lua.sandbox(true)?;
        Ok(Self {
            enter,
            line,
            converter,
            keys,
            handlers: HashMap::new(),
            exports: Exports::default(),
            limits: *limits,
            coroutines: Coroutines::new(&lua, error)?,
            lua,
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
        for row in Handler::TOP {
            match get(table, row.key)? {
                mlua::Value::Nil => {}
                mlua::Value::Function(function) => self.add(row.handler, function),
                other => return Err(contract::not_a_function(row.key, kind(&other))),
            }
        }
        for row in Handler::NAMED {
            for (name, function) in named(table, row.key)? {
                contract::check_count(self.handlers.len())?;
                let handler = (row.handler)(name);
                match function {
                    mlua::Value::Function(function) => self.add(handler, function),
                    other => return Err(contract::not_a_function(&handler.to_string(), kind(&other))),
                }
            }
        }
        for (name, actor) in named(table, Handler::ACTORS)? {
            let mlua::Value::Table(actor) = actor else {
                return Err(contract::not_an_actor(&name, kind(&actor)));
            };
            for row in Handler::OF_ACTOR {
                contract::check_count(self.handlers.len())?;
                let handler = (row.handler)(Arc::clone(&name));
                match get(&actor, row.key)? {
                    mlua::Value::Nil => {}
                    mlua::Value::Function(function) => self.add(handler, function),
                    other => return Err(contract::not_a_function(&handler.to_string(), kind(&other))),
                }
            }
        }
        // what the contract knows may come last
        for pair in table.pairs::<mlua::Value, mlua::Value>().take(MOST_KEYS) {
            if let Ok((mlua::Value::String(key), _)) = pair {
                self.exports.note(&key.to_string_lossy());
            }
        }
        self.exports.handlers = self.handlers.keys().cloned().collect::<BTreeSet<_>>();
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
}

impl Vm for LuaVm {
    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn respond(&mut self, handler: &Handler, request: &Request, call: &CallContext) -> Result<Response, ScriptError> {
        let export = self.handler(handler)?;
        self.run(
            call,
            |vm| vm.request_args(&export, request, call),
            |vm, answer| vm.keys.response(&answer, handler, (&vm.converter, &vm.exports)),
        )
    }

    fn call(&mut self, handler: &Handler, args: &[Value], call: &CallContext) -> Result<Value, ScriptError> {
        let export = self.handler(handler)?;
        self.run(
            call,
            |vm| vm.plain_args(&export, handler, args, call),
            |vm, value| vm.converter.to_host(&value).map_err(|unfit| unfit.answer(handler)),
        )
    }

    fn begin(&mut self, task: &Task, call: &CallContext) -> Advance {
        match self.handler(task.handler()) {
            Ok(export) => self.begin_coroutine(&export, task, call),
            Err(error) => Advance::Done(Err(error)),
        }
    }

    fn resume(&mut self, ticket: Ticket, answer: Result<Value, HostError>) -> Advance {
        self.resume_coroutine(ticket, answer)
    }

    fn forget(&mut self, ticket: Ticket) {
        self.coroutines.forget(ticket);
    }

    fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    fn collect(&mut self) {
        // the collector runs no code of scripts; what it says concerns only finalizers, which there are none of
        let _ = self.lua.gc_collect();
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }
}

/// The entries of the table that the entry returned under `key`; none where there is no such table.
fn named(table: &Table, key: &str) -> Result<Vec<(Arc<str>, mlua::Value)>, ScriptError> {
    let group = match get(table, key)? {
        mlua::Value::Nil => return Ok(Vec::new()),
        mlua::Value::Table(group) => group,
        other => {
            let message = format!("the entry script's {key} must be a table, found {}", kind(&other));
            return Err(ScriptError::Contract(message));
        }
    };
    let mut entries = Vec::new();
    for pair in group.pairs::<mlua::Value, mlua::Value>() {
        let (name, value) = pair.map_err(|error| broken(&error))?;
        let mlua::Value::String(name) = name else {
            let message = format!("the entry script's {key} has a {} as a key; use strings", kind(&name));
            return Err(ScriptError::Contract(message));
        };
        contract::check_count(entries.len())?;
        entries.push((name.to_string_lossy().into(), value));
    }
    Ok(entries)
}

fn get(table: &Table, key: &str) -> Result<mlua::Value, ScriptError> {
    table.raw_get(key).map_err(|error| broken(&error))
}
