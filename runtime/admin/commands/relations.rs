//! How versions stand to each other: what goes with what, what keeps apart, what may follow what.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{CommandError, Commands, FoundModule, ModuleRef, VersionRow};
use crate::engine::EngineError;
use crate::registry::compatibility::CompatibilityResult;
use crate::registry::resolver::{Change, Chosen, Need, Obstacle, Resolution, Running, Unresolved};
use crate::registry::validation::ValidationResult;
use crate::registry::versions::Requirement;

/// What `deps` tells: the versions that go together around one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependencies {
    /// The module.
    pub id: String,
    /// The version that they were looked for.
    pub version: String,
    /// Itself, what it needs and what runs, each after those that it needs.
    pub modules: Vec<DependencyRow>,
    /// What it can do without, and whether it is there.
    pub optional: Vec<OptionalRow>,
    /// What an activation would be refused for as things are; empty: it can be activated at once, or it serves.
    pub obstacles: Vec<String>,
}

/// A version among those that go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyRow {
    /// The module.
    pub id: String,
    /// Its version.
    pub version: String,
    /// `keep`: it runs; `start`: nothing of it runs; `replace`: another version runs.
    pub change: String,
    /// The version that runs, where another one does.
    pub from: Option<String>,
    /// The versions to go through to it.
    pub via: Vec<String>,
    /// Who needs it, and what of it.
    pub needed: Vec<NeedRow>,
}

/// What one module needs of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedRow {
    /// Who, `id@version`.
    pub by: String,
    /// The module's id or the capability's.
    pub needs: String,
    /// The versions that would do.
    pub range: String,
    /// Whether it is a capability.
    pub capability: bool,
}

/// A module that another one can do without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionalRow {
    /// The module's id.
    pub id: String,
    /// The versions that would do.
    pub range: String,
    /// The version that runs, if one does and it would do.
    pub met: Option<String>,
}

/// What `conflicts` tells: what keeps a version from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflicts {
    /// The module.
    pub id: String,
    /// The version.
    pub version: String,
    /// Beside what runs now.
    pub running: Vec<String>,
    /// Beside other registered modules, were they to run in their newest version.
    pub registered: Vec<String>,
}

impl Commands {
    /// The newest consistent set around a version: what it needs, in which versions, and in which order to activate them.
    ///
    /// # Errors
    /// It is not registered, or there is no such set; the message derives why.
    pub async fn dependencies(&self, wanted: &ModuleRef) -> Result<Dependencies, CommandError> {
        let definition = self.resolve(wanted)?;
        let (manifest, running) = (&definition.manifest, self.running());
        let exactly = ModuleRef { id: manifest.id.clone(), version: Some(manifest.version.clone()) };
        let found = self.registry.resolve_dependencies(&exactly, &running).await?;
        let refused = self.engine.refusals(&manifest.id, &manifest.version).await?;
        let obstacles = refused.iter().flat_map(|refusal| match refusal {
            EngineError::Obstructed { obstacles, .. } => obstacles.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        });
        let optional = manifest.dependencies.iter().filter(|need| !need.required).map(|need| OptionalRow {
            id: need.id.clone(),
            range: need.version.to_string(),
            met: running.get(&need.id).filter(|version| need.version.matches(version)).map(ToString::to_string),
        });
        Ok(Dependencies {
            id: manifest.id.clone(),
            version: manifest.version.to_string(),
            modules: related(&found, &manifest.id),
            optional: optional.collect(),
            obstacles: obstacles.collect(),
        })
    }

    /// What keeps a version (the newest, where none is named) from running.
    ///
    /// # Errors
    /// It is not registered.
    pub fn conflicts(&self, wanted: &ModuleRef) -> Result<Conflicts, CommandError> {
        let definition = self.resolve(wanted)?;
        let found = self.registry.snapshot().detect_conflicts(&definition, &self.running());
        let told = |obstacles: &[Obstacle]| obstacles.iter().map(ToString::to_string).collect();
        let (running, registered) = (told(&found.running), told(&found.registered));
        Ok(Conflicts { id: found.id, version: found.version.to_string(), running, registered })
    }

