//! A call of a service on one instance.

use std::sync::Arc;

use replug_scripts::{CallContext, Handler, Value};

use super::{Blame, CallError, Instance};

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
    let held = instance.metrics.hold();
    let result = instance.call(handler.clone(), args, call).await;
    match result.as_ref().map_err(CallError::blame_of_service) {
        Ok(_) | Err(Blame::Caller) => held.answered(false),
        Err(Blame::Instance) => held.answered(true),
        Err(Blame::Admission) => held.refused(),
        Err(Blame::Nobody) => held.passed_on(),
    }
    result
}
