//! Files of the data directory that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that tells clients where the runtime is could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {action} failed: {cause}", path.display())]
pub struct PrivateFileError {
    /// The file.
    pub path: PathBuf,
    /// What was tried, such as `reading`.
    pub action: &'static str,
    /// What the system said, or what is wrong with the content.
    pub cause: io::Error,
}

impl PrivateFileError {
    pub(super) fn new(path: &Path, action: &'static str, cause: io::Error) -> Self {
        Self { path: path.to_owned(), action, cause }
    }

    /// The content is not what the file should hold.
    pub(super) fn content(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(path, "reading", io::Error::new(io::ErrorKind::InvalidData, cause))
    }

    /// Whether the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }
}

/// The largest file that is read here, in bytes: they hold a line each.
const MAX_BYTES: u64 = 4096;

/// The text of `path`.
pub(super) fn read(path: &Path) -> Result<String, PrivateFileError> {
    let failed = |cause| PrivateFileError::new(path, "reading", cause);
    let file = File::open(path).map_err(failed)?;
    io::read_to_string(io::Read::take(file, MAX_BYTES)).map_err(failed)
}

/// Replaces `path` by `content`, mode 0600. A reader sees the old file or the new one, and a crash leaves one of them.
pub(super) fn write(path: &Path, content: &str) -> Result<(), PrivateFileError> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{serial}.new", std::process::id()));
    // Left behind by a crash of a process that had this id.
    let _ = fs::remove_file(&new);
    let written = create(&new).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if let Err(cause) = written {
        let _ = fs::remove_file(&new);
        return Err(PrivateFileError::new(path, "writing", cause));
    }
    Ok(())
}

/// Makes `path` if it is missing, mode 0600, and takes everybody else's access to it away if it is there.
#[cfg(feature = "cli")]
pub(super) fn touch(path: &Path) -> Result<(), PrivateFileError> {
    match create(path) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => restrict(path),
        made => made.map(drop).map_err(|cause| PrivateFileError::new(path, "creating", cause)),
    }
}

/// Takes everybody else's access to `path` away.
pub(super) fn restrict(path: &Path) -> Result<(), PrivateFileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path, mode).map_err(|cause| PrivateFileError::new(path, "setting its mode", cause))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // `create_new` follows no link that somebody put there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
