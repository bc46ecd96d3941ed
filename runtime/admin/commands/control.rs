//! What the commands ask of the engine, as a port: a test or another front end can stand in for it.

use std::sync::Arc;

use async_trait::async_trait;
use semver::Version;

use crate::engine::{
    ActivationReport, CapabilityView, ConfirmReport, DeactivationReport, Engine, EngineError, Evaluated, Forecast,
    HealthView, HistoryEntry, Order, SlotView, SteerReport, VersionState,
};
use crate::manifest::ActivationStrategy;
use crate::registry::resolver::Running;
use crate::sandbox::permissions::PermissionManager;

/// The engine as the commands see it; each method is that of [`Engine`].
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// See [`Engine::activate`].
    ///
    /// # Errors
    /// As there.
    async fn activate(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError>;

    /// See [`Engine::activate_set`].
    ///
    /// # Errors
    /// As there.
    async fn activate_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError>;

    /// See [`Engine::forecast_set`].
    ///
    /// # Errors
    /// As there.
    async fn forecast_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError>;

    /// See [`Engine::forecast`].
    ///
    /// # Errors
    /// As there.
    async fn forecast(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError>;

    /// See [`Engine::refusals`].
    ///
    /// # Errors
    /// As there.
    async fn refusals(&self, id: &str, version: &Version) -> Result<Vec<EngineError>, EngineError>;

    /// See [`Engine::deactivate`].
    ///
    /// # Errors
    /// As there.
    async fn deactivate(&self, id: &str) -> Result<DeactivationReport, EngineError>;

    /// See [`Engine::rollback`].
    ///
    /// # Errors
    /// As there.
    async fn rollback(&self, id: &str, to: Option<&Version>) -> Result<ActivationReport, EngineError>;

    /// See [`Engine::confirm`].
    ///
    /// # Errors
    /// As there.
    async fn confirm(&self, id: &str) -> Result<ConfirmReport, EngineError>;

    /// See [`Engine::steer`].
    ///
    /// # Errors
    /// As there.
    async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, EngineError>;

    /// See [`Engine::capabilities`].
    fn capabilities(&self) -> Vec<CapabilityView>;

    /// See [`Engine::choose`].
    ///
    /// # Errors
    /// As there.
    async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, EngineError>;

    /// See [`Engine::history`].
    ///
    /// # Errors
    /// As there.
    async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryEntry>, EngineError>;

    /// See [`Engine::unregister`].
    ///
    /// # Errors
    /// As there.
    async fn unregister(&self, id: &str, version: Option<&Version>) -> Result<Vec<Version>, EngineError>;

    /// See [`Engine::evaluate`].
    ///
    /// # Errors
    /// As there.
    async fn evaluate(&self, id: &str, code: &str) -> Result<Evaluated, EngineError>;

    /// See [`Engine::asked_in`]. `None`: it does not tell requests apart.
    fn asked_in(&self, _request: &Arc<str>) -> Option<Arc<dyn Control>> {
        None
    }

    /// See [`Engine::running`].
    fn running(&self) -> Running;

    /// See [`Engine::slots`].
    fn slots(&self) -> Vec<SlotView>;

    /// See [`Engine::health`].
    fn health(&self) -> Vec<HealthView>;

    /// See [`Engine::state`].
    fn state(&self, id: &str, version: &Version) -> VersionState;

    /// See [`Engine::permissions`].
    fn permissions(&self) -> &PermissionManager;
}

#[async_trait]
impl Control for Engine {
    async fn activate(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        Self::activate(self, id, version, strategy).await
    }

    async fn forecast(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        Self::forecast(self, id, version, strategy).await
    }

    async fn activate_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<ActivationReport, EngineError> {
        Self::activate_set(self, members, strategy).await
    }

    async fn forecast_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        Self::forecast_set(self, members, strategy).await
    }

    async fn refusals(&self, id: &str, version: &Version) -> Result<Vec<EngineError>, EngineError> {
        Self::refusals(self, id, version, None).await
    }

    async fn deactivate(&self, id: &str) -> Result<DeactivationReport, EngineError> {
        Self::deactivate(self, id).await
    }

    async fn rollback(&self, id: &str, to: Option<&Version>) -> Result<ActivationReport, EngineError> {
        Self::rollback(self, id, to).await
    }

    async fn confirm(&self, id: &str) -> Result<ConfirmReport, EngineError> {
        Self::confirm(self, id).await
    }

    async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, EngineError> {
        Self::steer(self, id, order).await
    }

    fn capabilities(&self) -> Vec<CapabilityView> {
        Self::capabilities(self)
    }

    async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, EngineError> {
        Self::choose(self, capability, module).await
    }

    async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryEntry>, EngineError> {
        Self::history(self, id, limit).await
    }

    async fn unregister(&self, id: &str, version: Option<&Version>) -> Result<Vec<Version>, EngineError> {
        Self::unregister(self, id, version).await
    }

    async fn evaluate(&self, id: &str, code: &str) -> Result<Evaluated, EngineError> {
        Self::evaluate(self, id, code).await
    }

    fn asked_in(&self, request: &Arc<str>) -> Option<Arc<dyn Control>> {
        Some(Arc::new(Self::asked_in(self, request)))
    }

    fn running(&self) -> Running {
        Self::running(self)
    }

    fn slots(&self) -> Vec<SlotView> {
        Self::slots(self)
    }

    fn health(&self) -> Vec<HealthView> {
        Self::health(self)
    }

    fn state(&self, id: &str, version: &Version) -> VersionState {
        Self::state(self, id, version)
    }

    fn permissions(&self) -> &PermissionManager {
        Self::permissions(self)
    }
}
