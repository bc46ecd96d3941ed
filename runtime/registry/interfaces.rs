//! What a newer version no longer offers of a capability, although the capability's version says that it is compatible. Pure.

use std::fmt;

use semver::Version;
use serde::Serialize;

use crate::manifest::{Capability, Interface, Manifest};

/// What a capability lost under a compatible version number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The capability's id.
    pub capability: String,
    /// Its version in the older module version.
    pub from: Version,
    /// Its version in the newer one.
    pub to: Version,
    /// The interface that lacks something.
    pub interface: String,
    /// The methods that are gone; all of the interface's, where it is gone itself.
    pub methods: Vec<String>,
    /// Whether the interface itself is gone.
    pub whole: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, from, to, interface, methods, whole } = self;
        write!(f, "`{capability}` {to} lacks ")?;
        if *whole {
            write!(f, "the interface `{interface}`")?;
        } else {
            let methods: Vec<_> = methods.iter().map(|method| format!("`{interface}.{method}`")).collect();
            write!(f, "{}", methods.join(", "))?;
        }
        write!(f, " that {from} has")
    }
}

/// What `newer` took away from the capabilities of `older` that it still offers in a compatible version.
#[must_use]
pub fn differences(older: &Manifest, newer: &Manifest) -> Vec<Difference> {
    let kept = older.capabilities.iter().filter_map(|before| {
        let after = newer.capabilities.iter().find(|after| after.id == before.id)?;
        is_compatible(&before.version, &after.version).then_some((before, after))
    });
    kept.flat_map(|(before, after)| lost(before, after)).collect()
}

fn lost<'a>(before: &'a Capability, after: &'a Capability) -> impl Iterator<Item = Difference> + 'a {
    before.interfaces.iter().filter_map(|interface| {
        let Interface { name, methods, .. } = interface;
        let same = after.interfaces.iter().find(|other| other.name == *name);
        let gone = |method: &&String| same.is_none_or(|same| !same.methods.contains(method));
        let methods: Vec<String> = methods.iter().filter(gone).cloned().collect();
        (same.is_none() || !methods.is_empty()).then(|| Difference {
            capability: before.id.clone(),
            from: before.version.clone(),
            to: after.version.clone(),
            interface: name.clone(),
            methods,
            whole: same.is_none(),
        })
    })
}

/// Whether who needs `from` can do with `to`, by [semver](https://semver.org): it is not older, and the leftmost number that is not
/// zero is the same. A pre-release promises nothing.
#[must_use]
pub fn is_compatible(from: &Version, to: &Version) -> bool {
    let same = match (from.major, from.minor) {
        (0, 0) => (0, 0, from.patch) == (to.major, to.minor, to.patch),
        (0, minor) => (0, minor) == (to.major, to.minor),
        (major, _) => major == to.major,
    };
    same && from.pre.is_empty() && to.pre.is_empty() && from.cmp_precedence(to).is_le()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(version: &str, interfaces: &str) -> Manifest {
        let text = format!(
            "id: m\nname: M\nversion: 1.0.0\ncapabilities:\n  - {{ id: mail, version: {version}, interfaces: {interfaces} }}\n"
        );
        crate::manifest::load("m", text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}")).manifest
    }

    #[test]
    fn what_is_gone_under_a_compatible_version_is_told() {
        let older = manifest("1.2.0", "[{ name: send, methods: [one, many] }, { name: read, methods: [all] }]");
        let told = |version: &str, interfaces: &str| -> Vec<String> {
            differences(&older, &manifest(version, interfaces)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told("1.3.0", "[{ name: send, methods: [one, all] }]"),
            ["`mail` 1.3.0 lacks `send.many` that 1.2.0 has", "`mail` 1.3.0 lacks the interface `read` that 1.2.0 has"]
        );
        assert_eq!(told("2.0.0", "[]"), [""; 0], "it says so");
        assert_eq!(told("1.1.0", "[]"), [""; 0], "it is the older one");
        assert_eq!(told("1.3.0-rc.1", "[]"), [""; 0]);
        assert_eq!(told("1.2.1", "[{ name: send, methods: [one, many, more] }, { name: read, methods: [all] }]"), [""; 0]);
    }

    #[test]
    fn compatible_is_what_a_caret_allows() {
        for (from, to, expected) in [
            ("1.2.0", "1.9.0", true),
            ("1.2.0", "1.2.0", true),
            ("1.2.0", "1.1.9", false),
            ("1.2.0", "2.0.0", false),
            ("0.2.0", "0.2.5", true),
            ("0.2.0", "0.3.0", false),
            ("0.0.2", "0.0.2", true),
            ("0.0.2", "0.0.3", false),
        ] {
            let [a, b] = [from, to].map(|text| Version::parse(text).unwrap());
            assert_eq!(is_compatible(&a, &b), expected, "{from} {to}");
            let caret = semver::VersionReq::parse(&format!("^{from}")).unwrap();
            assert_eq!(caret.matches(&b), expected, "{from} {to}");
        }
    }
}
