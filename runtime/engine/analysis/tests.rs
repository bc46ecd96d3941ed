use proptest::prelude::*;

use super::*;
use crate::manifest::ActivationStrategy;
use crate::monitor::Stats;

/// A sample of `requests`, of which `errors` failed, each of which took `millis`.
fn sample(requests: u64, errors: u64, millis: u64) -> Sample {
    let stats = Stats::default();
    (0..requests).for_each(|number| stats.record(number < errors, Duration::from_millis(millis)));
    stats.sample()
}

fn rules() -> Rules {
    Rules::of(&ActivationStrategy::Gradual.default_triggers())
}

fn trigger(kind: TriggerKind, threshold: Option<Threshold>) -> Rules {
    Rules::of(&[RollbackTrigger { threshold, ..RollbackTrigger::new(kind) }])
}

/// The trigger that failed, else the verdict's name.
fn said(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Fail { trigger: TriggerKind::HealthCheckFailure, .. } => "health",
        Verdict::Fail { trigger: TriggerKind::ErrorRateExceeded, .. } => "errors",
        Verdict::Fail { trigger: TriggerKind::ResponseTimeExceeded, .. } => "times",
        other => other.name(),
    }
}

#[test]
fn the_default_limits_follow_the_baseline() {
    // (candidate, baseline) as (requests, errors, ms)
    let table = [
        ((0, 0, 0), (500, 0, 1), "inconclusive"),
        ((19, 19, 900), (500, 0, 1), "inconclusive"),
        ((20, 0, 1), (500, 0, 1), "pass"),
        ((20, 1, 1), (500, 0, 1), "pass"),
        ((20, 2, 1), (500, 0, 1), "errors"),
        ((100, 14, 1), (100, 10, 1), "pass"),
        ((100, 16, 1), (100, 10, 1), "errors"),
        ((100, 100, 1), (100, 96, 1), "pass"),
        ((100, 0, 95), (100, 0, 1), "pass"),
        ((100, 0, 110), (100, 0, 1), "times"),
        ((100, 0, 380), (100, 0, 200), "pass"),
        ((100, 0, 420), (100, 0, 200), "times"),
        ((100, 6, 500), (100, 0, 1), "errors"),
        // a baseline that tells nothing has rate 0 and no time
        ((100, 6, 1), (19, 19, 1), "errors"),
        ((100, 6, 1), (0, 0, 0), "errors"),
        ((100, 5, 5000), (19, 0, 1), "pass"),
    ];
    for (candidate, baseline, expected) in table {
        let of = |(requests, errors, millis)| sample(requests, errors, millis);
        let verdict = judge(&of(candidate), &of(baseline), None, &rules());
        assert_eq!(said(&verdict), expected, "{candidate:?} beside {baseline:?}: {verdict:?}");
    }
}

#[test]
fn a_threshold_takes_the_limits_place_whatever_the_baseline_does() {
    let errors = |most| trigger(TriggerKind::ErrorRateExceeded, Some(Threshold::Ratio(most)));
    let bad = sample(100, 50, 1);
    assert_eq!(said(&judge(&sample(100, 20, 1), &bad, None, &errors(0.2))), "pass");
    assert_eq!(said(&judge(&sample(100, 21, 1), &bad, None, &errors(0.2))), "errors");
    assert_eq!(said(&judge(&sample(1000, 2, 1), &sample(1000, 0, 1), None, &errors(0.001))), "errors");
    let times = trigger(TriggerKind::ResponseTimeExceeded, Some(Threshold::Time(Duration::from_millis(50))));
    for baseline in [sample(0, 0, 0), sample(100, 0, 500)] {
        assert_eq!(said(&judge(&sample(100, 0, 40), &baseline, None, &times)), "pass");
        assert_eq!(said(&judge(&sample(100, 0, 60), &baseline, None, &times)), "times");
    }
}

#[test]
fn only_what_a_trigger_names_is_judged() {
    let failing = sample(100, 100, 9000);
    let well = sample(100, 0, 1);
    let health = trigger(TriggerKind::HealthCheckFailure, None);
    assert_eq!(said(&judge(&failing, &well, None, &health)), "pass");
    assert_eq!(said(&judge(&failing, &well, Some("x"), &health)), "health");
    let times = trigger(TriggerKind::ResponseTimeExceeded, None);
    assert_eq!(said(&judge(&failing, &well, Some("x"), &times)), "times");
    let none = Rules::of(&ActivationStrategy::Instant.default_triggers());
    assert!(!none.need_samples());
    assert_eq!(said(&judge(&failing, &well, Some("x"), &none)), "pass");
    assert_eq!(said(&judge(&sample(0, 0, 0), &well, None, &none)), "pass");
}

#[test]
fn a_failed_check_needs_no_requests() {
    let verdict = judge(&Sample::default(), &Sample::default(), Some("/health answered 500"), &rules());
    let reason = "/health answered 500".to_owned();
    assert_eq!(verdict, Verdict::Fail { trigger: TriggerKind::HealthCheckFailure, reason });
}

#[test]
fn reasons_say_what_was_seen_and_what_was_allowed() {
    let reason = |candidate: &Sample, baseline: &Sample| match judge(candidate, baseline, None, &rules()) {
        Verdict::Fail { reason, .. } | Verdict::Inconclusive { reason } => reason,
        Verdict::Pass => panic!("it passed"),
    };
    assert_eq!(
        reason(&sample(55, 21, 1), &sample(490, 0, 1)),
        "error rate 38.2 % of 55 requests, allowed 5.0 % (baseline 0.0 % of 490)"
    );
    assert_eq!(reason(&sample(7, 0, 1), &sample(63, 0, 1)), "7 of the 20 requests that a judgement needs");
    let slow = reason(&sample(40, 0, 300), &sample(400, 0, 10));
    let parts = ["95 % of 40 requests took up to 30", " ms, allowed 110.", " ms (baseline 10."];
    assert!(parts.iter().all(|part| slow.contains(part)), "{slow}");
}

proptest! {
    /// More errors or slower answers never make a verdict better.
    #[test]
    fn a_worse_candidate_is_never_judged_better(
        requests in 0u64..80,
        errors in 0u64..80,
        more in 0u64..80,
        time in 0u64..400,
        slower in 0u64..400,
        baseline in (0u64..80, 0u64..80, 0u64..400),
    ) {
        let baseline = sample(baseline.0, baseline.1, baseline.2);
        let verdict = |errors, time| judge(&sample(requests, errors, time), &baseline, None, &rules());
        let (before, after) = (verdict(errors, time), verdict(errors + more, time + slower));
        if matches!(before, Verdict::Fail { .. }) {
            prop_assert!(matches!(after, Verdict::Fail { .. }), "{before:?} became {after:?}");
        }
        prop_assert_eq!(before.name() == "inconclusive", requests < SAMPLES);
    }

    /// A candidate that does exactly what its baseline does passes once there is enough to judge.
    #[test]
    fn a_candidate_like_its_baseline_passes(requests in SAMPLES..200, errors in 0u64..200, time in 0u64..2000) {
        let both = sample(requests, errors.min(requests), time);
        prop_assert_eq!(judge(&both, &both, None, &rules()), Verdict::Pass);
    }
}
