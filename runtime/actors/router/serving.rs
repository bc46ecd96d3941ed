//! Who serves: a call of a service on one instance, and which instances have slots.

use std::sync::Arc;

use replug_scripts::{CallContext, Handler, Value};

use super::{Blame, CallError, Instance, Snapshot};

/// Tells those that have a slot since this snapshot, and had none before, that it is theirs.
pub(super) fn owned(before: &Snapshot, after: &Snapshot) {
    for (id, owner) in after.slots.iter().filter_map(|(id, slot)| Some((id, slot.owner()?))) {
        if before.owner(id).is_none_or(|former| !Arc::ptr_eq(former, owner)) {
            owner.owns_storage();
        }
    }
}

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
