//! The verbs about which module is called for a capability.

use clap::Subcommand;

use super::{about, example, id};

/// What to do about capabilities.
#[derive(Debug, Subcommand)]
pub enum Choosing {
    /// Who offers and who needs what.
    #[command(about = about("capabilities"), after_help = example("capabilities"))]
    Capabilities {
        /// The capability; without it all
        #[arg(value_name = "CAPABILITY")]
        capability: Option<String>,
    },
    /// Which is called.
    #[command(about = about("choose"), after_help = example("choose"))]
    Choose {
        /// The capability
        #[arg(value_name = "CAPABILITY")]
        capability: String,
        /// The module
        #[arg(value_parser = id, required_unless_present = "any", conflicts_with = "any")]
        id: Option<String>,
        /// Whichever serves, the first by id
        #[arg(long)]
        any: bool,
    },
}
