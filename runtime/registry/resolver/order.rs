//! The order in which modules start: what is needed before who needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Running, Snapshot, required_capabilities};

/// Modules that need each other in a circle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Cycle {
    /// The ids around the circle: each needs the next, the last is the first again.
    pub chain: Vec<String>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.chain.join(" -> ");
        write!(f, "modules need each other in a circle: {chain}; make one of these dependencies `required: false`")
    }
}

/// The order in which to start these versions: each module after those of them that it needs, otherwise by id; among what
/// could start next, modules wait for their optional dependencies as long as something else can go first. A capability
/// that several of them offer is such an optional dependency on each. What is not among them is not looked at.
///
/// # Errors
/// [`Cycle`], always the same one for the same modules.
pub fn start_order(modules: &Running, snapshot: &Snapshot) -> Result<Vec<String>, Cycle> {
    let (needs, wishes) = edges(modules, snapshot);
    let mut order = Vec::with_capacity(modules.len());
    let mut waiting: BTreeSet<&str> = modules.keys().map(String::as_str).collect();
    while !waiting.is_empty() {
        let free = |edges: &Edges<'_>, id: &str| edges[id].iter().all(|other| !waiting.contains(other));
        let ready = waiting.iter().filter(|id| free(&needs, id));
        let next = ready.clone().find(|id| free(&wishes, id)).or_else(|| ready.clone().next());
        let Some(next) = next.copied() else { return Err(cycle(&needs, &waiting)) };
        waiting.remove(next);
        order.push(next.to_owned());
    }
    Ok(order)
}

pub(super) type Edges<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Who must start before whom, and who should.
pub(super) fn edges<'a>(modules: &'a Running, snapshot: &Snapshot) -> (Edges<'a>, Edges<'a>) {
    let (mut needs, mut wishes) = (Edges::new(), Edges::new());
    for (id, version) in modules {
        let (must, should) = (needs.entry(id.as_str()).or_default(), wishes.entry(id.as_str()).or_default());
        let Some(definition) = snapshot.get(id, version) else { continue };
        for need in &definition.manifest.dependencies {
            let Some((other, _)) = modules.get_key_value(&need.id) else { continue };
            if need.required {
                must.insert(other.as_str())
            } else {
                should.insert(other.as_str())
            };
        }
        for need in required_capabilities(&definition.manifest) {
            let providers = snapshot.providers(&need.capability).iter();
            let chosen = providers.filter(|it| need.version.matches(&it.capability_version) && it.module != *id);
            let chosen: Vec<_> = chosen
                .filter_map(|it| modules.get_key_value(&it.module).filter(|(_, version)| **version == it.version))
                .collect();
            let only = chosen.len() == 1;
            for (other, _) in chosen {
                if only {
                    must.insert(other.as_str())
                } else {
                    should.insert(other.as_str())
                };
            }
        }
        must.remove(id.as_str());
        should.remove(id.as_str());
    }
    (needs, wishes)
}

/// The circle found from the first waiting id on. Each of `waiting` needs another of them, so walking on must come round.
fn cycle(needs: &Edges<'_>, waiting: &BTreeSet<&str>) -> Cycle {
    let mut walked: Vec<&str> = Vec::new();
    let mut at = waiting.first().copied();
    while let Some(id) = at {
        if let Some(start) = walked.iter().position(|seen| *seen == id) {
            walked.drain(..start);
            walked.push(id);
            break;
        }
        walked.push(id);
        at = needs[id].iter().find(|other| waiting.contains(*other)).copied();
    }
    Cycle { chain: walked.into_iter().map(str::to_owned).collect() }
}
