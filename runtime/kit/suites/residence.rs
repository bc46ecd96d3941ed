//! What lives in a module's slot, as it is in a test: events, ticks of timers and messages to actors, one after the other and by
//! the test's clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::actors::{Message, late};
use super::bounds::Held;
use super::services::{IN_MODULE, StandIns};
use super::state::{ENTRY, State, locked};
use crate::manifest::ActorSpec;
use crate::sandbox::permissions::Live;
use crate::sandbox::ports::{MAILBOX_FULL, MAX_TIMERS, Residence, Residents, TIMERS_FULL, Timer};
use crate::sandbox::quota::Account;

/// An event, or a tick, on its way to the module's handler.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) topic: String,
    pub(super) payload: Value,
    pub(super) publisher: String,
    pub(super) hops: u8,
    /// Whether there must be a handler.
    pub(super) must_be_heard: bool,
}

impl Delivery {
    /// What its handler gets.
    pub(super) fn message(&self) -> Value {
        Value::map([
            ("topic", Value::from(self.topic.as_str())),
            ("publisher", Value::from(self.publisher.as_str())),
            ("payload", self.payload.clone()),
        ])
    }
}

/// What waits for the module.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// For a handler of events.
    Event(Delivery),
    /// For an actor.
    Message(Message),
}

impl Waiting {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        match self {
            Self::Event(Delivery { topic, payload, .. }) => ENTRY + topic.len() + payload.size(),
            Self::Message(Message { actor, message, .. }) => ENTRY + actor.len() + message.size(),
        }
    }

    fn is_for(&self, actor: &str) -> bool {
        matches!(self, Self::Message(message) if message.actor == actor)
    }
}

/// The events and timers of one test, and the mailboxes of its actors. What they take of the room that a test has, they give
/// back as soon as it leaves them.
#[derive(Default)]
pub(super) struct Deliveries(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    published: Vec<(String, Value)>,
    pending: VecDeque<Waiting>,
    timers: BTreeMap<String, Running>,
    /// Counts the timers that were set.
    serial: u64,
    /// Milliseconds that the test has let pass: timers follow these, wherever the clock is set.
    passed: u64,
}

struct Running {
    serial: u64,
    due: u64,
    publisher: String,
    timer: Timer,
}

impl Running {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        ENTRY + self.timer.topic.len() + self.timer.payload.size()
    }
}

impl Deliveries {
    /// Notes an event that the module published, and has it delivered.
    fn publish(&self, delivery: Delivery, held: &Held) {
        let mut inner = locked(&self.0);
        let published = (delivery.topic.clone(), delivery.payload.clone());
        let waiting = Waiting::Event(delivery);
        // twice: on its way, and remembered. Where there is no room the test fails, whatever its script makes of that
        if held.swap("events.publish", 0, 2 * waiting.size()).is_ok() {
            inner.published.push(published);
            inner.pending.push_back(waiting);
        }
    }

    /// Has it delivered, for the function of this path.
    ///
    /// # Errors
    /// The test holds as much as it may.
    pub(super) fn push(&self, path: &str, waiting: Waiting, held: &Held) -> Result<(), HostError> {
        let mut inner = locked(&self.0);
        held.swap(path, 0, waiting.size())?;
        inner.pending.push_back(waiting);
        Ok(())
    }

    /// Takes the message out that waits longest for an actor.
    fn message(&self, actor: &str, held: &Held) -> Option<Message> {
        let mut inner = locked(&self.0);
        let at = inner.pending.iter().position(|waiting| waiting.is_for(actor))?;
        let waiting = inner.pending.remove(at)?;
        held.free(waiting.size());
        if let Waiting::Message(message) = waiting { Some(message) } else { None }
    }

    /// How many messages wait for an actor.
    fn mailbox(&self, actor: &str) -> usize {
        locked(&self.0).pending.iter().filter(|waiting| waiting.is_for(actor)).count()
    }

    /// The payloads of the events of a topic that the module published, in order.
    pub(super) fn published(&self, topic: &str) -> Vec<Value> {
        let inner = locked(&self.0);
        inner.published.iter().filter(|(name, _)| name == topic).map(|(_, payload)| payload.clone()).collect()
    }

    /// Milliseconds that have passed.
    pub(super) fn passed(&self) -> u64 {
        locked(&self.0).passed
    }

    /// So many have passed now, if not more have; gives how many of them are new.
    pub(super) fn pass_to(&self, passed: u64) -> u64 {
        let mut inner = locked(&self.0);
        let new = passed.saturating_sub(inner.passed);
        inner.passed += new;
        new
    }

    /// Takes out what waits longest.
    pub(super) fn next(&self, held: &Held) -> Option<Waiting> {
        let waiting = locked(&self.0).pending.pop_front()?;
        held.free(waiting.size());
        Some(waiting)
    }

