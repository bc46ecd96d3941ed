//! The supervisor of all instances: it starts and stops their trees and says when one gave up.
//!
//! A tree that exceeded its intensity raises a critical error and is started again after a pause, so that a module
//! whose crashes were an accident serves again without a person. The queue outlives its tree: what waits, waits on,
//! each call until its own deadline.
//!
//! | state of an instance | event → next |
//! |---|---|
//! | new | start → runs, or nothing is left of it |
//! | runs | its tree gives up → paused · stop → stopped |
//! | paused | the pause is over → runs, or paused longer · stop → stopped |
//! | stopped | anything → stopped |

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::error::StartError;
use super::instance::{Instance, Lane};
use super::intensity::Intensity;
use super::prober::Prober;
use super::spec::{ChildSpec, Restart};
use super::supervisor::{Plan, Supervisor, SupervisorMsg, clock};
use super::worker::Worker;
use crate::monitor::{Event, Events};

/// How long a child may take to stop.
const CHILD_SHUTDOWN: Duration = Duration::from_secs(2);
/// The pause before a tree that gave up is started again; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A tree that ran this long before it gave up starts again after the first pause.
const LONG_RUN: Duration = Duration::from_secs(120);

/// What the supervisor of all instances can be told.
pub enum ModulesMsg {
    /// Start the tree of an instance. A start that fails half-way leaves nothing running.
    Start(Arc<Instance>, RpcReplyPort<Result<(), StartError>>),
    /// Start a tree that gave up so often again, unless it was stopped or forgotten meanwhile.
    Again(Weak<Instance>, u32),
    /// Stop the tree of an instance: its children last first, then itself. What waits in its queue is answered, and the
    /// reply comes when its threads have ended, or after two seconds: a script that still runs then is left to its limits.
    Stop(Arc<Instance>, RpcReplyPort<()>),
}

/// The actor.
pub struct ModulesSupervisor {
    /// Where failures are reported.
    pub events: Events,
}

/// The actor's state: the trees that run, by actor.
#[derive(Default)]
pub struct State {
    trees: HashMap<ActorId, Tree>,
}

struct Tree {
    actor: ActorRef<SupervisorMsg>,
    instance: Arc<Instance>,
    /// How often it gave up.
    given_up: u32,
    since: Instant,
}

#[ractor::async_trait]
impl Actor for ModulesSupervisor {
    type Msg = ModulesMsg;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ModulesMsg>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<ModulesMsg>,
        message: ModulesMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ModulesMsg::Start(instance, reply) => {
                let started = self.start(&myself, instance, 0, state).await;
                let _ = reply.send(started);
            }
            ModulesMsg::Again(instance, given_up) => {
                let Some(instance) = instance.upgrade() else { return Ok(()) };
                if instance.pool.is_closed() {
                    return Ok(());
                }
                if let Err(error) = self.start(&myself, Arc::clone(&instance), given_up, state).await {
                    self.pause(&myself, instance, given_up, &error.to_string());
                }
            }
            ModulesMsg::Stop(instance, reply) => {
                instance.shut();
                // who could wait for it has waited, or is cut off
                instance.halt();
                let found = state.trees.iter().find(|(_, tree)| Arc::ptr_eq(&tree.instance, &instance));
                let found = found.map(|(id, tree)| (*id, tree.actor.clone()));
                let actor = found.map(|(id, actor)| {
                    state.trees.remove(&id);
                    actor
                });
                // apart from this mailbox: other modules start and stop meanwhile
                tokio::spawn(async move {
                    if let Some(actor) = actor {
                        let workers = instance.workers(Lane::Requests) + instance.workers(Lane::Aside);
                        shut_down(&actor, workers).await;
                    }
                    if tokio::time::timeout(CHILD_SHUTDOWN, instance.threads_ended()).await.is_err() {
                        let what = "a script still runs after its module was stopped";
                        tracing::warn!(instance = %instance.key, what);
                        if let Some(live) = instance.quotas().teller() {
                            live.worker_failed("thread", what);
                        }
                    }
                    let _ = reply.send(());
                });
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ModulesMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => (cell, reason.unwrap_or_default()),
            _ => return Ok(()),
        };
        // a tree that was stopped on purpose is no longer listed
        if let Some(tree) = state.trees.remove(&cell.get_id()) {
            let given_up = if tree.since.elapsed() < LONG_RUN { tree.given_up } else { 0 };
            self.pause(&myself, tree.instance, given_up, &reason);
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<ModulesMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // ractor kills the trees; nothing would serve what waits
        for tree in state.trees.values() {
            tree.instance.shut();
        }
        Ok(())
    }
}

