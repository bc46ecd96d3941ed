//! Whether a version can run, and whether it can take over from another one: the registry's answers as values. Nothing is
//! changed, and nothing but what is registered is looked at; what an activation would be refused for besides is the engine's to say.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::compatibility::CompatibilityResult;
use super::resolver::{self, Obstacle, Placed, Resolution, Running, circles_beside, conflicting, obstacles, one_move};
use super::versions::ModuleRef;
use super::{Definition, Registry, RegistryError, Snapshot};

/// Whether all that a version needs is there, and nothing keeps it from running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidationResult {
    /// The module.
    pub id: String,
    /// The version that was looked at.
    pub version: Version,
    /// Whether nothing stands in the way.
    pub valid: bool,
    /// Everything that does.
    pub obstacles: Vec<Obstacle>,
}

/// What keeps a version from running that no other module could clear by starting: declared conflicts, paths that are taken, what
/// one module alone may offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictDetectionResult {
    /// The module.
    pub id: String,
    /// The version that was looked at.
    pub version: Version,
    /// Beside what runs.
    pub running: Vec<Obstacle>,
    /// Beside each other registered module, were that to run in its newest version.
    pub registered: Vec<Obstacle>,
}

impl Snapshot {
    /// What keeps a version from running beside `running`, and beside what is registered.
    #[must_use]
    pub fn detect_conflicts(&self, definition: &Definition, running: &Running) -> ConflictDetectionResult {
        let (id, version) = (definition.manifest.id.clone(), definition.manifest.version.clone());
        let idle = self.modules.keys().filter(|other| **other != id && !running.contains_key(*other));
        let newest = idle.filter_map(|other| self.newest(other));
        let registered = newest.flat_map(|other| {
            let alone = Running::from([(other.manifest.id.clone(), other.manifest.version.clone())]);
            conflicting(definition, self, &alone)
        });
        let registered = registered.collect();
        ConflictDetectionResult { id, version, running: conflicting(definition, self, running), registered }
    }

    /// Whether a version can run beside `running`.
    #[must_use]
    pub fn validate_dependencies(&self, definition: &Definition, running: &Running) -> ValidationResult {
        let (id, version) = (definition.manifest.id.clone(), definition.manifest.version.clone());
        let mut obstacles = obstacles(definition, self, running);
        let placed = Placed { running: running.clone(), ..Placed::default() };
        obstacles.extend(circles_beside(&one_move(&id, Some(&version)), self, &placed));
        ValidationResult { id, version, valid: obstacles.is_empty(), obstacles }
    }
}

impl Registry {
    /// The newest consistent set around a version (the newest that goes, where none is named): what it needs, in which versions, in
    /// the order to activate them, and what runs.
    ///
    /// # Errors
    /// [`RegistryError::Unresolved`] derives why there is none.
    pub async fn resolve_dependencies(
        &self,
        wanted: &ModuleRef,
        running: &Running,
    ) -> Result<Resolution, RegistryError> {
        let (snapshot, wanted, running) = (self.snapshot(), [wanted.clone()], running.clone());
        // it may take a while
        let search = tokio::task::spawn_blocking(move || resolver::resolve(&wanted, &snapshot, &running)).await;
        let found = search.map_err(|error| RegistryError::Internal { cause: error.to_string() })?;
        found.map_err(|why| Box::new(why).into())
    }

    /// What keeps a version (the newest, where none is named) from running beside `running`, and beside what is registered.
    ///
    /// # Errors
    /// It is not registered.
    pub fn detect_conflicts(
        &self,
        wanted: &ModuleRef,
        running: &Running,
    ) -> Result<ConflictDetectionResult, RegistryError> {
        let snapshot = self.snapshot();
        Ok(snapshot.detect_conflicts(snapshot.resolve(wanted)?, running))
    }

    /// Whether a version (the newest, where none is named) can run beside `running`.
    ///
    /// # Errors
    /// It is not registered.
    pub fn validate_dependencies(
        &self,
        wanted: &ModuleRef,
        running: &Running,
    ) -> Result<ValidationResult, RegistryError> {
        let snapshot = self.snapshot();
        Ok(snapshot.validate_dependencies(snapshot.resolve(wanted)?, running))
    }

    /// Whether a version (the newest, where none is named) can take over from version `from` of its module, and how.
    ///
    /// # Errors
    /// It is not registered. `from` need not be: what it offered is not compared then.
    pub fn validate_version_compatibility(
        &self,
        wanted: &ModuleRef,
        from: &Version,
    ) -> Result<CompatibilityResult, RegistryError> {
        let snapshot = self.snapshot();
        Ok(snapshot.version_compatibility(&snapshot.resolve(wanted)?.manifest, from))
    }
}
