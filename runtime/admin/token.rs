//! Secrets of a data directory: `DATA/admin.token`, the bearer token of the admin API, and `DATA/webhook.secret`, by which webhooks are
//! signed.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::private::{self, PrivateFileError};

/// The file's name in the data directory.
const NAME: &str = "admin.token";

/// The name of the file with the secret of webhooks.
const WEBHOOK: &str = "webhook.secret";

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
    kept_or_made(&path, load(dir), |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The secret by which the webhooks of the data directory `dir` are signed: `whsec_` and the base64 of 32 bytes, as
/// [Standard Webhooks](https://www.standardwebhooks.com/) has it. It is made and kept as the token is.
///
/// # Errors
/// As [`load_or_create`]; also when the file holds something else, which stays as it is.
pub fn webhook_secret(dir: &Path) -> Result<String, PrivateFileError> {
    let path = dir.join(WEBHOOK);
    let read = private::read(&path).and_then(|text| {
        let secret = text.trim().to_owned();
        let decoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        match decoded {
            Some(bytes) if bytes.len() >= 24 => Ok(secret),
            _ => Err(PrivateFileError::content(
                &path,
                "it holds no secret of the form whsec_BASE64, of 24 bytes or more; correct it, or delete it to have one made",
            )),
        }
    });
    // somebody wrote it, and receivers may know it: one of ours in its place would be refused by all of them
    if read.as_ref().is_err_and(|error| error.cause.kind() == io::ErrorKind::InvalidData) {
        return read;
    }
    kept_or_made(&path, read, |bytes| format!("whsec_{}", STANDARD.encode(bytes)))
}

/// What was read of `path`, or what is made of random bytes and kept there.
fn kept_or_made(
    path: &Path,
    read: Result<String, PrivateFileError>,
    text: impl FnOnce(&[u8]) -> String,
) -> Result<String, PrivateFileError> {
    match read {
        Ok(kept) => {
            private::restrict(path)?;
            return Ok(kept);
        }
        Err(error) if error.is_missing() || error.cause.kind() == io::ErrorKind::InvalidData => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|cause| PrivateFileError::new(path, "making a random secret", io::Error::other(cause.to_string())))?;
    let made = text(&bytes);
    private::write(path, &format!("{made}\n"))?;
    Ok(made)
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

    #[test]
    fn a_secret_of_webhooks_is_made_once_and_one_that_somebody_gave_is_kept() {
        let dir = TempDir::new().unwrap();
        let secret = webhook_secret(dir.path()).unwrap();
        assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
        assert_eq!(webhook_secret(dir.path()).unwrap(), secret);
        let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        fs::write(dir.path().join(WEBHOOK), format!("{given}\n")).unwrap();
        assert_eq!(webhook_secret(dir.path()).unwrap(), given);
        for wrong in ["whsec_short", "a secret", ""] {
            fs::write(dir.path().join(WEBHOOK), wrong).unwrap();
            let error = webhook_secret(dir.path()).unwrap_err().to_string();
            assert!(error.contains("correct it, or delete it"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(WEBHOOK)).unwrap(), wrong, "it stays");
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
