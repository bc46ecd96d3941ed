//! A worker's VM and its part of the module's memory quota.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use replug_scripts::{CallContext, Exports, Handler, HostError, HostErrorKind, Limits, ScriptError, Verdict, Vm};

use super::error::CallError;
use super::instance::{Instance, Lane, START_GRACE};
use crate::monitor::Event;
use crate::sandbox::quota::heap::{AsideRoom, HeapFull, HeapShare, LEAST_ROOM, Reservation};
use crate::sandbox::quota::leak::LeakWatch;

/// Of which lane a worker is, the limits that its thread was made for, and of one for actors and events its room.
pub(super) type Placement<'a> = (Lane, Limits, Option<&'a Arc<AsideRoom>>);

/// A VM that keeps to its part.
pub(super) struct HousedVm {
    vm: Box<dyn Vm>,
    /// Those of its thread.
    limits: Limits,
    part: Reservation,
    /// What it may hold by its part, in bytes.
    room: u64,
    leaks: LeakWatch,
    /// What it held after the last collection.
    collected: u64,
    /// The instance's [era](Instance::era) when it was made.
    era: u64,
    /// Whether it answered a copy of a request: something may have been refused to the script there, which it remembers.
    answered_copy: bool,
}

/// Why there is no VM.
pub(super) enum NoVm {
    /// The module's quota leaves no room for one more.
    Full(HeapFull),
    /// Its top level or `init` failed.
    Failed(ScriptError),
}

/// The least part of its room by which a VM is given more to begin anew, and which others must have to be why it does not come up.
const STEP: u64 = 16;

impl HousedVm {
    /// A new VM on this thread, which was made for `limits`, with `init` run in it. Waits until `until` for room that other
    /// VMs of the module give back; where it does not come up in that, for more.
    pub(super) fn make(instance: &Instance, (_, limits, room): Placement<'_>, until: Instant) -> Result<Self, NoVm> {
        let alone = || Reservation::none(Arc::clone(&instance.account().heap));
        let mut part = room.map_or_else(alone, Reservation::aside);
        let share = share(instance);
        // in what was too little before it would not come up now
        let least = share.limit.min(share.least().max(instance.needs_more_than.load(Ordering::Relaxed) + 1));
        let mut room = part.run_by(share, least, until).map_err(NoVm::Full)?;
        loop {
            let (era, limits_now) = (instance.era(), within(&limits, room));
            match instance.make_vm(limits_now) {
                Ok(vm) => {
                    let collected = vm.memory() as u64;
                    let leaks = LeakWatch::default();
                    return Ok(Self { vm, limits, part, room, leaks, collected, era, answered_copy: false });
                }
                Err(error @ ScriptError::Limit(Verdict::Memory(_))) if room < share.limit => {
                    room = match more(&mut part, (share, room), until) {
                        Ok(more) => more,
                        // others have more than hardly anything
                        Err(full) if full.reserved > room / STEP => {
                            instance.needs_more_than.store(room, Ordering::Relaxed);
                            return Err(NoVm::Full(full));
                        }
                        Err(_) => return Err(failed(instance, error)),
                    };
                }
                Err(error) => return Err(failed(instance, error)),
            }
        }
    }

    /// Whether this call may begin in it. Where not, it is to be made anew: VMs were to be renewed, or it answered copies and this
    /// is none, so that what was refused to a copy never shows in an answer to a client.
    pub(super) fn may_begin(&self, instance: &Instance, call: &CallContext) -> bool {
        self.era == instance.era() && (call.mirrored.is_some() || !self.answered_copy)
    }

    /// Notes that this call begins in it.
    pub(super) const fn begins(&mut self, call: &CallContext) {
        self.answered_copy |= call.mirrored.is_some();
    }

    /// The VM, with as much room as there is now; before a call. Waits for room as [`HousedVm::make`] does.
    ///
    /// # Errors
    /// The module's other VMs leave too little.
    pub(super) fn wake(&mut self, instance: &Instance, until: Instant) -> Result<&mut dyn Vm, HeapFull> {
        let share = share(instance);
        let room = self.part.run_by(share, share.limit.min(self.vm.memory() as u64 + LEAST_ROOM), until)?;
        if room != self.room {
            self.room = room;
            self.vm.set_limits(within(&self.limits, room));
        }
        Ok(self.vm.as_mut())
    }

    /// The VM, to go on with a call that it holds.
    pub(super) fn awake(&mut self) -> &mut dyn Vm {
        self.vm.as_mut()
    }

