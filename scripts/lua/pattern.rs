//! Searching in strings: bounds on what one step of a pattern may walk, and a metered plain search.

use super::gates::{Plan, whole};
use super::interrupt::Args;
use crate::meter;

/// Subjects longer than this are refused by patterns whose single step may walk the whole subject.
const MAX_BALANCED: usize = 4 << 20;
/// Character comparisons that one step of a pattern may make: the subject's length times the longest set's.
const MAX_SET_WORK: usize = 64 << 20;
/// Comparisons of a set that take as long as one that a repeated item makes by a call.
const ITEM: usize = 4;
/// Bytes from which a single step of a pattern is worth a look at the clocks.
const SMALL_STEP: usize = 1 << 14;
/// Searches of less work than this go to the native function.
const SMALL_SEARCH: usize = 1 << 16;
/// Bytes compared between two charges.
const SEARCH_CHUNK: usize = 4096;
/// Patterns tick at every step; what a single step may walk is bounded here.
pub(super) fn pattern(args: &Args<'_>, find: bool) -> Plan {
    let (Some(subject), Some(pattern)) = (args.bytes(1), args.bytes(2)) else { return Plan::Run(0) };
    if find && (args.truth(4) || !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))) {
        if subject.len().saturating_mul(pattern.len()) <= SMALL_SEARCH || !(args.is_nil(3) || args.number(3).is_some())
        {
            return Plan::Run(0);
        }
        return plain_find(subject, pattern, args.number(3).unwrap_or(1.0));
    }
    let shape = Shape::of(pattern);
    let walked = if shape.walks { subject.len() } else { 0 };
    if walked.saturating_mul(shape.longest_set.max(ITEM)) > MAX_SET_WORK {
        return Plan::Refuse(c"the string is too long for this pattern");
    }
    if shape.looks_back && subject.len() > MAX_BALANCED {
        return Plan::Refuse(c"string too long for a pattern with %b or %1");
    }
    if walked.saturating_add(pattern.len()) > SMALL_STEP {
        meter::hurry_on();
    }
    Plan::Run(0)
}

/// What makes a single step of a pattern expensive.
struct Shape {
    longest_set: usize,
    /// Whether it has `%b` or a back reference.
    looks_back: bool,
    /// Whether a step may walk the whole subject: by those, or by an item that is repeated.
    walks: bool,
}

impl Shape {
    fn of(pattern: &[u8]) -> Self {
        let mut shape = Self { longest_set: 0, looks_back: false, walks: false };
        let mut set_start = None;
        let mut index = 0;
        while let Some(byte) = pattern.get(index) {
            match (byte, set_start) {
                (b'%', _) => {
                    let looks_back = matches!(pattern.get(index + 1), Some(b'b' | b'0'..=b'9'));
                    shape.looks_back |= looks_back && set_start.is_none();
                    index += 1;
                }
                (b'[', None) => set_start = Some(index),
                // A `]` that comes first is a member of the set.
                (b']', Some(start)) if index > start + 1 && !(index == start + 2 && pattern[start + 1] == b'^') => {
                    shape.longest_set = shape.longest_set.max(index - start);
                    set_start = None;
                }
                (b'*' | b'+', None) => shape.walks = true,
                _ => {}
            }
            index += 1;
        }
        if let Some(start) = set_start {
            shape.longest_set = shape.longest_set.max(pattern.len() - start);
        }
        shape.walks |= shape.looks_back;
        shape.longest_set = shape.longest_set.max(1);
        shape
    }
}

/// `string.find` without specials: as the native one, but charged for what it compares.
fn plain_find(subject: &[u8], needle: &[u8], init: f64) -> Plan {
    let mut start = whole(init);
    if init < 0.0 {
        start = (subject.len() + 1).saturating_sub(whole(-init));
    }
    let start = start.max(1) - 1;
    if start > subject.len() {
        return Plan::Return(None);
    }
    match search(subject, needle, start) {
        Ok(None) => Plan::Return(None),
        #[allow(clippy::cast_precision_loss, reason = "positions in memory are far below 2^53")]
        Ok(Some(at)) => Plan::Return(Some(((at + 1) as f64, (at + needle.len()) as f64))),
        Err(Over) => Plan::End,
    }
}

/// The call is over.
#[derive(Debug, PartialEq, Eq)]
struct Over;

/// The first place of `needle` at or after `start`, charging the meter for every byte that is compared.
fn search(subject: &[u8], needle: &[u8], start: usize) -> Result<Option<usize>, Over> {
    let Some((first, rest)) = needle.split_first() else { return Ok(Some(start)) };
    let Some(last) = subject.len().checked_sub(needle.len()) else { return Ok(None) };
    let charge = |bytes: usize| if meter::charge_bytes(bytes + 64).is_some() { Err(Over) } else { Ok(()) };
    let mut at = start;
    while at <= last {
        let end = (at + SEARCH_CHUNK).min(last + 1);
        let Some(skip) = subject[at..end].iter().position(|byte| byte == first) else {
            charge(end - at)?;
            at = end;
            continue;
        };
        at += skip;
        let mut same = true;
        for (ours, theirs) in rest.chunks(SEARCH_CHUNK).zip(subject[at + 1..].chunks(SEARCH_CHUNK)) {
            charge(ours.len())?;
            if !theirs.starts_with(ours) {
                same = false;
                break;
            }
        }
        if same {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_pattern_shows_its_longest_set_and_whether_a_step_walks() {
        let of = |pattern: &str| {
            let shape = Shape::of(pattern.as_bytes());
            (shape.longest_set, shape.walks, shape.looks_back)
        };
        assert_eq!(of("abc"), (1, false, false));
        assert_eq!(of("a*bc"), (1, true, false));
        assert_eq!(of("a%*b-c?"), (1, false, false));
        assert_eq!(of("[abc]x[a]"), (4, false, false));
        assert_eq!(of("[]abc]+"), (5, true, false), "a bracket that comes first is a member");
        assert_eq!(of("[^]abc]"), (6, false, false));
        assert_eq!(of("[a%]bcd]"), (7, false, false));
        assert_eq!(of("[a*+]"), (4, false, false));
        assert_eq!(of("%[abc"), (1, false, false));
        assert_eq!(of("[abcdef"), (7, false, false), "one that never ends counts to the end");
        assert_eq!(of("%b()"), (1, true, true));
        assert_eq!(of("(a*)%1"), (1, true, true));
        assert_eq!(of("[%b%1]"), (5, false, false));
        assert_eq!(of("%%b"), (1, false, false));
        assert_eq!(of("%"), (1, false, false));
    }

    #[test]
    fn a_search_ends_with_the_budget() {
        let limits = Limits { ticks: 10_000, ..Limits::default() };
        let _guard = meter::start(&limits, Instant::now() + Duration::from_secs(60));
        let subject = vec![b'a'; 1 << 20];
        let mut needle = vec![b'a'; 1 << 16];
        needle.push(b'b');
        assert_eq!(search(&subject, &needle, 0), Err(Over));
    }

    proptest! {
        #[test]
        fn a_search_finds_the_first_place(
            subject in proptest::collection::vec(0u8..3, 0..60),
            needle in proptest::collection::vec(0u8..3, 0..5),
            start in 0usize..60,
        ) {
            let start = start.min(subject.len());
            let expected = (start..=subject.len()).find(|&at| subject[at..].starts_with(&needle));
            prop_assert_eq!(search(&subject, &needle, start), Ok(expected));
        }
    }
}
