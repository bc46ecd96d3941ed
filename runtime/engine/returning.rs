//! The way back from a version that serves provisionally, when one of its triggers says so.

use std::sync::Arc;

use serde_json::json;

use super::EngineError;
use super::activation::Activation;
use super::journal::Entry;
use super::plan::{Change, SlotState};
use super::undo::Undo;
use crate::monitor::InstanceKey;
use crate::store::audit::Kind;

/// Returns from `key` to the version on standby, unless something else was decided about it meanwhile. Where its traffic was
/// given back already, `withdrawn` is its entry.
pub(super) async fn return_from(
    work: &Activation,
    key: &InstanceKey,
    reason: &str,
    withdrawn: Option<Box<Entry>>,
) -> Result<(), EngineError> {
    let shared = &work.shared;
    let slot = shared.board.slot(&key.id);
    let entry = match withdrawn {
        Some(entry) => *entry,
        None => {
            let provisional = slot.record.as_ref().and_then(|record| record.provisional.as_ref());
            let serves = slot.state.serving.as_ref() == Some(key);
            let Some(provisional) = provisional.filter(|_| serves) else { return Ok(()) };
            let Some(mut entry) = shared.records.entry(&key.id, provisional.entry)? else {
                return Err(EngineError::Internal(format!("the journal has no entry of {key}")));
            };
            entry.reopen(reason);
            entry
        }
    };
    let Some(instance) = shared.hands.instances.instance(key) else {
        return Err(EngineError::Internal(format!("{key} is not running")));
    };
    let mut undo = Undo {
        work,
        key: key.clone(),
        manifest: Arc::clone(&instance.manifest),
        done: done(key, &slot.state, &entry),
        entry,
        before: None,
        reports: Vec::new(),
    };
    let (outcome, reason) = undo.end(reason.to_owned(), work.since).await?;
    undo.entry.end(outcome, Some(reason.clone()), shared.now());
    shared.records.write_entry(&key.id, &undo.entry).await?;
    let told = json!({ "outcome": outcome.name(), "reason": reason, "number": undo.entry.number });
    work.audit(Kind::RolledBack, format!("{}@{}", key.id, key.version), told).await?;
    shared.told(key, outcome, Some(reason));
    Ok(())
}

/// What the activation of `key` did, as far as it is to be taken back.
fn done(key: &InstanceKey, slot: &SlotState, entry: &Entry) -> Vec<Change> {
    let from = SlotState { serving: slot.standby.clone(), ..SlotState::default() };
    let mut done = vec![Change::Prepare(key.clone()), Change::Start(key.clone()), Change::Bind(key.clone())];
    done.extend(entry.owed.iter().map(|owed| Change::Migrate(key.id.to_string(), owed.migrations.clone())));
    done.push(Change::route(&key.id, &from, slot));
    done
}
