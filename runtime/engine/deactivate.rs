//! Takes a module out of service.

use std::time::Instant;

use serde_json::json;

use super::EngineError;
use super::activate::millis;
use super::activation::Activation;
use super::board::version_of;
use super::commit::{Commit, Told};
use super::journal::Action;
use super::outcome::{DeactivationReport, Outcome};
use super::plan::{self, Turn};
use super::probe::place;
use super::retire::{self, Retired, Why};
use super::sets;
use crate::store::audit::Kind;

/// The command `deactivate`: returns when the version that served has stopped.
pub(super) async fn deactivate(work: &Activation, id: &str) -> Result<DeactivationReport, EngineError> {
    let (started, shared) = (Instant::now(), &work.shared);
    let slot = shared.board.slot(id);
    sets::alone(id, &slot, || "deactivated".to_owned())?;
    // what served before a restart and did not start again is not to be tried by the next runtime either
    let kept = slot.record.and_then(|record| record.serving);
    let serving = slot.state.serving.as_ref().and_then(version_of).or(kept);
    let Some(version) = serving else { return Err(not_serving(work, id)) };
    let mut entry = work.enter(Action::Deactivate, id, &version, Some(&version)).await?;
    let refused = entry.clone();
    entry.end(Outcome::Inactive, None, shared.now());
    let (kind, subject, data) = (Kind::Deactivated, format!("{id}@{version}"), json!({ "number": entry.number }));
    let (entry, told) = (Some(entry), Some(Told { kind, subject, data }));
    let commit = Commit { entry, told, ..Commit::of(id, Turn::Clear, work.by.clone()) };
    let committed = match work.commit(commit).await {
        Ok(committed) => committed,
        Err(error) => {
            let mut entry = refused;
            entry.end(Outcome::Failed, Some(error.to_string()), shared.now());
            shared.records.write_entry(id, &entry).await?;
            return Err(error);
        }
    };
    place!(shared, id, "retire", Before, EngineError::Internal);
    // a return may have come between: another version served then
    let served = committed.from.serving.as_ref();
    let version = served.and_then(version_of).unwrap_or(version);
    let mut retired = Retired::default();
    for key in plan::retired(&committed.from, &committed.to) {
        if Some(&key) == served {
            retired = retire::retire(work, &key, Why::Deactivated).await;
        } else {
            drop(retire::spawn(work, &key, Why::Replaced));
        }
    }
    let Retired { cut_off, failed } = retired;
    Ok(DeactivationReport { id: id.to_owned(), version: version.to_string(), cut_off, failed, ms: millis(started) })
}

/// Why nothing can be taken out of service: the module is unknown, or does not serve.
pub(super) fn not_serving(work: &Activation, id: &str) -> EngineError {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: None };
    match work.shared.registry.snapshot().resolve(&wanted) {
        Ok(_) => EngineError::NothingServes { id: id.to_owned() },
        Err(unknown) => unknown.into(),
    }
}