    /// Whether a version (the newest, where none is named) can run beside what runs, by what is registered.
    ///
    /// # Errors
    /// It is not registered.
    pub fn validate_dependencies(&self, wanted: &ModuleRef) -> Result<ValidationResult, CommandError> {
        let definition = self.resolve(wanted)?;
        Ok(self.registry.snapshot().validate_dependencies(&definition, &self.running()))
    }

    /// Whether a version (the newest, where none is named) can take over from version `from` of its module, and by which way.
    ///
    /// # Errors
    /// It is not registered.
    pub fn validate_version_compatibility(
        &self,
        wanted: &ModuleRef,
        from: &Version,
    ) -> Result<CompatibilityResult, CommandError> {
        let definition = self.resolve(wanted)?;
        Ok(self.registry.snapshot().version_compatibility(&definition.manifest, from))
    }

    /// The registered versions of a module that can take over from `from`, ascending.
    ///
    /// # Errors
    /// There is no version of the module.
    pub fn compatible_versions(&self, id: &str, from: &Version) -> Result<Vec<VersionRow>, CommandError> {
        let snapshot = self.known(id)?;
        let compatible = snapshot.compatible_versions(id, from).filter_map(|it| snapshot.get(id, &it.version));
        Ok(compatible.map(|found| VersionRow::of(found, self.engine.state(id, &found.manifest.version))).collect())
    }

    /// The registered versions that meet one of these requirements.
    ///
    /// # Errors
    /// Nothing meets one of them.
    pub fn find_compatible(&self, requirements: &[Requirement]) -> Result<Vec<FoundModule>, CommandError> {
        let found = self.registry.snapshot().find_compatible(requirements)?;
        Ok(self.found(&found, |_| true))
    }

    /// The version of each module that serves.
    pub(super) fn running(&self) -> Running {
        self.engine.running()
    }
}

/// Of what goes together what has to do with `id`: what it needs, directly or not, what changes, and itself.
fn related(found: &Resolution, id: &str) -> Vec<DependencyRow> {
    let mut labels = vec![];
    let mut ids = vec![id];
    while let Some(id) = ids.pop() {
        let Some(chosen) = found.modules.iter().find(|chosen| chosen.id == id) else { continue };
        let label = format!("{}@{}", chosen.id, chosen.version);
        if labels.contains(&label) {
            continue;
        }
        let needs = |other: &&Chosen| other.needed.iter().any(|need| need.by == label);
        ids.extend(found.modules.iter().filter(needs).map(|other| other.id.as_str()));
        labels.push(label);
    }
    let is_meant = |chosen: &&Chosen| {
        chosen.change != Change::Keep || labels.contains(&format!("{}@{}", chosen.id, chosen.version))
    };
    found.modules.iter().filter(is_meant).map(DependencyRow::of).collect()
}

impl DependencyRow {
    fn of(chosen: &Chosen) -> Self {
        let (change, from, via) = match &chosen.change {
            Change::Keep => ("keep", None, Vec::new()),
            Change::Start => ("start", None, Vec::new()),
            Change::Replace { from, via } => {
                ("replace", Some(from.to_string()), via.iter().map(ToString::to_string).collect())
            }
        };
        Self {
            id: chosen.id.clone(),
            version: chosen.version.to_string(),
            change: change.to_owned(),
            from,
            via,
            needed: chosen.needed.iter().map(NeedRow::of).collect(),
        }
    }
}

impl NeedRow {
    fn of(need: &Need) -> Self {
        let Need { by, needs, range, capability } = need.clone();
        Self { by, needs, range, capability }
    }
}

impl From<Unresolved> for CommandError {
    fn from(error: Unresolved) -> Self {
        let message = error.to_string();
        match error {
            Unresolved::NoSet(_) => Self::new("unresolvable", message).with_help(
                "register a version that fits, or deactivate what stands in the way: replug why ID says more",
            ),
            Unresolved::Cycle(_) => Self::new("cycle", message).with_help("replug why ID says who needs whom"),
        }
    }
}
