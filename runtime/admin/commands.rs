//! The commands: the verbs of every front end as typed methods, their results, and the one error they give.
//!
//! A command that the engine refuses changes nothing and is a [`CommandError`]. A command that the engine began and took
//! back is no error: its report says so.

use std::sync::Arc;

use semver::Version;

use crate::engine::{
    ActivationReport, DeactivationReport, EngineError, Evaluated, Forecast, HealthView, Order, SlotView, State,
    SteerReport,
};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Event, Events};
use crate::registry::versions::ModuleRef;
use crate::registry::{Bundle, Definition, Registry, RegistryError, Snapshot};
use crate::sandbox::permissions::asked::{Asked, asked};
use crate::sandbox::tracker::ResourceTracker;
use crate::store::audit::{AuditLog, By, Who};

mod audit;
mod backup;
#[cfg(feature = "cli")]
mod check;
mod choosing;
mod control;
mod error;
#[cfg(feature = "cli")]
mod kit;
mod nearest;
mod permissions;
mod reasons;
mod relations;
mod revision;
mod usage;
pub mod verbs;
mod views;
mod why;

#[cfg(test)]
pub(super) mod tests;

pub use audit::{AUDIT_PAGE, audit_error, verify_audit};
pub use backup::{BackupFile, Backups};
#[cfg(feature = "cli")]
pub use check::{CheckReport, check};
pub use control::Control;
pub use error::{CommandError, Finding, Location};
use nearest::nearest;
pub use permissions::{DecidedRow, DecisionsView, Ruling, ruling};
pub use relations::{Conflicts, Dependencies, DependencyRow, NeedRow, OptionalRow};
pub use usage::{Quotas, UsageRow, UsageView};
pub use views::{FoundCapability, FoundModule, ModuleView, Registered, Unregistered, Updated, VersionRow};
pub use why::{Reason, Why};

/// The verbs over one runtime. Clones share it.
#[derive(Clone)]
pub struct Commands {
    registry: Registry,
    engine: Arc<dyn Control>,
    events: Events,
    audit: AuditLog,
    tracker: ResourceTracker,
    backups: Option<Arc<dyn Backups>>,
    /// Who gives them.
    by: By,
}

impl Commands {
    /// The commands over this registry and engine; what is registered is told to `events`, what was done is read in `audit`,
    /// and what modules use in `tracker`.
    #[must_use]
    pub fn new(
        registry: Registry,
        engine: impl Control,
        events: Events,
        audit: AuditLog,
        tracker: ResourceTracker,
    ) -> Self {
        let (engine, by) = (Arc::new(engine), Who::Admin.into());
        Self { registry, engine, events, audit, tracker, backups: None, by }
    }

    /// The same commands for the request of this id, which the audit log has with what they do.
    #[must_use]
    pub fn asked_in(&self, request: &Arc<str>) -> Self {
        let (engine, by) = (self.engine.asked_in(request), self.by.clone().asked_in(Arc::clone(request)));
        Self { engine: engine.unwrap_or_else(|| Arc::clone(&self.engine)), by, ..self.clone() }
    }

    /// The request that they are given in.
    #[must_use]
    pub const fn request(&self) -> Option<&Arc<str>> {
        self.by.request.as_ref()
    }

    /// Registers a bundle under its manifest's `id@version`. The same content again changes nothing.
    ///
    /// # Errors
    /// `manifest` with every fault, `content-differs`, or what kept it from the disk.
    pub async fn register(&self, bundle: Bundle) -> Result<Registered, CommandError> {
        let done = self.registry.register_by(self.by.clone(), bundle).await?;
        let registered = Registered::of(&done);
        if done.fresh {
            let Registered { id, version, digest, .. } = registered.clone();
            self.events.emit(Event::Registered { id, version, digest });
        }
        Ok(registered)
    }

    /// Forgets `version` of the module, or all of its versions.
    ///
    /// # Errors
    /// One of them runs or is needed (then none is forgotten), or there is none.
    pub async fn unregister(&self, id: &str, version: Option<&Version>) -> Result<Unregistered, CommandError> {
        self.known(id)?;
        let versions = self.engine.unregister(id, version).await?;
        Ok(Unregistered { id: id.to_owned(), versions: versions.iter().map(ToString::to_string).collect() })
    }

    /// Registers a bundle and, when a version of the module serves and it is another one, activates this one.
    ///
    /// # Errors
    /// As [`Commands::register`] and [`Commands::activate`]; after an error of the latter the version stays registered.
    pub async fn update(&self, bundle: Bundle, strategy: Option<ActivationStrategy>) -> Result<Updated, CommandError> {
        let registered = self.register(bundle).await?;
        self.activate_if_serving(registered, strategy).await
    }

