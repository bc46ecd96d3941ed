//! The data directory: made, and opened for one runtime.

use std::path::Path;

use super::audit::Chronicle;
use super::backup::restore::Untold;
use super::rebuild;
use crate::error::Error;
use crate::monitor::{Aborts, Events};
use crate::store::Store;
use crate::store::audit::{self, AuditLog};

/// A data directory that was opened.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) chronicle: Chronicle,
    /// What was not in order, for those who come after its alarms were raised: whoever hears of events is not there yet.
    pub(super) troubles: Vec<String>,
}

/// The audit log first: it must be there to say what becomes of the store. One that is missing beside a store begins anew
/// with an alarm. A restore that was cut off is gone on with, and a store that is damaged is made anew, also with an alarm.
///
/// # Errors
/// Something cannot be opened, or the store is missing beside a log: to begin anew would forget what was acknowledged.
pub(super) async fn open(data: &Path, events: &Events) -> Result<Opened, Error> {
    let dir = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        make_private(&dir).map_err(|error| Error::Directory {
            path: dir.clone(),
            action: "creating",
            cause: error.to_string(),
        })?;
        let log = AuditLog::open(&dir.join(audit::FOLDER))?;
        let restored = Untold::find(&dir)?;
        let store = dir.join("store");
        let (had_store, entries) = (rebuild::is_there(&dir), log.found().entries);
        if !had_store && entries > 0 {
            return Err(Error::StoreMissing { store, entries });
        }
        let (store, rebuilt) = rebuild::open(&dir, &log)?;
        Ok((store, log, had_store && entries == 0, restored, rebuilt))
    });
    let (store, log, is_new_beside_old, restored, rebuilt) =
        opened.await.map_err(|error| Error::Broken(error.to_string()))??;
    // the log of what was restored begins with that
    let is_new_beside_old = is_new_beside_old && restored.is_none();
    if let Some(restored) = restored {
        restored.tell(data, &log).await?;
    }
    let (chronicle, fault) = Chronicle::begin(log.clone(), events.clone(), is_new_beside_old).await?;
    let mut troubles = Vec::from_iter(fault);
    if let Some(rebuilt) = rebuilt {
        troubles.push(rebuilt.tell(data, &log, events).await?);
    }
    Ok(Opened { store, chronicle, troubles })
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
