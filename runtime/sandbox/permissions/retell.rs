//! What the audit log tells of decisions, for a store that is made anew; and whether one can be read.

use std::ops::ControlFlow;

use super::decisions::{Decision, Decisions, Verdict};
use super::permission::Permission;
use super::records::Records;
use crate::store::audit::Who;
use crate::store::{Prefix, Store, StoreError};

/// A change of what was decided about a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The module.
    pub id: String,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A decision was made.
    Decided {
        /// About what.
        permission: Permission,
        /// What, by whom and when.
        decision: Decision,
    },
    /// These were forgotten.
    Forgotten(Vec<Permission>),
    /// All were.
    ForgottenAll,
}

/// The decision that an entry of the log tells: `granted`, `narrowed` (to these) or `denied`.
///
/// # Errors
/// A text that says what makes no sense.
pub fn decision(verdict: &str, to: &[String], (who, at): (Who, u64)) -> Result<Decision, String> {
    let verdict = match verdict {
        "granted" => Verdict::Granted,
        "narrowed" => Verdict::Narrowed(to.iter().map(|part| permission(part)).collect::<Result<_, _>>()?),
        "denied" => Verdict::Denied,
        other => return Err(format!("there is no verdict `{other}`")),
    };
    Ok(Decision { verdict, who, at })
}

/// A permission by its text.
///
/// # Errors
/// A text that says what is wrong with it.
pub fn permission(text: &str) -> Result<Permission, String> {
    text.parse().map_err(|error: super::permission::NoPermission| error.to_string())
}

/// Does to the records in `store` what is told, in this order. Blocks. The same may be told twice.
///
/// # Errors
/// The store's.
pub fn retell(store: &Store, told: Vec<Told>) -> Result<(), StoreError> {
    let records = Records::new(store);
    for Told { id, change } in told {
        let before = records.all()?.remove(&id).unwrap_or_default();
        let mut after = Decisions::clone(&before);
        match change {
            Change::Decided { permission, decision } => drop(after.decide(permission, decision)),
            Change::Forgotten(gone) => after.made.retain(|made, _| !gone.contains(made)),
            Change::ForgottenAll => after.made.clear(),
        }
        if after.made != before.made {
            after.revision += 1;
            store.commit_blocking(records.change(&id, &before, &after)?)?;
        }
    }
    Ok(())
}

/// Whether all records of decisions can be read.
///
/// # Errors
/// The first that cannot.
pub fn check(store: &Store) -> Result<(), StoreError> {
    let records = Records::new(store);
    records.made.walk(&Prefix::all(), None, |_, record| record.map(|_| ControlFlow::Continue::<()>(())))?;
    records.revisions.walk(&Prefix::all(), None, |_, record| record.map(|_| ControlFlow::Continue(())))
}
