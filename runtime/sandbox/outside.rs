//! What all modules of a runtime share of the world outside its store.

use std::path::PathBuf;

use tokio::runtime::Handle;

use super::fs::Files;
#[cfg(feature = "http-client")]
use super::net::Network;
use super::quota::storage::Accounts;
use super::quota::turns::Turns;

/// Files, network and what counts them. Clones share everything.
#[derive(Clone)]
pub struct Outside {
    /// The files of modules.
    pub files: Files,
    /// What modules keep on the disk.
    pub accounts: Accounts,
    /// Where names are looked up and whose certificates are trusted.
    #[cfg(feature = "http-client")]
    pub network: Network,
    /// Turns to hash passwords.
    pub passwords: Turns,
    /// Turns for what blocks.
    pub blocking: Turns,
    runtime: Handle,
}

impl Outside {
    /// With the files of modules in `files`; what takes time runs on `runtime`.
    #[must_use]
    pub fn new(files: PathBuf, runtime: Handle) -> Self {
        Self {
            files: Files::new(files),
            accounts: Accounts::default(),
            #[cfg(feature = "http-client")]
            network: Network::default(),
            passwords: Turns::of_passwords(),
            blocking: Turns::of_what_blocks(),
            runtime,
        }
    }

    /// Does what blocks, in nobody's way.
    pub fn behind(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.spawn_blocking(work);
    }
}
