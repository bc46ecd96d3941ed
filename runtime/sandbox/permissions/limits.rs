//! The limits of a module's scripts: those of its manifest, with the stack that it is given.

use replug_scripts::Limits;

use crate::manifest::{Manifest, ResourceQuotas};

/// The limits of a script of `manifest` on a thread that starts now, where `quotas` are those of the manifest or what is left
/// of them. Whoever starts a thread for a script asks here: [`Limits::stack_size`] is the stack that it must have.
#[must_use]
pub fn script_limits(manifest: &Manifest, quotas: &ResourceQuotas) -> Limits {
    let spec = &manifest.runtime.limits;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        ticks: spec.ticks,
        cpu_time: spec.cpu_time,
        wall_time: spec.wall_time,
        memory: size(spec.memory),
        room: None,
        stack: quotas.memory.max_stack_size.map(size),
    }
}
