//! What every slot and version is now: written by the coordinator alone, read by anyone as a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use semver::Version;

use super::plan::SlotState;
use super::record::{Kept, SlotRecord, VersionRecord};
use super::slots::{CandidateView, SlotView, VersionState};
use super::state::{Happening, Impossible, State};
use super::steer::Helms;
use crate::actors::{Instance, Router};
use crate::monitor::InstanceKey;
use crate::registry::resolver::Placed;

/// A slot: what is kept of it and what runs of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// What the store holds of it; none before a version served, failed or was deactivated.
    pub(super) record: Option<SlotRecord>,
    /// The instances.
    pub(super) state: SlotState,
    /// The one on its way.
    pub(super) candidate: Option<InstanceKey>,
    /// The state of each version's newest instance.
    pub(super) versions: BTreeMap<Version, VersionRecord>,
    /// Whether the confirm window of what serves has passed, and it waits for the others of its set.
    pub(super) window_passed: bool,
}

/// All slots of one moment. Each is shared with the moments before and after it, as long as it stays as it is.
pub(super) type Slots = BTreeMap<String, Arc<Slot>>;

/// The board.
#[derive(Default)]
pub(super) struct Board {
    slots: ArcSwap<Slots>,
}

impl Board {
    /// What was kept, before anything runs: what served waits to be started again.
    pub(super) fn new(kept: Kept) -> Self {
        let mut slots = Slots::new();
        for (id, record) in kept.slots {
            slot_of(&mut slots, id).record = Some(record);
        }
        for ((id, version), record) in kept.versions {
            slot_of(&mut slots, id).versions.insert(version, record);
        }
        Self { slots: ArcSwap::from_pointee(slots) }
    }

    pub(super) fn slots(&self) -> Arc<Slots> {
        self.slots.load_full()
    }

    pub(super) fn slot(&self, id: &str) -> Slot {
        self.slots.load().get(id).map(|slot| Slot::clone(slot)).unwrap_or_default()
    }

    /// What serves and what stands by.
    pub(super) fn placed(&self) -> Placed {
        let slots = self.slots.load();
        let versions = |place: fn(&SlotState) -> Option<&InstanceKey>| {
            let placed = slots.iter().filter_map(|(id, slot)| Some((id.clone(), version_of(place(&slot.state)?)?)));
            placed.collect()
        };
        let sets: BTreeSet<BTreeSet<String>> = slots.values().filter_map(|slot| slot.set()).collect();
        Placed {
            running: versions(|slot| slot.serving.as_ref()),
            standby: versions(|slot| slot.standby.as_ref()),
            sets: sets.into_iter().collect(),
        }
    }

    /// Replaces slots, all at once. The coordinator alone may call this.
    pub(super) fn replace(&self, changed: Vec<(String, Slot)>) {
        let mut slots = Slots::clone(&self.slots.load());
        for (id, slot) in changed {
            if slot.is_nothing() {
                slots.remove(&id);
            } else {
                slots.insert(id, Arc::new(slot));
            }
        }
        self.slots.store(Arc::new(slots));
    }

    /// Changes one slot. The coordinator alone may call this.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Slot)) {
        let mut slots = Slots::clone(&self.slots.load());
        let slot = slot_of(&mut slots, id.to_owned());
        change(slot);
        if slot.is_nothing() {
            slots.remove(id);
        }
        self.slots.store(Arc::new(slots));
    }

    pub(super) fn state(&self, id: &str, version: &Version) -> VersionState {
        let slots = self.slots.load();
        match slots.get(id).and_then(|slot| slot.versions.get(version)) {
            Some(record) => VersionState {
                state: record.state,
                reason: record.reason.clone(),
                since: record.since,
                generation: record.generation,
            },
            None => VersionState { state: State::Registered, reason: None, since: 0, generation: 0 },
        }
    }

    /// One row for each slot that exists.
    pub(super) fn views(&self, router: &Router, helms: &Helms) -> Vec<SlotView> {
        let routes = router.snapshot();
        let instance = |id: &str| {
            let target = routes.slots.get(id).and_then(|slot| slot.targets.first());
            target.map(|target| Arc::clone(&target.instance))
        };
        let slots = self.slots.load();
        slots.iter().filter_map(|(id, slot)| slot.view(id, instance(id).as_deref(), helms.is_paused(id))).collect()
    }
}

fn slot_of(slots: &mut Slots, id: String) -> &mut Slot {
    Arc::make_mut(slots.entry(id).or_default())
}

