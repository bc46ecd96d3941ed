//! The journal: one entry for each command that changes a module, written before each step and after it.
//!
//! An entry is open until its command has ended and, of a version that serves provisionally, until that is decided. What
//! is open when a runtime starts was interrupted by the end of the one before: see [`super::recovery`].
//!
//! A step whose effect outlives the process (a migration, the switch of a slot) begins only when its intent is on the
//! disk. The others end with the process, so their intents are queued before they begin and are durable with the next
//! write that is waited for; the store keeps the order.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::jump::Jump;
use super::outcome::{HistoryEntry, HistoryStep, Outcome, ShiftReport, StepOutcome};
use super::strategy::StepName;
use crate::manifest::ActivationStrategy;

/// The longest reason that is kept, in bytes.
pub(super) const LONGEST_REASON: usize = 2000;

/// The longest detail of one weight. There may be a hundred weights, and a record has 64 KiB.
const LONGEST_DETAIL: usize = 300;

/// Entries that are kept of a module; the oldest goes for the next.
pub(super) const KEPT: u64 = 100;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    Activate,
    Resume,
    Rollback,
    Deactivate,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Deactivate => "deactivate",
        }
    }
}

/// Migrations that have to be taken back, unless the entry ends otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// The version whose files have the way down.
    pub(super) version: Version,
    pub(super) migrations: Vec<Version>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Counts the module's entries, from 1.
    pub(super) number: u64,
    pub(super) action: Action,
    /// The version that is to serve; of a deactivation, the one that served.
    pub(super) version: Version,
    /// Which start of the module that is.
    pub(super) generation: u64,
    /// The version that serves when it begins.
    pub(super) from: Option<Version>,
    pub(super) instant: bool,
    pub(super) began: u64,
    pub(super) ended: Option<u64>,
    pub(super) outcome: Option<Outcome>,
    pub(super) confirmed: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) steps: Vec<HistoryStep>,
    pub(super) traffic_shift: Vec<ShiftReport>,
    /// Whether its slot was switched: its point of no return.
    pub(super) committed: bool,
    /// Whether nothing of it is left to decide.
    pub(super) closed: bool,
    pub(super) owed: Option<Owed>,
    /// The versions of the set that it is one of, itself among them, as `id@version`; empty: it is about one module alone.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// Messages to actors whose effects are lost, since what serves took no newer state.
    #[serde(default)]
    pub(super) lost: u64,
    /// The jump that its command is a leg of, or the way back of. It is a record of its own, so the entry keeps none.
    #[serde(skip)]
    pub(super) jump: Option<Jump>,
}

impl Entry {
    /// An entry that begins. Its number is given by the store.
    pub(super) fn begun(
        action: Action,
        version: Version,
        from: Option<Version>,
        strategy: ActivationStrategy,
        now: u64,
    ) -> Self {
        Self {
            number: 0,
            action,
            version,
            generation: 0,
            from,
            instant: strategy == ActivationStrategy::Instant,
            began: now,
            ended: None,
            outcome: None,
            confirmed: None,
            reason: None,
            steps: Vec::new(),
            traffic_shift: Vec::new(),
            committed: false,
            closed: false,
            owed: None,
            set: Vec::new(),
            lost: 0,
            jump: None,
        }
    }

    /// The entry as it is kept: a text that a module gave must not keep it from being written, since a slot is switched
    /// together with its entry.
    pub(super) fn bounded(&self) -> Self {
        let mut entry = self.clone();
        entry.reason = entry.reason.map(clipped);
        for report in &mut entry.traffic_shift {
            report.detail.truncate(report.detail.floor_char_boundary(LONGEST_DETAIL));
        }
        entry
    }

    /// What it came to where it is taken back. Of a set, everything is as it was, also where nothing served.
    pub(super) const fn taken_back(&self) -> Outcome {
        if self.from.is_some() || !self.set.is_empty() { Outcome::RolledBack } else { Outcome::Failed }
    }

    /// Notes that a step begins.
    pub(super) fn intends(&mut self, step: StepName) {
        self.steps.push(HistoryStep { name: step.name().to_owned(), ms: None, outcome: None });
    }

