//! How traffic moves from a baseline to a candidate: the weights, and what each observation leads to. Pure: the time is
//! passed in, and whoever drives it routes, counts and waits.
//!
//! | at | what is seen | what follows |
//! |---|---|---|
//! | any weight, any moment | a failure | back to the baseline, at once |
//! | weight 0 or 100 | health passes, or nobody wants it judged | the next weight, without waiting |
//! | weight 0, where it is mirrored to | as at a weight between | as there: it is judged by copies of requests |
//! | end of an interval | pass | the next weight, or with `onPass: hold` held until somebody promotes it |
//! | end of the first interval | inconclusive | the weight is held one interval more; its samples add up |
//! | end of a later interval | inconclusive, `promote` | the next weight if health passes, else held |
//! | end of a later interval | inconclusive, `hold` | held, and judged anew each interval |
//! | end of a later interval | inconclusive, `rollback` | back to the baseline |
//! | any moment | somebody promotes it | the next weight, or all |
//! | as long as somebody pauses it | anything but a failure | the weight stays |
//!
//! The weight after the last one is 100: the candidate is promoted. A shift that ended says the same for ever.

use std::time::{Duration, Instant};

use super::analysis::{Rules, Verdict, beside, judge, look_every};
use super::outcome::ShiftReport;
use crate::manifest::{OnInconclusive, OnPass, TrafficShifting, TriggerKind};
use crate::monitor::{HealthStatus, Sample};

#[cfg(test)]
mod tests;

/// The candidate's share in percent, one after the other: from `initial` by `increment`, which doubles up to
/// `maxIncrement`. They grow and end with 100. Where requests are mirrored to it, it has none before.
#[derive(Clone, Debug)]
pub struct Weights {
    before: Option<u8>,
    next: Option<u8>,
    step: u8,
    largest: u8,
}

impl Weights {
    /// All weights of a shift: 0, 10, 30, 70, 100 by default.
    #[must_use]
    pub fn of(shifting: &TrafficShifting) -> Self {
        let step = shifting.increment.clamp(1, 100);
        let initial = shifting.initial.min(100);
        let before = shifting.mirror.as_ref().filter(|_| initial > 0).map(|_| 0);
        Self { before, next: Some(initial), step, largest: shifting.max_increment.clamp(step, 100) }
    }
}

impl Iterator for Weights {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let Some(weight) = self.before.take() {
            return Some(weight);
        }
        let weight = self.next?;
        // all of them are at most 100, so no sum overflows
        self.next = if weight == 100 { None } else { Some((weight + self.step).min(100)) };
        self.step = (self.step * 2).min(self.largest);
        Some(weight)
    }
}

/// What the candidate's health checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health<'a> {
    /// They have not all answered yet.
    Unknown,
    /// No critical check failed; so too where there is none.
    Passed,
    /// A critical check failed its retries, and said this.
    Failed(&'a str),
}

impl<'a> Health<'a> {
    /// What a prober's report says, with its detail. An instance that is degraded passes: none of its critical checks
    /// failed.
    #[must_use]
    pub const fn of(status: HealthStatus, detail: &'a str) -> Self {
        match status {
            HealthStatus::Unknown => Self::Unknown,
            HealthStatus::Healthy | HealthStatus::Degraded => Self::Passed,
            HealthStatus::Unhealthy => Self::Failed(detail),
        }
    }

    const fn failure(self) -> Option<&'a str> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Unknown | Self::Passed => None,
        }
    }
}

/// What is to be done after an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing; observe again at [`Shift::due`].
    Wait,
    /// An interval ended, and the weight stays as it is.
    Hold {
        /// `pass` or `inconclusive`.
        verdict: &'static str,
        /// What is missing, for people.
        reason: String,
    },
    /// Give the candidate this share, in percent, and begin its samples anew.
    Route(u8),
    /// Give the candidate everything.
    Promote,
    /// Give the baseline everything.
    RollBack {
        /// What failed; nothing if there was too little to judge by.
        trigger: Option<TriggerKind>,
        /// Why, for people.
        reason: String,
    },
}

