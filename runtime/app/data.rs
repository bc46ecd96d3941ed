//! The data directory: made, and opened for one runtime.

use std::path::Path;

use super::audit::Chronicle;
use crate::error::Error;
use crate::monitor::Events;
use crate::store::Store;
use crate::store::audit::{self, AuditLog};

/// The audit log first: it must be there to say what becomes of the store.
pub(super) async fn open(data: &Path, events: &Events) -> Result<(Store, Chronicle), Error> {
    let (dir, events) = (data.to_owned(), events.clone());
    let opened = tokio::task::spawn_blocking(move || {
        make_private(&dir).map_err(|error| Error::Directory {
            path: dir.clone(),
            action: "creating",
            cause: error.to_string(),
        })?;
        let log = AuditLog::open(&dir.join(audit::FOLDER))?;
        Ok::<_, Error>((Store::open(&dir.join("store"))?, log))
    });
    let (store, log) = opened.await.map_err(|error| Error::Broken(error.to_string()))??;
    Ok((store, Chronicle::begin(log, events).await?))
}

/// The directory holds tokens, keys and people's data: it is made for its owner alone.
fn make_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
