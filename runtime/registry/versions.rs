//! Versions: how people name them, which one is meant, which may follow which. Pure.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

use super::RegistryError;
use crate::manifest::Manifest;

/// The longest reference that is read, in bytes.
const MAX_REFERENCE: usize = 512;

/// `ID` or `ID@VERSION`, as commands take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleRef {
    /// The module's id.
    pub id: String,
    /// The version; `None` leaves the choice to the command.
    pub version: Option<Version>,
}

impl FromStr for ModuleRef {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let (id, version) = split(text, "ID or ID@VERSION, such as `reports@1.2.0`")?;
        let parse = |version: &str| {
            Version::parse(version).map_err(|error| {
                refused(text, format!("has no full version after the @ ({error}); write one such as `{id}@1.2.0`"))
            })
        };
        Ok(Self { id: id.to_owned(), version: version.map(parse).transpose()? })
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => f.write_str(&self.id),
            Some(version) => write!(f, "{}@{version}", self.id),
        }
    }
}

/// `ID` or `ID@RANGE`: a module in any version of a range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The module's id.
    pub id: String,
    /// The versions that will do.
    pub range: VersionReq,
}

impl FromStr for Requirement {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let (id, range) = split(text, "ID or ID@RANGE, such as `reports@>=1.2`")?;
        let parse = |range: &str| {
            VersionReq::parse(range).map_err(|error| {
                refused(text, format!("has no version range after the @ ({error}); write one such as `{id}@>=1.2`"))
            })
        };
        Ok(Self { id: id.to_owned(), range: range.map(parse).transpose()?.unwrap_or(VersionReq::STAR) })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.range)
    }
}

fn split<'a>(text: &'a str, form: &str) -> Result<(&'a str, Option<&'a str>), RegistryError> {
    if text.len() > MAX_REFERENCE {
        let start: String = text.chars().take(40).collect();
        return Err(refused(&start, format!("and so on is longer than {MAX_REFERENCE} bytes; write {form}")));
    }
    let (id, rest) = match text.split_once('@') {
        Some((id, rest)) => (id, Some(rest)),
        None => (text, None),
    };
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !id.split('.').all(is_part) {
        return Err(refused(
            text,
            format!("names no module: an id has lower-case letters, digits, - and dots; write {form}"),
        ));
    }
    Ok((id, rest))
}

fn refused(text: &str, reason: String) -> RegistryError {
    RegistryError::Reference { text: text.to_owned(), reason }
}

/// The newest of some versions, each with the sequence number of its registration, see [`by_age`].
pub fn newest<'a>(versions: impl IntoIterator<Item = (&'a Version, u64)>) -> Option<&'a Version> {
    versions.into_iter().max_by(|a, b| by_age(*a, *b)).map(|(version, _)| version)
}

/// Which of two versions is newer, each with the sequence number of its registration: the higher by semver's precedence, after
/// all pre-releases. Build metadata does not count there, so of `1.0.0+dev.x` and `1.0.0+dev.y` it is the one registered later.
#[must_use]
pub fn by_age(a: (&Version, u64), b: (&Version, u64)) -> Ordering {
    let stable = a.0.pre.is_empty().cmp(&b.0.pre.is_empty());
    stable.then_with(|| a.0.cmp_precedence(b.0)).then_with(|| a.1.cmp(&b.1))
}

/// Whether `to` may take over from version `from` of the same module directly: `lifecycle.updates.compatibility` names the
/// versions that a version can follow, and without an entry for it any will do. With `updates.supported: false` a version
/// follows none but itself.
#[must_use]
pub fn can_follow(to: &Manifest, from: &Version) -> bool {
    let updates = &to.lifecycle.updates;
    if to.version == *from {
        return true;
    }
    updates.supported && updates.compatibility.get(&to.version).is_none_or(|range| range.matches(from))
}

/// The versions to activate in turn to get from `from` to `to`, `to` included: one step if it can follow directly,
/// otherwise the first of `lifecycle.updates.migrationPaths` that leads there; such a way leads up, never down. `None`: there is
/// no way. Whether the versions between can follow each other is said by their own manifests, see
/// [`Snapshot::way`](super::Snapshot::way).
#[must_use]
pub fn way(to: &Manifest, from: &Version) -> Option<Vec<Version>> {
    if can_follow(to, from) {
        return Some(vec![to.version.clone()]);
    }
    let updates = &to.lifecycle.updates;
    let path = updates.migration_paths.iter().find(|path| path.to == to.version && path.from.matches(from));
    let path = path.filter(|_| updates.supported && *from < to.version)?;
    // Whoever stopped on the way goes on from there; whoever is past its last stop was never on it.
    let last = path.via.last().filter(|last| *last >= from)?;
    let rest = path.via.iter().filter(|version| *version > from && *version <= last).cloned();
    Some(rest.chain([to.version.clone()]).collect())
}

