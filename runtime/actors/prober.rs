//! Asks the health checks of an instance at their intervals and keeps the newest answers where reads find them.
//!
//! A question to the script is a call like any other: it waits in the queue, wakes a worker where none is awake, and an
//! interval shorter than the time after which idle threads park keeps one VM alive. That is what the manifest asked for:
//! `health` is answered by the VM that serves, and a VM made for each question would run `init` each time. Without checks in
//! the manifest the interval is longer, and an idle module shrinks to nothing between two questions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;

use super::health::schedule::{Answer, Schedule};
use super::health::{self, ask};
use super::instance::Instance;
use crate::monitor::{Event, Events};

/// What a prober can be told.
pub enum ProberMsg {
    /// It is time to ask what is due.
    Probe,
    /// What the check at this place said, and how long that took.
    Answered(usize, Answer, Duration),
}

/// The actor.
pub struct Prober {
    /// Where changes are reported.
    pub events: Events,
}

/// The actor's state.
pub struct State {
    instance: Arc<Instance>,
    schedule: Schedule,
    /// The questions that are out, by the places of their checks. They and the wait are beside the mailbox, so that a prober can
    /// stop while a module is slow, and takes them with it.
    asking: HashMap<usize, AbortHandle>,
    /// The wait for the first or the next time to ask.
    waiting: Option<AbortHandle>,
}

impl State {
    fn give_up(&mut self) {
        self.asking.drain().map(|(_, asking)| asking).chain(self.waiting.take()).for_each(|task| task.abort());
    }

    fn ask(&mut self, index: usize, myself: &ActorRef<ProberMsg>) {
        let (instance, check) = (Arc::clone(&self.instance), self.schedule.check(index).clone());
        let myself = myself.clone();
        let asking = tokio::spawn(async move {
            let (answer, took) = ask::ask(&instance, &check).await;
            // a prober that is gone does not want to know
            let _ = myself.send_message(ProberMsg::Answered(index, answer, took));
        });
        self.asking.insert(index, asking.abort_handle());
    }

    /// Waits until the next check is due, in place of whatever was waited for before.
    fn wait(&mut self, myself: &ActorRef<ProberMsg>) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        let pause = self.schedule.next().map(|next| next.saturating_duration_since(Instant::now()));
        self.waiting = pause.map(|pause| myself.send_after(pause, || ProberMsg::Probe).abort_handle());
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
        let schedule = Schedule::new(health::checks(&instance), Instant::now());
        let mut state = State { instance, schedule, asking: HashMap::new(), waiting: None };
        if state.schedule.next().is_some() {
            let instance = Arc::clone(&state.instance);
            let first = tokio::spawn(async move {
                // before that its tables may not be there yet; the activation judges it itself
                instance.serving().await;
                let _ = myself.send_message(ProberMsg::Probe);
            });
            state.waiting = Some(first.abort_handle());
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ProberMsg>,
        message: ProberMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProberMsg::Probe => {
                for index in state.schedule.take_due(Instant::now()) {
                    state.ask(index, &myself);
                }
            }
            ProberMsg::Answered(index, answer, took) => {
                state.asking.remove(&index);
                state.schedule.answered(index, answer, took, Instant::now(), health::now());
                self.publish(state);
            }
        }
        state.wait(&myself);
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ProberMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // at once: ractor hands the state to the supervisor, which drops it when it comes to that
        state.give_up();
        state.instance.metrics.unset_health();
        Ok(())
    }
}

impl Prober {
    fn publish(&self, state: &State) {
        let (instance, report) = (&state.instance, state.schedule.report());
        let (status, detail) = (report.status, report.detail());
        instance.metrics.set_health(status.gauge());
        if instance.health.set(report) {
            self.events.emit(Event::HealthChanged { instance: instance.key.clone(), status, detail });
        }
    }
}
