//! The hot-plug engine: brings versions into service, replaces them, and takes them out, one command a module at a time.
//!
//! | file | what it knows |
//! |---|---|
//! | [`state`] | the states of an instance and the one transition function |
//! | [`plan`] | commands as values: steps, changes, and their inverses |
//! | [`strategy`] | the steps of both strategies |
//! | [`traffic`], [`analysis`] | how traffic moves to a candidate, and whether it is well |
//! | `validate` | what can be known before anything is changed |
//! | `apply` | carries changes out through the [`ports`] |
//! | `forecast`, `refusals` | what a command would do, and what it would be refused for |
//! | `activate`, `through`, `rollback`, `confirm`, `deactivate`, `unregister`, `retire` | the commands |
//! | `sets` | several modules that take over, are confirmed, and return as one |
//! | `coordinator` | the one actor that changes slots and states |
//! | `steer` | shifts that somebody pauses, moves on or gives up |
//! | `lanes` | one command a module at a time, and which of those that wait end a shift |
//! | `choosing` | which of several providers of a capability is called |
//! | `quarantine` | versions that brought the process down |
//! | `jump` | ways by several versions that the end of a runtime cut off |
//! | `board`, `record` | what is now, for readers; what outlives the process |
//! | `retell` | what the audit log tells, for a store that is made anew |

pub mod analysis;
pub mod error;
pub mod outcome;
pub mod plan;
pub mod ports;
pub(crate) mod retell;
pub mod slots;
pub mod state;
pub mod strategy;
pub mod traffic;
pub mod validate;

mod activate;
mod activation;
mod apply;
mod attempt;
mod board;
mod choosing;
mod commit;
mod confirm;
mod coordinator;
mod deactivate;
mod evaluate;
mod farewell;
mod forecast;
mod instances;
mod journal;
mod jump;
mod lanes;
mod probe;
mod quarantine;
mod record;
mod recovery;
mod refusals;
mod resume;
mod retire;
mod returning;
mod rollback;
mod sets;
mod shared;
mod shift;
mod steer;
mod stop;
mod through;
mod undo;
mod unregister;
mod vigil;
mod window;

use std::sync::Arc;
use std::time::Instant;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorRef};
use semver::Version;
use tokio::sync::{SetOnce, oneshot};

pub use choosing::{CapabilityView, ConsumerView, InterfaceView, ProviderView, RequirementView};
pub use error::EngineError;
pub use evaluate::Evaluated;
pub use forecast::{Forecast, ForecastMirror, ForecastStep, Touched};
pub use outcome::{
    ActivationReport, ConfirmReport, DeactivationReport, FailedFarewell, HistoryEntry, HistoryStep, NotServing,
    Outcome, ShiftReport, StepOutcome, StepReport,
};
#[cfg(test)]
pub(crate) use probe::{Act, Probe, When};
pub use slots::{CandidateView, HealthView, InstanceHealth, SlotView, VersionState};
pub use state::State;
pub use steer::{Order, SteerReport};
#[cfg(all(test, feature = "lua", feature = "rhai", feature = "http", feature = "sqlite"))]
pub(crate) use tests::expected;
pub use through::{Impassable, NoWay};

use crate::actors::Router;
use crate::actors::gate::{Gate, Pass};
use crate::actors::modules::ModulesMsg;
use crate::manifest::ActivationStrategy;
use crate::monitor::{Events, InstanceKey, Metrics};
use crate::registry::Registry;
use crate::registry::resolver::Running;
use crate::sandbox::{PermissionManager, Supplies};
use crate::store::Store;
use crate::store::audit::{AuditLog, By, Kind, Who};
use activation::{Command, Done, Reply};
use coordinator::{Coordinator, Message};
use ports::{Binding, Migrator};
use shared::Shared;

/// What an engine works with.
pub struct Parts {
    /// The definitions.
    pub registry: Registry,
    /// Where slots are kept.
    pub store: Store,
    /// Where it is written what was done.
    pub audit: AuditLog,
    /// What requests read.
    pub router: Arc<Router>,
    /// Where events go.
    pub events: Events,
    /// Where it counts.
    pub metrics: Metrics,
    /// The integrations, in the order in which they prepare.
    pub bindings: Vec<Arc<dyn Binding>>,
    /// The modules' schemas; none in a build without databases.
    pub migrator: Option<Arc<dyn Migrator>>,
    /// What the scripts' host functions work with.
    pub supplies: Supplies,
    /// The supervisor of instances.
    pub modules: ActorRef<ModulesMsg>,
    /// The places at which tests can make it fail.
    #[cfg(test)]
    pub(crate) probe: Arc<Probe>,
}

/// A handle on the engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    coordinator: ActorRef<Message>,
    /// Counts the commands that run; closed when the engine stops.
    commands: Arc<Gate>,
    /// Who gives commands by this handle.
    by: By,
}

