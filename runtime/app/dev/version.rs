//! A folder's files as a version of their own.

use crate::manifest::{self, FILE_NAME, Faults};
use crate::registry::{Bundle, RegistryError};

/// Digits of the hash in a version.
const DIGITS: usize = 12;

/// What stands before them.
const MARK: &str = "dev.";

/// The bundle with `version: V` read as `V+dev.HASH`, HASH being of its files: what was saved twice alike is one version.
///
/// # Errors
/// The manifest has faults.
pub(super) fn of(bundle: &Bundle) -> Result<Bundle, RegistryError> {
    let text = bundle.manifest();
    let loaded = manifest::load(FILE_NAME, text).map_err(RegistryError::Manifest)?;
    let version = loaded.manifest.version.to_string();
    let joint = if loaded.manifest.version.build.is_empty() { '+' } else { '.' };
    let place = loaded.place("version");
    let digest = bundle.digest();
    let marked = format!("{version}{joint}{MARK}{}", &digest[..DIGITS.min(digest.len())]);
    let text = String::from_utf8_lossy(text);
    let replaced = replace(&text, place.line, &version, &marked);
    let replaced = replaced.ok_or_else(|| {
        let message = "`version` is written in a way that --dev cannot follow".to_owned();
        let help = Some(format!("write it on one line: `version: {version}`"));
        RegistryError::Manifest(Faults(vec![loaded.fault("version", message, help)]))
    })?;
    let mut files = bundle.files().clone();
    files.insert(FILE_NAME.to_owned(), replaced.into());
    Bundle::new(files)
}

/// Whether a version was made here.
pub(super) fn is_dev(version: &semver::Version) -> bool {
    let build = version.build.as_str();
    build.split_once(MARK).is_some_and(|(before, hash)| {
        (before.is_empty() || before.ends_with('.'))
            && hash.len() == DIGITS
            && hash.bytes().all(|c| c.is_ascii_hexdigit())
    })
}

/// The text with the first `old` of a line, from 1, replaced.
fn replace(text: &str, line: usize, old: &str, new: &str) -> Option<String> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(start..)?;
    let end = rest.find('\n').unwrap_or(rest.len());
    let at = start + rest[..end].find(old)?;
    Some(format!("{}{new}{}", &text[..at], &text[at + old.len()..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn bundle(manifest: &str) -> Bundle {
        let file = |text: &str| Bytes::from(text.to_owned());
        let files = [(FILE_NAME.to_owned(), file(manifest)), ("main.lua".into(), file("return {}"))];
        Bundle::new(BTreeMap::from(files)).unwrap()
    }

    fn version(manifest: &str) -> semver::Version {
        let made = of(&bundle(manifest)).unwrap();
        manifest::load(FILE_NAME, made.manifest()).unwrap().manifest.version
    }

    #[test]
    fn the_same_files_are_the_same_version_and_others_another() {
        let plain = version("id: a\nversion: 1.2.3\n");
        assert!(plain.to_string().starts_with("1.2.3+dev.") && is_dev(&plain), "{plain}");
        assert_eq!(plain, version("id: a\nversion: 1.2.3\n"));
        assert_ne!(plain, version("id: a\nversion: 1.2.3\n# more\n"));
        assert!(is_dev(&version("id: a\nname: 1.2.3\nversion: \"1.2.3\" # the first\n")));
        assert!(version("{ id: a, version: 1.2.3-rc.1+linux }").to_string().starts_with("1.2.3-rc.1+linux.dev."));
    }

    #[test]
    fn versions_of_others_are_none_of_these() {
        for text in ["1.0.0", "1.0.0+dev", "1.0.0+dev.12", "1.0.0+xdev.0123456789ab", "1.0.0+dev.0123456789xy"] {
            assert!(!is_dev(&text.parse().unwrap()), "{text}");
        }
    }
}
