//! The coordinator: the one actor that changes slots and states, and gives each module one command at a time.
//!
//! Commands run in [`Activation`] actors, in parallel for unrelated modules. Whatever they change in common goes through
//! this mailbox: the start of a generation, a change of state, and the commit, where all that was validated is looked at
//! once more before the routes are switched. So no two commands can each be right alone and wrong together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use semver::Version;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::EngineError;
use super::activation::{Activation, Command, Done, Reply};
use super::board::version_of;
use super::commit::{Commit, Committed, Told};
use super::journal::{Entry, clipped};
use super::lanes::{Abort, Lanes, Running};
use super::outcome::ConfirmReport;
use super::plan::Turn;
use super::record::{Change, SlotRecord};
use super::retire::{self, Why};
use super::shared::Shared;
use super::state::{Happening, State};
use crate::monitor::{Event, InstanceKey};
use crate::store::audit::{By, Kind, Who};

/// Commands that may wait for one module.
const MOST_WAITING: usize = 64;

/// What the coordinator can be told.
pub(super) enum Message {
    /// Run a command, after those for the same module that came before it.
    Run(Command, Reply),
    /// Make the next generation of a version: it is now being activated.
    Begin(String, Box<Entry>, By, RpcReplyPort<Result<(InstanceKey, Entry), EngineError>>),
    /// Something happened to an instance, perhaps for a reason.
    Happened(InstanceKey, (Happening, Option<String>), By, RpcReplyPort<Result<(), EngineError>>),
    /// Point a slot elsewhere.
    Commit(Box<Commit>, RpcReplyPort<Result<Committed, EngineError>>),
    /// Confirm what serves; `Some`: only if it is that instance.
    Confirm(String, Option<InstanceKey>, By, RpcReplyPort<Result<ConfirmReport, EngineError>>),
    /// Return from a version that is provisional, before anything else is done to its module; why, and since when.
    Return(InstanceKey, (String, Instant), oneshot::Sender<Result<Done, EngineError>>),
    /// Keep a provisional version that something calls to return from; says whether it was not kept so before.
    Freeze(InstanceKey, String, RpcReplyPort<Result<bool, EngineError>>),
    /// Choose the module that is called for a capability, or none.
    Choose(String, Option<String>, By, RpcReplyPort<Result<(), EngineError>>),
    /// Versions were unregistered.
    Forget(String, Vec<Version>, RpcReplyPort<Result<(), EngineError>>),
}

