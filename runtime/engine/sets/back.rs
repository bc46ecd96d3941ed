//! The way back of a set: one commit gives the traffic of all members back, then each is taken back by the six steps.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use semver::Version;

use super::told;
use crate::engine::EngineError;
use crate::engine::activate::{definition, report};
use crate::engine::activation::{Activation, Done};
use crate::engine::apply::said;
use crate::engine::attempt::Attempt;
use crate::engine::board::{Slot, version_of};
use crate::engine::commit::Commit;
use crate::engine::journal::{Entry, clipped};
use crate::engine::lanes::asker;
use crate::engine::outcome::{ActivationReport, Outcome};
use crate::engine::plan::{SlotState, Turn};
use crate::engine::record::Provisional;
use crate::engine::returning::{Taken, take_back as take_one_back};
use crate::engine::rollback;
use crate::engine::state::{Happening, State};
use crate::engine::validate;
use crate::monitor::InstanceKey;
use crate::registry::resolver::{self, Running};

/// Takes members back that were on their way, the last one first; how each ended, in that order. What goes wrong with one keeps no
/// other from being taken back.
pub(super) async fn take_back<'a>(
    work: &Activation,
    mut attempts: Vec<Attempt<'a>>,
    reason: &str,
) -> Vec<(Outcome, Option<String>, Attempt<'a>)> {
    let mut kept = None;
    if attempts.iter().any(|attempt| attempt.entry.committed) {
        let mut commits = Vec::new();
        for attempt in &mut attempts {
            attempt.entry.reason = Some(clipped(reason.to_owned()));
            // where it is not told here, it is with the rest of the way back
            let _ = work.happened(&attempt.key, Happening::Trigger, Some(clipped(reason.to_owned()))).await;
            let turn = attempt.turn(Turn::Withdraw(attempt.key.clone()));
            commits.push(Commit { strategy: None, before: attempt.before.clone(), ..turn });
        }
        kept = work.commit_all(commits).await.err().map(|error| error.to_string());
    }
    let mut ended = Vec::new();
    for mut attempt in attempts.into_iter().rev() {
        let back = Box::pin(attempt.back_but_for(reason.to_owned(), kept.clone()));
        let back = AssertUnwindSafe(back).catch_unwind().await;
        let back = back.unwrap_or_else(|panic| Err(EngineError::Internal(said(&*panic))));
        let (outcome, reason) = back.unwrap_or_else(|error| {
            (Outcome::FailedToRestore, format!("{reason}; and it was not taken back: {error}"))
        });
        ended.push((outcome, Some(reason), attempt));
    }
    ended
}

/// A member that serves.
struct Serving {
    key: InstanceKey,
    slot: SlotState,
    entry: Entry,
    known: Option<String>,
}

/// Returns from the set that `key` is of, unless something else was decided about it meanwhile. Where the traffic cannot be given
/// back, all of it serves on, and the return may be tried again.
pub(in crate::engine) async fn return_from(
    work: &Activation,
    key: &InstanceKey,
    reason: &str,
) -> Result<Done, EngineError> {
    let slot = work.shared.board.slot(&key.id);
    let (Some(set), true) = (slot.set(), slot.state.serving.as_ref() == Some(key)) else { return Ok(Done::Returned) };
    let provisional = slot.record.as_ref().and_then(|record| record.provisional.as_ref());
    match provisional.and_then(Provisional::one_way) {
        Some(migration) => Ok(Done::Unreturned(format!("migration {migration} cannot be taken back"))),
        // it was confirmed in between
        None => return_all(work, &set, reason).await.map(|done| done.unwrap_or(Done::Returned)),
    }
}

