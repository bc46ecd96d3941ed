//! The data directory: made, and opened for one runtime.

use std::path::Path;

use super::audit::Chronicle;
use crate::error::Error;
use crate::monitor::{Aborts, Events};
use crate::store::Store;
use crate::store::audit::{self, AuditLog};

/// The audit log first: it must be there to say what becomes of the store. One that is missing beside a store begins anew
/// with an alarm.
///
/// # Errors
/// Something cannot be opened, or the store is missing beside a log: to begin anew would forget what was acknowledged.
pub(super) async fn open(data: &Path, events: &Events) -> Result<(Store, Chronicle), Error> {
    let (dir, events) = (data.to_owned(), events.clone());
    let opened = tokio::task::spawn_blocking(move || {
        make_private(&dir).map_err(|error| Error::Directory {
            path: dir.clone(),
            action: "creating",
            cause: error.to_string(),
        })?;
        let (store, log) = (dir.join("store"), AuditLog::open(&dir.join(audit::FOLDER))?);
        let (had_store, entries) = (store.is_dir(), log.found().entries);
        if !had_store && entries > 0 {
            return Err(Error::StoreMissing { store, entries });
        }
        Ok((Store::open(&store)?, log, had_store && entries == 0))
    });
    let (store, log, is_new_beside_old) = opened.await.map_err(|error| Error::Broken(error.to_string()))??;
    Ok((store, Chronicle::begin(log, events, is_new_beside_old).await?))
}

/// The file that names who aborted the process.
///
/// # Errors
/// It cannot be opened.
pub(super) fn aborts(data: &Path) -> Result<Aborts, Error> {
    let path = data.join("aborts");
    Aborts::open(&path).map_err(|error| Error::Directory { path, action: "opening", cause: error.to_string() })
}

/// The directory holds tokens, keys and people's data: it is made for its owner alone.
fn make_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
