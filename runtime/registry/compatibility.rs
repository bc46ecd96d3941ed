//! Which version of a module may take over from which, and by which way. Pure.

use semver::Version;
use serde::Serialize;

use super::Snapshot;
use super::interfaces::{Difference, differences};
use super::versions::way;
use crate::manifest::Manifest;

/// Whether a version can take over from another one of its module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compatibility {
    /// The version that is to take over.
    pub version: Version,
    /// The one that it takes over from.
    pub from: Version,
    /// The way there.
    pub way: Way,
    /// What its capabilities lost under a version number that says otherwise.
    pub differences: Vec<Difference>,
}

/// The way from one version to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// By `lifecycle.updates` there is none.
    None,
}

impl Compatibility {
    /// Whether it can take over as things are.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.differences.is_empty() && matches!(self.way, Way::Direct | Way::Through { .. })
    }
}

impl Snapshot {
    /// Whether this version can take over from `from`.
    #[must_use]
    pub fn version_compatibility(&self, to: &Manifest, from: &Version) -> Compatibility {
        let before = self.get(&to.id, from);
        Compatibility {
            version: to.version.clone(),
            from: from.clone(),
            way: self.way(to, from),
            differences: before.map_or_else(Vec::new, |before| differences(&before.manifest, to)),
        }
    }

    /// The versions of a module that can take over from `from`, ascending; itself is not among them.
    pub fn compatible_versions<'a>(&'a self, id: &str, from: &'a Version) -> impl Iterator<Item = Compatibility> + 'a {
        let versions = self.modules.get(id).into_iter().flatten();
        let others = versions.filter(move |(version, _)| *version != from);
        others
            .map(move |(_, definition)| self.version_compatibility(&definition.manifest, from))
            .filter(Compatibility::is_given)
    }

    /// The way to this version from `from`.
    #[must_use]
    pub fn way(&self, to: &Manifest, from: &Version) -> Way {
        let Some(mut via) = way(to, from) else { return Way::None };
        via.pop();
        let unregistered: Vec<_> = via.iter().filter(|version| self.get(&to.id, version).is_none()).cloned().collect();
        match (via.is_empty(), unregistered.is_empty()) {
            (true, _) => Way::Direct,
            (false, true) => Way::Through { via },
            (false, false) => Way::Missing { via, unregistered },
        }
    }
}
