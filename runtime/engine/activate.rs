//! Brings a version into service: validates, then carries the plan's steps out one by one, and takes back what was done
//! when one fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use semver::Version;
use serde_json::json;
use tokio::task::JoinHandle;

use super::EngineError;
use super::activation::Activation;
use super::apply::guarded;
use super::attempt::Attempt;
use super::board::version_of;
use super::instances::Running;
use super::journal::{Action, Entry, Owed};
use super::lanes::asker;
use super::outcome::{ActivationReport, Outcome};
use super::plan;
use super::quarantine;
use super::retire;
use super::rollback;
use super::sets;
use super::shared::Shared;
use super::strategy::{self, StepName};
use super::through;
use super::validate::{self, Checked};
use super::window::trigger_name;
use crate::manifest::{ActivationStrategy, Manifest, TriggerKind};
use crate::monitor::{Event, InstanceKey};
use crate::registry::Definition;
use crate::store::audit::Kind;

/// How one activation is done.
pub(super) struct Way {
    pub(super) strategy: ActivationStrategy,
    pub(super) steps: &'static [StepName],
    /// Whether the version before stays warm; otherwise it drains, as after a rollback.
    pub(super) keeps_standby: bool,
    pub(super) action: Action,
    /// Migrations that are to be taken back once the version serves.
    pub(super) owes: Option<Owed>,
}

impl Way {
    pub(super) fn of(strategy: ActivationStrategy) -> Self {
        let (steps, action) = (strategy::steps(strategy), Action::Activate);
        Self { strategy, steps, keeps_standby: true, action, owes: None }
    }

    /// The way back to a version that is not on standby.
    pub(super) fn back(owes: Option<Owed>) -> Self {
        Self { keeps_standby: false, action: Action::Rollback, owes, ..Self::of(ActivationStrategy::Instant) }
    }
}

/// What an activation came to, and what still drains because of it.
pub(super) struct Ran {
    pub(super) report: ActivationReport,
    pub(super) drains: Vec<JoinHandle<()>>,
    /// The command's entry in the journal.
    pub(super) entry: Entry,
}

/// The command `activate`. A version that serves already is left as it is; one on standby takes over by a switch.
///
/// A version that serves only because its rollback failed is tried again as a new generation beside itself: by the table of
/// states failed-to-restore can be activated, and what is routed stays so until the new one has proved itself.
pub(super) async fn activate(
    work: &Activation,
    id: &str,
    version: &Version,
    strategy: Option<ActivationStrategy>,
) -> Result<ActivationReport, EngineError> {
    let definition = definition(&work.shared, id, version)?;
    let slot = work.shared.board.slot(id);
    let serving = slot.state.serving.as_ref().and_then(version_of);
    if serving.as_ref() == Some(version) && !slot.is_stuck() {
        let outcome = if slot.state.is_provisional() { Outcome::Provisional } else { Outcome::Active };
        return Ok(report(id, version, outcome));
    }
    sets::alone(id, &slot, || format!("activated at {version}"))?;
    if let Some(serving) = &serving {
        let newer = self::definition(&work.shared, id, serving)?;
        validate::reversible(&newer, &definition)?;
        if slot.stands_by(version) {
            let because = format!("{} asked for {version} again", asker(work.by.who));
            return match rollback::to_standby(work, &slot.state, (&definition, &newer), &because).await? {
                Some(report) => Ok(report),
                None => Box::pin(activate(work, id, version, strategy)).await,
            };
        }
    }
    if let Some(serving) = serving.as_ref().filter(|serving| *serving != version) {
        let stops = through::stops(&work.shared.registry.snapshot(), &definition, serving)?;
        if !stops.is_empty() {
            return through::go(work, (serving, &stops, &definition), strategy).await;
        }
    }
    let strategy = strategy.unwrap_or(definition.manifest.lifecycle.activation.strategy);
    Ok(run(work, &definition, &Way { keeps_standby: slot.keeps_standby(), ..Way::of(strategy) }).await?.report)
}

/// Starts again what served when the runtime ended; its strategy is only remembered.
pub(super) async fn resume(
    work: &Activation,
    id: &str,
    version: &Version,
    strategy: ActivationStrategy,
) -> Result<ActivationReport, EngineError> {
    let definition = definition(&work.shared, id, version)?;
    if let Some(kept_out) = quarantine::keep_out(work, &definition, strategy).await? {
        return Ok(kept_out);
    }
    let way = Way { steps: strategy::RESUME, action: Action::Resume, ..Way::of(strategy) };
    Ok(run(work, &definition, &way).await?.report)
}

pub(super) fn definition(shared: &Shared, id: &str, version: &Version) -> Result<Arc<Definition>, EngineError> {
    let wanted = crate::registry::versions::ModuleRef { id: id.to_owned(), version: Some(version.clone()) };
    Ok(Arc::clone(shared.registry.snapshot().resolve(&wanted)?))
}

/// Runs an activation to its end, whichever that is.
pub(super) async fn run(work: &Activation, definition: &Arc<Definition>, way: &Way) -> Result<Ran, EngineError> {
    let started = Instant::now();
    let (snapshot, board) = (work.shared.registry.snapshot(), &work.shared.board);
    if way.action == Action::Resume {
        validate::fits_again(definition, &snapshot, board)?;
    } else {
        quarantine::admit(work, &definition.manifest)?;
        validate::fits(definition, &snapshot, &board.placed())?;
    }
    let ready = validated(work, definition, way, started).await?;
    let (attempt, plan) = begin(work, ready, way, &[]).await?;
    attempt.run(&plan).await
}

