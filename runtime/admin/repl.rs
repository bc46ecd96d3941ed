//! The REPL: the command line's verbs, line by line, against the runtime of one data directory.
//!
//! ```text
//! a terminal ──▸ prompt ─┐            ┌▸ link ──▸ the runtime's versions, for completion
//!                        ├▸ line ──▸ the command line's own code
//! a pipe ──────▸ script ─┘
//! ```
//!
//! It has no table of its own: a line is read by the definitions of the command line and run by its code, so that a new verb
//! is here with its help, completion and hints. What is particular to the REPL is `help`, `exit` and `quit`.

use std::io::{IsTerminal, stderr, stdin};
use std::process::ExitCode;

use super::cli::{Exit, Globals, Output, ReplArgs};

mod complete;
mod history;
mod inventory;
mod line;
mod link;
mod paths;
mod prompt;
mod script;
mod words;

/// Reads commands until there are no more.
///
/// At a terminal it ends with 0, or with 4 when no runtime answers at the start; an error of a line only is told. Otherwise
/// the lines run in order, without a prompt, and it ends as the first one that failed, or with 0; the others run all the
/// same, unless `stop` is asked for.
#[must_use]
pub fn run(args: &ReplArgs, globals: &Globals) -> ExitCode {
    let exit = if stdin().is_terminal() && stderr().is_terminal() {
        prompt::run(globals)
    } else {
        let output = |line| Output::standard(globals.json).at_line(line);
        script::run(stdin().lock(), args.stop, globals, output)
    };
    ExitCode::from(exit)
}

fn failed(error: &super::CommandError, globals: &Globals) -> Exit {
    Output::standard(globals.json).error(error);
    Exit::of(error)
}
