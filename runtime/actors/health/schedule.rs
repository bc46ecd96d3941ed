//! Which check is due when, and what its answers make of it. Pure: the time is an argument.
//!
//! | state of a check | event → next |
//! |---|---|
//! | due | asked → asking |
//! | asking | passes or degraded → waits its interval, failures 0 · fails, at most `retries` in a row → waits a short pause, its status stays · fails once more → waits its interval, unhealthy · says nothing → waits a short pause, all stays |
//! | waits | its time comes → due |

use std::time::{Duration, Instant};

use crate::manifest::{HealthCheck, HealthCheckKind};
use crate::monitor::HealthStatus;
use crate::monitor::health::{CheckReport, Report};

/// The pause after the first failure that is forgiven; doubled each time up to the longest, and never above the interval.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// The longest detail that is kept, in bytes.
const LONGEST_DETAIL: usize = 1000;

/// What a check said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `Unknown`: it says nothing about health, as when the queue is full.
    pub status: HealthStatus,
    /// What there is to say besides; may be empty.
    pub detail: String,
}

impl Answer {
    /// A failure.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self { status: HealthStatus::Unhealthy, detail: detail.into() }
    }

    /// The same with as much of the detail as is kept: it comes from a script, and goes into reports and logs.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        self.detail.truncate(self.detail.floor_char_boundary(LONGEST_DETAIL));
        self
    }

    /// One that passes.
    #[must_use]
    pub const fn passed() -> Self {
        Self { status: HealthStatus::Healthy, detail: String::new() }
    }
}

/// One check with what it has said so far.
#[derive(Clone, Debug)]
pub struct Course {
    check: HealthCheck,
    report: CheckReport,
}

impl Course {
    /// The course of a check that was not asked yet.
    #[must_use]
    pub fn new(check: HealthCheck) -> Self {
        let kind = match check.kind {
            HealthCheckKind::Endpoint { .. } => "endpoint",
            HealthCheckKind::Database => "database",
            HealthCheckKind::Service { .. } => "service",
            HealthCheckKind::Custom => "custom",
        };
        let report = CheckReport {
            id: check.id.clone(),
            kind: kind.into(),
            status: HealthStatus::Unknown,
            detail: String::new(),
            critical: check.critical,
            failures: 0,
            latency_ms: 0.0,
            last_check: 0,
        };
        Self { check, report }
    }

    /// The check.
    #[must_use]
    pub const fn check(&self) -> &HealthCheck {
        &self.check
    }

    /// What it has said so far.
    #[must_use]
    pub const fn report(&self) -> &CheckReport {
        &self.report
    }

    /// Takes an answer that took so long and came at `at`, in milliseconds since 1970. The result is the pause after which
    /// a forgiven failure is tried again; none if the answer stands.
    pub fn answered(&mut self, answer: Answer, took: Duration, at: u64) -> Option<Duration> {
        let report = &mut self.report;
        if answer.status == HealthStatus::Unknown {
            // why it is unknown; what is known keeps its reason
            if report.status == HealthStatus::Unknown {
                report.detail = answer.detail;
            }
            return None;
        }
        report.detail = answer.detail;
        // to the microsecond, as all times in reports
        report.latency_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        report.last_check = at;
        if answer.status != HealthStatus::Unhealthy {
            report.failures = 0;
            report.status = answer.status;
            return None;
        }
        report.failures = report.failures.saturating_add(1);
        if report.failures > self.check.retries {
            report.status = HealthStatus::Unhealthy;
            return None;
        }
        let doubled = FIRST_RETRY.saturating_mul(1 << (report.failures - 1).min(10));
        Some(doubled.min(LONGEST_RETRY).min(self.check.interval))
    }
}

/// All checks of one instance, each on its own interval.
#[derive(Clone, Debug)]
pub struct Schedule {
    courses: Vec<Course>,
    /// When each is asked next; none while it is being asked.
    due: Vec<Option<Instant>>,
}

impl Schedule {
    /// A schedule by which every check is due at `now`.
    #[must_use]
    pub fn new(checks: impl IntoIterator<Item = HealthCheck>, now: Instant) -> Self {
        let courses: Vec<Course> = checks.into_iter().map(Course::new).collect();
        Self { due: vec![Some(now); courses.len()], courses }
    }

    /// The checks that are due, by their places; they count as being asked until [`Schedule::answered`].
    pub fn take_due(&mut self, now: Instant) -> Vec<usize> {
        let mut taken = Vec::new();
        for (index, due) in self.due.iter_mut().enumerate() {
            if due.is_some_and(|at| at <= now) {
                *due = None;
                taken.push(index);
            }
        }
        taken
    }

    /// When a check is due next; none while all are being asked.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// The check at a place that [`Schedule::take_due`] named.
    #[must_use]
    pub fn check(&self, index: usize) -> &HealthCheck {
        self.courses[index].check()
    }

    /// Takes the answer of the check at `index`; see [`Course::answered`]. The next question is counted from `now`, so that
    /// questions neither overlap nor pile up, however slow the answers are.
    pub fn answered(&mut self, index: usize, answer: Answer, took: Duration, now: Instant, at: u64) {
        let course = &mut self.courses[index];
        let silent = answer.status == HealthStatus::Unknown;
        let retry = course.answered(answer, took, at);
        let interval = course.check.interval;
        let pause = if silent { LONGEST_RETRY.min(interval) } else { retry.unwrap_or(interval) };
        self.due[index] = Some(now + pause);
    }

    /// What all of them have said so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self.courses.iter().map(|course| course.report().clone()).collect())
    }
}

#[cfg(test)]
mod tests;
