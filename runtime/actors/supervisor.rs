//! A supervisor: starts its children in order, restarts them by its strategy, gives up when they fail too often.
//!
//! | state of a child | event → next |
//! |---|---|
//! | runs | ends and is not restarted → down for good · ends otherwise → planned, with those that its strategy names |
//! | planned | its wait is over → starts · one before it fails → planned anew, with that one |
//! | starts | → runs · does not start → counts as a failure, planned |
//! | any | more failures than the intensity allows, shutdown → stopped, last first |
//! | any | terminate → held · restart of one that is held → runs · delete of one that is held → gone |
//! | held | one with which it goes up fails → planned, with that one |
//!
//! When it gives up it stops its children as for a shutdown and fails itself, and its own supervisor hears of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

mod children;

pub use children::{ChildOrder, Count, Refusal};

use super::intensity::{Decision, Intensity, RestartWindow};
use super::spec::{ChildSpec, Restart, Strategy};

/// Called with the child's id and the reason when a child failed and will be started again.
pub type OnFailure = Box<dyn Fn(&str, &str) + Send + Sync>;

/// The time since any fixed moment, never decreasing.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A clock that begins now.
#[must_use]
pub fn clock() -> Clock {
    let since = Instant::now();
    Arc::new(move || since.elapsed())
}

/// What a supervisor needs to know.
pub struct Plan {
    /// The children in start order.
    pub children: Vec<ChildSpec>,
    /// Who goes down with whom.
    pub strategy: Strategy,
    /// How often children may be restarted.
    pub intensity: Intensity,
    /// Who hears of each failure.
    pub on_failure: OnFailure,
    /// What the period is measured by.
    pub clock: Clock,
}

/// What a supervisor can be told.
pub enum SupervisorMsg {
    /// Start those of the listed positions that are down; sent by the supervisor to itself, so that a shutdown gets in
    /// between tries.
    Start(Range<usize>),
    /// The ids of the children that run.
    Running(RpcReplyPort<Vec<String>>),
    /// Do something with one child, or add one.
    Child(ChildOrder, RpcReplyPort<Result<(), Refusal>>),
    /// How many children there are, and how many of them run.
    Count(RpcReplyPort<Count>),
    /// Stop the children, last first, each within its time, then end.
    Shutdown(RpcReplyPort<()>),
}

/// The actor.
pub struct Supervisor;

/// The actor's state.
pub struct State {
    plan: Plan,
    cells: Vec<Option<ActorCell>>,
    window: RestartWindow,
    /// Where children go down together: the first position of the newest plan that was not yet carried out.
    planned: Option<usize>,
    /// Which children were terminated on purpose and are not to come back by themselves.
    held: Vec<bool>,
    /// How many plans were made and not carried out yet.
    plans: usize,
}

#[ractor::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = State;
    type Arguments = Plan;

    async fn pre_start(&self, myself: ActorRef<SupervisorMsg>, plan: Plan) -> Result<State, ActorProcessingErr> {
        let mut cells = Vec::with_capacity(plan.children.len());
        for spec in &plan.children {
            match (spec.start)(myself.get_cell()).await {
                Ok(cell) => cells.push(Some(cell)),
                Err(error) => {
                    stop_all(&plan.children, &mut cells).await;
                    return Err(format!("child {} does not start: {error}", spec.id).into());
                }
            }
        }
        let (window, held) = (RestartWindow::new(plan.intensity), vec![false; cells.len()]);
        Ok(State { window, plan, cells, planned: None, held, plans: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Start(positions) => {
                state.plans = state.plans.saturating_sub(1);
                start(&myself, state, positions).await?;
                state.forget_temporary();
            }
            SupervisorMsg::Child(order, reply) => drop(reply.send(children::carry_out(&myself, state, order).await)),
            SupervisorMsg::Count(reply) => drop(reply.send(Count::of(state))),
            SupervisorMsg::Running(reply) => {
                let running = state.plan.children.iter().zip(&state.cells);
                let ids = running.filter(|(_, cell)| cell.is_some()).map(|(spec, _)| spec.id.clone()).collect();
                let _ = reply.send(ids);
            }
            SupervisorMsg::Shutdown(reply) => {
                stop_all(&state.plan.children, &mut state.cells).await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, abnormal, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, true, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                // ractor reports these two as an end like any other
                let abnormal = matches!(reason.as_deref(), Some("killed" | "actor_task_cancelled"));
                (cell, abnormal, reason.unwrap_or_default())
            }
            _ => return Ok(()),
        };
        // one that was stopped on purpose is no longer in the list
        let found = state.cells.iter().position(|c| c.as_ref().is_some_and(|c| c.get_id() == cell.get_id()));
        let Some(position) = found else { return Ok(()) };
        state.cells[position] = None;
        if state.plan.children[position].restart.applies(abnormal) {
            restart(&myself, state, position, &reason).await?;
        }
        state.forget_temporary();
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<SupervisorMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // after a shutdown there are none; after a bare stop ractor would kill them
        stop_all(&state.plan.children, &mut state.cells).await;
        Ok(())
    }
}

