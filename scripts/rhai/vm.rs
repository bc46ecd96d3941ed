//! One running Rhai script.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, Map};

use super::cells::{self, Cells};
use super::convert::{self, kind};
use super::files::Files;
use super::{calls, engine, exchange, heap, suite as suites, thrown};
use crate::api::{Request, Response};
use crate::contract;
use crate::error::ScriptError;
use crate::host::{CallContext, Exports, Handler, Host, Vm};
use crate::limits::Limits;
use crate::message::clip;
use crate::meter;
use crate::value::Value;

mod suite;

/// What an engine takes, roughly; what VMs share is not in it.
const ENGINE: usize = 4 << 10;

/// An engine with the handlers of its entry script.
pub(super) struct RhaiVm {
    /// What closures of the script captured. Emptied first: see [`Cells`].
    cells: Cells,
    /// What a test file has beside its handlers; dropped after them, as they may stand in it too.
    suite: Option<suites::Guard>,
    handlers: HashMap<Handler, Dynamic>,
    engine: Engine,
    files: Arc<Files>,
    host: Arc<dyn Host>,
    exports: Exports,
    limits: Limits,
    /// What lives in the VM between calls, in bytes.
    held: usize,
    /// The error that retired the VM.
    spent: Option<ScriptError>,
}

/// What a script answered, or threw.
type Outcome = Result<Dynamic, Box<EvalAltResult>>;

impl RhaiVm {
    /// Makes a VM and runs the top levels: of the other files, then of the entry.
    pub(super) fn new(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Self, ScriptError> {
        let mut vm = Self::closed(files, host, limits);
        // The handlers of a script that is over are not needed, and its values are worth no more care.
        vm.top_level(call, |vm, exported| if meter::verdict().is_none() { vm.export(exported) } else { Ok(()) })?;
        Ok(vm)
    }

    /// A VM in which everything is in place but the script.
    fn closed(files: &Arc<Files>, host: Arc<dyn Host>, limits: &Limits) -> Self {
        Self {
            cells: Cells::default(),
            suite: None,
            handlers: HashMap::new(),
            engine: engine::running(limits, files.closures),
            files: Arc::clone(files),
            host,
            exports: Exports::default(),
            limits: *limits,
            held: ENGINE,
            spent: None,
        }
    }

    /// Notes the handlers in what the entry returned.
    fn export(&mut self, exported: &Dynamic) -> Result<(), ScriptError> {
        let Some(map) = exported.read_lock::<Map>() else {
            let found = kind(exported);
            return Err(ScriptError::Contract(format!(
                "the entry script must return a map of handlers, but returned {found}"
            )));
        };
        for row in Handler::TOP {
            if let Some(function) = map.get(row.key).filter(|value| !value.is_unit()) {
                self.add(row.handler, function, row.key)?;
            }
        }
        for row in Handler::NAMED {
            let Some(value) = map.get(row.key).filter(|value| !value.is_unit()) else { continue };
            let group = value.read_lock::<Map>().ok_or_else(|| not_a_map(row.key, value))?;
            for (name, function) in group.iter() {
                contract::check_count(self.handlers.len())?;
                let handler = (row.handler)(name.as_str().into());
                let place = handler.to_string();
                self.add(handler, function, &place)?;
            }
        }
        if let Some(value) = map.get(Handler::ACTORS).filter(|value| !value.is_unit()) {
            let group = value.read_lock::<Map>().ok_or_else(|| not_a_map(Handler::ACTORS, value))?;
            for (name, value) in group.iter() {
                let actor = value.read_lock::<Map>().ok_or_else(|| contract::not_an_actor(name, kind(value)))?;
                for row in Handler::OF_ACTOR {
                    let Some(function) = actor.get(row.key).filter(|value| !value.is_unit()) else { continue };
                    contract::check_count(self.handlers.len())?;
                    let handler = (row.handler)(name.as_str().into());
                    let place = handler.to_string();
                    self.add(handler, function, &place)?;
                }
            }
        }
        for key in map.keys() {
            self.exports.note(key);
        }
        self.exports.handlers = self.handlers.keys().cloned().collect();
        Ok(())
    }

    fn add(&mut self, handler: Handler, value: &Dynamic, place: &str) -> Result<(), ScriptError> {
        let Some(function) = value.read_lock::<FnPtr>() else {
            return Err(contract::not_a_function(place, kind(value)));
        };
        if self.files.parameters(function.fn_name(), 0).is_none() {
            return Err(ScriptError::Contract(format!(
                "the entry script's {} must be a function that the entry script defines; wrap those of other files: \
                 |req| lib::file::handler(req)",
                clip(place)
            )));
        }
        self.handlers.insert(handler, value.clone());
        Ok(())
    }

    /// A handler, and how many arguments of `given` it takes.
    fn handler(&self, handler: &Handler, given: usize) -> Result<(FnPtr, usize), ScriptError> {
        if let Some(error) = &self.spent {
            return Err(error.clone());
        }
        let function = self.handlers.get(handler).and_then(|value| value.read_lock::<FnPtr>());
        let Some(function) = function else {
            return Err(contract::no_handler(handler));
        };
        let captured = function.curry().len();
        let declared = self.files.parameters(function.fn_name(), captured + given).unwrap_or(captured);
        Ok((function.clone(), declared.saturating_sub(captured)))
    }

    /// Runs script code within the budget of a call. `work` must leave no value of the script behind but in the VM.
    fn run<R>(
        &mut self,
        call: &CallContext,
        work: impl FnOnce(&mut Self) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let _guard = meter::start(&self.limits, call.deadline);
        let _watch = heap::watch(self.held, self.limits.heap());
        let line = calls::open(&self.host, call);
        let cells = cells::enter(std::mem::take(&mut self.cells));
        let worked = catch_unwind(AssertUnwindSafe(|| work(self)));
        self.cells = cells.leave();
        if let Some(panic) = line.close() {
            self.retire(&ScriptError::Contract("a host function panicked in this VM".into()));
            resume_unwind(panic);
        }
        let Ok(result) = worked else {
            // The engine's own panics are the script's doing: they must not take the thread with them. Its locks may be
            // poisoned, so the VM goes.
            let error = ScriptError::Engine("the Rhai engine failed".into());
            self.retire(&error);
            return Err(error);
        };
        match self.cells.settle(self.handlers.values()) {
            Ok(bytes) => {
                self.held = ENGINE.saturating_add(bytes);
                if self.held > self.limits.heap() {
                    meter::out_of_memory();
                }
            }
            Err(cells::TooDeep) => meter::out_of_memory(),
        }
        // A verdict outranks whatever the script made of it.
        match meter::conclude() {
            Some(verdict) => {
                let error = ScriptError::Limit(verdict);
                self.retire(&error);
                Err(error)
            }
            None => result,
        }
    }

    /// The VM answers with `error` from here on, and holds nothing of the script any more.
    fn retire(&mut self, error: &ScriptError) {
        self.spent = Some(error.clone());
        self.cells.clear();
        self.handlers.clear();
        self.held = ENGINE;
    }

    fn enter(&self, function: &FnPtr, args: Vec<Dynamic>) -> Result<Dynamic, ScriptError> {
        let outcome = function.call::<Dynamic>(&self.engine, &self.files.ast, args);
        finished(outcome).map_err(|error| thrown::error(&error, &self.files.entry))
    }
}

fn not_a_map(key: &str, found: &Dynamic) -> ScriptError {
    ScriptError::Contract(format!("the entry script's {key} must be a map, found {}", kind(found)))
}

/// A value that was left by `exit` is an answer too.
fn finished(outcome: Outcome) -> Outcome {
    outcome.or_else(|error| match *error {
        EvalAltResult::Exit(value, _) => Ok(value),
        _ => Err(error),
    })
}

impl Vm for RhaiVm {
    fn exports(&self) -> &Exports {
        &self.exports
    }