    /// Notes how the step that was begun last ended.
    pub(super) fn step_ended(&mut self, ms: f64, outcome: StepOutcome) {
        if let Some(step) = self.steps.last_mut() {
            (step.ms, step.outcome) = (Some(ms), Some(outcome));
        }
    }

    /// Notes how the command ended. A version that is provisional now is decided about later.
    pub(super) fn end(&mut self, outcome: Outcome, reason: Option<String>, now: u64) {
        let reason = reason.map(clipped);
        (self.ended, self.outcome, self.reason) = (Some(now), Some(outcome), reason);
        self.closed = outcome != Outcome::Provisional;
        if self.closed {
            self.owed = None;
        }
    }

    /// Notes that a start told its end and could not take this back, which it owes still.
    pub(super) fn owes(&mut self, owed: Owed) {
        if self.outcome == Some(Outcome::Active) {
            let why = || format!("the runtime ended before the migrations of {} were taken back", owed.version);
            self.reason.get_or_insert_with(why);
        }
        (self.owed, self.closed) = (Some(owed), false);
    }

    /// Owes none of these any more; which of them it did. With nothing left to do it is closed.
    pub(super) fn keep(&mut self, needed: &BTreeSet<Version>) -> Vec<Version> {
        let Some(owed) = self.owed.take() else { return Vec::new() };
        let (kept, left): (Vec<_>, Vec<_>) = owed.migrations.into_iter().partition(|it| needed.contains(it));
        self.owed = (!left.is_empty()).then_some(Owed { version: owed.version, migrations: left });
        self.closed |= self.owed.is_none() && self.outcome.is_some_and(|outcome| outcome != Outcome::Provisional);
        kept
    }

    /// Whether a start told its end: what is left of it is what that could not take back.
    pub(super) const fn is_told(&self) -> bool {
        match self.outcome {
            Some(Outcome::RolledBack | Outcome::Failed) => true,
            // A rollback has this outcome before its switch, and takes back behind it. Only a start gives it a reason.
            Some(Outcome::Active) => matches!(self.action, Action::Rollback) && self.reason.is_some(),
            _ => false,
        }
    }

    /// Notes that its version is being returned from for this reason. Of tries that failed, only the last is kept.
    pub(super) fn reopen(&mut self, reason: &str) {
        self.steps.retain(|step| step.name != StepName::StopTraffic.name());
        (self.outcome, self.ended, self.reason) = (None, None, Some(clipped(reason.to_owned())));
    }

    /// Owes as well what the version owed that it took over from: what is returned to knows neither.
    pub(super) fn inherit(&mut self, mut migrations: Vec<Version>) {
        migrations.extend(self.owed.take().map(|owed| owed.migrations).unwrap_or_default());
        self.owed = Some(Owed { version: self.version.clone(), migrations });
    }

    /// Notes that the version was confirmed.
    pub(super) fn confirm(&mut self, now: u64) {
        (self.confirmed, self.outcome, self.closed, self.owed) = (Some(now), Some(Outcome::Active), true, None);
    }

    /// Notes that the version lost its place before it was confirmed.
    pub(super) fn close(&mut self, reason: String) {
        (self.reason, self.closed, self.owed) = (Some(reason), true, None);
    }

    /// The entry as it is told.
    pub(super) fn told(&self) -> HistoryEntry {
        HistoryEntry {
            number: self.number,
            command: self.action.name().to_owned(),
            version: self.version.to_string(),
            from: self.from.as_ref().map(ToString::to_string),
            strategy: if self.instant { "instant" } else { "gradual" }.to_owned(),
            began: self.began,
            ended: self.ended,
            outcome: self.outcome,
            confirmed: self.confirmed,
            reason: self.reason.clone(),
            steps: self.steps.clone(),
            traffic_shift: self.traffic_shift.clone(),
            set: self.set.clone(),
            lost: self.lost,
        }
    }
}

/// The text, as much of it as is kept of a reason.
pub(super) fn clipped(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    reason
}