/// Carries out a plan: starts, in order, those of `positions` that are down.
async fn start(
    myself: &ActorRef<SupervisorMsg>,
    state: &mut State,
    positions: Range<usize>,
) -> Result<(), ActorProcessingErr> {
    if state.plan.strategy != Strategy::OneForOne {
        // a child before these has failed since: they wait for it, or they would be up before it
        if state.planned != Some(positions.start) {
            return Ok(());
        }
        state.planned = None;
    }
    for position in positions {
        // a temporary child that went down with the others stays down
        let stays = state.held[position] || state.plan.children[position].restart == Restart::Temporary;
        if state.cells[position].is_some() || stays {
            continue;
        }
        match (state.plan.children[position].start)(myself.get_cell()).await {
            Ok(cell) => state.cells[position] = Some(cell),
            Err(error) => {
                return restart(myself, state, position, &format!("does not start again: {error}")).await;
            }
        }
    }
    Ok(())
}

/// Takes down whoever goes with the child at `position` and plans their start, or fails when that was once too often.
async fn restart(
    myself: &ActorRef<SupervisorMsg>,
    state: &mut State,
    position: usize,
    reason: &str,
) -> Result<(), ActorProcessingErr> {
    let child = &state.plan.children[position].id;
    (state.plan.on_failure)(child, reason);
    match state.window.failed((state.plan.clock)()) {
        Decision::Escalate => {
            let fault = format!(
                "child {child} failed ({reason}) after {} restarts within {:?}",
                state.plan.intensity.intensity, state.plan.intensity.period
            );
            // ractor would kill them, without their last words
            stop_all(&state.plan.children, &mut state.cells).await;
            Err(fault.into())
        }
        Decision::Restart(wait) => {
            let affected = state.plan.strategy.affected(position, state.cells.len());
            let range = affected.clone();
            state.planned = Some(range.start);
            state.plans += 1;
            // whoever goes up with others comes back with them
            state.held[range.clone()].fill(false);
            stop_all(&state.plan.children[range.clone()], &mut state.cells[range]).await;
            if wait.is_zero() {
                myself.send_message(SupervisorMsg::Start(affected))?;
            } else {
                myself.send_after(wait, move || SupervisorMsg::Start(affected));
            }
            Ok(())
        }
    }
}

/// Stops children last first; one that overstays its time is killed.
async fn stop_all(specs: &[ChildSpec], cells: &mut [Option<ActorCell>]) {
    for (spec, slot) in specs.iter().zip(cells.iter_mut()).rev() {
        if let Some(cell) = slot.take()
            && cell.stop_and_wait(None, Some(spec.shutdown)).await.is_err()
        {
            let _ = cell.kill_and_wait(Some(Duration::from_secs(1))).await;
        }
    }
}

#[cfg(test)]
mod tests;
