//! `test` and `assert` as Rhai sees them: constants whose methods are the functions of [`SUITE`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, FuncRegistration, Map, Module, NativeCallContext, Position};

use super::calls::{self, over};
use super::files::Files;
use super::{convert, thrown};
use crate::crossing::CALL_TICKS;
use crate::error::{HostError, HostErrorKind};
use crate::meter;
use crate::suite::{self, SUITE, Stage, Step, SuiteFn};
use crate::value::Value;

/// A group of functions: `test`, `assert`, `test.clock` or `test.http`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(&'static str);

/// The suite whose VM is on this thread.
struct Open {
    stage: Arc<dyn Stage>,
    files: Arc<Files>,
    stand_ins: HashMap<String, FnPtr>,
}

thread_local! {
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

/// Ends the suite on this thread when it drops.
pub(super) struct Guard(());

/// From here on the scripts on this thread are those of a suite.
pub(super) fn open(stage: Arc<dyn Stage>, files: Arc<Files>) -> Guard {
    OPEN.replace(Some(Open { stage, files, stand_ins: HashMap::new() }));
    Guard(())
}

impl Drop for Guard {
    fn drop(&mut self) {
        OPEN.take();
    }
}

/// The constant of this name, where a suite runs.
pub(super) fn constant(name: &str) -> Option<Dynamic> {
    if !matches!(name, "test" | "assert") || OPEN.with_borrow(Option::is_none) {
        return None;
    }
    match name {
        "assert" => Some(Dynamic::from(Group("assert"))),
        // `x.call(…)` is the engine's own syntax, so what has a function `call` is itself a function
        _ => callable().map(Dynamic::from),
    }
}

fn callable() -> Option<FnPtr> {
    #[allow(deprecated, reason = "it is not deprecated, says the crate, but may change; the version is pinned")]
    let callable = FnPtr::from_fn("test", |context, args| {
        let args = args.iter_mut().map(|arg| std::mem::take(*arg)).collect();
        call(&context, Group("test"), "call", args)
    });
    callable.ok()
}

/// The methods of `test`, and of the module's groups that are functions too.
fn method(context: &NativeCallContext<'_>, function: &FnPtr, name: &'static str, args: Vec<Dynamic>) -> Outcome {
    match function.fn_name() {
        "test" => call(context, Group("test"), name, args),
        group => calls::call(group, name, &args),
    }
}

type Outcome = Result<Dynamic, Box<EvalAltResult>>;

/// Every function as a method of its group, with up to three arguments.
pub(super) fn module() -> Module {
    let mut module = Module::new();
    let mut names: Vec<&'static str> = SUITE.iter().filter_map(|f| Some(f.path.rsplit_once('.')?.1)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        methods(&mut module, name, move |context, group: &Group, args| call(context, *group, name, args));
        methods(&mut module, name, move |context, function: &FnPtr, args| method(context, function, name, args));
    }
    getter(&mut module, "clock", "test.clock");
    getter(&mut module, "http", "test.http");
    module.build_index();
    module
}

fn getter(module: &mut Module, name: &str, group: &'static str) {
    FuncRegistration::new_getter(name).in_global_namespace().set_into_module(module, move |_: &mut FnPtr| Group(group));
}

/// Registers `name` for values of `T`, with up to three arguments.
fn methods<T: Clone + Send + Sync + 'static>(
    module: &mut Module,
    name: &'static str,
    run: impl Fn(&NativeCallContext<'_>, &T, Vec<Dynamic>) -> Outcome + Copy + Send + Sync + 'static,
) {
    let register = || FuncRegistration::new(name).in_global_namespace().with_volatility(true);
    register().set_into_module(module, move |context: NativeCallContext, it: T| -> Outcome {
        run(&context, &it, Vec::new())
    });
    register().set_into_module(module, move |context: NativeCallContext, it: T, a: Dynamic| -> Outcome {
        run(&context, &it, vec![a])
    });
    register().set_into_module(module, move |context: NativeCallContext, it: T, a: Dynamic, b: Dynamic| -> Outcome {
        run(&context, &it, vec![a, b])
    });
    register().set_into_module(
        module,
        move |context: NativeCallContext, it: T, a: Dynamic, b: Dynamic, c: Dynamic| -> Outcome {
            run(&context, &it, vec![a, b, c])
        },
    );
}

