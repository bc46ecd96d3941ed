//! The start of a runtime: what served when the last one ended serves again.

use std::collections::BTreeSet;

use semver::Version;
use serde_json::json;

use super::activate::schema_key;
use super::activation::Command;
use super::apply::Hands;
use super::journal::Owed;
use super::record::{Change, Kept, Records};
use super::recovery::{Settled, settle};
use super::{Engine, EngineError, Outcome, validate};
use crate::monitor::{Event, Events};
use crate::registry::Snapshot;
use crate::registry::resolver::{Running, start_order};
use crate::store::audit::{AuditLog, Entry, Kind, Who};

/// Decides about everything that the end of the last runtime interrupted, before anything starts. It may be cut off
/// anywhere and is then decided in the same way by the next start.
///
/// # Errors
/// The store failed.
pub(super) async fn recover(
    mut kept: Kept,
    records: &Records,
    snapshot: &Snapshot,
    hands: &Hands,
    (events, audit): (&Events, &AuditLog),
    now: u64,
) -> Result<Kept, EngineError> {
    let provisional = kept.slots.iter().filter(|(_, slot)| slot.provisional.is_some()).map(|(id, _)| id.clone());
    let ids: BTreeSet<String> = kept.open.keys().cloned().chain(provisional).collect();
    for id in ids {
        let open = kept.open.remove(&id).unwrap_or_default();
        let Settled { slot, versions, entries, owed, notes } = settle(kept.slots.get(&id).cloned(), open, now);
        for owed in owed {
            if let Err(fault) = take_back(&id, &owed, snapshot, hands).await {
                let message = format!("migrations of a version that does not serve are left: {fault}");
                events.emit(Event::Alarm { subject: format!("{id}@{}", owed.version), message });
            }
        }
        let kept_versions = versions.iter().map(|(version, record)| (version.clone(), Some(record.clone()))).collect();
        records.write(&id, Change { slot: Some(slot.clone()), versions: kept_versions, entries }).await?;
        for note in notes {
            audit.append(Entry::new(Kind::Recovered, Who::Runtime, id.clone()).with(json!({ "note": note }))).await?;
            events.emit(Event::Recovered { id: id.clone(), note });
        }
        kept.versions.extend(versions.into_iter().map(|(version, record)| ((id.clone(), version), record)));
        match slot {
            Some(slot) => drop(kept.slots.insert(id, slot)),
            None => drop(kept.slots.remove(&id)),
        }
    }
    Ok(kept)
}

async fn take_back(id: &str, owed: &Owed, snapshot: &Snapshot, hands: &Hands) -> Result<(), String> {
    let Some(definition) = snapshot.get(id, &owed.version) else {
        return Err(format!("{id}@{} is not registered any more", owed.version));
    };
    let checked = validate::read(definition.clone()).await.map_err(|error| error.to_string())?;
    hands.revert(&checked.subject(schema_key(&definition.manifest)), &owed.migrations).await
}

impl Engine {
    /// Starts what served when the last runtime ended, what is needed before who needs it. What does not start raises an
    /// alarm and is tried again by the next runtime; the rest serves. Gives what does not, and why, a line for each.
    pub async fn resume(&self) -> Vec<String> {
        let mut left = Vec::new();
        let slots = self.shared.board.slots();
        let serving: Running =
            slots.iter().filter_map(|(id, slot)| Some((id.clone(), slot.record.as_ref()?.serving.clone()?))).collect();
        let snapshot = self.shared.registry.snapshot();
        let order = start_order(&serving, &snapshot).unwrap_or_else(|cycle| {
            left.push(self.alarm("slots", &cycle.to_string()));
            serving.keys().cloned().collect()
        });
        for id in order {
            let (Some(version), Some(slot)) = (serving.get(&id).cloned(), slots.get(&id)) else { continue };
            let strategy = slot.record.clone().unwrap_or_default().strategy();
            let command = Command::Resume { id: id.clone(), version: version.clone(), strategy };
            match self.activated(command).await {
                Ok(report) if report.outcome == Outcome::Active => {}
                Ok(report) => {
                    left.push(self.not_resumed(&id, &version, report.reason.as_deref().unwrap_or("no reason")));
                }
                Err(EngineError::Stopped) => break,
                Err(error) => left.push(self.not_resumed(&id, &version, &error.to_string())),
            }
        }
        left
    }

    fn not_resumed(&self, id: &str, version: &Version, reason: &str) -> String {
        let what = format!("it served when the runtime ended and does not start again: {reason}");
        self.alarm(&format!("{id}@{version}"), &what)
    }

    fn alarm(&self, subject: &str, message: &str) -> String {
        self.shared.events.emit(Event::Alarm { subject: subject.to_owned(), message: message.to_owned() });
        format!("{subject}: {message}")
    }
}
