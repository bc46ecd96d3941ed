//! The errors of the module kit as command errors.

use super::{CommandError, Finding};
use crate::kit::KitError;

impl From<KitError> for CommandError {
    fn from(error: KitError) -> Self {
        use KitError as E;
        let message = error.to_string();
        let new = |kind, help: &str| Self::new(kind, message.clone()).with_help(help);
        match error {
            E::Bundle(error) => error.into(),
            E::Manifest(faults) => faults.into(),
            E::Scripts(faults) => Self::of_faults("script", faults.into_iter().map(Finding::from).collect()),
            E::Name(_) => new("name", "take a name such as `price-list`"),
            E::Exists(_) => new("exists", "take another name, or another folder with --dir"),
            E::Files { .. } => new("files", "see that the folder exists and may be written"),
            E::NoTests { .. } => new("no-tests", "`replug new` makes a module with tests, to see how they look"),
            E::NothingMatches { .. } => new("no-tests", "replug test DIR, without --filter, shows all names"),
            E::World { .. } => new("world", "see that the folder for temporary files has room"),
        }
    }
}
