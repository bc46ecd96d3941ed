//! What the audit log tells of slots, for a store that is made anew of an older snapshot; and whether one can be read.
//!
//! The log says what became of each command, not all that the journal did: the entries of the history are not made anew. Those
//! that a start decides about are: the one of a version that was provisional is open, so that the start that follows decides about
//! it as after any other end, and whatever the log tells the end of is closed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use semver::Version;

use super::journal::{Entry, clipped};
use super::record::{Change, Choice, Provisional, Records, SlotRecord, VersionRecord};
use super::recovery::settle;
use super::state::State;
use crate::store::{Batch, Key, Prefix, RawRecord, Record, Store, StoreError, Tree};

mod entries;
#[cfg(test)]
mod tests;

pub(crate) use entries::{Pending, salvaged};

/// Something that became of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The module; of [`What::Chosen`], the capability.
    pub(crate) id: String,
    /// What.
    pub(crate) what: What,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A version serves by the entry of this number; whether that is to be confirmed yet.
    Serves { version: Version, unconfirmed: Option<Unconfirmed>, instant: bool, number: u64 },
    /// It was confirmed.
    Confirmed(Version),
    /// It does not serve: its activation failed, or it was taken back.
    Failed { version: Version, reason: Option<String>, number: u64 },
    /// The module was taken out of service.
    Deactivated { version: Version, number: u64 },
    /// A generation was begun.
    Generation(u64),
    /// The runtime ended and began anew: nothing stayed provisional.
    Restarted,
    /// A module was chosen for the capability, or none.
    Chosen(Option<String>),
}

/// What is told of a version that serves and is to be confirmed yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unconfirmed {
    /// Whether there is a way back from it.
    pub(crate) back: Back,
    /// The modules that took over as one, if it did so with others.
    pub(crate) set: Vec<String>,
    /// The migrations that are taken back with it.
    pub(crate) owed: Vec<Version>,
}

/// Whether the runtime returns from a version by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Back {
    /// An older program did not tell. It is then kept: what is returned from in error is lost.
    #[default]
    Untold,
    /// It does.
    Is,
    /// It does not, because of this migration, of that module where it is another one.
    OneWay(Version, Option<String>),
}

/// Does to the records in `store` what is told, in this order. Blocks. What they say already is left as it is.
///
/// # Errors
/// The store's.
pub(crate) fn retell(store: &Store, told: Vec<Told>) -> Result<(), StoreError> {
    let records = Records::new(store.clone());
    for Told { id, what, at } in told {
        let mut batch = Batch::new();
        match what {
            What::Chosen(None) => batch.remove(&records.choices, &id)?,
            What::Chosen(Some(module)) => batch.put(&records.choices, &id, &Choice { module })?,
            What::Generation(generation) => raise(&mut batch, &records.generations, &id, generation)?,
            What::Restarted => restarted(store, &records, at)?,
            what => {
                for (id, what) in with_set(&records, &id, &what)? {
                    slot(&mut batch, &records, &id, what, at)?;
                }
                slot(&mut batch, &records, &id, what, at)?;
            }
        }
        if !batch.is_empty() {
            store.commit_blocking(batch)?;
        }
    }
    Ok(())
}

fn raise(batch: &mut Batch, tree: &Tree<String, u64>, id: &str, to: u64) -> Result<(), StoreError> {
    let kept = tree.get(id)?.unwrap_or(0);
    if kept < to { batch.put(tree, id, &to) } else { Ok(()) }
}

/// What the start decided about what the end before it had left open. It took back what was owed.
fn restarted(store: &Store, records: &Records, at: u64) -> Result<(), StoreError> {
    let slots = records.slots.scan(&Prefix::all(), None, usize::MAX)?;
    let provisional = slots.into_iter().filter(|(_, slot)| slot.provisional.is_some()).map(|(id, _)| id);
    let ids: BTreeSet<String> = entries::open_of(records, None)?.into_keys().chain(provisional).collect();
    for id in ids {
        let open = entries::open_of(records, Some(&id))?.remove(&id).unwrap_or_default();
        let settled = settle(records.slots.get(&id)?, open, at);
        let versions = settled.versions.into_iter().map(|(version, record)| (version, Some(record))).collect();
        let mut batch = Batch::new();
        let slot = settled.slot.map(Some);
        records.put_change(
            &mut batch,
            &id,
            Change { slot, versions, entries: settled.entries, ..Change::default() },
        )?;
        store.commit_blocking(batch)?;
    }
    Ok(())
}

