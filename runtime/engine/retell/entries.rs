//! The entries of the journal that a start decides about, after what the log tells and what was salvaged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::{Unconfirmed, What, raise};
use crate::engine::journal::{Action, Entry, Owed};
use crate::engine::outcome::Outcome;
use crate::engine::record::{Records, SlotRecord};
use crate::manifest::ActivationStrategy;
use crate::store::{Batch, Prefix, Store, StoreError};

/// Changes that are made in one go.
const AT_ONCE: usize = 1000;

/// The entries that are open, oldest first, of one module or of all.
pub(super) fn open_of(records: &Records, id: Option<&String>) -> Result<BTreeMap<String, Vec<Entry>>, StoreError> {
    let mut open = BTreeMap::<String, Vec<Entry>>::new();
    let prefix = id.map_or_else(Prefix::all, |id| Prefix::of(id.as_str()));
    for ((id, number), _) in records.open.scan(&prefix, None, usize::MAX)? {
        if let Some(entry) = records.journal.get((&id, number))? {
            open.entry(id).or_default().push(entry);
        }
    }
    Ok(open)
}

/// What shows that an activation of a module began, went on or ended: the number of its last entry; of each that is open how far
/// it came, and the migrations that it owes. A step that changes a database is noted before it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    modules: BTreeMap<String, (u64, Vec<Open>)>,
}

/// Number, steps, whether it is committed, and what it owes.
type Open = (u64, usize, bool, Option<Owed>);

impl Pending {
    /// What the store says now. Blocks.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn of(store: &Store) -> Result<Self, StoreError> {
        let records = Records::new(store.clone());
        let mut modules = BTreeMap::<String, (u64, Vec<Open>)>::new();
        for (id, number) in records.numbers.scan(&Prefix::all(), None, usize::MAX)? {
            modules.entry(id).or_default().0 = number;
        }
        for (id, entries) in open_of(&records, None)? {
            let told = |it: Entry| (it.number, it.steps.len(), it.committed, it.owed);
            modules.entry(id).or_default().1 = entries.into_iter().map(told).collect();
        }
        Ok(Self { modules })
    }

    /// The modules of which something else is said than `earlier`.
    pub(crate) fn moved_since(&self, earlier: &Self) -> BTreeSet<String> {
        let all = self.modules.keys().chain(earlier.modules.keys());
        all.filter(|id| self.modules.get(*id) != earlier.modules.get(*id)).cloned().collect()
    }
}

/// The entries of a module that are others after what is told; `slot` is the one before that.
pub(super) fn after(
    records: &Records,
    id: &str,
    slot: &SlotRecord,
    what: &What,
    at: u64,
) -> Result<Vec<Entry>, StoreError> {
    let id = id.to_owned();
    let mut open = open_of(records, Some(&id))?.remove(&id).unwrap_or_default();
    match what {
        What::Serves { version, unconfirmed, instant, number } => {
            open.retain(|entry| entry.number <= *number);
            for entry in open.iter_mut().filter(|entry| entry.number < *number) {
                entry.close(format!("{version} took its place"));
            }
            let Some(unconfirmed) = unconfirmed else {
                open.iter_mut().filter(|entry| entry.number == *number).for_each(|entry| served(entry, at));
                return Ok(open);
            };
            // confirmed since, or told before
            if slot.serving.as_ref() == Some(version) || records.entry(&id, *number)?.is_some_and(|it| it.closed) {
                return Ok(open);
            }
            if open.last().is_none_or(|entry| entry.number != *number) {
                let strategy = if *instant { ActivationStrategy::Instant } else { ActivationStrategy::Gradual };
                let begun = Entry::begun(Action::Activate, version.clone(), slot.serving.clone(), strategy, at);
                open.push(Entry { number: *number, generation: records.generations.get(&id)?.unwrap_or(0), ..begun });
            }
            open.iter_mut().rev().take(1).for_each(|entry| waits(entry, unconfirmed, at));
        }
        What::Confirmed(version) => {
            open.retain(|entry| entry.version == *version && entry.action == Action::Activate);
            open.iter_mut().for_each(|entry| entry.confirm(at));
        }
        What::Failed { reason, number, .. } => {
            open.retain(|entry| entry.number == *number);
            open.iter_mut().for_each(|entry| entry.end(entry.taken_back(), reason.clone(), at));
        }
        What::Deactivated { number, .. } => {
            open.retain(|entry| entry.number <= *number);
            for entry in &mut open {
                if entry.number == *number {
                    entry.committed = true;
                    entry.end(Outcome::Inactive, None, at);
                } else {
                    entry.close("the module was deactivated".to_owned());
                }
            }
        }
        What::Generation(_) | What::Restarted | What::Chosen(_) => open.clear(),
    }
    Ok(open)
}

/// Its version serves, and need not be confirmed. What a rollback owes is taken back behind its switch, of which nothing is
/// told: that is done once more, and what is taken back already is no migration that could be taken back.
fn served(entry: &mut Entry, at: u64) {
    let owed = entry.owed.take().filter(|_| entry.action == Action::Rollback);
    entry.committed = true;
    entry.end(Outcome::Active, None, at);
    entry.closed = owed.is_none();
    entry.owed = owed;
}

/// Its version serves, and is to be confirmed.
fn waits(entry: &mut Entry, unconfirmed: &Unconfirmed, at: u64) {
    entry.committed = true;
    if entry.ended.is_none() {
        entry.end(Outcome::Provisional, None, at);
    }
    if !unconfirmed.owed.is_empty() {
        entry.owed = Some(Owed { version: entry.version.clone(), migrations: unconfirmed.owed.clone() });
    }
}

/// Puts right what rests on entries, once closed ones were saved out of a damaged store: none of them is open, and no number
/// is given again. Blocks.
///
/// # Errors
/// The store's.
pub(crate) fn salvaged(store: &Store) -> Result<(), StoreError> {
    let records = Records::new(store.clone());
    let mut newest = BTreeMap::<String, u64>::new();
    records.journal.walk(&Prefix::all(), None, |(id, number), _| {
        let kept = newest.entry(id).or_default();
        *kept = number.max(*kept);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    let (mut batch, mut changes) = (Batch::new(), 0);
    let mut flush = |batch: &mut Batch, last: bool| {
        changes += 1;
        let full = changes % AT_ONCE == 0 || last;
        if full && !batch.is_empty() { store.commit_blocking(std::mem::take(batch)) } else { Ok(()) }
    };
    for (id, number) in newest {
        raise(&mut batch, &records.numbers, &id, number)?;
        flush(&mut batch, false)?;
    }
    for ((id, number), _) in records.open.scan(&Prefix::all(), None, usize::MAX)? {
        if records.journal.get((&id, number))?.is_none_or(|entry| entry.closed) {
            batch.remove(&records.open, (&id, number))?;
        }
        flush(&mut batch, false)?;
    }
    flush(&mut batch, true)
}
