//! The state of an actor, and how long it is held where it failed too often.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::residents::larder::Held;
use crate::monitor::InstanceKey;

/// The pause of an actor that is held; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long what passes by itself may keep a state from another version.
pub(super) const TRIES: Duration = Duration::from_secs(3);

/// What an actor's reader keeps between messages.
pub(super) struct Life {
    /// The state, with the version that made it; nothing before `init` and after a failure.
    pub(super) state: Option<(Held, Arc<str>)>,
    /// What it was before another version took the slot over, until that one is confirmed.
    pub(super) past: Option<Past>,
    held: u32,
    tries: Option<Tries>,
}

/// Tries to fit the state to a version, one soon after the other, which met what passes by itself.
struct Tries {
    owner: InstanceKey,
    since: Instant,
    last: Instant,
}

/// A state to return to.
pub(super) struct Past {
    pub(super) state: Held,
    /// The version that made it.
    pub(super) made_by: Arc<str>,
    /// How many messages were handled since.
    pub(super) since: u64,
}

impl Life {
    pub(super) fn new() -> Self {
        Self { state: None, past: None, held: 0, tries: None }
    }

    pub(super) const fn is_new(&self) -> bool {
        self.state.is_none()
    }

    /// A message was handled.
    pub(super) const fn goes_well(&mut self) {
        self.held = 0;
        if let Some(past) = &mut self.past {
            past.since += 1;
        }
    }

    /// Whether it has a state of before the swap, which `version` made.
    pub(super) fn remembers(&self, version: &str) -> bool {
        self.past.as_ref().is_some_and(|past| *past.made_by == *version)
    }

    /// Gives up the state for the one of before the swap, which `version` made; how many messages are lost by that. Nothing where
    /// there is none of this version.
    pub(super) fn returns_to(&mut self, version: &str) -> Option<u64> {
        let past = self.past.take_if(|past| *past.made_by == *version)?;
        self.state = Some((past.state, past.made_by));
        Some(past.since)
    }

    /// A try to fit it to `owner`, which began then and is over `now`, met what passes by itself. Whether that has gone on for too
    /// long.
    pub(super) fn is_tried_too_long(&mut self, owner: &InstanceKey, began: Instant, now: Instant) -> bool {
        let goes_on = |tries: &&Tries| tries.owner == *owner && began.saturating_duration_since(tries.last) < TRIES;
        let since = self.tries.as_ref().filter(goes_on).map_or(now, |tries| tries.since);
        let too_long = now - since >= TRIES;
        self.tries = (!too_long).then(|| Tries { owner: owner.clone(), since, last: now });
        too_long
    }

    /// The state is lost.
    pub(super) fn end(&mut self) {
        self.state = None;
    }

    /// How long it is held this time.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.held.min(10)).min(LONGEST_PAUSE);
        self.held = self.held.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use replug_scripts::Value;

    use super::*;
    use crate::sandbox::quota::Parcel;

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_begins_anew_after_a_message() {
        let mut life = Life::new();
        let pauses: Vec<u64> = (0..7).map(|_| life.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        life.goes_well();
        assert_eq!(life.pause(), FIRST_PAUSE);
    }

    #[test]
    fn tries_that_follow_each_other_are_too_many_after_a_while_and_each_version_has_its_own() {
        let of = |generation| InstanceKey { id: "shop".into(), version: "2.0.0".into(), generation };
        let (mut life, mut now, step) = (Life::new(), Instant::now(), TRIES / 2);
        let mut after = |generation, wait| {
            now += wait;
            life.is_tried_too_long(&of(generation), now, now)
        };
        assert_eq!([step; 3].map(|wait| after(1, wait)), [false, false, true]);
        assert!(!after(1, step), "they begin anew");
        assert_eq!([step; 2].map(|wait| after(2, wait)), [false; 2]);
        assert!(!after(2, TRIES), "the first one after a long while");
        assert_eq!([step; 2].map(|wait| after(2, wait)), [false, true]);
        // a try may itself take long
        let began = now;
        assert!(!life.is_tried_too_long(&of(3), began, began + TRIES));
        assert!(life.is_tried_too_long(&of(3), began + TRIES, began + TRIES * 2));
    }

    #[test]
    fn the_state_of_before_a_swap_is_returned_to_by_its_own_version_alone() {
        let held = |number| Held { value: Value::Int(number), room: Parcel::none(Arc::default()) };
        let mut life = Life::new();
        life.state = Some((held(2), "2.0.0".into()));
        life.past = Some(Past { state: held(1), made_by: "1.0.0".into(), since: 0 });
        life.goes_well();
        assert_eq!(life.returns_to("0.9.0"), None);
        assert_eq!(life.returns_to("1.0.0"), Some(1));
        assert!(matches!(&life.state, Some((state, version)) if state.value == Value::Int(1) && &**version == "1.0.0"));
        assert_eq!(life.returns_to("1.0.0"), None, "once");
    }
}
