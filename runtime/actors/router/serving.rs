//! A call of a service on one instance.

use std::sync::Arc;

use replug_scripts::{CallContext, Handler, Value};

use super::{Blame, CallError, Instance};
use crate::monitor::Held;

/// Calls a handler of this instance, and counts that.
///
/// # Errors
/// See [`CallError`].
pub async fn serve(
    instance: &Arc<Instance>,
    handler: &Handler,
    args: Vec<Value>,
    mut call: CallContext,
) -> Result<Value, CallError> {
    call.module = Arc::clone(&instance.key.id);
    call.version = Arc::clone(&instance.key.version);
    let (held, is_copy) = (instance.metrics.hold(), call.mirrored.is_some());
    let result = instance.call(handler.clone(), args, call).await;
    // what comes of a copy's call says nothing of this instance, since things are refused to it
    if is_copy {
        held.passed_on();
    } else {
        count(held, &result);
    }
    result
}

/// Counts how a call of a service ended.
fn count(held: Held<'_>, result: &Result<Value, CallError>) {
    match result.as_ref().map_err(CallError::blame_of_service) {
        Ok(_) | Err(Blame::Caller) => held.answered(false),
        Err(Blame::Instance) => held.answered(true),
        Err(Blame::Admission) => held.refused(),
        Err(Blame::Nobody) => held.passed_on(),
    }
}
