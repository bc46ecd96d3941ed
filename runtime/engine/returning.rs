//! The way back from a version that serves provisionally, when one of its triggers says so.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::json;

use super::EngineError;
use super::activation::{Activation, Done};
use super::journal::Entry;
use super::outcome::Outcome;
use super::plan::{Change, SlotState};
use super::sets;
use super::undo::Undo;
use crate::monitor::{Event, InstanceKey};
use crate::store::audit::Kind;

/// Returns from `key` to the version on standby, unless something else was decided about it meanwhile. Where its traffic was
/// given back already, `withdrawn` is its entry.
///
/// Where the traffic cannot be given back, the version serves on and the return may be tried again: what it owes is kept for
/// that, and for the next runtime, and the same failure is told once.
pub(super) async fn return_from(
    work: &Activation,
    key: &InstanceKey,
    reason: &str,
    withdrawn: Option<Box<Entry>>,
) -> Result<Done, EngineError> {
    let shared = &work.shared;
    let slot = shared.board.slot(&key.id);
    if withdrawn.is_none() && slot.set().is_some() {
        return sets::return_from(work, key, reason).await;
    }
    let mut known = None;
    let entry = match withdrawn {
        // a version that took over meanwhile may have taken over what it owed
        Some(entry) => shared.records.entry(&key.id, entry.number)?.unwrap_or(*entry),
        None => {
            let provisional = slot.record.as_ref().and_then(|record| record.provisional.as_ref());
            let serves = slot.state.serving.as_ref() == Some(key);
            let Some(provisional) = provisional.filter(|_| serves) else { return Ok(Done::Returned) };
            if let Some(migration) = provisional.one_way() {
                return Ok(Done::Unreturned(format!("migration {migration} cannot be taken back")));
            }
            let Some(mut entry) = shared.records.entry(&key.id, provisional.entry)? else {
                return Err(EngineError::Internal(format!("the journal has no entry of {key}")));
            };
            known = entry.reason.take().filter(|_| entry.outcome == Some(Outcome::FailedToRestore));
            entry.reopen(reason);
            entry
        }
    };
    take_back(work, Taken { key, slot: &slot.state, entry, known, kept: None }, reason).await
}

/// A provisional version that is returned from.
pub(super) struct Taken<'a> {
    pub(super) key: &'a InstanceKey,
    /// Its slot, as it was when the return began.
    pub(super) slot: &'a SlotState,
    /// The entry of its activation.
    pub(super) entry: Entry,
    /// The failure that was told already.
    pub(super) known: Option<String>,
    /// Why it keeps its traffic.
    pub(super) kept: Option<String>,
}

/// Takes back what its activation did, writes how that ended, and tells it.
pub(super) async fn take_back(work: &Activation, taken: Taken<'_>, reason: &str) -> Result<Done, EngineError> {
    let (shared, Taken { key, slot, entry, known, kept }) = (&work.shared, taken);
    let Some(instance) = shared.hands.instances.instance(key) else {
        return Err(EngineError::Internal(format!("{key} is not running")));
    };
    let mut undo = Undo {
        work,
        key: key.clone(),
        manifest: Arc::clone(&instance.manifest),
        done: done(key, slot, &entry),
        entry,
        before: None,
        kept,
        known,
        reports: Vec::new(),
        lost: AtomicU64::default(),
    };
    let (outcome, reason) = undo.end(reason.to_owned(), work.since).await?;
    let stays = shared.board.slot(&key.id).state.serving.as_ref() == Some(key);
    let owed = undo.entry.owed.take();
    undo.entry.end(outcome, Some(reason.clone()), shared.now());
    if stays {
        (undo.entry.owed, undo.entry.closed) = (owed, false);
    }
    let written = shared.records.write_entry(&key.id, &undo.entry).await.map_err(EngineError::from);
    if undo.known.as_ref() == Some(&reason) {
        return Ok(Done::Unreturned(reason));
    }
    let told = json!({ "outcome": outcome.name(), "reason": reason, "number": undo.entry.number });
    let written = written.and(work.audit(Kind::RolledBack, format!("{}@{}", key.id, key.version), told).await);
    shared.told(key, outcome, Some(reason.clone()));
    // it was made all the same, and must not be told as one that was not
    if let Err(error) = written {
        let message = format!("{reason}; the return ended as {}, which could not be written: {error}", outcome.name());
        shared.events.emit(Event::Alarm { subject: key.to_string(), message });
    }
    Ok(if stays { Done::Unreturned(reason) } else { Done::Returned })
}

/// What the activation of `key` did, as far as it is to be taken back.
pub(super) fn done(key: &InstanceKey, slot: &SlotState, entry: &Entry) -> Vec<Change> {
    let from = SlotState { serving: slot.standby.clone(), ..SlotState::default() };
    let mut done = vec![Change::Prepare(key.clone()), Change::Start(key.clone()), Change::Bind(key.clone())];
    done.extend(entry.owed.iter().map(|owed| Change::Migrate(key.id.to_string(), owed.migrations.clone())));
    done.push(Change::route(&key.id, &from, slot));
    done
}
