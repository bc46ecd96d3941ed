//! The module's actors in a test: each with a VM on a thread of its own, but one at a time and only while somebody waits for it, so
//! that a test runs the same each time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// What the first message threw that nobody waits for, until whoever led to it hears of it.
    failure: Mutex<Option<HostError>>,
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
    in_hand: Arc<InHand>,
}

/// When the message must have been handled that an actor has in hand.
type InHand = Mutex<Option<Instant>>;

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
        let message = self.renewed(message);
        self.hand("actors.send", Letter { message, back: Back::Stage(events.clone()), is_in_module: true })
    }

    /// Has an actor handle a message that was sent to it, and waits for the end of that. What the handler throws is kept for
    /// [`Actors::take_failure`].
    pub(super) fn handle(&self, message: Message) {
        if let Err(error) = self.reply("actors.send", self.renewed(message)) {
            locked(&self.failure).get_or_insert(error);
        }
    }

    /// What the first message threw that nobody waited for, since this was asked before.
    pub(super) fn take_failure(&self) -> Option<HostError> {
        locked(&self.failure).take()
    }

    /// Has an actor handle a message, and waits for the reply.
    ///
    /// # Errors
    /// As [`Actors::free`]; `timeout`; `failed` with what the handler threw.
    pub(super) fn call(&self, message: Message) -> Result<Value, HostError> {
        let (actor, deadline) = (message.actor.clone(), message.call.deadline);
        if Instant::now() >= deadline {
            return Err(late(&actor));
        }
        let answer = self.reply("actors.call", message);
        if Instant::now() >= deadline { Err(late(&actor)) } else { answer }
    }

    /// Whether an actor can take a message in hand.
    ///
    /// # Errors
    /// `conflict` for an actor that waits for itself, `overloaded` for one that has had its time and has not ended yet.
    pub(super) fn free(&self, actor: &str) -> Result<(), HostError> {
        let running = locked(&self.running);
        running.get(actor).map_or(Ok(()), |thread| free("actors.call", actor, *locked(&thread.in_hand), Instant::now()))
    }

    /// The message, with the time that a call has which begins now.
    fn renewed(&self, mut message: Message) -> Message {
        if let Some(place) = self.place.get() {
            message.call.deadline = place.world.call_within(place.end).deadline;
        }
        message
    }

    /// Waits until the actor is done, which its limits and its deadline bound: one that was left alone would run beside what
    /// comes next.
    fn reply(&self, function: &str, message: Message) -> Result<Value, HostError> {
        let (reply, answer) = sync_channel(1);
        let actor = message.actor.clone();
        self.hand(function, Letter { message, back: Back::Caller(reply), is_in_module: IN_MODULE.get() })?;
        answer
            .recv()
            .map_err(|_| HostError::new(HostErrorKind::Failed, format!("{function}: {actor}: its thread has ended")))?
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
        let mut in_hand = locked(&thread.in_hand);
        free(function, &actor, *in_hand, Instant::now())?;
        *in_hand = Some(letter.message.call.deadline);
        drop(in_hand);
        thread.letters.send(letter).map_err(|_| failed("its thread has ended"))
    }
}

/// Whether an actor can take a message that has another one in hand until then.
fn free(function: &str, actor: &str, in_hand: Option<Instant>, now: Instant) -> Result<(), HostError> {
    let (kind, why) = match in_hand {
        None => return Ok(()),
        // whatever runs meanwhile, it waits for
        Some(until) if now < until => (HostErrorKind::Conflict, "waits for itself, through those that it calls"),
        Some(_) => (HostErrorKind::Overloaded, "is still busy with an earlier message, whose time is over"),
    };
    Err(HostError::new(kind, format!("{function}: {actor} {why}")))
}

/// What a caller of an actor hears at its deadline.
pub(super) fn late(actor: &str) -> HostError {
    HostError::new(HostErrorKind::Timeout, format!("actors.call: {actor} gave no reply until the deadline"))
}

impl ActorThread {
    fn start(place: &Place, actor: &str) -> Result<Self, String> {
        let host = place.host.upgrade().ok_or_else(|| "the test has ended".to_owned())?;
        let (letters, taken) = sync_channel(1);
        let in_hand = Arc::new(InHand::default());
        let (world, end, taking, actor) = (Arc::clone(&place.world), place.end, Arc::clone(&in_hand), actor.to_owned());
        let thread = std::thread::Builder::new()
            .name(format!("actor:{actor}"))
            .stack_size(world.limits.stack_size())
            .spawn(move || serve(&actor, &|| make(&world, &host, end), &taken, &taking))
            .map_err(|error| error.to_string())?;
        Ok(Self { letters, thread, in_hand })
    }
}

type Make<'a> = dyn Fn() -> Result<Box<dyn Vm>, ScriptError> + 'a;

fn serve(actor: &str, make: &Make<'_>, letters: &Receiver<Letter>, in_hand: &InHand) {
    let mut life = Life::default();
    while let Ok(Letter { message, back, is_in_module }) = letters.recv() {
        IN_MODULE.set(is_in_module);
        let done = catch_unwind(AssertUnwindSafe(|| life.handle(actor, make, message))).ok();
        if !matches!(done, Some(Ok(_))) {
            // as where a supervisor starts it anew
            life = Life::default();
        }
        *locked(in_hand) = None;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_actor_that_has_had_its_time_is_not_taken_for_one_that_waits_for_itself() {
        let now = Instant::now();
        assert_eq!(free("actors.call", "a", None, now), Ok(()));
        let told = |until| free("actors.call", "a", Some(until), now).map_err(|error| (error.kind, error.message));
        let circle = "actors.call: a waits for itself, through those that it calls";
        assert_eq!(told(now + Duration::from_secs(1)), Err((HostErrorKind::Conflict, circle.into())));
        let busy = "actors.call: a is still busy with an earlier message, whose time is over";
        assert_eq!(told(now), Err((HostErrorKind::Overloaded, busy.into())));
    }
}
