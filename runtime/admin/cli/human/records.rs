//! What was done and what happens, as text for people.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{moment, table, text};
use crate::engine::SteerReport;

/// What a confirmation came to, as it is sent.
#[derive(Deserialize)]
pub(in crate::admin::cli) struct Confirmation {
    id: String,
    version: String,
    previous: Option<String>,
    already: bool,
    /// The others of its set.
    #[serde(default)]
    set: Vec<Self>,
}

pub(in crate::admin::cli) fn confirmed(done: &Confirmation) -> String {
    std::iter::once(done).chain(&done.set).map(alone).collect::<Vec<_>>().join("\n")
}

fn alone(done: &Confirmation) -> String {
    let what = if done.already { "was confirmed before" } else { "is confirmed" };
    let back = done.previous.as_ref().map_or(String::new(), |previous| format!("; a rollback returns to {previous}"));
    format!("{}@{} {what}{back}", done.id, done.version)
}

/// An entry of a history, as it is sent.
#[derive(Deserialize)]
pub(in crate::admin::cli) struct HistoryRow {
    number: u64,
    command: String,
    version: String,
    from: Option<String>,
    strategy: String,
    began: u64,
    ended: Option<u64>,
    outcome: Option<String>,
    reason: Option<String>,
}

pub(in crate::admin::cli) fn history(id: &str, rows: &[HistoryRow]) -> String {
    if rows.is_empty() {
        return format!("nothing was done to {id} yet; replug activate {id}");
    }
    let mut table = table(&["#", "WHEN", "COMMAND", "VERSION", "STRATEGY", "OUTCOME", "TOOK", "REASON"]);
    for row in rows {
        let version = match (&row.from, &*row.command) {
            (_, "deactivate") => format!("{} -> none", row.version),
            (Some(from), _) => format!("{from} -> {}", row.version),
            (None, _) => row.version.clone(),
        };
        table.add_row([
            &row.number.to_string(),
            &moment(row.began),
            &row.command,
            &version,
            &row.strategy,
            row.outcome.as_deref().unwrap_or(if row.ended.is_some() { "" } else { "runs" }),
            &row.ended.map_or(String::new(), |ended| took(ended.saturating_sub(row.began))),
            row.reason.as_deref().unwrap_or_default(),
        ]);
    }
    text(table)
}

fn took(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

/// What the audit log has, as it is sent.
#[derive(Deserialize)]
#[serde(untagged)]
pub(in crate::admin::cli) enum Row {
    Entry(Entry),
    Damage(Damage),
}

impl Row {
    /// The number of what follows it.
    pub(in crate::admin::cli) const fn next(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.seq.saturating_add(1),
            Self::Damage(damage) => damage.before,
        }
    }

    /// What cannot be shown, if it says so.
    pub(in crate::admin::cli) fn damage(&self) -> Option<String> {
        let Self::Damage(damage) = self else { return None };
        Some(match damage.lost() {
            None => format!("a line behind entry {} does not belong there", damage.after),
            Some((first, last)) if first == last => format!("entry {first} cannot be read"),
            Some((first, last)) => format!("the entries {first} to {last} cannot be read"),
        })
    }
}

/// A place at which the log is not what was written: its entries from behind `after` to `before`, if there are any between.
#[derive(Deserialize)]
pub(in crate::admin::cli) struct Damage {
    after: u64,
    before: u64,
    damaged: String,
}

impl Damage {
    /// The first and the last number without an entry that can be read, if there is any.
    const fn lost(&self) -> Option<(u64, u64)> {
        if self.before.saturating_sub(self.after) < 2 { None } else { Some((self.after + 1, self.before - 1)) }
    }
}

/// An entry of the audit log, as it is sent.
#[derive(Deserialize)]
pub(in crate::admin::cli) struct Entry {
    seq: u64,
    at: u64,
    kind: String,
    actor: String,
    subject: String,
    data: Map<String, Value>,
}

