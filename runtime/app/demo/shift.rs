//! What the events of an activation say about its traffic, and what the answers say about it. Pure: events with the
//! instants at which they were seen go in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::statistics::{sent, within};
use super::load::{Answer, Share};
use crate::monitor::Event;

/// An event and when it was seen.
pub(super) type Seen = (Instant, Arc<Event>);

/// A time in which a candidate had one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The weight, in percent.
    pub(super) weight: u8,
    /// When it was given.
    pub(super) from: Instant,
    /// When it was judged for the last time: until then it had this weight.
    pub(super) judged: Instant,
    /// When it was over.
    pub(super) until: Instant,
}

/// The weights above 0 that a candidate had, in order. The last one ends with `ended` where no further weight follows.
pub(super) fn held(seen: &[Seen], ended: Instant) -> Vec<Held> {
    let mut all: Vec<Held> = Vec::new();
    let mut open = false;
    for (at, event) in seen {
        match &**event {
            Event::TrafficShifted { weight, .. } => {
                if let Some(last) = all.last_mut().filter(|_| open) {
                    last.until = *at;
                }
                open = *weight > 0;
                if open {
                    all.push(Held { weight: *weight, from: *at, judged: *at, until: ended });
                }
            }
            Event::Judged { weight, .. } => {
                if let Some(last) = all.last_mut().filter(|last| last.weight == *weight) {
                    last.judged = *at;
                }
            }
            _ => {}
        }
    }
    all
}

/// The share of `version` among the requests that came while the candidate had this weight and no other.
pub(super) fn share(answers: &[Answer], version: &str, held: &Held) -> Share {
    Share::of(within(answers, held.from, held.judged), |answer| *answer.version == *version)
}

/// The most requests that may meet a fault of the candidate: of those sent under each weight, that part.
pub(super) fn allowance(answers: &[Answer], held: &[Held]) -> usize {
    let hundredths: usize =
        held.iter().map(|held| sent(answers, held.from, held.until).count() * usize::from(held.weight)).sum();
    hundredths / 100
}

/// How long it took from the verdict that ended a shift until the candidate had no traffic any more; nothing without both.
pub(super) fn given_back(seen: &[Seen]) -> Option<(Instant, Duration)> {
    let verdict =
        seen.iter().find(|(_, event)| matches!(&**event, Event::Judged { verdict, .. } if verdict == "fail"))?;
    let back = seen
        .iter()
        .find(|(at, event)| *at >= verdict.0 && matches!(&**event, Event::TrafficShifted { weight: 0, .. }))?;
    Some((verdict.0, back.0 - verdict.0))
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::monitor::InstanceKey;

    fn key() -> InstanceKey {
        InstanceKey { id: "m".into(), version: "2.0.0".into(), generation: 2 }
    }

    fn shifted(weight: u8) -> Event {
        Event::TrafficShifted { instance: key(), weight }
    }

    fn judged(weight: u8, verdict: &str) -> Event {
        Event::Judged { instance: key(), weight, verdict: verdict.into(), detail: String::new() }
    }

    /// Events, ten milliseconds one after the other.
    fn seen(start: Instant, events: Vec<Event>) -> Vec<Seen> {
        let each = events.into_iter().enumerate();
        each.map(|(n, event)| (at(start, 10 * (n as u64)), Arc::new(event))).collect()
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn answer(began: Instant, millis: u64, version: &str) -> Answer {
        let took = Duration::from_millis(millis);
        Answer { method: Method::GET, began, took, status: 200, version: version.into(), detail: "".into() }
    }

    #[test]
    fn a_weight_is_held_from_its_event_until_the_next_and_surely_until_it_is_judged() {
        let start = Instant::now();
        let events = vec![
            shifted(0),
            judged(0, "pass"),
            shifted(10),
            judged(10, "pass"),
            shifted(30),
            judged(30, "fail"),
            shifted(0),
        ];
        let found = held(&seen(start, events), at(start, 99));
        let told: Vec<_> = found
            .iter()
            .map(|held| (held.weight, [held.from, held.judged, held.until].map(|at| (at - start).as_millis())))
            .collect();
        assert_eq!(told, [(10, [20, 30, 40]), (30, [40, 50, 60])]);
        let promoted = held(&seen(start, vec![shifted(70), judged(70, "pass")]), at(start, 99));
        assert_eq!(promoted[0].until, at(start, 99), "what takes everything has no further weight");
    }

    #[test]
    fn a_share_counts_only_what_began_and_ended_under_the_weight() {
        let start = Instant::now();
        let held = Held { weight: 10, from: start, judged: at(start, 50), until: at(start, 60) };
        let answers =
            [answer(at(start, 1), 5, "2.0.0"), answer(at(start, 2), 5, "1.0.0"), answer(at(start, 45), 20, "2.0.0")];
        assert_eq!(share(&answers, "2.0.0", &held), Share { part: 1, all: 2 });
    }

    #[test]
    fn the_allowance_is_each_weights_part_of_what_was_sent_under_it() {
        let start = Instant::now();
        let answers: Vec<_> = (0..200).map(|n| answer(at(start, n), 0, "1.0.0")).collect();
        let span = |weight, from, until| {
            let (from, until) = (at(start, from), at(start, until));
            Held { weight, from, judged: until, until }
        };
        assert_eq!(allowance(&answers, &[span(10, 0, 100), span(30, 100, 200)]), 40);
        assert_eq!(allowance(&answers, &[]), 0);
    }

    #[test]
    fn the_way_back_is_from_the_verdict_to_weight_0() {
        let start = Instant::now();
        let back = given_back(&seen(start, vec![shifted(0), shifted(10), judged(10, "fail"), shifted(0)]));
        assert_eq!(back, Some((at(start, 20), Duration::from_millis(10))));
        assert_eq!(given_back(&seen(start, vec![shifted(0), shifted(10), judged(10, "pass")])), None);
        assert_eq!(given_back(&seen(start, vec![shifted(10), judged(10, "fail")])), None);
    }
}
