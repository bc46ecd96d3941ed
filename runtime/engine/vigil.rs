//! What to do about a version that serves, from what is seen of it. No clock and no I/O: time is an argument.

use std::time::{Duration, Instant};

use super::analysis::{Rules, SAMPLES, Verdict, judge, look_every};
use super::traffic::Health;
use super::window::trigger_name;
use crate::manifest::{Activation, AfterConfirm, RollbackTrigger, TriggerKind};
use crate::monitor::Sample;

#[cfg(test)]
mod tests;

/// The longest time before a return that keeps failing is tried again; an interval that is longer counts instead.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is seen of a version at one moment.
pub(super) struct Seen<'a> {
    pub(super) provisional: bool,
    /// Whether a trigger met a migration that cannot be taken back: a person decides then.
    pub(super) frozen: bool,
    /// What it did since it was started.
    pub(super) sample: Sample,
    pub(super) health: Health<'a>,
    /// Why its tree gave up, if it did since the last look.
    pub(super) critical: Option<&'a str>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Nothing,
    /// The window has passed.
    Confirm,
    /// A trigger while it is provisional.
    Return(String),
    /// A trigger once it is confirmed, whose manifest wants the version before.
    RollBack(String),
    /// A trigger once it is confirmed.
    Alarm(String),
}

/// A return that was called for and could not be made.
#[derive(Debug)]
struct Unreturned {
    /// What called for it.
    reason: String,
    /// Why it could not be made.
    cause: String,
    /// How long to wait before it is tried again.
    wait: Duration,
}

/// A version that is watched.
#[derive(Debug)]
pub(super) struct Vigil {
    triggers: Vec<RollbackTrigger>,
    interval: Duration,
    window_ends: Instant,
    /// When the interval began that is judged now, and what had been done by then.
    began: Instant,
    before: Sample,
    looked: Instant,
    /// What had been done when the interval began that ended last, until that is asked for.
    ended: Option<Sample>,
    /// Whether an alarm was raised that an interval without a trigger would end.
    alarmed: bool,
    /// Until when nothing is done about a trigger again: what was done about it did not help.
    spent_until: Option<Instant>,
    /// Why it could not be confirmed, the last time.
    unconfirmed: Option<String>,
    /// Set once it could not be returned from: that is to be made up for, whatever is seen of it since.
    unreturned: Option<Unreturned>,
}

impl Vigil {
    pub(super) fn new(activation: &Activation, triggers: Vec<RollbackTrigger>, done: Sample, now: Instant) -> Self {
        Self {
            triggers,
            interval: activation.traffic_shifting.interval,
            window_ends: now + activation.confirm_window,
            began: now,
            before: done,
            looked: now,
            ended: None,
            alarmed: false,
            spent_until: None,
            unconfirmed: None,
            unreturned: None,
        }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        let next = self.looked + look_every(self.interval);
        if self.looked < self.window_ends { next.min(self.window_ends) } else { next }
    }

    /// It takes no traffic now.
    pub(super) fn rest(&mut self, done: Sample, now: Instant) {
        (self.began, self.before, self.looked) = (now, done, now);
    }

    /// It could not be confirmed: that is tried again after an interval. Returns whether the cause is another than before.
    pub(super) fn postpone(&mut self, now: Instant, cause: &str) -> bool {
        self.window_ends = now + self.interval;
        let is_news = self.unconfirmed.as_deref() != Some(cause);
        self.unconfirmed = Some(cause.to_owned());
        is_news
    }

    /// What had been done when the interval began that has ended since this was asked.
    pub(super) fn ended_interval(&mut self) -> Option<Sample> {
        self.ended.take()
    }

    /// It could not be returned from: that is tried again after an interval, and after twice the time for each more try that
    /// fails by the same cause. Returns whether the cause is another than before.
    pub(super) fn put_off(&mut self, now: Instant, reason: String, cause: String) -> bool {
        let before = self.unreturned.take().filter(|before| before.cause == cause);
        let (is_news, longest) = (before.is_none(), self.interval.max(LONGEST_WAIT));
        let wait = before.map_or(self.interval, |before| longest.min(before.wait * 2));
        self.spent_until = Some(now + wait);
        self.unreturned = Some(Unreturned { reason, cause, wait });
        is_news
    }

    /// It serves only because somebody else could not return from it: that is to be made up for as well.
    pub(super) fn makes_up(&mut self, now: Instant, reason: &str) {
        if self.unreturned.is_none() {
            let reason = reason.to_owned();
            self.put_off(now, reason.clone(), reason);
        }
    }

    pub(super) fn observe(&mut self, now: Instant, seen: &Seen<'_>, reference: &Sample, rules: &Rules) -> Duty {
        self.looked = now;
        let interval = seen.sample.since(&self.before);
        let failure = match seen.health {
            Health::Failed(failure) => Some(failure),
            Health::Passed | Health::Unknown => None,
        };
        // that it cannot go on is nothing to be judged: a manifest need not list it
        let trigger = match (seen.critical, judge(&interval, reference, failure, rules)) {
            (Some(reason), _) => Some((TriggerKind::CriticalError, reason.to_owned())),
            (None, Verdict::Fail { trigger, reason }) => Some((trigger, reason)),
            (None, Verdict::Pass | Verdict::Inconclusive { .. }) => None,
        };
        let interval_ended = now >= self.began + self.interval;
        // what is too little to judge by adds up, or a version with few requests could fail them all
        if interval_ended && (interval.requests() >= SAMPLES || trigger.is_some()) {
            self.began = now;
            self.ended = Some(std::mem::replace(&mut self.before, seen.sample.clone()));
        }
        let is_spent = self.spent_until.is_some_and(|until| now < until);
        // what was confirmed in spite of it is watched as any other
        self.unreturned = self.unreturned.take().filter(|_| seen.provisional);
        if let Some(Unreturned { reason, .. }) = &self.unreturned {
            if is_spent {
                return Duty::Nothing;
            }
            self.spent_until = Some(now + self.interval);
            return Duty::Return(reason.clone());
        }
        let Some((kind, reason)) = trigger else {
            let is_over = interval_ended && (interval.requests() >= SAMPLES || interval.errors() == 0);
            self.alarmed = self.alarmed && !is_over;
            let confirms = seen.provisional && !seen.frozen && now >= self.window_ends;
            return if confirms { Duty::Confirm } else { Duty::Nothing };
        };
        let reason = format!("{}: {reason}", trigger_name(kind));
        if is_spent || seen.frozen {
            return Duty::Nothing;
        }
        if seen.provisional {
            self.spent_until = Some(now + self.interval);
            return Duty::Return(reason);
        }
        match self.triggers.iter().find(|trigger| trigger.kind == kind).map(|trigger| trigger.after_confirm) {
            _ if self.alarmed => Duty::Nothing,
            Some(AfterConfirm::Rollback) => {
                self.alarmed = true;
                Duty::RollBack(reason)
            }
            _ => {
                self.alarmed = true;
                Duty::Alarm(reason)
            }
        }
    }
}