/// What becomes of the other modules of a set when something is told of one: a set is confirmed as one and returns as one, in
/// one write, but the log is told of one after the other and may end in between.
fn with_set(records: &Records, id: &str, what: &What) -> Result<Vec<(String, What)>, StoreError> {
    let Some(slot) = records.slots.get(id)? else { return Ok(Vec::new()) };
    let Some(waits) = slot.provisional.as_ref().filter(|it| !it.set.is_empty()) else { return Ok(Vec::new()) };
    let confirmed = match what {
        What::Confirmed(version) if *version == waits.version => true,
        What::Failed { version, .. } if *version == waits.version => false,
        // a rollback of the set
        What::Serves { version, unconfirmed: None, .. } if *version != waits.version => false,
        _ => return Ok(Vec::new()),
    };
    let mut others = Vec::new();
    for other in waits.set.iter().filter(|other| *other != id) {
        let provisional = records.slots.get(other)?.and_then(|slot| slot.provisional);
        let Some(Provisional { version, entry, .. }) = provisional.filter(|it| it.set == waits.set) else { continue };
        let what = if confirmed {
            What::Confirmed(version)
        } else {
            What::Failed { version, reason: Some(format!("the set returned with {id}")), number: entry }
        };
        others.push((other.clone(), what));
    }
    Ok(others)
}

fn slot(batch: &mut Batch, records: &Records, id: &str, what: What, at: u64) -> Result<(), StoreError> {
    let mut slot = records.slots.get(id)?.unwrap_or_default();
    let before = slot.clone();
    let mut ended = None;
    for entry in entries::after(records, id, &slot, &what, at)? {
        records.put_entry(batch, id, &entry)?;
    }
    let placed = match &what {
        What::Serves { version, number, .. } => Some((Some(version), *number)),
        What::Deactivated { number, .. } => Some((None, *number)),
        _ => None,
    };
    // what the log tells may end a jump that was under way when the snapshot was taken
    if let Some((version, number)) = placed
        && records.jumps.get(id)?.is_some_and(|jump| jump.ends_with(version, number))
    {
        batch.remove(&records.jumps, id)?;
    }
    match what {
        What::Serves { version, unconfirmed, instant, number } => {
            raise(batch, &records.numbers, id, number)?;
            serves(&mut slot, &version, unconfirmed, number);
            (slot.instant, slot.last) = (instant, Some(version.clone()));
            batch.remove(&records.versions, (id, &version))?;
        }
        What::Confirmed(version) => {
            if slot.provisional.take_if(|it| it.version == version).is_some() {
                slot.previous = slot.serving.replace(version);
            }
        }
        What::Failed { version, reason, number } => {
            raise(batch, &records.numbers, id, number)?;
            slot.provisional.take_if(|it| it.version == version);
            slot.last.get_or_insert_with(|| version.clone());
            ended = Some((version, State::Failed, reason));
        }
        What::Deactivated { version, number } => {
            raise(batch, &records.numbers, id, number)?;
            (slot.serving, slot.provisional, slot.last) = (None, None, Some(version.clone()));
            ended = Some((version, State::Inactive, None));
        }
        What::Generation(_) | What::Restarted | What::Chosen(_) => {}
    }
    if slot != before {
        slot.since = at;
        batch.put(&records.slots, id, &slot)?;
    }
    if let Some((version, state, reason)) = ended {
        let generation = records.generations.get(id)?.unwrap_or(0);
        let reason = reason.map(clipped);
        batch.put(&records.versions, (id, &version), &VersionRecord { state, reason, since: at, generation })?;
    }
    Ok(())
}

/// What a slot is once `version` serves. What the slot knows of that is more than what is told, and stays.
fn serves(slot: &mut SlotRecord, version: &Version, unconfirmed: Option<Unconfirmed>, entry: u64) {
    let confirmed = slot.serving.as_ref() == Some(version);
    let Some(Unconfirmed { back, set, .. }) = unconfirmed else {
        slot.provisional = None;
        if !confirmed {
            (slot.serving, slot.previous) = (Some(version.clone()), None);
        }
        return;
    };
    let known = slot.provisional.as_ref().is_some_and(|kept| kept.version == *version && kept.entry == entry);
    if confirmed || known {
        return;
    }
    let (one_way, one_way_of) = match back {
        Back::Untold => (Some(version.clone()), None),
        Back::Is => (None, None),
        Back::OneWay(migration, module) => (Some(migration), module),
    };
    slot.provisional = Some(Provisional { version: version.clone(), entry, one_way, one_way_of, frozen: None, set });
}

/// Whether a record is an entry of a module's history with which nothing is left to do.
pub(crate) fn is_history(record: &RawRecord) -> bool {
    let is_entry = record.tree == Records::JOURNAL && record.format() <= Entry::FORMAT;
    is_entry && Entry::decode(record.format(), record.body()).is_ok_and(|entry| entry.closed)
}

/// Whether all records of the engine can be read.
///
/// # Errors
/// The first that cannot.
pub(crate) fn check(store: &Store) -> Result<(), StoreError> {
    let records = Records::new(store.clone());
    readable(&records.slots)?;
    readable(&records.versions)?;
    readable(&records.generations)?;
    readable(&records.journal)?;
    readable(&records.open)?;
    readable(&records.numbers)?;
    readable(&records.choices)?;
    readable(&records.jumps)
}

fn readable<K: Key, V: Record>(tree: &Tree<K, V>) -> Result<(), StoreError> {
    tree.walk(&Prefix::all(), None, |_, record| record.map(|_| ControlFlow::Continue(())))
}
