//! What can be done with the children of a supervisor that runs: OTP's `terminate_child`, `restart_child`, `delete_child`,
//! `start_child` and `count_children`.

use ractor::ActorRef;

use super::{State, SupervisorMsg, stop_all};
use crate::actors::spec::{ChildSpec, Restart, Strategy};

/// What to do with a child.
#[derive(Debug)]
pub enum ChildOrder {
    /// Start one more, after those that are there.
    Add(ChildSpec),
    /// Stop it within its time. It does not come back by itself, unless it goes up together with one that failed; a temporary
    /// child is gone for good.
    Terminate(String),
    /// Start one that was terminated, or that ended for good.
    Restart(String),
    /// Forget one that does not run.
    Delete(String),
}

/// Why an order was not carried out; nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no child of that id.
    #[error("there is no child {0}")]
    Unknown(String),
    /// There is one of that id already.
    #[error("there is a child {0} already")]
    Taken(String),
    /// It runs.
    #[error("child {0} runs")]
    Runs(String),
    /// Its start, or that of others, is planned.
    #[error("child {0} is being restarted")]
    Restarts(String),
    /// It does not start.
    #[error("child {id} does not start: {cause}")]
    Start {
        /// The child.
        id: String,
        /// Why.
        cause: String,
    },
}

/// How many children there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Those that are known.
    pub specs: usize,
    /// Those of them that run.
    pub active: usize,
}

impl Count {
    pub(super) fn of(state: &State) -> Self {
        Self { specs: state.cells.len(), active: state.cells.iter().flatten().count() }
    }
}

impl State {
    fn position(&self, id: &str) -> Result<usize, Refusal> {
        let found = self.plan.children.iter().position(|spec| spec.id == id);
        found.ok_or_else(|| Refusal::Unknown(id.to_owned()))
    }

    /// The position of a child that is down and will not come back by itself.
    fn at_rest(&self, id: &str) -> Result<usize, Refusal> {
        let position = self.position(id)?;
        match &self.cells[position] {
            Some(_) => Err(Refusal::Runs(id.to_owned())),
            // plans name positions, so none may be open while these change
            None if self.plans > 0 && !self.held[position] => Err(Refusal::Restarts(id.to_owned())),
            // what it rests on is not up yet
            None if self.waits(position) => Err(Refusal::Restarts(id.to_owned())),
            None => Ok(position),
        }
    }

    /// Whether a child goes up with others whose start is planned.
    fn waits(&self, position: usize) -> bool {
        self.plan.strategy != Strategy::OneForOne && self.planned.is_some_and(|first| position >= first)
    }

    /// Forgets the temporary children that ended, since nothing starts them again. Plans name positions, so none may be open.
    pub(super) fn forget_temporary(&mut self) {
        if self.plans > 0 {
            return;
        }
        for position in (0..self.cells.len()).rev() {
            if self.cells[position].is_none() && self.plan.children[position].restart == Restart::Temporary {
                self.remove(position);
            }
        }
    }

    fn remove(&mut self, position: usize) {
        self.plan.children.remove(position);
        self.cells.remove(position);
        self.held.remove(position);
    }
}

/// Carries an order out.
pub(super) async fn carry_out(
    myself: &ActorRef<SupervisorMsg>,
    state: &mut State,
    order: ChildOrder,
) -> Result<(), Refusal> {
    match order {
        ChildOrder::Add(spec) => {
            if state.position(&spec.id).is_ok() {
                return Err(Refusal::Taken(spec.id));
            }
            let started = (spec.start)(myself.get_cell()).await;
            let cell = started.map_err(|error| Refusal::Start { id: spec.id.clone(), cause: error.to_string() })?;
            state.plan.children.push(spec);
            state.cells.push(Some(cell));
            state.held.push(false);
            Ok(())
        }
        ChildOrder::Terminate(id) => {
            let position = state.position(&id)?;
            let (spec, cell) = (&state.plan.children[position..=position], &mut state.cells[position..=position]);
            stop_all(spec, cell).await;
            state.held[position] = true;
            state.forget_temporary();
            Ok(())
        }
        ChildOrder::Restart(id) => {
            let position = state.at_rest(&id)?;
            let started = (state.plan.children[position].start)(myself.get_cell()).await;
            let cell = started.map_err(|error| Refusal::Start { id, cause: error.to_string() })?;
            (state.cells[position], state.held[position]) = (Some(cell), false);
            Ok(())
        }
        ChildOrder::Delete(id) => {
            let position = state.at_rest(&id)?;
            if state.plans > 0 {
                return Err(Refusal::Restarts(id));
            }
            state.remove(position);
            Ok(())
        }
    }
}
