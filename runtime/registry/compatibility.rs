//! Which version of a module may take over from which, and by which way. Pure.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::interfaces::{Difference, differences};
use super::versions::{can_follow, list, way};
use crate::manifest::Manifest;

/// Whether a version can take over from another one of its module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompatibilityResult {
    /// The module.
    pub id: String,
    /// The version that is to take over.
    pub version: Version,
    /// The one that it takes over from.
    pub from: Version,
    /// Whether it can take over as things are: there is a way, and nothing is lost.
    pub compatible: bool,
    /// The way there.
    pub way: Way,
    /// What its capabilities lost under a version number that says otherwise.
    pub differences: Vec<Difference>,
}

/// The way from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Way {
    /// It follows directly.
    Direct,
    /// By these versions, in order, as `lifecycle.updates.migrationPaths` says.
    Through {
        /// The versions between.
        via: Vec<Version>,
    },
    /// The same, but these of them are not registered.
    Missing {
        /// The versions between.
        via: Vec<Version>,
        /// Those that are not registered.
        unregistered: Vec<Version>,
    },
    /// The same, but one of the versions on it cannot follow the one before, by its own manifest.
    Refused {
        /// The versions between.
        via: Vec<Version>,
        /// The version on the way that cannot follow.
        stop: Version,
        /// The one that it would have to follow.
        after: Version,
    },
    /// By `lifecycle.updates` there is none.
    None,
}

impl Snapshot {
    /// Whether this version can take over from `from`.
    #[must_use]
    pub fn version_compatibility(&self, to: &Manifest, from: &Version) -> CompatibilityResult {
        let before = self.get(&to.id, from);
        let way = self.way(to, from);
        let differences = before.map_or_else(Vec::new, |before| differences(&before.manifest, to));
        let compatible = differences.is_empty() && matches!(way, Way::Direct | Way::Through { .. });
        CompatibilityResult {
            id: to.id.clone(),
            version: to.version.clone(),
            from: from.clone(),
            compatible,
            way,
            differences,
        }
    }

    /// The versions of a module that can take over from `from`, ascending; itself is not among them.
    pub fn compatible_versions<'a>(
        &'a self,
        id: &str,
        from: &'a Version,
    ) -> impl Iterator<Item = CompatibilityResult> + 'a {
        let versions = self.modules.get(id).into_iter().flatten();
        let others = versions.filter(move |(version, _)| *version != from);
        others
            .map(move |(_, definition)| self.version_compatibility(&definition.manifest, from))
            .filter(|it| it.compatible)
    }

    /// The way to this version from `from`.
    #[must_use]
    pub fn way(&self, to: &Manifest, from: &Version) -> Way {
        let Some(mut via) = way(to, from) else { return Way::None };
        via.pop();
        if via.is_empty() {
            return Way::Direct;
        }
        let unregistered: Vec<_> = via.iter().filter(|version| self.get(&to.id, version).is_none()).cloned().collect();
        if !unregistered.is_empty() {
            return Way::Missing { via, unregistered };
        }
        // that the last leads to `to` is said by the path itself
        let legs = std::iter::once(from).chain(&via).zip(&via);
        let refused = legs
            .into_iter()
            .find(|(after, stop)| self.get(&to.id, stop).is_some_and(|stop| !can_follow(&stop.manifest, after)));
        match refused {
            None => Way::Through { via },
            Some((after, stop)) => Way::Refused { stop: stop.clone(), after: after.clone(), via },
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("directly"),
            Self::Through { via } => write!(f, "by {}", list(via)),
            Self::Missing { via, unregistered } => {
                write!(f, "by {}, of which {} is not registered", list(via), list(unregistered))
            }
            Self::Refused { via, stop, after } => {
                write!(f, "by {}, of which {stop} cannot follow {after} by its own manifest", list(via))
            }
            Self::None => f.write_str("by no way"),
        }
    }
}

#[cfg(test)]
mod tests;
