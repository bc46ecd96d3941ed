//! Starts side by side: what can start while others are starting still.

use std::collections::BTreeSet;

use super::order::{Edges, edges};
use super::{Running, Snapshot};

/// Modules that are to start, in the order of [`start_order`](super::start_order), but without waiting for what they have
/// nothing to do with.
#[derive(Debug)]
pub struct Starts<'a> {
    needs: Edges<'a>,
    wishes: Edges<'a>,
    waiting: BTreeSet<&'a str>,
    starting: BTreeSet<&'a str>,
}

impl<'a> Starts<'a> {
    /// All of `modules` wait.
    #[must_use]
    pub fn of(modules: &'a Running, snapshot: &Snapshot) -> Self {
        let (needs, wishes) = edges(modules, snapshot);
        let waiting = modules.keys().map(String::as_str).collect();
        Self { needs, wishes, waiting, starting: BTreeSet::new() }
    }

    /// A module that can start now; it is starting until [`Starts::ended`]. While none is starting there is one as long as any
    /// waits: optional dependencies give way first, then those of a circle.
    pub fn begin(&mut self) -> Option<&'a str> {
        let Self { needs, wishes, waiting, starting } = &*self;
        let is_free = |edges: &Edges<'_>, id: &str| {
            edges[id].iter().all(|other| !waiting.contains(other) && !starting.contains(other))
        };
        let can = || waiting.iter().filter(|id| is_free(needs, id));
        let mut next = can().find(|id| is_free(wishes, id));
        if next.is_none() && starting.is_empty() {
            next = can().next().or_else(|| waiting.first());
        }
        let next = next.copied()?;
        self.waiting.remove(next);
        self.starting.insert(next);
        Some(next)
    }

    /// The start of `id` has ended, well or not.
    pub fn ended(&mut self, id: &str) {
        self.starting.remove(id);
    }
}
