//! A worker: an actor that owns a thread and its VM while there is work.
//!
//! | state | event → next |
//! |---|---|
//! | parked | wake → a thread starts, running |
//! | running | no job for a while → parked · panic, failing `init` → the actor fails, its supervisor starts another |
//!
//! A limit verdict or a script error is no failure of the worker: the thread replaces the VM and goes on, so that no
//! client can use up a module's restarts. Nor is an `init` that meets `overloaded` or finds no room: the job is answered, and the next one tries again.
//!
//! A thread cannot be killed. When its worker goes, a thread that waits for a job ends at once; one that holds a job
//! finishes and answers it, which the script's limits bound, and takes no other. Until then the module may have a thread
//! more than it has workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use replug_scripts::ScriptError;
use tokio::runtime::Handle;

use super::error::CallError;
use super::instance::{Instance, Lane};
use super::job::Job;
use super::usage::Usage;
use super::vm::{HousedVm, NoVm, Placement};
use crate::sandbox::quota::heap::AsideRoom;

mod multiplex;

/// What a worker can be told.
pub enum WorkerMsg {
    /// There is work.
    Wake,
    /// Its thread ended.
    Ended(Exit),
}

/// Why a worker's thread ended.
pub enum Exit {
    /// There was nothing to do.
    Idle,
    /// Its code panicked; the message.
    Panicked(String),
    /// A new VM did not come up.
    InitFailed(ScriptError),
}

/// The actor, with whose calls it runs.
pub struct Worker(pub Lane);

/// The actor's state. When it goes, its thread ends after the job in hand.
pub struct State {
    instance: Arc<Instance>,
    lane: Lane,
    gone: Arc<AtomicBool>,
    /// Of a worker for actors and events.
    room: Option<Arc<AsideRoom>>,
}

impl State {
    fn leave(&self) {
        if !self.gone.swap(true, Ordering::AcqRel) {
            self.instance.queue(self.lane).stir();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.leave();
    }
}

#[ractor::async_trait]
impl Actor for Worker {
    type Msg = WorkerMsg;
    type State = State;
    type Arguments = Arc<Instance>;

    async fn pre_start(&self, _: ActorRef<WorkerMsg>, instance: Arc<Instance>) -> Result<State, ActorProcessingErr> {
        let room = (self.0 == Lane::Aside).then(|| AsideRoom::of(Arc::clone(&instance.account().heap)));
        Ok(State { instance, lane: self.0, gone: Arc::default(), room })
    }

    async fn post_start(&self, myself: ActorRef<WorkerMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.instance.queue(self.0).park(myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMsg>,
        message: WorkerMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMsg::Wake => state.start_thread(myself)?,
            WorkerMsg::Ended(Exit::Idle) => state.instance.queue(self.0).park(myself),
            WorkerMsg::Ended(Exit::Panicked(message)) => return Err(format!("panicked: {message}").into()),
            WorkerMsg::Ended(Exit::InitFailed(error)) => return Err(format!("init failed: {error}").into()),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<WorkerMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // at once: ractor hands the state to the supervisor, which drops it when it comes to that
        state.leave();
        state.room = None;
        Ok(())
    }
}

impl State {
    fn start_thread(&self, owner: ActorRef<WorkerMsg>) -> Result<(), String> {
        let (instance, gone, runtime) = (Arc::clone(&self.instance), Arc::clone(&self.gone), Handle::current());
        let (lane, room) = (self.lane, self.room.clone());
        // a closed pool has no work
        let Some(pass) = instance.queue(lane).thread() else { return Ok(()) };
        let (thread, limits) = self.instance.thread("vm");
        thread
            .spawn(move || {
                // around everything, the VM's end too: a worker that is not told never works again
                let of = (lane, limits, room.as_ref());
                let whole = || instance.executing(|| run(&instance, of, &gone, &runtime));
                let exit = catch_unwind(AssertUnwindSafe(whole))
                    .unwrap_or_else(|panic| Exit::Panicked(message_of(panic.as_ref())));
                drop(instance);
                // an actor that is gone needs no news
                let _ = owner.send_message(WorkerMsg::Ended(exit));
                drop(pass);
            })
            .map(drop)
            .map_err(|error| format!("no thread for a worker of {}: {error}", self.instance.key))
    }
}

/// Takes jobs until there are none.
fn run(instance: &Arc<Instance>, of: Placement<'_>, gone: &AtomicBool, runtime: &Handle) -> Exit {
    let lane = of.0;
    let mut vm: Option<HousedVm> = None;
    let mut usage = Usage::new(instance);
    if instance.manifest.runtime.concurrency > 1 {
        // what it holds when it panics is dropped by the unwinding, which tells the callers
        return match multiplex::run(instance, of, gone, runtime, &mut usage) {
            Ok(()) => Exit::Idle,
            Err(error) => Exit::InitFailed(error),
        };
    }
    while let Some(job) = instance.queue(lane).take(gone, &|| usage.rests()) {
        usage.begin(job.call.deadline, job.is_exempt());
        // the job is dropped by the unwinding, which tells its caller; the VM goes with it
        match catch_unwind(AssertUnwindSafe(|| serve(instance, (of, &usage), &mut vm, job))) {
            Ok(Ok(())) => usage.look(vm.as_ref().map_or(0, HousedVm::memory)),
            Ok(Err(error)) => return Exit::InitFailed(error),
            Err(panic) => return Exit::Panicked(message_of(panic.as_ref())),
        }
    }
    Exit::Idle
}

/// Serves one job, making a VM first where there is none; an error when that fails.
fn serve(
    instance: &Instance,
    (of, usage): (Placement<'_>, &Usage),
    vm: &mut Option<HousedVm>,
    job: Job,
) -> Result<(), ScriptError> {
    if job.abandoned() {
        too_late(job);
        return Ok(());
    }
    // dropped before another is made, which needs its room
    vm.take_if(|ready| !ready.may_begin(instance, &job.call));
    let ready = match vm {
        Some(ready) => ready,
        None => match usage.making(job.call.deadline, || HousedVm::make(instance, of, job.patience())) {
            Ok(made) => vm.insert(made),
            Err(none) => return turn_away(instance, job, none),
        },
    };
    // once more: a slow `init` may have used up its time
    if job.abandoned() {
        ready.rest(instance);
        too_late(job);
        return Ok(());
    }
    ready.begins(&job.call);
    let awake = match ready.wake(instance, job.patience()) {
        Ok(awake) => awake,
        Err(full) => {
            ready.rest(instance);
            return turn_away(instance, job, NoVm::Full(full));
        }
    };
    if job.run(awake, instance) {
        *vm = None;
    } else {
        ready.rest(instance);
    }
    Ok(())
}

/// Answers a job for which there is no VM; an error when none comes up and clients cannot be why.
fn turn_away(instance: &Instance, job: Job, none: NoVm) -> Result<(), ScriptError> {
    let is_crowded = none.is_crowded_out();
    none.tell(instance, job.handler(), &job.call);
    job.fail(none.error(instance));
    match none {
        NoVm::Failed(error) if !is_crowded => Err(error),
        _ => Ok(()),
    }
}

/// Answers a job for which nobody waits any more; the caller that still listens knows how long it waited.
fn too_late(job: Job) {
    job.fail(CallError::Timeout(Duration::ZERO));
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
