use proptest::prelude::*;

use super::*;
use crate::manifest::ActivationStrategy;
use crate::monitor::Stats;

const WINDOW: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(1);

/// A driver without a clock: it looks when the vigil is due.
struct Drive {
    vigil: Vigil,
    stats: Stats,
    start: Instant,
    now: Instant,
    provisional: bool,
    frozen: bool,
    rules: Rules,
}

/// What happens until the next look: requests, how many of them fail, whether health fails, why the tree gave up.
type Happens = (u64, u64, bool, bool);

impl Drive {
    fn new(after_confirm: AfterConfirm) -> Self {
        let mut triggers = ActivationStrategy::Gradual.default_triggers();
        let critical = RollbackTrigger::new(TriggerKind::CriticalError);
        triggers.extend(Some(critical).filter(|_| after_confirm == AfterConfirm::Rollback));
        triggers.iter_mut().for_each(|trigger| trigger.after_confirm = after_confirm);
        let mut activation = Activation { confirm_window: WINDOW, ..Activation::default() };
        activation.traffic_shifting.interval = INTERVAL;
        let (stats, start, rules) = (Stats::default(), Instant::now(), Rules::of(&triggers));
        let vigil = Vigil::new(&activation, triggers, stats.sample(), start);
        Self { vigil, stats, start, now: start, provisional: true, frozen: false, rules }
    }

    fn look(&mut self, (requests, failed, sick, gave_up): Happens) -> Duty {
        let due = self.vigil.due();
        assert!(due > self.now, "it is due {:?} before now", self.now - due);
        assert!(due <= self.now + look_every(INTERVAL), "it looks too late");
        self.now = due;
        (0..requests).for_each(|n| self.stats.record(n < failed, Duration::from_millis(1)));
        let seen = Seen {
            provisional: self.provisional,
            frozen: self.frozen,
            sample: self.stats.sample(),
            health: if sick { Health::Failed("database: gone") } else { Health::Passed },
            critical: gave_up.then_some("worker-0 died again"),
        };
        let duty = self.vigil.observe(self.now, &seen, &Sample::default(), &self.rules);
        if duty == Duty::Confirm {
            self.provisional = false;
        }
        duty
    }

    fn until(&mut self, happens: Happens, wanted: impl Fn(&Duty) -> bool) -> (Duty, Duration) {
        let began = self.now;
        for _ in 0..1000 {
            let duty = self.look(happens);
            if wanted(&duty) {
                return (duty, self.now - began);
            }
        }
        panic!("nothing of the kind within {:?}", self.now - began);
    }
}

const WELL: Happens = (50, 0, false, false);

#[test]
fn a_frozen_version_is_neither_confirmed_nor_returned_from_by_itself() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    drive.frozen = true;
    for _ in 0..1000 {
        assert_eq!(drive.look((30, 30, true, true)), Duty::Nothing);
        assert_eq!(drive.look((30, 0, false, false)), Duty::Nothing);
    }
    assert!(drive.now > drive.start + WINDOW);
    // somebody accepts it
    (drive.frozen, drive.provisional) = (false, false);
    let (duty, _) = drive.until((30, 30, false, false), |duty| *duty != Duty::Nothing);
    assert!(matches!(duty, Duty::Alarm(_)), "{duty:?}");
}

#[test]
fn a_version_that_does_well_confirms_itself_when_its_window_ends_and_then_needs_nothing() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    let (duty, took) = drive.until(WELL, |duty| *duty != Duty::Nothing);
    assert_eq!((duty, took), (Duty::Confirm, WINDOW));
    for _ in 0..100 {
        assert_eq!(drive.look(WELL), Duty::Nothing);
    }
}

#[test]
fn a_fault_within_the_window_returns_at_the_next_look() {
    // the last one is not listed
    let faults = [
        ((50, 25, false, false), "errorRateExceeded"),
        ((0, 0, true, false), "healthCheckFailure: database: gone"),
        ((0, 0, false, true), "criticalError: worker-0 died again"),
    ];
    for (fault, reason) in faults {
        let mut drive = Drive::new(AfterConfirm::Alarm);
        assert_eq!(drive.look(WELL), Duty::Nothing);
        match drive.look(fault) {
            Duty::Return(said) if said.starts_with(reason) => {}
            other => panic!("{other:?} for {reason}"),
        }
    }
}

#[test]
fn few_requests_that_all_fail_add_up_to_a_verdict_before_the_window_ends() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    let (duty, took) = drive.until((1, 1, false, false), |duty| *duty != Duty::Nothing);
    assert!(matches!(duty, Duty::Return(_)), "{duty:?}");
    assert!(took > INTERVAL && took < 3 * INTERVAL, "20 requests came in {took:?}");
}

#[test]
fn a_return_that_did_not_help_is_tried_again_each_interval_and_no_oftener() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    let bad = (50, 50, false, false);
    drive.until(bad, |duty| matches!(duty, Duty::Return(_)));
    let (_, took) = drive.until(bad, |duty| matches!(duty, Duty::Return(_)));
    assert_eq!(took, INTERVAL);
}

