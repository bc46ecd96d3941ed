//! Brings a version into service: validates, then carries the plan's steps out one by one, and takes back what was done
//! when one fails.
//!
//! The one point of no return is the commit of the route. It is never cut off: before it the time that is left is looked
//! at, and after it the version serves, unless its verification fails and the route is put back.

use std::sync::Arc;
use std::time::Instant;

use semver::Version;
use tokio::task::JoinHandle;

use super::EngineError;
use super::activation::Activation;
use super::board::version_of;
use super::coordinator::{Commit, Restore};
use super::instances::Running;
use super::outcome::{ActivationReport, Outcome, StepOutcome, StepReport};
use super::plan::{self, Change, Plan, SlotState, Step};
use super::record::SlotRecord;
use super::retire::{self, Why};
use super::state::Happening;
use super::strategy::{self, StepName};
use super::validate::{self, Checked};
use crate::manifest::{ActivationStrategy, Manifest};
use crate::monitor::{Event, InstanceKey};
use crate::registry::Definition;

/// How one activation is done.
pub(super) struct Way {
    pub(super) strategy: ActivationStrategy,
    pub(super) steps: &'static [StepName],
    /// Whether the version before stays warm; otherwise it drains, as after a rollback.
    pub(super) keeps_standby: bool,
}

impl Way {
    pub(super) fn of(strategy: ActivationStrategy) -> Self {
        Self { strategy, steps: strategy::steps(strategy), keeps_standby: true }
    }
}

/// What an activation came to, and what still drains because of it.
pub(super) struct Ran {
    pub(super) report: ActivationReport,
    pub(super) drains: Vec<JoinHandle<()>>,
}

/// The command `activate`. A version that serves already is left as it is; one on standby takes over by a switch.
pub(super) async fn activate(
    work: &Activation,
    id: &str,
    version: &Version,
    strategy: Option<ActivationStrategy>,
) -> Result<ActivationReport, EngineError> {
    let definition = definition(work, id, version)?;
    let slot = work.shared.board.slot(id);
    let serving = slot.state.serving.as_ref().and_then(version_of);
    if serving.as_ref() == Some(version) {
        return Ok(report(id, version, Outcome::Active, None, Vec::new()));
    }
    if let Some(serving) = serving {
        validate::reversible(&*self::definition(work, id, &serving)?, &definition)?;
    }
    if slot.state.standby.as_ref().and_then(version_of).as_ref() == Some(version) {
        return Ok(super::rollback::switch(work, id, &definition).await?.report);
    }
    let strategy = strategy.unwrap_or(definition.manifest.lifecycle.activation.strategy);
    Ok(run(work, &definition, &Way::of(strategy)).await?.report)
}

/// Starts again what served when the runtime ended; its strategy is only remembered.
pub(super) async fn resume(
    work: &Activation,
    id: &str,
    version: &Version,
    strategy: ActivationStrategy,
) -> Result<ActivationReport, EngineError> {
    let definition = definition(work, id, version)?;
    let way = Way { strategy, steps: strategy::RESUME, keeps_standby: true };
    Ok(run(work, &definition, &way).await?.report)
}

pub(super) fn definition(work: &Activation, id: &str, version: &Version) -> Result<Arc<Definition>, EngineError> {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: Some(version.clone()) };
    Ok(Arc::clone(work.shared.registry.snapshot().resolve(&wanted)?))
}

/// Runs an activation to its end, whichever that is.
pub(super) async fn run(work: &Activation, definition: &Arc<Definition>, way: &Way) -> Result<Ran, EngineError> {
    let started = Instant::now();
    let manifest = &definition.manifest;
    let time = if way.strategy == manifest.lifecycle.activation.strategy {
        manifest.lifecycle.activation.timeout
    } else {
        way.strategy.default_timeout()
    };
    let (checked, pending) = validated(work, definition, way).await?;
    let slot = work.shared.board.slot(&manifest.id);
    let key = work.begin(&manifest.id, &manifest.version).await?;
    let running = Running {
        subject: checked.subject(key.clone()),
        program: checked.program,
        instance: None,
        endpoints: Arc::new([]),
    };
    work.shared.hands.instances.insert(key.clone(), running);

    let plan = plan::activate(&key, &slot.state, way.steps, &pending, way.keeps_standby);
    let mut attempt = Attempt {
        work,
        key,
        manifest: checked.manifest,
        strategy: way.strategy,
        slot: slot.state,
        record: slot.record,
        deadline: started + time,
        too_late: format!("activation timeout: the steps took longer than {} ms", time.as_millis()),
        reports: vec![step(StepName::Validate, started, StepOutcome::Done)],
        done: Vec::new(),
    };
    let (outcome, reason, drains) = match attempt.forward(&plan).await {
        Ok(()) => (Outcome::Active, None, attempt.succeed().await?),
        Err(_) if work.shared.is_stopping() => return attempt.abandon().await,
        Err(reason) => {
            let (outcome, reason) = attempt.back(reason).await?;
            (outcome, Some(reason), Vec::new())
        }
    };
    work.shared.record(outcome, started.elapsed());
    Ok(Ran { report: report(&manifest.id, &manifest.version, outcome, reason, attempt.reports), drains })
}

