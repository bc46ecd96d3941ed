//! What is registered, what goes with what, and what may follow what: the registry's questions, asked by the application around
//! the runtime. The registry does not know what runs; here that is added.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use semver::Version;

use super::Runtime;
use crate::admin::Commands;
use crate::admin::commands::Why;
use crate::engine::{ActivationReport, CapabilityView};
use crate::error::Error;
use crate::registry::compatibility::CompatibilityResult;
use crate::registry::resolver::Resolution;
use crate::registry::validation::{ConflictDetectionResult, ValidationResult};
use crate::registry::versions::{ModuleRef, Requirement};
use crate::registry::{Definition, Registration, RegistryError};

/// What [`Runtime::update`] came to.
#[derive(Debug, Clone)]
pub struct Update {
    /// The registration.
    pub registration: Registration,
    /// The activation; none if no version of the module served, or this one did.
    pub activation: Option<ActivationReport>,
}

impl Runtime {
    /// Registers the module in a folder and, where another version of it serves, activates this one.
    ///
    /// # Errors
    /// As [`Runtime::register`] and [`Runtime::activate`]; after an error of the latter the version stays registered.
    pub async fn update(&self, path: impl Into<PathBuf>) -> Result<Update, Error> {
        let registration = self.register(path).await?;
        let manifest = &registration.definition.manifest;
        let activation = match self.engine.running().get(&manifest.id) {
            Some(serving) if *serving != manifest.version => Some(self.activate(manifest.label()).await?),
            _ => None,
        };
        Ok(Update { registration, activation })
    }

    /// The registered versions that offer a capability, by module id, then ascending.
    #[must_use]
    pub fn find_by_capability(&self, capability: &str) -> Vec<Arc<Definition>> {
        self.registry.snapshot().find_by_capability(capability)
    }

    /// The registered versions that offer something of a category, by module id, then ascending.
    #[must_use]
    pub fn find_by_category(&self, category: &str) -> Vec<Arc<Definition>> {
        self.registry.snapshot().find_by_category(category)
    }

    /// The registered versions that are in one of these ranges, each `ID` or `ID@RANGE`, in the order of these.
    ///
    /// # Errors
    /// One is no such text, or nothing is in it.
    pub fn find_compatible(&self, requirements: &[&str]) -> Result<Vec<Arc<Definition>>, Error> {
        let requirements: Result<Vec<_>, RegistryError> =
            requirements.iter().map(|text| Requirement::from_str(text)).collect();
        Ok(self.registry.snapshot().find_compatible(&requirements?)?)
    }

    /// Each capability with who offers it, who needs it, and which module is called for it.
    #[must_use]
    pub fn capabilities(&self) -> Vec<CapabilityView> {
        self.engine.capabilities()
    }

    /// The newest consistent set around `ID@VERSION`, or around the newest version of `ID` that goes: what it needs, in which
    /// versions, in the order to activate them, and what runs.
    ///
    /// # Errors
    /// There is none: [`RegistryError::Unresolved`] derives why.
    pub async fn resolve_dependencies(&self, module: &str) -> Result<Resolution, Error> {
        Ok(self.registry.resolve_dependencies(&ModuleRef::from_str(module)?, &self.engine.running()).await?)
    }

    /// Why `ID@VERSION` runs or does not; of `ID` why it runs in the version that serves, or why the newest does not run. What the
    /// reasons say to do they say in the words of the command line.
    ///
    /// # Errors
    /// Nothing of that name is registered, or the journal cannot be read.
    pub async fn why(&self, module: &str) -> Result<Why, Error> {
        let (registry, engine) = (self.registry.clone(), self.engine.clone());
        let (events, audit, tracker) = (self.events.clone(), self.audit().clone(), self.tracker.clone());
        Ok(Commands::new(registry, engine, events, audit, tracker).why(&ModuleRef::from_str(module)?).await?)
    }

    /// What keeps `ID@VERSION`, or the newest version of `ID`, from running beside what runs, and beside what is registered.
    ///
    /// # Errors
    /// It is not registered.
    pub fn detect_conflicts(&self, module: &str) -> Result<ConflictDetectionResult, Error> {
        Ok(self.registry.detect_conflicts(&ModuleRef::from_str(module)?, &self.engine.running())?)
    }

    /// Whether `ID@VERSION`, or the newest version of `ID`, can run beside what runs, by what is registered.
    ///
    /// # Errors
    /// It is not registered.
    pub fn validate_dependencies(&self, module: &str) -> Result<ValidationResult, Error> {
        Ok(self.registry.validate_dependencies(&ModuleRef::from_str(module)?, &self.engine.running())?)
    }

    /// The registered versions of a module, ascending.
    #[must_use]
    pub fn versions(&self, id: &str) -> Vec<Arc<Definition>> {
        let snapshot = self.registry.snapshot();
        snapshot.versions(id).filter_map(|version| snapshot.get(id, version)).cloned().collect()
    }

    /// Of the registered versions of a module those that can take over from `from`, ascending.
    #[must_use]
    pub fn compatible_versions(&self, id: &str, from: &Version) -> Vec<Arc<Definition>> {
        let snapshot = self.registry.snapshot();
        let can_follow = snapshot.compatible_versions(id, from).filter_map(|it| snapshot.get(id, &it.version));
        can_follow.cloned().collect()
    }

    /// Whether `ID@VERSION`, or the newest version of `ID`, can take over from version `from` of its module, and by which way.
    ///
    /// # Errors
    /// It is not registered. `from` need not be: what it offered is not compared then.
    pub fn validate_version_compatibility(&self, module: &str, from: &Version) -> Result<CompatibilityResult, Error> {
        Ok(self.registry.validate_version_compatibility(&ModuleRef::from_str(module)?, from)?)
    }
}