#[test]
fn a_return_that_fails_is_tried_again_after_twice_the_time_each_and_told_once() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    let (Duty::Return(reason), _) = drive.until((0, 0, false, true), |duty| matches!(duty, Duty::Return(_))) else {
        panic!("it is to be returned from")
    };
    for (n, wait) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        assert_eq!(drive.vigil.put_off(drive.now, reason.clone(), "the disk is full".to_owned()), n == 0);
        // it stays to be done, although nothing calls for it any more and the window is over
        let (duty, took) = drive.until(WELL, |duty| *duty != Duty::Nothing);
        assert_eq!((duty, took), (Duty::Return(reason.clone()), INTERVAL * wait));
    }
    assert!(drive.vigil.put_off(drive.now, reason.clone(), "the disk is gone".to_owned()), "that is news");
    assert_eq!(drive.until(WELL, |duty| *duty != Duty::Nothing), (Duty::Return(reason), INTERVAL));
}

#[test]
fn a_return_that_failed_is_not_made_once_the_version_is_confirmed() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    drive.until((0, 0, false, true), |duty| matches!(duty, Duty::Return(_)));
    drive.vigil.put_off(drive.now, "a reason".to_owned(), "the disk is full".to_owned());
    drive.provisional = false;
    for _ in 0..50 {
        assert_eq!(drive.look(WELL), Duty::Nothing);
    }
    assert!(matches!(drive.look((0, 0, false, true)), Duty::Alarm(_)));
}

#[test]
fn a_confirmation_that_cannot_be_written_is_tried_again_after_an_interval_and_told_once() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    drive.until(WELL, |duty| *duty == Duty::Confirm);
    drive.provisional = true;
    for (cause, is_news) in [("the disk is full", true), ("the disk is full", false), ("the disk is gone", true)] {
        assert_eq!(drive.vigil.postpone(drive.now, cause), is_news, "{cause}");
        assert_eq!(drive.until(WELL, |duty| *duty != Duty::Nothing), (Duty::Confirm, INTERVAL));
        drive.provisional = true;
    }
}

#[test]
fn after_the_window_a_rollback_that_has_nowhere_to_go_is_tried_once_an_outage() {
    let mut drive = Drive::new(AfterConfirm::Rollback);
    drive.until(WELL, |duty| *duty == Duty::Confirm);
    let bad = (50, 50, false, false);
    drive.until(bad, |duty| matches!(duty, Duty::RollBack(_)));
    for _ in 0..50 {
        assert_eq!(drive.look(bad), Duty::Nothing, "it was tried already");
    }
    for _ in 0..30 {
        assert_eq!(drive.look(WELL), Duty::Nothing);
    }
    drive.until(bad, |duty| matches!(duty, Duty::RollBack(_)));
}

#[test]
fn after_the_window_a_fault_that_lasts_is_one_alarm_and_one_more_once_it_was_over() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    drive.until(WELL, |duty| *duty == Duty::Confirm);
    let bad = (50, 50, false, false);
    drive.until(bad, |duty| matches!(duty, Duty::Alarm(_)));
    for _ in 0..50 {
        assert_eq!(drive.look(bad), Duty::Nothing, "it was told already");
    }
    for _ in 0..30 {
        assert_eq!(drive.look(WELL), Duty::Nothing);
    }
    drive.until(bad, |duty| matches!(duty, Duty::Alarm(_)));
}

#[test]
fn after_the_window_a_trigger_rolls_back_only_where_the_manifest_wants_it() {
    let mut drive = Drive::new(AfterConfirm::Rollback);
    drive.until(WELL, |duty| *duty == Duty::Confirm);
    let (duty, took) = drive.until((50, 50, false, false), |duty| *duty != Duty::Nothing);
    assert!(matches!(duty, Duty::RollBack(_)), "{duty:?}");
    assert!(took <= INTERVAL, "{took:?}");
}

#[test]
fn what_was_done_before_and_while_it_rested_is_not_held_against_it() {
    let mut drive = Drive::new(AfterConfirm::Alarm);
    (0..500).for_each(|_| drive.stats.record(true, Duration::from_millis(1)));
    drive.vigil.rest(drive.stats.sample(), drive.now);
    assert_eq!(drive.look(WELL), Duty::Nothing);
}

fn happens() -> impl Strategy<Value = Happens> {
    (0_u64..60, 0.0_f64..1.2, prop::bool::weighted(0.05), prop::bool::weighted(0.03)).prop_map(
        |(requests, share, sick, gave_up)| {
            // most of the time nothing fails
            let failed = if share < 0.9 { 0 } else { (requests as f64 * (share - 0.9)) as u64 };
            (requests, failed, sick, gave_up)
        },
    )
}

proptest! {
    #[test]
    fn no_history_is_confirmed_early_and_no_fault_passes_unnoticed(
        history in prop::collection::vec(happens(), 1..400),
        rolls_back in any::<bool>(),
    ) {
        let mut drive = Drive::new(if rolls_back { AfterConfirm::Rollback } else { AfterConfirm::Alarm });
        for happens in history {
            let was_provisional = drive.provisional;
            let duty = drive.look(happens);
            let (.., sick, gave_up) = happens;
            match &duty {
                Duty::Confirm => {
                    prop_assert!(was_provisional && drive.now >= drive.start + WINDOW);
                    prop_assert!(!sick && !gave_up);
                }
                Duty::Return(_) => {
                    prop_assert!(was_provisional);
                    return Ok(());
                }
                Duty::RollBack(_) => {
                    prop_assert!(!was_provisional && rolls_back);
                    return Ok(());
                }
                Duty::Alarm(_) => prop_assert!(!was_provisional && !rolls_back),
                Duty::Nothing => {
                    prop_assert!(!was_provisional || drive.now < drive.start + WINDOW, "the window is over");
                    prop_assert!(!(sick || gave_up) || drive.vigil.alarmed, "a fault that nobody hears of");
                }
            }
        }
    }
}
