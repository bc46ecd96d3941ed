//! What is kept of decisions in the store: a record for each, and how often each module's were changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decisions::{Decision, Decisions, Verdict};
use super::permission::Permission;
use crate::store::audit::Who;
use crate::store::{Batch, Prefix, Record, Store, StoreError, Tree, from_json, to_json};

/// A decision, under the module's id and the text of what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecisionRecord {
    /// `granted`, `narrowed` or `denied`.
    verdict: String,
    /// What is given of a narrowed one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    who: Who,
    at: u64,
}

impl Record for DecisionRecord {
    const FORMAT: u16 = 1;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        to_json(self, out)
    }

    fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
        from_json(bytes)
    }
}

#[derive(Clone)]
pub(super) struct Records {
    store: Store,
    pub(super) made: Tree<(String, String), DecisionRecord>,
    pub(super) revisions: Tree<String, u64>,
}

impl Records {
    pub(super) fn new(store: &Store) -> Self {
        Self { made: store.tree("permissions"), revisions: store.tree("permission-revisions"), store: store.clone() }
    }

    /// All decisions, by module. One that cannot be read counts as none: what it was about waits, and is not given.
    pub(super) fn all(&self) -> Result<BTreeMap<String, Decisions>, StoreError> {
        let mut all: BTreeMap<String, Decisions> = BTreeMap::new();
        self.revisions.walk(&Prefix::all(), None, |id, revision| {
            all.entry(id).or_default().revision = revision?;
            Ok::<_, StoreError>(std::ops::ControlFlow::Continue(()))
        })?;
        self.made.walk(&Prefix::all(), None, |(id, asked), record| {
            match record.map_err(|error| error.to_string()).and_then(|record| Ok((read(&asked)?, record.decision()?))) {
                Ok((asked, decision)) => drop(all.entry(id).or_default().made.insert(asked, decision)),
                Err(cause) => tracing::error!(module = %id, permission = %asked, %cause, "a decision cannot be read"),
            }
            Ok::<_, StoreError>(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// Replaces the decisions about a module; on the disk when this returns.
    pub(super) async fn write(&self, id: &str, before: &Decisions, after: &Decisions) -> Result<(), StoreError> {
        self.store.commit(self.change(id, before, after)?).await
    }

    /// What replaces the decisions about a module.
    pub(super) fn change(&self, id: &str, before: &Decisions, after: &Decisions) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        for gone in before.made.keys().filter(|asked| !after.made.contains_key(asked)) {
            batch.remove(&self.made, (id, gone.to_string().as_str()))?;
        }
        for (asked, decision) in &after.made {
            if before.made.get(asked) != Some(decision) {
                batch.put(&self.made, (id, asked.to_string().as_str()), &DecisionRecord::of(decision))?;
            }
        }
        batch.put(&self.revisions, id, &after.revision)?;
        Ok(batch)
    }

    /// Removes all decisions about a module. The revision stays, so that no tag of before fits again.
    pub(super) async fn forget(&self, id: &str, before: &Decisions) -> Result<(), StoreError> {
        self.write(id, before, &Decisions { revision: before.revision + 1, made: BTreeMap::new() }).await
    }
}

impl DecisionRecord {
    pub(super) fn of(decision: &Decision) -> Self {
        let (verdict, to) = match &decision.verdict {
            Verdict::Granted => ("granted", Vec::new()),
            Verdict::Narrowed(to) => ("narrowed", to.iter().map(ToString::to_string).collect()),
            Verdict::Denied => ("denied", Vec::new()),
        };
        Self { verdict: verdict.to_owned(), to, who: decision.who, at: decision.at }
    }

    fn decision(self) -> Result<Decision, String> {
        let verdict = match &*self.verdict {
            "granted" => Verdict::Granted,
            "narrowed" => Verdict::Narrowed(self.to.iter().map(|part| read(part)).collect::<Result<_, _>>()?),
            "denied" => Verdict::Denied,
            other => return Err(format!("there is no verdict `{other}`")),
        };
        Ok(Decision { verdict, who: self.who, at: self.at })
    }
}

fn read(text: &str) -> Result<Permission, String> {
    text.parse().map_err(|error: super::permission::NoPermission| error.to_string())
}