/// The step `validate`: changes nothing, and what it finds is an error of the command.
async fn validated(
    work: &Activation,
    definition: &Arc<Definition>,
    way: &Way,
) -> Result<(Checked, Vec<Version>), EngineError> {
    let manifest = &definition.manifest;
    validate::fits(definition, &work.shared.registry.snapshot(), &work.shared.board.running())?;
    validate::configured(manifest)?;
    let checked = validate::read(Arc::clone(definition)).await?;
    let mut pending = Vec::new();
    if let Some(migrator) = &work.shared.hands.migrator {
        let asked = migrator.pending(&checked.subject(schema_key(manifest))).await;
        pending = asked.map_err(|error| EngineError::Port { module: manifest.label(), cause: error.to_string() })?;
    }
    if !way.steps.contains(&StepName::Migrate) {
        validate::migrates(manifest, way.strategy, &pending)?;
    }
    Ok((checked, pending))
}

/// A key for what is asked of a module's schema, which belongs to no instance.
pub(super) fn schema_key(manifest: &Manifest) -> InstanceKey {
    InstanceKey { id: manifest.id.as_str().into(), version: manifest.version.to_string().into(), generation: 0 }
}

/// One activation on its way.
struct Attempt<'a> {
    work: &'a Activation,
    key: InstanceKey,
    manifest: Arc<Manifest>,
    strategy: ActivationStrategy,
    /// What the slot was before.
    slot: SlotState,
    record: Option<SlotRecord>,
    /// Until when steps may run, and what is said when they did not end by then.
    deadline: Instant,
    too_late: String,
    reports: Vec<StepReport>,
    /// The changes that were begun, the last one perhaps only half made.
    done: Vec<Change>,
}

