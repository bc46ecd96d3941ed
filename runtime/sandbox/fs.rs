//! The files of modules: one folder for each below the data directory, reached only where the manifest asks for it.
//!
//! A path is taken apart here and walked part by part from a handle of the module's folder (cap-std); no part may be a
//! link, so nothing that stands in the folder leads out of it. Files with several names (hard links), devices, sockets and
//! pipes are not opened. A written file is on the disk before the script hears of it, and is replaced as a whole or not at
//! all. As a module's key-value store, its files are shared by its versions and stay when it is unregistered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use replug_scripts::HostError;

mod fault;
mod folder;
mod path;
mod rules;
mod walk;

#[cfg(all(test, unix))]
mod tests;

pub use folder::{Entry, Folder, Kind, Room};
pub use path::FilePath;
pub use rules::FileRules;

/// What a file or folder costs of the storage quota beside its contents, in bytes: empty ones are not free.
pub const ENTRY_COST: u64 = 1024;

/// The most entries of a folder that are listed.
pub const MAX_LISTED: usize = 10_000;

/// The beginning of names that are the runtime's own.
const RESERVED: &str = ".replug-";

/// The files of all modules. Clones share them.
#[derive(Clone, Debug)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    folders: Mutex<HashMap<String, Arc<Folder>>>,
}

impl Files {
    /// The files kept in `dir`, which is made with the first file. Nobody else may write there meanwhile.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { shared: Arc::new(Shared { dir, folders: Mutex::default() }) }
    }

    /// The folder of a module.
    #[must_use]
    pub fn folder(&self, module: &str) -> Arc<Folder> {
        let mut folders = self.shared.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders.get(module) {
            return Arc::clone(folder);
        }
        let folder = Arc::new(Folder::new(self.shared.dir.join(module)));
        folders.insert(module.to_owned(), Arc::clone(&folder));
        folder
    }

    /// Bytes that the files of `module` use of its storage quota. Reads its folders the first time.
    ///
    /// # Errors
    /// `failed` when they cannot be read.
    pub fn used(&self, module: &str) -> Result<u64, HostError> {
        self.folder(module).used()
    }
}
