//! The coordinator: the one actor that changes slots and states, and gives each module one command at a time.
//!
//! Commands run in [`Activation`] actors, in parallel for unrelated modules. Whatever they change in common goes through
//! this mailbox: the start of a generation, a change of state, and the commit, where all that was validated is looked at
//! once more before the routes are switched. So no two commands can each be right alone and wrong together.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use semver::Version;
use tokio::sync::{oneshot, watch};

use super::EngineError;
use super::activation::{Activation, Command, Done, Reply};
use super::apply::said;
use super::board::version_of;
use super::commit::{Commit, Committed};
use super::journal::{Entry, clipped};
use super::lanes::{Abort, Lanes, Running, asker};
use super::outcome::ConfirmReport;
use super::plan::Turn;
use super::record::{Change, SlotRecord};
use super::shared::Shared;
use super::state::{Happening, State};
use crate::monitor::{Event, InstanceKey};
use crate::store::audit::{By, Who};

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
    /// Point slots elsewhere, all of them or none.
    Commit(Vec<Commit>, RpcReplyPort<Result<Vec<Committed>, EngineError>>),
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
        // contained: what contradicts itself about one module must not end the commands of all
        let taken = AssertUnwindSafe(self.take(&myself, message, lanes)).catch_unwind().await;
        if taken.is_err() {
            let message = "the engine contradicted itself in a command, which failed; look at the log".to_owned();
            self.shared.events.emit(Event::Alarm { subject: "engine".to_owned(), message });
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
                let subject =
                    lanes.running.get(&cell.get_id()).map(|running| running.ids.join(", ")).unwrap_or_default();
                let message = format!("a command ended by an internal error: {error}; look at `replug show {subject}`");
                self.shared.events.emit(Event::Alarm { subject, message });
                cell
            }
            _ => return Ok(()),
        };
        if let Some(Running { ids, .. }) = lanes.running.remove(&cell.get_id()) {
            lanes.queues.ended(&ids);
            self.start_next(&myself, ids, lanes).await;
        }
        Ok(())
    }
}

impl Coordinator {
    async fn take(&self, myself: &ActorRef<Message>, message: Message, lanes: &mut Lanes) {
        // a caller that stopped waiting is no fault
        match message {
            Message::Run(command, reply) => self.run(myself, command, reply, lanes).await,
            Message::Begin(id, entry, by, reply) => drop(reply.send(self.begin(id, *entry, &by).await)),
            Message::Happened(key, (happening, reason), by, reply) => {
                let _ = reply.send(self.happened(&key, happening, reason, &by).await);
            }
            Message::Commit(commits, reply) => drop(reply.send(self.commit(commits).await)),
            Message::Confirm(id, only, by, reply) => {
                // whoever confirms a stop while its jump goes on does not decide about the jump
                let decides = only.is_none() && !lanes.is_busy(&id);
                let confirmed = self.confirm(myself, &id, only, by).await;
                if decides && confirmed.is_ok() {
                    self.shared.jump_is_over(&id).await;
                }
                let _ = reply.send(confirmed);
            }
            Message::Return(key, why, reply) => self.return_from(myself, (key, why), reply, lanes).await,
            Message::Freeze(key, reason, reply) => drop(reply.send(self.freeze(&key, reason).await)),
            Message::Choose(capability, module, by, reply) => {
                let _ = reply.send(self.choose(capability, module, &by).await);
            }
            Message::Forget(id, versions, reply) => drop(reply.send(self.forget(&id, &versions).await)),
        }
    }

    async fn run(&self, myself: &ActorRef<Message>, command: Command, reply: Reply, lanes: &mut Lanes) {
        let ids = command.ids();
        if let Some(id) = ids.iter().find(|id| lanes.queues.waiting(id) >= MOST_WAITING) {
            return reply.refuse(EngineError::Busy { id: id.clone(), waiting: lanes.queues.waiting(id) });
        }
        let urgent = command.is_urgent().then(|| asker(reply.by.who));
        lanes.queues.push_back(ids.clone(), (command, reply));
        let mut freed = ids.clone();
        for (id, who) in ids.iter().zip(urgent) {
            // a set that has not begun would give up for it in its turn, which may be long in coming
            let is_set = |(command, _): &(Command, Reply)| matches!(command, Command::Together { .. });
            for (ids, (_, reply)) in lanes.queues.take_out(id, is_set) {
                let reason = format!("{who} asked for something else to be done to {id} first");
                reply.refuse(EngineError::Set { reason });
                freed.extend(ids);
            }
        }
        self.start_next(myself, freed, lanes).await;
    }

