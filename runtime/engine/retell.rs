//! What the audit log tells of slots, for a store that is made anew of an older snapshot; and whether one can be read.
//!
//! The log says what became of each command, not all that the journal did: the entries of the history are not made anew, and a
//! version that was provisional is one still, so that the start that follows decides about it as after any other end.

use std::ops::ControlFlow;

use semver::Version;

use super::journal::{Entry, clipped};
use super::record::{Choice, Provisional, Records, SlotRecord, VersionRecord};
use super::state::State;
use crate::store::{Batch, Key, Prefix, RawRecord, Record, Store, StoreError, Tree};

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
    /// A version serves, confirmed or not, by the entry of this number.
    Serves { version: Version, provisional: bool, instant: bool, number: u64 },
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
            What::Restarted => {
                for (id, mut slot) in records.slots.scan(&Prefix::all(), None, usize::MAX)? {
                    if slot.provisional.is_some() {
                        slot.decide();
                        batch.put(&records.slots, &id, &slot)?;
                    }
                }
            }
            what => slot(&mut batch, &records, &id, what, at)?,
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

fn slot(batch: &mut Batch, records: &Records, id: &str, what: What, at: u64) -> Result<(), StoreError> {
    let mut slot = records.slots.get(id)?.unwrap_or_default();
    let before = slot.clone();
    let mut ended = None;
    match what {
        What::Serves { version, provisional, instant, number } => {
            raise(batch, &records.numbers, id, number)?;
            serves(&mut slot, &version, (provisional, number));
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

/// What a slot is once `version` serves.
fn serves(slot: &mut SlotRecord, version: &Version, (provisional, entry): (bool, u64)) {
    let confirmed = slot.serving.as_ref() == Some(version);
    if provisional && !confirmed {
        let version = version.clone();
        let (one_way, one_way_of, frozen, set) = (None, None, None, Vec::new());
        slot.provisional = Some(Provisional { version, entry, one_way, one_way_of, frozen, set });
    } else if !provisional {
        slot.provisional = None;
        if !confirmed {
            (slot.serving, slot.previous) = (Some(version.clone()), None);
        }
    }
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
    readable(&records.choices)
}

fn readable<K: Key, V: Record>(tree: &Tree<K, V>) -> Result<(), StoreError> {
    tree.walk(&Prefix::all(), None, |_, record| record.map(|_| ControlFlow::Continue(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn told(what: What) -> Told {
        Told { id: "m".to_owned(), what, at: 9 }
    }

    fn serves(text: &str, provisional: bool, number: u64) -> Told {
        told(What::Serves { version: version(text), provisional, instant: true, number })
    }

    /// The slot after what is told, told once and told twice.
    fn slot(all: &[Told]) -> SlotRecord {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        retell(&store, all.to_vec()).unwrap();
        let once = Records::new(store.clone()).slots.get("m").unwrap().unwrap_or_default();
        check(&store).unwrap();
        once
    }

    #[test]
    fn a_slot_is_what_the_commands_made_of_it() {
        let first = [serves("1.0.0", false, 1)];
        let shown = |slot: SlotRecord| {
            let text = |version: Option<Version>| version.map_or("-".to_owned(), |version| version.to_string());
            let provisional = slot.provisional.map(|it| it.version);
            [slot.serving, provisional, slot.previous, slot.last].map(text).join(" ")
        };
        let after = |more: &[Told]| shown(slot(&[&first[..], more].concat()));
        assert_eq!(after(&[]), "1.0.0 - - 1.0.0");
        let second = serves("2.0.0", true, 2);
        assert_eq!(after(std::slice::from_ref(&second)), "1.0.0 2.0.0 - 2.0.0");
        let confirmed = told(What::Confirmed(version("2.0.0")));
        assert_eq!(after(&[second.clone(), confirmed.clone()]), "2.0.0 - 1.0.0 2.0.0");
        assert_eq!(after(&[second.clone(), told(What::Restarted)]), "1.0.0 - - 2.0.0");
        let failed = told(What::Failed { version: version("2.0.0"), reason: Some("it failed".to_owned()), number: 2 });
        assert_eq!(after(&[second.clone(), failed]), "1.0.0 - - 2.0.0");
        let gone = told(What::Deactivated { version: version("2.0.0"), number: 3 });
        assert_eq!(after(&[second.clone(), confirmed.clone(), gone]), "- - 1.0.0 2.0.0");
        assert_eq!(after(&[second, confirmed, serves("1.0.0", false, 3)]), "1.0.0 - - 1.0.0", "a rollback");
    }

    #[test]
    fn numbers_and_generations_are_not_given_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let all = [told(What::Generation(7)), serves("1.0.0", false, 5), told(What::Generation(3))];
        retell(&store, all.to_vec()).unwrap();
        let records = Records::new(store);
        assert_eq!((records.generations.get("m"), records.numbers.get("m")), (Ok(Some(7)), Ok(Some(5))));
    }
}