impl Engine {
    /// Starts the engine, supervised by `supervisor`. Nothing is started of what served before: see [`Engine::resume`].
    ///
    /// # Errors
    /// The records cannot be read, or the actor does not start.
    pub async fn start(parts: Parts, supervisor: ActorCell) -> Result<Self, EngineError> {
        let records = record::Records::new(parts.store);
        let reading = records.clone();
        let kept = tokio::task::spawn_blocking(move || reading.all()).await;
        let snapshot = parts.registry.snapshot();
        let is_registered = |id: &str, version: &Version| {
            let broken = || snapshot.problems.iter().any(|problem| problem.id == id && problem.version == *version);
            snapshot.get(id, version).is_some() || broken()
        };
        let kept = kept.map_err(|error| EngineError::Internal(error.to_string()))??.of_registered(is_registered);
        let hands = apply::Hands {
            bindings: parts.bindings,
            migrator: parts.migrator,
            supplies: parts.supplies,
            modules: parts.modules,
            metrics: parts.metrics.clone(),
            instances: instances::Instances::default(),
            #[cfg(test)]
            probe: Arc::clone(&parts.probe),
        };
        let kept =
            resume::recover(kept, &records, &snapshot, &hands, (&parts.events, &parts.audit), shared::now()).await?;
        let shared = Arc::new(Shared {
            registry: parts.registry,
            records,
            audit: parts.audit,
            board: board::Board::new(kept),
            router: parts.router,
            events: parts.events,
            metrics: parts.metrics,
            hands,
            helms: steer::Helms::default(),
            drains: Arc::default(),
            stopping: SetOnce::new(),
            #[cfg(test)]
            probe: parts.probe,
        });
        let choices = choosing::kept(shared.records.choices()?);
        let chosen = shared.router.choosing(choices).map_err(|taken| EngineError::Internal(taken.to_string()))?;
        shared.router.store(chosen);
        let actor = Coordinator { shared: Arc::clone(&shared) };
        let (coordinator, _) = Coordinator::spawn_linked(None, actor, (), supervisor)
            .await
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(Self { shared, coordinator, commands: Arc::default(), by: Who::Runtime.into() })
    }

    /// A handle by which others give commands: the audit log names them.
    #[must_use]
    pub fn by(&self, by: impl Into<By>) -> Self {
        Self { by: by.into(), ..self.clone() }
    }

    /// The same handle for the request of this id.
    #[must_use]
    pub fn asked_in(&self, request: &Arc<str>) -> Self {
        self.by(self.by.clone().asked_in(Arc::clone(request)))
    }

    /// Brings `id@version` into service by its manifest's strategy, or by `strategy`. Returns once it serves, or once
    /// what was done is taken back.
    ///
    /// # Errors
    /// The command is refused and nothing was changed: see [`EngineError`].
    pub async fn activate(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        self.activated(Command::Activate { id: id.to_owned(), version: version.clone(), strategy }).await
    }