/// A shift on its way.
#[derive(Clone, Debug)]
pub struct Shift {
    weights: Weights,
    weight: u8,
    interval: Duration,
    on_pass: OnPass,
    on_inconclusive: OnInconclusive,
    /// Whether it gets copies of requests as long as it has no share.
    mirrors: bool,
    /// When this weight began.
    began: Instant,
    /// When its present interval ends.
    ends: Instant,
    looked: Option<Instant>,
    /// How many intervals of this weight ended without a verdict.
    held: u32,
    /// Whether this weight passed, and somebody is to promote it.
    passed: bool,
    /// Whether somebody keeps it at its weight.
    paused: bool,
    reports: Vec<ShiftReport>,
    ended: Option<Decision>,
}

impl Shift {
    /// A shift that begins at `now` with its first weight.
    #[must_use]
    pub fn new(shifting: &TrafficShifting, (on_pass, on_inconclusive): (OnPass, OnInconclusive), now: Instant) -> Self {
        let mut weights = Weights::of(shifting);
        let weight = weights.next().unwrap_or(100);
        Self {
            weights,
            weight,
            interval: shifting.interval,
            on_pass,
            on_inconclusive,
            mirrors: shifting.mirror.is_some(),
            began: now,
            ends: now + shifting.interval,
            looked: None,
            held: 0,
            passed: false,
            paused: false,
            reports: Vec::new(),
            ended: None,
        }
    }

    /// The candidate's share of this moment, in percent: 100 once promoted, 0 once rolled back.
    #[must_use]
    pub const fn weight(&self) -> u8 {
        self.weight
    }

    /// Whether the candidate is judged by copies of requests at this moment. Its samples are those then, and the baseline's what
    /// came of the requests of which they are copies.
    #[must_use]
    pub const fn is_mirroring(&self) -> bool {
        self.mirrors && self.weight == 0 && self.ended.is_none()
    }

