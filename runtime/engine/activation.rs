//! An actor for one command of one module, as long as the command runs.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::FutureExt;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use semver::Version;
use tokio::sync::{oneshot, watch};

use super::board::version_of;
use super::commit::{Commit, Committed};
use super::coordinator::Message;
use super::journal::{Action, Entry};
use super::jump::{self, Jump};
use super::lanes::{Abort, asker};
use super::outcome::{ActivationReport, ConfirmReport, DeactivationReport};
use super::shared::Shared;
use super::state::Happening;
use super::{EngineError, activate, deactivate, retire, returning, rollback, sets, unregister};
use crate::manifest::ActivationStrategy;
use crate::monitor::InstanceKey;
use crate::store::audit::{By, Kind, Who};

/// A command for one module, or for a set of them.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Bring versions of several modules into service as one. The answer is about `lead` before the others.
    Together {
        lead: String,
        members: BTreeMap<String, Version>,
        strategy: Option<ActivationStrategy>,
    },
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
        /// The version that was on its way, in or out, while it waited for its turn.
        of: Option<Version>,
    },
    /// Return from a version that is provisional, because of a trigger.
    Return {
        key: InstanceKey,
        reason: String,
        /// Its entry, where its traffic was given back already because another command was on its way.
        withdrawn: Option<Box<Entry>>,
    },
    /// Return from a confirmed version, because of a trigger. By the time it runs another version may serve, perhaps the
    /// very one that mends what was wrong.
    FallBack {
        key: InstanceKey,
        reason: String,
    },
    Unregister {
        id: String,
        version: Option<Version>,
    },
    /// Go back to where the module was before a jump that the end of the last runtime cut off.
    TurnBack {
        id: String,
    },
}

impl Command {
    /// The modules that it is about.
    pub(super) fn ids(&self) -> Vec<String> {
        match self {
            Self::Together { members, .. } => members.keys().cloned().collect(),
            Self::Activate { id, .. }
            | Self::Resume { id, .. }
            | Self::Deactivate { id }
            | Self::Rollback { id, .. }
            | Self::Unregister { id, .. }
            | Self::TurnBack { id } => vec![id.clone()],
            Self::Return { key, .. } | Self::FallBack { key, .. } => vec![key.id.to_string()],
        }
    }

    /// Whether it is about what goes on now, so that a set that has not begun gives way to it.
    pub(super) const fn is_urgent(&self) -> bool {
        matches!(self, Self::Rollback { .. } | Self::Deactivate { .. } | Self::FallBack { .. })
    }

    /// The modules about which it decides, so that no jump of theirs is under way once it has ended.
    fn decides(&self) -> Vec<String> {
        match self {
            Self::Together { .. } | Self::Activate { .. } | Self::Rollback { .. } | Self::Deactivate { .. } => {
                self.ids()
            }
            _ => Vec::new(),
        }
    }

    /// The module whose set returns as one by it, if it is of one.
    pub(super) fn returns(&self) -> Option<&str> {
        match self {
            Self::Rollback { id, .. } => Some(id),
            Self::Return { key, .. } => Some(&key.id),
            _ => None,
        }
    }

    /// How the audit log tells that it was refused: the kind, what it is about, and its name. Not what the runtime begins of
    /// its own accord, which is told by alarms.
    fn refusal(&self) -> Option<(Kind, String, &'static str)> {
        let of = |id: &str, version: Option<&Version>| {
            version.map_or_else(|| id.to_owned(), |version| format!("{id}@{version}"))
        };
        let (kind, subject, name) = match self {
            Self::Together { lead, members, .. } => {
                (Kind::ActivationRefused, of(lead, members.get(lead)), Action::Activate.name())
            }
            Self::Activate { id, version, .. } => {
                (Kind::ActivationRefused, of(id, Some(version)), Action::Activate.name())
            }
            Self::Resume { id, version, .. } => (Kind::ActivationRefused, of(id, Some(version)), Action::Resume.name()),
            Self::Rollback { id, to, .. } => (Kind::ActivationRefused, of(id, to.as_ref()), Action::Rollback.name()),
            Self::Deactivate { id } => (Kind::CommandRefused, id.clone(), Action::Deactivate.name()),
            Self::Unregister { id, version } => (Kind::CommandRefused, of(id, version.as_ref()), "unregister"),
            Self::Return { .. } | Self::FallBack { .. } | Self::TurnBack { .. } => return None,
        };
        Some((kind, subject, name))
    }

