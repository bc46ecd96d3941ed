//! The commit of a slot: the records are written, then the routes are switched by one store.
//!
//! What this means for the versions that had a place is part of it, so that no one sees the one without the other. It is
//! the point of no return of every command; the coordinator alone makes it.

use std::sync::Arc;

use semver::Version;

use super::EngineError;
use super::board::{Slot, version_of};
use super::coordinator::Coordinator;
use super::journal::Entry;
use super::plan::{SlotState, Turn};
use super::record::{Change, Provisional, SlotRecord, VersionRecord};
use super::state::{Happening, State};
use super::validate;
use crate::actors::router::{Slot as RoutedSlot, Snapshot as Routed};
use crate::manifest::ActivationStrategy;
use crate::monitor::InstanceKey;
use crate::registry::resolver;
use crate::store::audit::{By, Kind};

/// A change of what a slot serves.
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) turn: Turn,
    /// Who gave the command.
    pub(super) by: By,
    /// How the version that serves afterwards was activated; `None` leaves it as it was.
    pub(super) strategy: Option<ActivationStrategy>,
    /// What was kept of the slot before a version took over that is withdrawn now.
    pub(super) before: Option<SlotRecord>,
    /// The command's entry in the journal.
    pub(super) entry: Option<Entry>,
    /// What the audit log says of it, written once nothing refuses it any more and before it is made.
    pub(super) told: Option<Told>,
}

/// An entry of the audit log.
pub(super) struct Told {
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) data: serde_json::Value,
}

/// What a commit changed.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) from: SlotState,
    pub(super) to: SlotState,
    /// Migrations that the version that took over owes for the provisional one before it.
    pub(super) inherited: Vec<Version>,
}

impl Commit {
    /// A deactivation is of what serves when it is made: a return may have come between since the command looked.
    fn names_what_serves(&mut self, from: &SlotState) {
        let Some(version) = from.serving.as_ref().and_then(version_of).filter(|_| self.turn == Turn::Clear) else {
            return;
        };
        if let Some(told) = &mut self.told {
            told.subject = format!("{}@{version}", self.id);
        }
        if let Some(entry) = &mut self.entry {
            (entry.version, entry.from) = (version.clone(), Some(version));
        }
    }
}

impl Coordinator {
    pub(super) async fn commit(&self, mut commit: Commit) -> Result<Committed, EngineError> {
        let shared = &self.shared;
        let slot = shared.board.slot(&commit.id);
        let from = slot.state.clone();
        commit.names_what_serves(&from);
        let to = from.turned(&commit.turn);
        self.may(&commit, &from, &to)?;
        // whatever can be refused is refused before anything is written
        let routes = self.routes(&commit.id, &to)?;
        if let Some(Told { kind, subject, data }) = &commit.told {
            shared.audit(*kind, commit.by.clone(), subject.clone(), data.clone()).await?;
        }
        // what did not start again serves nothing, and its deactivation is kept all the same
        let switches = commit.turn == Turn::Clear || to.serving != from.serving || to.standby != from.standby;
        let (happened, inherited) = if switches {
            self.switch(&commit, slot, &to, routes).await?
        } else {
            // a share outlives no restart, so nothing is kept of it but the command's entry
            shared.router.store(routes);
            shared.board.change(&commit.id, |slot| slot.state = to.clone());
            (Vec::new(), Vec::new())
        };
        for key in to.serving.iter().chain(to.shift.iter().filter(|share| share.weight > 0).map(|share| &share.key)) {
            if let Some(instance) = shared.hands.instances.instance(key) {
                instance.serves();
            }
        }
        for (instance, from, to) in happened {
            shared.changed(instance, (from, to), None, &commit.by).await;
        }
        let shifted = match (&commit.turn, &from.shift) {
            (Turn::Shift(share), _) => Some((&share.key, share.weight)),
            (Turn::Withdraw(_), Some(share)) => Some((&share.key, 0)),
            _ => None,
        };
        if let Some((instance, weight)) = shifted {
            shared.shifted(instance.clone(), weight, &commit.by).await;
        }
        Ok(Committed { from, to, inherited })
    }

