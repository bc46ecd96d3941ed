//! `serve --dev`: what is saved in a module's folder serves a moment later.
//!
//! | file | what it knows |
//! |---|---|
//! | `watch` | when something in the folders changed, and is quiet again |
//! | `version` | the folder's files as a version of their own, `V+dev.HASH` |
//! | `folders` | which folders changed since the last look |
//! | `lanes` | which swaps run beside each other, and what follows them |
//! | `swap` | from a folder to what serves |
//! | `unwell` | which versions are not well |
//!
//! The version of the manifest itself is never registered here: it stays free for what is released under it. A folder that has
//! faults changes nothing: what serves goes on, and the faults are shown with their places.

mod folders;
mod lanes;
mod say;
mod swap;
mod unwell;
mod version;
mod watch;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Instant;

use super::Runtime;
use folders::Folders;
use lanes::{Lanes, Save};
use watch::Watch;

impl Runtime {
    /// Starts what served before and then what is in the folders, in place of seeding from them: those that something is missing
    /// for are tried again as long as others come up.
    pub(super) async fn begin_development(&self) -> Folders {
        tokio::spawn(unwell::tell(self.events.subscribe()));
        let left = self.engine.resume().await;
        self.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(left);
        let mut folders = Folders::new(&self.seeds);
        let mut lanes = Lanes::new(self);
        begin(&mut folders, &mut lanes, None).await;
        while !lanes.is_idle() {
            lanes.go_on().await;
        }
        folders
    }

    /// Swaps in what is saved, for ever.
    pub(super) async fn develop(&self, mut folders: Folders) -> Infallible {
        let mut watch = Watch::start(&self.seeds);
        if let Some(fault) = watch.fault() {
            say::line(&format!("the folders are looked at every second, since they cannot be watched: {fault}"));
        }
        let mut lanes = Lanes::new(self);
        // what was saved before the watch began
        begin(&mut folders, &mut lanes, Some(Instant::now())).await;
        loop {
            let saved = {
                let mut changed = pin!(watch.changed());
                loop {
                    tokio::select! {
                        saved = &mut changed => break saved,
                        () = lanes.go_on() => {}
                    }
                }
            };
            begin(&mut folders, &mut lanes, Some(saved)).await;
        }
    }
}

/// Begins to swap in what changed.
async fn begin(folders: &mut Folders, lanes: &mut Lanes<'_>, at: Option<Instant>) {
    for (dir, bundle) in folders.changed().await {
        lanes.begin(Save { dir, bundle, at });
    }
}
