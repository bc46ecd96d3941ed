//! What the command line takes. Its words come from the table of verbs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use semver::Version;

use crate::admin::commands::verbs;
use crate::registry::versions::ModuleRef;

/// Hot-pluggable modules inside a Rust process.
#[derive(Debug, Parser)]
#[command(name = "replug", version, about = "Runs, swaps and takes back modules while requests flow", after_help = EXITS)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXITS: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 an activation was rolled back, 4 the runtime cannot be reached";

/// Options of every command, before or after its arguments.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The data directory; commands find the running server and its token there
    #[arg(long, global = true, value_name = "DIR", default_value = ".replug")]
    pub data: PathBuf,
    /// Write one JSON document to standard output, and errors as JSON to standard error
    #[arg(long, global = true)]
    pub json: bool,
}

/// A verb with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the runtime.
    #[command(about = about("serve"), after_help = example("serve"))]
    Serve(ServeArgs),
    /// Ask for commands line by line.
    #[command(about = about("repl"), after_help = example("repl"))]
    Repl(ReplArgs),
    /// Everything else.
    #[command(flatten)]
    Request(Request),
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Folders that hold module folders; they only seed the data directory
    #[arg(value_name = "DIR", default_value = "modules")]
    pub dirs: Vec<PathBuf>,
    /// Where the gateway listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the admin API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
}

/// Arguments of `repl`.
#[derive(Clone, Debug, Args)]
pub struct ReplArgs {
    /// End at the first line that fails, where lines come from a pipe or a file; otherwise all lines run
    #[arg(long)]
    pub stop: bool,
}

/// What is asked of a running server, or of no server at all.
#[derive(Debug, Subcommand)]
pub enum Request {
    /// Register a folder.
    #[command(about = about("register"), after_help = example("register"))]
    Register {
        /// The module's folder
        path: PathBuf,
    },
    /// Remove versions.
    #[command(about = about("unregister"), after_help = example("unregister"))]
    Unregister {
        /// The module, or one version of it
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// Register, and activate where a version serves.
    #[command(about = about("update"), after_help = example("update"))]
    Update {
        /// The module's folder
        path: PathBuf,
        /// How the version takes over, if not as its manifest says
        #[arg(long, value_enum)]
        strategy: Option<Strategy>,
    },
    /// Bring a version into service.
    #[command(about = about("activate"), after_help = example("activate"))]
    Activate {
        /// The module, or one version of it
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
        /// How the version takes over, if not as its manifest says
        #[arg(long, value_enum)]
        strategy: Option<Strategy>,
        /// Return at once; the activation goes on
        #[arg(long)]
        no_wait: bool,
    },
    /// Take a module out of service.
    #[command(about = about("deactivate"), after_help = example("deactivate"))]
    Deactivate {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
    /// Return to an earlier version.
    #[command(about = about("rollback"), after_help = example("rollback"))]
    Rollback {
        /// The module
        #[arg(value_parser = id)]
        id: String,
        /// The version to return to, if not the one on standby
        #[arg(long, value_name = "V")]
        to: Option<Version>,
    },
    /// The slots.
    #[command(about = about("list"), after_help = example("list"))]
    List,
    /// A manifest and its state.
    #[command(about = about("show"), after_help = example("show"))]
    Show {
        /// The module, or one version of it; without a version the one that serves, or else the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// The versions of a module.
    #[command(about = about("versions"), after_help = example("versions"))]
    Versions {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
    /// Who offers something.
    #[command(about = about("find"), after_help = example("find"))]
    Find(FindArgs),
    /// Check a folder.
    #[command(about = about("check"), after_help = example("check"))]
    Check {
        /// The module's folder
        dir: PathBuf,
    },
}

/// What to find: one of the two.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct FindArgs {
    /// The capability's id
    #[arg(long, value_name = "C")]
    pub capability: Option<String>,
    /// The category
    #[arg(long, value_name = "C")]
    pub category: Option<String>,
}

/// How a version takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// At once
    Instant,
    /// Step by step, with migrations, warm-up and a judged traffic shift
    Gradual,
}

impl Strategy {
    /// The name as it is sent.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Gradual => "gradual",
        }
    }
}

fn about(verb: &str) -> &'static str {
    verbs::find(verb).map_or("", |verb| verb.about)
}

fn example(verb: &str) -> String {
    format!("Example:\n  {}", verbs::find(verb).map_or("", |verb| verb.example))
}

fn id(text: &str) -> Result<String, String> {
    match text.parse::<ModuleRef>() {
        Ok(ModuleRef { id, version: None }) => Ok(id),
        Ok(_) => Err("a module is meant, so leave @ and the version out".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
