//! What one function of a test has the module do, one thing after the other: the events that wait and the ticks that are due,
//! then what was asked for, then what follows from that.

use replug_scripts::{CallContext, Handler, HostError, HostErrorKind, Value};

use super::module::Call;
use super::residence::{Delivery, Waiting};
use super::state::State;

/// Events, ticks and messages that one function of a test may lead to.
const MOST: usize = 10_000;

/// How far a function of a test has come.
#[derive(Default)]
pub(super) struct Course {
    /// What was asked for and has not begun.
    asked: Option<(String, Call)>,
    /// What came of it.
    done: Option<Result<Value, HostError>>,
    /// Milliseconds that will have passed.
    passing: Option<u64>,
    /// What the module does now, for messages.
    pub(super) now: String,
    is_delivering: bool,
    delivered: usize,
}

/// What comes next.
pub(super) enum Next {
    /// A call of the module, as it was asked for.
    Call(Call),
    /// A handler of events, or an actor.
    Deliver(Waiting),
    /// Nothing: this came of it.
    Nothing(Result<Value, HostError>),
}

impl Course {
    /// To a call of the module.
    pub(super) fn to(what: String, call: Call) -> Self {
        Self { asked: Some((what, call)), ..Self::default() }
    }

    /// To the events that wait.
    pub(super) fn to_events() -> Self {
        Self { done: Some(Ok(Value::Null)), ..Self::default() }
    }

    /// Through so many milliseconds.
    pub(super) fn through(millis: u64, state: &State) -> Self {
        // it stands from here on
        state.clock.advance(0);
        let until = state.deliveries.passed().saturating_add(millis);
        Self { passing: Some(until), done: Some(Ok(Value::Null)), ..Self::default() }
    }

    /// Whether what ended was what was asked for, rather than an event or a tick.
    pub(super) const fn is_asked(&self) -> bool {
        !self.is_delivering
    }

    /// What the module did has ended so. What a handler of events throws is what the function throws.
    pub(super) fn ended(&mut self, outcome: Result<Value, HostError>, state: &State) {
        if !self.is_delivering {
            self.done = Some(outcome);
        } else if let Err(error) = outcome {
            state.deliveries.clear(&state.held);
            (self.asked, self.passing, self.done) = (None, None, Some(Err(error)));
        }
    }

    /// What the module does now.
    pub(super) fn next(&mut self, state: &State) -> Next {
        if let Some(waiting) = self.waiting(state) {
            self.delivered += 1;
            self.is_delivering = true;
            self.now = match &waiting {
                Waiting::Event(delivery) => Handler::Event(delivery.topic.as_str().into()).to_string(),
                Waiting::Message(message) => Handler::ActorHandle(message.actor.as_str().into()).to_string(),
            };
            if self.delivered > MOST {
                state.deliveries.clear(&state.held);
                let message = format!("{}: more than {MOST} events, ticks and messages follow from one call", self.now);
                return Next::Nothing(Err(HostError::new(HostErrorKind::Overloaded, message)));
            }
            return Next::Deliver(waiting);
        }
        self.is_delivering = false;
        if let Some((what, call)) = self.asked.take() {
            self.now = what;
            return Next::Call(call);
        }
        if let Some(until) = self.passing.take() {
            state.pass_to(until);
        }
        Next::Nothing(self.done.take().unwrap_or(Ok(Value::Null)))
    }

    fn waiting(&self, state: &State) -> Option<Waiting> {
        if let Some(waiting) = state.deliveries.next(&state.held) {
            return Some(waiting);
        }
        // a stand-in may have let more pass
        let until = self.passing.unwrap_or_default().max(state.deliveries.passed());
        let (due, tick) = state.deliveries.next_tick(until, &state.held)?;
        if self.passing.is_some() {
            state.pass_to(due);
        }
        Some(Waiting::Event(tick))
    }
}

/// The context of a delivery.
pub(super) fn context(delivery: &Delivery, call: CallContext) -> CallContext {
    CallContext { caller: Some(delivery.publisher.as_str().into()), hops: delivery.hops, ..call }
}
