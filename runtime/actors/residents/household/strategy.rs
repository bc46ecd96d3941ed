//! The household as a supervisor of its actors, by the strategy and the intensity of the version that has the slot.
//!
//! It stands below the tree of that version as a supervisor of its own. When it gives up, its actors are held for a pause and the
//! version has met a critical error, as when the tree gives up; but the workers go on, since requests do not rest on them.
//!
//! | strategy | who gives up its state with an actor that begins anew |
//! |---|---|
//! | `one_for_one` | nobody |
//! | `one_for_all` | all others |
//! | `rest_for_one` | those that the manifest declares after it |
//!
//! Those begin anew with it, and come back if they had ended by themselves; a temporary one ends. One that has not begun, or is not
//! asked for, is left as it is, but held with the others. What waits in mailboxes waits on.

use std::sync::{Arc, PoisonError};

use super::Household;
use crate::actors::instance::Instance;
use crate::actors::intensity::Intensity;
use crate::actors::residents::actor::{Hold, ScriptActor};
use crate::actors::residents::failures::{Cause, Verdict};
use crate::actors::spec::Strategy;

/// The end of an actor that begins anew.
pub(in crate::actors::residents) struct End<'a> {
    pub(in crate::actors::residents) actor: &'a ScriptActor,
    /// Where the manifest declares it.
    pub(in crate::actors::residents) position: usize,
    pub(in crate::actors::residents) why: (Cause, &'a str),
    /// Whether it is the version's own.
    pub(in crate::actors::residents) counts: bool,
}

/// What follows it.
pub(in crate::actors::residents) struct Followed {
    pub(in crate::actors::residents) verdict: Verdict,
    /// How it is held, with those that go with it.
    pub(in crate::actors::residents) hold: Option<Hold>,
    /// Those, in the order of the manifest.
    pub(in crate::actors::residents) with: Vec<Arc<str>>,
}

impl Household {
    /// Counts the end of an actor and takes down those that go with it, last first. `pause` says how long it is held where that
    /// is what follows.
    pub(in crate::actors::residents) fn one_ended(
        self: &Arc<Self>,
        owner: &Instance,
        end: &End<'_>,
        pause: impl FnOnce() -> std::time::Duration,
    ) -> Followed {
        let runtime = &owner.manifest.runtime;
        // of two that end at once, one comes first and takes the other one with it
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let at_once = Verdict::Restart(std::time::Duration::ZERO);
        if end.actor.went_along() {
            return Followed { verdict: at_once, hold: None, with: Vec::new() };
        }
        let rule = Intensity { intensity: runtime.supervision.intensity, period: runtime.supervision.period };
        let (cause, reason) = end.why;
        let verdict = if end.counts { failures.failed(rule, cause, self.since.elapsed()) } else { at_once };
        let hold = match verdict {
            Verdict::Restart(_) => None,
            Verdict::Hold | Verdict::GiveUp => Some(Hold::now(owner.key.clone(), reason, pause())),
        };
        let affected = Strategy::from(runtime.supervision.strategy).affected(end.position, runtime.actors.len());
        let mut with = Vec::new();
        for position in affected.rev().filter(|position| *position != end.position) {
            let spec = &runtime.actors[position];
            let known = self.actors().table.get(&*spec.id).cloned();
            // one that nobody has called yet is held as well
            let sibling = known.or_else(|| hold.is_some().then(|| self.actor(spec)));
            if let Some(sibling) = sibling.filter(|sibling| sibling.goes_along(spec.restart, hold.as_ref())) {
                with.push(sibling.name());
            }
        }
        with.reverse();
        Followed { verdict, hold, with }
    }
}
