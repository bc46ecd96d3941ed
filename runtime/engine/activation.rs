//! An actor for one command of one module, as long as the command runs.

use std::sync::Arc;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use semver::Version;
use tokio::sync::oneshot;

use super::coordinator::{Commit, Message};
use super::outcome::{ActivationReport, DeactivationReport};
use super::shared::Shared;
use super::state::Happening;
use super::{EngineError, activate, deactivate, rollback, unregister};
use crate::manifest::ActivationStrategy;
use crate::monitor::InstanceKey;

/// A command for one module.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Bring a version into service.
    Activate {
        id: String,
        version: Version,
        strategy: Option<ActivationStrategy>,
    },
    /// Start again what served when the runtime ended.
    Resume {
        id: String,
        version: Version,
        strategy: ActivationStrategy,
    },
    Deactivate {
        id: String,
    },
    Rollback {
        id: String,
        to: Option<Version>,
    },
    Unregister {
        id: String,
        version: Option<Version>,
    },
}

impl Command {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Activate { id, .. }
            | Self::Resume { id, .. }
            | Self::Deactivate { id }
            | Self::Rollback { id, .. }
            | Self::Unregister { id, .. } => id,
        }
    }
}

/// What a command came to.
#[derive(Debug)]
pub(super) enum Done {
    Activated(ActivationReport),
    Deactivated(DeactivationReport),
    Unregistered(Vec<Version>),
}

/// Where the result goes. Dropping it unanswered tells the caller that the command died.
pub(super) struct Reply(pub(super) oneshot::Sender<Result<Done, EngineError>>);

impl Reply {
    pub(super) fn refuse(self, error: EngineError) {
        // a caller that stopped waiting is no fault
        let _ = self.0.send(Err(error));
    }
}

/// The actor.
#[derive(Clone)]
pub(super) struct Activation {
    pub(super) shared: Arc<Shared>,
    pub(super) coordinator: ActorRef<Message>,
}

/// Tells the actor to begin.
pub(super) struct Begin;

#[ractor::async_trait]
impl Actor for Activation {
    type Msg = Begin;
    type State = Option<(Command, Reply)>;
    type Arguments = (Command, Reply);

    async fn pre_start(
        &self,
        myself: ActorRef<Begin>,
        work: (Command, Reply),
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.send_message(Begin)?;
        Ok(Some(work))
    }

    async fn handle(
        &self,
        myself: ActorRef<Begin>,
        Begin: Begin,
        work: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some((command, reply)) = work.take() {
            let result = self.run(command).await;
            let _ = reply.0.send(result);
        }
        myself.stop(None);
        Ok(())
    }
}

impl Activation {
    async fn run(&self, command: Command) -> Result<Done, EngineError> {
        match command {
            Command::Activate { id, version, strategy } => {
                activate::activate(self, &id, &version, strategy).await.map(Done::Activated)
            }
            Command::Resume { id, version, strategy } => {
                activate::resume(self, &id, &version, strategy).await.map(Done::Activated)
            }
            Command::Deactivate { id } => deactivate::deactivate(self, &id).await.map(Done::Deactivated),
            Command::Rollback { id, to } => rollback::rollback(self, &id, to).await.map(Done::Activated),
            Command::Unregister { id, version } => {
                unregister::unregister(self, &id, version).await.map(Done::Unregistered)
            }
        }
    }

    /// Asks the coordinator.
    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<Result<T, EngineError>>) -> Message + Send,
    ) -> Result<T, EngineError> {
        match self.coordinator.call(message, None).await {
            Ok(CallResult::Success(answer)) => answer,
            _ => Err(EngineError::Stopped),
        }
    }

    pub(super) async fn begin(&self, id: &str, version: &Version) -> Result<InstanceKey, EngineError> {
        let (id, version) = (id.to_owned(), version.clone());
        self.ask(|reply| Message::Begin(id, version, reply)).await
    }

    pub(super) async fn happened(
        &self,
        key: &InstanceKey,
        happening: Happening,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        let key = key.clone();
        self.ask(|reply| Message::Happened(key, happening, reason, reply)).await
    }

    pub(super) async fn commit(&self, commit: Commit) -> Result<(), EngineError> {
        self.ask(|reply| Message::Commit(Box::new(commit), reply)).await
    }

    pub(super) async fn forget(&self, id: &str, versions: &[Version]) -> Result<(), EngineError> {
        let (id, versions) = (id.to_owned(), versions.to_vec());
        self.ask(|reply| Message::Forget(id, versions, reply)).await
    }
}
