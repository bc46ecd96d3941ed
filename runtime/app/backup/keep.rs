//! Who asks for backups: administrators by the admin API, and the application around the runtime.

use std::io;
use std::path::{Path, PathBuf};

use super::{BackupError, Made};
use crate::app::Runtime;
use crate::error::Error;
use crate::store::archive::{self, ArchiveError, Contents, Draft};
use crate::store::audit::Who;

impl Runtime {
    /// Writes everything that a runtime is brought back with to `file`, while it serves: see [`restore`](crate::app::restore()). The
    /// file is there whole, looked through and for its owner alone, or not at all; one of that name is replaced. It holds secrets.
    ///
    /// # Errors
    /// Something cannot be read or written, or modules are unregistered, or such with a database activated, again and again meanwhile.
    pub async fn backup(&self, file: impl Into<PathBuf>) -> Result<Contents, Error> {
        let (made, file) = (self.backups.make(Who::Host.into()).await?, file.into());
        let kept = tokio::task::spawn_blocking(move || keep(made, &file)).await;
        Ok(kept.map_err(|error| BackupError::Broken { cause: error.to_string() })??)
    }
}

fn keep(mut made: Made, to: &Path) -> Result<Contents, BackupError> {
    let mut draft = Draft::of(to)?;
    let copied = io::copy(&mut made.file, &mut draft);
    copied.map_err(|error| ArchiveError::Io { path: to.to_owned(), action: "writing", cause: error.to_string() })?;
    draft.put(|written| Ok(archive::verify(written)?))
}

#[cfg(feature = "cli")]
mod admin {
    use async_trait::async_trait;

    use super::BackupError;
    use crate::admin::CommandError;
    use crate::admin::commands::{self, BackupFile};
    use crate::app::backup::Backups;
    use crate::store::audit::By;

    #[async_trait]
    impl commands::Backups for Backups {
        async fn backup(&self, by: By) -> Result<BackupFile, CommandError> {
            let made = self.make(by).await.map_err(|error| match error {
                BackupError::Restless => CommandError::new("busy", error.to_string()),
                error => CommandError::new("backup", error.to_string()),
            })?;
            Ok(BackupFile { file: made.file, hash: made.hash })
        }
    }
}