/// Stops a tree in order; kills it when that takes longer than its children may.
async fn shut_down(tree: &ActorRef<SupervisorMsg>, workers: usize) {
    let children = u32::try_from(workers).unwrap_or(u32::MAX).saturating_add(1);
    let asked = tree.call(SupervisorMsg::Shutdown, Some(CHILD_SHUTDOWN.saturating_mul(children))).await;
    if !matches!(asked, Ok(ractor::rpc::CallResult::Success(()))) {
        let _ = tree.kill_and_wait(Some(CHILD_SHUTDOWN)).await;
    }
}

/// How long a tree that has given up so often before stays down.
fn pause(given_up: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << given_up.min(10)).min(LONGEST_PAUSE)
}

impl ModulesSupervisor {
    async fn start(
        &self,
        myself: &ActorRef<ModulesMsg>,
        instance: Arc<Instance>,
        given_up: u32,
        state: &mut State,
    ) -> Result<(), StartError> {
        let fault = |message: String| StartError::Actors { module: instance.key.to_string(), message };
        if instance.pool.is_closed() {
            return Err(fault("it was stopped".to_owned()));
        }
        let plan = self.plan(&instance);
        let (actor, _) = Supervisor::spawn_linked(None, Supervisor, plan, myself.get_cell())
            .await
            .map_err(|error| fault(error.to_string()))?;
        instance.gives_up(None);
        state.trees.insert(actor.get_id(), Tree { actor, instance, given_up, since: Instant::now() });
        Ok(())
    }

    fn pause(&self, myself: &ActorRef<ModulesMsg>, instance: Arc<Instance>, given_up: u32, reason: &str) {
        if let Some(live) = instance.quotas().teller() {
            live.gave_up(u64::from(instance.manifest.runtime.supervision.intensity), reason);
        }
        // before it is told: who missed that looks here
        instance.gives_up(Some(reason));
        self.events.emit(Event::CriticalError { instance: instance.key.clone(), reason: reason.to_owned() });
        // weak: a pause keeps nothing alive that was stopped in it
        let instance = Arc::downgrade(&instance);
        myself.send_after(pause(given_up), move || ModulesMsg::Again(instance, given_up.saturating_add(1)));
    }

    /// The children of an instance and the rules of its manifest.
    fn plan(&self, instance: &Arc<Instance>) -> Plan {
        let supervision = &instance.manifest.runtime.supervision;
        let workers = |lane, name: &'static str| {
            (0..instance.workers(lane)).map(move |n| {
                child(format!("{name}-{n}"), instance, move |instance, supervisor| async move {
                    Ok(Worker::spawn_linked(None, Worker(lane), instance, supervisor).await?.0.get_cell())
                })
            })
        };
        let mut children: Vec<ChildSpec> =
            workers(Lane::Requests, "worker").chain(workers(Lane::Aside, "aside")).collect();
        let events = self.events.clone();
        children.push(child("prober".to_owned(), instance, move |instance, supervisor| {
            let events = events.clone();
            async move { Ok(Prober::spawn_linked(None, Prober { events }, instance, supervisor).await?.0.get_cell()) }
        }));
        let (events, key, restarts) = (self.events.clone(), instance.key.clone(), instance.metrics.restarts.clone());
        let quotas = instance.quotas().clone();
        Plan {
            clock: clock(),
            children,
            strategy: supervision.strategy.into(),
            intensity: Intensity { intensity: supervision.intensity, period: supervision.period },
            on_failure: Box::new(move |child, reason| {
                restarts.inc();
                if let Some(live) = quotas.teller() {
                    live.worker_failed(child, reason);
                }
                events.emit(Event::WorkerFailed {
                    instance: key.clone(),
                    child: child.to_owned(),
                    reason: reason.to_owned(),
                });
            }),
        }
    }
}

fn child<F, Fut>(id: String, instance: &Arc<Instance>, start: F) -> ChildSpec
where
    F: Fn(Arc<Instance>, ActorCell) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ActorCell, ractor::SpawnErr>> + Send + 'static,
{
    let instance = Arc::clone(instance);
    ChildSpec {
        id,
        start: Arc::new(move |supervisor| Box::pin(start(Arc::clone(&instance), supervisor))),
        restart: Restart::Permanent,
        shutdown: CHILD_SHUTDOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let pauses: Vec<u64> = [0, 1, 2, 4, 5, 6, u32::MAX].into_iter().map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 16, 30, 30, 30]);
    }
}
