//! One line of the REPL: the command line's definitions without the program's name, and how to leave.

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use super::words;
use crate::admin::CommandError;
use crate::admin::cli::{Exit, Globals, Output, Request, parse_from, run_until};

/// What a line takes.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    about = "Each line is a command of `replug`; Tab completes it, Ctrl-C breaks off, Ctrl-D ends",
    override_usage = "COMMAND [ARGUMENTS] [OPTIONS]",
    after_help = "`help COMMAND` says more about one"
)]
pub(super) struct Line {
    /// Write one JSON document to standard output, and errors as JSON to standard error
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Request(Request),
    /// End the REPL, as Ctrl-D does
    #[command(visible_alias = "quit")]
    Exit,
}

/// What a line came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It holds no command.
    Nothing,
    /// Its command ended so.
    Ended(Exit),
    /// It ends the REPL.
    Left,
}

/// The definitions of a line, with all that clap adds to them.
pub(super) fn definition() -> clap::Command {
    let mut definition = Line::command();
    definition.build();
    definition
}

/// Runs a line to its end, or until `broken_off`.
pub(super) fn run(line: &str, globals: &Globals, mut output: Output, broken_off: impl Future<Output = ()>) -> Ran {
    let Some(words) = words::words(line) else {
        output.error(&CommandError::new("usage", "a quote is not closed").with_help("close it, or write \\ before it"));
        return Ran::Ended(Exit::Usage);
    };
    // a line may be copied from a shell
    let words = words.strip_prefix(&["replug".to_owned()]).map_or(&*words, |rest| rest);
    if words.is_empty() {
        return Ran::Nothing;
    }
    match parse_from(words.iter().map(OsString::from).collect(), &mut output) {
        Err(exit) => Ran::Ended(exit),
        Ok(Line { verb: Verb::Exit, .. }) => Ran::Left,
        Ok(Line { json, verb: Verb::Request(request) }) => {
            if json {
                output.json();
            }
            Ran::Ended(run_until(request, globals, &mut output, broken_off))
        }
    }
}
