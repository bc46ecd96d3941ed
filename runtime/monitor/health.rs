//! What the last health checks of an instance said.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

/// The specification's three answers, and the one before the first check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Not checked yet.
    #[default]
    Unknown,
    /// Every check passed.
    Healthy,
    /// The module says that it works less well than it should.
    Degraded,
    /// A check failed.
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
}

/// One answer.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The verdict over all checks.
    pub status: HealthStatus,
    /// What the checks said; empty when there is nothing to say.
    pub detail: String,
    /// When, in milliseconds since 1970-01-01 UTC; 0 before the first check.
    pub last_check: u64,
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
