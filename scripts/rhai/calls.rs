//! The host functions as Rhai sees them: a constant for each group of [`FUNCTIONS`] whose methods they are.
//!
//! `x.call(…)` is the engine's own syntax for calling a function, so a group that has a function `call` is itself a
//! function, with the others as its methods.

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use rhai::{Dynamic, EvalAltResult, FnPtr, FuncRegistration, Module, Position};

use super::{convert, engine, thrown};
use crate::api::{self, FUNCTIONS, HostFn};
use crate::crossing::{self, CALL_TICKS, Room};
use crate::error::{HostError, HostErrorKind};
use crate::host::{CallContext, Host};
use crate::meter;

/// A group of host functions, by the index in [`FUNCTIONS`] of its first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(usize);

/// The group of this name.
pub(super) fn group(name: &str) -> Option<Group> {
    // Variables are looked up all the time, and most have other names than these.
    match name {
        "log" | "json" | "time" | "crypto" | "config" | "kv" | "db" | "http" | "fs" | "env" | "events" | "services"
        | "actors" | "timers" | "metrics" => FUNCTIONS.iter().position(|function| function.group == name).map(Group),
        _ => None,
    }
}

impl Group {
    /// The constant's value.
    pub(super) fn value(self) -> Dynamic {
        static CALLABLE: OnceLock<Vec<(usize, FnPtr)>> = OnceLock::new();
        let callable = CALLABLE.get_or_init(|| {
            let calls = FUNCTIONS.iter().filter(|function| function.name == CALL);
            calls.filter_map(|function| Some((group(function.group)?.0, callable(function)?))).collect()
        });
        match callable.iter().find(|(group, _)| *group == self.0) {
            Some((_, function)) => function.clone().into(),
            None => Dynamic::from(self),
        }
    }
}

/// The name that the engine takes for itself.
const CALL: &str = "call";

fn callable(function: &'static api::Function) -> Option<FnPtr> {
    #[allow(deprecated, reason = "it is not deprecated, says the crate, but may change; the version is pinned")]
    let callable = FnPtr::from_fn(function.group, move |_, args| {
        let args: Vec<Dynamic> = args.iter_mut().map(|arg| std::mem::take(*arg)).collect();
        call(function.group, function.name, &args)
    });
    callable.ok()
}

/// For whom the script on this thread runs.
struct Line {
    host: Arc<dyn Host>,
    call: CallContext,
    /// What a host function panicked with.
    panic: Option<Box<dyn Any + Send>>,
}

thread_local! {
    static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
}

/// Gives the thread back to the call around this one when it drops.
pub(super) struct Guard {
    outer: Option<Line>,
}

/// From here on host functions act for `call`.
pub(super) fn open(host: &Arc<dyn Host>, call: &CallContext) -> Guard {
    Guard { outer: LINE.replace(Some(Line { host: Arc::clone(host), call: call.clone(), panic: None })) }
}

impl Guard {
    /// No host function acts from here on; gives back what one panicked with.
    pub(super) fn close(self) -> Option<Box<dyn Any + Send>> {
        LINE.take().and_then(|line| line.panic)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        LINE.replace(self.outer.take());
    }
}

/// Runs the host function. A panic is kept for [`Guard::close`], and ends the script: no `try` may swallow it.
fn call_host(function: &api::Function, args: Vec<crate::Value>) -> Result<crate::Value, HostError> {
    let line = LINE.with_borrow(|line| line.as_ref().map(|line| (Arc::clone(&line.host), line.call.clone())));
    let line = line.as_ref().map(|(host, call)| (host, call));
    let result = crossing::call_host(function, args, line, |panic| {
        LINE.with_borrow_mut(|line| {
            if let Some(line) = line {
                line.panic = Some(panic);
            }
        });
    });
    // The host may have blocked: the next step looks at the clocks.
    meter::hurry();
    result
}

/// `print` and `debug`: what `log.info` does.
pub(super) fn print(text: &str) {
    if meter::tick(CALL_TICKS).is_some() || meter::charge_bytes(text.len()).is_some() {
        return;
    }
    // A log that refuses a line does not end the script.
    let _ = call_host(HostFn::LogInfo.function(), vec![crate::Value::from(text)]);
}