    /// Brings versions of several modules into service as one: all of them take over by one switch, without a shift, once each is
    /// ready; they are confirmed as one, and return as one. Each has the steps of its manifest's strategy, or of `strategy`. What
    /// serves already is left as it is. The report is about the first of `members`, with the others in it.
    ///
    /// # Errors
    /// The command is refused and nothing was changed: see [`EngineError`].
    pub async fn activate_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        let (lead, members) = sets::named(members)?;
        self.activated(Command::Together { lead, members, strategy }).await
    }

    /// Takes the module out of service and stops it. A version whose traffic is being shifted gives up for it.
    ///
    /// # Errors
    /// Nothing serves, or running modules need it.
    pub async fn deactivate(&self, id: &str) -> Result<DeactivationReport, EngineError> {
        match self.run(Command::Deactivate { id: id.to_owned() }).await? {
            Done::Deactivated(report) => Ok(report),
            other => Err(EngineError::Internal(format!("deactivate came to {other:?}"))),
        }
    }

    /// Returns to the version on standby, or to `to`. While a newer version is on its way that one gives up instead, and what
    /// serves stays.
    ///
    /// # Errors
    /// Nothing serves, or there is nothing to return to.
    pub async fn rollback(&self, id: &str, to: Option<&Version>) -> Result<ActivationReport, EngineError> {
        self.activated(Command::Rollback { id: id.to_owned(), to: to.cloned(), of: None }).await
    }

    /// Confirms the version that serves provisionally: from now on it is what a restart starts.
    ///
    /// # Errors
    /// Nothing serves.
    pub async fn confirm(&self, id: &str) -> Result<ConfirmReport, EngineError> {
        let Some(_running) = Pass::enter(Arc::clone(&self.commands)) else { return Err(EngineError::Stopped) };
        let (module, by) = (id.to_owned(), self.by.clone());
        let answer = match self.coordinator.call(|reply| Message::Confirm(module, None, by, reply), None).await {
            Ok(CallResult::Success(answer)) => answer,
            _ => Err(EngineError::Stopped),
        };
        if let Err(error) = &answer {
            self.shared.refused(Kind::CommandRefused, &self.by, id.to_owned(), ("confirm", error)).await;
        }
        answer
    }

    /// What was done to a module, newest first, at most `limit` entries.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryEntry>, EngineError> {
        let (records, id) = (self.shared.records.clone(), id.to_owned());
        let read = tokio::task::spawn_blocking(move || records.newest(&id, limit)).await;
        let entries = read.map_err(|error| EngineError::Internal(error.to_string()))??;
        Ok(entries.iter().map(journal::Entry::told).collect())
    }

    /// Forgets versions of a module that do not run: `version`, or all of them. Returns which. What drains is waited for, at
    /// most 20 s.
    ///
    /// # Errors
    /// One of them runs, or others need it; nothing is forgotten then.
    pub async fn unregister(&self, id: &str, version: Option<&Version>) -> Result<Vec<Version>, EngineError> {
        let deadline = tokio::time::Instant::now() + unregister::PATIENCE;
        loop {
            match self.run(Command::Unregister { id: id.to_owned(), version: version.cloned() }).await {
                // it is waited for outside the lane, where other commands of the module have their turn
                Err(EngineError::Runs { state: State::Draining, .. })
                    if unregister::drained(&self.shared, id, version, deadline).await => {}
                Ok(Done::Unregistered(versions)) => return Ok(versions),
                Ok(other) => return Err(EngineError::Internal(format!("unregister came to {other:?}"))),
                Err(error) => return Err(error),
            }
        }
    }

    /// The registered versions of a module, ascending.
    #[must_use]
    pub fn registered(&self, id: &str) -> Vec<Version> {
        self.shared.registry.snapshot().versions(id).cloned().collect()
    }

    /// The version of each module that serves, confirmed or not, also where it does so only because its rollback failed.
    #[must_use]
    pub fn running(&self) -> Running {
        self.shared.board.placed().running
    }

    /// The slots of this moment, by module id.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotView> {
        self.shared.board.views(&self.shared.router, &self.shared.helms)
    }

    /// The version of a module that serves, or that the start serves again.
    #[must_use]
    pub fn serving(&self, id: &str) -> Option<Version> {
        let board::Slot { state, record, .. } = self.shared.board.slot(id);
        let running = state.serving.as_ref().and_then(board::version_of);
        running.or_else(|| record.and_then(|record| record.serving))
    }

    /// The health of each module that serves, as its checks found it last, by module id.
    #[must_use]
    pub fn health(&self) -> Vec<HealthView> {
        let of = |key: &InstanceKey| {
            let instance = self.shared.hands.instances.instance(key)?;
            instance.has_come_up().then(|| InstanceHealth::of(&instance))
        };
        let slots = self.shared.board.slots();
        let views = slots.iter().filter_map(|(id, slot)| {
            let serving = slot.state.serving.as_ref()?;
            let candidate = slot.candidate.as_ref().filter(|key| *key != serving).and_then(of);
            Some(HealthView { id: id.clone(), serving: of(serving)?, candidate })
        });
        views.collect()
    }

    /// The state of a version; `registered` for one that was never activated.
    #[must_use]
    pub fn state(&self, id: &str, version: &Version) -> VersionState {
        self.shared.board.state(id, version)
    }

    /// What modules may reach.
    #[must_use]
    pub fn permissions(&self) -> &PermissionManager {
        &self.shared.hands.supplies.permissions
    }

    /// Where it is written what was done.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.shared.audit
    }

    /// Whether the module has a slot: a version of it served, failed, or was deactivated.
    #[must_use]
    pub fn has_slot(&self, id: &str) -> bool {
        self.shared.board.slots().get(id).is_some_and(|slot| slot.record.is_some())
    }

    async fn activated(&self, command: Command) -> Result<ActivationReport, EngineError> {
        match self.run(command).await? {
            Done::Activated(report) => Ok(report),
            other => Err(EngineError::Internal(format!("an activation came to {other:?}"))),
        }
    }

    async fn run(&self, command: Command) -> Result<Done, EngineError> {
        let Some(_running) = Pass::enter(Arc::clone(&self.commands)) else { return Err(EngineError::Stopped) };
        let (reply, answer) = oneshot::channel();
        self.coordinator
            .send_message(Message::Run(command, Reply { to: reply, by: self.by.clone(), since: Instant::now() }))
            .map_err(|_| EngineError::Stopped)?;
        answer.await.unwrap_or_else(|_| {
            Err(EngineError::Internal("the command ended without an answer; look at the log".to_owned()))
        })
    }
}

#[cfg(all(test, feature = "lua"))]
mod tests;
