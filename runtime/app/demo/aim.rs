//! Times in the table: what is aimed at, what is promised, and what was seen.

use std::time::Duration;

/// A time for people.
pub(super) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// How long something should take, and how long it may take: a machine that does something else as well keeps no narrow
/// promise about time.
#[derive(Clone, Copy)]
pub(super) struct Aim {
    aim: Duration,
    most: Duration,
}

impl Aim {
    pub(super) const fn new(aim: Duration, most: Duration) -> Self {
        Self { aim, most }
    }

    /// What is promised, in words.
    pub(super) fn promised(self) -> String {
        format!("aim {}, at most {} s", short(self.aim), self.most.as_secs())
    }

    /// What was seen, in words.
    pub(super) fn seen(self, took: Option<Duration>) -> String {
        match took {
            None => "never".to_owned(),
            Some(took) if took > self.aim => format!("{}, AIM MISSED", millis(took)),
            Some(took) => millis(took),
        }
    }

    pub(super) fn is_kept(self, took: Option<Duration>) -> bool {
        took.is_some_and(|took| took <= self.most)
    }
}

/// A round time for people.
fn short(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_said_and_only_a_missed_limit_breaks_the_promise() {
        let aim = Aim::new(Duration::from_millis(1100), Duration::from_secs(10));
        assert_eq!(aim.promised(), "aim 1100 ms, at most 10 s");
        assert_eq!(Aim::new(Duration::from_secs(1), Duration::from_secs(10)).promised(), "aim 1 s, at most 10 s");
        let told = |took: Option<Duration>| (aim.seen(took), aim.is_kept(took));
        assert_eq!(told(Some(Duration::from_millis(1100))), ("1100.0 ms".to_owned(), true));
        assert_eq!(told(Some(Duration::from_millis(1101))), ("1101.0 ms, AIM MISSED".to_owned(), true));
        assert_eq!(told(Some(Duration::from_millis(10_001))), ("10001.0 ms, AIM MISSED".to_owned(), false));
        assert_eq!(told(None), ("never".to_owned(), false));
    }
}