/// A version of which everything is known that can be before anything is changed.
pub(super) struct Ready {
    checked: Checked,
    pending: Vec<Version>,
    /// When its validation began.
    started: Instant,
    /// How long that took.
    took: Duration,
}

impl Ready {
    /// The same, as if its validation had ended just now: what it waited for since is no slowness of its own.
    pub(super) fn just_now(self) -> Self {
        let now = Instant::now();
        Self { started: now.checked_sub(self.took).unwrap_or(now), ..self }
    }
}

/// The step `validate`, but for what runs beside it: changes nothing, and what it finds is an error of the command.
pub(super) async fn validated(
    work: &Activation,
    definition: &Arc<Definition>,
    way: &Way,
    started: Instant,
) -> Result<Ready, EngineError> {
    let time = time(&definition.manifest, way);
    let late = |_| Err(EngineError::Port { module: definition.manifest.label(), cause: too_late(time) });
    tokio::time::timeout(time, looked_at(work, definition, way, started)).await.unwrap_or_else(late)
}

async fn looked_at(
    work: &Activation,
    definition: &Arc<Definition>,
    way: &Way,
    started: Instant,
) -> Result<Ready, EngineError> {
    let manifest = &definition.manifest;
    validate::configured(manifest)?;
    work.shared.hands.supplies.permissions.admit(manifest).await?;
    let checked = validate::read(Arc::clone(definition), &work.shared.hands.supplies.aborts).await?;
    let mut pending = Vec::new();
    if let Some(migrator) = &work.shared.hands.migrator {
        let subject = checked.subject(schema_key(manifest));
        let asked = guarded(async { migrator.pending(&subject).await.map_err(|error| error.to_string()) }).await;
        pending = asked.map_err(|cause| EngineError::Port { module: manifest.label(), cause })?;
    }
    if !way.steps.contains(&StepName::Migrate) {
        validate::migrates(manifest, way.strategy, &pending)?;
    }
    Ok(Ready { checked, pending, started, took: started.elapsed() })
}

/// Begins an activation, perhaps as one of a `set` (as `id@version`): from here on the journal knows of it.
pub(super) async fn begin<'a>(
    work: &'a Activation,
    Ready { checked, pending, started, .. }: Ready,
    way: &Way,
    set: &[String],
) -> Result<(Attempt<'a>, plan::Plan), EngineError> {
    let manifest = Arc::clone(&checked.manifest);
    let time = time(&manifest, way);
    let slot = work.shared.board.slot(&manifest.id);
    let from = slot.state.serving.as_ref().and_then(version_of);
    let entry = Entry::begun(way.action, manifest.version.clone(), from.clone(), way.strategy, work.shared.now());
    let entry = Entry { set: set.to_vec(), ..entry };
    let mut told = json!({ "strategy": if entry.instant { "instant" } else { "gradual" }, "command": entry.action.name(),
        "from": from.as_ref().map(ToString::to_string) });
    if !set.is_empty() {
        told["set"] = json!(set);
    }
    work.audit(Kind::ActivationBegan, manifest.label(), told).await?;
    let (key, entry) = work.begin(&manifest.id, entry).await?;
    work.shared.events.emit(Event::ActivationBegan {
        instance: key.clone(),
        strategy: if entry.instant { "instant" } else { "gradual" },
        from: from.map(|version| version.to_string()),
    });
    let running = Running {
        subject: checked.subject(key.clone()),
        program: checked.program,
        instance: None,
        endpoints: Arc::new([]),
        left: false,
        goes: false,
    };
    work.shared.hands.instances.insert(key.clone(), running);
    retire::sweep(work, &manifest.id);
    let plan = plan::activate(&key, &slot.state, way.steps, &pending, way.keeps_standby);
    let attempt = Attempt::new(work, (key, entry), manifest, slot.record, way, (started, time));
    Ok((attempt, plan))
}

/// How long the steps may take.
fn time(manifest: &Manifest, way: &Way) -> Duration {
    // a resume has the steps of neither strategy
    if way.action == Action::Resume || way.strategy == manifest.lifecycle.activation.strategy {
        manifest.lifecycle.activation.timeout
    } else {
        way.strategy.default_timeout()
    }
}

/// What is said where the steps take longer than they may.
pub(super) fn too_late(time: Duration) -> String {
    let name = trigger_name(TriggerKind::ActivationTimeout);
    format!("{name}: the steps took longer than {} ms", time.as_millis())
}

/// A key for what is asked of a module's schema, which belongs to no instance.
pub(super) fn schema_key(manifest: &Manifest) -> InstanceKey {
    InstanceKey { id: manifest.id.as_str().into(), version: manifest.version.to_string().into(), generation: 0 }
}

/// Milliseconds since `started`, to the microsecond.
pub(super) fn millis(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Milliseconds until `deadline`, to the microsecond.
pub(super) fn millis_left(deadline: Instant) -> f64 {
    (deadline.saturating_duration_since(Instant::now()).as_secs_f64() * 1e6).round() / 1e3
}

/// A report of a command that had nothing to do.
pub(super) fn report(id: &str, version: &Version, outcome: Outcome) -> ActivationReport {
    ActivationReport {
        id: id.to_owned(),
        version: version.to_string(),
        outcome,
        reason: None,
        steps: Vec::new(),
        traffic_shift: Vec::new(),
        rollback: Vec::new(),
        via: Vec::new(),
        lost: 0,
        set: Vec::new(),
    }
}
