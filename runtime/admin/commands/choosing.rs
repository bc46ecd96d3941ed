//! Who offers a capability, who needs it, and which of several is called.

use super::{CommandError, Commands};
use crate::engine::{CapabilityView, EngineError};

impl Commands {
    /// Each capability with who offers and who needs it, by id.
    #[must_use]
    pub fn capabilities(&self) -> Vec<CapabilityView> {
        self.engine.capabilities()
    }

    /// One of them.
    ///
    /// # Errors
    /// No registered module offers or needs it.
    pub fn capability(&self, id: &str) -> Result<CapabilityView, CommandError> {
        let found = self.engine.capabilities().into_iter().find(|view| view.id == id);
        let unknown = || EngineError::NotOffered { capability: id.to_owned(), module: None, providers: vec![] };
        found.ok_or_else(|| unknown().into())
    }

    /// Chooses the module that is called for a capability; `None`: whichever serves.
    ///
    /// # Errors
    /// The module does not offer it.
    pub async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, CommandError> {
        Ok(self.engine.choose(capability, module).await?)
    }
}
