//! Why no versions go together, as facts that cannot all hold: the conflict that the solver found, in plain words.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use resolvo::conflict::{Conflict, ConflictCause, ConflictEdge, ConflictNode};
use resolvo::{Interner, Requirement, SolvableId, Solver, VersionSetId};
use semver::Version;
use serde::Serialize;

use super::super::routes;
use super::universe::{Set, Universe};
use crate::registry::versions::list;

/// Facts that cannot all hold; each displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Derivation {
    /// What is wanted first, then what follows from what.
    pub facts: Vec<Fact>,
}

/// A fact about versions of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// It is asked for.
    Wanted {
        /// `id` or `id@version`.
        module: String,
        /// The versions that are registered, where it is none of them.
        registered: Option<Vec<Version>>,
    },
    /// It runs, and is to go on.
    Runs {
        /// The module's id.
        module: String,
    },
    /// They need something, in a version of which none or only these are there.
    Needs {
        /// Who needs it.
        by: Versions,
        /// The module or the capability.
        needs: String,
        /// The versions that would do.
        range: String,
        /// Whether it is a capability.
        capability: bool,
        /// Those that would do, `id@version`.
        candidates: Vec<String>,
        /// Versions of the module that are registered, where none would do.
        registered: Vec<Version>,
    },
    /// They cannot run together.
    Apart {
        /// Who says so.
        by: Versions,
        /// The others.
        other: Versions,
        /// The rule.
        because: String,
    },
    /// They can run in no set.
    Excluded {
        /// Which.
        modules: Versions,
        /// The rule.
        because: String,
    },
    /// One version of a module runs at a time.
    OneVersion {
        /// The module's id.
        module: String,
    },
}

/// Some versions of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The module's id.
    pub id: String,
    /// The versions, ascending.
    pub versions: Vec<Version>,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.versions.as_slice() {
            [one] => write!(f, "{}@{one}", self.id),
            versions => write!(f, "`{}` in each of its versions {}", self.id, list(versions)),
        }
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no versions go together: ")?;
        for (index, fact) in self.facts.iter().enumerate() {
            write!(f, "{}{fact}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted { module, registered: None } => write!(f, "{module} is to run"),
            Self::Wanted { module, registered: Some(versions) } if versions.is_empty() => {
                write!(f, "{module} is to run, and no version of it is registered")
            }
            Self::Wanted { module, registered: Some(versions) } => {
                write!(f, "{module} is to run, and only {} is registered", list(versions))
            }
            Self::Runs { module } => write!(f, "`{module}` runs and is to go on, in its version or another"),
            Self::Needs { by, needs, range, capability, candidates, registered } => {
                let what = if *capability { "the capability " } else { "" };
                write!(f, "{by} needs {what}`{needs}` in a version {range}, ")?;
                match (candidates.as_slice(), registered.as_slice()) {
                    ([], []) if *capability => write!(f, "and no registered module offers it"),
                    ([], []) => write!(f, "and no version of it is registered"),
                    ([], versions) => write!(f, "and only {} is registered", list(versions)),
                    (candidates, _) => write!(f, "so {}", any_of(candidates)),
                }
            }
            Self::Apart { by, other, because } => write!(f, "{by} cannot run beside {other}: {because}"),
            Self::Excluded { modules, because } => write!(f, "{modules} {because}"),
            Self::OneVersion { module } => write!(f, "one version of `{module}` runs at a time"),
        }
    }
}

/// How many candidates are named.
const NAMED: usize = 6;

fn any_of(candidates: &[String]) -> String {
    let named = candidates.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(" or ");
    match candidates.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} or {more} others"),
    }
}

type Edge = (ConflictNode, ConflictEdge);

