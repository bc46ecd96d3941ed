//! What is said to whoever sits at the terminal: on standard error, beside the log.

use std::io::Write as _;

use crate::admin::commands::Finding;
use crate::app::one_line::escaped;

/// A line.
pub(super) fn line(text: &str) {
    // nobody reads it: no reason not to serve
    let _ = writeln!(std::io::stderr().lock(), "dev: {}", escaped(text));
}

/// Faults, each with its place first, so that terminals and editors find it.
pub(super) fn faults(faults: &[Finding]) {
    let mut err = std::io::stderr().lock();
    for fault in faults {
        let at = &fault.location;
        let place = escaped(&format!("{}:{}:{}", at.file, at.line, at.column)).to_string();
        let _ = writeln!(err, "{place}: {}", escaped(&fault.message));
        if let Some(help) = &fault.help {
            let _ = writeln!(err, "  help: {}", escaped(help));
        }
    }
}
