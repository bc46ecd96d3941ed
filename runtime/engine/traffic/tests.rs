use proptest::prelude::*;

use super::*;
use crate::manifest::ActivationStrategy;
use crate::monitor::Stats;

mod holding;
mod mirroring;

/// `requests` answers of 1 ms, of which `errors` failed.
fn sample(requests: u64, errors: u64) -> Sample {
    let stats = Stats::default();
    (0..requests).for_each(|number| stats.record(number < errors, Duration::from_millis(1)));
    stats.sample()
}

fn rules() -> Rules {
    Rules::of(&ActivationStrategy::Gradual.default_triggers())
}

fn shifting(initial: u8, increment: u8, max_increment: u8) -> TrafficShifting {
    TrafficShifting { initial, increment, max_increment, interval: Duration::from_secs(1), mirror: None }
}

/// A driver without a clock: it observes when the shift is due.
struct Drive {
    shift: Shift,
    now: Instant,
    start: Instant,
    rules: Rules,
}

impl Drive {
    fn new(shifting: &TrafficShifting, on_inconclusive: OnInconclusive) -> Self {
        let start = Instant::now();
        Self {
            shift: Shift::new(shifting, (OnPass::Promote, on_inconclusive), start),
            now: start,
            start,
            rules: rules(),
        }
    }

    fn default() -> Self {
        Self::new(&shifting(0, 10, 50), OnInconclusive::Promote)
    }

    fn look(&mut self, candidate: &Sample, baseline: &Sample, health: Health<'_>) -> Decision {
        let due = self.shift.due();
        assert!(due >= self.now, "due {:?} before now", self.now - due);
        self.now = due;
        self.shift.observe(self.now, candidate, baseline, health, &self.rules)
    }

    /// Looks until something is decided; how long that took, in milliseconds.
    fn until_decided(&mut self, candidate: &Sample, health: Health<'_>) -> (Decision, u128) {
        let began = self.now;
        for _ in 0..1000 {
            match self.look(candidate, &sample(100, 0), health) {
                Decision::Wait | Decision::Hold { .. } => {}
                decided => return (decided, (self.now - began).as_millis()),
            }
        }
        panic!("nothing is decided in {:?}", self.now - began);
    }

    /// Weight, verdict with its detail, and time of each report.
    fn verdicts(&self) -> Vec<(u8, String, f64)> {
        let told = |report: &ShiftReport| match &*report.detail {
            "" => report.verdict.clone(),
            detail => format!("{}: {detail}", report.verdict),
        };
        self.shift.reports().iter().map(|report| (report.weight, told(report), report.ms)).collect()
    }
}

/// Whether the weight stays.
fn keeps(decision: &Decision) -> bool {
    matches!(decision, Decision::Wait | Decision::Hold { .. })
}

