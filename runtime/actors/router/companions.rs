//! Versions of several modules that took over, or gave way, as one: until the last of those that gave way has ended, calls among
//! them stay among them, so that what a request began with one side of the switch it ends there.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::{Instance, Snapshot};

/// The two sides of a switch of several slots. It keeps nothing alive.
#[derive(Debug)]
pub struct Companions([BTreeMap<Arc<str>, Weak<Instance>>; 2]);

impl Companions {
    /// What served before the switch, and what serves after it.
    pub fn of<'a>(
        before: impl IntoIterator<Item = &'a Arc<Instance>>,
        after: impl IntoIterator<Item = &'a Arc<Instance>>,
    ) -> Self {
        let by_id = |instance: &Arc<Instance>| (Arc::clone(&instance.key.id), Arc::downgrade(instance));
        Self([before.into_iter().map(by_id).collect(), after.into_iter().map(by_id).collect()])
    }

    /// Whether any instance of it exists.
    pub(super) fn matters(&self) -> bool {
        self.0.iter().any(|side| side.values().any(|instance| instance.strong_count() > 0))
    }

    fn beside(&self, module: &str, version: &str) -> Option<&BTreeMap<Arc<str>, Weak<Instance>>> {
        let is_caller = |side: &&BTreeMap<Arc<str>, Weak<Instance>>| {
            let caller = side.get(module).and_then(Weak::upgrade);
            caller.is_some_and(|caller| *caller.key.version == *version)
        };
        self.0.iter().find(is_caller)
    }
}

impl Snapshot {
    /// The instance beside this version of `module` that `wanted` says yes to: one on the same side of a switch as one. Only what gave way
    /// has such: whoever takes traffic calls what takes traffic.
    #[must_use]
    pub fn companion(
        &self,
        (module, version): (&str, &str),
        wanted: impl Fn(&Instance) -> bool,
    ) -> Option<Arc<Instance>> {
        if self.companions.is_empty() {
            return None;
        }
        let targets = self.slots.get(module).into_iter().flat_map(|slot| &slot.targets);
        if targets.into_iter().any(|target| *target.instance.key.version == *version) {
            return None;
        }
        // the newest switch first
        let sides = self.companions.iter().rev().filter_map(|set| set.beside(module, version));
        let others = sides.flatten().filter(|(id, _)| &***id != module).filter_map(|(_, instance)| instance.upgrade());
        others.into_iter().find(|instance| wanted(instance))
    }
}
