//! The state of an actor and how often it failed.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::intensity::{Decision, Intensity, RestartWindow};
use crate::actors::residents::larder::Held;

/// The pause of an actor that is held; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an actor's reader keeps between messages.
pub(super) struct Life {
    /// The state, with the version that made it; nothing before `init` and after a failure.
    pub(super) state: Option<(Held, Arc<str>)>,
    /// What it was before another version took the slot over, until that one is confirmed.
    pub(super) past: Option<Past>,
    window: Option<(Intensity, RestartWindow)>,
    held: u32,
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
        Self { state: None, past: None, window: None, held: 0 }
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

    /// Gives up the state for the one of before the swap, which `version` made; how many messages are lost by that. Nothing where
    /// there is none of this version.
    pub(super) fn returns_to(&mut self, version: &str) -> Option<u64> {
        let past = self.past.take_if(|past| *past.made_by == *version)?;
        self.state = Some((past.state, past.made_by));
        Some(past.since)
    }

    /// The state is lost.
    pub(super) fn end(&mut self) {
        self.state = None;
    }

    /// A failure at `now` (time since any fixed moment): what to do by the rule of the manifest. Once it failed too often the count begins anew, after a pause.
    pub(super) fn failed(&mut self, rule: Intensity, now: Duration) -> Decision {
        self.state = None;
        let window = match self.window.take() {
            Some((known, window)) if known == rule => window,
            _ => RestartWindow::new(rule),
        };
        let window = &mut self.window.insert((rule, window)).1;
        let decision = window.failed(now);
        if decision == Decision::Escalate {
            self.window = None;
        }
        decision
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

    #[test]
    fn too_many_failures_within_the_period_escalate_and_the_count_begins_anew() {
        let rule = Intensity { intensity: 2, period: Duration::from_secs(10) };
        let mut life = Life::new();
        let state = Held { value: Value::Int(1), room: Parcel::none(Arc::default()) };
        life.state = Some((state, "1.0.0".into()));
        assert_eq!(life.failed(rule, Duration::from_secs(1)), Decision::Restart(Duration::ZERO));
        assert!(life.is_new(), "the state is lost");
        assert!(matches!(life.failed(rule, Duration::from_secs(1)), Decision::Restart(_)));
        assert_eq!(life.failed(rule, Duration::from_secs(1)), Decision::Escalate);
        assert_eq!(life.failed(rule, Duration::from_secs(1)), Decision::Restart(Duration::ZERO));
        assert_eq!(life.failed(rule, Duration::from_secs(12)), Decision::Restart(Duration::ZERO));
    }
}
