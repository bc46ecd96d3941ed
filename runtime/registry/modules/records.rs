//! What the registry keeps in the store: one record for each definition, and its revision.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::store::{Batch, Prefix, Record, Store, StoreError, Tree, from_json, to_json};

pub(super) const REVISION: &str = "revision";

/// A registered definition. All else is in the bundle's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionRecord {
    pub(super) digest: String,
    pub(super) registered_at: u64,
    pub(super) seq: u64,
}

impl Record for DefinitionRecord {
    const FORMAT: u16 = 1;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        to_json(self, out)
    }

    fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
        from_json(bytes)
    }
}

/// A definition's key and its record, or why that cannot be read.
pub(super) type Found = ((String, Version), Result<DefinitionRecord, StoreError>);

#[derive(Debug)]
pub(super) struct Records {
    store: Store,
    pub(super) definitions: Tree<(String, Version), DefinitionRecord>,
    pub(super) counters: Tree<String, u64>,
}

impl Records {
    pub(super) const DEFINITIONS: &str = "definitions";

    pub(super) fn new(store: Store) -> Self {
        Self { definitions: store.tree(Self::DEFINITIONS), counters: store.tree("registry"), store }
    }

    /// All definitions and the revision.
    pub(super) fn all(&self) -> Result<(Vec<Found>, u64), StoreError> {
        let mut found = Vec::new();
        self.definitions.walk(&Prefix::all(), None, |at, record| {
            found.push((at, record));
            Ok::<_, StoreError>(std::ops::ControlFlow::Continue(()))
        })?;
        Ok((found, self.counters.get(REVISION)?.unwrap_or(0)))
    }

    /// Records a new definition under the next revision, which it returns.
    pub(super) async fn add(&self, id: &str, version: &Version, digest: &str, now: u64) -> Result<u64, StoreError> {
        let (definitions, at) = (self.definitions.clone(), (id.to_owned(), version.clone()));
        let digest = digest.to_owned();
        let add = move |batch: &mut Batch, seq| {
            batch.require(&definitions, &at, None)?;
            batch.put(&definitions, &at, &DefinitionRecord { digest, registered_at: now, seq })
        };
        self.next(add).await
    }

    /// Removes definitions, all or none, under the next revision, which it returns.
    pub(super) async fn remove(&self, id: &str, versions: &[Version]) -> Result<u64, StoreError> {
        let (definitions, id, versions) = (self.definitions.clone(), id.to_owned(), versions.to_vec());
        self.next(move |batch, _| versions.iter().try_for_each(|version| batch.remove(&definitions, (&id, version))))
            .await
    }

    /// The next revision, for a change that no record shows.
    pub(super) async fn touch(&self) -> Result<u64, StoreError> {
        self.next(|_, _| Ok(())).await
    }

    async fn next(
        &self,
        change: impl FnOnce(&mut Batch, u64) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<u64, StoreError> {
        let counters = self.counters.clone();
        let decide = move |batch: &mut Batch| {
            let revision = counters.get(REVISION)?.unwrap_or(0) + 1;
            change(batch, revision)?;
            batch.put(&counters, REVISION, &revision)?;
            Ok(revision)
        };
        self.store.update(decide).await
    }
}
