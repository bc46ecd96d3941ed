//! What crosses in a host call, and what comes of its errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Running, api, context, request};
use crate::api::HostFn;
use crate::error::{HostErrorKind, ScriptError};
use crate::value::Value;

/// The handler warns of "m" with `{a: 1}`, and calls `kv.cas` with "k", nothing, and the list of 1 and 2.
pub(crate) fn assert_arguments_cross((mut vm, notes): Running) {
    vm.respond(&api(), &request(), &context()).unwrap();
    assert_eq!(notes.of(HostFn::LogWarn), [vec![Value::from("m"), Value::map([("a", Value::Int(1))])]]);
    let list = Value::List(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(notes.of(HostFn::KvCas), [vec![Value::from("k"), Value::Null, list]]);
    assert_eq!(&*notes.calls.lock().unwrap()[0].2.request_id, "r-1");
}

/// A host function refused its argument and said `part`.
#[track_caller]
pub(crate) fn assert_argument_error(error: &ScriptError, part: &str, script: &str) {
    let ScriptError::Host { error, .. } = error else { panic!("{script}: {error:?}") };
    assert_eq!(error.kind, HostErrorKind::InvalidArgument);
    assert!(error.message.contains(part), "{script}: {error}");
}

/// Nobody caught that a host function is not permitted; the trace begins at `place`. It was refused to this script, and not to
/// whoever called it.
#[track_caller]
pub(crate) fn assert_denied(error: &ScriptError, place: &str, script: &str) {
    let ScriptError::Host { error, trace } = error else { panic!("{script}: {error:?}") };
    assert_eq!((error.kind, error.is_refusal()), (HostErrorKind::PermissionDenied, false));
    assert_eq!(trace.lines().next(), Some(place));
}

/// The host panicked within the handler's call, and the caller of the VM gets the panic, whatever the script does.
#[track_caller]
pub(crate) fn assert_panics((mut vm, _): Running, script: &str) {
    let caught = catch_unwind(AssertUnwindSafe(|| vm.respond(&api(), &request(), &context()).is_ok()));
    let panic = caught.expect_err(script);
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the host's own fault"), "{script}");
}