/// Versions as people read them: `1.0.0, 1.1.0`; of many, the last ten.
pub(super) fn list<'a>(versions: impl IntoIterator<Item = &'a Version>) -> String {
    let all: Vec<String> = versions.into_iter().map(ToString::to_string).collect();
    match all.len().checked_sub(10) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} older", all[more..].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn references_are_read_and_written_back() {
        for text in ["a", "analytics-advanced", "a.b-c.1@1.2.0", "a@1.0.0-rc.1+dev.0a"] {
            assert_eq!(text.parse::<ModuleRef>().unwrap().to_string(), text);
        }
        assert_eq!("a@>=1, <3".parse::<Requirement>().unwrap().to_string(), "a@>=1, <3");
        assert_eq!("a".parse::<Requirement>().unwrap().range, VersionReq::STAR);
    }

    #[test]
    fn a_bad_reference_says_what_is_wrong_and_how_to_write_it() {
        let check = |text: &str, expected: &str| {
            let message = text.parse::<ModuleRef>().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("", "names no module");
        check("A", "names no module");
        check("a..b", "names no module");
        check("../x@1.0.0", "names no module");
        check("a@", "write one such as `a@1.2.0`");
        check("a@1.2", "write one such as `a@1.2.0`");
        check("a@1.2.0@3", "no full version");
        check(&"ä".repeat(400), "longer than 512 bytes");
        let message = "a@new".parse::<Requirement>().unwrap_err().to_string();
        assert!(message.contains("write one such as `a@>=1.2`"), "{message}");
    }

    #[test]
    fn the_newest_is_the_highest_stable_one() {
        let check = |versions: &[&str], expected: Option<&str>| {
            let versions: Vec<_> = versions.iter().map(|text| version(text)).collect();
            let found = newest(versions.iter().zip(1..)).map(ToString::to_string);
            assert_eq!(found.as_deref(), expected);
        };
        check(&[], None);
        check(&["1.9.0", "1.10.0", "2.0.0-rc.1"], Some("1.10.0"));
        check(&["2.0.0-rc.2", "2.0.0-rc.10", "2.0.0-beta"], Some("2.0.0-rc.10"));
        check(&["1.0.0+dev.f", "1.0.0+dev.a"], Some("1.0.0+dev.a"));
        check(&["1.0.0+dev.f", "0.9.0"], Some("1.0.0+dev.f"));
    }

    #[test]
    fn long_lists_are_cut_to_the_newest() {
        let versions: Vec<_> = (0..12).map(|n| Version::new(1, n, 0)).collect();
        assert_eq!(list(&versions[..2]), "1.0.0, 1.1.0");
        assert!(list(&versions).starts_with("1.2.0, ") && list(&versions).ends_with("1.11.0 and 2 older"));
    }

    fn manifest(updates: &str) -> Manifest {
        let text = format!("id: m\nname: M\nversion: 2.0.0\nlifecycle:\n  updates: {updates}\n");
        crate::manifest::load("m", text.as_bytes()).unwrap().manifest
    }

    #[test]
    fn which_version_may_follow_which_is_what_the_manifest_says() {
        let open = manifest("{ supported: true }");
        assert!(can_follow(&open, &version("0.1.0")));
        let closed = manifest("{ supported: false }");
        assert!(!can_follow(&closed, &version("1.9.0")) && can_follow(&closed, &version("2.0.0")));
        assert_eq!(way(&closed, &version("1.9.0")), None);

        let strict = manifest(
            r#"{ compatibility: { "2.0.0": ">=1.5" }, migrationPaths: [{ from: "^1", via: [1.4.0, 1.5.0], to: 2.0.0 }] }"#,
        );
        assert!(can_follow(&strict, &version("1.5.0")) && !can_follow(&strict, &version("1.4.0")));
        let texts = |way: Option<Vec<Version>>| way.map(|way| list(&way));
        assert_eq!(texts(way(&strict, &version("1.6.0"))).as_deref(), Some("2.0.0"));
        assert_eq!(texts(way(&strict, &version("1.0.0"))).as_deref(), Some("1.4.0, 1.5.0, 2.0.0"));
        assert_eq!(texts(way(&strict, &version("1.4.0"))).as_deref(), Some("1.5.0, 2.0.0"));
        assert_eq!(way(&strict, &version("0.9.0")), None);

        let narrow = manifest(
            r#"{ compatibility: { "2.0.0": "^1.7" }, migrationPaths: [{ from: ">=1", via: [1.4.0, 1.5.0], to: 2.0.0 }] }"#,
        );
        assert_eq!(texts(way(&narrow, &version("1.5.0"))).as_deref(), Some("2.0.0"), "the path's last stop");
        assert_eq!(way(&narrow, &version("1.6.0")), None, "past the stops, and not in the range");
        assert_eq!(way(&narrow, &version("3.0.0")), None, "a path does not lead down");
        assert_eq!(texts(way(&narrow, &version("1.0.0"))).as_deref(), Some("1.4.0, 1.5.0, 2.0.0"));
    }
}
