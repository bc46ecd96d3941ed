//! Which requests of a snapshot are copied for a candidate. Most snapshots copy none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::Method;

use super::{Endpoint, Found, Instance, RouteTaken, Routes, Slot, Snapshot};

/// The candidates that get copies, by module.
#[derive(Default)]
pub(super) struct Mirrors(HashMap<Arc<str>, (Arc<Instance>, Routes)>);

/// Where a copy goes: to this endpoint of this candidate, with the path's parameters, not yet decoded.
pub type CopyTo<'a> = (&'a Arc<Instance>, &'a Endpoint, Vec<(&'a str, String)>);

impl Mirrors {
    pub(super) fn of(slots: &BTreeMap<Arc<str>, Slot>) -> Result<Self, RouteTaken> {
        let mut mirrors = HashMap::new();
        for (id, slot) in slots {
            // one that has a share is judged by what clients ask of it
            let [_, candidate] = &*slot.targets else { continue };
            if candidate.weight == 0 && candidate.instance.copies().is_some() {
                let routes = Routes::build([(id, vec![&*candidate.endpoints])])?;
                mirrors.insert(Arc::clone(id), (Arc::clone(&candidate.instance), routes));
            }
        }
        Ok(Self(mirrors))
    }

    /// Where a copy of a request that `module` answered goes. Nowhere, if its candidate wants none or does not have the path.
    fn find<'a>(&'a self, module: &str, method: &Method, path: &'a str) -> Option<CopyTo<'a>> {
        let (candidate, routes) = self.0.get(module)?;
        let copies = candidate.copies()?;
        if !copies.mirror().methods.iter().any(|one| one == method.as_str()) {
            return None;
        }
        match routes.find(method, path) {
            Found::Endpoint(_, endpoint, params) => Some((candidate, endpoint, params)),
            _ => None,
        }
    }
}

impl Snapshot {
    /// Whether requests of any module are copied for a candidate.
    #[must_use]
    pub fn copies(&self) -> bool {
        !self.mirrors.0.is_empty()
    }

    /// Where a copy of a request that `module` answered goes.
    #[must_use]
    pub fn copy_to<'a>(&'a self, module: &str, method: &Method, path: &'a str) -> Option<CopyTo<'a>> {
        self.mirrors.find(module, method, path)
    }
}
