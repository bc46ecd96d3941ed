//! The `replug` binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use replug::admin::cli::{self, Command};
use replug::admin::{CommandError, repl};
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

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let args = match cli.command {
        Command::Request(request) => return cli::run(request, &cli.globals),
        Command::Repl(args) => return repl::run(&args, &cli.globals),
        Command::Serve(args) => args,
    };
    let levels = std::env::var(LOG).unwrap_or_else(|_| LEVELS.to_owned());
    let filter = match EnvFilter::builder().parse(&levels) {
        Ok(filter) => filter,
        Err(error) => {
            let error = CommandError::new("usage", format!("{LOG}: `{levels}` says no levels: {error}"));
            return cli::fail(&error.with_help(format!("{LOG}=info, or {LOG}=warn,replug=debug")), &cli.globals);
        }
    };
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let options = Options {
        modules: args.dirs,
        data: cli.globals.data.clone(),
        listen: args.listen,
        admin: args.admin,
        json: cli.globals.json,
    };
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return cli::fail(&CommandError::new("failed", format!("no threads: {error}")), &cli.globals),
    };
    let ended = tokio.block_on(serve(options));
    // what still blocks (a migration is one transaction) is not waited for
    tokio.shutdown_timeout(Duration::from_millis(500));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::fail(&CommandError::new("failed", error.to_string()), &cli.globals),
    }
}
