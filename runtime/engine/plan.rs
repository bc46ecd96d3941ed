//! Plans as values: the steps of a command, each with the changes it makes, and the inverse of every change.
//!
//! Pure: no clock, no I/O, no async. What undoes an activation is not a second code path but the inverse of the changes
//! that were made, in reverse order.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::strategy::StepName;
use crate::monitor::InstanceKey;

/// What a slot serves and returns to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotState {
    /// Takes the traffic.
    pub serving: Option<InstanceKey>,
    /// Warm, takes none.
    pub standby: Option<InstanceKey>,
}

/// One change to the running system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Prepare what the integrations hold for an instance: files, pools.
    Prepare(InstanceKey),
    /// Let go of it again.
    Release(InstanceKey),
    /// Compile, make the first VM, start the actor tree.
    Start(InstanceKey),
    /// Stop the actor tree.
    Stop(InstanceKey),
    /// Bind the instance's handlers to the integrations; nothing is visible yet.
    Bind(InstanceKey),
    /// Take that back.
    Unbind(InstanceKey),
    /// Apply these migrations of a module, in order.
    Migrate(String, Vec<Version>),
    /// Take these back, last first.
    Revert(String, Vec<Version>),
    /// Let the instance fill its caches. Undone by stopping the instance.
    Warm(InstanceKey),
    /// Point the slot from one state to another: the one store that requests see.
    Route {
        /// The module.
        id: String,
        /// Before.
        from: SlotState,
        /// After.
        to: SlotState,
    },
    /// Check that what serves is well.
    Verify(InstanceKey),
}

impl Change {
    /// What takes this change back; nothing where there is nothing to take back.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        Some(match self {
            Self::Prepare(key) => Self::Release(key.clone()),
            Self::Release(key) => Self::Prepare(key.clone()),
            Self::Start(key) => Self::Stop(key.clone()),
            Self::Stop(key) => Self::Start(key.clone()),
            Self::Bind(key) => Self::Unbind(key.clone()),
            Self::Unbind(key) => Self::Bind(key.clone()),
            Self::Migrate(id, versions) => Self::Revert(id.clone(), versions.clone()),
            Self::Revert(id, versions) => Self::Migrate(id.clone(), versions.clone()),
            Self::Route { id, from, to } => Self::Route { id: id.clone(), from: to.clone(), to: from.clone() },
            Self::Warm(_) | Self::Verify(_) => return None,
        })
    }
}

/// A named step and its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The specification's name.
    pub name: StepName,
    /// In order.
    pub changes: Vec<Change>,
}

/// The steps of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The changes of all steps, in order.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.steps.iter().flat_map(|step| &step.changes)
    }

    /// What takes the whole plan back, in the order in which to do it.
    #[must_use]
    pub fn inverse(&self) -> Vec<Change> {
        self.changes().rev().filter_map(Change::inverse).collect()
    }
}

/// Brings a new instance into `slot` by the given steps. The one that serves becomes the standby, unless a rollback leaves
/// it (`keeps_standby` is false).
#[must_use]
pub fn activate(
    key: &InstanceKey,
    slot: &SlotState,
    steps: &[StepName],
    pending: &[Version],
    keeps_standby: bool,
) -> Plan {
    let standby = if keeps_standby { slot.serving.clone() } else { None };
    let after = SlotState { serving: Some(key.clone()), standby };
    let id = key.id.to_string();
    let step = |name: StepName| Step {
        name,
        changes: match name {
            StepName::Validate => Vec::new(),
            StepName::Prepare => vec![Change::Prepare(key.clone())],
            StepName::Load => vec![Change::Start(key.clone())],
            StepName::Register => vec![Change::Bind(key.clone())],
            StepName::Migrate if pending.is_empty() => Vec::new(),
            StepName::Migrate => vec![Change::Migrate(id.clone(), pending.to_vec())],
            StepName::Warmup => vec![Change::Warm(key.clone())],
            StepName::Activate => {
                vec![Change::Route { id: id.clone(), from: slot.clone(), to: after.clone() }]
            }
            StepName::Verify => vec![Change::Verify(key.clone())],
        },
    };
    Plan { steps: steps.iter().copied().map(step).collect() }
}

/// Returns to the warm standby: one step, one change.
#[must_use]
pub fn return_to_standby(id: &str, slot: &SlotState) -> Plan {
    let to = SlotState { serving: slot.standby.clone(), standby: None };
    route(id, slot, to)
}

/// Gives the slot's traffic to nobody.
#[must_use]
pub fn deactivate(id: &str, slot: &SlotState) -> Plan {
    route(id, slot, SlotState::default())
}

fn route(id: &str, from: &SlotState, to: SlotState) -> Plan {
    let change = Change::Route { id: id.to_owned(), from: from.clone(), to };
    Plan { steps: vec![Step { name: StepName::Activate, changes: vec![change] }] }
}

/// The instances that a slot change leaves without a place: they drain and stop.
#[must_use]
pub fn retired(from: &SlotState, to: &SlotState) -> Vec<InstanceKey> {
    let kept: BTreeSet<_> = to.serving.iter().chain(&to.standby).collect();
    from.serving.iter().chain(&from.standby).filter(|key| !kept.contains(key)).cloned().collect()
}

/// A model of the running system that plans can be tried on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Instances whose integrations hold something.
    pub prepared: BTreeSet<InstanceKey>,
    /// Instances with an actor tree.
    pub started: BTreeSet<InstanceKey>,
    /// Instances that are bound.
    pub bound: BTreeSet<InstanceKey>,
    /// Applied migrations by module.
    pub schema: BTreeMap<String, Vec<Version>>,
    /// Slots that serve.
    pub slots: BTreeMap<String, SlotState>,
}

impl World {
    /// Makes one change.
    ///
    /// # Errors
    /// The change contradicts what is there; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        let fits = match change {
            Change::Prepare(key) => self.prepared.insert(key.clone()),
            Change::Release(key) => self.prepared.remove(key),
            Change::Start(key) => self.started.insert(key.clone()),
            Change::Stop(key) => self.started.remove(key),
            Change::Bind(key) => self.started.contains(key) && self.bound.insert(key.clone()),
            Change::Unbind(key) => self.bound.remove(key),
            Change::Migrate(id, versions) => {
                self.schema.entry(id.clone()).or_default().extend(versions.iter().cloned());
                true
            }
            Change::Revert(id, versions) => {
                let applied = self.schema.entry(id.clone()).or_default();
                let fits = applied.ends_with(versions);
                if fits {
                    applied.truncate(applied.len() - versions.len());
                }
                if applied.is_empty() {
                    self.schema.remove(id);
                }
                fits
            }
            Change::Warm(key) | Change::Verify(key) => self.started.contains(key),
            Change::Route { id, from, to } => {
                let present = self.slots.get(id).cloned().unwrap_or_default();
                let ready = to.serving.iter().chain(&to.standby).all(|key| self.bound.contains(key));
                let fits = present == *from && ready;
                if fits && *to == SlotState::default() {
                    self.slots.remove(id);
                } else if fits {
                    self.slots.insert(id.clone(), to.clone());
                }
                fits
            }
        };
        if fits { Ok(()) } else { Err(format!("{change:?} does not fit")) }
    }
}

#[cfg(test)]
mod tests;
