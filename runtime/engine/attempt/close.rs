//! The end of an activation: written, told, and what follows from it begun. However it comes about, the activation ends: what a
//! panic leaves of it is driven to one side of its point of no return, as the start of a runtime would.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use futures::FutureExt;

use super::Attempt;
use crate::engine::EngineError;
use crate::engine::activate::{Ran, report};
use crate::engine::activation::{Activation, Done};
use crate::engine::apply::said;
use crate::engine::journal::{Action, Entry};
use crate::engine::outcome::{ActivationReport, Outcome};
use crate::engine::plan;
use crate::engine::probe::place;
use crate::engine::retire::{self, Why};
use crate::engine::returning;
use crate::engine::state::{Happening, State};
use crate::engine::undo::Undo;
use crate::engine::window;
use crate::manifest::{Manifest, RollbackTrigger};
use crate::monitor::{InstanceKey, Sample};
use crate::store::audit::Kind;

/// How far the end of an activation came.
#[derive(Default)]
pub(super) struct Ending {
    is_watched: AtomicBool,
    is_told: AtomicBool,
}

/// What there is of an activation whose own task may panic.
pub(in crate::engine) struct Left<'a> {
    work: &'a Activation,
    key: InstanceKey,
    manifest: Arc<Manifest>,
    /// Its entry, as it began.
    entry: Entry,
    triggers: Vec<RollbackTrigger>,
    started: Instant,
    ending: Arc<Ending>,
}

impl<'a> Attempt<'a> {
    pub(in crate::engine) fn left(&self) -> Left<'a> {
        Left {
            work: self.work,
            key: self.key.clone(),
            manifest: Arc::clone(&self.manifest),
            entry: self.entry.clone(),
            triggers: self.triggers.clone(),
            started: self.started,
            ending: Arc::clone(&self.ending),
        }
    }

    /// The end is written before it is told; then what has no place any more drains. The entry is written before the
    /// version is provisional: from then on it may be confirmed, and the entry is the confirmation's.
    pub(in crate::engine) async fn end(mut self, outcome: Outcome, reason: Option<String>) -> Result<Ran, EngineError> {
        let shared = &self.work.shared;
        place!(shared, &self.key.id, "close", Before, EngineError::Internal);
        let owed = self.entry.owed.take();
        self.entry.end(outcome, reason.clone(), shared.now());
        // what a rollback or a provisional version owes is decided later
        let still_owes = outcome == Outcome::Provisional || (outcome.serves() && self.entry.action == Action::Rollback);
        // what could not be given back stays provisional, so a restart returns from it
        let slot = shared.board.slot(&self.key.id).state;
        let stays = !outcome.serves() && slot.is_provisional() && slot.serving.as_ref() == Some(&self.key);
        if stays {
            (self.entry.owed, self.entry.closed) = (owed, false);
        } else if let Some(owed) = owed.filter(|_| still_owes) {
            (self.entry.owed, self.entry.closed) = (Some(owed), false);
        }
        let kind = if outcome == Outcome::RolledBack { Kind::RolledBack } else { Kind::ActivationEnded };
        let told = shared.told_of_end(&self.key.id, &self.entry, outcome, reason.as_deref());
        let written = shared.records.write_entry(&self.key.id, &self.entry).await.map_err(EngineError::from);
        let mut written = written.and(self.work.audit(kind, self.manifest.label(), told).await);
        let mut outcome = outcome;
        // a provisional version lost its place to this one also where this one was taken back since
        let took_over = self.committed.take().filter(|committed| committed.to.serving.as_ref() == Some(&self.key));
        let gone = took_over.map(|committed| plan::retired(&committed.from, &committed.to)).unwrap_or_default();
        let retire = || gone.iter().filter_map(|key| retire::spawn(self.work, key, Why::Replaced)).collect();
        let drains;
        // what serves is watched and what does not stops, also where that could not be written
        if outcome.serves() {
            let provisional = outcome == Outcome::Provisional;
            self.work.happened(&self.key, Happening::Succeeded { provisional }, None).await?;
            drains = retire();
            let reference = std::mem::take(&mut self.reference);
            window::open(self.work, &self.key, reference, (self.triggers.clone(), self.events), None);
            self.ending.is_watched.store(true, Ordering::Release);
            let confirms = self.manifest.lifecycle.activation.confirm_window.is_zero() && written.is_ok();
            place!(shared, &self.key.id, "close", Inside, EngineError::Internal);
            if outcome == Outcome::Provisional && confirms {
                match self.work.confirm(&self.key).await {
                    Ok(report) if !report.waits => outcome = Outcome::Active,
                    // it waits for the others of its set, or was returned from in between, which is told for itself
                    Ok(_) | Err(EngineError::NothingServes { .. }) => {}
                    Err(error) => written = Err(error),
                }
            }
        } else {
            drains = retire();
            if stays {
                let (reference, watched) = (Sample::default(), (self.triggers.clone(), self.events));
                window::open(self.work, &self.key, reference, watched, reason.clone());
                self.ending.is_watched.store(true, Ordering::Release);
            }
        }
        // told also where it could not be written: it has ended all the same
        shared.ended(&self.key, outcome, reason.clone(), self.started.elapsed());
        self.ending.is_told.store(true, Ordering::Release);
        place!(shared, &self.key.id, "close", After, EngineError::Internal);
        written?;
        let report = ActivationReport {
            outcome,
            reason,
            steps: self.reports,
            rollback: self.taken_back,
            traffic_shift: self.entry.traffic_shift.clone(),
            lost: self.entry.lost,
            ..report(&self.key.id, &self.manifest.version, outcome)
        };
        Ok(Ran { report, drains, entry: self.entry })
    }

    /// The runtime stops. Before the commit nothing of this is kept, so that the next runtime knows of no failure; after
    /// it the version serves, and the next runtime decides.
    pub(in crate::engine) async fn abandon(mut self) -> Result<Ran, EngineError> {
        if self.entry.committed {
            return Err(EngineError::Stopped);
        }
        let mut undo = self.undo();
        // what cannot be taken back now ends with the process
        let _ = undo.run().await;
        self.entry = undo.entry;
        self.work.shared.hands.instances.remove(&self.key);
        self.work.happened(&self.key, Happening::Refused, None).await?;
        let outcome = self.entry.taken_back();
        self.entry.end(
            outcome,
            Some("the runtime was stopped; nothing of it is left".to_owned()),
            self.work.shared.now(),
        );
        self.work.shared.records.write_entry(&self.key.id, &self.entry).await?;
        Err(EngineError::Stopped)
    }
}