impl Attempt<'_> {
    async fn forward(&mut self, plan: &Plan) -> Result<(), String> {
        for step in plan.steps.iter().filter(|step| step.name != StepName::Validate) {
            let started = Instant::now();
            let made = self.make(step).await;
            let outcome = if made.is_ok() { StepOutcome::Done } else { StepOutcome::Failed };
            let report = self::step(step.name, started, outcome);
            self.work.shared.events.emit(Event::StepEnded {
                instance: self.key.clone(),
                step: step.name.name(),
                ms: report.ms,
                fault: made.as_ref().err().cloned(),
            });
            self.reports.push(report);
            made.map_err(|fault| format!("{}: {fault}", step.name.name()))?;
        }
        Ok(())
    }

    async fn make(&mut self, step: &Step) -> Result<(), String> {
        for change in &step.changes {
            if Instant::now() >= self.deadline {
                return Err(self.too_late.clone());
            }
            if let Change::Route { id, from, to } = change {
                let commit = Commit {
                    id: id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    strategy: Some(self.strategy),
                    restore: Restore::No,
                };
                // made whole or not at all, and not cut off: what is half known cannot be taken back
                self.work.commit(commit).await.map_err(|error| error.to_string())?;
                self.done.push(change.clone());
                continue;
            }
            self.done.push(change.clone());
            let hands = &self.work.shared.hands;
            let made = async {
                match change {
                    Change::Migrate(..) => hands.migrate(&self.key).await,
                    change => hands.apply(change).await,
                }
            };
            tokio::time::timeout_at(self.deadline.into(), made).await.map_err(|_| self.too_late.clone())??;
        }
        Ok(())
    }

    /// The last step succeeded: it is active, and what the slot has no place for any more drains.
    async fn succeed(&self) -> Result<Vec<JoinHandle<()>>, EngineError> {
        self.work.happened(&self.key, Happening::Succeeded { provisional: false }, None).await?;
        let after = self.work.shared.board.slot(&self.key.id).state;
        let mut drains = Vec::new();
        for key in plan::retired(&self.slot, &after) {
            let why = if Some(&key) == self.slot.serving.as_ref() { Why::Withdrawn } else { Why::Superseded };
            drains.extend(retire::in_background(self.work, &key, why).await?);
        }
        Ok(drains)
    }

    /// The runtime stops. Before the commit nothing of this is kept, so that the next runtime knows of no failure; after
    /// it the version serves, and the next runtime starts it.
    async fn abandon(mut self) -> Result<Ran, EngineError> {
        if !self.done.iter().any(|change| matches!(change, Change::Route { .. })) {
            // what cannot be taken back now ends with the process
            let _ = self.unwind().await;
            self.work.shared.hands.instances.remove(&self.key);
            self.work.happened(&self.key, Happening::Refused, None).await?;
        }
        Err(EngineError::Stopped)
    }

    /// A step failed: what was done is taken back. The reason is kept with the version.
    async fn back(&mut self, reason: String) -> Result<(Outcome, String), EngineError> {
        self.work.happened(&self.key, Happening::Trigger, Some(reason.clone())).await?;
        if let Err(faults) = self.unwind().await {
            let reason = format!("{reason}; and what was done could not be taken back: {faults}");
            self.work.happened(&self.key, Happening::UndoFailed, Some(reason.clone())).await?;
            let message = format!("{reason}; look at `replug show {}` and activate a version that works", self.key.id);
            self.work.shared.events.emit(Event::Alarm { subject: self.key.to_string(), message });
            return Ok((Outcome::FailedToRestore, reason));
        }
        self.work.shared.hands.instances.remove(&self.key);
        self.work.happened(&self.key, Happening::Undone, Some(reason.clone())).await?;
        let outcome = if self.slot.serving.is_some() { Outcome::RolledBack } else { Outcome::Failed };
        Ok((outcome, reason))
    }

    /// The inverse of what was done, last first, each change within the manifest's time for a rollback.
    async fn unwind(&mut self) -> Result<(), String> {
        let time = self.manifest.lifecycle.rollback.timeout;
        let mut faults = Vec::new();
        for change in std::mem::take(&mut self.done).iter().rev().filter_map(Change::inverse) {
            let is_route = matches!(change, Change::Route { .. });
            let taken = tokio::time::timeout(time, self.take_back(&change)).await;
            let late = || format!("it took longer than {} ms to take back {change:?}", time.as_millis());
            if let Err(fault) = taken.unwrap_or_else(|_| Err(late())) {
                faults.push(fault);
                if is_route {
                    // what is still routed must not be stopped
                    break;
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    async fn take_back(&self, change: &Change) -> Result<(), String> {
        let hands = &self.work.shared.hands;
        match change {
            Change::Route { id, from, to } => {
                let restore = Restore::To(self.record.clone());
                let commit = Commit { id: id.clone(), from: from.clone(), to: to.clone(), strategy: None, restore };
                self.work.commit(commit).await.map_err(|error| error.to_string())?;
                // requests that entered meanwhile end on it
                if let Some(instance) = hands.instances.instance(&self.key) {
                    retire::drain(&instance, &self.manifest.lifecycle.deactivation).await;
                }
                Ok(())
            }
            // additive schema is good for the version before as well
            Change::Revert(..) if self.manifest.lifecycle.rollback.preserve_data => Ok(()),
            Change::Revert(_, versions) => hands.revert(&hands.subject(&self.key)?, versions).await,
            change => hands.apply(change).await,
        }
    }
}

fn step(name: StepName, started: Instant, outcome: StepOutcome) -> StepReport {
    StepReport { name, ms: millis(started), outcome }
}

/// Milliseconds since `started`, to the microsecond.
pub(super) fn millis(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

pub(super) fn report(
    id: &str,
    version: &Version,
    outcome: Outcome,
    reason: Option<String>,
    steps: Vec<StepReport>,
) -> ActivationReport {
    ActivationReport {
        id: id.to_owned(),
        version: version.to_string(),
        outcome,
        reason,
        steps,
        traffic_shift: Vec::new(),
    }
}
