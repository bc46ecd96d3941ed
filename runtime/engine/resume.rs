//! The start of a runtime: what served when the last one ended serves again.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::json;

use super::activate::schema_key;
use super::activation::Command;
use super::apply::Hands;
use super::journal::{Action, Entry, Owed};
use super::probe::place;
use super::record::{Change, Kept, Records};
use super::recovery::{Settled, settle};
use super::{Engine, EngineError, Outcome, quarantine, validate};
use crate::monitor::{Event, Events, InstanceKey};
use crate::registry::Snapshot;
use crate::registry::resolver::{Running, Starts, start_order};
use crate::store::audit::{self, AuditLog, Kind, Who};

/// Decides about everything that the end of the last runtime interrupted, before anything starts. It may be cut off
/// anywhere and is then decided in the same way by the next start: until a module's records are written they say what they
/// said before, and all that is done up to then does no harm the second time.
///
/// Of a version in quarantine nothing is taken back, since that is to run what aborts the process: it owes it still.
///
/// # Errors
/// The store failed.
pub(super) async fn recover(
    mut kept: Kept,
    records: &Records,
    snapshot: &Snapshot,
    hands: &Hands,
    (events, log): (&Events, &AuditLog),
    now: u64,
) -> Result<Kept, EngineError> {
    let provisional = kept.slots.iter().filter(|(_, slot)| slot.provisional.is_some()).map(|(id, _)| id.clone());
    let ids: BTreeSet<String> = kept.open.keys().cloned().chain(provisional).collect();
    for id in ids {
        let open = kept.open.remove(&id).unwrap_or_default();
        let Settled { slot, versions, mut entries, left, owed, notes } =
            settle(kept.slots.get(&id).cloned(), open, now);
        let decided = entries.len();
        entries.extend(left);
        let serving = slot.as_ref().and_then(|slot| snapshot.get(&id, slot.serving.as_ref()?));
        let needed = serving.map(|serving| validate::migrated(&serving.manifest)).unwrap_or_default();
        for (number, mut owed) in owed {
            // it needs that, whoever applied it
            owed.migrations.retain(|migration| !needed.contains(migration));
            if owed.migrations.is_empty() {
                continue;
            }
            place!(hands, &id, "take back", Before, EngineError::Internal);
            let taken = take_back(&id, &owed, snapshot, hands).await;
            place!(hands, &id, "take back", After, EngineError::Internal);
            let Err(fault) = taken else { continue };
            let goes_on = match &fault {
                Left::ForGood(_) => "they stay",
                Left::Yet(_) => "the next start tries it again, unless the version is unregistered",
                Left::KeptOut(_) => {
                    "until then they stay; the start after that takes them back, unless the version serves with them or is \
                     unregistered"
                }
            };
            let message = format!("migrations of a version that does not serve are left: {fault}; {goes_on}");
            events.emit(Event::Alarm { subject: format!("{id}@{}", owed.version), message });
            let entry = entries.iter_mut().find(|entry| entry.number == number);
            if let (Left::Yet(_) | Left::KeptOut(_), Some(entry)) = (fault, entry) {
                entry.owes(owed);
            }
        }
        for entry in &entries[..decided] {
            if let Some(event) = ended(&id, entry) {
                events.emit(event);
            }
            let goes = entry.outcome.is_some_and(|outcome| !outcome.serves());
            let serves = slot.as_ref().and_then(|slot| slot.serving.as_ref()) == Some(&entry.version);
            if !goes || serves {
                continue;
            }
            place!(hands, &id, "let go", Before, EngineError::Internal);
            let released = release(&id, entry, snapshot, hands).await;
            place!(hands, &id, "let go", After, EngineError::Internal);
            if let Err(fault) = released {
                let message = format!("something is left of a version that does not serve: {fault}");
                events.emit(Event::Alarm { subject: format!("{id}@{}", entry.version), message });
            }
        }
        let generation = entries[..decided].last().map(|entry| entry.generation);
        // Told before it is written. A start that is cut off in between finds the same records, decides the same and tells it again:
        // twice in the log is once to who reads it, and to who makes a store anew of it. The other way round nobody would tell it any
        // more, for the start after that has nothing to decide.
        place!(hands, &id, "tell", Before, EngineError::Internal);
        // the version that is kept although nobody confirmed it
        let waited = kept.slots.get(&id).and_then(|slot| slot.provisional.as_ref()).map(|it| &it.version);
        let serving = slot.as_ref().and_then(|slot| slot.serving.as_ref());
        if let Some(version) = waited.filter(|version| Some(*version) == serving) {
            let entry = audit::Entry::new(Kind::Confirmed, Who::Runtime, format!("{id}@{version}"));
            log.append(entry.with(json!({ "generation": generation }))).await?;
        }
        for note in &notes {
            place!(hands, &id, "tell", Inside, EngineError::Internal);
            log.append(audit::Entry::new(Kind::Recovered, Who::Runtime, id.clone()).with(json!({ "note": note })))
                .await?;
        }
        place!(hands, &id, "write", Before, EngineError::Internal);
        let kept_versions = versions.iter().map(|(version, record)| (version.clone(), Some(record.clone()))).collect();
        records
            .write(&id, Change { slot: Some(slot.clone()), versions: kept_versions, entries, ..Change::default() })
            .await?;
        place!(hands, &id, "write", After, EngineError::Internal);
        // who listens ends with the process
        for note in notes {
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

/// What an activation or a rollback came to that the end of the runtime before had interrupted, where its version does not
/// serve. Those that wait for such an end hear of it now.
fn ended(id: &str, entry: &Entry) -> Option<Event> {
    let outcome = entry.outcome.filter(|outcome| !outcome.serves())?;
    if !matches!(entry.action, Action::Activate | Action::Rollback) {
        return None;
    }
    let (id, version) = (id.into(), entry.version.to_string().into());
    let instance = InstanceKey { id, version, generation: entry.generation };
    Some(Event::ActivationEnded { instance, outcome: outcome.name(), reason: entry.reason.clone() })
}

/// Lets go of what outlived the process of what an activation had prepared.
async fn release(id: &str, entry: &Entry, snapshot: &Snapshot, hands: &Hands) -> Result<(), String> {
    // what nobody has registered any more prepares nothing again
    let Some(definition) = snapshot.get(id, &entry.version) else { return Ok(()) };
    quarantine::admits(&hands.supplies.aborts, &definition.manifest).map_err(|refusal| refusal.to_string())?;
    let checked =
        validate::read(definition.clone(), &hands.supplies.aborts).await.map_err(|error| error.to_string())?;
    let key = InstanceKey { generation: entry.generation, ..schema_key(&definition.manifest) };
    hands.let_go(&checked.subject(key)).await
}

/// Why migrations were not taken back.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("{0}")]
    ForGood(String),
    #[error("{0}")]
    Yet(String),
    /// The version is in quarantine.
    #[error("{0}")]
    KeptOut(EngineError),
}

async fn take_back(id: &str, owed: &Owed, snapshot: &Snapshot, hands: &Hands) -> Result<(), Left> {
    let Some(definition) = snapshot.get(id, &owed.version) else {
        return Err(Left::ForGood(format!("{id}@{} is not registered any more", owed.version)));
    };
    quarantine::admits(&hands.supplies.aborts, &definition.manifest).map_err(Left::KeptOut)?;
    let checked = validate::read(definition.clone(), &hands.supplies.aborts).await;
    let checked = checked.map_err(|error| Left::Yet(error.to_string()))?;
    let reverted = hands.revert(&checked.subject(schema_key(&definition.manifest)), &owed.migrations).await;
    reverted.map_err(Left::Yet)
}

/// How many modules start at the same time: enough that one that waits for its database does not keep the others, and not
/// so many that each starts slowly.
const AT_ONCE: usize = 8;

impl Engine {
    /// Starts what served when the last runtime ended: what is needed before who needs it, the rest side by side. What does
    /// not start raises an alarm and is tried again by the next runtime; the rest serves.
    ///
    /// Returns what did not start as `ID@VERSION: reason`, by id.
    pub async fn resume(&self) -> Vec<String> {
        let slots = self.shared.board.slots();
        let serving: Running =
            slots.iter().filter_map(|(id, slot)| Some((id.clone(), slot.record.as_ref()?.serving.clone()?))).collect();
        let snapshot = self.shared.registry.snapshot();
        if let Err(cycle) = start_order(&serving, &snapshot) {
            self.alarm("slots", &cycle.to_string());
        }
        let mut starts = Starts::of(&serving, &snapshot);
        let (mut starting, mut faults) = (FuturesUnordered::new(), BTreeMap::new());
        loop {
            while starting.len() < AT_ONCE
                && let Some(id) = starts.begin()
            {
                let record = slots.get(id).and_then(|slot| slot.record.clone()).unwrap_or_default();
                let (module, version, strategy) = (id.to_owned(), serving[id].clone(), record.strategy());
                let command = Command::Resume { id: module, version, strategy };
                starting.push(async move { (id, self.resume_one(command).await) });
            }
            let Some((id, started)) = starting.next().await else { break };
            starts.ended(id);
            if let Err(reason) = started {
                let label = format!("{id}@{}", serving[id]);
                let message = format!("it served when the runtime ended and does not start again: {reason}");
                self.alarm(&label, &message);
                faults.insert(id, format!("{label}: {message}"));
            }
        }
        self.turn_back_jumps().await;
        faults.into_values().collect()
    }

    /// Starts one module; why it does not start. That the runtime stops is no fault of a module.
    async fn resume_one(&self, command: Command) -> Result<(), String> {
        match self.activated(command).await {
            Ok(report) if report.outcome == Outcome::Active => Ok(()),
            Ok(report) => Err(report.reason.unwrap_or_else(|| "no reason".to_owned())),
            Err(EngineError::Stopped) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn alarm(&self, subject: &str, message: &str) {
        self.shared.events.emit(Event::Alarm { subject: subject.to_owned(), message: message.to_owned() });
    }
}
