//! How often the actors of a slot failed, counted together as a supervisor counts its children. Pure: time is passed in.
//!
//! Two counts by the one rule of the manifest. Whatever has an actor begin anew counts towards holding it. Of that, what no
//! message of a client makes, an `init` that fails of itself and a panic, counts towards giving up: a client can have an actor held, and never
//! a version taken back.

use std::time::Duration;

use replug_scripts::{HostErrorKind, ScriptError};

use crate::actors::error::CallError;
use crate::actors::intensity::{Decision, Intensity, RestartWindow};

/// What was the end of an actor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Init,
    /// `init` met what others do: room and queues that are full, who answers too late, another actor that fails, is held or has ended.
    Crowd,
    Upgrade,
    Handle,
    /// A bug of the runtime's.
    Panic,
    /// A permanent actor that asked for its end.
    Stop,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It begins anew after this wait.
    Restart(Duration),
    /// It failed too often, and begins anew after a pause.
    Hold,
    /// The same, and no client did it: whoever is above must know.
    GiveUp,
}

/// The failures of the last period.
#[derive(Debug, Default)]
pub(super) struct Failures(Option<Counts>);

#[derive(Debug)]
struct Counts {
    rule: Intensity,
    all: RestartWindow,
    faults: RestartWindow,
}

impl Cause {
    /// Why a call of `handle` came to no end of its own.
    pub(super) const fn of(error: &CallError) -> Self {
        if matches!(error, CallError::Crashed(_)) { Self::Panic } else { Self::Handle }
    }

    /// Why `init` failed with this. Where another actor let it down before, it may say so in words of its own.
    pub(super) fn of_init(error: &CallError, was_let_down: bool) -> Self {
        match error {
            CallError::Crashed(_) => Self::Panic,
            error if was_let_down || passes(error) => Self::Crowd,
            _ => Self::Init,
        }
    }

    /// Its name in events.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Init | Self::Crowd => "init",
            Self::Upgrade => "upgrade",
            Self::Handle => "handle",
            Self::Panic => "panic",
            Self::Stop => "stop",
        }
    }

    const fn is_fault(self) -> bool {
        matches!(self, Self::Init | Self::Panic)
    }
}

/// Whether a script met what passes by itself: something that clients may have filled, or who has no time now. Nothing else becomes
/// otherwise by waiting.
pub(super) fn passes(error: &CallError) -> bool {
    match error {
        CallError::Unready { .. } | CallError::Cramped { .. } => true,
        CallError::Script(ScriptError::Host { error, .. }) => {
            matches!(error.kind, HostErrorKind::Overloaded | HostErrorKind::Timeout)
        }
        _ => false,
    }
}

impl Counts {
    const fn new(rule: Intensity) -> Self {
        Self { rule, all: RestartWindow::new(rule), faults: RestartWindow::new(rule) }
    }
}

impl Failures {
    /// Notes a failure at `now` (time since any fixed moment, never decreasing) and decides by the rule of the manifest. Once they
    /// were too many the count begins anew.
    pub(super) fn failed(&mut self, rule: Intensity, cause: Cause, now: Duration) -> Verdict {
        let mut counts = self.0.take().filter(|counts| counts.rule == rule).unwrap_or_else(|| Counts::new(rule));
        if cause.is_fault() && counts.faults.failed(now) == Decision::Escalate {
            return Verdict::GiveUp;
        }
        let verdict = match counts.all.failed(now) {
            Decision::Restart(wait) => Verdict::Restart(wait),
            Decision::Escalate => {
                // what a client held still counts towards what no client makes
                counts.all = RestartWindow::new(rule);
                Verdict::Hold
            }
        };
        self.0 = Some(counts);
        verdict
    }

    /// Another version begins without those of the one before.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAUSES: [Cause; 5] = [Cause::Init, Cause::Crowd, Cause::Handle, Cause::Panic, Cause::Stop];

    fn rule(intensity: u32, seconds: u64) -> Intensity {
        Intensity { intensity, period: Duration::from_secs(seconds) }
    }

    #[test]
    fn just_not_too_many_failures_begin_anew_and_one_more_holds_or_gives_up_by_its_cause() {
        for cause in CAUSES {
            let (mut failures, rule, now) = (Failures::default(), rule(2, 10), Duration::from_secs(1));
            for round in 0..2 {
                assert_eq!(failures.failed(rule, cause, now), Verdict::Restart(Duration::ZERO), "{cause:?}, {round}");
                assert!(matches!(failures.failed(rule, cause, now), Verdict::Restart(wait) if !wait.is_zero()));
                let last = if cause.is_fault() { Verdict::GiveUp } else { Verdict::Hold };
                assert_eq!(failures.failed(rule, cause, now), last, "{cause:?}, {round}");
            }
        }
    }

