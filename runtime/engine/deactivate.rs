//! Takes a module out of service.

use std::time::Instant;

use super::EngineError;
use super::activate::millis;
use super::activation::Activation;
use super::coordinator::Commit;
use super::outcome::DeactivationReport;
use super::plan::{self, SlotState};
use super::retire::{self, Why};
use super::state::Happening;

/// The command `deactivate`: returns when the version that served has stopped.
pub(super) async fn deactivate(work: &Activation, id: &str) -> Result<DeactivationReport, EngineError> {
    let started = Instant::now();
    let found = work.shared.board.slot(id);
    let (slot, to) = (found.state, SlotState::default());
    let commit = Commit { id: id.to_owned(), from: slot.clone(), to: to.clone(), strategy: None, restores: false };
    let Some(serving) = slot.serving.clone() else {
        // what served before a restart and did not start again is not to be tried by the next runtime either
        let Some(version) = found.record.and_then(|record| record.serving) else { return Err(not_serving(work, id)) };
        work.commit(commit).await?;
        let version = version.to_string();
        return Ok(DeactivationReport { id: id.to_owned(), version, cut_off: 0, ms: millis(started) });
    };
    work.commit(commit).await?;
    let mut cut_off = 0;
    for key in plan::retired(&slot, &to) {
        work.happened(&key, Happening::Withdrawn, None).await?;
        let why = if key == serving { Why::Deactivated } else { Why::Withdrawn };
        if key == serving {
            cut_off = retire::retire(work, &key, why).await;
        } else {
            retire::in_background(work, &key, why).await?;
        }
    }
    Ok(DeactivationReport { id: id.to_owned(), version: serving.version.to_string(), cut_off, ms: millis(started) })
}

/// Why nothing can be taken out of service: the module is unknown, or does not serve.
pub(super) fn not_serving(work: &Activation, id: &str) -> EngineError {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: None };
    match work.shared.registry.snapshot().resolve(&wanted) {
        Ok(_) => EngineError::NothingServes { id: id.to_owned() },
        Err(unknown) => unknown.into(),
    }
}
