//! What the answers to a load amount to. Pure: answers and instants go in, counts and times come out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;

/// Standard deviations that a share may lie off. Less than one honest run in 15,000 lies further off (4 sigma of a normal
/// distribution, which the binomial one is close to at these counts).
const DEVIATIONS: f64 = 4.0;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::app::demo) struct Answer {
    /// How it was asked.
    pub(in crate::app::demo) method: Method,
    /// When the request was sent.
    pub(in crate::app::demo) began: Instant,
    /// How long the whole answer took.
    pub(in crate::app::demo) took: Duration,
    /// The status; 0 when there was no answer.
    pub(in crate::app::demo) status: u16,
    /// The version that answered; empty when none was chosen.
    pub(in crate::app::demo) version: Box<str>,
    /// What was said to be wrong; empty when nothing was.
    pub(in crate::app::demo) detail: Box<str>,
}

impl Answer {
    /// Whether it is what was asked for.
    pub(in crate::app::demo) const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// When it was there as a whole.
    pub(in crate::app::demo) fn ended(&self) -> Instant {
        self.began + self.took
    }
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::app::demo) struct Share {
    pub(in crate::app::demo) part: usize,
    pub(in crate::app::demo) all: usize,
}

impl Share {
    /// The part that `chosen` picks.
    pub(in crate::app::demo) fn of<'a>(
        answers: impl IntoIterator<Item = &'a Answer>,
        chosen: impl Fn(&Answer) -> bool,
    ) -> Self {
        let mut share = Self::default();
        for answer in answers {
            share.all += 1;
            share.part += usize::from(chosen(answer));
        }
        share
    }

    /// In percent; 0 of nothing is 0.
    pub(in crate::app::demo) fn percent(self) -> f64 {
        if self.all == 0 { 0.0 } else { 100.0 * as_f64(self.part) / as_f64(self.all) }
    }

    /// Whether a weight (in percent) explains the part, within chance and `slack` requests whose side of a change of weight
    /// cannot be told.
    pub(in crate::app::demo) fn fits(self, weight: u8, slack: usize) -> bool {
        (as_f64(self.part) - self.expected(weight)).abs() <= self.chance(weight) + as_f64(slack)
    }

    fn expected(self, weight: u8) -> f64 {
        as_f64(self.all) * f64::from(weight) / 100.0
    }

    fn chance(self, weight: u8) -> f64 {
        let share = f64::from(weight) / 100.0;
        DEVIATIONS * (as_f64(self.all) * share * (1.0 - share)).sqrt()
    }
}

/// Those that were sent from `from` on and before `until`.
pub(in crate::app::demo) fn sent(
    answers: &[Answer],
    from: Instant,
    until: Instant,
) -> impl Iterator<Item = &Answer> + Clone {
    answers.iter().filter(move |answer| answer.began >= from && answer.began < until)
}

/// Those that were sent from `from` on.
pub(in crate::app::demo) fn sent_from(answers: &[Answer], from: Instant) -> impl Iterator<Item = &Answer> + Clone {
    answers.iter().filter(move |answer| answer.began >= from)
}

/// Those that were sent from `from` on and answered before `until`: nothing that happened at either end can be in them.
pub(in crate::app::demo) fn within(
    answers: &[Answer],
    from: Instant,
    until: Instant,
) -> impl Iterator<Item = &Answer> + Clone {
    sent(answers, from, until).filter(move |answer| answer.ended() < until)
}

/// The time within which `percent` of the answers came (nearest rank); nothing of nothing.
pub(in crate::app::demo) fn percentile(answers: &[Answer], percent: usize) -> Option<Duration> {
    let mut times: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

/// How many failed, and in words: `2 of 340 failed (1.2.0: 2 × 503)`.
pub(in crate::app::demo) fn failures<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> (Share, String) {
    let (mut share, mut counts) = (Share::default(), BTreeMap::<(&str, u16), usize>::new());
    for answer in answers {
        share.all += 1;
        if !answer.is_good() {
            share.part += 1;
            *counts.entry((&answer.version, answer.status)).or_default() += 1;
        }
    }
    let told = counts.iter().map(|((version, status), count)| {
        let version = if version.is_empty() { "no version" } else { version };
        let status = if *status == 0 { "unanswered".to_owned() } else { status.to_string() };
        format!("{version}: {count} × {status}")
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let told = if told.is_empty() { told } else { format!(" ({told})") };
    (share, format!("{} of {} failed{told}", share.part, share.all))
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(began: Instant, millis: u64, status: u16, version: &str) -> Answer {
        let took = Duration::from_millis(millis);
        Answer { method: Method::GET, began, took, status, version: version.into(), detail: "".into() }
    }

    #[test]
    fn a_percentile_is_the_time_of_the_nearest_rank() {
        let now = Instant::now();
        let answers: Vec<_> = (1..=200).rev().map(|millis| answer(now, millis, 200, "")).collect();
        let millis = |percent| percentile(&answers, percent).map(|time| time.as_millis());
        assert_eq!((millis(50), millis(99), millis(100)), (Some(100), Some(198), Some(200)));
        assert_eq!(percentile(&answers[..1], 99), Some(Duration::from_millis(200)));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn a_request_belongs_to_the_span_in_which_it_was_sent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let answers = [answer(at(0), 50, 200, "a"), answer(at(10), 1, 200, "b"), answer(at(20), 1, 200, "c")];
        let versions: Vec<_> = sent(&answers, at(0), at(20)).map(|answer| &*answer.version).collect();
        assert_eq!(versions, ["a", "b"]);
        let whole: Vec<_> = within(&answers, at(0), at(20)).map(|answer| &*answer.version).collect();
        assert_eq!(whole, ["b"], "the first one was answered at 50 ms");
        let later: Vec<_> = sent_from(&answers, at(10)).map(|answer| &*answer.version).collect();
        assert_eq!(later, ["b", "c"]);
    }

    #[test]
    fn a_share_fits_its_weight_within_chance_and_no_further() {
        // of 1,000 at 10 %: 100 expected, sigma 9.49, so up to 137.9
        for (part, fits) in [(100, true), (137, true), (138, false), (63, true), (62, false)] {
            let share = Share { part, all: 1000 };
            assert_eq!(share.fits(10, 0), fits, "{part}");
        }
        assert!(Share { part: 138, all: 1000 }.fits(10, 1), "one request on either side of the change");
        assert!(Share { part: 0, all: 500 }.fits(0, 0) && !Share { part: 1, all: 500 }.fits(0, 0));
    }

    #[test]
    fn shares_and_counts_tell_versions_and_statuses_apart() {
        let now = Instant::now();
        let answers = [answer(now, 1, 200, "1.0.0"), answer(now, 1, 500, "1.1.0"), answer(now, 1, 0, "")];
        let told = "2 of 3 failed (no version: 1 × unanswered, 1.1.0: 1 × 500)";
        assert_eq!(failures(&answers), (Share { part: 2, all: 3 }, told.to_owned()));
        assert_eq!(failures(&answers[..1]).1, "0 of 1 failed");
        assert_eq!(Share::of(&answers, Answer::is_good), Share { part: 1, all: 3 });
        assert!((Share { part: 1, all: 4 }.percent() - 25.0).abs() < f64::EPSILON);
        assert!(Share::default().percent().abs() < f64::EPSILON);
    }
}