fn call(context: &NativeCallContext<'_>, group: Group, name: &str, args: Vec<Dynamic>) -> Outcome {
    if meter::tick(CALL_TICKS).is_some() {
        return Err(over());
    }
    let path = format!("{}.{name}", group.0);
    let Some(function) = SUITE.iter().find(|function| function.path == path) else {
        let message = format!("{} has no function {name}", group.0);
        return Err(Box::new(EvalAltResult::ErrorRuntime(message.into(), Position::NONE)));
    };
    let done = run(context, function.id, args);
    meter::hurry();
    match (meter::verdict(), done) {
        (Some(_), _) => Err(over()),
        (None, Ok(value)) => {
            convert::to_script(value).map_err(|unfit| fault(failed(format!("{path}: the result: {unfit}"))))
        }
        (None, Err(error)) => Err(fault(error)),
    }
}

fn run(context: &NativeCallContext<'_>, id: SuiteFn, args: Vec<Dynamic>) -> Result<Value, HostError> {
    let path = id.function().path;
    let (stage, files) = OPEN
        .with_borrow(|open| open.as_ref().map(|open| (Arc::clone(&open.stage), Arc::clone(&open.files))))
        .ok_or_else(|| failed("functions of a test work only during a test".into()))?;
    let mut args = args;
    let function = args.iter().position(|arg| arg.read_lock::<FnPtr>().is_some());
    let function = function.and_then(|index| std::mem::take(&mut args[index]).try_cast::<FnPtr>());
    let mut plain = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        let unfit =
            |unfit| HostError::new(HostErrorKind::InvalidArgument, format!("{path}: argument {}: {unfit}", index + 1));
        plain.push(convert::to_host(arg).map_err(unfit)?);
    }
    match (id, function) {
        (SuiteFn::AssertFails, function) => {
            let function = function.ok_or_else(|| wrong("assert.fails: argument 1 must be a function"))?;
            let thrown = invoke(context, &files, &function, Vec::new()).err();
            suite::failed(thrown.map(|error| error.message).as_deref(), plain.get(1).and_then(Value::as_str))
        }
        (SuiteFn::Service, function) => {
            let name = plain.first().and_then(Value::as_str).unwrap_or_default().to_owned();
            plain.resize(plain.len().max(2), Value::Null);
            if function.is_some() {
                plain[1] = Value::Bool(true);
            } else {
                plain.insert(1, Value::Null);
            }
            suite::begin(&*stage, id, plain)?;
            OPEN.with_borrow_mut(|open| {
                if let (Some(open), Some(function)) = (open, function) {
                    open.stand_ins.insert(name, function);
                }
            });
            Ok(Value::Null)
        }
        (_, Some(_)) => Err(wrong(&format!("{path}: a function cannot be passed here; pass plain data"))),
        (_, None) => {
            let mut step = suite::begin(&*stage, id, plain)?;
            loop {
                match step {
                    Step::Done(value) => return Ok(value),
                    Step::Answer { service, args } => {
                        let stand_in = OPEN.with_borrow(|open| open.as_ref()?.stand_ins.get(&service).cloned());
                        let stand_in = stand_in.ok_or_else(|| failed(format!("nothing stands in for {service}")))?;
                        let answer = convert::to_script(args).map_err(|unfit| failed(unfit.to_string()));
                        let answer = answer.and_then(|args| invoke(context, &files, &stand_in, vec![args]));
                        step = suite::resume(&*stage, answer)?;
                    }
                }
            }
        }
    }
}

/// Calls a function of the suite with as many of `args` as it declares.
fn invoke(
    context: &NativeCallContext<'_>,
    files: &Files,
    function: &FnPtr,
    mut args: Vec<Dynamic>,
) -> Result<Value, HostError> {
    let captured = function.curry().len();
    if let Some(declared) = files.parameters(function.fn_name(), captured + args.len()) {
        args.resize(declared.saturating_sub(captured), Dynamic::UNIT);
    }
    let outcome = function.call_within_context::<Dynamic>(context, args);
    match outcome {
        Ok(value) => {
            convert::to_host(&value).map_err(|unfit| failed(format!("the answer cannot leave the script: {unfit}")))
        }
        Err(error) => Err(match thrown::error(&error, &files.entry) {
            crate::ScriptError::Host { error, .. } => error,
            crate::ScriptError::Problem { title, detail, .. } => {
                suite::thrown(&Value::map([("title", title.into()), ("detail", Value::from(detail))]))
            }
            other => failed(other.to_string()),
        }),
    }
}

fn failed(message: String) -> HostError {
    HostError::new(HostErrorKind::Failed, message)
}

fn wrong(message: &str) -> HostError {
    HostError::new(HostErrorKind::InvalidArgument, message)
}

fn fault(error: HostError) -> Box<EvalAltResult> {
    let map: Dynamic = thrown::host_error_map(&error);
    debug_assert!(map.is::<Map>());
    Box::new(EvalAltResult::ErrorRuntime(map, Position::NONE))
}