/// Returns from the whole set; `None`: it is a set no more, since a confirmation came between.
async fn return_all(work: &Activation, set: &BTreeSet<String>, reason: &str) -> Result<Option<Done>, EngineError> {
    let shared = &work.shared;
    let keys = set.iter().filter_map(|id| shared.board.slot(id).state.serving).collect();
    let mut members = Vec::new();
    for key in last_first(work, keys) {
        match serving(work, &key.id, reason) {
            Ok(member) => members.push(member),
            Err(_) if shared.board.slot(&key.id).set().as_ref() != Some(set) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let mut commits = Vec::new();
    for member in &members {
        let state = version_of(&member.key).map(|version| shared.board.state(&member.key.id, &version).state);
        if state != Some(State::RollingBack) {
            let told = work.happened(&member.key, Happening::Trigger, Some(clipped(reason.to_owned()))).await;
            if shared.board.slot(&member.key.id).set().as_ref() != Some(set) {
                return Ok(None);
            }
            told?;
        }
        let turn = Commit::of(&member.key.id, Turn::Withdraw(member.key.clone()), work.by.clone());
        commits.push(Commit { entry: Some(member.entry.clone()), ..turn });
    }
    let kept = work.commit_all(commits).await.err().map(|error| error.to_string());
    let (mut unreturned, mut failed) = (None, None);
    for Serving { key, slot, entry, known } in members {
        let taken = Taken { key: &key, slot: &slot, entry, known, kept: kept.clone() };
        match take_one_back(work, taken, reason).await {
            Ok(Done::Unreturned(cause)) => unreturned = unreturned.or(Some(cause)),
            Ok(_) => {}
            // the others are taken back all the same
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(Some(unreturned.map_or(Done::Returned, Done::Unreturned))), Err)
}

/// The instances in the order in which they end: who needs others before them, so that what it still holds can call them.
pub(in crate::engine) fn last_first(work: &Activation, keys: Vec<InstanceKey>) -> Vec<InstanceKey> {
    let versions = keys.iter().filter_map(|key| Some((key.id.to_string(), version_of(key)?))).collect();
    let order = resolver::start_order(&versions, &work.shared.registry.snapshot()).unwrap_or_default();
    let mut keys = keys;
    keys.sort_by_key(|key| std::cmp::Reverse(order.iter().position(|id| **id == *key.id)));
    keys
}

fn serving(work: &Activation, id: &str, reason: &str) -> Result<Serving, EngineError> {
    let lacks = |what: &str| EngineError::Internal(format!("{id} is of a set and has no {what}"));
    let Slot { state, record, .. } = work.shared.board.slot(id);
    let provisional = record.and_then(|record| record.provisional).ok_or_else(|| lacks("provisional version"))?;
    let key = state.serving.clone().ok_or_else(|| lacks("version that serves"))?;
    let entry = work.shared.records.entry(id, provisional.entry)?;
    let mut entry = entry.ok_or_else(|| lacks("entry in the journal"))?;
    let known = entry.reason.take().filter(|_| entry.outcome == Some(Outcome::FailedToRestore));
    entry.reopen(reason);
    Ok(Serving { key, slot: state, entry, known })
}

/// The command `rollback` of a member: the whole set returns. The report is about that member, with the others in it.
pub(in crate::engine) async fn roll_back(
    work: &Activation,
    id: &str,
    slot: &Slot,
    to: Option<Version>,
) -> Result<ActivationReport, EngineError> {
    let (set, standby) = (slot.set().unwrap_or_default(), slot.state.standby.as_ref().and_then(version_of));
    if let Some(to) = to.filter(|to| Some(to) != standby.as_ref()) {
        let action = format!("rolled back to {to}");
        return Err(EngineError::InSet { id: id.to_owned(), set: set.into_iter().collect(), action });
    }
    let gone = served(work, &set);
    for (id, newer) in &gone {
        let standby = work.shared.board.slot(id).state.standby.as_ref().and_then(version_of);
        let Some(older) = standby else { continue };
        validate::reversible(&*definition(&work.shared, id, newer)?, &*definition(&work.shared, id, &older)?)?;
    }
    let reason = format!("{} asked for a rollback", asker(work.by.who));
    let left = match return_all(work, &set, &reason).await? {
        Some(Done::Unreturned(cause)) => Some(cause),
        Some(_) => None,
        None => return Box::pin(rollback::rollback(work, id, None, None, &reason)).await,
    };
    let mut reports = BTreeMap::new();
    for (id, version) in gone {
        let serves = work.shared.board.slot(&id).state.serving.as_ref().and_then(version_of);
        let told = match (&left, serves) {
            (Some(_), _) => report(&id, &version, Outcome::FailedToRestore),
            (None, Some(serves)) => report(&id, &serves, Outcome::Active),
            // it served nothing before the set
            (None, None) => report(&id, &version, Outcome::Inactive),
        };
        reports.insert(id, ActivationReport { reason: left.clone(), ..told });
    }
    told(id, reports)
}

/// What the members of the set serve.
fn served(work: &Activation, set: &BTreeSet<String>) -> Running {
    let of = |id: &String| Some((id.clone(), version_of(work.shared.board.slot(id).state.serving.as_ref()?)?));
    set.iter().filter_map(of).collect()
}