impl Derivation {
    /// The facts of what the solver found.
    pub(super) fn of(conflict: &Conflict, solver: &Solver<Universe<'_>>) -> Self {
        let graph = conflict.graph(solver).graph;
        let node = |index| graph[index];
        let mut edges: Vec<(ConflictNode, Vec<Edge>)> = Vec::new();
        for edge in graph.raw_edges() {
            let (from, to) = (node(edge.source()), (node(edge.target()), edge.weight));
            match edges.iter_mut().find(|(known, _)| *known == from) {
                Some((_, known)) => known.push(to),
                None => edges.push((from, vec![to])),
            }
        }
        let facts = Facts { universe: solver.provider(), edges };
        Self { facts: facts.in_order() }
    }
}

struct Facts<'a> {
    universe: &'a Universe<'a>,
    /// The edges of the conflict graph by the node that they leave.
    edges: Vec<(ConflictNode, Vec<Edge>)>,
}

/// A fact but for whose it is, so that versions of which the same holds are told together.
type Told = (String, Fact);

impl Facts<'_> {
    /// The facts, those of what is wanted first, each before those of what it leads to.
    fn in_order(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        let (mut queue, mut seen) = (VecDeque::from([ConflictNode::Root]), Vec::new());
        let mut told: Vec<(Told, BTreeSet<Version>)> = Vec::new();
        while let Some(node) = queue.pop_front() {
            if seen.contains(&node) {
                continue;
            }
            seen.push(node);
            for (fact, owner) in self.of(node) {
                match owner {
                    None if !facts.contains(&fact) => facts.push(fact),
                    None => {}
                    Some((id, version)) => {
                        match told.iter_mut().find(|((other, known), _)| *other == id && *known == fact) {
                            Some((_, versions)) => {
                                versions.insert(version);
                            }
                            None => told.push(((id, fact), BTreeSet::from([version]))),
                        }
                    }
                }
            }
            queue.extend(self.from(node).map(|(target, _)| *target));
        }
        facts.extend(told.into_iter().map(|((id, fact), versions)| {
            let all = Versions { id, versions: versions.into_iter().collect() };
            match fact {
                Fact::Needs { needs, range, capability, candidates, registered, .. } => {
                    Fact::Needs { by: all, needs, range, capability, candidates, registered }
                }
                Fact::Apart { other, because, .. } => Fact::Apart { by: all, other, because },
                Fact::Excluded { because, .. } => Fact::Excluded { modules: all, because },
                other => other,
            }
        }));
        facts.extend(self.at_once());
        facts
    }

    fn from(&self, node: ConflictNode) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |(from, _)| *from == node).flat_map(|(_, edges)| edges)
    }

    /// What holds of a node: with its module and version, where it is one.
    fn of(&self, node: ConflictNode) -> Vec<(Fact, Option<(String, Version)>)> {
        let owner = match node {
            ConflictNode::Solvable(solvable) => Some(solvable),
            _ => None,
        };
        let whose = owner.map(|solvable| {
            let manifest = &self.universe.definition(solvable).manifest;
            (manifest.id.clone(), manifest.version.clone())
        });
        let nobody = || Versions { id: String::new(), versions: Vec::new() };
        let mut required: BTreeMap<Requirement, Vec<SolvableId>> = BTreeMap::new();
        let mut apart: BTreeMap<(VersionSetId, String), BTreeSet<Version>> = BTreeMap::new();
        let mut found = Vec::new();
        for (target, edge) in self.from(node) {
            match (edge, target) {
                (ConflictEdge::Requires(requirement), ConflictNode::Solvable(candidate)) => {
                    required.entry(*requirement).or_default().push(*candidate);
                }
                (ConflictEdge::Requires(requirement), _) => {
                    required.entry(*requirement).or_default();
                }
                (ConflictEdge::Conflict(ConflictCause::Constrains(set)), ConflictNode::Solvable(other)) => {
                    let other = &self.universe.definition(*other).manifest;
                    let versions = apart.entry((*set, other.id.clone())).or_default();
                    versions.insert(other.version.clone());
                }
                (ConflictEdge::Conflict(ConflictCause::Excluded), ConflictNode::Excluded(reason)) => {
                    let because = self.universe.reason(*reason).to_owned();
                    found.push((Fact::Excluded { modules: nobody(), because }, whose.clone()));
                }
                (ConflictEdge::Conflict(_), _) => {}
            }
        }
        let required = required.into_iter().map(|(requirement, candidates)| {
            let fact = self.need(requirement, &candidates, nobody());
            let whose = whose.clone().filter(|_| matches!(fact, Fact::Needs { .. }));
            (fact, whose)
        });
        let apart = apart.into_iter().map(|((set, id), versions)| {
            let versions: Vec<Version> = versions.into_iter().collect();
            let because = self.rule(set, &id, &versions);
            (Fact::Apart { by: nobody(), other: Versions { id, versions }, because }, whose.clone())
        });
        required.chain(apart).chain(found).collect()
    }

    fn need(&self, requirement: Requirement, candidates: &[SolvableId], by: Versions) -> Fact {
        let set = match requirement {
            Requirement::Single(set) => Some(set),
            Requirement::Union(union) => self.universe.version_sets_in_union(union).next(),
        };
        let Some((id, set)) = set.map(|set| self.universe.set_of(set)) else {
            unreachable!("a union has a set at least")
        };
        let registered = || self.universe.snapshot().versions(id).cloned().collect::<Vec<_>>();
        let none = candidates.is_empty();
        let labels = || candidates.iter().map(|candidate| self.universe.definition(*candidate).label()).collect();
        let (needs, range, capability) = match set {
            Set::Wanted(version) => {
                let module = version.as_ref().map_or_else(|| format!("`{id}`"), |version| format!("{id}@{version}"));
                return Fact::Wanted { module, registered: none.then(registered) };
            }
            Set::Offering { capability, range } => (capability.clone(), range.to_string(), true),
            Set::Within(range) => (id.to_owned(), range.to_string(), false),
            Set::All | Set::Without { .. } | Set::NotOffering { .. } | Set::Clear { .. } => {
                return Fact::Runs { module: id.to_owned() };
            }
        };
        let registered = if none && !capability { registered() } else { Vec::new() };
        Fact::Needs { by, needs, range, capability, candidates: labels(), registered }
    }

    /// The rule that keeps two modules apart.
    fn rule(&self, set: VersionSetId, other: &str, versions: &[Version]) -> String {
        match self.universe.set_of(set).1 {
            Set::NotOffering { capability } => {
                format!("both offer `{capability}`, which only one module may offer at a time")
            }
            Set::Clear { claimant, version } => {
                let snapshot = self.universe.snapshot();
                let claimant = snapshot.get(claimant, version);
                let taken = claimant.into_iter().flat_map(|claimant| {
                    let others = versions.iter().filter_map(|version| snapshot.get(other, version));
                    others.flat_map(|other| routes::taken(&claimant.manifest, &[&other.manifest]))
                });
                let paths: BTreeSet<String> = taken.filter_map(|obstacle| obstacle.path()).collect();
                format!("both serve {}", paths.into_iter().collect::<Vec<_>>().join(", "))
            }
            Set::Within(range) => format!("its manifest takes `{other}` in a version {range} or not at all"),
            Set::Without { range: Some(range) } => format!("its manifest declares a conflict with `{other}@{range}`"),
            Set::All | Set::Wanted(_) | Set::Offering { .. } | Set::Without { range: None } => {
                format!("its manifest declares a conflict with `{other}`")
            }
        }
    }

    /// The modules of which several versions would be needed at once.
    fn at_once(&self) -> BTreeSet<Fact> {
        let several = self.edges.iter().flat_map(|(from, edges)| edges.iter().map(move |edge| (from, edge)));
        let several = several
            .filter(|(_, (_, edge))| matches!(edge, ConflictEdge::Conflict(ConflictCause::ForbidMultipleInstances)));
        several
            .filter_map(|(from, _)| match from {
                ConflictNode::Solvable(solvable) => {
                    Some(Fact::OneVersion { module: self.universe.definition(*solvable).manifest.id.clone() })
                }
                _ => None,
            })
            .collect()
    }
}
