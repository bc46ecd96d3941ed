//! What modules may reach and what they use, for the application around a runtime.

use std::str::FromStr;
use std::sync::Arc;

use super::Runtime;
use crate::error::Error;
use crate::registry::versions::ModuleRef;
use crate::sandbox::permissions::{Decided, Permission, PermissionManager, PermissionsView, Ruling};
use crate::sandbox::tracker::ModuleUsage;
use crate::store::audit::Who;

impl Runtime {
    /// The permission manager: what modules ask for, what they may, and what was decided.
    #[must_use]
    pub fn permissions(&self) -> &PermissionManager {
        self.engine.permissions()
    }

    /// What a module uses of memory, processor, network and disk; zeros for one that never ran.
    #[must_use]
    pub fn usage(&self, id: &str) -> ModuleUsage {
        self.tracker.usage(id)
    }

    /// What `ID@VERSION`, or the newest version of `ID`, asks for and what is given of it.
    ///
    /// # Errors
    /// No such version.
    pub fn asked(&self, module: &str) -> Result<PermissionsView, Error> {
        let wanted = ModuleRef::from_str(module)?;
        let definition = Arc::clone(self.registry.snapshot().resolve(&wanted)?);
        Ok(self.permissions().show(&definition.manifest))
    }

    /// Grants all that waits of `ID@VERSION`, or of the newest version of `ID`, and says what that was. It does not activate
    /// the version.
    ///
    /// # Errors
    /// No such version, or it could not be written; nothing is granted then.
    pub async fn grant(&self, module: &str) -> Result<Vec<Decided>, Error> {
        self.decide(module, Ruling::Grant, &[]).await
    }

    /// Decides about permissions that `ID@VERSION`, or the newest version of `ID`, asks for: see
    /// [`PermissionManager::decide`].
    ///
    /// # Errors
    /// No such version, it does not ask for one of them, or it could not be written; nothing is decided then.
    pub async fn decide(
        &self,
        module: &str,
        ruling: Ruling,
        permissions: &[Permission],
    ) -> Result<Vec<Decided>, Error> {
        let wanted = ModuleRef::from_str(module)?;
        let definition = Arc::clone(self.registry.snapshot().resolve(&wanted)?);
        Ok(self.permissions().decide(&definition.manifest, ruling, permissions, Who::Host).await?)
    }
}