    async fn switch(
        &self,
        commit: &Commit,
        mut slot: Slot,
        to: &SlotState,
        routes: Arc<Routed>,
    ) -> Result<(Vec<(InstanceKey, State, State)>, Vec<Version>), EngineError> {
        let (shared, now) = (&self.shared, self.shared.now());
        let from = std::mem::replace(&mut slot.state, to.clone());
        let (replaced, inherited) = self.replaced(commit, slot.record.as_ref())?.unzip();
        let inherited = inherited.unwrap_or_default();
        let one_way = self.one_way(&commit.id, to);
        slot.record = record(commit, (&from, to), (slot.record.take(), one_way), now);
        let mut happened = Vec::new();
        for (key, happening) in transitions(&commit.turn, &from, to) {
            match slot.happened(&key, happening, None, now) {
                Ok(taken) => happened.extend(taken.map(|(from, record)| (key, from, record.state))),
                // contained: it must not keep a slot from being put right
                Err(impossible) => tracing::error!(instance = %key, %impossible, "a state was left as it is"),
            }
        }
        let mut entry = commit.entry.clone().map(|entry| Entry { committed: true, ..entry });
        if let (Some(entry), false) = (&mut entry, inherited.is_empty()) {
            entry.inherit(inherited.clone());
        }
        let change = Change {
            slot: Some(slot.record.clone()),
            versions: kept_versions(&commit.turn, &from, to, now),
            entries: entry.into_iter().chain(replaced).collect(),
        };
        shared.records.write(&commit.id, change).await?;
        shared.router.store(routes);
        shared.board.change(&commit.id, |present| *present = slot);
        Ok((happened, inherited))
    }

    /// Whether the commit may be made now; all that was validated is looked at once more.
    fn may(&self, commit: &Commit, from: &SlotState, to: &SlotState) -> Result<(), EngineError> {
        let internal = |what: &str| Err(EngineError::Internal(format!("{} {what}", commit.id)));
        match &commit.turn {
            Turn::Withdraw(_) => Ok(()),
            Turn::ReturnToStandby | Turn::Confirm if from.standby.is_none() => internal("has nothing on standby"),
            Turn::Confirm => Ok(()),
            Turn::Shift(_) if from.serving.is_none() => internal("has nothing to shift traffic from"),
            _ if self.shared.is_stopping() => Err(EngineError::Stopped),
            Turn::Shift(_) => Ok(()),
            Turn::TakeOver { .. } | Turn::ReturnToStandby | Turn::Clear => self.still_fits(&commit.id, to),
        }
    }

    fn still_fits(&self, id: &str, to: &SlotState) -> Result<(), EngineError> {
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        match to.serving.as_ref().and_then(version_of) {
            Some(version) => {
                let definition = snapshot
                    .get(id, &version)
                    .ok_or_else(|| EngineError::Internal(format!("{id}@{version} was unregistered meanwhile")))?;
                validate::fits(definition, &snapshot, &placed)
            }
            None => {
                let dependents = resolver::dependents_beside(id, None, &snapshot, &placed);
                if dependents.is_empty() {
                    return Ok(());
                }
                Err(EngineError::Needed { id: id.to_owned(), action: "deactivated".into(), dependents })
            }
        }
    }

    /// The snapshot with the slot as it is to be.
    fn routes(&self, id: &str, to: &SlotState) -> Result<Arc<Routed>, EngineError> {
        let running = |key: &InstanceKey| {
            let running = self.shared.hands.instances.get(key);
            let running = running.and_then(|running| Some((running.instance?, running.endpoints)));
            running.ok_or_else(|| EngineError::Internal(format!("{key} is not running")))
        };
        let slot = match (&to.serving, &to.shift) {
            (None, _) => None,
            (Some(key), None) => {
                let (instance, endpoints) = running(key)?;
                Some(RoutedSlot::of(instance, endpoints))
            }
            (Some(key), Some(share)) => Some(RoutedSlot::shifting(running(key)?, running(&share.key)?, share.weight)),
        };
        let next = self.shared.router.with(&id.into(), slot);
        next.map_err(|taken| EngineError::Port { module: id.to_owned(), cause: taken.to_string() })
    }

    /// The migration for which the version that serves is not returned from by itself.
    fn one_way(&self, id: &str, to: &SlotState) -> Option<Version> {
        let snapshot = self.shared.registry.snapshot();
        let of = |key: &Option<InstanceKey>| snapshot.get(id, &version_of(key.as_ref()?)?).map(Arc::clone);
        validate::one_way(&*of(&to.serving)?, &*of(&to.standby)?)
    }

