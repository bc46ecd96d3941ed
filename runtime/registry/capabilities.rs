//! Capabilities: what modules offer to each other, found by id and by category. Pure.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::Serialize;

use crate::manifest::{CapabilityRequirement, Interface, Manifest};

/// A module version that offers a capability.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// The module's id.
    pub module: String,
    /// The module's version.
    pub version: Version,
    /// The version of the capability that it offers.
    pub capability_version: Version,
    /// The capabilities that it needs for that.
    pub requirements: Vec<CapabilityRequirement>,
    /// The interfaces that it promises.
    pub interfaces: Vec<Interface>,
}

/// The capabilities of all registered definitions.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    providers: BTreeMap<String, Vec<Provider>>,
    categories: BTreeMap<String, BTreeSet<(String, Version)>>,
}

impl Capabilities {
    /// The index of these manifests. Providers come by module id, then version, if the manifests do.
    pub fn of<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Self {
        let mut index = Self::default();
        for manifest in manifests {
            for capability in &manifest.capabilities {
                index.providers.entry(capability.id.clone()).or_default().push(Provider {
                    module: manifest.id.clone(),
                    version: manifest.version.clone(),
                    capability_version: capability.version.clone(),
                    requirements: capability.requirements.clone(),
                    interfaces: capability.interfaces.clone(),
                });
                let category = index.categories.entry(capability.category.clone()).or_default();
                category.insert((manifest.id.clone(), manifest.version.clone()));
            }
        }
        index
    }

    /// Who offers `capability`.
    #[must_use]
    pub fn providers(&self, capability: &str) -> &[Provider] {
        self.providers.get(capability).map_or(&[], Vec::as_slice)
    }

    /// The modules, each with its version, that offer something of `category`.
    pub fn in_category(&self, category: &str) -> impl Iterator<Item = &(String, Version)> {
        self.categories.get(category).into_iter().flatten()
    }

    /// All capabilities with who offers them, by id.
    pub fn all(&self) -> impl Iterator<Item = (&str, &[Provider])> {
        self.providers.iter().map(|(id, providers)| (id.as_str(), providers.as_slice()))
    }
}

/// A service key as its capability and method: it splits at the last dot. `None` when either would be empty.
#[must_use]
pub fn split_service(key: &str) -> Option<(&str, &str)> {
    key.rsplit_once('.').filter(|(capability, method)| !capability.is_empty() && !method.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_key_splits_at_its_last_dot() {
        assert_eq!(split_service("analytics.reporting.run"), Some(("analytics.reporting", "run")));
        assert_eq!(split_service("database.sql"), Some(("database", "sql")));
        for bad in ["", "sql", ".sql", "database."] {
            assert_eq!(split_service(bad), None, "{bad}");
        }
    }

    #[test]
    fn providers_are_found_by_capability_and_category() {
        let manifest = |id: &str, version: &str| {
            let text = format!(
                "id: {id}\nname: N\nversion: {version}\ncapabilities:\n  - id: store.sql\n    category: data\n    version: 3.0.0\n    \
                 requirements: [clock]\n    interfaces: [query]\n  \
                 - id: {id}.own\n    category: data\n"
            );
            crate::manifest::load("m", text.as_bytes()).unwrap().manifest
        };
        let manifests = [manifest("a", "1.0.0"), manifest("a", "1.1.0"), manifest("b", "0.1.0")];
        let index = Capabilities::of(&manifests);
        let shown: Vec<_> =
            index.providers("store.sql").iter().map(|p| format!("{}@{}", p.module, p.version)).collect();
        assert_eq!(shown, ["a@1.0.0", "a@1.1.0", "b@0.1.0"]);
        assert_eq!(index.providers("store.sql")[0].capability_version, Version::new(3, 0, 0));
        let offer = &index.providers("store.sql")[1];
        assert_eq!((&*offer.requirements[0].capability, &*offer.interfaces[0].name), ("clock", "query"));
        assert_eq!(index.providers("b.own")[0].capability_version, Version::new(0, 1, 0), "the module's by default");
        assert!(index.providers("store").is_empty());
        assert_eq!(index.in_category("data").count(), 3);
        assert_eq!(index.in_category("ui").count(), 0);
        assert_eq!(index.all().map(|(id, _)| id).collect::<Vec<_>>(), ["a.own", "b.own", "store.sql"]);
    }
}
