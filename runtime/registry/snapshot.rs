//! What is registered, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use semver::Version;
use serde::Serialize;

use super::RegistryError;
use super::capabilities::{Capabilities, Provider};
use super::claims::Claims;
use super::versions::{self, ModuleRef, Requirement};
use crate::manifest::{Fault, Manifest};

/// One registered version of a module. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The manifest, parsed and checked.
    pub manifest: Manifest,
    /// What was legal in it but probably not meant.
    pub warnings: Vec<Fault>,
    /// BLAKE3 of the module's files (see [`Bundle::digest`](super::Bundle::digest)).
    pub digest: String,
    /// When it was registered, in milliseconds since 1970 by the registry's clock.
    pub registered_at: u64,
    /// The registry's revision that brought it: later registrations have higher ones.
    pub seq: u64,
    /// The folder of its files in the data directory; read it with [`Bundle::load`](super::Bundle::load).
    pub dir: PathBuf,
    /// The paths of its files, relative to `dir`, with `/`.
    pub files: BTreeSet<String>,
}

impl Definition {
    /// `id@version`.
    #[must_use]
    pub fn label(&self) -> String {
        self.manifest.label()
    }
}

/// A registered definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The module's id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// The digest it was registered with.
    pub digest: String,
    /// What is wrong, and what helps.
    pub cause: String,
}

/// All registered definitions at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Goes up with every change, also across restarts.
    pub revision: u64,
    /// The definitions, by module id and version.
    pub modules: BTreeMap<String, BTreeMap<Version, Arc<Definition>>>,
    /// Definitions that were registered but whose files are missing, changed, or no longer accepted.
    pub problems: Vec<Problem>,
    /// The capabilities that the application around the runtime offers, with the version of each. No module may offer
    /// them beside it.
    pub hosted: Hosted,
    capabilities: Capabilities,
    claims: Claims,
}

/// Capabilities that no module offers but the application around the runtime, by id.
pub type Hosted = Arc<BTreeMap<String, Version>>;

impl Snapshot {
    /// The snapshot of these definitions.
    #[must_use]
    pub fn new(
        revision: u64,
        modules: BTreeMap<String, BTreeMap<Version, Arc<Definition>>>,
        problems: Vec<Problem>,
    ) -> Self {
        let manifests = || modules.values().flat_map(BTreeMap::values).map(|found| &found.manifest);
        let (capabilities, claims) = (Capabilities::of(manifests()), Claims::of(manifests()));
        Self { revision, modules, problems, hosted: Hosted::default(), capabilities, claims }
    }

    /// The same beside what the application offers.
    #[must_use]
    pub fn beside(self, hosted: Hosted) -> Self {
        Self { hosted, ..self }
    }

    /// That version of the module.
    #[must_use]
    pub fn get(&self, id: &str, version: &Version) -> Option<&Arc<Definition>> {
        self.modules.get(id)?.get(version)
    }

    /// The module's newest version: the highest stable one; a pre-release only if there is no stable one.
    #[must_use]
    pub fn newest(&self, id: &str) -> Option<&Arc<Definition>> {
        let versions = self.modules.get(id)?;
        let highest =
            versions.keys().rev().find(|version| version.pre.is_empty()).or_else(|| versions.keys().next_back())?;
        // those that build metadata alone tells apart stand side by side
        let is_as_high = |version: &Version| version.cmp_precedence(highest).is_eq();
        let above = versions.iter().rev().skip_while(|(version, _)| !is_as_high(version));
        let same = above.take_while(|(version, _)| is_as_high(version));
        same.max_by(|a, b| versions::by_age((a.0, a.1.seq), (b.0, b.1.seq))).map(|(_, found)| found)
    }

    /// The module's versions, ascending.
    pub fn versions(&self, id: &str) -> impl DoubleEndedIterator<Item = &Version> {
        self.modules.get(id).into_iter().flat_map(BTreeMap::keys)
    }

    /// All definitions, by id and version.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.modules.values().flat_map(BTreeMap::values)
    }

    /// The version that `wanted` names, or the newest if it names none.
    ///
    /// # Errors
    /// [`RegistryError::NotRegistered`], with the versions that are.
    pub fn resolve(&self, wanted: &ModuleRef) -> Result<&Arc<Definition>, RegistryError> {
        let found = match &wanted.version {
            Some(version) => self.get(&wanted.id, version),
            None => self.newest(&wanted.id),
        };
        found.ok_or_else(|| self.not_registered(&wanted.id, wanted.to_string()))
    }

    /// Who offers `capability`, by module id and version.
    #[must_use]
    pub fn providers(&self, capability: &str) -> &[Provider] {
        self.capabilities.providers(capability)
    }

    /// Each capability that somebody offers, with who does.
    pub fn offered(&self) -> impl Iterator<Item = (&str, &[Provider])> {
        self.capabilities.all()
    }

    /// Who claims which paths.
    #[must_use]
    pub(in crate::registry) const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The definitions that offer `capability`, by id and version.
    #[must_use]
    pub fn find_by_capability(&self, capability: &str) -> Vec<Arc<Definition>> {
        let providers = self.providers(capability).iter();
        providers.filter_map(|provider| self.get(&provider.module, &provider.version).cloned()).collect()
    }

    /// The definitions that offer some capability of `category`, by id and version.
    #[must_use]
    pub fn find_by_category(&self, category: &str) -> Vec<Arc<Definition>> {
        let found = self.capabilities.in_category(category);
        found.filter_map(|(id, version)| self.get(id, version).cloned()).collect()
    }

    /// The definitions that meet one of `requirements`, in their order, each module's versions ascending.
    ///
    /// # Errors
    /// [`RegistryError::NotRegistered`] for the first requirement that nothing meets.
    pub fn find_compatible(&self, requirements: &[Requirement]) -> Result<Vec<Arc<Definition>>, RegistryError> {
        let mut found: Vec<Arc<Definition>> = Vec::new();
        for wanted in requirements {
            let versions = self.modules.get(&wanted.id).into_iter().flatten();
            let mut fitting =
                versions.filter(|(version, _)| wanted.range.matches(version)).map(|(_, it)| it).peekable();
            if fitting.peek().is_none() {
                return Err(self.not_registered(&wanted.id, wanted.to_string()));
            }
            for definition in fitting {
                if !found.iter().any(|other| Arc::ptr_eq(other, definition)) {
                    found.push(Arc::clone(definition));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn not_registered(&self, id: &str, wanted: String) -> RegistryError {
        RegistryError::NotRegistered { wanted, id: id.to_owned(), registered: self.versions(id).cloned().collect() }
    }
}
