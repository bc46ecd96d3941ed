//! How requests are counted, whoever asks.

use replug_scripts::Response;

use crate::actors::router::{Blame, CallError};
use crate::monitor::Held;

/// Counts how a request ended. One that met a closing instance is counted where it ends up.
pub(super) fn count(held: Held<'_>, result: Result<&Response, &CallError>) {
    match result.map_err(CallError::blame) {
        Ok(response) => held.answered(response.status.is_server_error()),
        Err(Blame::Caller) => held.answered(false),
        Err(Blame::Instance) => held.answered(true),
        Err(Blame::Admission) => held.refused(),
        Err(Blame::Nobody) => held.passed_on(),
    }
}
