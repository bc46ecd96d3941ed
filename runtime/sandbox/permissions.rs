//! What a module may reach, compiled from its manifest once, looked up on each call.
//!
//! What a manifest declares the module has for itself: its database, its store, its configuration, the services of the
//! modules it depends on. Reaching the database of a module that calls is asked for by `module: caller` and consented to
//! by that module's dependency on this one; it holds only while the call runs.

use std::sync::Arc;

use replug_scripts::{HostError, HostErrorKind};

use crate::manifest::{Access, Manifest};

/// The name in `permissions.system.database` that stands for whichever module calls.
const CALLER: &str = "caller";

/// What one version of a module may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    database: bool,
    caller_database: Option<Access>,
    dependencies: Arc<[String]>,
    provides: Vec<String>,
    /// Bytes that its store, files and database may take together.
    pub storage: u64,
}

impl Grants {
    /// What `manifest` declares.
    #[must_use]
    pub fn declared(manifest: &Manifest) -> Self {
        let asked = manifest.permissions.system.database.iter().find(|asked| asked.module == CALLER);
        Self {
            database: manifest.database.is_some(),
            caller_database: asked.map(|asked| asked.access),
            dependencies: manifest.dependencies.iter().map(|dependency| dependency.id.clone()).collect(),
            provides: manifest.capabilities.iter().map(|capability| capability.id.clone()).collect(),
            storage: manifest.permissions.resources.storage.max,
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
