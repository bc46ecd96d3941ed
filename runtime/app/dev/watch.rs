//! When something in the folders changed, and is quiet again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long it must be quiet: editors write a file in several steps, and tools many files.
const QUIET: Duration = Duration::from_millis(40);

/// How long changes without end are waited for.
const PATIENCE: Duration = Duration::from_millis(400);

/// How often the folders are looked at anyway: a folder that was removed and made again takes its watch with it, and some
/// file systems tell nothing.
const ANYWAY: Duration = Duration::from_secs(1);

/// The watch over some folders.
pub(super) struct Watch {
    roots: Vec<PathBuf>,
    watcher: Result<RecommendedWatcher, String>,
    events: UnboundedReceiver<()>,
    /// Which of the roots were there when they were last watched.
    there: Vec<Option<u64>>,
}

impl Watch {
    pub(super) fn start(roots: &[PathBuf]) -> Self {
        let (told, events) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                // the watch ends with the process
                let _ = told.send(());
            }
        });
        let watcher = watcher.map_err(|error| error.to_string());
        let mut watch = Self { roots: roots.to_vec(), watcher, events, there: vec![None; roots.len()] };
        watch.again();
        watch
    }

    /// Why there is no watch, if there is none.
    pub(super) fn fault(&self) -> Option<&str> {
        self.watcher.as_ref().err().map(String::as_str)
    }

    /// Waits until something may have changed, and says when it began to. It also returns without a change, now and then.
    pub(super) async fn changed(&mut self) -> Instant {
        let began = match tokio::time::timeout(ANYWAY, self.events.recv()).await {
            Ok(Some(())) => {
                let began = Instant::now();
                let end = began + PATIENCE;
                while Instant::now() < end
                    && tokio::time::timeout(QUIET, self.events.recv()).await.is_ok_and(|event| event.is_some())
                {
                }
                began
            }
            Ok(None) => {
                tokio::time::sleep(ANYWAY).await;
                Instant::now()
            }
            Err(_) => Instant::now(),
        };
        self.again();
        began
    }

    /// Watches the roots that are new or were made again.
    fn again(&mut self) {
        let Ok(watcher) = &mut self.watcher else { return };
        for (root, there) in self.roots.iter().zip(&mut self.there) {
            let now = identity(root);
            if now.is_some() && now != *there {
                let _ = watcher.unwatch(root);
                if watcher.watch(root, RecursiveMode::Recursive).is_err() {
                    continue;
                }
            }
            *there = now;
        }
    }
}

/// What tells a folder from another one of its name; nothing if it is not there.
fn identity(path: &Path) -> Option<u64> {
    let metadata = path.metadata().ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Some(metadata.ino())
    }
    #[cfg(not(unix))]
    {
        let made = metadata.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(made.as_nanos()).ok()
    }
}
