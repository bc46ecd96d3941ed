//! Results as text for people.

use comfy_table::{Table, presets};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::yaml::Node;
use crate::admin::CommandError;
use crate::admin::commands::{FoundModule, Registered, Unregistered, VersionRow};
use crate::engine::{FailedFarewell, HealthView};

mod backup;
mod choosing;
mod permissions;
mod records;
mod relations;
mod usage;

pub(super) use backup::{backup, restored};
pub(super) use choosing::{capabilities, chosen};
pub(super) use permissions::{decisions, permissions};
pub(super) use records::{Confirmation, HistoryRow, Row, confirmed, entries, event, history, steered};
pub(super) use relations::{compatibility, conflicts, dependencies, plan, validation, why};
pub(super) use usage::{usage, usages};

/// What an activation came to, as it is sent.
#[derive(Deserialize)]
pub(super) struct Activation {
    id: String,
    version: String,
    outcome: String,
    reason: Option<String>,
    steps: Vec<Step>,
    /// What the versions between came to.
    #[serde(default)]
    via: Vec<Self>,
    /// What became of the others of its set.
    #[serde(default)]
    set: Vec<Self>,
}

#[derive(Deserialize)]
struct Step {
    ms: f64,
}

impl Activation {
    pub(super) fn serves(&self) -> bool {
        matches!(&*self.outcome, "active" | "provisional")
    }

    /// What an event tells of the end of an activation.
    pub(super) fn ended(id: &str, version: &str, outcome: &str, reason: Option<&str>) -> Self {
        let reason = reason.map(str::to_owned);
        Self {
            id: id.to_owned(),
            version: version.to_owned(),
            outcome: outcome.to_owned(),
            reason,
            steps: Vec::new(),
            via: Vec::new(),
            set: Vec::new(),
        }
    }

    /// The error to end with, if the version does not serve.
    pub(super) fn into_failure(self) -> Option<CommandError> {
        let (kind, what) = match &*self.outcome {
            // a rollback may have left nothing to serve, as it was before
            "active" | "provisional" | "inactive" => return None,
            "rolled-back" => ("rolled-back", "was rolled back; what served before serves"),
            "failed-to-restore" => ("failed-to-restore", "failed, and what served before could not be restored"),
            _ => ("failed", "failed, and there was nothing to return to"),
        };
        let reason = self.reason.as_deref().unwrap_or("no reason was given");
        let message = format!("{}@{} {what}: {reason}", self.id, self.version);
        let help = match kind {
            "failed-to-restore" => "see the log of the runtime, then activate a version that worked".to_owned(),
            _ => format!(
                "mend the cause, raise `version` in the manifest, and try again: replug update PATH; replug versions {}",
                self.id
            ),
        };
        Some(CommandError::new(kind, message).with_help(help))
    }
}

pub(super) fn activated(report: &Activation) -> String {
    let lines = std::iter::once(report).chain(&report.set).map(alone);
    let as_one = Some("they are confirmed and return as one".to_owned());
    let as_one = as_one.filter(|_| report.outcome == "provisional" && !report.set.is_empty());
    lines.chain(as_one).collect::<Vec<_>>().join("\n")
}

fn alone(report: &Activation) -> String {
    if report.outcome == "inactive" {
        return format!("{}@{} is out of service, as before its set was activated", report.id, report.version);
    }
    // Not `sum`, which makes -0 of nothing.
    let ms = report.steps.iter().fold(0.0, |sum, step| sum + step.ms);
    let what =
        if report.outcome == "provisional" { "serves, and confirms itself if nothing goes wrong" } else { "is active" };
    let by: Vec<_> = report.via.iter().map(|between| between.version.as_str()).collect();
    let by = if by.is_empty() { String::new() } else { format!("; by {}", by.join(", ")) };
    format!("{}@{} {what} ({ms:.1} ms{by})", report.id, report.version)
}

/// What a deactivation came to, as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deactivation {
    id: String,
    version: String,
    cut_off: usize,
    #[serde(default)]
    failed: Vec<FailedFarewell>,
    ms: f64,
}

pub(super) fn deactivated(done: &Deactivation) -> String {
    let cut = match done.cut_off {
        0 => String::new(),
        1 => "; one request was cut off".to_owned(),
        cut => format!("; {cut} requests were cut off"),
    };
    let failed = done.failed.iter().map(|failed| format!("\n  {} failed: {}", failed.name, failed.reason));
    let failed: String = failed.collect();
    format!("{}@{} is out of service ({:.1} ms){cut}{failed}", done.id, done.version, done.ms)
}

pub(super) fn registered(done: &Registered) -> String {
    let Registered { id, version, digest, .. } = done;
    let digest = digest.get(..12).unwrap_or(digest);
    if done.fresh {
        format!("registered {id}@{version} ({digest})")
    } else {
        format!("{id}@{version} was registered already ({digest})")
    }
}

pub(super) fn unregistered(done: &Unregistered) -> String {
    let versions: Vec<_> = done.versions.iter().map(|version| format!("{}@{version}", done.id)).collect();
    format!("unregistered {}", versions.join(", "))
}

