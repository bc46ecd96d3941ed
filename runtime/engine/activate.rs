//! Brings a version into service: validates, then carries the plan's steps out one by one, and takes back what was done
//! when one fails.

use std::sync::Arc;
use std::time::Instant;

use semver::Version;

use super::EngineError;
use super::activation::Activation;
use super::board::version_of;
use super::coordinator::Commit;
use super::instances::Running;
use super::outcome::{ActivationReport, Outcome, StepOutcome, StepReport};
use super::plan::{self, Change, Plan, SlotState, Step};
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
    fn of(strategy: ActivationStrategy) -> Self {
        Self { strategy, steps: strategy::steps(strategy), keeps_standby: true }
    }
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
    if slot.state.serving.as_ref().and_then(version_of).as_ref() == Some(version) {
        return Ok(report(id, version, Outcome::Active, None, Vec::new()));
    }
    if slot.state.standby.as_ref().and_then(version_of).as_ref() == Some(version) {
        return super::rollback::switch(work, id, &definition).await;
    }
    let strategy = strategy.unwrap_or(definition.manifest.lifecycle.activation.strategy);
    run(work, &definition, &Way::of(strategy)).await
}

/// Starts again what served when the runtime ended; its strategy is only remembered.
pub(super) async fn resume(
    work: &Activation,
    id: &str,
    version: &Version,
    strategy: ActivationStrategy,
) -> Result<ActivationReport, EngineError> {
    const STEPS: [StepName; 7] = [
        StepName::Validate,
        StepName::Prepare,
        StepName::Load,
        StepName::Register,
        StepName::Migrate,
        StepName::Warmup,
        StepName::Activate,
    ];
    let definition = definition(work, id, version)?;
    run(work, &definition, &Way { strategy, steps: &STEPS, keeps_standby: true }).await
}

pub(super) fn definition(work: &Activation, id: &str, version: &Version) -> Result<Arc<Definition>, EngineError> {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: Some(version.clone()) };
    Ok(Arc::clone(work.shared.registry.snapshot().resolve(&wanted)?))
}

/// Runs an activation to its end, whichever that is.
pub(super) async fn run(
    work: &Activation,
    definition: &Arc<Definition>,
    way: &Way,
) -> Result<ActivationReport, EngineError> {
    let started = Instant::now();
    let manifest = &definition.manifest;
    let time = if way.strategy == manifest.lifecycle.activation.strategy {
        manifest.lifecycle.activation.timeout
    } else {
        way.strategy.default_timeout()
    };
    let deadline = started + time;
    let (checked, pending) = validated(work, definition, way).await?;
    let slot = work.shared.board.slot(&manifest.id).state;
    let key = work.begin(&manifest.id, &manifest.version).await?;
    let running = Running {
        subject: checked.subject(key.clone()),
        program: checked.program,
        instance: None,
        endpoints: Arc::new([]),
    };
    work.shared.hands.instances.insert(key.clone(), running);

    let mut attempt = Attempt {
        work,
        key: key.clone(),
        manifest: checked.manifest,
        way,
        slot: slot.clone(),
        reports: vec![step(StepName::Validate, started, StepOutcome::Done)],
        done: Vec::new(),
    };
    let plan = plan_of(&key, &slot, way, &pending);
    let outcome = match tokio::time::timeout_at(deadline.into(), attempt.forward(&plan)).await {
        Ok(Ok(())) => attempt.succeed().await.map(|()| (Outcome::Active, None)),
        Ok(Err(reason)) => attempt.back(reason).await,
        Err(_) => attempt.back(format!("activation timeout: the steps took longer than {} ms", time.as_millis())).await,
    };
    let (outcome, reason) = outcome?;
    work.shared.record(outcome, started.elapsed());
    Ok(report(&manifest.id, &manifest.version, outcome, reason, attempt.reports))
}

