//! The modules of the folders that a runtime is started with. They only seed: what the data says of a module counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;

use crate::error::Error;
use crate::manifest;
use crate::monitor::Event;
use crate::registry::RegistryError;
use crate::registry::resolver::{Running, start_order};
use crate::registry::versions::by_age;
use crate::store::audit::Who;

use super::Runtime;

/// The newest version of each module that is to be activated, with the number of its registration.
type Fresh = BTreeMap<String, (Version, u64)>;

impl Runtime {
    /// Registers the modules of the folders, and activates those that have no slot, what is needed before who needs it.
    pub(super) async fn seed(&self) {
        let mut fresh = Fresh::new();
        for dir in &self.seeds {
            if !dir.exists() {
                tracing::warn!(dir = %dir.display(), "there is no such folder, so no module comes from it");
                continue;
            }
            match module_dirs(dir) {
                Ok(dirs) => {
                    for dir in dirs {
                        self.seed_one(&dir, &mut fresh).await;
                    }
                }
                Err(error) => self.alarm(&dir.display().to_string(), &error.to_string()),
            }
        }
        let fresh: Running = fresh.into_iter().map(|(id, (version, _))| (id, version)).collect();
        let order = start_order(&fresh, &self.registry.snapshot()).unwrap_or_else(|cycle| {
            self.alarm("modules", &cycle.to_string());
            fresh.keys().cloned().collect()
        });
        for id in order {
            let Some(version) = fresh.get(&id) else { continue };
            match self.engine.activate(&id, version, None).await {
                Ok(report) if report.outcome.serves() => {}
                Ok(report) => {
                    let reason = report.reason.unwrap_or_default();
                    self.alarm(&format!("{id}@{version}"), &format!("it does not start: {reason}"));
                }
                Err(error) => self.alarm(&format!("{id}@{version}"), &error.to_string()),
            }
        }
    }

    async fn seed_one(&self, dir: &Path, fresh: &mut Fresh) {
        match self.register_by(Who::Runtime, dir.to_owned()).await {
            Ok(done) => {
                let (manifest, seq) = (&done.definition.manifest, done.definition.seq);
                if self.engine.has_slot(&manifest.id) {
                    return;
                }
                // of several versions in the folders the newest is meant
                let own = || (manifest.version.clone(), seq);
                let newest = fresh.entry(manifest.id.clone()).or_insert_with(own);
                if by_age((&newest.0, newest.1), (&manifest.version, seq)).is_lt() {
                    *newest = own();
                }
            }
            Err(Error::Registry(error @ RegistryError::ContentDiffers { .. })) => {
                tracing::warn!(dir = %dir.display(), %error, "a folder's content changed under its version");
            }
            Err(error) => self.alarm(&dir.display().to_string(), &error.to_string()),
        }
    }

    fn alarm(&self, subject: &str, message: &str) {
        let mut troubles = self.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        troubles.push(format!("{subject}: {message}"));
        self.events.emit(Event::Alarm { subject: subject.to_owned(), message: message.to_owned() });
    }
}

/// `dir` itself where it is a module's folder, otherwise the modules' folders in it, by name.
pub(super) fn module_dirs(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    if dir.join(manifest::FILE_NAME).is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let failed =
        |error: std::io::Error| Error::Directory { path: dir.to_owned(), action: "reading", cause: error.to_string() };
    let mut dirs = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.join(manifest::FILE_NAME).is_file() {
            dirs.push(path);
        }
    }
    dirs.sort();
    Ok(dirs)
}
