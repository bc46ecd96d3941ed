//! `DATA/admin.token`: the bearer token of the admin API.

use std::io;
use std::path::{Path, PathBuf};

use super::private::{self, PrivateFileError};

/// The file's name in the data directory.
const NAME: &str = "admin.token";

/// Random bytes in a token; twice as many characters.
const BYTES: usize = 32;

/// The token's file in the data directory `dir`.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The token of the data directory `dir`: 64 hexadecimal characters. The first call makes it; a file that holds no token
/// (one that was emptied, say) is replaced. Only its owner may read the file, whatever its mode was before.
///
/// # Errors
/// The file cannot be read or written, or the system gives no random bytes.
pub fn load_or_create(dir: &Path) -> Result<String, PrivateFileError> {
    let path = path(dir);
    match load(dir) {
        Ok(token) => {
            private::restrict(&path)?;
            return Ok(token);
        }
        Err(error) if error.is_missing() || error.cause.kind() == io::ErrorKind::InvalidData => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|cause| PrivateFileError::new(&path, "making a random token", io::Error::other(cause.to_string())))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    private::write(&path, &format!("{token}\n"))?;
    Ok(token)
}

/// The token of `dir`, for a client.
///
/// # Errors
/// The file is missing, cannot be read, or holds no token.
pub fn load(dir: &Path) -> Result<String, PrivateFileError> {
    let path = path(dir);
    let text = private::read(&path)?;
    let token = text.trim();
    if token.len() == 2 * BYTES && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(token.to_owned())
    } else {
        Err(PrivateFileError::content(&path, "it holds no token; restart the runtime to have a new one made"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_differs_between_directories() {
        let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        assert!(load(a.path()).unwrap_err().is_missing());
        let token = load_or_create(a.path()).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(load_or_create(a.path()).unwrap(), token);
        assert_eq!(load(a.path()).unwrap(), token);
        assert_ne!(load_or_create(b.path()).unwrap(), token);
    }

    #[test]
    fn a_file_without_a_token_is_replaced_by_the_server_and_refused_by_the_client() {
        let dir = TempDir::new().unwrap();
        for content in ["", "secret", "\u{0}\u{0}"] {
            fs::write(path(dir.path()), content).unwrap();
            assert!(load(dir.path()).unwrap_err().to_string().contains("restart the runtime"));
            assert_eq!(load_or_create(dir.path()).unwrap().len(), 64);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it_even_if_somebody_opened_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = TempDir::new().unwrap();
        let mode = || fs::metadata(path(dir.path())).unwrap().permissions().mode() & 0o777;
        load_or_create(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(0o644)).unwrap();
        load_or_create(dir.path()).unwrap();
        assert_eq!(mode(), 0o600);
    }
}
