//! Starts side by side: what can start while others are starting still.

use std::collections::BTreeSet;

use super::order::Edges;
use super::{Running, Snapshot};

/// Modules that are to start, in the order of [`start_order`](super::start_order), but without waiting for what they have
/// nothing to do with.
pub struct Starts<'a> {
    edges: Edges<'a>,
    waiting: BTreeSet<&'a str>,
    starting: BTreeSet<&'a str>,
}

impl<'a> Starts<'a> {
    /// All of `modules` wait.
    #[must_use]
    pub fn of(modules: &'a Running, snapshot: &Snapshot) -> Self {
        let edges = Edges::of(modules, snapshot);
        let waiting = modules.keys().map(String::as_str).collect();
        Self { edges, waiting, starting: BTreeSet::new() }
    }

    /// A module that can start now; it is starting until [`Starts::ended`]. While none is starting there is one as long as any
    /// waits: optional dependencies give way first, then one of a circle, and only then who needs those.
    pub fn begin(&mut self) -> Option<&'a str> {
        let Self { edges, waiting, starting } = &*self;
        let waits = |other: &str| waiting.contains(other) || starting.contains(other);
        let mut can = waiting.iter().copied().filter(|id| edges.is_free(id, waits));
        let mut next = can.clone().find(|id| edges.has_all(id, waits));
        if next.is_none() && starting.is_empty() {
            next = can.next();
            if next.is_none() && !waiting.is_empty() {
                let circle = edges.cycle(waiting).chain;
                next = circle.iter().min().and_then(|id| waiting.get(id.as_str())).copied();
            }
        }
        let next = next?;
        self.waiting.remove(next);
        self.starting.insert(next);
        Some(next)
    }

    /// The start of `id` has ended, well or not.
    pub fn ended(&mut self, id: &str) {
        self.starting.remove(id);
    }
}

/// The order of [`start_order`](super::start_order), which a circle does not keep from being one: one of it goes first then.
pub(super) fn in_turn(modules: &Running, snapshot: &Snapshot) -> Vec<String> {
    let mut starts = Starts::of(modules, snapshot);
    let turn = || {
        let next = starts.begin()?;
        starts.ended(next);
        Some(next.to_owned())
    };
    std::iter::from_fn(turn).collect()
}
