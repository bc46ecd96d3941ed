//! The verbs that steer a traffic shift.

use clap::Subcommand;

use super::{about, example, id};

/// An order for a traffic shift.
#[derive(Debug, Subcommand)]
pub enum Steer {
    /// Stay at the weight.
    #[command(about = about("pause"), after_help = example("pause"))]
    Pause {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
    /// Go on.
    #[command(about = about("resume"), after_help = example("resume"))]
    Resume {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
    /// Go to the next weight.
    #[command(about = about("promote"), after_help = example("promote"))]
    Promote {
        /// The module
        #[arg(value_parser = id)]
        id: String,
        /// Give the version everything, instead of its next weight
        #[arg(long)]
        full: bool,
    },
    /// Give up.
    #[command(about = about("abort"), after_help = example("abort"))]
    Abort {
        /// The module
        #[arg(value_parser = id)]
        id: String,
    },
}