    /// The versions that it brings, or returns from because of a trigger, by module.
    pub(super) fn of(&self) -> BTreeMap<String, Version> {
        match self {
            Self::Together { members, .. } => members.clone(),
            Self::Activate { id, version, .. } => BTreeMap::from([(id.clone(), version.clone())]),
            Self::Return { key, .. } => {
                version_of(key).map(|version| (key.id.to_string(), version)).into_iter().collect()
            }
            _ => BTreeMap::new(),
        }
    }
}

/// What a command came to.
#[derive(Debug)]
pub(super) enum Done {
    Activated(ActivationReport),
    Deactivated(DeactivationReport),
    Unregistered(Vec<Version>),
    Returned,
    /// It serves still, since its traffic could not be given back; why, which was told.
    Unreturned(String),
}

/// Where the result goes. Dropping it unanswered tells the caller that the command died.
pub(super) struct Reply {
    pub(super) to: oneshot::Sender<Result<Done, EngineError>>,
    /// Who gave the command.
    pub(super) by: By,
    /// When it was given, or when what calls for it was seen.
    pub(super) since: Instant,
}

impl Reply {
    pub(super) fn refuse(self, error: EngineError) {
        // a caller that stopped waiting is no fault
        let _ = self.to.send(Err(error));
    }
}

/// The actor.
#[derive(Clone)]
pub(super) struct Activation {
    pub(super) shared: Arc<Shared>,
    pub(super) coordinator: ActorRef<Message>,
    /// Who gave the command.
    pub(super) by: By,
    /// When it was given, or when what calls for it was seen: before it waited for its turn.
    pub(super) since: Instant,
    /// Says why the command is to give up, once it is.
    pub(super) aborted: watch::Receiver<Option<Abort>>,
    /// Set before its caller hears of its end: what is given after that is not about it any more.
    pub(super) over: Arc<AtomicBool>,
    /// The jump that what it begins is a leg of, or the way back of.
    pub(super) jump: Option<Jump>,
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
            let (refusal, ids) = (command.refusal(), self.concerned(&command));
            let decides = command.decides();
            let returns = matches!(
                command,
                Command::Rollback { .. } | Command::FallBack { .. } | Command::Return { .. } | Command::TurnBack { .. }
            );
            let result = match AssertUnwindSafe(self.run(command)).catch_unwind().await {
                Ok(result) => result,
                Err(panic) => {
                    // an instance must not run on unseen because nobody came to stop it
                    for id in &ids {
                        retire::displaced(self, id);
                        if returns {
                            retire::unreturned(self, id).await;
                        }
                    }
                    // an alarm tells of it, and the caller hears that it died
                    resume_unwind(panic)
                }
            };
            // an activation that failed decides nothing more than its switch did, and a jump that came back says so itself
            let has_decided = |id: &&String| match &result {
                Ok(Done::Activated(report)) => report.of(id).is_some_and(ActivationReport::serves),
                other => other.is_ok(),
            };
            for id in decides.iter().filter(has_decided) {
                self.shared.jump_is_over(id).await;
            }
            if let (Err(error), Some((kind, subject, command))) = (&result, refusal) {
                self.shared.refused(kind, &self.by, subject, (command, error)).await;
            }
            self.over.store(true, Ordering::Release);
            let _ = reply.to.send(result);
        }
        myself.stop(None);
        Ok(())
    }
}

impl Activation {
    /// The modules of a command, with those of their sets that are not confirmed.
    fn concerned(&self, command: &Command) -> BTreeSet<String> {
        let ids = command.ids();
        let sets = ids.iter().filter_map(|id| self.shared.board.slot(id).set()).flatten();
        sets.chain(ids.iter().cloned()).collect()
    }

