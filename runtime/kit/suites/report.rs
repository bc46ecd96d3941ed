//! What came of the tests.

use std::time::Duration;

use replug_scripts::{HostError, ScriptError};
use serde::Serialize;

use crate::sandbox::lines::{LINE, cut};

/// Bytes of logs, messages and stacks that a report keeps.
const TEXT: usize = 16 << 20;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `id@version` of the module.
    pub module: String,
    /// Tests that held.
    pub passed: usize,
    /// Tests that did not.
    pub failed: usize,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// Each test, by file and name.
    pub tests: Vec<TestReport>,
}

/// A test.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// The path of its file in the module's folder.
    pub file: String,
    /// Its name; that of the file where the file did not load.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// How long it took, in milliseconds, its VMs and its state included.
    pub ms: f64,
    /// Why it did not hold.
    pub failure: Option<Failure>,
    /// What the module and the test logged, as `level message`.
    pub log: Vec<String>,
}

/// Why a test did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was said, without the place.
    pub message: String,
    /// `FILE:LINE` in the module's folder, where it is known.
    pub place: Option<String>,
    /// The stack as `FILE:LINE in NAME`, innermost first.
    pub trace: Vec<String>,
}

/// The tests of a run so far.
#[derive(Default)]
pub(super) struct Tests {
    all: Vec<TestReport>,
    /// Bytes of their texts.
    text: usize,
}

impl Tests {
    /// Keeps a test, without its log and its stack where there is no room for them.
    pub(super) fn push(&mut self, mut test: TestReport) {
        if self.text + test.text() > TEXT {
            test.log = vec![format!("… (not kept: the logs and stacks of this run have {TEXT} bytes)")];
            test.failure =
                test.failure.map(|failure| Failure { message: cut(&failure.message, LINE), trace: vec![], ..failure });
        }
        self.text += test.text();
        self.all.push(test);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Report {
    pub(super) fn of(module: String, tests: Tests, took: Duration) -> Self {
        let tests = tests.all;
        let passed = tests.iter().filter(|test| test.passed).count();
        Self { module, passed, failed: tests.len() - passed, ms: millis(took), tests }
    }
}

impl TestReport {
    pub(super) fn of(file: &str, name: &str, failure: Option<Failure>, took: Duration, log: Vec<String>) -> Self {
        let (file, name) = (file.to_owned(), name.to_owned());
        Self { file, name, passed: failure.is_none(), ms: millis(took), failure, log }
    }

    /// Bytes of what it says.
    fn text(&self) -> usize {
        let failure = self.failure.iter().flat_map(|failure| failure.trace.iter().chain([&failure.message]));
        self.log.iter().chain(failure).map(String::len).sum()
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

impl Failure {
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, trace: Vec::new() }
    }

    /// Of a call that ended so.
    #[must_use]
    pub fn of(error: &ScriptError) -> Self {
        let (message, trace) = match error {
            ScriptError::Thrown { message, trace } => (message.clone(), trace.as_str()),
            ScriptError::Host { error, trace } => (error.message.clone(), trace.as_str()),
            ScriptError::Limit(verdict) => (format!("the test did not end: {verdict}"), ""),
            other => (other.to_string(), ""),
        };
        let trace: Vec<String> = trace.lines().map(str::to_owned).collect();
        let first = trace.first().map(|line| line.split(" in ").next().unwrap_or(line).to_owned());
        let (place, message) = match split_place(&message) {
            Some((place, rest)) => (Some(place.to_owned()), rest.to_owned()),
            None => (first, message),
        };
        Self { message, place, trace }
    }
}

/// What a call of the module came to, for a test that does not expect it: with the place in the module's file.
pub(super) fn told(what: &str, error: &ScriptError) -> HostError {
    let Failure { message, place, .. } = Failure::of(error);
    let kind = match error {
        ScriptError::Host { error, .. } => error.kind,
        _ => replug_scripts::HostErrorKind::Failed,
    };
    let message = match (error, place) {
        (ScriptError::Limit(verdict), _) => format!("{what} did not end: {verdict}"),
        (_, Some(place)) => format!("{what} failed: {place}: {message}"),
        (_, None) => format!("{what} failed: {message}"),
    };
    HostError::new(kind, message)
}

/// `FILE:LINE: rest` in two.
fn split_place(message: &str) -> Option<(&str, &str)> {
    let (place, rest) = message.split_once(": ")?;
    let (file, line) = place.rsplit_once(':')?;
    let is_place = replug_scripts::Language::of(file).is_some() && line.parse::<u32>().is_ok() && !file.contains(' ');
    is_place.then_some((place, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_every_test_and_as_many_of_their_texts_as_it_has_room_for() {
        let mut tests = Tests::default();
        for n in 0..100 {
            let failure = (n % 2 == 1).then(|| failure(&"m".repeat(8 << 10), &"main.lua:1\n".repeat(1000)));
            let log = vec!["x".repeat(2000); 200];
            tests.push(TestReport::of("tests/a.lua", &n.to_string(), failure, Duration::ZERO, log));
        }
        let report = Report::of("m@1.0.0".into(), tests, Duration::ZERO);
        assert_eq!((report.tests.len(), report.passed, report.failed), (100, 50, 50));
        let text: usize = report.tests.iter().map(TestReport::text).sum();
        assert!(text > TEXT / 2 && text < TEXT + 100 * (3 << 10), "{text}");
        let last = report.tests.last().unwrap();
        let failure = last.failure.as_ref().unwrap();
        assert!(last.log[0].starts_with("… (not kept: ") && failure.message.len() == LINE + 3, "{last:?}");
        assert_eq!((failure.place.as_deref(), failure.trace.len()), (Some("main.lua:1"), 0));
    }

    fn failure(message: &str, trace: &str) -> Failure {
        Failure::of(&ScriptError::Thrown { message: message.into(), trace: trace.into() })
    }

    #[test]
    fn the_place_is_that_of_the_message_or_else_the_innermost_of_the_stack() {
        let found = failure("lib/a.lua:3: no: way", "main.lua:1 in f\nmain.lua:2");
        assert_eq!((found.place.as_deref(), found.message.as_str()), (Some("lib/a.lua:3"), "no: way"));
        let found = failure("a thing: broke", "main.lua:1 in f\nmain.lua:2");
        assert_eq!((found.place.as_deref(), found.message.as_str()), (Some("main.lua:1"), "a thing: broke"));
        assert_eq!(failure("x.txt:3: no", "").place, None);
    }
}