    /// The next tick that is due when `until` has passed, and when it is.
    pub(super) fn next_tick(&self, until: u64, held: &Held) -> Option<(u64, Delivery)> {
        let mut inner = locked(&self.0);
        let due = inner.timers.iter().map(|(id, running)| (running.due, running.serial, id));
        let (due, _, id) = due.min().filter(|(due, ..)| *due <= until)?;
        let id = id.clone();
        let mut running = inner.timers.remove(&id)?;
        let delivery = Delivery {
            topic: running.timer.topic.clone(),
            payload: running.timer.payload.clone(),
            publisher: running.publisher.clone(),
            hops: 0,
            must_be_heard: false,
        };
        if running.timer.repeats {
            running.due = due.saturating_add(millis(&running.timer));
            inner.timers.insert(id, running);
        } else {
            held.free(running.size());
        }
        Some((due, delivery))
    }

    /// Nothing waits any more.
    pub(super) fn clear(&self, held: &Held) {
        let pending = std::mem::take(&mut locked(&self.0).pending);
        held.free(pending.iter().map(Waiting::size).sum());
    }

    fn set(&self, timer: Timer, publisher: &str, held: &Held) -> Result<String, HostError> {
        let mut inner = locked(&self.0);
        inner.serial += 1;
        let serial = inner.serial;
        let id = timer.id.clone().unwrap_or_else(|| format!("timer-{serial}"));
        let before = inner.timers.get(&id);
        match before {
            Some(running) if timer.repeats && running.timer == timer => return Ok(id),
            None if inner.timers.len() >= MAX_TIMERS => {
                let message = format!("the module has {MAX_TIMERS} timers, {TIMERS_FULL}");
                return Err(HostError::new(HostErrorKind::Overloaded, message));
            }
            _ => {}
        }
        let due = inner.passed.saturating_add(millis(&timer));
        let running = Running { serial, due, publisher: publisher.to_owned(), timer };
        held.swap("timers", before.map_or(0, Running::size), running.size())?;
        inner.timers.insert(id.clone(), running);
        Ok(id)
    }

    fn cancel(&self, id: &str, held: &Held) -> bool {
        let running = locked(&self.0).timers.remove(id);
        running.inspect(|running| held.free(running.size())).is_some()
    }
}

fn millis(timer: &Timer) -> u64 {
    u64::try_from(timer.every.as_millis()).unwrap_or(u64::MAX)
}

/// The slot of the module, for its VM and for the test's.
pub(super) struct TestResidence(pub(super) Arc<State>);

impl TestResidence {
    /// One that nobody waits for but `waiting`. Whoever sends it, nobody signed in stands behind it.
    fn message(actor: &ActorSpec, message: Value, call: &CallContext, waiting: &[Arc<str>]) -> Message {
        let link = format!("{}/{}", call.module, actor.id).into();
        let chain = waiting.iter().cloned().chain([link]).collect();
        Message { actor: actor.id.clone(), message, call: CallContext { principal: None, chain, ..call.clone() } }
    }

    /// Calls an actor after what was sent to it before, but not after what follows from that.
    fn in_turn(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError> {
        self.0.actors.free(&actor.id)?;
        for _ in 0..self.0.deliveries.mailbox(&actor.id) {
            if Instant::now() >= call.deadline {
                return Err(late(&actor.id));
            }
            let Some(earlier) = self.0.deliveries.message(&actor.id, &self.0.held) else { break };
            self.0.actors.handle(earlier);
        }
        self.0.actors.call(Self::message(actor, message, call, &call.chain))
    }
}

impl Residents for TestResidence {
    fn open(&self, _: &Arc<Live>, _: Arc<Account>) -> Arc<dyn Residence> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl Residence for TestResidence {
    fn send(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<(), HostError> {
        let name = format!("actors.send {}", actor.id);
        if self.0.stand_in(&name).is_some() {
            return StandIns(Arc::clone(&self.0)).answer("actors.send", &name, message, call.deadline).map(|_| ());
        }
        if self.0.deliveries.mailbox(&actor.id) >= actor.mailbox {
            let message = format!("actors.send: {}: {MAILBOX_FULL}, with {} messages", actor.id, actor.mailbox);
            return Err(HostError::new(HostErrorKind::Overloaded, message));
        }
        let waiting = Waiting::Message(Self::message(actor, message, call, &[]));
        self.0.deliveries.push("actors.send", waiting, &self.0.held)
    }

    async fn call(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError> {
        let name = format!("actors.call {}", actor.id);
        if self.0.stand_in(&name).is_some() {
            return StandIns(Arc::clone(&self.0)).answer("actors.call", &name, message, call.deadline);
        }
        let answer = self.in_turn(actor, message, call);
        // where the test itself calls, no other function of it was led to what has failed
        let is_test = !IN_MODULE.get() && call.chain.is_empty() && !self.0.is_asked();
        let failure = if is_test { self.0.actors.take_failure() } else { None };
        failure.map_or(answer, Err)
    }

    fn publish(&self, topic: &str, payload: Value, call: &CallContext) {
        let publisher = call.module.to_string();
        let (topic, hops) = (topic.to_owned(), call.hops.saturating_add(1));
        let delivery = Delivery { topic, payload, publisher, hops, must_be_heard: false };
        self.0.deliveries.publish(delivery, &self.0.held);
    }

    fn set_timer(&self, timer: Timer, call: &CallContext) -> Result<String, HostError> {
        self.0.deliveries.set(timer, &call.module, &self.0.held)
    }

    fn cancel_timer(&self, id: &str, _: &CallContext) -> bool {
        self.0.deliveries.cancel(id, &self.0.held)
    }
}