    async fn run(&self, command: Command) -> Result<Done, EngineError> {
        // it had no turn before the end, and must not end the mark of a jump that the next start turns back
        if self.shared.is_stopping() && !command.decides().is_empty() {
            return Err(EngineError::Stopped);
        }
        match command {
            Command::Together { lead, members, strategy } => {
                sets::activate(self, &lead, &members, strategy).await.map(Done::Activated)
            }
            Command::Activate { id, version, strategy } => {
                activate::activate(self, &id, &version, strategy).await.map(Done::Activated)
            }
            Command::Resume { id, version, strategy } => {
                activate::resume(self, &id, &version, strategy).await.map(Done::Activated)
            }
            Command::Deactivate { id } => deactivate::deactivate(self, &id).await.map(Done::Deactivated),
            Command::Rollback { id, to, of } => {
                let because = format!("{} asked for a rollback", asker(self.by.who));
                rollback::rollback(self, &id, to, of, &because).await.map(Done::Activated)
            }
            Command::FallBack { key, reason } => {
                let serves = self.shared.board.slot(&key.id).state.serving.as_ref() == Some(&key);
                if !serves {
                    return Ok(Done::Returned);
                }
                // it decides nothing about a jump that was cut off and is not turned back yet
                let work = Self { jump: self.shared.records.jumps.get(&*key.id)?, ..self.clone() };
                rollback::rollback(&work, &key.id, None, None, &reason).await.map(Done::Activated)
            }
            Command::Return { key, reason, withdrawn } => returning::return_from(self, &key, &reason, withdrawn).await,
            Command::Unregister { id, version } => {
                unregister::unregister(self, &id, version).await.map(Done::Unregistered)
            }
            Command::TurnBack { id } => jump::turn_back(self, &id).await.map(|()| Done::Returned),
        }
    }

    /// Writes to the audit log; it is on the disk when this returns.
    pub(super) async fn audit(&self, kind: Kind, subject: String, data: serde_json::Value) -> Result<(), EngineError> {
        self.shared.audit(kind, self.by.clone(), subject, data).await
    }

    /// Asks the coordinator.
    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<Result<T, EngineError>>) -> Message + Send,
    ) -> Result<T, EngineError> {
        match self.coordinator.call(message, None).await {
            Ok(CallResult::Success(answer)) => answer,
            Ok(_) => Err(EngineError::Internal("the coordinator gave no answer; look at the log".to_owned())),
            Err(_) => Err(EngineError::Stopped),
        }
    }

    /// Begins an instance with its entry in the journal.
    pub(super) async fn begin(&self, id: &str, entry: Entry) -> Result<(InstanceKey, Entry), EngineError> {
        let entry = Entry { jump: self.jump.clone(), ..entry };
        let (id, entry, by) = (id.to_owned(), Box::new(entry), self.by.clone());
        self.ask(|reply| Message::Begin(id, entry, by, reply)).await
    }

    /// Begins an entry of a command that starts no instance.
    pub(super) async fn enter(
        &self,
        action: Action,
        id: &str,
        version: &Version,
        from: Option<&Version>,
    ) -> Result<Entry, EngineError> {
        let strategy = ActivationStrategy::Instant;
        let entry = Entry::begun(action, version.clone(), from.cloned(), strategy, self.shared.now());
        let entry = Entry { jump: self.jump.clone(), ..entry };
        Ok(self.shared.records.begin(id, entry, false).await?)
    }

    pub(super) async fn happened(
        &self,
        key: &InstanceKey,
        happening: Happening,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        let (key, by) = (key.clone(), self.by.clone());
        self.ask(|reply| Message::Happened(key, (happening, reason), by, reply)).await
    }

    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, EngineError> {
        let made = self.commit_all(vec![commit]).await?.pop();
        made.ok_or_else(|| EngineError::Internal("a commit came to nothing".to_owned()))
    }

    /// Makes all of these commits or none.
    pub(super) async fn commit_all(&self, commits: Vec<Commit>) -> Result<Vec<Committed>, EngineError> {
        self.ask(|reply| Message::Commit(commits, reply)).await
    }

    /// Confirms `key`, if it serves still.
    pub(super) async fn confirm(&self, key: &InstanceKey) -> Result<ConfirmReport, EngineError> {
        let (id, only) = (key.id.to_string(), Some(key.clone()));
        self.ask(|reply| Message::Confirm(id, only, Who::Runtime.into(), reply)).await
    }

    /// Notes that `key` is kept although `reason` calls to return from it; whether that is news.
    pub(super) async fn freeze(&self, key: &InstanceKey, reason: &str) -> Result<bool, EngineError> {
        let (key, reason) = (key.clone(), reason.to_owned());
        self.ask(|reply| Message::Freeze(key, reason, reply)).await
    }

    pub(super) async fn forget(&self, id: &str, versions: &[Version]) -> Result<(), EngineError> {
        let (id, versions) = (id.to_owned(), versions.to_vec());
        self.ask(|reply| Message::Forget(id, versions, reply)).await
    }
}