    fn respond(&mut self, handler: &Handler, request: &Request, call: &CallContext) -> Result<Response, ScriptError> {
        let (function, parameters) = self.handler(handler, 2)?;
        self.run(call, |vm| {
            let mut args = Vec::with_capacity(parameters);
            if parameters > 0 {
                args.push(exchange::request(request));
            }
            if parameters > 1 {
                args.push(exchange::context(call));
            }
            args.resize(parameters, Dynamic::UNIT);
            let answer = vm.enter(&function, args)?;
            exchange::response(&answer, handler, &vm.exports)
        })
    }

    fn call(&mut self, handler: &Handler, args: &[Value], call: &CallContext) -> Result<Value, ScriptError> {
        let given = args.len() + usize::from(handler.takes_context());
        let (function, parameters) = self.handler(handler, given)?;
        self.run(call, |vm| {
            let mut passed = Vec::with_capacity(parameters);
            for arg in args.iter().take(parameters) {
                passed.push(convert::to_script(arg.clone()).map_err(|unfit| unfit.argument(handler))?);
            }
            if handler.takes_context() && parameters > args.len() {
                passed.push(exchange::context(call));
            }
            passed.resize(parameters, Dynamic::UNIT);
            let answer = vm.enter(&function, passed)?;
            convert::to_host(&answer).map_err(|unfit| unfit.answer(handler))
        })
    }

    fn memory(&self) -> usize {
        self.held
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        engine::limit(&mut self.engine, &limits);
    }
}
