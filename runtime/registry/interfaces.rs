//! What a newer version no longer offers, although a version number says that it is compatible: the capability's of what is in
//! it, the module's of the capability itself. Pure.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::manifest::{Capability, Interface, Manifest};

/// What was lost under a compatible version number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The capability's id.
    pub capability: String,
    /// Its version in the older module version.
    pub from: Version,
    /// Its version in the newer one; none: it is not offered any more.
    pub to: Option<Version>,
    /// What is lost of it.
    pub lost: Lost,
}

/// What is lost of a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Lost {
    /// All of it, or its version went down, so that who needs the higher one finds none.
    Capability,
    /// An interface.
    Interface {
        /// Its name.
        interface: String,
    },
    /// Methods of an interface.
    Methods {
        /// Its name.
        interface: String,
        /// The methods.
        methods: Vec<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, from, to, lost } = self;
        let Some(to) = to else { return write!(f, "`{capability}` {from} is not offered any more") };
        match lost {
            Lost::Capability => write!(f, "`{capability}` goes down from {from} to {to}"),
            Lost::Interface { interface } => {
                write!(f, "`{capability}` {to} lacks the interface `{interface}` that {from} has")
            }
            Lost::Methods { interface, methods } => {
                let methods: Vec<_> = methods.iter().map(|method| format!("`{interface}.{method}`")).collect();
                write!(f, "`{capability}` {to} lacks {} that {from} has", methods.join(", "))
            }
        }
    }
}

/// What `newer` took away from the capabilities of `older`: whole ones, where the module's version says that it is compatible,
/// and parts of those whose own version does.
#[must_use]
pub fn differences(older: &Manifest, newer: &Manifest) -> Vec<Difference> {
    let keeps = is_compatible(&older.version, &newer.version);
    let mut found = Vec::new();
    for before in &older.capabilities {
        let after = newer.capabilities.iter().find(|after| after.id == before.id);
        let is_less = after.is_none_or(|after| after.version.cmp_precedence(&before.version).is_lt());
        match after {
            _ if keeps && is_less => found.push(Difference {
                capability: before.id.clone(),
                from: before.version.clone(),
                to: after.map(|after| after.version.clone()),
                lost: Lost::Capability,
            }),
            Some(after) if is_compatible(&before.version, &after.version) => found.extend(lost(before, after)),
            _ => {}
        }
    }
    found
}

fn lost<'a>(before: &'a Capability, after: &'a Capability) -> impl Iterator<Item = Difference> + 'a {
    before.interfaces.iter().filter_map(|interface| {
        let Interface { name, methods, .. } = interface;
        let interface = name.clone();
        let lost = match after.interfaces.iter().find(|other| other.name == *name) {
            None => Lost::Interface { interface },
            Some(same) => {
                let gone = methods.iter().filter(|method| !same.methods.contains(method));
                Lost::Methods { interface, methods: gone.cloned().collect() }
            }
        };
        let is_nothing = matches!(&lost, Lost::Methods { methods, .. } if methods.is_empty());
        (!is_nothing).then(|| Difference {
            capability: before.id.clone(),
            from: before.version.clone(),
            to: Some(after.version.clone()),
            lost,
        })
    })
}

/// Two versions of a module that cannot both keep what they promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{id}@{version} and {id}@{other}, which is registered, contradict each other: {}; offer it again, or say that something is lost: \
     raise the capability's version, or the module's where the whole capability is gone or goes down",
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
)]
pub struct Contradiction {
    /// The module.
    pub id: String,
    /// The version that was to be registered.
    pub version: Version,
    /// The one that is.
    pub other: Version,
    /// What is lost.
    pub differences: Vec<Difference>,
}

