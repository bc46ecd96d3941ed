//! The `replug` binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use replug::admin::cli::{self, Command, Exit};
use replug::admin::{CommandError, repl};
use replug::app::demo::demo;
use replug::app::one_line::OneLine;
use replug::app::restore;
use replug::app::serve::{Options, serve};
use tracing_subscriber::EnvFilter;

/// It gives memory back, and counts what each thread allocates, which is how Rhai's memory limit measures.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The environment variable that chooses what is logged, in the syntax of `tracing_subscriber`.
const LOG: &str = "REPLUG_LOG";

/// What is logged otherwise; the spans of single actors say nothing to a person.
const LEVELS: &str = "info,ractor=warn";

/// What is logged where all there is to say is said otherwise.
const SILENT: &str = "off";

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let ended = match cli.command {
        Command::Request(request) => return cli::run(request, &cli.globals),
        Command::Repl(args) => return repl::run(&args, &cli.globals),
        Command::Serve(args) => log(LEVELS).and_then(|()| {
            let options = Options {
                modules: args.dirs,
                data: cli.globals.data.clone(),
                listen: args.listen,
                admin: args.admin,
                dev: args.dev,
                json: cli.globals.json,
            };
            wait(serve(options))?.map(|()| Exit::Done).map_err(failed)
        }),
        // one document tells what came of it
        Command::Restore(args) => log(SILENT).and_then(|()| {
            let done = wait(restore(&args.file, &cli.globals.data, args.replace))?.map_err(failed)?;
            Ok(cli::restored(&args.file, &done.contents, done.kept.as_deref(), &cli.globals))
        }),
        // the demo tells itself what happens
        Command::Demo => log(SILENT).and_then(|()| {
            let kept = wait(demo(cli.globals.json))?.map_err(failed)?;
            Ok(if kept { Exit::Done } else { Exit::Failed })
        }),
    };
    ended.map_or_else(|error| cli::fail(&error, &cli.globals), ExitCode::from)
}

/// Logs to standard error what [`LOG`] says, or else `levels`.
fn log(levels: &str) -> Result<(), CommandError> {
    let levels = std::env::var(LOG).unwrap_or_else(|_| levels.to_owned());
    let filter = EnvFilter::builder().parse(&levels).map_err(|error| {
        let error = CommandError::new("usage", format!("{LOG}: `{levels}` says no levels: {error}"));
        error.with_help(format!("{LOG}=info, or {LOG}=warn,replug=debug"))
    })?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().fmt_fields(OneLine).with_env_filter(filter);
    log.with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

/// Runs `work` on threads of its own.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let tokio = tokio.map_err(|error| CommandError::new("failed", format!("no threads: {error}")))?;
    let ended = tokio.block_on(work);
    // what still blocks (a migration is one transaction) is not waited for
    tokio.shutdown_timeout(Duration::from_millis(500));
    Ok(ended)
}

fn failed(error: impl std::fmt::Display) -> CommandError {
    CommandError::new("failed", error.to_string())
}
