//! Returns to an earlier version: a switch where it is on standby, otherwise an instant activation.

use std::sync::Arc;
use std::time::Instant;

use semver::Version;
use serde_json::json;

use super::EngineError;
use super::activate::{self, Ran, Way, definition, millis, report, schema_key};
use super::activation::Activation;
use super::board::version_of;
use super::commit::{Commit, Told};
use super::deactivate::not_serving;
use super::journal::{Action, Owed};
use super::outcome::{ActivationReport, Outcome, StepOutcome, StepReport};
use super::plan::{self, SlotState, Turn};
use super::probe::place;
use super::retire::{self, Why};
use super::sets;
use super::strategy::StepName;
use super::validate;
use crate::monitor::{Event, InstanceKey};
use crate::registry::Definition;
use crate::store::audit::Kind;

/// The command `rollback`. The version returned from drains and stops. Where it names no version and `of` was on its way
/// while it waited, it is about that one: if that is gone by now, what serves is left as it is. That the one that served was
/// returned from is told with the reason `because`.
pub(super) async fn rollback(
    work: &Activation,
    id: &str,
    to: Option<Version>,
    of: Option<Version>,
    because: &str,
) -> Result<ActivationReport, EngineError> {
    let slot = work.shared.board.slot(id);
    if slot.set().is_some() {
        return sets::roll_back(work, id, &slot, to).await;
    }
    let Some(serving) = slot.state.serving.as_ref().and_then(version_of) else { return Err(not_serving(work, id)) };
    let previous = slot.record.as_ref().and_then(|record| record.returns_to().cloned());
    let is_gone = of.is_some_and(|of| of != serving) && !slot.is_stuck();
    let left_as_it_is = is_gone.then(|| serving.clone());
    let Some(target) = to.or(left_as_it_is).or(previous) else {
        return Err(EngineError::NothingToReturnTo { id: id.to_owned() });
    };
    let (older, newer) = (definition(&work.shared, id, &target)?, definition(&work.shared, id, &serving)?);
    // what serves only because its rollback failed is started anew
    if target == serving && !slot.is_stuck() {
        let outcome = if slot.state.is_provisional() { Outcome::Provisional } else { Outcome::Active };
        return Ok(report(id, &target, outcome));
    }
    validate::reversible(&newer, &older)?;
    if slot.stands_by(&target) {
        return match to_standby(work, &slot.state, (&older, &newer), because).await? {
            Some(report) => Ok(report),
            None => Box::pin(rollback(work, id, Some(target), None, because)).await,
        };
    }
    let owes = owed(&newer, &older);
    let ran = activate::run(work, &older, &Way::back(owes.clone())).await?;
    came_back(work, &slot.state, (&older, &newer), (ran, owes), because).await
}

/// Returns to the version that stands by, whoever asked for it in whichever words. `None`: as [`switch`].
pub(super) async fn to_standby(
    work: &Activation,
    slot: &SlotState,
    (older, newer): (&Arc<Definition>, &Arc<Definition>),
    because: &str,
) -> Result<Option<ActivationReport>, EngineError> {
    let owes = owed(newer, older);
    let Some(ran) = switch(work, &older.manifest.id, &older.manifest.version, owes.clone()).await? else {
        return Ok(None);
    };
    came_back(work, slot, (older, newer), (ran, owes), because).await.map(Some)
}

/// Tells that what served before was returned from, and takes back what is owed of it.
async fn came_back(
    work: &Activation,
    slot: &SlotState,
    (older, newer): (&Definition, &Arc<Definition>),
    (ran, owes): (Ran, Option<Owed>),
    because: &str,
) -> Result<ActivationReport, EngineError> {
    let Ran { report, drains, mut entry } = ran;
    if let (true, Some(left)) = (report.outcome.serves(), &slot.serving) {
        work.shared.metrics.activation(left).rolled_back(work.since.elapsed());
        // what is started anew was not returned from
        if older.manifest.version != newer.manifest.version {
            work.shared.told(left, Outcome::RolledBack, Some(because.to_owned()));
        }
    }
    if let (true, Some(owed)) = (report.outcome.serves(), owes) {
        // requests that the newer version still holds need its tables
        futures::future::join_all(drains).await;
        take_back(work, newer, &owed.migrations).await;
        entry.end(report.outcome, None, work.shared.now());
        work.shared.records.write_entry(&older.manifest.id, &entry).await?;
    }
    Ok(report)
}