    /// The second half of [`Commands::update`], for a front end that answers in between.
    ///
    /// # Errors
    /// As [`Commands::activate`].
    pub async fn activate_if_serving(
        &self,
        registered: Registered,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Updated, CommandError> {
        let activation = match self.running().get(&registered.id) {
            Some(serving) if serving.to_string() != registered.version => {
                let wanted: ModuleRef = format!("{}@{}", registered.id, registered.version).parse()?;
                Some(self.activate(&wanted, strategy).await?)
            }
            _ => None,
        };
        Ok(Updated { registered, activation })
    }

    /// Brings the version, or the newest one, into service; returns when it serves or what was done is taken back.
    ///
    /// # Errors
    /// It is not registered, or the engine refuses; nothing was changed then.
    pub async fn activate(
        &self,
        wanted: &ModuleRef,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, CommandError> {
        let definition = self.resolve(wanted)?;
        Ok(self.engine.activate(&wanted.id, &definition.manifest.version, strategy).await?)
    }

    /// What [`Commands::activate`] would do, without doing it.
    ///
    /// # Errors
    /// It is not registered, or what it needs to know cannot be read.
    pub async fn plan(
        &self,
        wanted: &ModuleRef,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, CommandError> {
        let definition = self.resolve(wanted)?;
        Ok(self.engine.forecast(&wanted.id, &definition.manifest.version, strategy).await?)
    }

    /// Brings versions of several modules into service as one; of each the newest where none is named. The report is about
    /// `wanted`, with those of the others in it.
    ///
    /// # Errors
    /// One is not registered, or the engine refuses; nothing was changed then.
    pub async fn activate_set(
        &self,
        wanted: &ModuleRef,
        others: &[ModuleRef],
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, CommandError> {
        Ok(self.engine.activate_set(&self.members(wanted, others)?, strategy).await?)
    }

    /// What [`Commands::activate_set`] would do, without doing it.
    ///
    /// # Errors
    /// One is not registered, or what it needs to know cannot be read.
    pub async fn plan_set(
        &self,
        wanted: &ModuleRef,
        others: &[ModuleRef],
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, CommandError> {
        Ok(self.engine.forecast_set(&self.members(wanted, others)?, strategy).await?)
    }

    /// The versions that these name.
    ///
    /// # Errors
    /// One is not registered.
    pub fn members(&self, wanted: &ModuleRef, others: &[ModuleRef]) -> Result<Vec<(String, Version)>, CommandError> {
        let all = std::iter::once(wanted).chain(others);
        all.map(|wanted| Ok((wanted.id.clone(), self.resolve(wanted)?.manifest.version.clone()))).collect()
    }

    /// Takes the module out of service.
    ///
    /// # Errors
    /// Nothing serves, or running modules need it.
    pub async fn deactivate(&self, id: &str) -> Result<DeactivationReport, CommandError> {
        self.known(id)?;
        Ok(self.engine.deactivate(id).await?)
    }

    /// Returns to the version on standby, or to `to`.
    ///
    /// # Errors
    /// Nothing serves, there is nothing to return to, or `to` is not registered.
    pub async fn rollback(&self, id: &str, to: Option<&Version>) -> Result<ActivationReport, CommandError> {
        self.known(id)?;
        if to.is_some() {
            self.resolve(&ModuleRef { id: id.to_owned(), version: to.cloned() })?;
        }
        Ok(self.engine.rollback(id, to).await?)
    }

    /// Steers the traffic shift of a module; returns once the shift has taken the order.
    ///
    /// # Errors
    /// The module is not registered, or no traffic of it is being shifted.
    pub async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, CommandError> {
        self.known(id)?;
        Ok(self.engine.steer(id, order).await?)
    }

    /// Runs a piece of code beside the version of a module that serves.
    ///
    /// # Errors
    /// Nothing serves, or the code does not compile or fails.
    pub async fn evaluate(&self, id: &str, code: &str) -> Result<Evaluated, CommandError> {
        self.known(id)?;
        Ok(self.engine.evaluate(id, code).await?)
    }

    /// The slots, by module id.
    #[must_use]
    pub fn list(&self) -> Vec<SlotView> {
        self.engine.slots()
    }

    /// The health of what serves, by module id.
    #[must_use]
    pub fn health(&self) -> Vec<HealthView> {
        self.engine.health()
    }

    /// The health of one module.
    ///
    /// # Errors
    /// Nothing is registered under this id, or nothing of it serves.
    pub fn health_of(&self, id: &str) -> Result<HealthView, CommandError> {
        self.known(id)?;
        let found = self.engine.health().into_iter().find(|view| view.id == id);
        found.ok_or_else(|| EngineError::NothingServes { id: id.to_owned() }.into())
    }

    /// A version's manifest and state; without a version the one that serves, or else the newest.
    ///
    /// # Errors
    /// It is not registered, or it is but cannot be used.
    pub fn show(&self, wanted: &ModuleRef) -> Result<ModuleView, CommandError> {
        let slot = self.slot(&wanted.id);
        let version = wanted.version.clone().or_else(|| self.running().remove(&wanted.id));
        let definition = self.resolve(&ModuleRef { id: wanted.id.clone(), version })?;
        let state = self.engine.state(&wanted.id, &definition.manifest.version);
        Ok(ModuleView::of(&definition, state, slot))
    }

    /// The registered versions of a module, ascending; those that cannot be used come last and say why.
    ///
    /// # Errors
    /// There is none.
    pub fn versions(&self, id: &str) -> Result<Vec<VersionRow>, CommandError> {
        let snapshot = self.known(id)?;
        let definitions = snapshot.modules.get(id).into_iter().flatten();
        let rows = definitions.map(|(version, found)| VersionRow::of(found, self.engine.state(id, version)));
        let unusable = snapshot.problems.iter().filter(|problem| problem.id == id).map(VersionRow::unusable);
        Ok(rows.chain(unusable).collect())
    }

    /// The registered versions that offer `capability`.
    #[must_use]
    pub fn find_by_capability(&self, capability: &str) -> Vec<FoundModule> {
        let found = self.registry.snapshot().find_by_capability(capability);
        self.found(&found, |offered| offered.id == capability)
    }

    /// The registered versions that offer something of `category`.
    #[must_use]
    pub fn find_by_category(&self, category: &str) -> Vec<FoundModule> {
        let found = self.registry.snapshot().find_by_category(category);
        self.found(&found, |offered| offered.category == category)
    }

    /// Every registered version with all that it offers, by id and version; those that cannot be used come last.
    #[must_use]
    pub fn all(&self) -> Vec<FoundModule> {
        let snapshot = self.registry.snapshot();
        let definitions: Vec<_> = snapshot.modules.values().flat_map(|versions| versions.values().cloned()).collect();
        let mut rows = self.found(&definitions, |_| true);
        for (row, definition) in rows.iter_mut().zip(&definitions) {
            row.asks = asked(&definition.manifest).iter().filter(|it| it.line.is_some()).map(Asked::text).collect();
        }
        rows.extend(snapshot.problems.iter().map(FoundModule::unusable));
        rows
    }

    fn found(
        &self,
        definitions: &[Arc<Definition>],
        meant: impl Fn(&crate::manifest::Capability) -> bool,
    ) -> Vec<FoundModule> {
        let row = |found: &Arc<Definition>| {
            let state = self.engine.state(&found.manifest.id, &found.manifest.version);
            FoundModule::of(found, &state, &meant)
        };
        definitions.iter().map(row).collect()
    }

    /// The definition that `wanted` names, or the newest.
    ///
    /// # Errors
    /// It is not registered, or it is but cannot be used.
    pub fn resolve(&self, wanted: &ModuleRef) -> Result<Arc<Definition>, CommandError> {
        let snapshot = self.known(&wanted.id)?;
        let unusable = |problem: &&crate::registry::Problem| {
            problem.id == wanted.id && wanted.version.as_ref().is_none_or(|version| *version == problem.version)
        };
        match (snapshot.resolve(wanted), snapshot.problems.iter().find(unusable)) {
            (Ok(definition), _) => Ok(Arc::clone(definition)),
            // It is there, so "not registered" would mislead.
            (Err(_), Some(problem)) => {
                let (id, version, cause) = (problem.id.clone(), problem.version.clone(), problem.cause.clone());
                Err(RegistryError::Unreadable { id, version, cause }.into())
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The snapshot, if it knows anything of the module.
    fn known(&self, id: &str) -> Result<Arc<Snapshot>, CommandError> {
        let snapshot = self.registry.snapshot();
        if snapshot.modules.contains_key(id) || snapshot.problems.iter().any(|problem| problem.id == id) {
            return Ok(snapshot);
        }
        let unknown = RegistryError::NotRegistered { wanted: id.to_owned(), id: id.to_owned(), registered: Vec::new() };
        let error = CommandError::from(unknown);
        Err(match nearest(id, snapshot.modules.keys()) {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error,
        })
    }

    fn slot(&self, id: &str) -> Option<SlotView> {
        self.engine.slots().into_iter().find(|slot| slot.id == id)
    }
}

/// Whether a slot in this state serves.
const fn serves(state: State) -> bool {
    matches!(state, State::Active | State::Provisional)
}

/// A strategy by its name.
///
/// # Errors
/// There is no such strategy.
pub fn strategy(name: &str) -> Result<ActivationStrategy, CommandError> {
    match name {
        "instant" => Ok(ActivationStrategy::Instant),
        "gradual" => Ok(ActivationStrategy::Gradual),
        _ => {
            let shown: String = name.chars().take(40).collect();
            let message = format!("there is no strategy `{}`", shown.escape_debug());
            Err(CommandError::new("bad-request", message).with_help("give `instant` or `gradual`"))
        }
    }
}
