//! Two things in turn within one run, and the ratio of what they take.
//!
//! A round is a batch of one and a batch of the other, in an order that changes from round to round, so that whatever else
//! the machine does meets both alike. What is told: the median of each, and the median of the rounds' ratios with its quartiles.

use std::time::{Duration, Instant};

use crate::aims::beside;
use crate::report::Report;

/// What a batch takes at the least.
const BATCH: Duration = Duration::from_millis(4);
const ROUNDS: usize = 401;
const QUICK_ROUNDS: usize = 21;

/// Measures `other` against `base`, unless its row is not wanted.
pub(crate) fn compare(report: &Report, name: &str, aim: Option<f64>, mut base: impl FnMut(), mut other: impl FnMut()) {
    if !report.wants(name) {
        return;
    }
    let (of_base, of_other) = (batch(&mut base), batch(&mut other));
    let rounds = if report.is_quick { QUICK_ROUNDS } else { ROUNDS };
    let (mut bases, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (one, two);
        if round % 2 == 0 {
            one = timed(&mut base, of_base);
            two = timed(&mut other, of_other);
        } else {
            two = timed(&mut other, of_other);
            one = timed(&mut base, of_base);
        }
        bases.push(one);
        others.push(two);
        ratios.push(two / one);
    }
    let [low, ratio, high] = quartiles(&mut ratios);
    let (one, two) = (quartiles(&mut bases)[1], quartiles(&mut others)[1]);
    let spelled = format!("{} ({low:.2} to {high:.2}): {} against {}", beside(ratio, aim), time(two), time(one));
    report.tell(name, &spelled);
}

/// How often `work` runs in a batch. It has run that often then, which warms it up.
fn batch(work: &mut impl FnMut()) -> u32 {
    let mut count = 1;
    while timed(work, count) * f64::from(count) < BATCH.as_secs_f64() {
        count *= 2;
    }
    count
}

/// Seconds that `work` takes, of `count` times.
fn timed(work: &mut impl FnMut(), count: u32) -> f64 {
    let started = Instant::now();
    for _ in 0..count {
        work();
    }
    started.elapsed().as_secs_f64() / f64::from(count)
}

fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn time(seconds: f64) -> String {
    match seconds * 1e9 {
        nanos if nanos < 1e3 => format!("{nanos:.0} ns"),
        nanos if nanos < 1e6 => format!("{:.2} µs", nanos / 1e3),
        nanos => format!("{:.2} ms", nanos / 1e6),
    }
}
