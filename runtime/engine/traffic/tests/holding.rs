//! A weight that waits for somebody: it passed, or was paused.

use super::*;

#[test]
fn what_passes_waits_to_be_promoted_where_the_manifest_says_so_and_fails_all_the_same() {
    let start = Instant::now();
    let policies = (OnPass::Hold, OnInconclusive::Promote);
    let mut drive =
        Drive { shift: Shift::new(&shifting(0, 10, 50), policies, start), now: start, start, rules: rules() };
    let (good, none) = (sample(100, 0), sample(0, 0));
    // without traffic there is nothing to pass
    assert_eq!(drive.until_decided(&none, Health::Passed), (Decision::Route(10), 0));
    let mut holds = 0;
    for _ in 0..100 {
        match drive.look(&good, &good, Health::Passed) {
            Decision::Hold { verdict, .. } => {
                assert_eq!(verdict, "pass");
                holds += 1;
            }
            decision => assert_eq!(decision, Decision::Wait),
        }
        assert_eq!(drive.shift.is_held(), holds > 0);
    }
    assert!(holds > 5 && drive.shift.weight() == 10, "{holds}");
    assert_eq!(drive.shift.promote(drive.now, false, "the administrator"), Decision::Route(30));
    assert!(!drive.shift.is_held());
    let failed = drive.until_decided(&sample(100, 50), Health::Passed).0;
    assert!(matches!(failed, Decision::RollBack { .. }), "{failed:?}");
}

#[test]
fn what_is_inconclusive_goes_on_as_ever_although_what_passes_is_held() {
    let start = Instant::now();
    let policies = (OnPass::Hold, OnInconclusive::Promote);
    let mut drive =
        Drive { shift: Shift::new(&shifting(10, 10, 50), policies, start), now: start, start, rules: rules() };
    assert_eq!(drive.until_decided(&sample(0, 0), Health::Passed), (Decision::Route(20), 2000));
}

#[test]
fn a_paused_shift_is_judged_and_goes_on_where_it_was() {
    let mut drive = Drive::new(&shifting(10, 10, 50), OnInconclusive::Promote);
    let good = sample(100, 0);
    drive.shift.pause();
    for _ in 0..100 {
        assert_eq!(drive.look(&good, &good, Health::Passed), Decision::Wait);
    }
    assert!(drive.shift.is_held() && drive.shift.weight() == 10);
    drive.shift.resume(drive.now);
    assert_eq!(drive.until_decided(&good, Health::Passed), (Decision::Route(20), 1000), "a whole interval");
    drive.shift.pause();
    let failed = drive.look(&sample(100, 100), &good, Health::Passed);
    assert!(matches!(failed, Decision::RollBack { trigger: Some(TriggerKind::ErrorRateExceeded), .. }), "{failed:?}");
    assert_eq!(drive.shift.promote(drive.now, true, "somebody"), failed, "it has ended");
}
