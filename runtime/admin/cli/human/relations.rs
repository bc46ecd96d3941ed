//! How versions stand to each other, as text for people.

use super::{table, text};
use crate::admin::commands::{Conflicts, Dependencies, DependencyRow, NeedRow};

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
