//! `test` and `assert` as Rhai sees them: constants whose methods are the functions of [`SUITE`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, FuncRegistration, Map, Module, NativeCallContext, Position};

use super::calls::over;
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
    let group = match name {
        "test" => Group("test"),
        "assert" => Group("assert"),
        _ => return None,
    };
    OPEN.with_borrow(Option::is_some).then(|| Dynamic::from(group))
}

type Outcome = Result<Dynamic, Box<EvalAltResult>>;

/// Every function as a method of its group, with up to three arguments.
pub(super) fn module() -> Module {
    let mut module = Module::new();
    let mut names: Vec<&'static str> = SUITE.iter().filter_map(|f| Some(f.path.rsplit_once('.')?.1)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let register = || FuncRegistration::new(name).in_global_namespace().with_volatility(true);
        register().set_into_module(&mut module, move |context: NativeCallContext, group: Group| -> Outcome {
            call(&context, group, name, Vec::new())
        });
        register().set_into_module(
            &mut module,
            move |context: NativeCallContext, group: Group, a: Dynamic| -> Outcome {
                call(&context, group, name, vec![a])
            },
        );
        register().set_into_module(
            &mut module,
            move |context: NativeCallContext, group: Group, a: Dynamic, b: Dynamic| -> Outcome {
                call(&context, group, name, vec![a, b])
            },
        );
        register().set_into_module(
            &mut module,
            move |context: NativeCallContext, group: Group, a: Dynamic, b: Dynamic, c: Dynamic| -> Outcome {
                call(&context, group, name, vec![a, b, c])
            },
        );
    }
    FuncRegistration::new_getter("clock")
        .in_global_namespace()
        .set_into_module(&mut module, |_: &mut Group| Group("test.clock"));
    FuncRegistration::new_getter("http")
        .in_global_namespace()
        .set_into_module(&mut module, |_: &mut Group| Group("test.http"));
    module.build_index();
    module
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
            if function.is_some() {
                plain[1] = Value::Bool(true);
            } else {
                plain.insert(1.min(plain.len()), Value::Null);
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
