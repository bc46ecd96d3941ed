//! What a command came to.

use serde::{Deserialize, Serialize};

use super::strategy::StepName;

/// How a command on a module ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The version serves, confirmed.
    Active,
    /// The version serves all traffic and is not yet confirmed.
    Provisional,
    /// A step failed; the version before serves as it did.
    RolledBack,
    /// A step failed and there was nothing to return to: no version serves.
    Failed,
    /// A step failed, and so did taking back what was done: an alarm.
    FailedToRestore,
    /// Of a deactivation, in the history: no version serves.
    Inactive,
}

impl Outcome {
    /// The name as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Provisional => "provisional",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::FailedToRestore => "failed-to-restore",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the version serves.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Active | Self::Provisional)
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepOutcome {
    /// It succeeded.
    Done,
    /// It failed; the steps before it were taken back.
    Failed,
}

/// One step that ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Which.
    pub name: StepName,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// How it ended.
    pub outcome: StepOutcome,
}

/// One weight of a traffic shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShiftReport {
    /// The candidate's share, in percent.
    pub weight: u8,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: String,
    /// What the verdict rests on; empty when there is nothing to say.
    #[serde(default)]
    pub detail: String,
    /// How long the weight was held, in milliseconds.
    pub ms: f64,
}

/// What an activation or a rollback came to; `activate --json` prints it.
#[must_use = "a version that was rolled back is no error: see `serves` and `ensure_serves`"]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationReport {
    /// The module.
    pub id: String,
    /// The version that was to serve.
    pub version: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when the version does not serve.
    pub reason: Option<String>,
    /// The steps that ran, in order.
    pub steps: Vec<StepReport>,
    /// The weights of the shift; empty when traffic moved at once.
    pub traffic_shift: Vec<ShiftReport>,
    /// The steps of the rollback; empty when nothing was taken back.
    pub rollback: Vec<StepReport>,
    /// What the activations of the versions between came to, where the manifest says that this one follows only those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Self>,
    /// Messages to actors whose effects are lost: what serves now took no newer state, and has that of before the swap.
    #[serde(skip_serializing_if = "is_none")]
    pub lost: u64,
    /// What became of the others of its set, which took over or returned with it as one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Self>,
}

impl ActivationReport {
    /// Whether the version serves, confirmed or not.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.outcome.serves()
    }

    /// What became of this module: its own report, or the one of its set.
    pub(super) fn of(&self, id: &str) -> Option<&Self> {
        std::iter::once(self).chain(&self.set).find(|report| report.id == id)
    }

    /// [`ActivationReport::serves`] as a result, for `?`.
    ///
    /// # Errors
    /// The version does not serve.
    pub fn ensure_serves(&self) -> Result<(), NotServing> {
        if self.serves() { Ok(()) } else { Err(NotServing { report: Box::new(self.clone()) }) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_none(lost: &u64) -> bool {
    *lost == 0
}

/// A version was to serve and does not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{}@{} does not serve ({}): {}",
    report.id,
    report.version,
    report.outcome.name(),
    report.reason.as_deref().unwrap_or("no reason was given")
)]
pub struct NotServing {
    /// What became of it.
    pub report: Box<ActivationReport>,
}

/// What a deactivation came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeactivationReport {
    /// The module.
    pub id: String,
    /// The version that served.
    pub version: String,
    /// How many requests were cut off because the drain deadline passed; 0 when all ended by themselves.
    pub cut_off: usize,
    /// What of its farewell failed: `shutdown`, and the clean-ups that the manifest names. It is out of service all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedFarewell>,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// A part of a module's farewell that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFarewell {
    /// `shutdown`, or the clean-up's name in the manifest.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What a confirmation came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmReport {
    /// The module.
    pub id: String,
    /// The version that is confirmed now.
    pub version: String,
    /// The version that a rollback returns to from now on.
    pub previous: Option<String>,
    /// Whether it was confirmed before; nothing was changed then.
    pub already: bool,
    /// Whether its confirm window has passed and it waits for the others of its set; not told of a confirmation by hand.
    #[serde(skip)]
    pub waits: bool,
    /// The others of its set, which are confirmed with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Self>,
}

/// One command that changed a module, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Counts the module's entries, from 1.
    pub number: u64,
    /// `activate`, `rollback`, `deactivate` or `resume`.
    pub command: String,
    /// The version that was to serve; of a deactivation, the one that served.
    pub version: String,
    /// The version that served before.
    pub from: Option<String>,
    /// `gradual` or `instant`.
    pub strategy: String,
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// When it ended; nothing while it runs.
    pub ended: Option<u64>,
    /// How it ended; nothing while it runs. A version that served provisionally and was returned from says `rolled-back`.
    pub outcome: Option<Outcome>,
    /// When the version was confirmed.
    pub confirmed: Option<u64>,
    /// Why, when the version does not serve.
    pub reason: Option<String>,
    /// The steps that began, in order.
    pub steps: Vec<HistoryStep>,
    /// The weights of the shift.
    pub traffic_shift: Vec<ShiftReport>,
    /// The versions of the set that it was one of, as `id@version`; absent: it was about this module alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// As in [`ActivationReport`].
    #[serde(skip_serializing_if = "is_none")]
    pub lost: u64,
}

/// A step of a [`HistoryEntry`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// The step's name; those of a rollback too.
    pub name: String,
    /// How long it took, in milliseconds; nothing while it runs, and of one that was cut off.
    pub ms: Option<f64>,
    /// How it ended; nothing while it runs, and of one that was cut off.
    pub outcome: Option<StepOutcome>,
}