    /// After its last call for now: garbage beyond the manifest's threshold is collected, and what it does not hold is
    /// given back.
    pub(super) fn rest(&mut self, instance: &Instance) {
        let (threshold, is_watched) = instance
            .quotas()
            .read(|quotas| (quotas.memory.garbage_collection_threshold, quotas.memory.memory_leak_detection));
        // again only when it has grown: what lives may be more than the threshold
        let held = self.vm.memory() as u64;
        let crowded = threshold.is_some_and(|threshold| held > threshold);
        if crowded && held > self.collected + self.collected / 8 {
            self.collect();
        }
        if is_watched && self.leaks.call() {
            self.collect();
            if let Some(leak) = self.leaks.measure(self.collected) {
                if let Some(live) = instance.quotas().teller() {
                    live.leak(leak.from, leak.to, leak.calls);
                }
                instance.report(Event::LeakSuspected {
                    instance: instance.key.clone(),
                    from: leak.from,
                    to: leak.to,
                    calls: leak.calls,
                });
            }
        }
        self.part.rest(self.vm.memory() as u64);
    }

    fn collect(&mut self) {
        self.vm.collect();
        self.collected = self.vm.memory() as u64;
    }

    /// Bytes that its heap holds.
    pub(super) fn memory(&self) -> usize {
        self.vm.memory()
    }

    /// What its entry script returned.
    pub(super) fn exports(&self) -> &Exports {
        self.vm.exports()
    }
}

impl NoVm {
    /// Whether there is none only because of what others have: room that they use, or that `init` found full. Clients can
    /// fill it, so no worker is to blame.
    pub(super) const fn is_crowded_out(&self) -> bool {
        match self {
            Self::Full(_)
            | Self::Failed(ScriptError::Host { error: HostError { kind: HostErrorKind::Overloaded, .. }, .. }) => true,
            Self::Failed(_) => false,
        }
    }

    /// Has the audit log told of it, but for a limit that `init` met, of which that was told.
    pub(super) fn tell(&self, instance: &Instance, handler: &Handler, call: &CallContext) {
        if !matches!(self, Self::Failed(_)) && !instance.is_halted() {
            instance.quotas().tell(&self.error(instance), handler, call);
        }
    }

    /// What a caller hears.
    pub(super) fn error(&self, instance: &Instance) -> CallError {
        match self {
            // it did not wait for room to its end
            Self::Full(_) if instance.is_halted() => CallError::Closed(instance.key.to_string()),
            // nothing of what it was made for was begun
            Self::Failed(error) if error.is_stop() => CallError::Closed(instance.key.to_string()),
            Self::Full(full) => CallError::HeapFull { instance: instance.key.to_string(), source: *full },
            Self::Failed(error) if self.is_crowded_out() => {
                CallError::Unready { instance: instance.key.to_string(), source: Box::new(error.clone()) }
            }
            Self::Failed(error) => CallError::Script(error.clone()),
        }
    }
}

/// How the quota of its module is shared out now.
pub(super) fn share(instance: &Instance) -> HeapShare {
    let quota = instance.quotas().read(|quotas| quotas.memory.max_heap_size);
    let aside = instance.workers(Lane::Aside);
    // the first VM may set timers before it is known what the script hears
    let waits = aside > 0 || instance.makes_streams() || instance.exports().handlers.is_empty();
    HeapShare::new(quota, instance.limits().memory as u64, instance.workers(Lane::Requests), waits).with_aside(aside)
}

/// More than `room`, in which a VM does not come up: twice as much, waited for while others run, or what there is to some parts.
///
/// # Errors
/// There is hardly more.
fn more(part: &mut Reservation, (share, room): (HeapShare, u64), until: Instant) -> Result<u64, HeapFull> {
    // others that wait for as much would never get it from one that keeps what is too little
    part.rest(0);
    let with = |more: u64| share.limit.min(room.saturating_add(more));
    let twice = part.run_by(share, with(room), until);
    twice.or_else(|_| part.run(share, with(room / 4))).or_else(|_| part.run(share, with(room / STEP)))
}

/// The top level or `init` failed; a limit that it met is told.
fn failed(instance: &Instance, error: ScriptError) -> NoVm {
    let call = instance.context("init", START_GRACE);
    instance.quotas().tell(&CallError::Script(error.clone()), &Handler::Init, &call);
    NoVm::Failed(error)
}

fn within(limits: &Limits, room: u64) -> Limits {
    Limits { room: usize::try_from(room).ok(), ..*limits }
}

impl Instance {
    /// A new VM on this thread, with `init` run in it.
    fn make_vm(&self, limits: Limits) -> Result<Box<dyn Vm>, ScriptError> {
        let at_start = Limits {
            cpu_time: limits.cpu_time.max(START_GRACE),
            wall_time: limits.wall_time.max(START_GRACE),
            ..limits
        };
        let call: CallContext = self.context("init", START_GRACE);
        let mut vm = self.program().instantiate(Arc::clone(self.host()), &at_start, &call)?;
        if vm.exports().has(&Handler::Init) {
            vm.call(&Handler::Init, &[], &call)?;
        }
        vm.set_limits(limits);
        Ok(vm)
    }
}