/// The entries as lines of one layout, so that more of them can follow; with a header if they are the first.
pub(in crate::admin::cli) fn entries(rows: &[Row], first: bool) -> String {
    let line = |seq: &str, at: &str, actor: &str, kind: &str, subject: &str, data: &str| {
        format!("{seq:>6}  {at:20}  {actor:7}  {kind:21}  {subject:24}  {data}").trim_end().to_owned()
    };
    let header = first.then(|| line("SEQ", "WHEN", "WHO", "WHAT", "SUBJECT", "MORE"));
    let rows = rows.iter().map(|row| {
        let row = match row {
            Row::Entry(entry) => entry,
            Row::Damage(damage) => {
                let numbers = match damage.lost() {
                    None => String::new(),
                    Some((first, last)) if first == last => first.to_string(),
                    Some((first, last)) => format!("{first}-{last}"),
                };
                return line(&numbers, "", "", "damaged", "", &damage.damaged);
            }
        };
        let told = row.data.iter().filter(|(_, value)| !value.is_null());
        let data: Vec<_> = told.map(|(name, value)| format!("{name}={}", short(value))).collect();
        let (seq, subject) = (row.seq.to_string(), row.subject.replace('\n', " "));
        line(&seq, &moment(row.at), &row.actor, &row.kind, &subject, &data.join(" "))
    });
    header.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// A value on a line: a digest by its beginning.
fn short(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => text[..12].to_owned(),
        Some(text) if text.contains(char::is_whitespace) => value.to_string(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

/// What an order for a traffic shift came to.
pub(in crate::admin::cli) fn steered(report: &SteerReport) -> String {
    let SteerReport { id, version, done, weight, next } = report;
    let what = match &**done {
        "paused" => format!("stays at {weight} % of the traffic; replug resume {id} lets it go on"),
        "resumed" => format!("goes on from {weight} % of the traffic"),
        "promoted" if *next == 100 => "takes all of the traffic".to_owned(),
        "promoted" => format!("goes from {weight} % of the traffic to {next} %"),
        _ => "gives up; what served before takes all of the traffic".to_owned(),
    };
    format!("{id}@{version} {what}")
}

/// An event on a line.
pub(in crate::admin::cli) fn event(event: &Value) -> String {
    let field = |name: &str| event[name].as_str().unwrap_or_default();
    let because =
        |name: &str| Some(field(name)).filter(|it| !it.is_empty()).map_or(String::new(), |it| format!(": {it}"));
    let holder = if event["instance"].is_object() { &event["instance"] } else { event };
    let of = |name: &str| holder[name].as_str().unwrap_or_default();
    let label = format!("{}@{}", of("id"), of("version"));
    let ms = event["ms"].as_f64().unwrap_or_default();
    let weight = &event["weight"];
    match field("event") {
        "registered" => format!("{label} registered"),
        "unregistered" => format!("{label} unregistered"),
        "stateChanged" => format!("{label} {} -> {}{}", field("from"), field("to"), because("reason")),
        "activationBegan" => {
            let from = Some(field("from")).filter(|from| !from.is_empty());
            let until = from.map_or(String::new(), |from| format!(", {from} serves until then"));
            format!("{label} begins ({}){until}", field("strategy"))
        }
        "stepBegan" => {
            let left = event["leftMs"].as_f64().unwrap_or_default() / 1000.0;
            format!("{label}   {} begins ({left:.1} s left)", field("step"))
        }
        "stepEnded" if event["fault"].is_null() => format!("{label}   {} done ({ms:.1} ms)", field("step")),
        "stepEnded" => format!("{label}   {} failed ({ms:.1} ms){}", field("step"), because("fault")),
        "trafficShifted" => format!("{label}   takes {weight} % of the traffic"),
        "shiftSteered" => format!("{label}   at {weight} %: {} by hand", field("done")),
        "judged" => format!("{label}   at {weight} %: {}{}", field("verdict"), because("detail")),
        "providerChosen" => {
            let module = Some(field("module")).filter(|module| !module.is_empty());
            format!("{} is called of {}", field("capability"), module.unwrap_or("whichever serves"))
        }
        "frozen" => format!("{label} is frozen (migration {}){}", field("migration"), because("reason")),
        "rolledBack" => format!("{label} is {}{}", field("outcome"), because("reason")),
        "activationEnded" => format!("{label} ended: {}{}", field("outcome"), because("reason")),
        "healthChanged" => format!("{label} is {}{}", field("status"), because("detail")),
        "workerFailed" => format!("{label} worker {} failed{}", field("child"), because("reason")),
        "criticalError" => format!("{label} critical error{}", because("reason")),
        "alarm" => format!("ALARM {}{}", field("subject"), because("message")),
        "lagged" => format!("{} events passed unseen", event["count"]),
        // a newer runtime may tell of what this program does not know
        _ => event.to_string(),
    }
}