    /// Whether it waits without an end in sight: for a verdict, its weight being held already for longer than one more interval,
    /// for whoever is to promote it, or for whoever paused it.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held > 1 || self.passed || self.paused
    }

    /// Whether somebody keeps it at its weight.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Keeps it at its weight until it is resumed or promoted. It is judged as ever.
    pub const fn pause(&mut self) {
        self.paused = true;
    }

    /// Lets it go on: an interval begins at `now`, with the samples of its weight so far.
    pub fn resume(&mut self, now: Instant) {
        if self.paused {
            (self.paused, self.ends, self.held) = (false, now + self.interval, 0);
        }
    }

    /// Goes to the next weight, or to 100 where it is `full`, without waiting for a verdict; `by` says who wants that.
    pub fn promote(&mut self, now: Instant, full: bool, by: &str) -> Decision {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        self.paused = false;
        if full {
            self.weights.next = None;
        }
        self.advance(now, "promoted", format!("{by} wanted it"))
    }

    /// When to observe next. Observing earlier, later or more often does no harm: a late observation ends the interval,
    /// and the next one is counted from then.
    #[must_use]
    pub fn due(&self) -> Instant {
        let tick = look_every(self.interval);
        match self.looked {
            _ if self.paused => self.looked.unwrap_or(self.began) + tick,
            None if self.needs_health_only() => self.began,
            None => self.ends.min(self.began + tick),
            // what is due is over already where health alone is waited for
            Some(looked) if self.needs_health_only() || looked >= self.ends => looked + tick,
            Some(looked) => self.ends.min(looked + tick),
        }
    }

    /// One entry for each weight that ended, in order; the last one says why the shift ended, once it has.
    #[must_use]
    pub fn reports(&self) -> &[ShiftReport] {
        &self.reports
    }

    /// Decides what to do at `now`. `candidate` and `baseline` are what each answered since this weight began.
    pub fn observe(
        &mut self,
        now: Instant,
        candidate: &Sample,
        baseline: &Sample,
        health: Health<'_>,
        rules: &Rules,
    ) -> Decision {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        self.looked = Some(now);
        let verdict = if self.needs_health_only() {
            judge(&Sample::default(), &Sample::default(), health.failure(), &rules.of_health())
        } else {
            judge(candidate, baseline, health.failure(), rules)
        };
        if let Verdict::Fail { trigger, reason } = verdict {
            return self.roll_back(now, Some(trigger), ("fail", reason.clone()), reason);
        }
        if self.paused {
            return Decision::Wait;
        }
        if self.needs_health_only() {
            return match health {
                Health::Unknown if rules.health => Decision::Wait,
                _ => self.advance(now, verdict.name(), String::new()),
            };
        }
        let awaits_health = self.weight == 0 && rules.health && health == Health::Unknown;
        if now < self.ends || awaits_health {
            return Decision::Wait;
        }
        match verdict {
            Verdict::Inconclusive { reason } => self.without_verdict(now, &reason, health),
            verdict if self.on_pass == OnPass::Hold => {
                self.passed = true;
                self.hold(now, verdict.name(), "it waits to be promoted, since `onPass` is hold".to_owned())
            }
            verdict => {
                let copies = || format!("{} copies of requests{}", candidate.requests(), beside(candidate));
                let detail = if self.is_mirroring() { copies() } else { String::new() };
                self.advance(now, verdict.name(), detail)
            }
        }
    }

    /// Without traffic there is nothing to sample, but for copies; with all of it, nothing to compare with.
    const fn needs_health_only(&self) -> bool {
        match self.weight {
            0 => !self.mirrors,
            100 => true,
            _ => false,
        }
    }

    fn without_verdict(&mut self, now: Instant, reason: &str, health: Health<'_>) -> Decision {
        self.held += 1;
        let reason = format!("{reason} in {} intervals", self.held);
        match self.on_inconclusive {
            // what passed before waits for whoever is to promote it, not for requests
            _ if self.held == 1 || self.passed => self.hold(now, "inconclusive", reason),
            OnInconclusive::Promote if health == Health::Passed => {
                self.advance(now, "inconclusive", format!("{reason}; promoted, since health passes"))
            }
            OnInconclusive::Promote | OnInconclusive::Hold => self.hold(now, "inconclusive", reason),
            OnInconclusive::Rollback => {
                let verdict = ("inconclusive", format!("{reason}; rolled back"));
                self.roll_back(now, None, verdict, format!("{reason}, and `onInconclusive` is rollback"))
            }
        }
    }

    fn hold(&mut self, now: Instant, verdict: &'static str, reason: String) -> Decision {
        self.ends = now + self.interval;
        Decision::Hold { verdict, reason }
    }

    fn advance(&mut self, now: Instant, verdict: &str, detail: String) -> Decision {
        self.report(now, verdict, detail);
        self.weight = self.weights.next().unwrap_or(100);
        if self.weight == 100 {
            self.ended = Some(Decision::Promote);
            return Decision::Promote;
        }
        (self.began, self.ends, self.looked) = (now, now + self.interval, None);
        (self.held, self.passed) = (0, false);
        Decision::Route(self.weight)
    }

    fn roll_back(
        &mut self,
        now: Instant,
        trigger: Option<TriggerKind>,
        (verdict, detail): (&str, String),
        reason: String,
    ) -> Decision {
        self.report(now, verdict, detail);
        self.weight = 0;
        let decision = Decision::RollBack { trigger, reason };
        self.ended = Some(decision.clone());
        decision
    }

    fn report(&mut self, now: Instant, verdict: &str, detail: String) {
        let held = now.saturating_duration_since(self.began);
        let (verdict, ms) = (verdict.to_owned(), held.as_secs_f64() * 1000.0);
        self.reports.push(ShiftReport { weight: self.weight, verdict, detail, ms });
    }
}
