//! Takes an instance back: the six steps of a rollback, each noted before and after.
//!
//! What is taken back is the inverse of what was done. Taking back never stops half-way: a change that cannot be taken
//! back is told, and the rest is. Only when the traffic could not be given back does the rest stay, since what is routed
//! must not be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::EngineError;
use super::activate::{millis, millis_left};
use super::activation::Activation;
use super::apply::guarded;
use super::commit::Commit;
use super::journal::{Entry, clipped};
use super::outcome::{Outcome, StepOutcome, StepReport};
use super::plan::{self, Change, Step, Turn};
use super::probe::place;
use super::record::SlotRecord;
use super::retire;
use super::state::{Happening, State};
use super::strategy::StepName;
use crate::manifest::Manifest;
use crate::monitor::{Event, InstanceKey};

/// What stands between the reason of a way back and why it failed.
const KEPT: &str = "; and what was done could not be taken back: ";

/// Why a version was to be taken back that could not be.
pub(super) fn called_for(reason: &str) -> &str {
    reason.split_once(KEPT).map_or(reason, |(called_for, _)| called_for)
}

/// An instance that is taken back.
pub(super) struct Undo<'a> {
    pub(super) work: &'a Activation,
    pub(super) key: InstanceKey,
    pub(super) manifest: Arc<Manifest>,
    pub(super) entry: Entry,
    /// What was kept of the slot before.
    pub(super) before: Option<SlotRecord>,
    /// What was done.
    pub(super) done: Vec<Change>,
    /// Why it keeps its traffic: that of its set could not be given back as one.
    pub(super) kept: Option<String>,
    /// The failure that was told already: the same is not told again.
    pub(super) known: Option<String>,
    /// The steps that ran.
    pub(super) reports: Vec<StepReport>,
    /// Messages to actors whose effects were lost by it.
    pub(super) lost: AtomicU64,
}

/// Where the traffic is, although the step that gives it back failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenBack {
    /// It was given back, and what went wrong came after that.
    Already,
    /// It was by another try.
    AtLast,
    /// The version keeps it.
    Not,
}