/// Registers every host function as a method of its group.
pub(super) fn module() -> Module {
    let mut module = Module::new();
    let mut names: Vec<&'static str> = FUNCTIONS.iter().map(|function| function.name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        methods(&mut module, name, |group: &Group| FUNCTIONS[group.0].group.to_owned());
        methods(&mut module, name, |group: &FnPtr| group.fn_name().to_owned());
    }
    module.build_index();
    module
}

/// Registers `name` for groups that are values of `T`, with up to four arguments.
fn methods<T: Clone + Send + Sync + 'static>(module: &mut Module, name: &'static str, of: fn(&T) -> String) {
    let register = || FuncRegistration::new(name).in_global_namespace().with_volatility(true);
    register().set_into_module(module, move |group: T| call(&of(&group), name, &[]));
    register().set_into_module(module, move |group: T, a: Dynamic| call(&of(&group), name, &[a]));
    register().set_into_module(module, move |group: T, a: Dynamic, b: Dynamic| call(&of(&group), name, &[a, b]));
    register().set_into_module(module, move |group: T, a: Dynamic, b: Dynamic, c: Dynamic| {
        call(&of(&group), name, &[a, b, c])
    });
    register().set_into_module(module, move |group: T, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic| {
        call(&of(&group), name, &[a, b, c, d])
    });
}

pub(super) fn call(group: &str, name: &str, args: &[Dynamic]) -> Result<Dynamic, Box<EvalAltResult>> {
    if meter::tick(CALL_TICKS).is_some() {
        return Err(over());
    }
    let Some(function) = FUNCTIONS.iter().find(|function| function.group == group && function.name == name) else {
        let message = format!("{group} has no function {name}");
        return Err(Box::new(EvalAltResult::ErrorRuntime(message.into(), Position::NONE)));
    };
    convert_and_call(function, args).map_err(|error| match meter::verdict() {
        Some(_) => over(),
        None => Box::new(EvalAltResult::ErrorRuntime(thrown::host_error_map(&error), Position::NONE)),
    })
}

/// The error that no `try` catches.
pub(super) fn over() -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE))
}

fn convert_and_call(function: &api::Function, args: &[Dynamic]) -> Result<Dynamic, HostError> {
    let mut plain = Vec::with_capacity(args.len());
    let mut room = Room::of_call();
    for (index, arg) in args.iter().enumerate() {
        plain.push(convert::to_host_within(arg, &mut room).map_err(|unfit| unfit.host_argument(function, index))?);
    }
    let value = call_host(function, plain)?;
    crossing::check(&value).map_err(|unfit| unfit.host_result(function))?;
    fits(function, &value)?;
    Ok(convert::copy_in(value))
}

/// The engine ends a call that gets a value beyond its caps; as the host's error it can be caught.
fn fits(function: &api::Function, value: &crate::Value) -> Result<(), HostError> {
    let (sizes, memory) = (convert::sizes(value), meter::memory());
    let most = [
        (sizes.texts, engine::longest_text(memory), "bytes of text", "a sixteenth"),
        (sizes.elements, engine::longest_array(memory), "elements of arrays and bytes of blobs", "a sixty-fourth"),
        (sizes.entries, engine::largest_map(memory), "entries of maps", "a hundred and twenty-eighth"),
    ];
    most.iter().try_for_each(|(found, most, what, part)| {
        if found <= most {
            return Ok(());
        }
        let message = format!(
            "{}: {found} {what} are more than the {most} that a value in Rhai may have, {part} of \
             `runtime.limits.memory`",
            function.id.path()
        );
        Err(HostError::new(HostErrorKind::Failed, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_the_table_is_a_name_that_is_looked_up() {
        for function in FUNCTIONS {
            let found = group(function.group).unwrap();
            assert_eq!(FUNCTIONS[found.0].group, function.group);
        }
        assert!(group("x").is_none());
    }
}
