//! Tests in a process of their own: what overflows a stack or hangs ends that process, not the tests beside it.

use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Names the test that a child process is to run.
const CHILD: &str = "REPLUG_TEST_CHILD";

/// The path of a test of this crate, as the test harness has it.
macro_rules! test_path {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name)).split_once("::").unwrap().1
    };
}
pub(crate) use test_path;

/// Runs `work` in a process of its own, by running this test binary again for `test` alone.
#[track_caller]
pub(crate) fn in_a_process(test: &str, work: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return work();
    }
    let binary = std::env::current_exe().unwrap();
    let child =
        Command::new(binary).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, test).output();
    let child = child.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("1 passed") || !child.status.success(), "no test is named {test}:\n{said}");
    if std::env::var_os(REPORT).is_some() {
        note(&said);
    }
    let tail = &said[said.floor_char_boundary(said.len().saturating_sub(TAIL))..];
    assert!(child.status.success(), "{test}: {}\n{tail}", child.status);
}

/// Bytes that are shown of what a child that failed said.
const TAIL: usize = 16 << 10;

/// Asks the tests to tell what they measure.
pub(crate) const REPORT: &str = "REPLUG_TEST_REPORT";

/// Writes a line where the parent process reads it.
pub(crate) fn note(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs `work` on a thread with `stack` bytes. What does not end within `guard` ends the process: call it in a child.
#[track_caller]
pub(crate) fn on_a_stack<R: Send + 'static>(
    stack: usize,
    guard: Duration,
    what: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, waits) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().stack_size(stack).spawn(move || {
        let result = work();
        let _ = done.send(());
        result
    });
    let thread = thread.unwrap();
    if waits.recv_timeout(guard) == Err(mpsc::RecvTimeoutError::Timeout) {
        note(&format!("{what} hangs"));
        std::process::abort();
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
