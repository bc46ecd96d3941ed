//! One activation on its way: the plan's steps one by one, each noted before and after, and the way back when one fails.
//!
//! The one point of no return is the commit of the route. It is never cut off: before it the time that is left is looked
//! at, and after it the version serves, unless its verification fails and the route is put back.

mod close;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::EngineError;
use super::activate::{Ran, Way, millis, millis_left, too_late};
use super::activation::Activation;
use super::apply::guarded;
use super::commit::{Commit, Committed};
use super::journal::{Action, Entry, Owed, clipped};
use super::outcome::{Outcome, StepOutcome, StepReport};
use super::plan::{Change, Plan, Step, Turn};
use super::probe::place;
use super::record::SlotRecord;
use super::strategy::StepName;
use super::undo::Undo;
use super::window::{Listens, critical_error};
use crate::actors::Instance;
use crate::actors::router::Taking;
use crate::manifest::{ActivationStrategy, Manifest, RollbackTrigger};
use crate::monitor::{Event, Following, InstanceKey, Sample};
use close::Ending;

/// One activation.
pub(super) struct Attempt<'a> {
    pub(super) work: &'a Activation,
    pub(super) key: InstanceKey,
    pub(super) manifest: Arc<Manifest>,
    pub(super) entry: Entry,
    strategy: ActivationStrategy,
    /// What takes the version back.
    pub(super) triggers: Vec<RollbackTrigger>,
    /// How many weights of the shift were told.
    pub(super) judged: usize,
    keeps_standby: bool,
    owes: Option<Owed>,
    /// What was kept of the slot before.
    pub(super) before: Option<SlotRecord>,
    started: Instant,
    /// Until when steps may run, and what is said when they did not end by then.
    pub(super) deadline: Instant,
    too_late: String,
    reports: Vec<StepReport>,
    /// The steps of the rollback.
    taken_back: Vec<StepReport>,
    /// The changes that were begun, the last one perhaps only half made.
    pub(super) done: Vec<Change>,
    committed: Option<Committed>,
    /// What the version before did lately, to compare with.
    reference: Sample,
    /// As long as the candidate gets copies of requests.
    pub(super) taking: Option<Taking>,
    /// What happens from the start on: a tree that gives up between two steps is noticed as well.
    pub(super) events: Following,
    /// How far its end came.
    ending: Arc<Ending>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        work: &'a Activation,
        (key, entry): (InstanceKey, Entry),
        manifest: Arc<Manifest>,
        before: Option<SlotRecord>,
        way: &Way,
        (started, time): (Instant, Duration),
    ) -> Self {
        let activation = &manifest.lifecycle.activation;
        let mut triggers = activation.rollback_triggers.clone();
        if way.strategy != activation.strategy {
            // the manifest's list is about its own strategy; this one's are watched as well
            let known: Vec<_> = triggers.iter().map(|trigger| trigger.kind).collect();
            triggers.extend(way.strategy.default_triggers().into_iter().filter(|it| !known.contains(&it.kind)));
        }
        let events = work.shared.events.follow(&key);
        Self {
            work,
            key,
            triggers,
            judged: 0,
            manifest,
            entry,
            strategy: way.strategy,
            keeps_standby: way.keeps_standby,
            owes: way.owes.clone(),
            before,
            started,
            deadline: started + time,
            too_late: too_late(time),
            reports: Vec::new(),
            taken_back: Vec::new(),
            done: Vec::new(),
            committed: None,
            reference: Sample::default(),
            taking: None,
            events,
            ending: Arc::default(),
        }
    }

    /// Runs to the end, whichever that is.
    pub(super) async fn run(self, plan: &Plan) -> Result<Ran, EngineError> {
        let left = self.left();
        // apart: the futures of steps are large
        left.or_mended(Box::pin(self.through(plan))).await
    }

    async fn through(mut self, plan: &Plan) -> Result<Ran, EngineError> {
        let made = guarded(self.steps(&plan.steps)).await;
        let (outcome, reason) = match made {
            Ok(()) => (self.reached(), None),
            Err(_) if self.work.shared.is_stopping() => return self.abandon().await,
            Err(reason) => {
                let (outcome, reason) = self.back(reason).await?;
                (outcome, Some(reason))
            }
        };
        self.end(outcome, reason).await
    }

    /// Whether this step was begun and has not ended.
    pub(super) fn is_amid(&self, step: StepName) -> bool {
        self.entry.steps.last().is_some_and(|last| last.name == step.name() && last.outcome.is_none())
    }

    /// Makes these steps.
    pub(super) async fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let started = if step.name == StepName::Validate { self.started } else { Instant::now() };
            self.begins(step);
            // a panic is a fault of its step like any other
            let made = guarded(self.step(step)).await;
            self.ended(step.name, started, made.as_ref().err()).await?;
            made.map_err(|fault| format!("{}: {fault}", step.name.name()))?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        place!(self.work.shared, &self.key.id, step.name.name(), Before);
        self.noted(step).await?;
        self.make(step).await?;
        place!(self.work.shared, &self.key.id, step.name.name(), After);
        Ok(())
    }

    /// Notes that a step begins; where its effect outlives the process, the note is on the disk when this returns.
    pub(super) async fn intends(&mut self, step: &Step) -> Result<(), String> {
        self.begins(step);
        self.noted(step).await
    }

    fn begins(&mut self, step: &Step) {
        self.entry.intends(step.name);
        let (instance, left_ms) = (self.key.clone(), millis_left(self.deadline));
        self.work.shared.events.emit(Event::StepBegan { instance, step: step.name.name(), left_ms });
    }

    async fn noted(&mut self, step: &Step) -> Result<(), String> {
        for change in &step.changes {
            let (Change::Migrate(_, versions), false) = (change, self.manifest.lifecycle.rollback.preserve_data) else {
                continue;
            };
            let (version, migrations) = (self.manifest.version.clone(), versions.clone());
            self.entry.owed = Some(Owed { version, migrations });
        }
        let (records, id) = (&self.work.shared.records, &*self.key.id);
        let noted = if step.changes.iter().any(|change| matches!(change, Change::Migrate(..))) {
            records.write_entry(id, &self.entry).await
        } else {
            records.note(id, &self.entry).await
        };
        noted.map_err(|error| error.to_string())
    }

    pub(super) async fn ended(
        &mut self,
        name: StepName,
        started: Instant,
        fault: Option<&String>,
    ) -> Result<(), String> {
        let outcome = if fault.is_none() { StepOutcome::Done } else { StepOutcome::Failed };
        let ms = millis(started);
        self.entry.step_ended(ms, outcome);
        self.reports.push(StepReport { name, ms, outcome });
        let (instance, fault) = (self.key.clone(), fault.cloned());
        self.work.shared.events.emit(Event::StepEnded { instance, step: name.name(), ms, fault });
        self.work.shared.records.note(&self.key.id, &self.entry).await.map_err(|error| error.to_string())
    }

    async fn make(&mut self, step: &Step) -> Result<(), String> {
        for change in &step.changes {
            if Instant::now() >= self.deadline {
                return Err(self.too_late.clone());
            }
            if let Change::Route(_) = change {
                if let Some(baseline) = self.baseline() {
                    self.shift(&baseline).await?;
                }
                self.take_over().await?;
                continue;
            }
            self.done.push(change.clone());
            self.change(change).await?;
        }
        Ok(())
    }

    /// Makes one change, unless the time is over or the instance gives up first.
    async fn change(&mut self, change: &Change) -> Result<(), String> {
        let hands = &self.work.shared.hands;
        let made = async {
            match change {
                Change::Migrate(..) => hands.migrate(&self.key).await,
                change => hands.apply(change).await,
            }
        };
        let listens = self.listens();
        let made = tokio::time::timeout_at(self.deadline.into(), made);
        tokio::select! {
            biased;
            reason = critical_error(&mut self.events, (&self.work.shared.hands.instances, &self.key), listens) => Err(reason),
            made = made => made.map_err(|_| self.too_late.clone())?,
        }
    }

    /// The states of the slot's actors are fitted to the version before it has taken over for good: one that does not fit is a
    /// fault of the step, and the actor goes on with it in the version before. Where there is none, nothing waits for that.
    pub(super) async fn fits(&mut self, until: Instant) -> Result<(), String> {
        if self.reached() != Outcome::Provisional {
            return Ok(());
        }
        let listens = self.listens();
        let fitted = tokio::time::timeout_at(until.into(), self.work.shared.router.fit(&self.key));
        let fitted = tokio::select! {
            biased;
            reason = critical_error(&mut self.events, (&self.work.shared.hands.instances, &self.key), listens) => return Err(reason),
            fitted = fitted => fitted.map_err(|_| self.too_late.clone())?,
        };
        self.entry.lost += fitted.lost;
        if fitted.faults.is_empty() { Ok(()) } else { Err(fitted.faults.join("; ")) }
    }

    /// Whether it ends where its tree gives up, or one of its actors.
    fn listens(&self) -> Listens {
        // what served before the restart goes on as before: its window decides
        match self.entry.action != Action::Resume {
            false => Listens::Not,
            // its actors run once it serves, and count where there is something to return to
            true if self.reached() == Outcome::Provisional => Listens::ToActors,
            true => Listens::ToTree,
        }
    }

    /// What the traffic is shifted from; nothing where it moves at once.
    fn baseline(&self) -> Option<Arc<Instance>> {
        let shared = &self.work.shared;
        let serving = shared.board.slot(&self.key.id).state.serving?;
        let shifts = self.strategy == ActivationStrategy::Gradual && self.keeps_standby;
        shared.hands.instances.instance(&serving).filter(|_| shifts)
    }

    async fn take_over(&mut self) -> Result<(), String> {
        let turn = Turn::TakeOver { key: self.key.clone(), keeps_standby: self.keeps_standby, joins: false };
        if self.owes.is_some() {
            self.entry.owed.clone_from(&self.owes);
        }
        self.compares();
        // made whole or not at all, and not cut off: what is half known cannot be taken back
        self.commit(turn).await?;
        self.fits(self.deadline).await
    }

    /// Remembers what the version that serves did lately.
    pub(super) fn compares(&mut self) {
        let serving = self.work.shared.board.slot(&self.key.id).state.serving;
        if let Some(before) = serving.and_then(|key| self.work.shared.hands.instances.instance(&key)) {
            self.reference = before.metrics.stats.recent();
        }
    }

    /// Commits a turn of the slot and remembers it as done.
    pub(super) async fn commit(&mut self, turn: Turn) -> Result<(), String> {
        let committed = self.work.commit(self.turn(turn)).await.map_err(|error| error.to_string())?;
        self.made(committed);
        Ok(())
    }

    /// A turn of its slot, to be committed.
    pub(super) fn turn(&self, turn: Turn) -> Commit {
        let (strategy, entry) = (Some(self.strategy), Some(self.entry.clone()));
        Commit { strategy, entry, ..Commit::of(&self.key.id, turn, self.work.by.clone()) }
    }

    /// Remembers a commit of its slot.
    pub(super) fn made(&mut self, committed: Committed) {
        self.entry.committed = committed.to.serving.as_ref() == Some(&self.key);
        self.done.retain(|change| !matches!(change, Change::Route(_)));
        self.done.push(Change::route(&self.key.id, &committed.from, &committed.to));
        if !committed.inherited.is_empty() {
            self.entry.inherit(committed.inherited.clone());
            // applied before anything that this one did
            self.done.insert(0, Change::Migrate(self.key.id.to_string(), committed.inherited.clone()));
        }
        self.committed = Some(committed);
    }

    /// What it came to when its last step succeeded: it is confirmed where there is nothing to return to.
    pub(super) fn reached(&self) -> Outcome {
        let provisional = self.committed.as_ref().is_some_and(|committed| committed.to.is_provisional());
        if provisional { Outcome::Provisional } else { Outcome::Active }
    }

    /// A step failed: what was done is taken back. The reason is kept with the version.
    async fn back(&mut self, reason: String) -> Result<(Outcome, String), EngineError> {
        self.back_but_for(reason, None).await
    }

    /// [`Attempt::back`]; what cannot give its traffic back for this cause keeps it.
    pub(super) async fn back_but_for(
        &mut self,
        reason: String,
        kept: Option<String>,
    ) -> Result<(Outcome, String), EngineError> {
        let reason = clipped(reason);
        self.entry.reason = Some(reason.clone());
        let mut undo = Undo { kept, ..self.undo() };
        let ended = undo.end(reason, Instant::now()).await;
        self.entry = undo.entry;
        self.taken_back = undo.reports;
        ended
    }

    fn undo(&mut self) -> Undo<'a> {
        Undo {
            work: self.work,
            key: self.key.clone(),
            manifest: Arc::clone(&self.manifest),
            entry: self.entry.clone(),
            before: self.before.clone(),
            done: std::mem::take(&mut self.done),
            kept: None,
            known: None,
            reports: Vec::new(),
            lost: AtomicU64::default(),
        }
    }
}
