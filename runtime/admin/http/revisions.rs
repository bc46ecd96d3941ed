//! `ETag` and `If-Match`: a write that was decided on an older revision is refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};

use super::{CommandError, Commands};

/// Counts the writes that were let through, by module. The state of a module changes only some time after a write was
/// accepted, so the count is what keeps a second write with the same tag from being accepted meanwhile. It has an entry for
/// each registered module that was ever written to.
#[derive(Default)]
pub(super) struct Revisions {
    writes: Mutex<BTreeMap<String, u64>>,
}

impl Revisions {
    /// The tag of the module as it is now, quoted.
    pub(super) fn tag(&self, commands: &Commands, id: &str) -> String {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        tag(commands, id, writes.get(id).copied())
    }

    /// Accepts a write to the module, unless `If-Match` names other tags than the present one.
    pub(super) fn accept(&self, commands: &Commands, id: &str, headers: &HeaderMap) -> Result<(), CommandError> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = tag(commands, id, writes.get(id).copied());
        let wanted: Vec<&HeaderValue> = headers.get_all(header::IF_MATCH).iter().collect();
        let matches = |value: &&HeaderValue| {
            value.to_str().is_ok_and(|value| value.split(',').map(str::trim).any(|tag| tag == "*" || tag == now))
        };
        if !wanted.is_empty() && !wanted.iter().any(matches) {
            let message = format!("{id} changed since it was read, so nothing was done");
            let help = format!("read GET /v1/modules/{id} again, decide again, and send its new ETag");
            return Err(CommandError::new("changed-meanwhile", message).with_help(help));
        }
        *writes.entry(id.to_owned()).or_default() += 1;
        Ok(())
    }
}

fn tag(commands: &Commands, id: &str, writes: Option<u64>) -> String {
    format!("\"{}-{}\"", commands.revision(id), writes.unwrap_or(0))
}