fn plan_of(key: &InstanceKey, slot: &SlotState, way: &Way, pending: &[Version]) -> Plan {
    let mut plan = plan::activate(key, slot, way.steps, pending);
    if !way.keeps_standby {
        for change in plan.steps.iter_mut().flat_map(|step| &mut step.changes) {
            if let Change::Route { to, .. } = change {
                to.standby = None;
            }
        }
    }
    plan
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
        // the generation is not known yet, and the schema is the module's
        let key = InstanceKey {
            id: manifest.id.as_str().into(),
            version: manifest.version.to_string().into(),
            generation: 0,
        };
        let asked = migrator.pending(&checked.subject(key)).await;
        pending = asked.map_err(|error| EngineError::Port { module: manifest.label(), cause: error.to_string() })?;
    }
    if !way.steps.contains(&StepName::Migrate) {
        validate::migrates(manifest, way.strategy, &pending)?;
    }
    Ok((checked, pending))
}

/// One activation on its way.
struct Attempt<'a> {
    work: &'a Activation,
    key: InstanceKey,
    manifest: Arc<Manifest>,
    way: &'a Way,
    slot: SlotState,
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
            if let Change::Route { id, from, to } = change {
                let commit = Commit {
                    id: id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    strategy: Some(self.way.strategy),
                    restores: false,
                };
                // a commit is made whole or not at all
                self.work.commit(commit).await.map_err(|error| error.to_string())?;
                self.done.push(change.clone());
                if let Some(served) = &from.serving {
                    let happening = if to.standby.is_some() { Happening::Superseded } else { Happening::Withdrawn };
                    self.work.happened(served, happening, None).await.map_err(|error| error.to_string())?;
                }
                continue;
            }
            self.done.push(change.clone());
            match change {
                Change::Migrate(..) => self.work.shared.hands.migrate(&self.key).await?,
                change => self.work.shared.hands.apply(change).await?,
            }
        }
        Ok(())
    }

    /// The last step succeeded: it is active, and what the slot has no place for any more drains.
    async fn succeed(&self) -> Result<(), EngineError> {
        self.work.happened(&self.key, Happening::Succeeded { provisional: false }, None).await?;
        let after = self.work.shared.board.slot(&self.key.id).state;
        for key in plan::retired(&self.slot, &after) {
            let why = if Some(&key) == self.slot.serving.as_ref() { Why::Withdrawn } else { Why::Superseded };
            retire::in_background(self.work, &key, why).await?;
        }
        Ok(())
    }

    /// A step failed: the inverse of what was done, last first. The reason is kept with the version.
    async fn back(&mut self, reason: String) -> Result<(Outcome, Option<String>), EngineError> {
        self.work.happened(&self.key, Happening::Trigger, Some(reason.clone())).await?;
        let mut faults = Vec::new();
        for change in std::mem::take(&mut self.done).iter().rev().filter_map(Change::inverse) {
            if let Err(fault) = self.take_back(&change).await {
                faults.push(fault);
            }
        }
        self.work.shared.hands.instances.remove(&self.key);
        if faults.is_empty() {
            self.work.happened(&self.key, Happening::Undone, Some(reason.clone())).await?;
            let outcome = if self.slot.serving.is_some() { Outcome::RolledBack } else { Outcome::Failed };
            return Ok((outcome, Some(reason)));
        }
        let reason = format!("{reason}; and what was done could not be taken back: {}", faults.join("; "));
        self.work.happened(&self.key, Happening::UndoFailed, Some(reason.clone())).await?;
        let message = format!("{reason}; look at `replug show {}` and activate a version that works", self.key.id);
        self.work.shared.events.emit(Event::Alarm { subject: self.key.to_string(), message });
        Ok((Outcome::FailedToRestore, Some(reason)))
    }

    async fn take_back(&self, change: &Change) -> Result<(), String> {
        let hands = &self.work.shared.hands;
        match change {
            Change::Route { id, from, to } => {
                let commit =
                    Commit { id: id.clone(), from: from.clone(), to: to.clone(), strategy: None, restores: true };
                self.work.commit(commit).await.map_err(|error| error.to_string())?;
                if let Some(serving) = &to.serving {
                    let back = self.work.happened(serving, Happening::ReturnedTo, None).await;
                    back.map_err(|error| error.to_string())?;
                }
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