impl Left<'_> {
    /// What this comes to; where it panics, what it left is put right.
    pub(super) async fn or_mended(
        self,
        ends: impl Future<Output = Result<Ran, EngineError>>,
    ) -> Result<Ran, EngineError> {
        match self.or_fault(ends).await {
            Ok(ended) => ended,
            Err((left, fault)) => Box::pin(left.mend(&fault)).await,
        }
    }

    /// What this comes to; where it panics, why, with what is to be mended.
    ///
    /// # Errors
    /// It panicked.
    pub(in crate::engine) async fn or_fault(
        self,
        ends: impl Future<Output = Result<Ran, EngineError>>,
    ) -> Result<Result<Ran, EngineError>, (Self, String)> {
        AssertUnwindSafe(ends).catch_unwind().await.map_err(|panic| (self, said(&*panic)))
    }

    /// Whether it serves and can be returned from.
    pub(in crate::engine) fn is_provisional(&self) -> bool {
        let slot = self.work.shared.board.slot(&self.key.id).state;
        slot.is_provisional() && slot.serving.as_ref() == Some(&self.key)
    }

    /// Where it was returned from with others, which told of it, only its report is left to be made.
    pub(in crate::engine) fn may_be_told(&self) -> Result<(), EngineError> {
        let kept = self.work.shared.records.entry(&self.key.id, self.entry.number)?;
        if kept.and_then(|entry| entry.outcome).is_some_and(|outcome| !outcome.serves()) {
            self.ending.is_told.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Brings it to an end: what can be returned from is, what serves with nothing behind it goes on, and anything else is taken
    /// back.
    pub(in crate::engine) async fn mend(self, fault: &str) -> Result<Ran, EngineError> {
        let shared = &self.work.shared;
        tracing::error!(instance = %self.key, fault, "an activation did not come to its own end");
        let kept = shared.records.entry(&self.key.id, self.entry.number)?.unwrap_or_else(|| self.entry.clone());
        let slot = shared.board.slot(&self.key.id);
        let serves = slot.state.serving.as_ref() == Some(&self.key);
        if let (true, Some(outcome)) = (self.ending.is_told.load(Ordering::Acquire), kept.outcome) {
            // only its report is lost
            return Ok(self.ran(outcome, kept));
        }
        if serves && slot.state.is_provisional() {
            let done = returning::return_from(self.work, &self.key, fault, None).await;
            // what serves on is watched, whatever kept it from being returned from
            match &done {
                Ok(Done::Unreturned(cause)) => self.watch(Some(cause.clone())),
                Err(error) => self.watch(Some(error.to_string())),
                Ok(_) => {}
            }
            done?;
            let entry = shared.records.entry(&self.key.id, kept.number)?.unwrap_or(kept);
            let outcome = entry.outcome.filter(|outcome| !outcome.serves()).unwrap_or(Outcome::FailedToRestore);
            return Ok(self.ran(outcome, entry));
        }
        let (outcome, reason, mut entry) =
            if serves { (self.go_on().await?, None, kept) } else { self.take_back(kept, fault).await? };
        let owed = entry.owed.take();
        entry.end(outcome, reason.clone(), shared.now());
        if let Some(owed) = owed.filter(|_| outcome.serves() && entry.action == Action::Rollback) {
            (entry.owed, entry.closed) = (Some(owed), false);
        }
        let written = shared.records.write_entry(&self.key.id, &entry).await.map_err(EngineError::from);
        let kind = if outcome == Outcome::RolledBack { Kind::RolledBack } else { Kind::ActivationEnded };
        let told = shared.told_of_end(&self.key.id, &entry, outcome, reason.as_deref());
        let written = written.and(self.work.audit(kind, self.manifest.label(), told).await);
        // told also where it could not be written: it has ended all the same
        shared.ended(&self.key, outcome, reason, self.started.elapsed());
        written?;
        Ok(self.ran(outcome, entry))
    }

    /// It serves, and there is nothing to return to.
    async fn go_on(&self) -> Result<Outcome, EngineError> {
        let shared = &self.work.shared;
        self.watch(None);
        if shared.board.slot(&self.key.id).serving_state() == Some(State::Activating) {
            self.work.happened(&self.key, Happening::Succeeded { provisional: false }, None).await?;
        }
        retire::displaced(self.work, &self.key.id);
        Ok(Outcome::Active)
    }

    fn watch(&self, unreturned: Option<String>) {
        if self.ending.is_watched.load(Ordering::Acquire) {
            return;
        }
        let watched = (self.triggers.clone(), self.work.shared.events.follow(&self.key));
        window::open(self.work, &self.key, Sample::default(), watched, unreturned);
    }

    /// It does not serve; of what it did nothing is to stay. The entry has the steps of that.
    async fn take_back(&self, kept: Entry, fault: &str) -> Result<(Outcome, Option<String>, Entry), EngineError> {
        let shared = &self.work.shared;
        let record = shared.board.state(&self.key.id, &self.manifest.version);
        let (outcome, reason, entry) = match record.state {
            State::FailedToRestore => (Outcome::FailedToRestore, record.reason, kept),
            State::Activating | State::RollingBack => {
                let slot = shared.board.slot(&self.key.id).state;
                let mut undo = Undo {
                    work: self.work,
                    key: self.key.clone(),
                    manifest: Arc::clone(&self.manifest),
                    before: None,
                    done: returning::done(&self.key, &slot, &kept),
                    entry: kept,
                    kept: None,
                    known: None,
                    reports: Vec::new(),
                    lost: AtomicU64::default(),
                };
                undo.done.retain(|change| !matches!(change, plan::Change::Route(_)));
                let (outcome, reason) = undo.end(fault.to_owned(), Instant::now()).await?;
                (outcome, Some(reason), undo.entry)
            }
            _ => (kept.taken_back(), record.reason, kept),
        };
        Ok((outcome, Some(reason.unwrap_or_else(|| fault.to_owned())), entry))
    }

    fn ran(&self, outcome: Outcome, entry: Entry) -> Ran {
        let report = ActivationReport {
            reason: entry.reason.clone(),
            traffic_shift: entry.traffic_shift.clone(),
            lost: entry.lost,
            ..report(&self.key.id, &self.manifest.version, outcome)
        };
        Ran { report, drains: Vec::new(), entry }
    }
}
