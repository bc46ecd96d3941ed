//! The registered modules as the solver asks for them: packages, their candidates, and what each requires and excludes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, HintDependenciesAvailable, Interner,
    KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId, VersionSetUnionId,
};
use semver::{Version, VersionReq};

use super::super::{Running, SOLE, Snapshot, offered, required_capabilities, routes};
use super::Limits;
use crate::manifest::{CapabilityRequirement, Manifest};
use crate::registry::compatibility::Way;
use crate::registry::versions::ModuleRef;
use crate::registry::{Definition, versions};

/// Versions of a module, by what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// All of them: the module runs.
    All,
    /// The one that is wanted; `None`: whichever.
    Wanted(Option<Version>),
    /// Those that a dependency allows.
    Within(VersionReq),
    /// Those that offer a capability.
    Offering { capability: String, range: VersionReq },
    /// Those that a conflict does not mean.
    Without { range: Option<VersionReq> },
    /// Those that do not offer a capability which one module alone may offer.
    NotOffering { capability: &'static str },
    /// Those that serve none of the paths of this version.
    Clear { claimant: String, version: Version },
}

/// A version of a module.
pub(super) struct Candidate(pub(super) Arc<Definition>);

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.label())
    }
}

impl VersionSet for Set {
    type V = Candidate;
}

/// What the solver knows.
pub(super) struct Universe<'a> {
    pool: Pool<Set>,
    snapshot: &'a Snapshot,
    running: &'a Running,
    wanted: &'a [ModuleRef],
    limits: &'a Limits,
}

impl<'a> Universe<'a> {
    pub(super) fn of(
        wanted: &'a [ModuleRef],
        snapshot: &'a Snapshot,
        running: &'a Running,
        limits: &'a Limits,
    ) -> Self {
        Self { pool: Pool::new(), snapshot, running, wanted, limits }
    }

    /// What must be in every set.
    pub(super) fn roots(&self) -> impl Iterator<Item = Requirement> {
        let is_known = |(id, version): &(&String, &Version)| self.snapshot.get(id, version).is_some();
        let runs = self.running.iter().filter(is_known).map(|(id, _)| self.set(id, Set::All));
        let wanted = self.wanted.iter().map(|wanted| self.set(&wanted.id, Set::Wanted(wanted.version.clone())));
        wanted.chain(runs).map(Requirement::Single)
    }

    /// The versions that were chosen.
    pub(super) fn versions(&self, solvables: &[SolvableId]) -> BTreeMap<String, Version> {
        let manifests = solvables.iter().map(|id| &self.definition(*id).manifest);
        manifests.map(|manifest| (manifest.id.clone(), manifest.version.clone())).collect()
    }

    pub(super) fn definition(&self, solvable: SolvableId) -> &Arc<Definition> {
        &self.pool.resolve_solvable(solvable).record.0
    }

    pub(super) fn set_of(&self, set: VersionSetId) -> (&str, &Set) {
        let name = self.pool.resolve_version_set_package_name(set);
        (self.pool.resolve_package_name(name), self.pool.resolve_version_set(set))
    }

    pub(super) const fn snapshot(&self) -> &Snapshot {
        self.snapshot
    }

    pub(super) fn reason(&self, reason: StringId) -> &str {
        self.pool.resolve_string(reason)
    }

    fn set(&self, id: &str, set: Set) -> VersionSetId {
        self.pool.intern_version_set(self.pool.intern_package_name(id), set)
    }

