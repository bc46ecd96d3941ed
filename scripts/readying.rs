//! A run of `init` or `warmup`: what a script sets there without a name has the same name in the next run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Goes with a call by which the runtime has a version get ready. Each virtual machine runs `init`, so what that sets is known by
/// what it is and by how many of its kind the same run has named before.
#[derive(Debug)]
pub struct Readying {
    handler: &'static str,
    named: Mutex<HashMap<String, usize>>,
}

impl Readying {
    /// The most kinds that one run names.
    pub const MOST: usize = 1000;

    /// One that has named nothing, where `purpose` is `init` or `warmup`.
    #[must_use]
    pub fn of(purpose: &str) -> Option<Self> {
        let handler = ["init", "warmup"].into_iter().find(|handler| *handler == purpose)?;
        Some(Self { handler, named: Mutex::default() })
    }

    /// Names the next one of a kind; nothing where the run has named one of each of [`Readying::MOST`] others.
    #[must_use]
    pub fn name(&self, kind: &str) -> Option<String> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= Self::MOST && !named.contains_key(kind) {
            return None;
        }
        let count = named.entry(kind.to_owned()).or_default();
        let name = format!("{kind}-{}-{count}", self.handler);
        *count += 1;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_gives_the_same_names_in_its_order_whatever_else_it_names() {
        let run = || Readying::of("init").expect("a run");
        let (first, second) = (run(), run());
        let one: Vec<_> = ["a", "a", "b"].iter().map(|kind| first.name(kind)).collect();
        let other: Vec<_> = ["b", "a", "a"].iter().map(|kind| second.name(kind)).collect();
        assert_eq!((&one[..2], &one[2]), (&other[1..], &other[0]));
        let distinct: std::collections::HashSet<_> = one.iter().collect();
        assert_eq!(distinct.len(), 3);
        assert_ne!(Readying::of("warmup").expect("a run").name("a"), one[0]);
        assert!(Readying::of("health").is_none());
    }

    #[test]
    fn a_run_names_so_many_kinds_at_most() {
        let run = Readying::of("warmup").expect("a run");
        for kind in 0..Readying::MOST {
            assert!(run.name(&kind.to_string()).is_some());
        }
        assert_eq!(run.name("one more"), None);
        assert!(run.name("7").is_some());
    }
}