    /// Starts what has its turn in these lanes, and lets what runs there give way to what waits.
    async fn start_next(&self, myself: &ActorRef<Message>, mut ids: Vec<String>, lanes: &mut Lanes) {
        while let Some((has, (command, reply))) = lanes.queues.next(&ids) {
            // by now it may be about a set, which returns as one
            let needs = self.all_of(command.returns(), &has);
            if needs != has {
                lanes.queues.ended(&has);
                lanes.queues.push_front(needs.clone(), (command, reply));
                ids.extend(needs.into_iter().chain(has));
                continue;
            }
            let mut of = command.of();
            if command.returns().is_some() && has.len() > 1 {
                // whoever waits behind the return of a set is about what it returns from
                let serving = |id: &String| self.shared.board.slot(id).state.serving.as_ref().and_then(version_of);
                of.extend(has.iter().filter_map(|id| Some((id.clone(), serving(id)?))));
            }
            let (abort, aborted) = watch::channel(None);
            let actor = self.hand(myself, aborted, (reply.by.clone(), reply.since));
            let over = Arc::clone(&actor.over);
            match Activation::spawn_linked(None, actor, (command, reply), myself.get_cell()).await {
                Ok((activation, _)) => {
                    lanes.running.insert(activation.get_id(), Running { ids: has, of, abort, over });
                }
                // the reply went with the arguments, which tells the caller
                Err(error) => {
                    tracing::error!(modules = has.join(", "), %error, "a command could not be started");
                    lanes.queues.ended(&has);
                    ids.extend(has);
                }
            }
        }
        for id in &ids {
            lanes.give_way(id, &self.shared);
        }
    }

    /// The lanes of the set that this module is one of, or these where there is none.
    fn all_of(&self, returns: Option<&str>, lanes: &[String]) -> Vec<String> {
        let set = returns.and_then(|id| self.shared.board.slot(id).set());
        set.map_or_else(|| lanes.to_vec(), |set| set.into_iter().collect())
    }

    pub(super) fn hand(
        &self,
        myself: &ActorRef<Message>,
        aborted: watch::Receiver<Option<Abort>>,
        (by, since): (By, Instant),
    ) -> Activation {
        let (shared, coordinator) = (Arc::clone(&self.shared), myself.clone());
        Activation { shared, coordinator, by, since, aborted, over: Arc::default(), jump: None }
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
            return drop(reply.send(Ok(Done::Returned)));
        }
        let (id, reply) = (key.id.to_string(), Reply { to: reply, by: Who::Runtime.into(), since });
        // it passed its window and does not any more: the others of its set must not confirm it
        self.shared.board.change(&id, |slot| slot.window_passed = false);
        // what runs in the lane of a set that is not confirmed changes nothing of it: it is waited for
        if lanes.queues.is_free(&id) || slot.set().is_some() {
            let ids = self.all_of(Some(&id), std::slice::from_ref(&id));
            lanes.queues.push_front(ids.clone(), (Command::Return { key, reason, withdrawn: None }, reply));
            return self.start_next(myself, ids, lanes).await;
        }
        // a return that failed before is tried again later: what runs may be the version that mends it
        if slot.serving_state() != Some(State::Provisional) {
            return drop(reply.to.send(Ok(Done::Returned)));
        }
        let why = format!("the version it builds on, {}, is returned from: {reason}", key.version);
        for running in lanes.running.values().filter(|running| running.ids.contains(&id)) {
            running.abort.send_replace(Some(Abort::Now(why.clone())));
        }
        // clients must not wait for the end of a command that brings something else; where it fails, the command tries again
        let withdrawn = AssertUnwindSafe(self.withdraw(&key, &reason)).catch_unwind().await;
        let withdrawn = match withdrawn.unwrap_or_else(|panic| Err(EngineError::Internal(said(&*panic)))) {
            Ok(entry) => Some(Box::new(entry)),
            Err(error) => {
                tracing::warn!(instance = %key, %error, "its traffic is given back only in its turn");
                None
            }
        };
        lanes.queues.push_front(vec![id.clone()], (Command::Return { key, reason, withdrawn }, reply));
        self.start_next(myself, vec![id], lanes).await;
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
        let commit = Commit::of(&key.id, Turn::Withdraw(key.clone()), by);
        self.commit(vec![Commit { entry: Some(entry.clone()), ..commit }]).await?;
        Ok(entry)
    }

    /// Notes why a provisional version would be returned from, where that is for a person to decide.
    async fn freeze(&self, key: &InstanceKey, reason: String) -> Result<bool, EngineError> {
        let mut slot = self.shared.board.slot(&key.id);
        let serves = slot.state.serving.as_ref() == Some(key);
        let provisional = slot.record.as_mut().and_then(|record| record.provisional.as_mut());
        let Some(provisional) = provisional.filter(|it| serves && it.frozen.is_none()) else { return Ok(false) };
        provisional.frozen = Some(clipped(reason));
        slot.window_passed = false;
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
            shared.records.write(&key.id, Change { slot: kept, versions, ..Change::default() }).await?;
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
        let change = Change { slot: Some(slot.record.clone()), versions: gone, ..Change::default() };
        shared.records.write(id, change).await?;
        shared.board.change(id, |present| *present = slot);
        Ok(())
    }
}