/// What only the newer version needs of the schema, where it does not preserve data.
pub(super) fn owed(newer: &Definition, older: &Definition) -> Option<Owed> {
    if newer.manifest.lifecycle.rollback.preserve_data {
        return None;
    }
    let migrations = validate::newer_migrations(newer, &older.manifest);
    let migrations: Vec<Version> = migrations.map(|migration| migration.version.clone()).collect();
    let version = newer.manifest.version.clone();
    (!migrations.is_empty()).then_some(Owed { version, migrations })
}

/// Runs the way down of migrations of `newer`. Another version serves already: a failure is an alarm.
pub(super) async fn take_back(work: &Activation, newer: &Arc<Definition>, migrations: &[Version]) {
    let taken = match validate::read(Arc::clone(newer), &work.shared.hands.supplies.aborts).await {
        Ok(checked) => work.shared.hands.revert(&checked.subject(schema_key(&newer.manifest)), migrations).await,
        Err(error) => Err(error.to_string()),
    };
    if let Err(fault) = taken {
        let message = format!("the version before serves, but migrations could not be taken back: {fault}");
        work.shared.events.emit(Event::Alarm { subject: newer.label(), message });
    }
}

/// Gives the traffic to the version on standby; the one that served drains. `None`: it stands by no more, since a trigger or
/// a confirmation came between, and what is to be done is decided anew.
pub(super) async fn switch(
    work: &Activation,
    id: &str,
    standby: &Version,
    owes: Option<Owed>,
) -> Result<Option<Ran>, EngineError> {
    let (started, shared) = (Instant::now(), &work.shared);
    let slot = shared.board.slot(id).state;
    let from = slot.serving.as_ref().and_then(version_of);
    let mut entry = work.enter(Action::Rollback, id, standby, from.as_ref()).await?;
    entry.intends(StepName::Activate);
    entry.step_ended(0.0, StepOutcome::Done);
    entry.end(Outcome::Active, None, shared.now());
    if owes.is_some() {
        (entry.owed, entry.closed) = (owes, false);
    }
    let (kind, subject) = (Kind::ActivationBegan, format!("{id}@{standby}"));
    let data =
        json!({ "command": "rollback", "from": from.map(|version| version.to_string()), "number": entry.number });
    let told = Some(Told { kind, subject: subject.clone(), data });
    let turn = Commit::of(id, Turn::ReturnToStandby, work.by.clone());
    let commit = Commit { entry: Some(entry.clone()), told, ..turn };
    let committed = match work.commit(commit).await {
        Ok(committed) => committed,
        Err(error) => {
            let slot = shared.board.slot(id).state;
            let is_target = |key: &Option<InstanceKey>| key.as_ref().and_then(version_of).as_ref() == Some(standby);
            let (serves, stands_by) = (is_target(&slot.serving), is_target(&slot.standby));
            let (outcome, reason) = match (serves, stands_by) {
                (true, _) => (Outcome::Active, None),
                (_, true) => (Outcome::Failed, Some(error.to_string())),
                _ => (Outcome::Failed, Some(format!("{standby} did not stand by any more"))),
            };
            entry.end(outcome, reason, shared.now());
            shared.records.write_entry(id, &entry).await?;
            return if stands_by { Err(error) } else { Ok(None) };
        }
    };
    entry.committed = true;
    place!(shared, id, "retire", Before, EngineError::Internal);
    let gone = plan::retired(&committed.from, &committed.to);
    let drains = gone.iter().filter_map(|key| retire::spawn(work, key, Why::Replaced)).collect();
    let left = committed.from.serving.as_ref().and_then(|key| shared.hands.instances.instance(key));
    let time = left.map(|left| left.manifest.lifecycle.rollback.timeout).unwrap_or_default();
    entry.lost = retire::hands_over(work, committed.to.serving.as_ref(), time).await;
    let noted = match entry.lost {
        0 => Ok(()),
        _ => shared.records.write_entry(id, &entry).await.map_err(EngineError::from),
    };
    let told = json!({ "outcome": Outcome::Active.name(), "number": entry.number });
    let written = noted.and(work.audit(Kind::ActivationEnded, subject, told).await);
    // told also where it could not be written: it was made all the same
    if let Some(key) = &committed.to.serving {
        shared.told(key, Outcome::Active, None);
    }
    written?;
    let steps = vec![StepReport { name: StepName::Activate, ms: millis(started), outcome: StepOutcome::Done }];
    let report = ActivationReport { steps, lost: entry.lost, ..report(id, standby, Outcome::Active) };
    Ok(Some(Ran { report, drains, entry }))
}