    /// The entry of a version that was provisional and whose time ends with this commit, and what the version that takes
    /// over owes for it: nothing where that one preserves data, since its data may be in the same tables.
    fn replaced(
        &self,
        commit: &Commit,
        record: Option<&SlotRecord>,
    ) -> Result<Option<(Entry, Vec<Version>)>, EngineError> {
        let Some(provisional) = record.and_then(|record| record.provisional.as_ref()) else { return Ok(None) };
        if commit.entry.as_ref().is_some_and(|entry| entry.number == provisional.entry) {
            return Ok(None);
        }
        let Some(mut entry) = self.shared.records.entry(&commit.id, provisional.entry)? else { return Ok(None) };
        let mut inherited = Vec::new();
        if let Turn::TakeOver { key, keeps_standby: true } = &commit.turn
            && let Some(instance) = self.shared.hands.instances.instance(key)
            && !instance.manifest.lifecycle.rollback.preserve_data
        {
            inherited = entry.owed.take().map(|owed| owed.migrations).unwrap_or_default();
        }
        match &commit.turn {
            Turn::Confirm => entry.confirm(self.shared.now()),
            Turn::TakeOver { .. } => entry.close("another version took over before it was confirmed".to_owned()),
            Turn::Clear => entry.close("the module was deactivated before it was confirmed".to_owned()),
            _ => entry.close("a rollback returned to the version before".to_owned()),
        }
        Ok(Some((entry, inherited)))
    }
}

/// What is kept of the slot after the commit.
fn record(
    commit: &Commit,
    (from, to): (&SlotState, &SlotState),
    (kept, one_way): (Option<SlotRecord>, Option<Version>),
    now: u64,
) -> Option<SlotRecord> {
    let version = |key: &Option<InstanceKey>| key.as_ref().and_then(version_of);
    let (served, serving) = (version(&from.serving), version(&to.serving));
    let withdraws = matches!(&commit.turn, Turn::Withdraw(_));
    if withdraws && to.serving.is_none() {
        return commit.before.clone();
    }
    let mut record = kept.unwrap_or_default();
    if let (true, Some(before)) = (withdraws, &commit.before) {
        record.instant = before.instant;
    }
    let entry = commit.entry.as_ref().map_or(0, |entry| entry.number);
    match &commit.turn {
        Turn::TakeOver { .. } if to.is_provisional() => {
            record.provisional = serving.clone().map(|version| Provisional { version, entry, one_way, frozen: None });
        }
        Turn::Confirm => {
            record.previous = record.serving.take();
            (record.serving, record.provisional) = (serving.clone(), None);
        }
        Turn::TakeOver { .. } => {
            // what is started again after a restart keeps what was behind it; what a rollback left has nothing behind it
            if !(served.is_none() && serving == record.serving) {
                record.previous = None;
            }
            (record.serving, record.provisional) = (serving.clone(), None);
        }
        _ => (record.serving, record.provisional) = (serving.clone(), None),
    }
    record.last = serving.or(served).or(record.last);
    record.instant = commit.strategy.map_or(record.instant, |strategy| strategy == ActivationStrategy::Instant);
    record.since = now;
    Some(record)
}

/// What a commit means for the instances that had a place.
fn transitions(turn: &Turn, from: &SlotState, to: &SlotState) -> Vec<(InstanceKey, Happening)> {
    let one = |key: &Option<InstanceKey>, happening| key.clone().map(|key| (key, happening));
    let (serving, standby) = match turn {
        Turn::TakeOver { key, .. } if from.serving.as_ref() == Some(key) => (None, None),
        Turn::TakeOver { keeps_standby: true, .. } => (one(&from.serving, Happening::Superseded), None),
        Turn::TakeOver { .. } | Turn::Clear => {
            (one(&from.serving, Happening::Withdrawn), one(&from.standby, Happening::Withdrawn))
        }
        // the one that is withdrawn is being rolled back already
        Turn::Withdraw(_) => (None, one(&to.serving, Happening::ReturnedTo)),
        Turn::Confirm => (one(&from.serving, Happening::Confirmed), one(&from.standby, Happening::Superseded)),
        Turn::ReturnToStandby => (one(&from.serving, Happening::Withdrawn), one(&from.standby, Happening::ReturnedTo)),
        Turn::Shift(_) => (None, None),
    };
    serving.into_iter().chain(standby).collect()
}

/// What is kept of the versions: nothing of those that have a place, which the slot names; of one that lost its place,
/// what it will be for the next runtime, which starts no drain.
fn kept_versions(turn: &Turn, from: &SlotState, to: &SlotState, now: u64) -> Vec<(Version, Option<VersionRecord>)> {
    let placed = to.serving.iter().chain(&to.standby).filter_map(|key| Some((version_of(key)?, None)));
    let withdrawn = match turn {
        Turn::Withdraw(key) => Some(key),
        _ => None,
    };
    let lost = from.keys().filter(|key| to.keys().all(|kept| kept != *key) && Some(*key) != withdrawn);
    let lost = lost.filter_map(|key| {
        let record = VersionRecord { state: State::Inactive, reason: None, since: now, generation: key.generation };
        Some((version_of(key)?, Some(record)))
    });
    placed.chain(lost).collect()
}
