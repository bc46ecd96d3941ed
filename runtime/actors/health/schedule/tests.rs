use super::*;
use HealthStatus::{Degraded, Healthy, Unhealthy, Unknown};

fn check(id: &str, interval: u64, retries: u32, critical: bool) -> HealthCheck {
    HealthCheck {
        id: id.into(),
        kind: HealthCheckKind::Custom,
        timeout: Duration::from_secs(1),
        interval: Duration::from_millis(interval),
        retries,
        critical,
    }
}

fn answer(status: HealthStatus) -> Answer {
    Answer { status, detail: status.name().into() }
}

/// A schedule with a clock of its own, in milliseconds from its start.
struct Rig {
    schedule: Schedule,
    start: Instant,
}

impl Rig {
    fn new(checks: &[HealthCheck]) -> Self {
        let start = Instant::now();
        Self { schedule: Schedule::new(checks.to_vec(), start), start }
    }

    fn due(&mut self, at: u64) -> Vec<usize> {
        self.schedule.take_due(self.start + Duration::from_millis(at))
    }

    /// In milliseconds from the start.
    fn next(&self) -> Option<u128> {
        self.schedule.next().map(|at| at.duration_since(self.start).as_millis())
    }

    fn hear(&mut self, index: usize, status: HealthStatus, at: u64) {
        let now = self.start + Duration::from_millis(at);
        self.schedule.answered(index, answer(status), Duration::from_millis(3), now, 1_000 + at);
    }

    /// Status and failures of the check at `index`.
    fn of(&self, index: usize) -> (HealthStatus, u32) {
        let check = &self.schedule.report().checks[index];
        (check.status, check.failures)
    }
}

#[test]
fn each_check_has_an_interval_of_its_own_counted_from_its_answer() {
    let mut rig = Rig::new(&[check("fast", 100, 0, true), check("slow", 1000, 0, true)]);
    assert_eq!((rig.next(), rig.due(0)), (Some(0), vec![0, 1]));
    rig.hear(0, Healthy, 10);
    assert_eq!((rig.next(), rig.due(109), rig.due(110)), (Some(110), vec![], vec![0]));
    rig.hear(1, Healthy, 50);
    assert_eq!(rig.next(), Some(1050));
    rig.hear(0, Healthy, 1049);
    assert_eq!((rig.due(1050), rig.due(1149)), (vec![1], vec![0]));
}

#[test]
fn a_check_that_is_being_asked_is_never_due() {
    let mut rig = Rig::new(&[check("a", 100, 0, true)]);
    assert_eq!(rig.due(0), [0]);
    assert_eq!((rig.next(), rig.due(1_000_000)), (None, vec![]));
    rig.hear(0, Healthy, 1_000_000);
    assert_eq!((rig.next(), rig.due(1_000_100), rig.due(1_000_100)), (Some(1_000_100), vec![0], vec![]));
}

#[test]
fn failures_are_forgiven_as_often_as_retries_say_and_retried_soon() {
    let mut rig = Rig::new(&[check("a", 60_000, 2, true)]);
    rig.hear(0, Healthy, 0);
    rig.hear(0, Unhealthy, 1000);
    assert_eq!((rig.of(0), rig.next()), ((Healthy, 1), Some(1100)));
    rig.hear(0, Unhealthy, 2000);
    assert_eq!((rig.of(0), rig.next()), ((Healthy, 2), Some(2200)));
    rig.hear(0, Unhealthy, 3000);
    assert_eq!((rig.of(0), rig.next()), ((Unhealthy, 3), Some(63_000)));
    rig.hear(0, Unhealthy, 4000);
    assert_eq!((rig.of(0), rig.next()), ((Unhealthy, 4), Some(64_000)));
    rig.hear(0, Healthy, 5000);
    assert_eq!((rig.of(0), rig.next()), ((Healthy, 0), Some(65_000)));
    // the count starts again
    rig.hear(0, Unhealthy, 6000);
    assert_eq!((rig.of(0), rig.next()), ((Healthy, 1), Some(6100)));
}

#[test]
fn a_first_failure_that_is_forgiven_leaves_it_unknown() {
    let mut rig = Rig::new(&[check("a", 1000, 1, true)]);
    rig.hear(0, Unhealthy, 0);
    assert_eq!((rig.of(0), rig.schedule.report().status), ((Unknown, 1), Unknown));
    rig.hear(0, Unhealthy, 100);
    assert_eq!((rig.of(0), rig.schedule.report().status), ((Unhealthy, 2), Unhealthy));
}

#[test]
fn pauses_between_retries_double_up_to_a_second_and_stay_within_the_interval() {
    let pauses = |interval| {
        let mut course = Course::new(check("a", interval, 100, true));
        let mut pause = || course.answered(answer(Unhealthy), Duration::ZERO, 0).map(|pause| pause.as_millis());
        [(); 7].map(|()| pause().unwrap())
    };
    assert_eq!(pauses(60_000), [100, 200, 400, 800, 1000, 1000, 1000]);
    assert_eq!(pauses(150), [100, 150, 150, 150, 150, 150, 150]);
}

#[test]
fn an_answer_that_says_nothing_changes_nothing_and_is_asked_again_soon() {
    let mut rig = Rig::new(&[check("a", 60_000, 0, true)]);
    rig.hear(0, Unhealthy, 0);
    let before = rig.schedule.report();
    assert_eq!(before.status, Unhealthy);
    rig.hear(0, Unknown, 10);
    let after = rig.schedule.report();
    assert_eq!(after, before);
    assert_eq!(rig.next(), Some(1010));
}

#[test]
fn degraded_is_no_failure_and_a_failure_that_is_not_critical_only_degrades() {
    let mut rig = Rig::new(&[check("a", 1000, 0, true), check("b", 1000, 0, false)]);
    rig.hear(0, Degraded, 0);
    rig.hear(1, Healthy, 0);
    assert_eq!((rig.of(0), rig.schedule.report().status), ((Degraded, 0), Degraded));
    rig.hear(0, Healthy, 10);
    assert_eq!(rig.schedule.report().status, Healthy);
    rig.hear(1, Unhealthy, 20);
    assert_eq!((rig.of(1), rig.schedule.report().status), ((Unhealthy, 1), Degraded));
    let report = rig.schedule.report();
    assert_eq!((report.last_check, report.checks[1].latency_ms, report.detail().as_str()), (1020, 3.0, "b: unhealthy"));
}
