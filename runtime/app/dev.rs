//! `serve --dev`: what is saved in a module's folder serves a moment later.
//!
//! | file | what it knows |
//! |---|---|
//! | `watch` | when something in the folders changed, and is quiet again |
//! | `version` | the folder's files as a version of their own, `V+dev.HASH` |
//! | `folders` | which folders changed since the last look, and what came of each |
//! | `swap` | from a folder to what serves |
//!
//! The version of the manifest itself is never registered here: it stays free for what is released under it. A folder that has
//! faults changes nothing: what serves goes on, and the faults are shown with their places.

mod folders;
mod say;
mod swap;
mod version;
mod watch;

use std::convert::Infallible;
use std::time::Instant;

use super::Runtime;
use folders::Folders;
use watch::Watch;

impl Runtime {
    /// Starts what served before and then what is in the folders, in place of seeding from them.
    pub(super) async fn begin_development(&self) -> Folders {
        let left = self.engine.resume().await;
        self.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(left);
        let mut folders = Folders::new(&self.seeds);
        folders.start(self).await;
        folders
    }

    /// Swaps in what is saved, for ever.
    pub(super) async fn develop(&self, mut folders: Folders) -> Infallible {
        let mut watch = Watch::start(&self.seeds);
        if let Some(fault) = watch.fault() {
            say::line(&format!("the folders are looked at every second, since they cannot be watched: {fault}"));
        }
        // what was saved before the watch began
        folders.look(self, Instant::now()).await;
        loop {
            let saved = watch.changed().await;
            folders.look(self, saved).await;
        }
    }
}
