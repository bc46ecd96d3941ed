//! What the audit log tells of registrations, for a store that is made anew; and whether one can be read.

use std::ops::ControlFlow;

use semver::Version;

use super::records::{DefinitionRecord, REVISION, Records};
use crate::store::{Batch, Prefix, RawRecord, Record as _, Store, StoreError};

/// A change of what is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The module.
    pub(crate) id: String,
    /// The version.
    pub(crate) version: Version,
    /// The digest of its files; `None`: it was unregistered.
    pub(crate) digest: Option<String>,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// Does to the records in `store` what is told, in this order. Blocks. What they say already is left as it is, so the same may
/// be told twice.
///
/// # Errors
/// The store's.
pub(crate) fn retell(store: &Store, told: Vec<Told>) -> Result<(), StoreError> {
    let records = Records::new(store.clone());
    for Told { id, version, digest, at } in told {
        let (definitions, counters) = (records.definitions.clone(), records.counters.clone());
        store.update_blocking(move |batch: &mut Batch| {
            let kept = definitions.get((&id, &version))?;
            if kept.as_ref().map(|kept| &kept.digest) == digest.as_ref() {
                return Ok::<_, StoreError>(());
            }
            let seq = counters.get(REVISION)?.unwrap_or(0) + 1;
            match digest {
                Some(digest) => {
                    batch.put(&definitions, (&id, &version), &DefinitionRecord { digest, registered_at: at, seq })?;
                }
                None => batch.remove(&definitions, (&id, &version))?,
            }
            batch.put(&counters, REVISION, &seq)
        })?;
    }
    Ok(())
}

/// Whether all records of the registry can be read.
///
/// # Errors
/// The first that cannot.
pub(crate) fn readable(store: &Store) -> Result<(), StoreError> {
    let records = Records::new(store.clone());
    records.counters.get(REVISION)?;
    records.definitions.walk(&Prefix::all(), None, |_, record| record.map(|_| ControlFlow::Continue(())))
}

/// The digest of the files that a record is about, if it is the registry's and can be read.
pub(crate) fn digest_of(record: &RawRecord) -> Option<String> {
    let is_ours = record.tree == Records::DEFINITIONS && record.format() <= DefinitionRecord::FORMAT;
    let read = is_ours.then(|| DefinitionRecord::decode(record.format(), record.body()))?;
    read.ok().map(|record| record.digest)
}
