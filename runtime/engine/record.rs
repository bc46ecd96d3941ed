//! What the engine keeps in the store: one record a slot, one a version that ran, and the count of starts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::journal::{Entry, KEPT, Owed, clipped};
use super::jump::Jump;
use super::state::State;
use crate::manifest::ActivationStrategy;
use crate::store::{Batch, Prefix, Record, Store, StoreError, Tree, from_json, to_json};

/// A slot. It exists once a version served, failed, or was deactivated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotRecord {
    /// The confirmed version: what a restart starts. While none is provisional it is the one that serves.
    pub(super) serving: Option<Version>,
    /// The version that serves and is not confirmed: what a restart returns from.
    #[serde(default)]
    pub(super) provisional: Option<Provisional>,
    /// The version that was confirmed before: what a rollback returns to once the newer one is confirmed.
    pub(super) previous: Option<Version>,
    /// Whether the one that serves was activated instantly rather than gradually.
    pub(super) instant: bool,
    /// The version that the slot is about when none serves.
    pub(super) last: Option<Version>,
    /// Since when, in milliseconds since 1970.
    pub(super) since: u64,
}

/// A version that serves and is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provisional {
    pub(super) version: Version,
    /// The number of its entry in the journal.
    pub(super) entry: u64,
    /// The migration for which the runtime does not return from it by itself: what was written since would be lost.
    #[serde(default)]
    pub(super) one_way: Option<Version>,
    /// The module of that migration, where it is another one of the set.
    #[serde(default)]
    pub(super) one_way_of: Option<String>,
    /// Why it would have been returned from, once something called for that.
    #[serde(default)]
    pub(super) frozen: Option<String>,
    /// The modules that took over as one, itself among them; empty: it did so alone.
    #[serde(default)]
    pub(super) set: Vec<String>,
}

/// A migration that has no way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneWay {
    pub(super) module: String,
    pub(super) migration: Version,
}

impl Provisional {
    /// The migration for which the runtime does not return from it by itself, in words: `1.2.0`, or `1.2.0 of MODULE`.
    pub(super) fn one_way(&self) -> Option<String> {
        let migration = self.one_way.as_ref()?;
        Some(
            self.one_way_of.as_ref().map_or_else(|| migration.to_string(), |module| format!("{migration} of {module}")),
        )
    }

    /// Adds to what the log is told of its activation what a start needs to know to decide about it.
    pub(super) fn tell(&self, told: &mut serde_json::Value, owed: Option<&Owed>) {
        told["oneWay"] = json!(self.one_way);
        told["oneWayOf"] = json!(self.one_way_of);
        told["set"] = json!(self.set);
        told["owed"] = json!(owed.map_or(&[][..], |owed| &owed.migrations));
    }
}

impl SlotRecord {
    /// The version that a rollback returns to now.
    pub(super) fn returns_to(&self) -> Option<&Version> {
        if self.provisional.is_some() { self.serving.as_ref() } else { self.previous.as_ref() }
    }

    /// Ends what is provisional: it is returned from, or kept where a migration has no way back, which is given then.
    pub(super) fn decide(&mut self) -> Option<String> {
        let provisional = self.provisional.take()?;
        let one_way = provisional.one_way();
        if one_way.is_some() {
            self.previous = self.serving.replace(provisional.version);
        }
        one_way
    }

    /// The modules that took over as one with the version that serves and is not confirmed; empty: there are none.
    pub(super) fn set(&self) -> &[String] {
        self.provisional.as_ref().map_or(&[], |provisional| &provisional.set)
    }

    pub(super) const fn strategy(&self) -> ActivationStrategy {
        if self.instant { ActivationStrategy::Instant } else { ActivationStrategy::Gradual }
    }
}

/// How the newest instance of a version ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionRecord {
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) since: u64,
    pub(super) generation: u64,
}

/// The module that is chosen for a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) module: String,
}

macro_rules! json_record {
    ($($record:ty: $format:literal),*) => {$(
        impl Record for $record {
            const FORMAT: u16 = $format;

            fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
                to_json(self, out)
            }

            fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
                from_json(bytes)
            }
        }
    )*};
}

