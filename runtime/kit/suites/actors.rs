//! The module's actors in a test: each with a VM on a thread of its own, but one at a time and only while somebody waits for it, so
//! that a test runs the same each time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use replug_scripts::handled::{self, Handled};
use replug_scripts::{CallContext, Handler, Host, HostError, HostErrorKind, ScriptError, Value, Vm};

use super::module::{Answer, Event, make};
use super::report::told;
use super::services::IN_MODULE;
use super::state::locked;
use super::world::World;

/// A message on its way to an actor.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) actor: String,
    pub(super) message: Value,
    pub(super) call: CallContext,
}

/// The actors of one test.
#[derive(Default)]
pub(super) struct Actors {
    place: OnceLock<Place>,
    running: Mutex<HashMap<String, ActorThread>>,
}

/// What their VMs are made of.
struct Place {
    world: Arc<World>,
    /// It holds the test's state, which holds this.
    host: Weak<dyn Host>,
    end: Instant,
}

struct ActorThread {
    letters: SyncSender<Letter>,
    thread: JoinHandle<()>,
    is_busy: Arc<AtomicBool>,
}

struct Letter {
    message: Message,
    back: Back,
    /// Whether whoever waits for it can answer for functions of the test.
    is_in_module: bool,
}

/// Where its reply goes.
enum Back {
    Stage(SyncSender<Event>),
    Caller(SyncSender<Result<Value, HostError>>),
}

impl Actors {
    /// From here on they can run, in a test that must have ended by `end`.
    pub(super) fn open(&self, world: &Arc<World>, host: &Arc<dyn Host>, end: Instant) {
        let _ = self.place.set(Place { world: Arc::clone(world), host: Arc::downgrade(host), end });
    }

    /// Ends them, each after the message in hand, which its limits bound.
    pub(super) fn close(&self) {
        let running = std::mem::take(&mut *locked(&self.running));
        for (_, ActorThread { letters, thread, .. }) in running {
            drop(letters);
            let _ = thread.join();
        }
    }

    /// Has an actor handle a message; an [`Event::Done`] follows.
    ///
    /// # Errors
    /// As [`Actors::call`], but for what the handler throws.
    pub(super) fn run(&self, message: Message, events: &SyncSender<Event>) -> Result<(), HostError> {
        self.hand("actors.send", Letter { message, back: Back::Stage(events.clone()), is_in_module: true })
    }

    /// Has an actor handle a message, and waits for the reply.
    ///
    /// # Errors
    /// `conflict` for an actor that waits for itself, `timeout`, `failed` with what the handler threw.
    pub(super) fn call(&self, message: Message) -> Result<Value, HostError> {
        let (reply, answer) = sync_channel(1);
        let (actor, deadline) = (message.actor.clone(), message.call.deadline);
        self.hand("actors.call", Letter { message, back: Back::Caller(reply), is_in_module: IN_MODULE.get() })?;
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|_| {
            let message = format!("actors.call: {actor} gave no reply until the deadline");
            HostError::new(HostErrorKind::Timeout, message)
        })?
    }

    fn hand(&self, function: &str, letter: Letter) -> Result<(), HostError> {
        let actor = letter.message.actor.clone();
        let failed = |why: &str| HostError::new(HostErrorKind::Failed, format!("{function}: {actor}: {why}"));
        let mut running = locked(&self.running);
        if !running.contains_key(&actor) {
            let place = self.place.get().ok_or_else(|| failed("the test has not begun"))?;
            let started = ActorThread::start(place, &actor).map_err(|cause| failed(&cause))?;
            running.insert(actor.clone(), started);
        }
        let Some(thread) = running.get(&actor) else { return Err(failed("it does not run")) };
        if thread.is_busy.swap(true, Ordering::AcqRel) {
            let message = format!("{function}: {actor} waits for itself, through those that it calls");
            return Err(HostError::new(HostErrorKind::Conflict, message));
        }
        thread.letters.send(letter).map_err(|_| failed("its thread has ended"))
    }
}

impl ActorThread {
    fn start(place: &Place, actor: &str) -> Result<Self, String> {
        let host = place.host.upgrade().ok_or_else(|| "the test has ended".to_owned())?;
        let (letters, taken) = sync_channel(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let (world, end, busy, actor) = (Arc::clone(&place.world), place.end, Arc::clone(&is_busy), actor.to_owned());
        let thread = std::thread::Builder::new()
            .name(format!("actor:{actor}"))
            .stack_size(world.limits.stack_size())
            .spawn(move || serve(&actor, &|| make(&world, &host, end), &taken, &busy))
            .map_err(|error| error.to_string())?;
        Ok(Self { letters, thread, is_busy })
    }
}

type Make<'a> = dyn Fn() -> Result<Box<dyn Vm>, ScriptError> + 'a;

fn serve(actor: &str, make: &Make<'_>, letters: &Receiver<Letter>, is_busy: &AtomicBool) {
    let mut life = Life::default();
    while let Ok(Letter { message, back, is_in_module }) = letters.recv() {
        IN_MODULE.set(is_in_module);
        let done = catch_unwind(AssertUnwindSafe(|| life.handle(actor, make, message))).ok();
        if !matches!(done, Some(Ok(_))) {
            // as where a supervisor starts it anew
            life = Life::default();
        }
        is_busy.store(false, Ordering::Release);
        // whoever waited may have given up
        match back {
            Back::Stage(events) => drop(events.send(Event::Done(done.map(|done| done.map(Answer::Value))))),
            Back::Caller(reply) => {
                let what = Handler::ActorHandle(actor.into()).to_string();
                let lost = || {
                    HostError::new(HostErrorKind::Failed, format!("{what}: the host failed; this is a fault of Replug"))
                };
                drop(reply.send(done.map_or_else(|| Err(lost()), |done| done.map_err(|error| told(&what, &error)))));
            }
        }
    }
}

/// What an actor has between two messages.
#[derive(Default)]
struct Life {
    vm: Option<Box<dyn Vm>>,
    state: Option<Value>,
}

impl Life {
    fn handle(&mut self, actor: &str, make: &Make<'_>, message: Message) -> Result<Value, ScriptError> {
        let (init, handle) = (Handler::ActorInit(actor.into()), Handler::ActorHandle(actor.into()));
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => self.vm.insert(make()?),
        };
        let state = match self.state.take() {
            Some(state) => state,
            None if vm.exports().has(&init) => vm.call(&init, &[], &message.call)?,
            None => Value::Null,
        };
        let answer = vm.call(&handle, &[state.clone(), message.message], &message.call)?;
        let Handled { state: new, reply, stop } =
            handled::read(answer).map_err(|wrong| ScriptError::Contract(format!("{handle}: {wrong}")))?;
        self.state = (!stop).then(|| new.unwrap_or(state));
        Ok(reply)
    }
}
