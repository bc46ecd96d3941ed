//! Returns to an earlier version: a switch where it is on standby, otherwise an instant activation.

use std::sync::Arc;
use std::time::Instant;

use semver::Version;

use super::EngineError;
use super::activate::{self, Ran, Way, definition, millis, report, schema_key};
use super::activation::Activation;
use super::board::version_of;
use super::coordinator::{Commit, Restore};
use super::deactivate::not_serving;
use super::outcome::{ActivationReport, Outcome, StepOutcome, StepReport};
use super::plan::{self, Change};
use super::retire::{self, Why};
use super::strategy::StepName;
use super::validate;
use crate::manifest::ActivationStrategy;
use crate::monitor::Event;
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
    validate::reversible(&newer, &older)?;
    let Ran { report, drains } = if slot.state.standby.as_ref().and_then(version_of).as_ref() == Some(&target) {
        switch(work, id, &older).await?
    } else {
        activate::run(work, &older, &Way { keeps_standby: false, ..Way::of(ActivationStrategy::Instant) }).await?
    };
    if report.outcome.serves() && !newer.manifest.lifecycle.rollback.preserve_data {
        // requests that the newer version still holds need its tables
        futures::future::join_all(drains).await;
        take_back(work, &newer, &older).await;
    }
    Ok(report)
}

/// Runs the way down of what only the newer version needed. The older one serves already: a failure is an alarm.
async fn take_back(work: &Activation, newer: &Arc<Definition>, older: &Definition) {
    let migrations = validate::newer_migrations(newer, &older.manifest);
    let versions: Vec<Version> = migrations.map(|migration| migration.version.clone()).collect();
    let taken = match validate::read(Arc::clone(newer)).await {
        Ok(checked) => work.shared.hands.revert(&checked.subject(schema_key(&newer.manifest)), &versions).await,
        Err(error) => Err(error.to_string()),
    };
    if let Err(fault) = taken {
        let message = format!("the version before serves, but migrations could not be taken back: {fault}");
        work.shared.events.emit(Event::Alarm { subject: newer.label(), message });
    }
}

/// Gives the traffic to the version on standby; the one that served drains.
pub(super) async fn switch(work: &Activation, id: &str, standby: &Arc<Definition>) -> Result<Ran, EngineError> {
    let started = Instant::now();
    let slot = work.shared.board.slot(id).state;
    let mut drains = Vec::new();
    for change in plan::return_to_standby(id, &slot).changes() {
        let Change::Route { from, to, .. } = change else { continue };
        let (from, to) = (from.clone(), to.clone());
        let retired = plan::retired(&from, &to);
        work.commit(Commit { id: id.to_owned(), from, to, strategy: None, restore: Restore::No }).await?;
        for key in retired {
            drains.extend(retire::in_background(work, &key, Why::Withdrawn).await?);
        }
    }
    work.shared.record(Outcome::Active, started.elapsed());
    let steps = vec![StepReport { name: StepName::Activate, ms: millis(started), outcome: StepOutcome::Done }];
    Ok(Ran { report: report(id, &standby.manifest.version, Outcome::Active, None, steps), drains })
}