impl Undo<'_> {
    /// Takes everything back because of what was seen at `since`, and says how that ended; the version keeps the reason.
    pub(super) async fn end(&mut self, reason: String, since: Instant) -> Result<(Outcome, String), EngineError> {
        let (work, reason) = (self.work, clipped(reason));
        let version = &self.manifest.version;
        if work.shared.board.state(&self.key.id, version).state != State::RollingBack {
            work.happened(&self.key, Happening::Trigger, Some(reason.clone())).await?;
        }
        let taken = self.run().await;
        place!(work.shared, &self.key.id, "undone", Before, EngineError::Internal);
        let lost = std::mem::take(self.lost.get_mut());
        self.entry.lost += lost;
        let reason = match lost {
            0 => reason,
            lost => clipped(format!("{reason}; messages to its actors whose effects are lost: {lost}")),
        };
        if let Err(faults) = taken {
            let reason = clipped(format!("{reason}{KEPT}{faults}"));
            work.happened(&self.key, Happening::UndoFailed, Some(reason.clone())).await?;
            let placed = work.shared.board.slot(&self.key.id).state;
            if placed.keys().all(|key| *key != self.key) {
                work.shared.hands.instances.change(&self.key, |running| running.left = true);
            }
            if self.known.as_ref() != Some(&reason) {
                work.shared.metrics.activation(&self.key).rolled_back(since.elapsed());
                let help = match self.entry.set.is_empty() {
                    true => format!("look at `replug show {}` and activate a version that works", self.key.id),
                    false => format!("it is tried again; replug rollback {} tries it at once", self.key.id),
                };
                let message = format!("{reason}; {help}");
                work.shared.events.emit(Event::Alarm { subject: self.key.to_string(), message });
            }
            return Ok((Outcome::FailedToRestore, reason));
        }
        work.shared.metrics.activation(&self.key).rolled_back(since.elapsed());
        work.shared.hands.instances.remove(&self.key);
        work.happened(&self.key, Happening::Undone, Some(reason.clone())).await?;
        let outcome = self.entry.taken_back();
        if outcome == Outcome::Failed {
            let message = format!("no version of {} serves: {reason}", self.key.id);
            work.shared.events.emit(Event::Alarm { subject: self.key.to_string(), message });
        }
        Ok((outcome, reason))
    }

    /// The six steps. The manifest's time for a rollback begins once the traffic is given back: nobody waits for the rest.
    pub(super) async fn run(&mut self) -> Result<(), String> {
        let time = self.manifest.lifecycle.rollback.timeout;
        let mut deadline = Instant::now() + time;
        let slot = self.work.shared.board.slot(&self.key.id).state;
        let returned = slot.turned(&Turn::Withdraw(self.key.clone())).serving;
        let (mut faults, mut done) = (Vec::new(), std::mem::take(&mut self.done));
        // what is routed gives its traffic back first, also where nobody was told of the switch
        if slot.keys().any(|key| *key == self.key) && !done.iter().any(|change| matches!(change, Change::Route(_))) {
            done.push(Change::route(&self.key.id, &slot.turned(&Turn::Withdraw(self.key.clone())), &slot));
        }
        for step in plan::roll_back(&self.key.id, &done, returned).steps {
            let fault = self.step(&step, deadline, &time).await.err();
            if step.name != StepName::StopTraffic {
                faults.extend(fault);
                continue;
            }
            if let Some(fault) = fault {
                let tried = Instant::now();
                match self.gave_back().await {
                    GivenBack::AtLast => {
                        self.begins(step.name, deadline).await;
                        self.ended(step.name, millis(tried), None).await;
                        tracing::warn!(instance = %self.key, %fault, "the traffic was given back at the second try");
                    }
                    GivenBack::Already => faults.push(fault),
                    GivenBack::Not => {
                        faults.push(fault);
                        break;
                    }
                }
            }
            deadline = Instant::now() + time;
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// Whether it takes no traffic, although the step that sees to that failed. A candidate's share is tried once more: nobody watches
    /// it from now on, as somebody does what serves.
    async fn gave_back(&self) -> GivenBack {
        let takes = || {
            let slot = self.work.shared.board.slot(&self.key.id).state;
            (slot.keys().any(|key| *key == self.key), slot.serving.as_ref() == Some(&self.key))
        };
        match takes() {
            (false, _) => {
                let returned = self.work.shared.board.slot(&self.key.id).state.serving;
                self.leave(returned.as_ref()).await;
                GivenBack::Already
            }
            (true, true) => GivenBack::Not,
            (true, false) => {
                // whatever goes wrong after the switch, the traffic is where it belongs
                let _ = guarded(self.give_back()).await;
                if takes().0 { GivenBack::Not } else { GivenBack::AtLast }
            }
        }
    }

    async fn step(&mut self, step: &Step, deadline: Instant, time: &Duration) -> Result<(), String> {
        let started = Instant::now();
        self.begins(step.name, deadline).await;
        let fault = guarded(self.taken_back(step, deadline, time)).await.err();
        self.ended(step.name, millis(started), fault.clone()).await;
        fault.map_or(Ok(()), Err)
    }

    /// Notes and tells how the step that was begun last ended.
    async fn ended(&mut self, name: StepName, ms: f64, fault: Option<String>) {
        let outcome = if fault.is_none() { StepOutcome::Done } else { StepOutcome::Failed };
        self.entry.step_ended(ms, outcome);
        let _ = self.work.shared.records.note(&self.key.id, &self.entry).await;
        self.reports.push(StepReport { name, ms, outcome });
        let event = Event::StepEnded { instance: self.key.clone(), step: name.name(), ms, fault };
        self.work.shared.events.emit(event);
    }

    /// Notes and tells that a step begins.
    async fn begins(&mut self, name: StepName, deadline: Instant) {
        self.entry.intends(name);
        let (instance, left_ms) = (self.key.clone(), millis_left(deadline));
        self.work.shared.events.emit(Event::StepBegan { instance, step: name.name(), left_ms });
        // a journal that cannot be written must not keep a slot from being put right: the commit will say so
        let _ = self.work.shared.records.note(&self.key.id, &self.entry).await;
    }

    async fn taken_back(&self, step: &Step, deadline: Instant, time: &Duration) -> Result<(), String> {
        place!(self.work.shared, &self.key.id, step.name.name(), Before);
        let mut faults = Vec::new();
        for change in &step.changes {
            let late = || format!("it took longer than {} ms to take back {change:?}", time.as_millis());
            let taken = match change {
                Change::Route(_) => self.give_back().await,
                change => {
                    let taken = tokio::time::timeout_at(deadline.into(), self.take_back(change)).await;
                    taken.unwrap_or_else(|_| Err(late()))
                }
            };
            faults.extend(taken.err());
        }
        place!(self.work.shared, &self.key.id, step.name.name(), After);
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// Gives the traffic back, whole and not cut off; then those inside finish, within the drain deadline and at most in the
    /// time for a rollback: a stream without end must not keep a module from its next command.
    async fn give_back(&self) -> Result<(), String> {
        if let Some(fault) = &self.kept {
            return Err(fault.clone());
        }
        let turn = Commit::of(&self.key.id, Turn::Withdraw(self.key.clone()), self.work.by.clone());
        let commit = Commit { before: self.before.clone(), entry: Some(self.entry.clone()), ..turn };
        let returned = self.work.commit(commit).await.map_err(|error| error.to_string())?.to.serving;
        self.leave(returned.as_ref()).await;
        Ok(())
    }

    /// Requests that entered meanwhile end on it, and what serves now takes the states of its actors.
    async fn leave(&self, returned: Option<&InstanceKey>) {
        let time = self.manifest.lifecycle.rollback.timeout;
        let ((), lost) = tokio::join!(self.drain(), retire::hands_over(self.work, returned, time));
        // it may be asked twice, and is the same then
        self.lost.fetch_max(lost, Ordering::AcqRel);
    }

    /// Requests that entered meanwhile end on it.
    async fn drain(&self) {
        if let Some(instance) = self.work.shared.hands.instances.instance(&self.key) {
            let lifecycle = &self.manifest.lifecycle;
            retire::drain(&instance, retire::patience(&lifecycle.deactivation).min(lifecycle.rollback.timeout)).await;
        }
    }

    async fn take_back(&self, change: &Change) -> Result<(), String> {
        let hands = &self.work.shared.hands;
        match change {
            // additive schema is good for the version before as well
            Change::Revert(..) if self.manifest.lifecycle.rollback.preserve_data => Ok(()),
            Change::Revert(_, versions) => hands.revert(&hands.subject(&self.key)?, versions).await,
            Change::Restore(id, returned) => {
                let slot = self.work.shared.board.slot(id).state;
                let routed = self.work.shared.router.load().instance(id, 0).map(|instance| instance.key.clone());
                if slot.serving == *returned && routed == *returned {
                    return Ok(());
                }
                let name =
                    |key: &Option<InstanceKey>| key.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
                Err(format!("{} should serve and {} does", name(returned), name(&routed)))
            }
            change => hands.apply(change).await,
        }
    }
}
