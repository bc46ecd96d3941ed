//! What keeps the demo from going on. A broken promise is no error: it stands in the table.

use crate::admin::CommandError;
use crate::error::Error;

/// Why the demo broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The runtime that it shows did not start.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// The runtime refused a command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Something that the demo needs could not be done.
    #[error("{what}: {cause}")]
    Step {
        /// What was tried.
        what: String,
        /// What went wrong.
        cause: String,
    },
    /// It was told to stop.
    #[error("the demo was interrupted; its processes are ended and its temporary folder is removed")]
    Interrupted,
}

impl DemoError {
    /// `what` failed for this cause.
    pub(super) fn step(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Step { what: what.into(), cause: cause.to_string() }
    }

    /// The same as a function of the cause, for `map_err`.
    pub(super) fn at<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |cause| Self::step(what, cause)
    }
}