// 2: sets. What format 1 does not have is empty.
// A jump is marked in a tree of its own, which is empty but for modules that are on such a way: slots and entries are as they were, and a
// program that does not know the tree does without the way back, as it always did.
json_record!(SlotRecord: 2, VersionRecord: 1, Entry: 2, Choice: 1, Jump: 1);

/// Everything the engine keeps, as read at its start.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) slots: BTreeMap<String, SlotRecord>,
    pub(super) versions: BTreeMap<(String, Version), VersionRecord>,
    /// The journal's open entries by module, oldest first.
    pub(super) open: BTreeMap<String, Vec<Entry>>,
}

impl Kept {
    /// Without what is about versions that are no longer registered: the registry forgets first, and a process may end
    /// between the two.
    pub(super) fn of_registered(mut self, is_registered: impl Fn(&str, &Version) -> bool) -> Self {
        self.versions.retain(|(id, version), _| is_registered(id, version));
        self.slots.retain(|id, slot| {
            slot.previous = slot.previous.take().filter(|version| is_registered(id, version));
            let about = slot.serving.as_ref().or(slot.last.as_ref());
            about.is_some_and(|version| is_registered(id, version))
        });
        self
    }
}

/// The engine's trees.
#[derive(Clone, Debug)]
pub(super) struct Records {
    pub(super) store: Store,
    pub(super) slots: Tree<String, SlotRecord>,
    pub(super) versions: Tree<(String, Version), VersionRecord>,
    pub(super) generations: Tree<String, u64>,
    pub(super) journal: Tree<(String, u64), Entry>,
    /// The numbers of open entries, so that a start need not read the whole journal.
    pub(super) open: Tree<(String, u64), u64>,
    /// The number of each module's last entry.
    pub(super) numbers: Tree<String, u64>,
    /// The chosen providers, by capability.
    pub(super) choices: Tree<String, Choice>,
    /// Jumps that are under way, by module.
    pub(super) jumps: Tree<String, Jump>,
}

/// A change of what is kept of a module, made in one go.
#[derive(Default)]
pub(super) struct Change {
    /// The slot; `Some(None)`: it does not exist any more.
    pub(super) slot: Option<Option<SlotRecord>>,
    /// Versions; `None`: nothing is kept of it.
    pub(super) versions: Vec<(Version, Option<VersionRecord>)>,
    /// Entries of the journal.
    pub(super) entries: Vec<Entry>,
    /// Whether it ends the mark of a jump.
    pub(super) ends_jump: bool,
}

impl Records {
    pub(super) const JOURNAL: &str = "journal";

    pub(super) fn new(store: Store) -> Self {
        Self {
            slots: store.tree("slots"),
            versions: store.tree("versions"),
            generations: store.tree("generations"),
            journal: store.tree(Self::JOURNAL),
            open: store.tree("journal-open"),
            numbers: store.tree("journal-numbers"),
            choices: store.tree("choices"),
            jumps: store.tree("jumps"),
            store,
        }
    }