    fn is_wanted(&self, id: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.id == id)
    }

    fn holds(&self, set: &Set, manifest: &Manifest) -> bool {
        match set {
            Set::All => true,
            Set::Wanted(version) => version.as_ref().is_none_or(|version| *version == manifest.version),
            Set::Within(range) => range.matches(&manifest.version),
            Set::Offering { capability, range } => {
                let mut own = manifest.capabilities.iter();
                own.any(|own| own.id == *capability && range.matches(&own.version))
            }
            Set::Without { range } => range.as_ref().is_some_and(|range| !range.matches(&manifest.version)),
            Set::NotOffering { capability } => manifest.capabilities.iter().all(|own| own.id != *capability),
            Set::Clear { claimant, version } => {
                let claimant = self.snapshot.get(claimant, version);
                claimant.is_none_or(|claimant| routes::taken(&claimant.manifest, &[manifest]).is_empty())
            }
        }
    }

    /// What a version requires of others. What it lacks where it runs is not demanded: it runs without.
    fn requirements(&self, manifest: &Manifest) -> Vec<Requirement> {
        let runs = self.running.get(&manifest.id) == Some(&manifest.version) && !self.is_wanted(&manifest.id);
        let meets = |id: &str, range: &VersionReq| self.running.get(id).is_some_and(|version| range.matches(version));
        let dependencies = manifest.dependencies.iter().filter(|need| need.required);
        let dependencies = dependencies.filter(|need| !runs || meets(&need.id, &need.version));
        let modules =
            dependencies.map(|need| Requirement::Single(self.set(&need.id, Set::Within(need.version.clone()))));
        let hosted = |need: &CapabilityRequirement| {
            self.snapshot.hosted.get(&need.capability).is_some_and(|version| need.version.matches(version))
        };
        let capabilities = required_capabilities(manifest).filter(|need| !hosted(need));
        let capabilities = capabilities
            .filter(|need| !runs || offered(need, &manifest.id, self.snapshot, self.running))
            .map(|need| self.provided(need, |id| id != manifest.id));
        let is_by = |(id, version): &(String, Version)| *id == manifest.id && *version == manifest.version;
        let besides = self.limits.besides.iter().filter(|it| is_by(&it.by));
        let besides = besides.map(|it| self.provided(&it.need, |id| !it.others.contains(id)));
        modules.chain(capabilities).chain(besides).collect()
    }

    /// One of the modules that offer a capability; those that run come first.
    fn provided(&self, need: &CapabilityRequirement, may: impl Fn(&str) -> bool) -> Requirement {
        let offers = self.snapshot.providers(&need.capability).iter();
        let offers = offers.filter(|it| may(&it.module) && need.version.matches(&it.capability_version));
        let modules: BTreeSet<&str> = offers.map(|it| it.module.as_str()).collect();
        let (run, others): (Vec<&str>, Vec<&str>) = modules.into_iter().partition(|id| self.running.contains_key(*id));
        let set = Set::Offering { capability: need.capability.clone(), range: need.version.clone() };
        let mut sets = run.into_iter().chain(others).map(|id| self.set(id, set.clone()));
        match sets.next() {
            Some(first) => Requirement::Union(self.pool.intern_version_set_union(first, sets)),
            // no module has such a name, so that nobody offers it
            None => Requirement::Single(self.set(&format!("capability {}", need.capability), set)),
        }
    }

    /// What must not be beside a version.
    fn constraints(&self, manifest: &Manifest) -> Vec<VersionSetId> {
        let others = manifest.conflicts.iter().filter(|conflict| conflict.id != manifest.id);
        let conflicts = others.map(|other| self.set(&other.id, Set::Without { range: other.range.clone() }));
        let mut found: Vec<VersionSetId> = conflicts.collect();
        // what it can do without is there in its range or not at all; a version that runs beside another one already may go on
        let runs = self.running.get(&manifest.id) == Some(&manifest.version) && !self.is_wanted(&manifest.id);
        let optional = manifest.dependencies.iter().filter(|need| !need.required && need.id != manifest.id);
        let optional = optional.filter(|need| !runs || super::super::leaves_be(need, self.running));
        found.extend(optional.map(|need| self.set(&need.id, Set::Within(need.version.clone()))));
        for capability in SOLE {
            if manifest.capabilities.iter().any(|own| own.id == capability) {
                let providers = self.snapshot.providers(capability).iter().map(|provider| provider.module.as_str());
                let others: BTreeSet<&str> = providers.filter(|id| *id != manifest.id).collect();
                found.extend(others.into_iter().map(|id| self.set(id, Set::NotOffering { capability })));
            }
        }
        for id in self.snapshot.claims().near(manifest) {
            let (claimant, version) = (manifest.id.clone(), manifest.version.clone());
            found.push(self.set(id, Set::Clear { claimant, version }));
        }
        found
    }

    /// Why a version cannot be in any set.
    fn excluded(&self, manifest: &Manifest) -> Option<String> {
        if let Some(own) = manifest.capabilities.iter().find(|own| self.snapshot.hosted.contains_key(&own.id)) {
            return Some(format!("offers `{}`, which the host application offers itself", own.id));
        }
        let (id, version) = (manifest.id.clone(), manifest.version.clone());
        if self.limits.without.contains(&(id, version)) {
            return Some("would need itself in a circle".to_owned());
        }
        let from = self.running.get(&manifest.id)?;
        match self.snapshot.way(manifest, from) {
            Way::Direct | Way::Through { .. } => None,
            Way::None => Some(format!("cannot follow {}@{from}, by `lifecycle.updates` of its manifest", manifest.id)),
            way @ (Way::Missing { .. } | Way::Refused { .. }) => {
                Some(format!("follows {}@{from} only {way}", manifest.id))
            }
        }
    }
}

