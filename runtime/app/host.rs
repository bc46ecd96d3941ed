//! The commands of the application around a runtime. The audit log has each of them as done by `host`.

use std::path::PathBuf;
use std::str::FromStr;

use semver::Version;

use super::Runtime;
use crate::engine::{
    ActivationReport, CapabilityView, ConfirmReport, DeactivationReport, HistoryEntry, Order, SlotView, SteerReport,
};
use crate::error::Error;
use crate::monitor::Event;
use crate::registry::versions::ModuleRef;
use crate::registry::{Bundle, Registration};
use crate::store::audit::Who;

impl Runtime {
    /// Registers the module in a folder: its files are copied, and what is done to the folder later changes nothing.
    ///
    /// # Errors
    /// The folder cannot be read, or the registry refuses it: its manifest has faults (all are named), or other content
    /// is registered under its `id@version`.
    pub async fn register(&self, path: impl Into<PathBuf>) -> Result<Registration, Error> {
        self.register_by(Who::Host, path.into()).await
    }

    pub(super) async fn register_by(&self, who: Who, path: PathBuf) -> Result<Registration, Error> {
        let read = tokio::task::spawn_blocking(move || Bundle::read_dir(&path)).await;
        let bundle = read.map_err(|error| Error::Broken(error.to_string()))??;
        self.register_bundle(who, bundle).await
    }

    pub(super) async fn register_bundle(&self, who: Who, bundle: Bundle) -> Result<Registration, Error> {
        let done = self.registry.register_by(who, bundle).await?;
        if done.fresh {
            let manifest = &done.definition.manifest;
            self.events.emit(Event::Registered {
                id: manifest.id.clone(),
                version: manifest.version.to_string(),
                digest: done.definition.digest.clone(),
            });
        }
        Ok(done)
    }

    /// Forgets `ID@VERSION`, or with `ID` alone all versions of the module, and says which. What its modules kept stays.
    ///
    /// # Errors
    /// No such version, one of them runs, or others need it; nothing is forgotten then.
    pub async fn unregister(&self, module: &str) -> Result<Vec<Version>, Error> {
        let ModuleRef { id, version } = ModuleRef::from_str(module)?;
        Ok(self.engine.by(Who::Host).unregister(&id, version.as_ref()).await?)
    }

    /// Takes a module out of service, and returns when the version that served has stopped.
    ///
    /// # Errors
    /// Nothing serves, or running modules need it.
    pub async fn deactivate(&self, id: &str) -> Result<DeactivationReport, Error> {
        Ok(self.engine.by(Who::Host).deactivate(id).await?)
    }

    /// Returns to the previous version of `ID`, or to `ID@VERSION`. As with [`Runtime::activate`], the report says whether
    /// that one serves.
    ///
    /// # Errors
    /// Nothing serves, or there is nothing to return to.
    pub async fn rollback(&self, module: &str) -> Result<ActivationReport, Error> {
        let ModuleRef { id, version } = ModuleRef::from_str(module)?;
        Ok(self.engine.by(Who::Host).rollback(&id, version.as_ref()).await?)
    }

    /// Confirms the version of a module that serves provisionally: from now on it is what a restart starts.
    ///
    /// # Errors
    /// Nothing serves.
    pub async fn confirm(&self, id: &str) -> Result<ConfirmReport, Error> {
        Ok(self.engine.by(Who::Host).confirm(id).await?)
    }

    /// Steers the traffic shift of a module: pauses it, lets it go on, moves it on, or gives it up.
    ///
    /// # Errors
    /// No traffic of the module is being shifted.
    pub async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, Error> {
        Ok(self.engine.by(Who::Host).steer(id, order).await?)
    }

    /// Chooses which module is called for a capability that several offer; `None`: whichever serves, the first by id.
    ///
    /// # Errors
    /// No registered version of the module offers it.
    pub async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, Error> {
        Ok(self.engine.by(Who::Host).choose(capability, module).await?)
    }

    /// The modules that serve, did, or are about to, by id.
    #[must_use]
    pub fn list(&self) -> Vec<SlotView> {
        self.engine.slots()
    }

    /// What was done to a module, newest first, at most `limit` entries; none for a module that is not known.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        Ok(self.engine.history(id, limit).await?)
    }
}
