//! What a module asks for, as text for people.

use super::{moment, table, text};
use crate::admin::commands::DecisionsView;
use crate::sandbox::permissions::{PermissionsView, Standing};

pub(in crate::admin::cli) fn permissions(view: &PermissionsView) -> String {
    let label = format!("{}@{}", view.id, view.version);
    if view.permissions.is_empty() {
        return format!("{label} asks for nothing beyond what is its own");
    }
    let mut table = table(&["PERMISSION", "STATE", "GIVEN", "LINE", "BY", "WHEN"]);
    for row in &view.permissions {
        let given = match row.state {
            Standing::Narrowed | Standing::Denied => row.effective.join(", "),
            _ => String::new(),
        };
        let line = row.line.map_or(String::new(), |line| format!("{}:{line}", row.file));
        let (by, at) = (row.by.map_or("", |who| who.name()), row.at.map_or(String::new(), moment));
        table.add_row([&row.permission, name(row.state), &given, &line, by, &at]);
    }
    let rest = match view.waiting() {
        0 => String::new(),
        1 => format!("\none waits, so {label} is not activated: replug permissions grant {label}"),
        waiting => format!("\n{waiting} wait, so {label} is not activated: replug permissions grant {label}"),
    };
    format!("{}{rest}", text(table))
}

const fn name(state: Standing) -> &'static str {
    match state {
        Standing::Declared => "declared",
        Standing::Granted => "granted",
        Standing::Narrowed => "narrowed",
        Standing::Denied => "denied",
        Standing::Waiting => "waiting",
    }
}

pub(in crate::admin::cli) fn decisions(view: &DecisionsView) -> String {
    let label = format!("{}@{}", view.id, view.version);
    let rows = view.decided.iter().map(|row| {
        let to = if row.to.is_empty() { String::new() } else { format!(" to {}", row.to.join(", ")) };
        let replaces = match row.replaces.as_slice() {
            [] => String::new(),
            replaces => format!("; decided before, and gone with it: {}", replaces.join(", ")),
        };
        format!("{} {}{to}{replaces}", name(row.state), row.permission)
    });
    let mut lines: Vec<String> = rows.collect();
    if lines.is_empty() {
        lines.push("nothing is left to decide: all of it was decided so before".to_owned());
    }
    lines.push(match view.waiting.as_slice() {
        [] => format!("nothing of {label} waits; if it does not serve yet: replug activate {label}"),
        waiting => format!("{label} waits still for {}", waiting.join(", ")),
    });
    lines.join("\n")
}