/// A slot as it is sent.
#[derive(Deserialize)]
pub(super) struct Slot {
    id: String,
    version: String,
    state: String,
    weight: u8,
    previous: Option<String>,
    health: String,
    since: u64,
    frozen: Option<String>,
    candidate: Option<Candidate>,
    /// The others of its set.
    #[serde(default)]
    set: Vec<String>,
}

impl Slot {
    /// Whether an activation of this module runs.
    pub(super) fn is_in_flight(&self, id: &str) -> bool {
        self.id == id && (self.candidate.is_some() || matches!(&*self.state, "activating" | "rolling-back"))
    }
}

#[derive(Deserialize)]
struct Candidate {
    version: String,
    state: String,
    weight: u8,
    paused: bool,
}

pub(super) fn slots(rows: &[Slot]) -> String {
    if rows.is_empty() {
        return "nothing serves yet; replug register PATH, then replug activate ID".to_owned();
    }
    let mut table = table(&["ID", "VERSION", "STATE", "WEIGHT", "HEALTH", "PREVIOUS", "SINCE", "CANDIDATE"]);
    for slot in rows {
        let candidate = slot.candidate.as_ref();
        let candidate = candidate.map_or(String::new(), |it| {
            let paused = if it.paused { " paused" } else { "" };
            format!("{} {} {} %{paused}", it.version, it.state, it.weight)
        });
        let previous = slot.previous.clone().unwrap_or_default();
        let weight = format!("{} %", slot.weight);
        let state = if slot.frozen.is_some() { format!("{}, frozen", slot.state) } else { slot.state.clone() };
        let state = if slot.set.is_empty() { state } else { format!("{state} with {}", slot.set.join(", ")) };
        let since = moment(slot.since);
        table.add_row([&slot.id, &slot.version, &state, &weight, &slot.health, &previous, &since, &candidate]);
    }
    text(table)
}

pub(super) fn health(views: &[HealthView]) -> String {
    if views.is_empty() {
        return "nothing serves yet; replug register PATH, then replug activate ID".to_owned();
    }
    let mut table =
        table(&["ID", "VERSION", "HEALTH", "CHECK", "TYPE", "STATUS", "CRITICAL", "FAILURES", "MS", "LAST", "DETAIL"]);
    for view in views {
        for one in std::iter::once(&view.serving).chain(&view.candidate) {
            let first = [&view.id, &one.version, one.report.status.name()].map(str::to_owned);
            if one.report.checks.is_empty() {
                table.add_row(first.clone());
            }
            for check in &one.report.checks {
                let critical = if check.critical { "yes" } else { "no" };
                let (id, kind, status) = (check.id.clone(), check.kind.to_string(), check.status.name().to_owned());
                let (failures, ms) = (check.failures.to_string(), format!("{:.1}", check.latency_ms));
                let last = if check.last_check == 0 { String::new() } else { moment(check.last_check) };
                let rest = [id, kind, status, critical.to_owned(), failures, ms, last, check.detail.clone()];
                table.add_row(first.iter().cloned().chain(rest));
            }
        }
    }
    text(table)
}

pub(super) fn versions(rows: &[VersionRow]) -> String {
    let mut table = table(&["VERSION", "STATE", "REGISTERED", "DIGEST", "REASON"]);
    for row in rows {
        let registered = row.registered_at.map_or(String::new(), moment);
        let digest = row.digest.get(..12).unwrap_or(&row.digest);
        table.add_row([&row.version, &*row.state, &registered, digest, row.reason.as_deref().unwrap_or_default()]);
    }
    text(table)
}

pub(super) fn found(rows: &[FoundModule]) -> String {
    if rows.is_empty() {
        return "no registered module offers it".to_owned();
    }
    let mut table = table(&["ID", "VERSION", "STATE", "OFFERS"]);
    for row in rows {
        let offers: Vec<_> =
            row.capabilities.iter().map(|it| format!("{}@{} ({})", it.id, it.version, it.category)).collect();
        table.add_row([&row.id, &row.version, &*row.state, &offers.join(", ")]);
    }
    text(table)
}

/// A module as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Module {
    id: String,
    version: String,
    state: String,
    reason: Option<String>,
    since: u64,
    weight: u8,
    digest: String,
    registered_at: u64,
    manifest: Node,
}

pub(super) fn module(module: &Module) -> String {
    let since = if module.since == 0 { String::new() } else { format!(" since {}", moment(module.since)) };
    let reason = module
        .reason
        .as_deref()
        .map_or(String::new(), |reason| format!("\n# reason: {}", reason.replace('\n', "\n#   ")));
    // Comments, so that the whole is a manifest that can be kept.
    format!(
        "# {}@{}: {}{since}, {} % of the traffic{reason}\n# registered {}, digest {}\n{}",
        module.id,
        module.version,
        module.state,
        module.weight,
        moment(module.registered_at),
        module.digest,
        module.manifest
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

fn text(mut table: Table) -> String {
    for index in 0..table.column_count() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
        }
    }
    table.trim_fmt()
}

/// Milliseconds since 1970 as a date and a time.
fn moment(millis: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(millis / 1000).unwrap_or(0)).ok();
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    at.and_then(|at| at.format(&format).ok()).unwrap_or_default()
}
