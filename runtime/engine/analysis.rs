//! Is a candidate as well as its baseline? Pure: two samples of one window and the word of the health checks go in, a
//! verdict comes out.
//!
//! | judged | from | a failure is |
//! |---|---|---|
//! | health | always | a critical check that failed its retries |
//! | error rate | 20 requests of the candidate | above the larger of 5 % and the baseline's rate + 5 points |
//! | response time | 20 requests of the candidate | a 95th percentile above the larger of twice the baseline's and the baseline's + 100 ms |
//!
//! A request whose client went away before the answer is one of them, with the time it waited: a candidate that answers
//! nobody must not look like one that nobody asks. It counts as failed if the instance fails it afterwards.
//!
//! A copy of a request that failed after a side effect was refused to it says nothing, and is none of the requests.
//!
//! A trigger's threshold takes the place of its limit, whatever the baseline does. A baseline of fewer than 20 requests
//! tells nothing: its error rate counts as 0, so that a candidate which fails is not kept for want of a comparison, and
//! response times are then judged against a threshold only. An error rate is judged before a response time, since answers
//! of failures are often fast.

use std::time::Duration;

use crate::manifest::{RollbackTrigger, Threshold, TriggerKind};
use crate::monitor::Sample;

#[cfg(test)]
mod tests;

/// Requests that a judgement of rates and times needs.
pub const SAMPLES: u64 = 20;

/// The error rate that is always allowed, and how far above the baseline's it may be.
const ERROR_RATE: f64 = 0.05;

/// How many times the baseline's response time is always allowed.
const TIMES_SLOWER: u32 = 2;

/// How far above the baseline's response time is always allowed.
const SLOWER: Duration = Duration::from_millis(100);

/// The limit of a rate or time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit<T> {
    /// It follows from the baseline.
    Compared,
    /// It is this, whatever the baseline does.
    Fixed(T),
}

/// What is judged. What is nothing is not judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Whether a failed health check fails the candidate.
    pub health: bool,
    /// The limit of the share of failed requests, from 0 to 1.
    pub error_rate: Option<Limit<f64>>,
    /// The limit of the 95th percentile of response times.
    pub response_time: Option<Limit<Duration>>,
}

impl Rules {
    /// What the rollback triggers of a manifest say. Those that are no matter of samples or health are left to others.
    #[must_use]
    pub fn of(triggers: &[RollbackTrigger]) -> Self {
        let mut rules = Self { health: false, error_rate: None, response_time: None };
        for trigger in triggers {
            match (trigger.kind, trigger.threshold) {
                (TriggerKind::HealthCheckFailure, _) => rules.health = true,
                (TriggerKind::ErrorRateExceeded, Some(Threshold::Ratio(most))) => {
                    rules.error_rate = Some(Limit::Fixed(most));
                }
                (TriggerKind::ErrorRateExceeded, _) => rules.error_rate = Some(Limit::Compared),
                (TriggerKind::ResponseTimeExceeded, Some(Threshold::Time(most))) => {
                    rules.response_time = Some(Limit::Fixed(most));
                }
                (TriggerKind::ResponseTimeExceeded, _) => rules.response_time = Some(Limit::Compared),
                (TriggerKind::ActivationTimeout | TriggerKind::CriticalError, _) => {}
            }
        }
        rules
    }

    /// What they say of health alone.
    #[must_use]
    pub const fn of_health(&self) -> Self {
        Self { health: self.health, error_rate: None, response_time: None }
    }

    /// Whether requests are needed to judge by them.
    #[must_use]
    pub const fn need_samples(&self) -> bool {
        self.error_rate.is_some() || self.response_time.is_some()
    }
}

/// How often a version is looked at: ten times an interval, but neither more often than each 10 ms nor less than each
/// 250 ms. A bad one must not keep its share until the interval ends.
#[must_use]
pub fn look_every(interval: Duration) -> Duration {
    (interval / 10).clamp(Duration::from_millis(10), Duration::from_millis(250))
}

/// What the analysis says of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Pass,
    /// It must not go on.
    Fail {
        /// What was exceeded.
        trigger: TriggerKind,
        /// By how much, for people.
        reason: String,
    },
    /// There are too few requests to tell.
    Inconclusive {
        /// What is missing, for people.
        reason: String,
    },
}

impl Verdict {
    /// The name as reports have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "fail",
            Self::Inconclusive { .. } => "inconclusive",
        }
    }
}

/// Judges a candidate beside its baseline; both samples cover the same time. `health_failure` is what the failed check
/// said.
#[must_use]
pub fn judge(candidate: &Sample, baseline: &Sample, health_failure: Option<&str>, rules: &Rules) -> Verdict {
    if let Some(failure) = health_failure
        && rules.health
    {
        return Verdict::Fail { trigger: TriggerKind::HealthCheckFailure, reason: failure.to_owned() };
    }
    if !rules.need_samples() {
        return Verdict::Pass;
    }
    if candidate.requests() < SAMPLES {
        let requests = candidate.requests();
        let reason = format!("{requests} of the {SAMPLES} requests that a judgement needs{}", beside(candidate));
        return Verdict::Inconclusive { reason };
    }
    let fail = |trigger, reason| Verdict::Fail { trigger, reason: format!("{reason}{}", beside(candidate)) };
    let errors = rules.error_rate.and_then(|limit| too_many_errors(candidate, baseline, limit));
    let times = || rules.response_time.and_then(|limit| too_slow(candidate, baseline, limit));
    match errors.map(|reason| fail(TriggerKind::ErrorRateExceeded, reason)) {
        Some(verdict) => verdict,
        None => times().map_or(Verdict::Pass, |reason| fail(TriggerKind::ResponseTimeExceeded, reason)),
    }
}

/// What is said of copies of requests that are none of a sample's; nothing where there are none.
#[must_use]
pub fn beside(sample: &Sample) -> String {
    match sample.incomparable() {
        0 => String::new(),
        count => format!(", beside {count} that are not comparable, since side effects were refused to them"),
    }
}

/// The reason, if the error rate is above its limit.
fn too_many_errors(candidate: &Sample, baseline: &Sample, limit: Limit<f64>) -> Option<String> {
    let compared = if baseline.requests() < SAMPLES { 0.0 } else { baseline.error_rate() };
    let allowed = match limit {
        // the larger of 5 % and the baseline's + 5 points is the latter, since no rate is below 0
        Limit::Compared => compared + ERROR_RATE,
        Limit::Fixed(most) => most,
    };
    let rate = candidate.error_rate();
    (rate > allowed).then(|| {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        format!(
            "error rate {} of {} requests, allowed {} (baseline {} of {})",
            percent(rate),
            candidate.requests(),
            percent(allowed),
            percent(baseline.error_rate()),
            baseline.requests()
        )
    })
}

/// The reason, if the response time is above its limit.
fn too_slow(candidate: &Sample, baseline: &Sample, limit: Limit<Duration>) -> Option<String> {
    let compared = if baseline.requests() < SAMPLES { None } else { baseline.p95() };
    let allowed = match limit {
        Limit::Compared => compared.map(|time| (time * TIMES_SLOWER).max(time + SLOWER))?,
        Limit::Fixed(most) => most,
    };
    let time = candidate.p95()?;
    (time > allowed).then(|| {
        let baseline = baseline.p95().map_or("unknown".to_owned(), millis);
        let (took, allowed) = (millis(time), millis(allowed));
        let requests = candidate.requests();
        format!("95 % of {requests} requests took up to {took}, allowed {allowed} (baseline {baseline})")
    })
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
