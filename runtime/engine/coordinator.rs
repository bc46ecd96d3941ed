//! The coordinator: the one actor that changes slots and states, and gives each module one command at a time.
//!
//! Commands run in [`Activation`] actors, in parallel for unrelated modules. Whatever they change in common goes through
//! this mailbox: the start of a generation, a change of state, and the commit, where all that was validated is looked at
//! once more before the routes are switched. So no two commands can each be right alone and wrong together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use semver::Version;

use super::EngineError;
use super::activation::{Activation, Command, Reply};
use super::board::version_of;
use super::plan::SlotState;
use super::record::{SlotRecord, VersionRecord};
use super::shared::Shared;
use super::state::{Happening, State};
use super::validate;
use crate::actors::router::{Slot as RoutedSlot, Snapshot as Routed};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Event, InstanceKey};
use crate::registry::resolver;

/// Commands that may wait for one module.
const MOST_WAITING: usize = 64;

/// What the coordinator can be told.
pub(super) enum Message {
    /// Run a command, after those for the same module that came before it.
    Run(Command, Reply),
    /// Make the next generation of a version: it is now being activated.
    Begin(String, Version, RpcReplyPort<Result<InstanceKey, EngineError>>),
    /// Something happened to an instance.
    Happened(InstanceKey, Happening, Option<String>, RpcReplyPort<Result<(), EngineError>>),
    /// Point a slot elsewhere.
    Commit(Box<Commit>, RpcReplyPort<Result<(), EngineError>>),
    /// Versions were unregistered.
    Forget(String, Vec<Version>, RpcReplyPort<Result<(), EngineError>>),
}

/// A change of what a slot serves.
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) from: SlotState,
    pub(super) to: SlotState,
    /// How the version that serves afterwards was activated; `None` leaves it as it was.
    pub(super) strategy: Option<ActivationStrategy>,
    pub(super) restore: Restore,
}

/// Whether a commit puts a slot back to what it was.
pub(super) enum Restore {
    /// It does not: all is validated once more.
    No,
    /// It does, and this is what was kept of the slot then.
    To(Option<SlotRecord>),
}

/// The actor.
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
}

/// Commands by module: the one that runs, and those that wait.
#[derive(Default)]
pub(super) struct Lanes {
    running: HashMap<ActorId, String>,
    waiting: HashMap<String, VecDeque<(Command, Reply)>>,
}

