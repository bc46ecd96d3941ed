//! A thread whose VM holds several calls: while they wait for their host, others run.
//!
//! A verdict on ticks or time retires the VM: a fresh one takes the calls to come, and those that the old one holds run to
//! their end in it. One VM at most is on its way out; where a second would be, no job is taken until it is gone. The same holds
//! of a VM that is to be made anew, except that a call that was taken already does not wait for it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use futures::FutureExt as _;
use replug_scripts::{HostError, HostErrorKind, Pending, ScriptError, Ticket};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use super::{too_late, turn_away};
use crate::actors::error::CallError;
use crate::actors::inbox::{Arrived, Inbox};
use crate::actors::instance::Instance;
use crate::actors::job::{Held, Job, Left, Progress};
use crate::actors::pool::Next;
use crate::actors::usage::Usage;
use crate::actors::vm::{HousedVm, NoVm, Placement};

/// The calls of one thread.
struct Desk<'a> {
    instance: &'a Arc<Instance>,
    of: Placement<'a>,
    runtime: &'a Handle,
    inbox: Arc<Inbox>,
    /// VMs by number: the one that takes calls, and one that was retired and still holds some.
    vms: HashMap<u64, Seat>,
    /// The VM that takes calls.
    fresh: Option<u64>,
    next: u64,
}

struct Seat {
    vm: HousedVm,
    held: HashMap<Ticket, (Box<Held>, Errand)>,
}

/// The task that waits for an answer; it ends when nobody wants the answer any more.
struct Errand(AbortHandle);

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes jobs until there are none and nothing is held.
///
/// # Errors
/// A new VM does not come up.
pub(super) fn run(
    instance: &Arc<Instance>,
    of: Placement<'_>,
    gone: &AtomicBool,
    runtime: &Handle,
    usage: &mut Usage,
) -> Result<(), ScriptError> {
    let mut desk = Desk { instance, of, runtime, inbox: Arc::default(), vms: HashMap::new(), fresh: None, next: 0 };
    let pool = instance.queue(of.0);
    loop {
        let holds = desk.vms.values().any(|seat| !seat.held.is_empty());
        let next = if desk.has_room() {
            pool.take_beside(gone, (&desk.inbox, holds), &|| usage.rests())
        } else {
            Next::Nothing
        };
        match next {
            Next::Job(job) => {
                usage.begin(job.call.deadline, job.is_exempt());
                usage.beside(desk.held_beside(desk.fresh));
                desk.begin(job, usage)?;
            }
            Next::Answer(arrived) => {
                usage.beside(desk.held_beside(Some(arrived.vm)));
                usage.resume(desk.is_exempt(&arrived));
                desk.resume(arrived);
            }
            Next::Nothing if holds => {
                usage.rests();
                let arrived = desk.inbox.wait();
                usage.beside(desk.held_beside(Some(arrived.vm)));
                usage.resume(desk.is_exempt(&arrived));
                desk.resume(arrived);
            }
            Next::Nothing => return Ok(()),
        }
        usage.look(desk.vms.values().map(|seat| seat.vm.memory()).sum());
    }
}

