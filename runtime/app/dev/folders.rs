//! Which folders changed since the last look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::say;
use crate::app::seed::module_dirs;
use crate::registry::Bundle;

/// How often a folder is read again that changed while it was read.
const TRIES: usize = 5;

/// How long to wait before that.
const BETWEEN: Duration = Duration::from_millis(30);

/// The modules' folders, and what each held when it was last looked at.
pub(in crate::app) struct Folders {
    roots: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, String>,
}

impl Folders {
    pub(super) fn new(roots: &[PathBuf]) -> Self {
        Self { roots: roots.to_vec(), seen: BTreeMap::new() }
    }

    /// What changed since the last look, as it is now.
    pub(super) async fn changed(&mut self) -> Vec<(PathBuf, Bundle)> {
        let dirs: Vec<PathBuf> = self.roots.iter().filter_map(|root| module_dirs(root).ok()).flatten().collect();
        self.seen.retain(|dir, _| {
            let stays = dirs.contains(dir);
            if !stays {
                say::line(&format!("{} is gone; what serves from it goes on", dir.display()));
            }
            stays
        });
        let mut changed = Vec::new();
        for dir in dirs {
            match read(&dir).await {
                Ok(bundle) => {
                    let before = self.seen.insert(dir.clone(), bundle.digest().to_owned());
                    if before.is_none_or(|digest| digest != bundle.digest()) {
                        changed.push((dir, bundle));
                    }
                }
                Err(cause) => {
                    if self.seen.insert(dir.clone(), cause.clone()).is_none_or(|before| before != cause) {
                        say::line(&format!("{}: {cause}", dir.display()));
                    }
                }
            }
        }
        changed
    }
}

async fn read(dir: &Path) -> Result<Bundle, String> {
    let mut cause = String::new();
    for _ in 0..TRIES {
        let dir = dir.to_owned();
        match tokio::task::spawn_blocking(move || Bundle::read_dir(&dir)).await {
            Ok(Ok(bundle)) => return Ok(bundle),
            Ok(Err(error)) => cause = error.to_string(),
            Err(error) => cause = error.to_string(),
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(cause)
}
