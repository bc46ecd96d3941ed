//! Weight 0 where requests are mirrored to the candidate.

use super::*;
use crate::manifest::Mirror;

fn mirrored(initial: u8) -> TrafficShifting {
    TrafficShifting { mirror: Some(Mirror::default()), ..shifting(initial, 10, 50) }
}

/// `requests` answers of 1 ms, of which `errors` failed, beside copies to which something was refused.
fn copies(requests: u64, errors: u64, refused: u64) -> Sample {
    let stats = Stats::default();
    (0..requests).for_each(|number| stats.record(number < errors, Duration::from_millis(1)));
    (0..refused).for_each(|_| stats.leave_out());
    stats.sample()
}

#[test]
fn a_candidate_that_is_mirrored_to_has_no_share_before_its_first_weight() {
    for (initial, expected) in [(0, vec![0, 10, 30, 70, 100]), (5, vec![0, 5, 15, 35, 75, 100]), (100, vec![0, 100])] {
        assert_eq!(Weights::of(&mirrored(initial)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn copies_are_judged_for_an_interval_as_requests_are() {
    let mut drive = Drive::new(&mirrored(0), OnInconclusive::Promote);
    assert!(drive.shift.is_mirroring());
    assert_eq!(drive.until_decided(&copies(40, 0, 2), Health::Passed), (Decision::Route(10), 1000));
    assert!(!drive.shift.is_mirroring());
    let told = "pass: 40 copies of requests, beside 2 that are not comparable, since side effects were refused to them";
    assert_eq!(drive.verdicts(), [(0, told.to_owned(), 1000.0)]);
}

#[test]
fn copies_that_fail_return_to_the_baseline_before_a_client_met_the_candidate() {
    let mut drive = Drive::new(&mirrored(10), OnInconclusive::Promote);
    let (decision, took) = drive.until_decided(&copies(20, 20, 0), Health::Passed);
    let Decision::RollBack { trigger, reason } = decision else { panic!("{decision:?}") };
    assert_eq!((trigger, took), (Some(TriggerKind::ErrorRateExceeded), 100), "{reason}");
    assert_eq!(drive.verdicts()[0].0, 0);
    assert!(!drive.shift.is_mirroring(), "it has ended");
}

#[test]
fn copies_to_which_side_effects_were_refused_are_no_failures() {
    for (policy, rolls_back) in [(OnInconclusive::Promote, false), (OnInconclusive::Rollback, true)] {
        let mut drive = Drive::new(&mirrored(0), policy);
        let (decision, took) = drive.until_decided(&copies(0, 0, 60), Health::Passed);
        assert_eq!(took, 2000, "it is held one interval more");
        match decision {
            Decision::RollBack { trigger, .. } => assert!(rolls_back && trigger.is_none()),
            decision => assert!(!rolls_back && decision == Decision::Route(10), "{decision:?}"),
        }
        let told = &drive.verdicts()[0].1;
        let few = "inconclusive: 0 of the 20 requests that a judgement needs, beside 60 that are not comparable";
        assert!(told.starts_with(few), "{told}");
    }
}

#[test]
fn health_that_is_not_known_yet_is_waited_for_without_haste() {
    let mut drive = Drive::new(&mirrored(0), OnInconclusive::Promote);
    let good = copies(40, 0, 0);
    for tick in 1..40 {
        assert_eq!(drive.look(&good, &good, Health::Unknown), Decision::Wait);
        assert_eq!((drive.now - drive.start).as_millis(), tick * 100);
    }
    assert_eq!(drive.look(&good, &good, Health::Passed), Decision::Route(10));
}

#[test]
fn it_is_steered_as_at_any_weight() {
    let good = copies(40, 0, 0);
    let mut drive = Drive::new(&mirrored(0), OnInconclusive::Promote);
    drive.shift.pause();
    for _ in 0..50 {
        assert_eq!(drive.look(&good, &good, Health::Passed), Decision::Wait);
    }
    assert!(drive.shift.is_mirroring());
    drive.shift.resume(drive.now);
    assert_eq!(drive.until_decided(&good, Health::Passed), (Decision::Route(10), 1000));
    let mut drive = Drive::new(&mirrored(0), OnInconclusive::Promote);
    assert_eq!(drive.shift.promote(drive.now, false, "somebody"), Decision::Route(10));
    assert!(!drive.shift.is_mirroring());
    let mut drive = Drive::new(&mirrored(30), OnInconclusive::Promote);
    assert_eq!(drive.shift.promote(drive.now, true, "somebody"), Decision::Promote);
}

proptest! {
    /// Whatever is seen, and whenever: no share before the verdict on the copies, and none after a failed one.
    #[test]
    fn a_candidate_that_is_mirrored_to_gets_nothing_before_the_verdict(
        initial in 0u8..=100,
        looks in prop::collection::vec((0u64..60, 0u64..60, 0u64..60, 0u8..20, 0u64..700), 1..60),
        policy in prop::sample::select(vec![OnInconclusive::Promote, OnInconclusive::Hold, OnInconclusive::Rollback]),
    ) {
        let mut drive = Drive::new(&mirrored(initial), policy);
        let (baseline, rules) = (sample(90, 0), rules());
        let (mut ends, mut intervals) = (drive.start + Duration::from_secs(1), 0);
        for (requests, errors, refused, health, wait) in looks {
            drive.now += Duration::from_millis(wait);
            let health = match health { 0 => Health::Failed("x"), 1 => Health::Unknown, _ => Health::Passed };
            let seen = copies(requests, errors, refused);
            let verdict = judge(&seen, &baseline, health.failure(), &rules);
            let decision = drive.shift.observe(drive.now, &seen, &baseline, health, &rules);
            let is_over = drive.now >= ends && (health != Health::Unknown);
            if is_over {
                (ends, intervals) = (drive.now + Duration::from_secs(1), intervals + 1);
            }
            match decision {
                Decision::Wait | Decision::Hold { .. } => {
                    prop_assert!(drive.shift.weight() == 0 && drive.shift.is_mirroring());
                    let failed = matches!(verdict, Verdict::Fail { .. });
                    prop_assert!(!failed);
                    continue;
                }
                Decision::Route(_) | Decision::Promote => {
                    prop_assert!(is_over, "{:?} before the interval ended", decision);
                    let passed = verdict == Verdict::Pass;
                    let tolerated = matches!(verdict, Verdict::Inconclusive { .. })
                        && policy == OnInconclusive::Promote && intervals > 1 && health == Health::Passed;
                    prop_assert!(passed || tolerated, "{:?} after {:?}", decision, verdict);
                }
                Decision::RollBack { .. } => {
                    prop_assert_eq!(drive.shift.weight(), 0);
                    let failed = matches!(verdict, Verdict::Fail { .. });
                    prop_assert!(failed || (policy == OnInconclusive::Rollback && intervals > 1));
                }
            }
            prop_assert!(!drive.shift.is_mirroring());
            let reports = drive.shift.reports();
            prop_assert!(reports.len() == 1 && reports[0].weight == 0, "{:?}", reports);
            break;
        }
    }
}