/// The registered version that this one contradicts, and how: of two versions of a module the newer one lacks what the older one
/// offers, although the capability's version says that nothing is lost. What has build metadata or is a pre-release promises
/// nothing, so that a module that is being written can be changed freely.
pub(super) fn contradiction<'a>(
    offered: &Manifest,
    registered: impl DoubleEndedIterator<Item = &'a Manifest>,
) -> Option<Contradiction> {
    let promises = |version: &Version| version.pre.is_empty() && version.build.is_empty();
    if !promises(&offered.version) {
        return None;
    }
    // the nearest of several is the one to compare with, and it is among the newest
    registered.rev().filter(|other| promises(&other.version)).find_map(|other| {
        let (older, newer) = if other.version < offered.version { (other, offered) } else { (offered, other) };
        let differences = differences(older, newer);
        let (id, version, other) = (offered.id.clone(), offered.version.clone(), other.version.clone());
        (!differences.is_empty()).then(|| Contradiction { id, version, other, differences })
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
        module("1.0.0", &format!("{{ id: mail, version: {version}, interfaces: {interfaces} }}"))
    }

    fn module(version: &str, capability: &str) -> Manifest {
        let text = format!("id: m\nname: M\nversion: {version}\ncapabilities: [{capability}]\n");
        crate::manifest::load("m", text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}")).manifest
    }

    #[test]
    fn a_capability_that_is_gone_or_goes_down_under_a_compatible_module_version_is_told() {
        let older = module("1.0.0", "{ id: mail, version: 1.2.0 }");
        let told = |version: &str, capability: &str| -> Vec<String> {
            differences(&older, &module(version, capability)).iter().map(ToString::to_string).collect()
        };
        for version in ["1.0.1", "1.1.0"] {
            assert_eq!(told(version, ""), ["`mail` 1.2.0 is not offered any more"]);
            assert_eq!(told(version, "{ id: post, version: 1.2.0 }"), ["`mail` 1.2.0 is not offered any more"]);
            assert_eq!(told(version, "{ id: mail, version: 1.1.0 }"), ["`mail` goes down from 1.2.0 to 1.1.0"]);
            assert_eq!(told(version, "{ id: mail, version: 0.9.0 }"), ["`mail` goes down from 1.2.0 to 0.9.0"]);
            assert_eq!(told(version, "{ id: mail, version: 2.0.0 }"), [""; 0], "the capability says so itself");
            assert_eq!(told(version, "{ id: mail, version: 1.2.0 }"), [""; 0]);
        }
        for version in ["2.0.0", "0.9.0", "1.1.0-rc.1"] {
            assert_eq!(told(version, ""), [""; 0], "{version} promises nothing of 1.0.0");
            assert_eq!(told(version, "{ id: mail, version: 1.1.0 }"), [""; 0], "{version}");
        }
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
        assert_eq!(told("1.1.0", "[]"), ["`mail` goes down from 1.2.0 to 1.1.0"]);
        assert_eq!(told("1.3.0-rc.1", "[]"), [""; 0]);
        assert_eq!(
            told("1.2.1", "[{ name: send, methods: [one, many, more] }, { name: read, methods: [all] }]"),
            [""; 0]
        );
    }

    #[test]
    fn a_version_contradicts_what_is_registered_only_where_both_promise_something() {
        let of = |version: &str, interfaces: &str| {
            let capability = format!("capabilities:\n  - {{ id: mail, version: 1.0.0, interfaces: {interfaces} }}\n");
            let text = format!("id: m\nname: M\nversion: {version}\n{capability}");
            crate::manifest::load("m", text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}")).manifest
        };
        let (full, less) = ("[{ name: send, methods: [one, many] }]", "[{ name: send, methods: [one] }]");
        let against = |offered: Manifest, registered: &[Manifest]| {
            contradiction(&offered, registered.iter()).map(|it| format!("{}: {}", it.other, it.differences[0]))
        };
        let lost = "`mail` 1.0.0 lacks `send.many` that 1.0.0 has";
        let registered = [of("1.0.0", full), of("1.1.0", full)];
        assert_eq!(against(of("1.2.0", less), &registered), Some(format!("1.1.0: {lost}")));
        assert_eq!(against(of("1.2.0", full), &registered), None);
        assert_eq!(against(of("1.0.0", full), &[of("1.1.0", less)]), Some(format!("1.1.0: {lost}")), "it came first");
        for draft in ["1.2.0-rc.1", "1.1.0+dev.abc"] {
            assert_eq!(against(of(draft, less), &registered), None, "{draft}");
            assert_eq!(against(of("1.2.0", full), &[of(draft, less)]), None, "{draft}");
        }
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
