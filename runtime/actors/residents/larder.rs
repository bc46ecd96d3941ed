//! The room that values take while they wait for a module or are kept by its actors. Whoever finds none is told, and the audit
//! log too.

use std::fmt::Display;
use std::sync::Arc;

use replug_scripts::{CallContext, Value};

use crate::actors::instance::{Instance, workers_aside};
use crate::actors::vm;
use crate::sandbox::permissions::{At, Live, ResourceType};
use crate::sandbox::quota::heap::{HeapShare, NoRoom};
use crate::sandbox::quota::{Account, Parcel};

/// What is added to the size of a value for what it waits in, in bytes.
const WRAPPING: usize = 256;

/// A value with its room.
pub(super) struct Held {
    pub(super) value: Value,
    pub(super) room: Parcel,
}

/// The room of a module, as one of its instances has it.
pub(super) struct Larder {
    live: Arc<Live>,
    account: Arc<Account>,
}

impl Larder {
    pub(super) const fn new(live: Arc<Live>, account: Arc<Account>) -> Self {
        Self { live, account }
    }

    /// Room for a value that a host function lets wait for the module itself, whether or not a version of it serves.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn hold(&self, value: &Value, function: &str, call: &CallContext) -> Result<Parcel, NoRoom> {
        let mut room = Parcel::none(Arc::clone(&self.account));
        match room.resize(self.share(), value.size() + WRAPPING) {
            Ok(()) => Ok(room),
            Err(none) => {
                self.live.exceed(ResourceType::HeapSize, At::Call(function), Some(call));
                Err(none)
            }
        }
    }

    fn share(&self) -> HeapShare {
        let manifest = self.live.manifest();
        let quota = self.live.grants().effective().resources.memory.max_heap_size;
        let share = HeapShare::new(quota, manifest.runtime.limits.memory, manifest.runtime.workers, true);
        share.with_aside(workers_aside(manifest, true))
    }
}

/// Room for a value that waits for `handler` of the module.
///
/// # Errors
/// There is none.
pub(super) fn hold(
    owner: &Instance,
    value: &Value,
    handler: &dyn Display,
    call: &CallContext,
) -> Result<Parcel, NoRoom> {
    let mut room = Parcel::none(Arc::clone(owner.account()));
    resize(owner, &mut room, value.size() + WRAPPING, (handler, call)).map(|()| room)
}

/// Keeps the state that `handler` of an actor made. Nothing takes no room.
///
/// # Errors
/// There is none; what was kept stays.
pub(super) fn keep(
    owner: &Instance,
    kept: &mut Held,
    state: Value,
    told: (&dyn Display, &CallContext),
) -> Result<(), NoRoom> {
    let size = if state == Value::Null { 0 } else { state.size() };
    resize(owner, &mut kept.room, size, told)?;
    kept.value = state;
    Ok(())
}

/// Whether a state ever has room in the module, however little others hold.
pub(super) fn could_keep(owner: &Instance, state: &Value) -> bool {
    vm::share(owner).could_hold(state.size() as u64)
}

fn resize(
    owner: &Instance,
    room: &mut Parcel,
    size: usize,
    (handler, call): (&dyn Display, &CallContext),
) -> Result<(), NoRoom> {
    room.resize(vm::share(owner), size).inspect_err(|_| {
        if let Some(live) = owner.quotas().teller() {
            live.exceed(ResourceType::HeapSize, At::Handler(handler), Some(call));
        }
    })
}