impl Desk<'_> {
    /// Bytes that the VMs hold, without the one of this number.
    fn held_beside(&self, running: Option<u64>) -> usize {
        let others = self.vms.iter().filter(|(number, _)| running != Some(**number));
        others.map(|(_, seat)| seat.vm.memory()).sum()
    }

    /// Whether one more call may begin.
    fn has_room(&self) -> bool {
        match self.fresh.and_then(|number| self.vms.get(&number)) {
            Some(seat) => seat.held.len() < self.instance.manifest.runtime.concurrency,
            None => self.vms.len() < 2,
        }
    }

    fn begin(&mut self, job: Job, usage: &Usage) -> Result<(), ScriptError> {
        if job.abandoned() {
            too_late(job);
            return Ok(());
        }
        if let Some(number) = self.fresh
            && self.vms.get(&number).is_some_and(|seat| !seat.vm.may_begin(self.instance, &job.call))
        {
            self.fresh = None;
            self.clear(number);
        }
        // what another VM of this thread holds cannot come back while the thread waits
        let is_alone = self.vms.keys().all(|number| self.fresh == Some(*number));
        let patience = if is_alone { job.patience() } else { Instant::now() };
        let number = match self.fresh {
            Some(number) => number,
            None => match usage.making(job.call.deadline, || HousedVm::make(self.instance, self.of, patience)) {
                Ok(vm) => {
                    let number = self.next;
                    self.next += 1;
                    self.vms.insert(number, Seat { vm, held: HashMap::new() });
                    self.fresh = Some(number);
                    number
                }
                Err(none) => return turn_away(self.instance, job, none),
            },
        };
        // once more: a slow `init` may have used up its time
        if job.abandoned() {
            self.clear(number);
            too_late(job);
            return Ok(());
        }
        let Some(seat) = self.vms.get_mut(&number) else { return Ok(()) };
        seat.vm.begins(&job.call);
        let awake = match seat.vm.wake(self.instance, patience) {
            Ok(awake) => awake,
            Err(full) => {
                self.clear(number);
                return turn_away(self.instance, job, NoVm::Full(full));
            }
        };
        let progress = job.begin(awake, self.instance);
        self.follow(number, progress);
        Ok(())
    }

    /// Whether the call that goes on is exempt from its module's share of the processors.
    fn is_exempt(&self, arrived: &Arrived) -> bool {
        let held = self.vms.get(&arrived.vm).and_then(|seat| seat.held.get(&arrived.ticket));
        held.is_some_and(|(held, _)| held.is_exempt())
    }

    fn resume(&mut self, arrived: Arrived) {
        let Arrived { vm: number, ticket, answer } = arrived;
        let Some(seat) = self.vms.get_mut(&number) else { return };
        let Some((held, _)) = seat.held.remove(&ticket) else { return };
        if held.abandoned() {
            seat.vm.awake().forget(ticket);
            self.clear(number);
            return;
        }
        let progress = held.resume(seat.vm.awake(), ticket, answer, self.instance);
        self.follow(number, progress);
    }

    fn follow(&mut self, number: u64, progress: Progress) {
        match progress {
            Progress::Waits(ticket, pending, held) => {
                let errand = self.send_for(number, ticket, pending, &held);
                if let Some(seat) = self.vms.get_mut(&number) {
                    seat.held.insert(ticket, (held, errand));
                }
            }
            Progress::Over(left) => {
                if left != Left::Sound && self.fresh == Some(number) {
                    self.fresh = None;
                }
                if left == Left::Lost
                    && let Some(seat) = self.vms.remove(&number)
                {
                    let key = &self.instance.key;
                    for (held, _) in seat.held.into_values() {
                        held.fail(CallError::Displaced(key.to_string()));
                    }
                }
                self.clear(number);
            }
        }
    }

    /// Lets a VM that holds nothing more rest, or drops it if it was retired.
    fn clear(&mut self, number: u64) {
        if let Some(seat) = self.vms.get_mut(&number)
            && seat.held.is_empty()
        {
            seat.vm.rest(self.instance);
        }
        if self.fresh != Some(number) && self.vms.get(&number).is_some_and(|seat| seat.held.is_empty()) {
            self.vms.remove(&number);
        }
    }

    /// Waits elsewhere for what a call waits for.
    fn send_for(&self, number: u64, ticket: Ticket, pending: Pending, held: &Held) -> Errand {
        let (inbox, instance, lane) = (Arc::clone(&self.inbox), Arc::clone(self.instance), self.of.0);
        let deadline = held.deadline();
        let task = self.runtime.spawn(async move {
            let pending = AssertUnwindSafe(timeout_at(deadline.into(), pending)).catch_unwind();
            let answer = match pending.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(HostError::new(HostErrorKind::Timeout, "no answer came until the call's deadline")),
                Err(_) => {
                    tracing::error!(instance = %instance.key, "a host call broke off by a panic, which stands above");
                    Err(HostError::new(HostErrorKind::Failed, "the call broke off; the runtime's log says why"))
                }
            };
            inbox.put(Arrived { vm: number, ticket, answer });
            instance.queue(lane).knock();
        });
        Errand(task.abort_handle())
    }
}
