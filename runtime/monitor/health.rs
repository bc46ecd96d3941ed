//! What the last health checks of an instance said.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

/// The specification's three answers, and the one before the first check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Not checked yet.
    #[default]
    Unknown,
    /// Every check passed.
    Healthy,
    /// The module says that it works less well than it should, or a check that is not critical failed.
    Degraded,
    /// A critical check failed more often in a row than its `retries` forgive.
    Unhealthy,
}

impl HealthStatus {
    /// The status a script named; anything else is unhealthy.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "healthy" => Self::Healthy,
            "degraded" => Self::Degraded,
            _ => Self::Unhealthy,
        }
    }

    /// The name as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The value of the gauge `replug_health`: not a number while nothing is known.
    #[must_use]
    pub const fn gauge(self) -> f64 {
        match self {
            Self::Unknown => f64::NAN,
            Self::Healthy => 1.0,
            Self::Degraded => 0.5,
            Self::Unhealthy => 0.0,
        }
    }
}

/// What one check of an instance said last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// The check's id in the manifest; `health` where the manifest names none.
    pub id: String,
    /// `endpoint`, `database`, `service` or `custom`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What it says of the instance. A failure that is still forgiven leaves it as it was.
    pub status: HealthStatus,
    /// What it said last, also when that is a failure that is still forgiven; empty when there is nothing to say.
    pub detail: String,
    /// Whether its failure fails the instance; otherwise it only degrades it.
    pub critical: bool,
    /// Its failures in a row, until now.
    pub failures: u32,
    /// How long the last answer took, in milliseconds; 0 before the first.
    pub latency_ms: f64,
    /// When it answered last, in milliseconds since 1970-01-01 UTC; 0 before the first answer.
    pub last_check: u64,
}

/// What all checks of an instance said last: the specification's `HealthStatus`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The verdict over all checks.
    pub status: HealthStatus,
    /// The checks in the manifest's order; none if there is nothing to ask.
    pub checks: Vec<CheckReport>,
    /// When one of them answered last, in milliseconds since 1970-01-01 UTC; 0 before the first answer.
    pub last_check: u64,
}

impl Report {
    /// The report of these checks. A critical one that fails makes the instance unhealthy; any other that fails or says
    /// `degraded` degrades it; one that has not answered yet leaves the verdict open.
    #[must_use]
    pub fn of(checks: Vec<CheckReport>) -> Self {
        let any = |is: &dyn Fn(&CheckReport) -> bool| checks.iter().any(is);
        let status = if any(&|check| check.critical && check.status == HealthStatus::Unhealthy) {
            HealthStatus::Unhealthy
        } else if any(&|check| matches!(check.status, HealthStatus::Unhealthy | HealthStatus::Degraded)) {
            HealthStatus::Degraded
        } else if checks.is_empty() || any(&|check| check.status == HealthStatus::Unknown) {
            HealthStatus::Unknown
        } else {
            HealthStatus::Healthy
        };
        let last_check = checks.iter().map(|check| check.last_check).max().unwrap_or(0);
        Self { status, checks, last_check }
    }

    /// The checks that do not pass and what they said, as `ID: DETAIL; ID: DETAIL`; empty if all pass.
    #[must_use]
    pub fn detail(&self) -> String {
        let failing = |check: &&CheckReport| matches!(check.status, HealthStatus::Unhealthy | HealthStatus::Degraded);
        let said = |check: &CheckReport| {
            let detail = if check.detail.is_empty() { check.status.name() } else { &check.detail };
            format!("{}: {detail}", check.id)
        };
        self.checks.iter().filter(failing).map(said).collect::<Vec<_>>().join("; ")
    }
}

/// The newest report of an instance, written by its prober, read by anyone.
#[derive(Debug, Default)]
pub struct Health {
    report: ArcSwap<Report>,
}

impl Health {
    /// The newest report.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Replaces the report; whether the status changed.
    pub fn set(&self, report: Report) -> bool {
        let status = report.status;
        self.report.swap(Arc::new(report)).status != status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: HealthStatus, critical: bool) -> CheckReport {
        CheckReport {
            id: id.into(),
            kind: "custom".into(),
            status,
            detail: String::new(),
            critical,
            failures: 0,
            latency_ms: 0.0,
            last_check: 7,
        }
    }

    #[test]
    fn the_worst_check_decides_and_only_a_critical_one_fails_the_instance() {
        use HealthStatus::{Degraded, Healthy, Unhealthy, Unknown};
        let table: [(&[(HealthStatus, bool)], HealthStatus); 8] = [
            (&[], Unknown),
            (&[(Healthy, true), (Healthy, false)], Healthy),
            (&[(Healthy, true), (Unknown, true)], Unknown),
            (&[(Unknown, true), (Degraded, true)], Degraded),
            (&[(Healthy, true), (Degraded, false)], Degraded),
            (&[(Healthy, true), (Unhealthy, false)], Degraded),
            (&[(Unknown, false), (Unhealthy, true)], Unhealthy),
            (&[(Unhealthy, true), (Unhealthy, false), (Degraded, true)], Unhealthy),
        ];
        for (checks, expected) in table {
            let report = Report::of(checks.iter().map(|(status, critical)| check("a", *status, *critical)).collect());
            assert_eq!(report.status, expected, "{checks:?}");
        }
    }

    #[test]
    fn the_detail_names_what_does_not_pass() {
        let mut slow = check("slow", HealthStatus::Unhealthy, true);
        slow.detail = "no answer within 10 ms".into();
        let checks =
            vec![check("fine", HealthStatus::Healthy, true), slow, check("so-so", HealthStatus::Degraded, true)];
        let report = Report::of(checks);
        assert_eq!(report.detail(), "slow: no answer within 10 ms; so-so: degraded");
        assert_eq!(report.last_check, 7);
    }
}
