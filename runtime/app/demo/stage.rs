//! Where the demo says what it does while it does it: on standard error, since standard output has the result. A terminal
//! gets a line that lives as well.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the line that lives turns.
const TURN: Duration = Duration::from_millis(120);

/// Where progress goes.
pub(super) struct Stage {
    /// Hidden where there is no terminal.
    line: ProgressBar,
}

impl Stage {
    pub(super) fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let line = ProgressBar::with_draw_target(None, target).with_style(ProgressStyle::default_spinner());
        if watched {
            line.enable_steady_tick(TURN);
        }
        Self { line }
    }

    /// A chapter begins.
    pub(super) fn begin(&self, number: u8, title: &str) {
        self.write(&format!("\n{number}. {title}"));
    }

    /// Something happened.
    pub(super) fn say(&self, text: &str) {
        self.write(&format!("   · {text}"));
    }

    /// What goes on at this moment; the next such text takes its place. Only a terminal shows it.
    pub(super) fn live(&self, text: String) {
        self.line.set_message(text);
    }

    /// The chapter ends.
    pub(super) fn end(&self, text: &str) {
        self.line.set_message("");
        self.write(&format!("   → {text}"));
    }

    fn write(&self, text: &str) {
        self.line.suspend(|| {
            // a reader that went away does not stop the demo: the exit code counts
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
