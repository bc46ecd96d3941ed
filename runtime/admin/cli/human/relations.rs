//! How versions stand to each other, as text for people.

use super::{moment, table, text};
use crate::admin::commands::{Conflicts, Dependencies, DependencyRow, NeedRow, Why};
use crate::engine::Forecast;
use crate::registry::compatibility::CompatibilityResult;
use crate::registry::validation::ValidationResult;

/// What goes together, in the order to activate it.
pub(in crate::admin::cli) fn dependencies(found: &Dependencies) -> String {
    let mut rows = table(&["ID", "VERSION", "CHANGE", "NEEDED BY"]);
    for row in &found.modules {
        let needed: Vec<_> = row.needed.iter().map(need).collect();
        rows.add_row([&row.id, &row.version, &change(row), &needed.join(", ")]);
    }
    let mut shown = text(rows);
    for optional in &found.optional {
        let met = optional.met.as_ref().map_or("does not run".to_owned(), |version| format!("{version} runs"));
        shown = format!("{shown}\noptional: {} {} ({met})", optional.id, optional.range);
    }
    for obstacle in &found.obstacles {
        shown = format!("{shown}\nin the way now: {obstacle}");
    }
    shown
}

fn change(row: &DependencyRow) -> String {
    match (&*row.change, &row.from) {
        ("keep", _) => "runs".to_owned(),
        ("replace", Some(from)) => {
            let way: Vec<&str> = std::iter::once(from).chain(&row.via).map(String::as_str).collect();
            format!("replaces {}", way.join(" -> "))
        }
        (other, _) => other.to_owned(),
    }
}

fn need(need: &NeedRow) -> String {
    let NeedRow { by, needs, range, capability } = need;
    if *capability { format!("{by} ({needs} {range})") } else { format!("{by} ({range})") }
}

/// What keeps a version from running.
pub(in crate::admin::cli) fn conflicts(found: &Conflicts) -> String {
    let Conflicts { id, version, running, registered } = found;
    if running.is_empty() && registered.is_empty() {
        return format!("nothing keeps {id}@{version} from running beside what is registered");
    }
    let now = running.iter().map(|line| format!("now: {line}"));
    let later = registered.iter().map(|line| format!("if it ran: {line}"));
    now.chain(later).collect::<Vec<_>>().join("\n")
}

/// Whether a version can run beside what runs.
pub(in crate::admin::cli) fn validation(found: &ValidationResult) -> String {
    let ValidationResult { id, version, obstacles, .. } = found;
    if found.valid {
        return format!("{id}@{version} can run beside what runs");
    }
    let lines = obstacles.iter().map(|obstacle| format!("\n  {obstacle}"));
    format!("{id}@{version} cannot run beside what runs{}", lines.collect::<String>())
}

/// Whether a version can take over from another one.
pub(in crate::admin::cli) fn compatibility(found: &CompatibilityResult) -> String {
    let CompatibilityResult { id, version, from, way, differences, .. } = found;
    let can = if found.compatible { "can" } else { "cannot" };
    let lost = differences.iter().map(|difference| format!("\n  {difference}"));
    format!("{id}@{version} {can} take over from {from}: it follows {way}{}", lost.collect::<String>())
}

/// What an activation would do.
pub(in crate::admin::cli) fn plan(found: &Forecast) -> String {
    let alone = std::iter::once(found).chain(&found.set).map(plan_of_one).collect::<Vec<_>>().join("\n\n");
    if found.set.is_empty() {
        return alone;
    }
    format!("{alone}\n\nas one: the traffic of all moves at once, and they are confirmed and return together")
}

fn plan_of_one(found: &Forecast) -> String {
    let from = found.from.as_ref().map_or("nothing of it serves".to_owned(), |from| format!("{from} serves"));
    let mut lines = vec![format!("{}@{}, {} ({from})", found.id, found.version, found.strategy)];
    lines.extend(found.refused.iter().map(|reason| format!("refused now: {reason}")));
    if !found.via.is_empty() {
        lines.push(format!("goes by {}, each by its own steps; then:", found.via.join(", ")));
    }
    lines.push("steps:".to_owned());
    for step in &found.steps {
        lines.extend(step.does.iter().map(|does| format!("  {:10} {does}", step.name)));
    }
    if !found.weights.is_empty() {
        let weights: Vec<_> = found.weights.iter().map(|weight| format!("{weight} %")).collect();
        lines.push(format!("traffic: {}", weights.join(", ")));
        lines.extend(found.mirror.as_ref().map(|mirror| {
            let methods = mirror.methods.join(", ");
            format!("mirror: at 0 % it is judged by copies of requests ({methods}; {} %)", mirror.share)
        }));
    }
    if found.confirm_window > 0 {
        lines.push(format!("confirms itself after {} ms", found.confirm_window));
    }
    if !found.changes.is_empty() {
        lines.push("changes:".to_owned());
        lines.extend(found.changes.iter().map(|change| format!("  {change}")));
    }
    if !found.touched.is_empty() {
        lines.push("touches:".to_owned());
        lines.extend(found.touched.iter().map(|touched| format!("  {} {}", touched.module, touched.how)));
    }
    if !found.untouched.is_empty() {
        lines.push(format!("does not touch: {}", found.untouched.join(", ")));
    }
    lines.push(format!("rollback: {}", found.rollback));
    lines.join("\n")
}

/// Why something is as it is.
pub(in crate::admin::cli) fn why(found: &Why) -> String {
    let mut lines = vec![format!("{}@{} is {}", found.id, found.version, found.state)];
    lines.extend(found.reasons.iter().map(|reason| match reason.at {
        Some(at) => format!("  {} ({})", reason.text, moment(at)),
        None => format!("  {}", reason.text),
    }));
    lines.join("\n")
}