    pub(super) fn all(&self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        self.slots.walk(&Prefix::all(), None, |id, record| {
            kept.slots.insert(id, record?);
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        self.versions.walk(&Prefix::all(), None, |at, record| {
            kept.versions.insert(at, record?);
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        self.open.walk(&Prefix::all(), None, |(id, number), _| {
            if let Some(entry) = self.journal.get((&id, number))? {
                kept.open.entry(id).or_default().push(entry);
            }
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        Ok(kept)
    }

    /// The chosen providers, by capability.
    pub(super) fn choices(&self) -> Result<Vec<(String, Choice)>, StoreError> {
        self.choices.scan(&Prefix::all(), None, usize::MAX)
    }

    /// The modules on whose jump there is a mark.
    pub(super) fn marked(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.jumps.scan(&Prefix::all(), None, usize::MAX)?.into_iter().map(|(id, _)| id).collect())
    }

    /// Keeps a choice, or forgets it; it is on the disk when this returns.
    pub(super) async fn choose(&self, capability: &str, choice: Option<Choice>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        match &choice {
            Some(choice) => batch.put(&self.choices, capability, choice)?,
            None => batch.remove(&self.choices, capability)?,
        }
        self.store.commit(batch).await
    }

    /// Begins an entry, and with `starts` an instance: numbers and generations are never given twice. The entry is on
    /// the disk when this returns.
    pub(super) async fn begin(&self, id: &str, mut entry: Entry, starts: bool) -> Result<Entry, StoreError> {
        let (records, id) = (self.clone(), id.to_owned());
        self.store
            .update(move |batch| {
                entry.number = records.numbers.get(&id)?.unwrap_or(0) + 1;
                batch.put(&records.numbers, &id, &entry.number)?;
                if starts {
                    entry.generation = records.generations.get(&id)?.unwrap_or(0) + 1;
                    batch.put(&records.generations, &id, &entry.generation)?;
                }
                // one that is not decided yet stays, however old it is: the way back needs it
                if let Some(old) = entry.number.checked_sub(KEPT)
                    && records.open.get((&id, old))?.is_none()
                {
                    batch.remove(&records.journal, (&id, old))?;
                }
                records.mark(batch, &id, &entry)?;
                records.put_entry(batch, &id, &entry)?;
                Ok(entry)
            })
            .await
    }

    /// Queues an entry as it is now; it is durable with the next write that is waited for.
    pub(super) async fn note(&self, id: &str, entry: &Entry) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        self.put_entry(&mut batch, id, entry)?;
        self.store.submit(batch).await
    }

    /// Writes an entry.
    pub(super) async fn write_entry(&self, id: &str, entry: &Entry) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        self.put_entry(&mut batch, id, entry)?;
        self.store.commit(batch).await
    }

    /// An entry, if it is kept still.
    pub(super) fn entry(&self, id: &str, number: u64) -> Result<Option<Entry>, StoreError> {
        self.journal.get((id, number))
    }

    /// The open entries of a module, oldest first.
    pub(super) fn undecided(&self, id: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for ((id, number), _) in self.open.scan(&Prefix::of(id), None, KEPT as usize)? {
            entries.extend(self.journal.get((&id, number))?);
        }
        Ok(entries)
    }

    /// The newest entries of a module, newest first.
    pub(super) fn newest(&self, id: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let last = self.numbers.get(id)?.unwrap_or(0);
        let mut entries = Vec::new();
        for number in (1..=last).rev().take(limit.min(KEPT as usize)) {
            entries.extend(self.journal.get((id, number))?);
        }
        Ok(entries)
    }

    pub(super) fn put_entry(&self, batch: &mut Batch, id: &str, entry: &Entry) -> Result<(), StoreError> {
        // one that was open for so long that its place is gone goes when it is decided
        let is_old = entry.closed && entry.number + KEPT <= self.numbers.get(id)?.unwrap_or(0);
        if is_old {
            batch.remove(&self.journal, (id, entry.number))?;
        } else {
            batch.put(&self.journal, (id, entry.number), &entry.bounded())?;
        }
        if entry.closed {
            batch.remove(&self.open, (id, entry.number))
        } else {
            batch.put(&self.open, (id, entry.number), &entry.number)
        }
    }

    /// Makes a change in one go; it is on the disk when this returns.
    pub(super) async fn write(&self, id: &str, change: Change) -> Result<(), StoreError> {
        self.write_all([(id.to_owned(), change)]).await
    }

    /// Makes changes of several modules in one go; they are on the disk when this returns.
    pub(super) async fn write_all(
        &self,
        changes: impl IntoIterator<Item = (String, Change)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (id, change) in changes {
            self.put_change(&mut batch, &id, change)?;
        }
        self.store.commit(batch).await
    }

    pub(super) fn put_change(&self, batch: &mut Batch, id: &str, change: Change) -> Result<(), StoreError> {
        match &change.slot {
            Some(Some(slot)) => batch.put(&self.slots, id, slot)?,
            Some(None) => batch.remove(&self.slots, id)?,
            None => {}
        }
        for (version, record) in change.versions {
            let Some(record) = record else {
                batch.remove(&self.versions, (id, &version))?;
                continue;
            };
            let record = VersionRecord { reason: record.reason.map(clipped), ..record };
            batch.put(&self.versions, (id, &version), &record)?;
        }
        if change.ends_jump {
            self.unmark(batch, id)?;
        }
        change.entries.iter().try_for_each(|entry| self.put_entry(batch, id, entry))
    }
}
