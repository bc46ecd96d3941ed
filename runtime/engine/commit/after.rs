//! What a commit means for what is kept. Pure: the clock is an argument.

use semver::Version;

use super::Commit;
use crate::engine::board::version_of;
use crate::engine::plan::{SlotState, Turn};
use crate::engine::record::{OneWay, Provisional, SlotRecord, VersionRecord};
use crate::engine::state::{Happening, State};
use crate::manifest::ActivationStrategy;
use crate::monitor::InstanceKey;

/// What is kept of the slot after the commit.
pub(super) fn record(
    commit: &Commit,
    (from, to): (&SlotState, &SlotState),
    (kept, one_way): (Option<SlotRecord>, Option<OneWay>),
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
            let set = commit.joins.clone();
            let one_way_of = one_way.as_ref().map(|it| it.module.clone()).filter(|module| *module != commit.id);
            let one_way = one_way.map(|it| it.migration);
            let provisional = |version| Provisional { version, entry, one_way, one_way_of, frozen: None, set };
            record.provisional = serving.clone().map(provisional);
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
pub(super) fn transitions(turn: &Turn, from: &SlotState, to: &SlotState) -> Vec<(InstanceKey, Happening)> {
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
pub(super) fn kept_versions(
    turn: &Turn,
    from: &SlotState,
    to: &SlotState,
    now: u64,
) -> Vec<(Version, Option<VersionRecord>)> {
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
