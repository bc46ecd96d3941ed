//! The verb `backup`.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;

use super::{CommandError, Commands};
use crate::store::audit::By;

/// Makes backups of a runtime.
#[async_trait]
pub trait Backups: Send + Sync + 'static {
    /// Makes one; the audit log has it by then.
    ///
    /// # Errors
    /// Why there is none.
    async fn backup(&self, by: By) -> Result<BackupFile, CommandError>;
}

/// A backup that was made.
#[derive(Debug)]
pub struct BackupFile {
    /// It, at its beginning. It stands in no folder and goes when this is dropped.
    pub file: File,
    /// The checksum at its end, in hexadecimal digits.
    pub hash: String,
}

impl Commands {
    /// The same commands for a runtime that makes backups.
    #[must_use]
    pub fn with_backups(self, backups: impl Backups) -> Self {
        Self { backups: Some(Arc::new(backups)), ..self }
    }

    /// Makes a backup of everything that the runtime is brought back with.
    ///
    /// # Errors
    /// Something could not be read or written; `busy` where modules are unregistered again and again meanwhile.
    pub async fn backup(&self) -> Result<BackupFile, CommandError> {
        match &self.backups {
            Some(backups) => backups.backup(self.by.clone()).await,
            None => Err(CommandError::new("internal", "this runtime makes no backups")),
        }
    }
}
