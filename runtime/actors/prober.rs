//! Asks a module for its health at intervals and keeps the newest answer where reads find it.
//!
//! A question is a call like any other: it waits in the queue, wakes a worker where none is awake, and an interval
//! shorter than the time after which idle threads park keeps one VM alive. That is what the manifest asked for: `health`
//! is answered by the VM that serves, and a VM made for each question would run `init` each time. Without checks in the
//! manifest the interval is longer, and an idle module shrinks to nothing between two questions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use replug_scripts::{Handler, Value};
use tokio::task::AbortHandle;

use super::error::CallError;
use super::instance::Instance;
use crate::monitor::health::Report;
use crate::monitor::{Event, Events, HealthStatus};

/// Where the manifest names no check: how long `health` may take and how often it is asked.
const TIMEOUT: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(30);

/// What a prober can be told.
pub enum ProberMsg {
    /// It is time to ask.
    Probe,
    /// What the module answered.
    Answered(Result<Value, CallError>),
}

/// The actor.
pub struct Prober {
    /// Where changes are reported.
    pub events: Events,
}

/// The actor's state.
pub struct State {
    instance: Arc<Instance>,
    /// The question that is out, or the wait for the first or the next. Both are beside the mailbox, so that a prober can stop while
    /// a module is slow, and takes them with it.
    pending: Option<AbortHandle>,
}

impl State {
    fn give_up(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.abort();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[ractor::async_trait]
impl Actor for Prober {
    type Msg = ProberMsg;
    type State = State;
    type Arguments = Arc<Instance>;

    async fn pre_start(
        &self,
        myself: ActorRef<ProberMsg>,
        instance: Arc<Instance>,
    ) -> Result<State, ActorProcessingErr> {
        if !instance.exports().has(&Handler::Health) {
            return Ok(State { instance, pending: None });
        }
        let waiting = Arc::clone(&instance);
        let first = tokio::spawn(async move {
            // before that its tables may not be there yet; the activation judges it itself
            waiting.serving().await;
            let _ = myself.send_message(ProberMsg::Probe);
        });
        Ok(State { instance, pending: Some(first.abort_handle()) })
    }

    async fn handle(
        &self,
        myself: ActorRef<ProberMsg>,
        message: ProberMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let checks = &state.instance.manifest.lifecycle.activation.health_checks;
        match message {
            ProberMsg::Probe => {
                let timeout = checks.iter().map(|check| check.timeout).min().unwrap_or(TIMEOUT);
                let instance = Arc::clone(&state.instance);
                let asking = tokio::spawn(async move {
                    let call = instance.context("health", timeout);
                    let answer = instance.call(Handler::Health, Vec::new(), call).await;
                    // a prober that is gone does not want to know
                    let _ = myself.send_message(ProberMsg::Answered(answer));
                });
                state.pending = Some(asking.abort_handle());
            }
            ProberMsg::Answered(answer) => {
                self.report(&state.instance, answer);
                // only now: questions neither overlap nor pile up, however slow the answers are
                let interval = checks.iter().map(|check| check.interval).min().unwrap_or(INTERVAL);
                state.pending = Some(myself.send_after(interval, || ProberMsg::Probe).abort_handle());
            }
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ProberMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // at once: ractor hands the state to the supervisor, which drops it when it comes to that
        state.give_up();
        Ok(())
    }
}

impl Prober {
    fn report(&self, instance: &Instance, answer: Result<Value, CallError>) {
        let (status, detail) = match answer {
            Ok(answer) => read(&answer),
            // a module that goes away is not ill, and a full queue says nothing about health
            Err(CallError::Closed(_) | CallError::Overloaded { .. }) => return,
            Err(error) => (HealthStatus::Unhealthy, error.to_string()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let last_check = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if instance.health.set(Report { status, detail: detail.clone(), last_check }) {
            self.events.emit(Event::HealthChanged { instance: instance.key.clone(), status, detail });
        }
    }
}

/// `{status, detail?}`, a bare status, or a truth value; nothing at all means healthy.
#[must_use]
pub fn read(answer: &Value) -> (HealthStatus, String) {
    let status = match answer {
        Value::Null | Value::Bool(true) => HealthStatus::Healthy,
        Value::Text(name) => HealthStatus::parse(name),
        Value::Map(map) => match map.get("status").and_then(Value::as_str) {
            Some(name) => HealthStatus::parse(name),
            None => return (HealthStatus::Unhealthy, "health answered a map without a status".to_owned()),
        },
        _ => HealthStatus::Unhealthy,
    };
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    (status, detail.to_owned())
}
