//! How large values may be in a statement, so that it hears its deadline.
//!
//! SQLite looks at the clock where its program loops, not inside a function and not between the steps of a long expression:
//! `instr` over two values of 16 MiB would run for half an hour, `trim` for days. So the largest value is bounded by what
//! the statement calls and how long it is: no stretch without a look at the clock takes much more than [`STRETCH`]. What check
//! constraints, generated columns and indexes call is not seen; they are the module's own migrations.

use super::session::MAX_VALUE;

/// The longest stretch, in picoseconds.
const STRETCH: u128 = 1_000_000_000_000;

/// The bound does not go lower.
const LEAST: i32 = 1024;

/// What functions take, in picoseconds, measured on the project's machine at their worst.
const TOKEN: u128 = 100; // a byte: concatenation, comparison; one for two tokens
const FUNCTION: u128 = 8_000; // a byte: JSON
const PATTERN: u128 = 420_000; // a byte, with a pattern of 128
const SEARCH: u128 = 8; // a byte of one argument by a byte of the other, and so on below
const MERGE: u128 = 120;
const MEMBERS: u128 = 3_400;

/// What a statement is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effort {
    tokens: usize,
    functions: usize,
    patterns: usize,
    searches: usize,
    merges: usize,
    members: usize,
}

impl Effort {
    /// A statement of so many tokens that calls nothing.
    pub(super) fn new(tokens: usize) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// Adds one call of `function`.
    pub(super) fn call(&mut self, function: &str) {
        let count = match function.to_ascii_lowercase().as_str() {
            "like" | "glob" => &mut self.patterns,
            "instr" | "replace" => &mut self.searches,
            "json_patch" | "jsonb_patch" => &mut self.merges,
            "trim" | "ltrim" | "rtrim" | "unhex" => &mut self.members,
            _ => &mut self.functions,
        };
        *count += 1;
    }

    /// The largest value, in bytes: 16 MiB, halved until the stretch is short enough.
    pub(super) fn largest_value(self) -> i32 {
        let mut size = MAX_VALUE;
        while size > LEAST && self.time(size) > STRETCH {
            size /= 2;
        }
        size
    }

    fn time(self, size: i32) -> u128 {
        let size = u128::from(size.unsigned_abs());
        let all = |count: usize, each: u128| each * count as u128;
        let linear = all(self.tokens, TOKEN) + all(self.functions, FUNCTION) + all(self.patterns, PATTERN);
        let square = all(self.searches, SEARCH) + all(self.merges, MERGE) + all(self.members, MEMBERS);
        size * linear + size * size * square
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn effort(tokens: usize, calls: &[&str]) -> Effort {
        let mut effort = Effort::new(tokens);
        calls.iter().for_each(|function| effort.call(function));
        effort
    }

    #[test]
    fn plain_statements_take_the_largest_values() {
        assert_eq!(effort(200, &["count", "lower", "coalesce"]).largest_value(), MAX_VALUE);
    }

    #[test]
    fn each_kind_of_function_has_its_bound() {
        for (function, kib) in [("LIKE", 2048), ("instr", 256), ("json_patch", 64), ("trim", 16)] {
            assert_eq!(effort(20, &[function]).largest_value(), kib * 1024, "{function}");
        }
    }

    #[test]
    fn the_bound_ends_at_its_least() {
        assert_eq!(effort(1_000_000, &["trim"; 10_000]).largest_value(), LEAST);
    }

    proptest! {
        #[test]
        fn more_of_anything_never_allows_more(
            tokens in 0_usize..100_000,
            calls in prop::collection::vec(prop::sample::select(vec!["like", "instr", "json_patch", "trim", "lower"]), 1..50),
        ) {
            let less = effort(tokens / 2, &calls[1..]).largest_value();
            prop_assert!(effort(tokens, &calls).largest_value() <= less);
        }
    }
}
