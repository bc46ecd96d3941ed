//! What goes wrong in the kit.

use std::path::PathBuf;

use replug_scripts::SourceFault;

use crate::manifest::Faults;
use crate::registry::RegistryError;

/// Why the kit could not do its work. A test that fails is none of these.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The name cannot be a module's id.
    #[error(
        "`{0}` cannot be a module's id: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters"
    )]
    Name(String),
    /// There is something already.
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// The disk refused.
    #[error("{action} {} failed: {cause}", path.display())]
    Files {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        cause: String,
    },
    /// The folder is no module.
    #[error(transparent)]
    Bundle(#[from] RegistryError),
    /// The manifest is wrong.
    #[error("{0}")]
    Manifest(#[from] Faults),
    /// A script or a test file does not compile.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Scripts(Vec<SourceFault>),
    /// There is nothing to run.
    #[error("{module} has no tests: there is no .lua or .rhai file in its folder `tests`")]
    NoTests {
        /// The module.
        module: String,
    },
    /// No test is meant.
    #[error("no test of {module} has `{filter}` in its name or file")]
    NothingMatches {
        /// The module.
        module: String,
        /// What was looked for.
        filter: String,
    },
    /// What tests run on cannot be made.
    #[error("the tests of {module} cannot be run: {cause}")]
    World {
        /// The module.
        module: String,
        /// Why.
        cause: String,
    },
}
