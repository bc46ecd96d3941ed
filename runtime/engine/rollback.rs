//! Returns to an earlier version: a switch where it is on standby, otherwise an instant activation.

use std::sync::Arc;
use std::time::Instant;

use semver::Version;

use super::EngineError;
use super::activate::{self, Way, definition, millis, report};
use super::activation::Activation;
use super::board::version_of;
use super::coordinator::Commit;
use super::deactivate::not_serving;
use super::outcome::{ActivationReport, Outcome, StepOutcome, StepReport};
use super::plan::{self, Change};
use super::retire::{self, Why};
use super::state::Happening;
use super::strategy::{self, StepName};
use super::validate;
use crate::manifest::ActivationStrategy;
use crate::registry::Definition;

/// The command `rollback`. The version returned from drains and stops.
pub(super) async fn rollback(
    work: &Activation,
    id: &str,
    to: Option<Version>,
) -> Result<ActivationReport, EngineError> {
    let slot = work.shared.board.slot(id);
    let Some(serving) = slot.state.serving.as_ref().and_then(version_of) else { return Err(not_serving(work, id)) };
    let previous = slot.record.as_ref().and_then(|record| record.previous.clone());
    let Some(target) = to.or(previous) else { return Err(EngineError::NothingToReturnTo { id: id.to_owned() }) };
    let (older, newer) = (definition(work, id, &target)?, definition(work, id, &serving)?);
    if target == serving {
        return Ok(report(id, &target, Outcome::Active, None, Vec::new()));
    }
    let gone: Vec<Version> = stands_between(id, &newer, &older)?;
    let done = if slot.state.standby.as_ref().and_then(version_of).as_ref() == Some(&target) {
        switch(work, id, &older).await?
    } else {
        let strategy = ActivationStrategy::Instant;
        activate::run(work, &older, &Way { strategy, steps: strategy::steps(strategy), keeps_standby: false }).await?
    };
    if done.outcome.serves() && !newer.manifest.lifecycle.rollback.preserve_data {
        take_back(work, &newer, &gone).await;
    }
    Ok(done)
}

/// The migrations of the newer version that the older one does not know; nothing where they have to stay.
fn stands_between(id: &str, newer: &Definition, older: &Definition) -> Result<Vec<Version>, EngineError> {
    let mut versions = Vec::new();
    for migration in validate::newer_migrations(newer, &older.manifest) {
        // without a way down it stays, which is no harm unless it is said to be one
        if migration.irreversible {
            return Err(EngineError::Irreversible {
                id: id.to_owned(),
                to: older.manifest.version.clone(),
                migration: migration.version.clone(),
            });
        }
        if migration.down_file(&newer.files).is_some() {
            versions.push(migration.version.clone());
        }
    }
    Ok(versions)
}

/// Runs the way down of what only the newer version needed. The older one serves already: a failure is an alarm.
async fn take_back(work: &Activation, newer: &Arc<Definition>, versions: &[Version]) {
    let taken = match validate::read(Arc::clone(newer)).await {
        Ok(checked) => {
            let key = crate::monitor::InstanceKey {
                id: newer.manifest.id.as_str().into(),
                version: newer.manifest.version.to_string().into(),
                generation: 0,
            };
            work.shared.hands.revert(&checked.subject(key), versions).await
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(fault) = taken {
        let message = format!("the version before serves, but migrations could not be taken back: {fault}");
        work.shared.events.emit(crate::monitor::Event::Alarm { subject: newer.label(), message });
    }
}

/// Gives the traffic to the version on standby; the one that served drains.
pub(super) async fn switch(
    work: &Activation,
    id: &str,
    standby: &Arc<Definition>,
) -> Result<ActivationReport, EngineError> {
    let started = Instant::now();
    let slot = work.shared.board.slot(id).state;
    let plan = plan::return_to_standby(id, &slot);
    for change in plan.changes() {
        let Change::Route { from, to, .. } = change else { continue };
        let commit = Commit { id: id.to_owned(), from: from.clone(), to: to.clone(), strategy: None, restores: false };
        work.commit(commit).await?;
        if let Some(key) = &to.serving {
            work.happened(key, Happening::ReturnedTo, None).await?;
        }
        for key in plan::retired(from, to) {
            work.happened(&key, Happening::Withdrawn, None).await?;
            retire::in_background(work, &key, Why::Withdrawn).await?;
        }
    }
    work.shared.record(Outcome::Active, started.elapsed());
    let steps = vec![StepReport { name: StepName::Activate, ms: millis(started), outcome: StepOutcome::Done }];
    Ok(report(id, &standby.manifest.version, Outcome::Active, None, steps))
}
