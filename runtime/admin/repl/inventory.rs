//! What a runtime has, for completion: fetched when it is needed, and kept for a moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::admin::commands::FoundModule;

/// How long what was fetched, or that nothing could be fetched, is good for.
const FRESH: Duration = Duration::from_secs(2);

/// The registered versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory(pub(super) Vec<FoundModule>);

impl Inventory {
    /// The ids of the versions of which `meant` is true, each once.
    pub(super) fn ids(&self, meant: impl Fn(&FoundModule) -> bool) -> BTreeSet<&str> {
        self.0.iter().filter(|version| meant(version)).map(|version| &*version.id).collect()
    }

    /// The versions of a module, as they are registered.
    pub(super) fn versions<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a FoundModule> {
        self.0.iter().filter(move |version| version.id == id)
    }
}

/// The last inventory and when it was fetched. A runtime that does not answer counts as one that has nothing, so that nobody
/// waits for it at every key.
#[derive(Debug, Default)]
pub(super) struct Cache {
    since: Option<Instant>,
    kept: Inventory,
}

impl Cache {
    /// Whether what is kept is still good at `now`.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) < FRESH)
    }

    /// Keeps what was fetched at `now`; `None` is an answer that did not come.
    pub(super) fn put(&mut self, now: Instant, inventory: Option<Inventory>) {
        (self.since, self.kept) = (Some(now), inventory.unwrap_or_default());
    }

    /// What was fetched last.
    pub(super) const fn kept(&self) -> &Inventory {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_and_that_nothing_was_are_good_for_a_moment() {
        let row = FoundModule {
            id: "a".into(),
            version: "1.0.0".into(),
            state: "active".into(),
            capabilities: vec![],
            asks: vec![],
        };
        let full = Inventory(vec![row]);
        let (start, mut cache) = (Instant::now(), Cache::default());
        assert!(!cache.is_fresh(start));
        cache.put(start, Some(full.clone()));
        assert!(cache.is_fresh(start + FRESH / 2) && !cache.is_fresh(start + FRESH));
        assert_eq!(*cache.kept(), full);
        cache.put(start + FRESH, None);
        assert!(cache.is_fresh(start + FRESH), "a runtime that is gone is not asked at every key");
        assert_eq!(*cache.kept(), Inventory::default());
    }
}
