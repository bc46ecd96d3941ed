//! When something in the folders changed, and is quiet again.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

/// How long it must be quiet: editors write a file in several steps, and tools many files.
const QUIET: Duration = Duration::from_millis(40);

/// How long changes without end are waited for.
const PATIENCE: Duration = Duration::from_millis(400);

/// How often it is seen whether the folders are still those that are watched: one that was removed and made again takes its watch
/// with it.
const ANYWAY: Duration = Duration::from_secs(1);

/// The watch over some folders.
pub(super) struct Watch {
    roots: Vec<PathBuf>,
    watcher: Result<RecommendedWatcher, String>,
    events: Receiver<()>,
    /// Which of the roots were there when they were last watched.
    there: Vec<Option<u64>>,
}

impl Watch {
    pub(super) fn start(roots: &[PathBuf]) -> Self {
        let (told, events) = channel(1);
        let seen = roots.to_vec();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let counts = |event: &Event| event.paths.is_empty() || event.paths.iter().any(|path| is_shown(&seen, path));
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_)) && counts(&event)) {
                // one that waits tells as much as many; the watch ends with the process
                let _ = told.try_send(());
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

    /// Waits until something may have changed, and says when it began to.
    pub(super) async fn changed(&mut self) -> Instant {
        loop {
            match tokio::time::timeout(ANYWAY, self.events.recv()).await {
                Ok(Some(())) => {
                    let began = Instant::now();
                    let end = began + PATIENCE;
                    while Instant::now() < end
                        && tokio::time::timeout(QUIET, self.events.recv()).await.is_ok_and(|event| event.is_some())
                    {
                    }
                    self.again();
                    return began;
                }
                // a watch that was lost tells nothing: time passes all the same
                Ok(None) => tokio::time::sleep(ANYWAY).await,
                Err(_) => {}
            }
            if self.again() || self.watcher.is_err() {
                return Instant::now();
            }
        }
    }

    /// Watches the roots that are new or were made again; whether there are any, or some went.
    fn again(&mut self) -> bool {
        let Ok(watcher) = &mut self.watcher else { return false };
        let mut changed = false;
        for (root, there) in self.roots.iter().zip(&mut self.there) {
            let now = identity(root);
            if now == *there {
                continue;
            }
            changed = true;
            if now.is_some() {
                let _ = watcher.unwatch(root);
                if watcher.watch(root, RecursiveMode::Recursive).is_err() {
                    continue;
                }
            }
            *there = now;
        }
        changed
    }
}

/// Whether a path below the roots has no hidden part: those are no part of a module, and the data directory, which is written
/// all the time, is one of them.
fn is_shown(roots: &[PathBuf], path: &Path) -> bool {
    let below = roots.iter().find_map(|root| {
        let whole = root.canonicalize().ok();
        path.strip_prefix(root).ok().or_else(|| path.strip_prefix(whole?).ok())
    });
    let hidden =
        |part: Component<'_>| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b"."));
    !below.unwrap_or(path).components().any(hidden)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_below_a_root_does_not_count_and_a_hidden_root_does() {
        let roots = [PathBuf::from("."), PathBuf::from(".mine/modules")];
        for path in ["./a/main.lua", "a/main.lua", ".mine/modules/a/main.lua"] {
            assert!(is_shown(&roots[usize::from(path.starts_with(".mine"))..], Path::new(path)), "{path}");
        }
        for path in ["./.replug/store/db", ".git/HEAD", "./a/.main.lua.swp", ".mine/modules/.x"] {
            assert!(!is_shown(&roots, Path::new(path)), "{path}");
        }
    }
}
