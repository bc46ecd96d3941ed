//! The command line: a client of the admin API, and the door to `serve`.
//!
//! Standard output has the result, standard error has errors, warnings and progress. With `--json` the result is one JSON
//! document and an error is another one, `{"error": …}`. See [`Exit`] for what the exit codes mean.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod args;
mod backup;
mod choosing;
mod client;
mod exit;
mod human;
mod kit;
mod output;
mod permissions;
mod records;
mod relations;
mod requests;
mod sse;
mod steering;
mod top;
mod watch;
mod yaml;

#[cfg(test)]
mod tests;

pub use args::{
    AuditAction, AuditArgs, BackupArgs, Choosing, Cli, Command, FindArgs, Globals, LanguageArgs, NewArgs,
    PermissionAction, PermissionArgs, Relation, ReplArgs, Request, RestoreArgs, ServeArgs, Steer, Strategy, TopArgs,
};
pub use backup::restored;
pub use exit::Exit;

use super::CommandError;
pub(super) use client::{Body, Client};
pub(super) use output::Output;
pub(super) use requests::run_until;

/// Reads the process's arguments. `Err` is how to exit when they asked for help or could not be read; what there was to say
/// is written then.
///
/// # Errors
/// As said.
pub fn parse() -> Result<Cli, ExitCode> {
    parse_from::<Cli>(std::env::args_os().collect(), &mut Output::standard(false)).map_err(ExitCode::from)
}

/// Runs a request to its end.
pub fn run(request: Request, globals: &Globals) -> ExitCode {
    requests::run(request, globals, &mut Output::standard(globals.json)).into()
}

/// Says why `serve` could not do its work, as every other command does.
pub fn fail(error: &CommandError, globals: &Globals) -> ExitCode {
    let mut output = Output::standard(globals.json);
    output.error(error);
    output.end(Exit::Failed).into()
}

/// Reads arguments as what `P` defines. `Err` is how to exit; what there was to say is written then.
pub(super) fn parse_from<P: Parser>(args: Vec<OsString>, output: &mut Output) -> Result<P, Exit> {
    let json = output.is_json() || args.iter().any(|arg| arg == "--json");
    P::try_parse_from(args).map_err(|error| {
        if !error.use_stderr() {
            output.help(&error.render().to_string());
            return output.end(Exit::Done);
        }
        let text = error.render().to_string();
        if json {
            output.json();
            output.error(&usage(&text));
        } else {
            output.usage(text.trim_end());
        }
        Exit::Usage
    })
}

/// clap's message in the form of every other error: the first paragraph is what is wrong, the rest helps.
fn usage(text: &str) -> CommandError {
    let (message, rest) = text.trim().split_once("\n\n").unwrap_or((text.trim(), ""));
    let message = message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let help = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    CommandError::new("usage", message).with_help(if help.is_empty() { "replug --help".to_owned() } else { help })
}
