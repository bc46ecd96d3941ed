//! The verbs that tell how versions stand to each other.

use clap::{Args, Subcommand};
use semver::Version;

use super::{Strategy, about, example, id};
use crate::registry::versions::{ModuleRef, Requirement};

/// A question about versions.
#[derive(Debug, Subcommand)]
pub enum Relation {
    /// The versions of a module.
    #[command(about = about("versions"), after_help = example("versions"))]
    Versions {
        /// The module
        #[arg(value_parser = id)]
        id: String,
        /// Only those that can take over from this version
        #[arg(long, value_name = "V")]
        compatible_with: Option<Version>,
    },
    /// What goes together.
    #[command(about = about("deps"), after_help = example("deps"))]
    Deps {
        /// The module, or one version of it; without a version the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// What would be done.
    #[command(about = about("plan"), after_help = example("plan"))]
    Plan {
        /// The module, or one version of it; without a version the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
        /// How the version would take over, if not as its manifest says
        #[arg(long, value_enum)]
        strategy: Option<Strategy>,
        /// Other modules, or versions of them, that would take over with it as one
        #[arg(long, value_name = "ID[@V]", num_args = 1..)]
        set: Vec<ModuleRef>,
    },
    /// Why it is so.
    #[command(about = about("why"), after_help = example("why"))]
    Why {
        /// The module, or one version of it; without a version the one that serves, or else the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// What keeps apart.
    #[command(about = about("conflicts"), after_help = example("conflicts"))]
    Conflicts {
        /// The module, or one version of it; without a version the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
    },
    /// Whether a version can run, or take over.
    #[command(about = about("validate"), after_help = example("validate"))]
    Validate {
        /// The module, or one version of it; without a version the newest
        #[arg(value_name = "ID[@V]")]
        module: ModuleRef,
        /// Whether it can take over from this version of its module
        #[arg(long, value_name = "W")]
        from: Option<Version>,
    },
    /// Who offers something.
    #[command(about = about("find"), after_help = example("find"))]
    Find(FindArgs),
}

/// What to find: one of the three.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct FindArgs {
    /// The capability's id
    #[arg(long, value_name = "C")]
    pub capability: Option<String>,
    /// The category
    #[arg(long, value_name = "C")]
    pub category: Option<String>,
    /// Modules with the versions that would do, such as `database@>=1.2`
    #[arg(long, value_name = "ID@RANGE", num_args = 1..)]
    pub compatible: Vec<Requirement>,
}
