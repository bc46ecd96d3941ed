//! What the command line takes. Its words come from the table of verbs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use semver::Version;

use crate::admin::commands::verbs;
use crate::registry::versions::ModuleRef;
use crate::sandbox::permissions::Permission;

mod backup;
mod choosing;
mod long;
mod relations;
mod steering;

pub use backup::{BackupArgs, RestoreArgs};
pub use choosing::Choosing;
use long::{DEMO, PERMISSIONS, TOP, WATCH};
pub use relations::{FindArgs, Relation};
pub use steering::Steer;

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
    /// Show the product.
    #[command(about = about("demo"), after_help = example("demo"), long_about = DEMO)]
    Demo,
    /// Ask for commands line by line.
    #[command(about = about("repl"), after_help = example("repl"))]
    Repl(ReplArgs),
    /// Bring a data directory back.
    #[command(about = about("restore"), after_help = example("restore"), long_about = long::RESTORE)]
    Restore(RestoreArgs),
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
    /// Watch the folders: each save is checked, registered as a version of its own and swapped in
    #[arg(long)]
    pub dev: bool,
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
        /// Return once it is registered; the activation goes on
        #[arg(long)]
        no_wait: bool,
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
        /// Other modules, or versions of them, that take over, are confirmed and return with it as one; the traffic of all
        /// moves at once
        #[arg(long, value_name = "ID[@V]", num_args = 1..)]
        set: Vec<ModuleRef>,
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
        /// Return at once; the deactivation goes on
        #[arg(long)]
        no_wait: bool,
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
        /// Return at once; the rollback goes on
        #[arg(long)]
        no_wait: bool,
    },
    /// Make a version permanent.
    #[command(about = about("confirm"), after_help = example("confirm"))]
    Confirm {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
    /// Orders for a traffic shift.
    #[command(flatten)]
    Steer(Steer),
    /// The slots.
    #[command(about = about("list"), after_help = example("list"))]
    List,
    /// What the checks said.
    #[command(about = about("health"), after_help = example("health"))]
    Health {
        /// The module; without it every one that serves
        #[arg(value_parser = id)]
        id: Option<String>,
    },
    /// What modules use.
    #[command(about = about("top"), after_help = example("top"), long_about = TOP)]
    Top(TopArgs),
    /// A manifest and its state.
    #[command(about = about("show"), after_help = example("show"))]
    Show {
        /// The module, or one version of it; without a version the one that serves, or else the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// Capabilities.
    #[command(flatten)]
    Choosing(Choosing),
    /// How versions stand to each other.
    #[command(flatten)]
    Relation(Relation),
    /// What was done to a module.
    #[command(about = about("history"), after_help = example("history"))]
    History {
        /// The module
        #[arg(value_parser = id)]
        id: String,
        /// How many entries, at most 1000
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// What happens.
    #[command(about = about("watch"), after_help = example("watch"), long_about = WATCH)]
    Watch {
        /// The module, or the operation that `--no-wait` named; without it everything is shown, until Ctrl-C
        #[arg(value_name = "ID", value_parser = id)]
        subject: Option<String>,
    },
    /// What a module may.
    #[command(about = about("permissions"), after_help = example("permissions"), long_about = PERMISSIONS)]
    Permissions(PermissionArgs),
    /// Who did what.
    #[command(about = about("audit"), after_help = example("audit"))]
    Audit(AuditArgs),
    /// Make a backup.
    #[command(about = about("backup"), after_help = example("backup"), long_about = long::BACKUP)]
    Backup(BackupArgs),
    /// Make a module.
    #[command(about = about("new"), after_help = example("new"))]
    New(NewArgs),
    /// Check a folder.
    #[command(about = about("check"), after_help = example("check"))]
    Check {
        /// The module's folder
        dir: PathBuf,
        /// Let warnings fail too
        #[arg(long)]
        strict: bool,
    },
    /// Run a module's tests.
    #[command(about = about("test"), after_help = example("test"))]
    Test {
        /// The module's folder
        dir: PathBuf,
        /// Only tests that have this in their name, or in that of their file
        #[arg(long, value_name = "NAME")]
        filter: Option<String>,
    },
    /// Run code beside a module.
    #[command(about = about("eval"), after_help = example("eval"))]
    Eval {
        /// The module
        #[arg(value_parser = id)]
        id: String,
        /// An expression or statements in the module's language
        code: String,
    },
}

/// What to make.
#[derive(Clone, Debug, Args)]
pub struct NewArgs {
    /// The language
    #[command(flatten)]
    pub language: LanguageArgs,
    /// The module's id, which is also the name of its folder
    pub name: String,
    /// Where to make the folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// A language: one of the two.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct LanguageArgs {
    /// In Lua
    #[arg(long)]
    pub lua: bool,
    /// In Rhai
    #[arg(long)]
    pub rhai: bool,
}

/// What to decide.
#[derive(Clone, Debug, Args)]
pub struct PermissionArgs {
    /// What to do
    #[arg(value_enum)]
    pub action: PermissionAction,
    /// The module, or one version of it; without a version the newest
    #[arg(value_name = "ID[@V]")]
    pub module: ModuleRef,
    /// What is granted or denied, or the parts that are given
    #[arg(value_name = "PERMISSION")]
    pub permissions: Vec<Permission>,
}

/// What to show of what modules use.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// The module; without it all that have a slot
    #[arg(value_parser = id)]
    pub id: Option<String>,
    /// Show it again and again, until Ctrl-C; with --json each time a document on a line of its own
    #[arg(long, short)]
    pub watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub every: u16,
}

/// What to do about permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PermissionAction {
    /// Show what is asked for and what is given
    Show,
    /// Give it
    Grant,
    /// Give less of it
    Narrow,
    /// Give nothing of it
    Deny,
}

/// What to show of the audit log.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// `verify`: check every entry and that none is missing, without a runtime too; 0 if the log is whole, 1 if not
    #[arg(value_enum, conflicts_with_all = ["follow", "from", "limit"])]
    pub action: Option<AuditAction>,
    /// Go on with what is written from now on, until Ctrl-C; with --json each entry is a document on a line of its own
    #[arg(long)]
    pub follow: bool,
    /// Begin with the entry of this number, instead of the newest ones
    #[arg(long, value_name = "SEQ")]
    pub from: Option<u64>,
    /// How many entries, at most 1000; 100 unless it is said, 10 before those that follow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: Option<u16>,
}

/// What to do with the audit log, other than to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditAction {
    /// Check that it is whole
    Verify,
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