#[test]
fn weights_go_up_by_steps_that_double_up_to_the_largest() {
    let table = [
        ((0, 10, 50), vec![0, 10, 30, 70, 100]),
        ((0, 10, 10), vec![0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ((0, 1, 100), vec![0, 1, 3, 7, 15, 31, 63, 100]),
        ((5, 10, 50), vec![5, 15, 35, 75, 100]),
        ((0, 100, 100), vec![0, 100]),
        ((0, 60, 60), vec![0, 60, 100]),
        ((50, 50, 50), vec![50, 100]),
        ((99, 1, 1), vec![99, 100]),
        ((100, 10, 50), vec![100]),
    ];
    for ((initial, increment, largest), expected) in table {
        let weights: Vec<u8> = Weights::of(&shifting(initial, increment, largest)).collect();
        assert_eq!(weights, expected, "{initial} by {increment} to {largest}");
    }
}

#[test]
fn a_healthy_candidate_needs_an_interval_for_each_weight_between() {
    let mut drive = Drive::default();
    let good = sample(100, 0);
    assert_eq!(drive.until_decided(&Sample::default(), Health::Passed), (Decision::Route(10), 0));
    assert_eq!(drive.until_decided(&good, Health::Passed), (Decision::Route(30), 1000));
    assert_eq!(drive.until_decided(&good, Health::Passed), (Decision::Route(70), 1000));
    assert_eq!(drive.until_decided(&good, Health::Passed), (Decision::Promote, 1000));
    assert_eq!(drive.shift.weight(), 100);
    let passed = |weight, ms| (weight, "pass".to_owned(), ms);
    assert_eq!(drive.verdicts(), [passed(0, 0.0), passed(10, 1000.0), passed(30, 1000.0), passed(70, 1000.0)]);
    assert_eq!(drive.until_decided(&sample(50, 50), Health::Failed("late")).0, Decision::Promote, "it stays so");
}

#[test]
fn at_weight_0_health_alone_is_judged_and_waited_for() {
    let mut drive = Drive::default();
    let failing = sample(50, 50);
    for tick in 0..5 {
        assert_eq!(drive.look(&failing, &sample(0, 0), Health::Unknown), Decision::Wait);
        assert_eq!((drive.now - drive.start).as_millis(), tick * 100);
    }
    assert_eq!(drive.look(&failing, &sample(0, 0), Health::Passed), Decision::Route(10));
    assert_eq!(drive.verdicts(), [(0, "pass".to_owned(), 500.0)]);
}

#[test]
fn a_candidate_that_is_unwell_before_its_first_request_gets_none() {
    let mut drive = Drive::default();
    let (decision, took) = drive.until_decided(&Sample::default(), Health::Failed("/health answered 503"));
    let reason = "/health answered 503".to_owned();
    assert_eq!(decision, Decision::RollBack { trigger: Some(TriggerKind::HealthCheckFailure), reason });
    assert_eq!((took, drive.shift.weight()), (0, 0));
    assert_eq!(drive.verdicts(), [(0, "fail: /health answered 503".to_owned(), 0.0)]);
}

#[test]
fn health_that_no_trigger_names_holds_nothing_up() {
    let mut drive = Drive::default();
    drive.rules.health = false;
    for health in [Health::Unknown, Health::Failed("x")] {
        let mut drive = Drive { shift: drive.shift.clone(), rules: drive.rules.clone(), ..drive };
        assert_eq!(drive.until_decided(&Sample::default(), health), (Decision::Route(10), 0));
    }
}

#[test]
fn a_failing_candidate_is_noticed_long_before_its_interval_ends() {
    let mut drive = Drive::default();
    drive.until_decided(&Sample::default(), Health::Passed);
    assert_eq!(drive.look(&sample(19, 19), &sample(100, 0), Health::Passed), Decision::Wait);
    let (decision, took) = drive.until_decided(&sample(20, 20), Health::Passed);
    let reason = "error rate 100.0 % of 20 requests, allowed 5.0 % (baseline 0.0 % of 100)";
    assert_eq!(
        decision,
        Decision::RollBack { trigger: Some(TriggerKind::ErrorRateExceeded), reason: reason.to_owned() }
    );
    assert_eq!(took, 100, "a tenth of the interval");
    assert_eq!(drive.verdicts()[1], (10, format!("fail: {reason}"), 200.0));
    assert_eq!(drive.until_decided(&sample(100, 0), Health::Passed).0, decision, "what is decided stays so");
}

#[test]
fn looks_come_ten_times_an_interval_within_bounds() {
    for (interval, tick) in [(10, 10), (50, 10), (1000, 100), (5000, 250), (3_600_000, 250)] {
        let interval = Duration::from_millis(interval);
        let shifting = TrafficShifting { initial: 50, interval, ..TrafficShifting::default() };
        let start = Instant::now();
        let mut shift = Shift::new(&shifting, (OnPass::Promote, OnInconclusive::Promote), start);
        let first = shift.due();
        assert_eq!((first - start).as_millis(), tick, "{interval:?}");
        let later = start + Duration::from_millis(3);
        shift.observe(later, &Sample::default(), &Sample::default(), Health::Passed, &rules());
        let expected = (later + Duration::from_millis(u64::try_from(tick).expect("small"))).min(start + interval);
        assert_eq!(shift.due(), expected, "{interval:?}");
    }
}

#[test]
fn too_few_requests_hold_the_weight_for_one_interval_more() {
    let mut drive = Drive::default();
    drive.until_decided(&Sample::default(), Health::Passed);
    let few = sample(7, 7);
    assert_eq!(drive.until_decided(&few, Health::Passed), (Decision::Route(30), 2000));
    let told =
        "inconclusive: 7 of the 20 requests that a judgement needs in 2 intervals; promoted, since health passes";
    assert_eq!(drive.verdicts()[1], (10, told.to_owned(), 2000.0));
}

#[test]
fn what_adds_up_while_a_weight_is_held_is_judged() {
    for (late, expected) in [(sample(25, 0), Decision::Route(30)), (sample(25, 25), Decision::Wait)] {
        let mut drive = Drive::default();
        drive.until_decided(&Sample::default(), Health::Passed);
        for _ in 0..10 {
            assert!(keeps(&drive.look(&sample(7, 0), &sample(70, 0), Health::Passed)));
        }
        let (decision, took) = drive.until_decided(&late, Health::Passed);
        if expected == Decision::Wait {
            assert!(matches!(decision, Decision::RollBack { .. }), "{decision:?}");
            assert_eq!(took, 100);
        } else {
            assert_eq!((decision, took), (expected, 1000));
            assert_eq!(drive.verdicts()[1], (10, "pass".to_owned(), 2000.0));
        }
    }
}

#[test]
fn without_requests_only_passing_health_promotes() {
    let mut drive = Drive::default();
    drive.rules.health = false;
    drive.until_decided(&Sample::default(), Health::Passed);
    for health in [Health::Failed("x"), Health::Unknown] {
        for _ in 0..40 {
            assert!(keeps(&drive.look(&Sample::default(), &sample(9, 0), health)));
        }
    }
    let (decision, took) = drive.until_decided(&Sample::default(), Health::Passed);
    assert_eq!(decision, Decision::Route(30));
    assert!(took <= 1000, "judged at the end of the interval that runs");
}

#[test]
fn a_weight_that_is_to_be_held_is_held_until_there_is_a_verdict() {
    let mut drive = Drive::new(&shifting(10, 10, 50), OnInconclusive::Hold);
    let mut told = Vec::new();
    for _ in 0..500 {
        match drive.look(&sample(3, 0), &sample(9, 0), Health::Passed) {
            Decision::Wait => {}
            Decision::Hold { reason, .. } => told.push(reason),
            other => panic!("{other:?}"),
        }
    }
    // each interval that ends says so
    assert_eq!(told.len(), 50);
    assert_eq!(told[49], "3 of the 20 requests that a judgement needs in 50 intervals");
    assert_eq!((drive.now - drive.start).as_secs(), 50);
    assert!(drive.shift.is_held());
    assert_eq!(drive.until_decided(&sample(20, 0), Health::Passed), (Decision::Route(20), 1000));
    let mut failing = Drive::new(&shifting(10, 10, 50), OnInconclusive::Hold);
    failing.look(&sample(3, 0), &sample(9, 0), Health::Passed);
    assert!(!failing.shift.is_held(), "it has one more interval");
    assert!(matches!(failing.until_decided(&sample(20, 9), Health::Passed).0, Decision::RollBack { .. }));
}

#[test]
fn too_few_requests_return_to_the_baseline_where_the_manifest_says_so() {
    let mut drive = Drive::new(&shifting(10, 10, 50), OnInconclusive::Rollback);
    let (decision, took) = drive.until_decided(&sample(3, 0), Health::Passed);
    let few = "3 of the 20 requests that a judgement needs in 2 intervals";
    let reason = format!("{few}, and `onInconclusive` is rollback");
    assert_eq!((decision, took), (Decision::RollBack { trigger: None, reason }, 2000));
    assert_eq!(drive.verdicts(), [(10, format!("inconclusive: {few}; rolled back"), 2000.0)]);
}

#[test]
fn a_late_look_ends_the_interval_and_the_next_is_counted_from_then() {
    let mut drive = Drive::new(&shifting(10, 10, 50), OnInconclusive::Promote);
    let late = drive.start + Duration::from_secs(7);
    let rules = rules();
    let decision = drive.shift.observe(late, &sample(50, 0), &sample(50, 0), Health::Passed, &rules);
    assert_eq!(decision, Decision::Route(20));
    drive.now = late;
    assert_eq!(drive.until_decided(&sample(50, 0), Health::Passed), (Decision::Route(40), 1000));
}

#[test]
fn a_shift_that_begins_with_everything_promotes_at_once_unless_it_is_unwell() {
    let mut drive = Drive::new(&shifting(100, 10, 50), OnInconclusive::Promote);
    assert_eq!(drive.shift.weight(), 100);
    assert_eq!(drive.until_decided(&Sample::default(), Health::Passed), (Decision::Promote, 0));
    let mut unwell = Drive::new(&shifting(100, 10, 50), OnInconclusive::Promote);
    let (decision, _) = unwell.until_decided(&Sample::default(), Health::Failed("x"));
    assert!(matches!(decision, Decision::RollBack { .. }), "{decision:?}");
}

#[test]
fn a_report_of_health_says_whether_it_passes() {
    let table = [
        (HealthStatus::Unknown, Health::Unknown),
        (HealthStatus::Healthy, Health::Passed),
        (HealthStatus::Degraded, Health::Passed),
        (HealthStatus::Unhealthy, Health::Failed("told")),
    ];
    for (status, health) in table {
        assert_eq!(Health::of(status, "told"), health);
    }
}

/// What a look may see: requests and errors of the candidate, and whether a check failed.
fn seen() -> impl Strategy<Value = (u64, u64, bool)> {
    (0u64..60, 0u64..60, prop::bool::weighted(0.02))
}

fn any_shifting() -> impl Strategy<Value = TrafficShifting> {
    (0u8..=100, 1u8..=100, 0u8..=100, 10u64..5000).prop_map(|(initial, increment, more, interval)| TrafficShifting {
        initial,
        increment,
        max_increment: increment.max(more),
        interval: Duration::from_millis(interval),
        mirror: None,
    })
}

#[test]
fn a_shift_is_promoted_to_its_next_weight_or_to_everything() {
    let mut drive = Drive::default();
    drive.shift.pause();
    assert_eq!(drive.look(&sample(0, 0), &sample(0, 0), Health::Passed), Decision::Wait, "at weight 0, too");
    assert_eq!(drive.shift.promote(drive.now, false, "somebody"), Decision::Route(10));
    assert!(!drive.shift.is_paused());
    assert_eq!(drive.until_decided(&sample(100, 0), Health::Passed), (Decision::Route(30), 1000));
    assert_eq!(drive.shift.promote(drive.now, true, "somebody"), Decision::Promote);
    let told: Vec<_> = drive.verdicts().into_iter().map(|(weight, verdict, _)| (weight, verdict)).collect();
    let by_hand = |weight| (weight, "promoted: somebody wanted it".to_owned());
    assert_eq!(told, [by_hand(0), (10, "pass".to_owned()), by_hand(30)]);
    assert_eq!(drive.shift.weight(), 100);
}

proptest! {
    #[test]
    fn weights_grow_and_end_with_everything(shifting in any_shifting()) {
        let weights: Vec<u8> = Weights::of(&shifting).collect();
        prop_assert_eq!(weights[0], shifting.initial);
        prop_assert_eq!(weights.last(), Some(&100));
        prop_assert!(weights.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", weights);
        prop_assert!(weights.windows(2).all(|pair| pair[1] - pair[0] <= shifting.max_increment), "{:?}", weights);
    }

    /// As many intervals as there are weights between nothing and everything, and not a moment more.
    #[test]
    fn a_healthy_candidate_takes_exactly_its_intervals(shifting in any_shifting()) {
        let weights: Vec<u8> = Weights::of(&shifting).collect();
        let mut drive = Drive::new(&shifting, OnInconclusive::Rollback);
        let mut routed = vec![drive.shift.weight()];
        while let (Decision::Route(weight), _) = drive.until_decided(&sample(40, 0), Health::Passed) {
            routed.push(weight);
        }
        let between = weights.iter().filter(|weight| !matches!(weight, 0 | 100)).count();
        prop_assert_eq!(drive.now - drive.start, shifting.interval * u32::try_from(between).expect("few"));
        prop_assert_eq!(&routed[..], if weights.len() == 1 { &weights[..] } else { &weights[..weights.len() - 1] });
    }

    /// Whatever is seen, and whenever: the weight never sinks but to 0, never grows after a failure, and the end stays.
    #[test]
    fn a_failing_candidate_never_gets_more(
        shifting in any_shifting(),
        looks in prop::collection::vec((seen(), 0u64..700), 1..120),
        policy in prop::sample::select(vec![OnInconclusive::Promote, OnInconclusive::Hold, OnInconclusive::Rollback]),
    ) {
        let mut drive = Drive::new(&shifting, policy);
        let mut ended: Option<Decision> = None;
        for ((requests, errors, unwell), wait) in looks {
            drive.now += Duration::from_millis(wait);
            let candidate = sample(requests, errors);
            let health = if unwell { Health::Failed("x") } else { Health::Passed };
            let before = drive.shift.weight();
            let judged = if matches!(before, 0 | 100) { rules().of_health() } else { rules() };
            let failed = judge(&candidate, &sample(90, 0), health.failure(), &judged).name() == "fail";
            let decision = drive.shift.observe(drive.now, &candidate, &sample(90, 0), health, &rules());
            if let Some(ended) = &ended {
                prop_assert_eq!(&decision, ended);
                prop_assert_eq!(drive.shift.weight(), before);
                continue;
            }
            match decision {
                Decision::Wait | Decision::Hold { .. } => prop_assert_eq!(drive.shift.weight(), before),
                Decision::Route(weight) => {
                    prop_assert!(!failed && weight > before && weight < 100);
                    prop_assert_eq!(drive.shift.weight(), weight);
                }
                Decision::Promote => prop_assert!(!failed && drive.shift.weight() == 100),
                Decision::RollBack { .. } => {
                    prop_assert!(failed || policy == OnInconclusive::Rollback, "{:?}", drive.verdicts());
                    prop_assert_eq!(drive.shift.weight(), 0);
                }
            }
            prop_assert!(!failed || matches!(decision, Decision::RollBack { .. }), "{:?}", decision);
            if matches!(decision, Decision::Promote | Decision::RollBack { .. }) {
                ended = Some(decision);
            }
        }
    }
}