    #[test]
    fn an_init_is_not_to_blame_for_what_passes_nor_for_what_another_actor_did() {
        let host = |kind| {
            let error = replug_scripts::HostError::new(kind, "no");
            CallError::Script(ScriptError::Host { error, trace: String::new() })
        };
        for kind in HostErrorKind::ALL {
            let passes = matches!(kind, HostErrorKind::Overloaded | HostErrorKind::Timeout);
            let cause = if passes { Cause::Crowd } else { Cause::Init };
            assert_eq!(Cause::of_init(&host(kind), false), cause, "{kind:?}");
            assert_eq!(Cause::of_init(&host(kind), true), Cause::Crowd, "{kind:?}");
        }
        let thrown = CallError::Script(ScriptError::Thrown { message: "b is away".into(), trace: String::new() });
        assert_eq!([false, true].map(|down| Cause::of_init(&thrown, down)), [Cause::Init, Cause::Crowd]);
        assert_eq!(Cause::of_init(&CallError::Crashed("a@1".into()), true), Cause::Panic);
    }

    #[test]
    fn a_failure_counts_for_a_period_and_no_longer() {
        for (cause, last) in [(Cause::Init, Verdict::GiveUp), (Cause::Handle, Verdict::Hold)] {
            let mut failures = Failures::default();
            let mut at = |seconds| failures.failed(rule(2, 10), cause, Duration::from_secs(seconds));
            // never three within ten seconds
            for seconds in [0, 6, 11, 17, 22] {
                assert!(matches!(at(seconds), Verdict::Restart(_)), "{cause:?} at {seconds} s");
            }
            assert_eq!(at(27), last, "those of 17 s and 22 s still count");
        }
    }

    #[test]
    fn what_a_client_held_does_not_hide_an_init_that_fails() {
        let (mut failures, rule, now) = (Failures::default(), rule(2, 10), Duration::ZERO);
        let causes = [Cause::Init, Cause::Init, Cause::Handle, Cause::Init];
        let verdicts = causes.map(|cause| failures.failed(rule, cause, now));
        assert_eq!(verdicts[2..], [Verdict::Hold, Verdict::GiveUp]);
    }

    #[test]
    fn another_version_or_another_rule_begins_without_those_of_before() {
        let (mut failures, now) = (Failures::default(), Duration::ZERO);
        let first = Verdict::Restart(Duration::ZERO);
        assert_eq!(failures.failed(rule(1, 10), Cause::Init, now), first);
        failures.forget();
        assert_eq!(failures.failed(rule(1, 10), Cause::Init, now), first);
        assert_eq!(failures.failed(rule(1, 20), Cause::Init, now), first);
        assert_eq!(failures.failed(rule(1, 20), Cause::Init, now), Verdict::GiveUp);
        assert_eq!(failures.failed(rule(0, 20), Cause::Stop, now), Verdict::Hold, "an intensity of zero");
    }

    proptest! {
        #[test]
        fn no_period_holds_more_than_the_rule_allows_and_clients_never_have_it_given_up(
            steps in prop::collection::vec((0u64..3_000, 0usize..CAUSES.len()), 1..200), intensity in 0u32..6,
        ) {
            let (mut failures, rule) = (Failures::default(), rule(intensity, 10));
            let (mut now, mut all, mut faults) = (Duration::ZERO, Vec::new(), Vec::new());
            for (step, cause) in steps {
                now += Duration::from_millis(step);
                let cause = CAUSES[cause];
                all.retain(|&at| now - at <= rule.period);
                faults.retain(|&at| now - at <= rule.period);
                let many = all.len() >= intensity as usize;
                let bad = cause.is_fault() && faults.len() >= intensity as usize;
                let verdict = failures.failed(rule, cause, now);
                match verdict {
                    Verdict::GiveUp => {
                        prop_assert!(bad);
                        (all, faults) = (Vec::new(), Vec::new());
                        continue;
                    }
                    Verdict::Hold => {
                        prop_assert!(many && !bad);
                        all.clear();
                    }
                    Verdict::Restart(_) => {
                        prop_assert!(!many && !bad);
                        all.push(now);
                    }
                }
                if cause.is_fault() {
                    faults.push(now);
                }
            }
        }
    }
}