/// The actor.
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
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
            Message::Begin(id, entry, by, reply) => drop(reply.send(self.begin(id, *entry, &by).await)),
            Message::Happened(key, (happening, reason), by, reply) => {
                let _ = reply.send(self.happened(&key, happening, reason, &by).await);
            }
            Message::Commit(commit, reply) => drop(reply.send(self.commit(*commit).await)),
            Message::Confirm(id, only, by, reply) => {
                let _ = reply.send(self.confirm(&myself, &id, only, by).await);
            }
            Message::Return(key, why, reply) => self.return_from(&myself, (key, why), reply, lanes).await,
            Message::Freeze(key, reason, reply) => drop(reply.send(self.freeze(&key, reason).await)),
            Message::Choose(capability, module, by, reply) => {
                let _ = reply.send(self.choose(capability, module, &by).await);
            }
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
                let subject = lanes.running.get(&cell.get_id()).map(|running| running.id.clone()).unwrap_or_default();
                let message = format!("a command ended by an internal error: {error}; look at `replug show {subject}`");
                self.shared.events.emit(Event::Alarm { subject, message });
                cell
            }
            _ => return Ok(()),
        };
        let Some(Running { id, .. }) = lanes.running.remove(&cell.get_id()) else { return Ok(()) };
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
                lanes.give_way(&id, &self.shared);
            }
            return;
        }
        lanes.waiting.insert(id, VecDeque::new());
        self.start(myself, command, reply, lanes).await;
    }

    async fn start(&self, myself: &ActorRef<Message>, command: Command, reply: Reply, lanes: &mut Lanes) {
        let (id, of) = (command.id().to_owned(), command.of());
        let (abort, aborted) = watch::channel(None);
        let actor = self.hand(myself, aborted, (reply.by.clone(), reply.since));
        match Activation::spawn_linked(None, actor, (command, reply), myself.get_cell()).await {
            Ok((activation, _)) => {
                lanes.running.insert(activation.get_id(), Running { id: id.clone(), of, abort });
                lanes.give_way(&id, &self.shared);
            }
            // the reply went with the arguments, which tells the caller
            Err(error) => {
                tracing::error!(module = %id, %error, "a command could not be started");
                lanes.waiting.remove(&id);
            }
        }
    }

    fn hand(
        &self,
        myself: &ActorRef<Message>,
        aborted: watch::Receiver<Option<Abort>>,
        (by, since): (By, Instant),
    ) -> Activation {
        Activation { shared: Arc::clone(&self.shared), coordinator: myself.clone(), by, since, aborted }
    }

    async fn begin(&self, id: String, entry: Entry, by: &By) -> Result<(InstanceKey, Entry), EngineError> {
        if self.shared.is_stopping() {
            return Err(EngineError::Stopped);
        }
        let entry = self.shared.records.begin(&id, entry, true).await?;
        let version = entry.version.to_string();
        let key = InstanceKey { id: id.as_str().into(), version: version.into(), generation: entry.generation };
        self.shared.board.change(&id, |slot| slot.candidate = Some(key.clone()));
        self.happened(&key, Happening::Activate, None, by).await?;
        Ok((key, entry))
    }

    /// Confirms what serves; its standby drains apart from this mailbox.
    async fn confirm(
        &self,
        myself: &ActorRef<Message>,
        id: &str,
        only: Option<InstanceKey>,
        by: By,
    ) -> Result<ConfirmReport, EngineError> {
        let slot = self.shared.board.slot(id);
        let serving = slot.state.serving.clone().filter(|key| only.as_ref().is_none_or(|only| only == key));
        let Some((key, version)) = serving.and_then(|key| Some((key.clone(), version_of(&key)?))) else {
            return Err(EngineError::NothingServes { id: id.to_owned() });
        };
        let state = slot.serving_state().unwrap_or_default();
        let already = match state {
            State::Provisional => false,
            State::Active => true,
            State::Activating => return Err(EngineError::NotYet { id: id.to_owned(), version }),
            // what is taken back, or could not be, serves still and must not become what a restart starts
            state => return Err(EngineError::Unconfirmable { id: id.to_owned(), version, state }),
        };
        if !already {
            let data = json!({ "generation": key.generation });
            let told = Told { kind: Kind::Confirmed, subject: format!("{id}@{version}"), data };
            let (id, turn, told) = (id.to_owned(), Turn::Confirm, Some(told));
            let commit = Commit { id, turn, by: by.clone(), strategy: None, before: None, entry: None, told };
            let done = self.commit(commit).await?;
            let work = self.hand(myself, watch::channel(None).1, (by, Instant::now()));
            if let Some(gone) = done.from.standby {
                retire::spawn(&work, &gone, Why::Replaced);
            }
        }
        let previous = self.shared.board.slot(id).record.and_then(|record| record.previous);
        let (id, version, previous) = (id.to_owned(), key.version.to_string(), previous.map(|it| it.to_string()));
        Ok(ConfirmReport { id, version, previous, already })
    }

    /// The next command of the module is the way back; one that brings a newer version gives up for it.
    async fn return_from(
        &self,
        myself: &ActorRef<Message>,
        (key, (reason, since)): (InstanceKey, (String, Instant)),
        reply: oneshot::Sender<Result<Done, EngineError>>,
        lanes: &mut Lanes,
    ) {
        let slot = self.shared.board.slot(&key.id);
        if slot.state.serving.as_ref() != Some(&key) || !slot.state.is_provisional() {
            return;
        }
        let (id, reply) = (key.id.to_string(), Reply { to: reply, by: Who::Runtime.into(), since });
        let Some(queue) = lanes.waiting.get_mut(&id) else {
            lanes.waiting.insert(id, VecDeque::new());
            let command = Command::Return { key, reason, withdrawn: None };
            return self.start(myself, command, reply, lanes).await;
        };
        // a return that failed before is tried again later: what runs may be the version that mends it
        if slot.serving_state() != Some(State::Provisional) {
            return;
        }
        let why = format!("the version it builds on, {}, is returned from: {reason}", key.version);
        for running in lanes.running.values().filter(|running| running.id == id) {
            running.abort.send_replace(Some(Abort::Now(why.clone())));
        }
        // clients must not wait for the end of a command that brings something else; where it fails, the command tries again
        let withdrawn = match self.withdraw(&key, &reason).await {
            Ok(entry) => Some(Box::new(entry)),
            Err(error) => {
                tracing::warn!(instance = %key, %error, "its traffic is given back only in its turn");
                None
            }
        };
        queue.push_front((Command::Return { key, reason, withdrawn }, reply));
    }

    /// Gives the traffic of a provisional version back at once; the rest of the way back has its turn.
    async fn withdraw(&self, key: &InstanceKey, reason: &str) -> Result<Entry, EngineError> {
        let shared = &self.shared;
        let record = shared.board.slot(&key.id).record;
        let number = record.and_then(|record| record.provisional).map_or(0, |provisional| provisional.entry);
        let Some(mut entry) = shared.records.entry(&key.id, number)? else {
            return Err(EngineError::Internal(format!("the journal has no entry of {key}")));
        };
        entry.reopen(reason);
        let by = By::from(Who::Runtime);
        self.happened(key, Happening::Trigger, Some(clipped(reason.to_owned())), &by).await?;
        let (id, turn, kept) = (key.id.to_string(), Turn::Withdraw(key.clone()), Some(entry.clone()));
        self.commit(Commit { id, turn, by, strategy: None, before: None, entry: kept, told: None }).await?;
        Ok(entry)
    }

    /// Notes why a provisional version would be returned from, where that is for a person to decide.
    async fn freeze(&self, key: &InstanceKey, reason: String) -> Result<bool, EngineError> {
        let mut slot = self.shared.board.slot(&key.id);
        let serves = slot.state.serving.as_ref() == Some(key);
        let provisional = slot.record.as_mut().and_then(|record| record.provisional.as_mut());
        let Some(provisional) = provisional.filter(|it| serves && it.frozen.is_none()) else { return Ok(false) };
        provisional.frozen = Some(clipped(reason));
        let change = Change { slot: Some(slot.record.clone()), ..Change::default() };
        self.shared.records.write(&key.id, change).await?;
        self.shared.board.change(&key.id, |present| *present = slot);
        Ok(true)
    }

    /// Takes one transition; what must outlive the process is on the disk when this returns.
    async fn happened(
        &self,
        key: &InstanceKey,
        happening: Happening,
        reason: Option<String>,
        by: &By,
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
            let (kept, versions) = (Some(Some(kept.clone())), vec![(version, Some(record.clone()))]);
            shared.records.write(&key.id, Change { slot: kept, versions, entries: Vec::new() }).await?;
        }
        let to = record.state;
        shared.board.change(&key.id, |present| *present = slot);
        shared.changed(key.clone(), (from, to), reason, by).await;
        Ok(())
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
        let change = Change { slot: Some(slot.record.clone()), versions: gone, entries: Vec::new() };
        shared.records.write(id, change).await?;
        shared.board.change(id, |present| *present = slot);
        Ok(())
    }
}
