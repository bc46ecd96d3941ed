//! What a module may reach, compiled from its manifest once, looked up on each call.
//!
//! What a manifest declares the module has for itself: its database, its store, its configuration, the services of the
//! modules it depends on. Reaching the database of a module that calls is asked for by `module: caller` and consented to
//! by that module's dependency on this one; it holds only while the call runs.

use std::sync::Arc;

use replug_scripts::{HostError, HostErrorKind};

use super::fs::FileRules;
use super::net::NetworkRules;
use crate::manifest::{Access, ActorSpec, Manifest, Permissions};

/// The name in `permissions.system.database` that stands for whichever module calls.
const CALLER: &str = "caller";

/// What one version of a module may reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Grants {
    database: bool,
    caller_database: Option<Access>,
    dependencies: Arc<[String]>,
    provides: Vec<String>,
    environment: Vec<String>,
    /// Its actors.
    pub actors: Vec<ActorSpec>,
    /// Which of its files it may read and write.
    pub files: FileRules,
    /// Whom it may talk to.
    pub network: Arc<NetworkRules>,
    /// Bytes that its store, files and database may take together.
    pub storage: u64,
}

impl Grants {
    /// What `manifest` declares.
    #[must_use]
    pub fn declared(manifest: &Manifest) -> Self {
        Self::compiled(manifest, &manifest.permissions)
    }

    /// What `manifest` declares, and of what it asks for `permissions`.
    #[must_use]
    pub fn compiled(manifest: &Manifest, permissions: &Permissions) -> Self {
        let system = &permissions.system;
        let asked = system.database.iter().find(|asked| asked.module == CALLER);
        Self {
            database: manifest.database.is_some(),
            caller_database: asked.map(|asked| asked.access),
            dependencies: manifest.dependencies.iter().map(|dependency| dependency.id.clone()).collect(),
            provides: manifest.capabilities.iter().map(|capability| capability.id.clone()).collect(),
            environment: system.environment.clone(),
            actors: manifest.runtime.actors.clone(),
            files: FileRules::new(&system.filesystem),
            network: Arc::new(NetworkRules::new(&system.network, &permissions.resources.network)),
            storage: permissions.resources.storage.max,
        }
    }

    /// The modules whose services it may call.
    #[must_use]
    pub const fn dependencies(&self) -> &Arc<[String]> {
        &self.dependencies
    }

    /// Whether it has a database of its own.
    ///
    /// # Errors
    /// It declares none.
    pub fn database(&self, function: &str) -> Result<(), HostError> {
        self.database
            .then_some(())
            .ok_or_else(|| denied(function, "this module has no database of its own", "database: { migrations: […] }"))
    }

    /// How it may reach the database of the module that calls it.
    ///
    /// # Errors
    /// Its manifest does not ask for it.
    pub fn caller_database(&self, function: &str) -> Result<Access, HostError> {
        self.caller_database.ok_or_else(|| {
            denied(
                function,
                "this module does not ask for the databases of its callers",
                "permissions: { system: { database: [{ module: caller, access: read }] } }",
            )
        })
    }

    /// Whether it may read the environment variable `name`.
    ///
    /// # Errors
    /// Its manifest does not ask for it; whether it is set is not told.
    pub fn environment(&self, function: &str, name: &str) -> Result<(), HostError> {
        self.environment.iter().any(|granted| granted == name).then_some(()).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let why = format!("this module may not read the variable {shown:?}");
            denied(function, &why, &format!("permissions: {{ system: {{ environment: [{shown}] }} }}"))
        })
    }

    /// Whether it provides `capability`.
    ///
    /// # Errors
    /// It does not.
    pub fn provides(&self, function: &str, capability: &str) -> Result<(), HostError> {
        self.provides.iter().any(|provided| provided == capability).then_some(()).ok_or_else(|| {
            denied(
                function,
                &format!("this module does not provide {capability}"),
                &format!("capabilities: [{{ id: {capability} }}]"),
            )
        })
    }
}

/// `permission denied: WHAT: WHY; LINE in module.manifest.yaml would grant it`.
#[must_use]
pub fn denied(function: &str, why: &str, line: &str) -> HostError {
    HostError::new(
        HostErrorKind::PermissionDenied,
        format!("permission denied: {function}: {why}; `{line}` in module.manifest.yaml would grant it"),
    )
}
