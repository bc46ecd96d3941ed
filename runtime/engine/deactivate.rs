//! Takes a module out of service.

use std::time::Instant;

use super::EngineError;
use super::activate::millis;
use super::activation::Activation;
use super::coordinator::{Commit, Restore};
use super::outcome::DeactivationReport;
use super::plan::{self, Change};
use super::retire::{self, Why};

/// The command `deactivate`: returns when the version that served has stopped.
pub(super) async fn deactivate(work: &Activation, id: &str) -> Result<DeactivationReport, EngineError> {
    let started = Instant::now();
    let slot = work.shared.board.slot(id);
    let serving = slot.state.serving.clone();
    // what served before a restart and did not start again is not to be tried by the next runtime either
    let kept = slot.record.and_then(|record| record.serving).map(|version| version.to_string());
    let Some(version) = serving.as_ref().map(|key| key.version.to_string()).or(kept) else {
        return Err(not_serving(work, id));
    };
    let mut cut_off = 0;
    for change in plan::deactivate(id, &slot.state).changes() {
        let Change::Route { from, to, .. } = change else { continue };
        let (from, to) = (from.clone(), to.clone());
        let retired = plan::retired(&from, &to);
        work.commit(Commit { id: id.to_owned(), from, to, strategy: None, restore: Restore::No }).await?;
        for key in retired {
            if Some(&key) == serving.as_ref() {
                cut_off = retire::retire(work, &key, Why::Deactivated).await;
            } else {
                retire::in_background(work, &key, Why::Withdrawn).await?;
            }
        }
    }
    Ok(DeactivationReport { id: id.to_owned(), version, cut_off, ms: millis(started) })
}

/// Why nothing can be taken out of service: the module is unknown, or does not serve.
pub(super) fn not_serving(work: &Activation, id: &str) -> EngineError {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: None };
    match work.shared.registry.snapshot().resolve(&wanted) {
        Ok(_) => EngineError::NothingServes { id: id.to_owned() },
        Err(unknown) => unknown.into(),
    }
}
