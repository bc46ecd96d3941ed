//! Made-up scripts, and what must hold of every one.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::child::{note, on_a_stack};
use super::hostile::{self, Row};
use crate::limits::Limits;

/// Far less than the hang of a script, far more than one takes.
const HANGS: Duration = Duration::from_secs(60);

/// Runs scripts that `make` makes from bytes: `PROPTEST_CASES` of them. Call it in a child process.
pub(crate) fn assert_none_does_harm(
    path: &'static str,
    memory: usize,
    make: fn(&[u8]) -> (&'static str, String),
    source: fn(&str, &str) -> String,
) {
    let limits = Limits {
        ticks: 5_000_000,
        cpu_time: Duration::from_millis(20),
        wall_time: Duration::from_secs(2),
        memory: 8 << 20,
        room: None,
        stack: None,
    };
    hostile::warm(path, memory, source);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let tried = runner.run(&prop::collection::vec(any::<u8>(), 0..1200), |bytes| {
        let (top, body) = make(&bytes);
        note(&format!("case\n{body}"));
        let shown = body.clone();
        let run = move || hostile::run(path, Row::any(top, body), &limits, memory, source);
        match on_a_stack(limits.stack_size(), HANGS, "the case", run) {
            Ok(told) => {
                note(&told);
                Ok(())
            }
            Err(fault) => Err(TestCaseError::fail(format!("{fault}\n{shown}"))),
        }
    });
    tried.unwrap_or_else(|fault| panic!("{fault}"));
}
