//! What lives in a module's slot, as it is in a test: events, ticks of timers and messages to actors, one after the other and by
//! the test's clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::actors::Message;
use super::services::StandIns;
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

/// The events and timers of one test, and the mailboxes of its actors.
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

impl Deliveries {
    /// Notes an event that the module published, and has it delivered.
    fn publish(&self, delivery: Delivery) {
        let mut inner = locked(&self.0);
        inner.published.push((delivery.topic.clone(), delivery.payload.clone()));
        inner.pending.push_back(Waiting::Event(delivery));
    }

    /// Has it delivered.
    pub(super) fn push(&self, waiting: Waiting) {
        locked(&self.0).pending.push_back(waiting);
    }

    /// Takes the messages out that wait for an actor.
    fn messages(&self, actor: &str) -> Vec<Message> {
        let mut inner = locked(&self.0);
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for waiting in std::mem::take(&mut inner.pending) {
            match waiting {
                Waiting::Message(message) if message.actor == actor => taken.push(message),
                other => left.push_back(other),
            }
        }
        inner.pending = left;
        taken
    }

    /// How many messages wait for an actor.
    fn mailbox(&self, actor: &str) -> usize {
        let waits = |one: &&Waiting| matches!(one, Waiting::Message(message) if message.actor == actor);
        locked(&self.0).pending.iter().filter(waits).count()
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

    /// So many have passed now.
    pub(super) fn pass_to(&self, passed: u64) {
        let mut inner = locked(&self.0);
        inner.passed = inner.passed.max(passed);
    }

    /// What waits longest.
    pub(super) fn next(&self) -> Option<Waiting> {
        locked(&self.0).pending.pop_front()
    }

    /// The next tick that is due when `until` has passed, and when it is.
    pub(super) fn next_tick(&self, until: u64) -> Option<(u64, Delivery)> {
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
        }
        Some((due, delivery))
    }

    /// Nothing waits any more.
    pub(super) fn clear(&self) {
        locked(&self.0).pending.clear();
    }

    fn set(&self, timer: Timer, publisher: &str) -> Result<String, HostError> {
        let mut inner = locked(&self.0);
        inner.serial += 1;
        let serial = inner.serial;
        let id = timer.id.clone().unwrap_or_else(|| format!("timer-{serial}"));
        match inner.timers.get(&id) {
            Some(running) if timer.repeats && running.timer == timer => return Ok(id),
            None if inner.timers.len() >= MAX_TIMERS => {
                let message = format!("the module has {MAX_TIMERS} timers, {TIMERS_FULL}");
                return Err(HostError::new(HostErrorKind::Overloaded, message));
            }
            _ => {}
        }
        let due = inner.passed.saturating_add(millis(&timer));
        inner.timers.insert(id.clone(), Running { serial, due, publisher: publisher.to_owned(), timer });
        Ok(id)
    }

    fn cancel(&self, id: &str) -> bool {
        locked(&self.0).timers.remove(id).is_some()
    }
}

fn millis(timer: &Timer) -> u64 {
    u64::try_from(timer.every.as_millis()).unwrap_or(u64::MAX)
}

/// The slot of the module, for its VM and for the test's.
pub(super) struct TestResidence(pub(super) Arc<State>);

impl TestResidence {
    /// Whoever sends it, nobody signed in stands behind it.
    fn message(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Message {
        let call = CallContext { principal: None, ..call.clone() };
        Message { actor: actor.id.clone(), message, call }
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
        self.0.held.swap("actors.send", 0, ENTRY + message.size())?;
        self.0.deliveries.push(Waiting::Message(self.message(actor, message, call)));
        Ok(())
    }

    async fn call(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError> {
        let name = format!("actors.call {}", actor.id);
        if self.0.stand_in(&name).is_some() {
            return StandIns(Arc::clone(&self.0)).answer("actors.call", &name, message, call.deadline);
        }
        // what was sent before comes before
        for earlier in self.0.deliveries.messages(&actor.id) {
            self.0.actors.call(earlier)?;
        }
        self.0.actors.call(self.message(actor, message, call))
    }

    fn publish(&self, topic: &str, payload: Value, call: &CallContext) {
        let publisher = call.module.to_string();
        let (topic, hops) = (topic.to_owned(), call.hops.saturating_add(1));
        // twice: on its way, and remembered. Where there is no room the test fails, whatever its script makes of that
        if self.0.held.swap("events.publish", 0, 2 * (ENTRY + topic.len() + payload.size())).is_ok() {
            self.0.deliveries.publish(Delivery { topic, payload, publisher, hops, must_be_heard: false });
        }
    }

    fn set_timer(&self, timer: Timer, call: &CallContext) -> Result<String, HostError> {
        self.0.held.swap("timers", 0, ENTRY + timer.topic.len() + timer.payload.size())?;
        self.0.deliveries.set(timer, &call.module)
    }

    fn cancel_timer(&self, id: &str) -> bool {
        self.0.deliveries.cancel(id)
    }
}
