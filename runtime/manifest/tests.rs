//! Fixtures are manifests whose faults stand below the lines they are about:
//!
//! ```text
//! runtime:
//!   worker: 2
//!   ^ unknown key `worker` in runtime
//!     help: did you mean `workers`?
//! ```
//!
//! A line that begins with `^` (or `⚠` for a warning), and the help below it, is not part of the manifest; the mark
//! stands in the fault's column.

use super::{Fault, Loaded, load};

mod config;
mod files;
mod hostile;
mod http;
mod identity;
mod lifecycle;
mod runtime;
mod sample;
mod values;
mod yaml;

/// Loads the manifest of `fixture` and holds that its faults and warnings are those written in it, all of them.
/// A fixture without an `id` at the top gets one, and a version, in two lines before its first.
#[track_caller]
fn check(fixture: &str) {
    if fixture.starts_with("id: ") {
        check_as_it_is(fixture);
    } else {
        check_as_it_is(&format!("id: m\nversion: 1.0.0\n{fixture}"));
    }
}

/// As [`check`], and adds nothing to the fixture.
#[track_caller]
fn check_as_it_is(fixture: &str) {
    let text: String = fixture.lines().filter(|line| !is_note(line)).flat_map(|line| [line, "\n"]).collect();
    let notes = match load("m.yaml", text.as_bytes()) {
        Ok(loaded) => loaded.warnings.into_iter().map(|warning| ('⚠', warning)).collect(),
        Err(faults) => faults.0.into_iter().map(|fault| ('^', fault)).collect(),
    };
    let annotated = annotate(&text, notes);
    assert_eq!(annotated, fixture, "found:\n{annotated}\nexpected:\n{fixture}");
}

fn is_note(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['^', '⚠']) || line.starts_with("help: ")
}

fn annotate(text: &str, notes: Vec<(char, Fault)>) -> String {
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        out.push_str(&format!("{line}\n"));
        for (mark, note) in notes.iter().filter(|(_, note)| note.line == index + 1) {
            let indent = " ".repeat(note.column - 1);
            out.push_str(&format!("{indent}{mark} {}\n", note.message));
            if let Some(help) = &note.help {
                out.push_str(&format!("{indent}  help: {help}\n"));
            }
        }
    }
    out
}

/// Loads a manifest that must be right.
#[track_caller]
fn good(text: &str) -> Loaded {
    match load("m.yaml", text.as_bytes()) {
        Ok(loaded) => loaded,
        Err(faults) => panic!("refused:\n{faults}\n\n{text}"),
    }
}