impl Interner for Universe<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl fmt::Display + '_ {
        &self.pool.resolve_solvable(solvable).record
    }

    fn display_name(&self, name: NameId) -> impl fmt::Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, set: VersionSetId) -> impl fmt::Display + '_ {
        format!("{:?}", self.pool.resolve_version_set(set))
    }

    fn display_string(&self, string: StringId) -> impl fmt::Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

/// Nothing has to be waited for: all is in the snapshot.
impl DependencyProvider for Universe<'_> {
    fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> impl Future<Output = Vec<SolvableId>> {
        let set = self.pool.resolve_version_set(set);
        let candidates = candidates.iter().copied();
        let kept = candidates.filter(|candidate| self.holds(set, &self.definition(*candidate).manifest) != inverse);
        ready(kept.collect())
    }

    fn get_candidates(&self, name: NameId) -> impl Future<Output = Option<Candidates>> {
        ready(self.candidates(name))
    }

    fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) -> impl Future<Output = ()> {
        let age = |solvable: &SolvableId| {
            let definition = self.definition(*solvable);
            (&definition.manifest.version, definition.seq)
        };
        solvables.sort_by(|a, b| versions::by_age(age(b), age(a)));
        ready(())
    }

    fn get_dependencies(&self, solvable: SolvableId) -> impl Future<Output = Dependencies> {
        let manifest = &self.definition(solvable).manifest;
        let requirements = self.requirements(manifest).into_iter().map(Into::into).collect();
        ready(Dependencies::Known(KnownDependencies { requirements, constrains: self.constraints(manifest) }))
    }
}

impl Universe<'_> {
    /// The versions of a module: which is tried first, and which can be in no set.
    fn candidates(&self, name: NameId) -> Option<Candidates> {
        let id = self.pool.resolve_package_name(name);
        let versions = self.snapshot.modules.get(id)?;
        let running = self.running.get(id).filter(|_| !self.is_wanted(id));
        let mut found =
            Candidates { hint_dependencies_available: HintDependenciesAvailable::None, ..Candidates::default() };
        for (version, definition) in versions {
            let candidate = self.pool.intern_solvable(name, Candidate(Arc::clone(definition)));
            found.candidates.push(candidate);
            if running == Some(version) {
                found.favored = Some(candidate);
            }
            if let Some(reason) = self.excluded(&definition.manifest) {
                found.excluded.push((candidate, self.pool.intern_string(reason)));
            }
        }
        Some(found)
    }
}