#[ractor::async_trait]
impl Actor for Coordinator {
    type Msg = Message;
    type State = Lanes;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<Lanes, ActorProcessingErr> {
        Ok(Lanes::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        lanes: &mut Lanes,
    ) -> Result<(), ActorProcessingErr> {
        // a caller that stopped waiting is no fault
        match message {
            Message::Run(command, reply) => self.run(&myself, command, reply, lanes).await,
            Message::Begin(id, version, reply) => drop(reply.send(self.begin(id, version).await)),
            Message::Happened(key, happening, reason, reply) => {
                let _ = reply.send(self.happened(&key, happening, reason).await);
            }
            Message::Commit(commit, reply) => drop(reply.send(self.commit(&commit).await)),
            Message::Forget(id, versions, reply) => drop(reply.send(self.forget(&id, &versions).await)),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        lanes: &mut Lanes,
    ) -> Result<(), ActorProcessingErr> {
        let cell = match event {
            SupervisionEvent::ActorTerminated(cell, ..) => cell,
            SupervisionEvent::ActorFailed(cell, error) => {
                // its caller is told by the reply that is dropped
                let subject = lanes.running.get(&cell.get_id()).cloned().unwrap_or_default();
                let message = format!("a command ended by an internal error: {error}; look at `replug show {subject}`");
                self.shared.events.emit(Event::Alarm { subject, message });
                cell
            }
            _ => return Ok(()),
        };
        let Some(id) = lanes.running.remove(&cell.get_id()) else { return Ok(()) };
        let next = lanes.waiting.get_mut(&id).and_then(VecDeque::pop_front);
        match next {
            Some((command, reply)) => self.start(&myself, command, reply, lanes).await,
            None => drop(lanes.waiting.remove(&id)),
        }
        Ok(())
    }
}

impl Coordinator {
    async fn run(&self, myself: &ActorRef<Message>, command: Command, reply: Reply, lanes: &mut Lanes) {
        let id = command.id().to_owned();
        if let Some(queue) = lanes.waiting.get_mut(&id) {
            if queue.len() >= MOST_WAITING {
                reply.refuse(EngineError::Busy { id, waiting: queue.len() });
            } else {
                queue.push_back((command, reply));
            }
            return;
        }
        lanes.waiting.insert(id, VecDeque::new());
        self.start(myself, command, reply, lanes).await;
    }

    async fn start(&self, myself: &ActorRef<Message>, command: Command, reply: Reply, lanes: &mut Lanes) {
        let id = command.id().to_owned();
        let actor = Activation { shared: Arc::clone(&self.shared), coordinator: myself.clone() };
        match Activation::spawn_linked(None, actor, (command, reply), myself.get_cell()).await {
            Ok((activation, _)) => drop(lanes.running.insert(activation.get_id(), id)),
            // the reply went with the arguments, which tells the caller
            Err(error) => {
                tracing::error!(module = %id, %error, "a command could not be started");
                lanes.waiting.remove(&id);
            }
        }
    }

    async fn begin(&self, id: String, version: Version) -> Result<InstanceKey, EngineError> {
        if self.shared.is_stopping() {
            return Err(EngineError::Stopped);
        }
        let generation = self.shared.records.next_generation(&id).await?;
        let key = InstanceKey { id: id.as_str().into(), version: version.to_string().into(), generation };
        self.shared.board.change(&id, |slot| slot.candidate = Some(key.clone()));
        self.happened(&key, Happening::Activate, None).await?;
        Ok(key)
    }

    /// Takes one transition; what must outlive the process is on the disk when this returns.
    async fn happened(
        &self,
        key: &InstanceKey,
        happening: Happening,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        let shared = &self.shared;
        let mut slot = shared.board.slot(&key.id);
        let taken = slot.happened(key, happening, reason.clone(), shared.now());
        let taken = taken.map_err(|impossible| EngineError::Internal(format!("{key}: {impossible}")))?;
        let Some((from, record)) = taken else { return Ok(()) };
        if record.state != State::Activating
            && slot.candidate.as_ref() == Some(key)
            && !matches!(record.state, State::RollingBack)
        {
            slot.candidate = None;
        }
        if matches!(record.state, State::Failed | State::FailedToRestore | State::Inactive) {
            let version = version_of(key).ok_or_else(|| EngineError::Internal(format!("{key} has no version")))?;
            let kept = slot.record.get_or_insert_with(|| SlotRecord { since: record.since, ..SlotRecord::default() });
            kept.last.get_or_insert_with(|| version.clone());
            shared.records.write(&key.id, Some(&*kept), &[(version, Some(record.clone()))]).await?;
        }
        let to = record.state;
        shared.board.change(&key.id, |present| *present = slot);
        shared.events.emit(Event::StateChanged { instance: key.clone(), from: from.name(), to: to.name(), reason });
        Ok(())
    }

    /// The point of no return of an activation: the records are written, then the routes are switched by one store. What
    /// this means for the versions that served is part of it, so that no one sees the one without the other.
    async fn commit(&self, commit: &Commit) -> Result<(), EngineError> {
        let shared = &self.shared;
        let mut slot = shared.board.slot(&commit.id);
        if slot.state != commit.from {
            return Err(EngineError::Internal(format!("{} is not what the plan was made for", commit.id)));
        }
        if matches!(commit.restore, Restore::No) {
            if shared.is_stopping() {
                return Err(EngineError::Stopped);
            }
            self.still_fits(commit)?;
        }
        // whatever can be refused is refused before anything is written
        let id: Arc<str> = commit.id.as_str().into();
        let routes = self.routes(&id, commit)?;
        let now = shared.now();
        slot.record = match &commit.restore {
            Restore::To(record) => record.clone(),
            Restore::No => Some(self.record(commit, slot.record.as_ref())),
        };
        slot.state = commit.to.clone();
        let mut happened = Vec::new();
        for (key, happening) in transitions(commit) {
            match slot.happened(&key, happening, None, now) {
                Ok(taken) => happened.extend(taken.map(|(from, record)| (key, from, record))),
                // contained: it must not keep a slot from being put right
                Err(impossible) => tracing::error!(instance = %key, %impossible, "a state was left as it is"),
            }
        }
        shared.records.write(&commit.id, slot.record.as_ref(), &kept_versions(commit, now)).await?;
        shared.router.store(routes);
        shared.board.change(&commit.id, |present| *present = slot);
        if let Some(instance) = commit.to.serving.as_ref().and_then(|key| shared.hands.instances.instance(key)) {
            instance.serves();
        }
        for (instance, from, record) in happened {
            shared.events.emit(Event::StateChanged {
                instance,
                from: from.name(),
                to: record.state.name(),
                reason: None,
            });
        }
        Ok(())
    }

    fn still_fits(&self, commit: &Commit) -> Result<(), EngineError> {
        let (snapshot, running) = (self.shared.registry.snapshot(), self.shared.board.running());
        match commit.to.serving.as_ref().and_then(version_of) {
            Some(version) => {
                let definition = snapshot.get(&commit.id, &version).ok_or_else(|| {
                    EngineError::Internal(format!("{}@{version} was unregistered meanwhile", commit.id))
                })?;
                validate::fits(definition, &snapshot, &running)
            }
            None => {
                let dependents = resolver::dependents(&commit.id, None, &snapshot, &running);
                if dependents.is_empty() {
                    return Ok(());
                }
                Err(EngineError::Needed { id: commit.id.clone(), action: "deactivated".into(), dependents })
            }
        }
    }

    fn record(&self, commit: &Commit, before: Option<&SlotRecord>) -> SlotRecord {
        let serving = commit.to.serving.as_ref().and_then(version_of);
        let served = commit.from.serving.as_ref().and_then(version_of);
        let standby = commit.to.standby.as_ref().and_then(version_of);
        let before = before.cloned().unwrap_or_default();
        // what is started again after a restart keeps what was behind it; what a rollback left has nothing behind it
        let resumed = served.is_none() && serving == before.serving;
        SlotRecord {
            previous: if serving.is_none() || resumed { before.previous.clone() } else { standby },
            last: serving.clone().or(served).or(before.last),
            serving,
            instant: commit.strategy.map_or(before.instant, |strategy| strategy == ActivationStrategy::Instant),
            since: self.shared.now(),
        }
    }

    /// The snapshot with the slot as it is to be.
    fn routes(&self, id: &Arc<str>, commit: &Commit) -> Result<Arc<Routed>, EngineError> {
        let shared = &self.shared;
        let slot = match &commit.to.serving {
            None => None,
            Some(key) => {
                let running = shared.hands.instances.get(key);
                let Some((Some(instance), endpoints)) = running.map(|running| (running.instance, running.endpoints))
                else {
                    return Err(EngineError::Internal(format!("{key} is not running")));
                };
                Some(RoutedSlot::of(instance, endpoints))
            }
        };
        let next = shared.router.with(id, slot);
        next.map_err(|taken| EngineError::Port { module: commit.id.clone(), cause: taken.to_string() })
    }

    async fn forget(&self, id: &str, versions: &[Version]) -> Result<(), EngineError> {
        let shared = &self.shared;
        let mut slot = shared.board.slot(id);
        slot.versions.retain(|version, _| !versions.contains(version));
        let gone = |version: &Option<Version>| version.as_ref().is_some_and(|version| versions.contains(version));
        if let Some(record) = &mut slot.record {
            if gone(&record.previous) {
                record.previous = None;
            }
            if gone(&record.last) && record.serving.is_none() {
                record.last = slot.versions.keys().next_back().cloned();
            }
        }
        if slot.record.as_ref().is_some_and(|record| record.serving.is_none() && record.last.is_none()) {
            slot.record = None;
        }
        let gone: Vec<_> = versions.iter().map(|version| (version.clone(), None)).collect();
        shared.records.write(id, slot.record.as_ref(), &gone).await?;
        shared.board.change(id, |present| *present = slot);
        Ok(())
    }
}

/// What a commit means for the instances that had a place.
fn transitions(commit: &Commit) -> Vec<(InstanceKey, Happening)> {
    let Commit { from, to, restore, .. } = commit;
    let mut out = Vec::new();
    // the one that is taken back is being rolled back already
    if let (Some(served), Restore::No) = (&from.serving, restore)
        && to.serving.as_ref() != Some(served)
    {
        let stands_by = to.standby.as_ref() == Some(served);
        out.push((served.clone(), if stands_by { Happening::Superseded } else { Happening::Withdrawn }));
    }
    if let Some(standby) = &from.standby {
        if to.serving.as_ref() == Some(standby) {
            out.push((standby.clone(), Happening::ReturnedTo));
        } else if to.serving.is_none() {
            out.push((standby.clone(), Happening::Withdrawn));
        }
    }
    out
}

/// What is kept of the versions: nothing of the one that serves, which its slot names; of the one that served, what it
/// will be for the next runtime, which starts neither a standby nor a drain.
fn kept_versions(commit: &Commit, now: u64) -> Vec<(Version, Option<VersionRecord>)> {
    let mut kept = Vec::new();
    if let Some(version) = commit.to.serving.as_ref().and_then(version_of) {
        kept.push((version, None));
    }
    let left = [&commit.from.serving, &commit.from.standby].into_iter().flatten();
    for key in left.filter(|key| commit.to.serving.as_ref() != Some(*key)) {
        let record = VersionRecord { state: State::Inactive, reason: None, since: now, generation: key.generation };
        kept.extend(version_of(key).map(|version| (version, Some(record))));
    }
    kept
}
