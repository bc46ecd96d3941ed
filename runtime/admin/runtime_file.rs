//! `DATA/runtime.json`: where the runtime of a data directory listens.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::private::{self, PrivateFileError};

/// The file's name in the data directory.
const NAME: &str = "runtime.json";

/// What `DATA/runtime.json` holds. It outlives a runtime that was killed, so a reader has to expect that nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFile {
    /// The process.
    pub pid: u32,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
}

impl RuntimeFile {
    /// The file of the data directory `dir`.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Replaces the file in `dir` in one step; only its owner may read it.
    ///
    /// # Errors
    /// It cannot be written; the file that was there stays.
    pub fn write(&self, dir: &Path) -> Result<(), PrivateFileError> {
        let path = Self::path(dir);
        let text = serde_json::to_string(self).map_err(|cause| PrivateFileError::content(&path, cause))?;
        private::write(&path, &format!("{text}\n"))
    }

    /// Reads the file in `dir`.
    ///
    /// # Errors
    /// It is missing (see [`PrivateFileError::is_missing`]), cannot be read, or holds something else.
    pub fn read(dir: &Path) -> Result<Self, PrivateFileError> {
        let path = Self::path(dir);
        let text = private::read(&path)?;
        serde_json::from_str(&text).map_err(|cause| PrivateFileError::content(&path, cause))
    }

    /// Removes the file in `dir` if it is still this one; another runtime's is left alone.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn remove(&self, dir: &Path) -> Result<(), PrivateFileError> {
        match Self::read(dir) {
            Ok(found) if found == *self => {
                let path = Self::path(dir);
                fs::remove_file(&path).map_err(|cause| PrivateFileError::new(&path, "removing", cause))
            }
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn file() -> RuntimeFile {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        RuntimeFile { pid: 42, admin: address(8081), gateway: address(8080) }
    }

    #[test]
    fn the_file_is_read_back_and_holds_pid_and_addresses() {
        let dir = TempDir::new().unwrap();
        assert!(RuntimeFile::read(dir.path()).unwrap_err().is_missing());
        file().write(dir.path()).unwrap();
        assert_eq!(RuntimeFile::read(dir.path()).unwrap(), file());
        let text = fs::read_to_string(dir.path().join("runtime.json")).unwrap();
        assert_eq!(text, "{\"pid\":42,\"admin\":\"127.0.0.1:8081\",\"gateway\":\"127.0.0.1:8080\"}\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no unfinished file is left");
    }

    #[test]
    fn a_runtime_removes_only_its_own_file() {
        let dir = TempDir::new().unwrap();
        file().remove(dir.path()).unwrap();
        RuntimeFile { pid: 43, ..file() }.write(dir.path()).unwrap();
        file().remove(dir.path()).unwrap();
        assert_eq!(RuntimeFile::read(dir.path()).unwrap().pid, 43);
        RuntimeFile { pid: 43, ..file() }.remove(dir.path()).unwrap();
        assert!(RuntimeFile::read(dir.path()).unwrap_err().is_missing());
    }

    #[test]
    fn another_content_is_an_error_that_names_the_file() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("runtime.json"), "{\"pid\":").unwrap();
        let error = RuntimeFile::read(dir.path()).unwrap_err();
        assert!(!error.is_missing() && error.to_string().contains("runtime.json: reading failed"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it_even_where_an_open_file_stood_before() {
        use std::os::unix::fs::PermissionsExt;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("runtime.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        file().write(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
