//! Plans as values: the steps of a command, each with the changes it makes, and the inverse of every change.
//!
//! Pure: no clock, no I/O, no async. What undoes an activation is not a second code path but the inverse of the changes
//! that were made, in reverse order.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::strategy::{self, StepName};
use crate::monitor::InstanceKey;

/// What a slot serves and returns to.
///
/// There is a standby only as long as the version that serves is provisional: it is what a rollback returns to, and it goes
/// when the one that serves is confirmed. A version that took over as one of a set is provisional also where nothing
/// stands by: it goes out of service when the others return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotState {
    /// Takes the traffic, but for a candidate's share.
    pub serving: Option<InstanceKey>,
    /// Warm, takes none.
    pub standby: Option<InstanceKey>,
    /// Whether what serves took over as one of a set that is not confirmed.
    pub joined: bool,
    /// A candidate that takes a share.
    pub shift: Option<Share>,
}

/// A candidate's share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The candidate.
    pub key: InstanceKey,
    /// In percent, below 100.
    pub weight: u8,
}

/// How a slot is turned from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A candidate takes a share.
    Shift(Share),
    /// An instance takes everything. Where `keeps_standby` says so, the last confirmed version stays warm.
    TakeOver {
        /// The instance.
        key: InstanceKey,
        /// Whether something stays to return to.
        keeps_standby: bool,
        /// Whether it does so as one of a set.
        joins: bool,
    },
    /// An instance gives back what it took.
    Withdraw(InstanceKey),
    /// What serves is confirmed.
    Confirm,
    /// The standby takes everything.
    ReturnToStandby,
    /// Nobody takes anything.
    Clear,
}

impl SlotState {
    /// Whether what serves is not confirmed yet.
    #[must_use]
    pub const fn is_provisional(&self) -> bool {
        self.standby.is_some() || self.joined
    }

    /// The slot after `turn`.
    #[must_use]
    pub fn turned(&self, turn: &Turn) -> Self {
        let alone = |serving: Option<InstanceKey>| Self { serving, ..Self::default() };
        match turn {
            Turn::Shift(share) => Self { shift: Some(share.clone()), ..self.clone() },
            Turn::TakeOver { key, keeps_standby: false, .. } => alone(Some(key.clone())),
            // an unconfirmed version is nothing to return to: the confirmed one behind it is
            Turn::TakeOver { key, keeps_standby: true, joins } => {
                let standby = self.standby.clone().or_else(|| self.serving.clone());
                Self { serving: Some(key.clone()), standby, joined: *joins, shift: None }
            }
            Turn::Withdraw(key) if self.serving.as_ref() == Some(key) => alone(self.standby.clone()),
            Turn::Withdraw(_) => Self { shift: None, ..self.clone() },
            Turn::Confirm => Self { standby: None, joined: false, ..self.clone() },
            Turn::ReturnToStandby => alone(self.standby.clone()),
            Turn::Clear => Self::default(),
        }
    }

    /// Every instance that has a place.
    pub fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.serving.iter().chain(&self.standby).chain(self.shift.iter().map(|share| &share.key))
    }
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
    Route(Box<Route>),
    /// Check that what serves is well.
    Verify(InstanceKey),
    /// Check that the version before serves again; with none, that none does.
    Restore(String, Option<InstanceKey>),
}

/// A slot's way from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The module.
    pub id: String,
    /// Before.
    pub from: SlotState,
    /// After.
    pub to: SlotState,
}

impl Change {
    /// Points the slot of `id` from one state to another.
    #[must_use]
    pub fn route(id: &str, from: &SlotState, to: &SlotState) -> Self {
        Self::Route(Box::new(Route { id: id.to_owned(), from: from.clone(), to: to.clone() }))
    }

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
            Self::Route(route) => Self::route(&route.id, &route.to, &route.from),
            Self::Warm(_) | Self::Verify(_) | Self::Restore(..) => return None,
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
    let after = slot.turned(&Turn::TakeOver { key: key.clone(), keeps_standby, joins: false });
    let id = key.id.to_string();
    let changes = |name: StepName| match name {
        StepName::Prepare => vec![Change::Prepare(key.clone())],
        StepName::Load => vec![Change::Start(key.clone())],
        StepName::Register => vec![Change::Bind(key.clone())],
        StepName::Migrate if !pending.is_empty() => vec![Change::Migrate(id.clone(), pending.to_vec())],
        StepName::Warmup => vec![Change::Warm(key.clone())],
        StepName::Activate => vec![Change::route(&id, slot, &after)],
        StepName::Verify => vec![Change::Verify(key.clone())],
        // validation changes nothing, and the rest is no step of an activation
        _ => Vec::new(),
    };
    Plan { steps: steps.iter().map(|name| Step { name: *name, changes: changes(*name) }).collect() }
}

/// Takes back the changes that were `done`, in the six steps of a rollback. `returned` is what serves afterwards. Within a
/// step the last change goes first; actors stop before the tables go that they work on.
#[must_use]
pub fn roll_back(id: &str, done: &[Change], returned: Option<InstanceKey>) -> Plan {
    let belongs = |change: &Change, name: StepName| {
        matches!(
            (change, name),
            (Change::Route(_), StepName::StopTraffic)
                | (Change::Stop(_), StepName::Deactivate)
                | (Change::Revert(..), StepName::Rollback)
                | (Change::Unbind(_), StepName::Unregister)
                | (Change::Release(_), StepName::Cleanup)
        )
    };
    let inverses: Vec<Change> = done.iter().rev().filter_map(Change::inverse).collect();
    let step = |name: &StepName| Step {
        name: *name,
        changes: match name {
            StepName::Restore => vec![Change::Restore(id.to_owned(), returned.clone())],
            name => inverses.iter().filter(|change| belongs(change, *name)).cloned().collect(),
        },
    };
    Plan { steps: strategy::ROLLBACK.iter().map(step).collect() }
}

/// The instances that a slot change leaves without a place: they drain and stop.
#[must_use]
pub fn retired(from: &SlotState, to: &SlotState) -> Vec<InstanceKey> {
    let kept: BTreeSet<_> = to.keys().collect();
    from.keys().filter(|key| !kept.contains(key)).cloned().collect()
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
            Change::Restore(id, returned) => {
                self.slots.get(id).and_then(|slot| slot.serving.as_ref()) == returned.as_ref()
            }
            Change::Route(route) => {
                let Route { id, from, to } = &**route;
                let present = self.slots.get(id).cloned().unwrap_or_default();
                let ready = to.keys().all(|key| self.bound.contains(key));
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
