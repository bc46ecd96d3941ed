//! What the engine keeps in the store: one record a slot, one a version that ran, and the count of starts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::manifest::ActivationStrategy;
use crate::store::{Batch, Prefix, Record, Store, StoreError, Tree, from_json, to_json};

/// The longest reason that is kept, in bytes.
const LONGEST_REASON: usize = 2000;

/// A slot. It exists once a version served, failed, or was deactivated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotRecord {
    /// The version that serves.
    pub(super) serving: Option<Version>,
    /// The version that served before it: what a rollback returns to.
    pub(super) previous: Option<Version>,
    /// Whether the one that serves was activated instantly rather than gradually.
    pub(super) instant: bool,
    /// The version that the slot is about when none serves.
    pub(super) last: Option<Version>,
    /// Since when, in milliseconds since 1970.
    pub(super) since: u64,
}

impl SlotRecord {
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

macro_rules! json_record {
    ($($record:ty),*) => {$(
        impl Record for $record {
            const FORMAT: u16 = 1;

            fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
                to_json(self, out)
            }

            fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
                from_json(bytes)
            }
        }
    )*};
}

json_record!(SlotRecord, VersionRecord);

/// Everything the engine keeps, as read at its start.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) slots: BTreeMap<String, SlotRecord>,
    pub(super) versions: BTreeMap<(String, Version), VersionRecord>,
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
    store: Store,
    slots: Tree<String, SlotRecord>,
    versions: Tree<(String, Version), VersionRecord>,
    generations: Tree<String, u64>,
}

impl Records {
    pub(super) fn new(store: Store) -> Self {
        Self {
            slots: store.tree("slots"),
            versions: store.tree("versions"),
            generations: store.tree("generations"),
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
        Ok(kept)
    }

    /// The next generation of a module, never given twice.
    pub(super) async fn next_generation(&self, id: &str) -> Result<u64, StoreError> {
        let (generations, id) = (self.generations.clone(), id.to_owned());
        self.store
            .update(move |batch| {
                let next = generations.get(&id)?.unwrap_or(0) + 1;
                batch.put(&generations, &id, &next)?;
                Ok(next)
            })
            .await
    }

    /// Writes a slot (`None`: it does not exist) and some of its versions (`None`: nothing is kept of it) in one go.
    pub(super) async fn write(
        &self,
        id: &str,
        slot: Option<&SlotRecord>,
        versions: &[(Version, Option<VersionRecord>)],
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        match slot {
            Some(slot) => batch.put(&self.slots, id, slot)?,
            None => batch.remove(&self.slots, id)?,
        }
        for (version, record) in versions {
            let Some(mut record) = record.clone() else {
                batch.remove(&self.versions, (id, version))?;
                continue;
            };
            if let Some(reason) = &mut record.reason {
                reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
            }
            batch.put(&self.versions, (id, version), &record)?;
        }
        self.store.commit(batch).await
    }
}