impl Slot {
    fn is_nothing(&self) -> bool {
        self.record.is_none() && self.versions.is_empty() && self.candidate.is_none()
    }

    /// The modules that took over as one with what serves, as long as they are not confirmed.
    pub(super) fn set(&self) -> Option<BTreeSet<String>> {
        let record = self.record.as_ref().filter(|_| self.state.is_provisional())?;
        Some(record.set().iter().cloned().collect()).filter(|set: &BTreeSet<_>| !set.is_empty())
    }

    /// The state of the version that serves.
    pub(super) fn serving_state(&self) -> Option<State> {
        let version = version_of(self.state.serving.as_ref()?)?;
        self.versions.get(&version).map(|record| record.state)
    }

    /// Whether this version runs to be returned to.
    pub(super) fn stands_by(&self, version: &Version) -> bool {
        self.state.standby.as_ref().and_then(version_of).as_ref() == Some(version)
    }

    /// Whether what serves does so only because its rollback failed; `failed` if it was tried anew since and failed again.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.serving_state(), Some(State::FailedToRestore | State::Failed))
    }

    /// Whether what serves stands by for what takes over: what failed is nothing to return to, only the confirmed version behind it
    /// is.
    pub(super) fn keeps_standby(&self) -> bool {
        !self.is_stuck() || self.state.is_provisional()
    }

    /// Why what is provisional was to be returned from, where it serves only because it could not be.
    pub(super) fn unreturned(&self) -> Option<&str> {
        let version = self.state.serving.as_ref().and_then(version_of).filter(|_| self.state.is_provisional())?;
        let record = self.versions.get(&version).filter(|record| record.state == State::FailedToRestore)?;
        record.reason.as_deref()
    }

    /// The state after `happening` of the instance `key`, which becomes the version's newest.
    ///
    /// # Errors
    /// The state does not know the event. An older generation is no longer shown and takes any.
    pub(super) fn happened(
        &mut self,
        key: &InstanceKey,
        happening: Happening,
        reason: Option<String>,
        now: u64,
    ) -> Result<Option<(State, VersionRecord)>, Impossible> {
        let Some(version) = version_of(key) else { return Ok(None) };
        let present = self.versions.get(&version);
        if present.is_some_and(|record| record.generation > key.generation) {
            return Ok(None);
        }
        // an activation makes a new instance, whatever the one before it is doing
        let from = match present {
            Some(record) if record.generation == key.generation => record.state,
            Some(record) if record.state.is_idle() => record.state,
            _ => State::Registered,
        };
        let record = VersionRecord { state: from.after(happening)?, reason, since: now, generation: key.generation };
        if happening == Happening::Refused {
            self.versions.remove(&version);
        } else {
            self.versions.insert(version, record.clone());
        }
        Ok(Some((from, record)))
    }

    fn view(&self, id: &str, instance: Option<&Instance>, paused: bool) -> Option<SlotView> {
        let record = self.record.clone().or_else(|| self.candidate.as_ref().map(|_| SlotRecord::default()))?;
        let serving = self.state.serving.as_ref().and_then(version_of);
        let candidate = self.candidate.as_ref().filter(|key| self.state.serving.as_ref() != Some(*key));
        let share = self.state.shift.as_ref().map_or(0, |share| share.weight);
        let frozen = record.provisional.as_ref().and_then(|it| it.frozen.clone());
        let previous = record.returns_to().map(ToString::to_string);
        let strategy = record.strategy();
        let version = serving.clone().or(record.serving).or(record.last).or_else(|| version_of(candidate?))?;
        let shown = self.versions.get(&version);
        let others = self.set().into_iter().flatten().filter(|member| member != id);
        Some(SlotView {
            set: others.collect(),
            id: id.to_owned(),
            state: shown.map_or(State::Registered, |shown| shown.state),
            weight: if serving.is_some() { 100 - share } else { 0 },
            previous,
            strategy,
            frozen,
            health: instance.map_or("unknown", |instance| instance.health.report().status.name()),
            since: shown.map_or(record.since, |shown| shown.since),
            candidate: candidate.filter(|key| version_of(key).as_ref() != Some(&version)).map(|key| CandidateView {
                version: key.version.to_string(),
                state: version_of(key).and_then(|v| self.versions.get(&v)).map_or(State::Activating, |r| r.state),
                weight: share,
                paused,
            }),
            version: version.to_string(),
        })
    }
}

/// The version of an instance; what came out of a manifest always reads as one.
pub(super) fn version_of(key: &InstanceKey) -> Option<Version> {
    Version::parse(&key.version).ok()
}
