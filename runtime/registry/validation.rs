//! Whether a version can run, and whether it can take over from another one: the registry's answers as values. Nothing is
//! changed, and nothing but what is registered is looked at; what an activation would be refused for besides is the engine's to say.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::compatibility::CompatibilityResult;
use super::resolver::{Obstacle, Placed, Running, circles_beside, obstacles, one_move};
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

impl Snapshot {
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
