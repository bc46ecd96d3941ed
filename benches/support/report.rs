//! What a benchmark of ratios is told on its command line, and how it tells what it found.
//!
//! `cargo bench --bench NAME -- [PART OF A ROW'S NAME] [--quick]`; quick is for a look at whether it works.

use std::io::Write as _;

pub(crate) struct Report {
    filter: Option<String>,
    pub(crate) is_quick: bool,
}

impl Report {
    pub(crate) fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let is_quick = args.iter().any(|arg| arg == "--quick");
        Self { filter: args.into_iter().find(|arg| !arg.starts_with("--")), is_quick }
    }

    /// Whether the row of this name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|part| name.contains(part))
    }

    pub(crate) fn tell(&self, name: &str, found: &str) {
        let quick = if self.is_quick { "  (quick: no figure to keep)" } else { "" };
        writeln!(std::io::stdout(), "{name:<56} {found}{quick}").expect("somebody listens");
    }
}
