//! Hostile scripts: tables of them as text, and what must hold of every one.
//!
//! A row of a table is `== NAME: END`, with the body of a handler below it. Above a line `---` stands what belongs to the
//! top of the file. A line `@N TEXT` stands for the text N times.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{self, note};
use super::limits::assert_stays_spent;
use super::{Notes, api, context, request, sources, text};
use crate::api::HostFn;
use crate::cpu::thread_cpu_time;
use crate::error::{HostError, ScriptError};
use crate::host::{CallContext, Handler, Host, compile};
use crate::limits::{Limits, Verdict};
use crate::value::Value;

/// What a hostile script must come to, in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A verdict on ticks or time.
    Budget,
    /// A verdict on memory, unless the machine is too slow to fill it in time.
    Memory,
    /// Any verdict.
    Limit,
    /// An error of the script, not a verdict.
    Error,
    /// An error or a verdict.
    Stopped,
    /// It does not compile.
    Refused,
    /// An answer.
    Answer,
    /// Whatever, but in time.
    Any,
}

/// One hostile script.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    end: End,
    /// What stands at the top of the file.
    top: &'static str,
    /// The body of the handler.
    body: Cow<'static, str>,
}

impl Row {
    /// A script that may do what it likes, also not compile.
    pub(crate) fn any(top: &'static str, body: String) -> Self {
        Self { name: "any", end: End::Any, top, body: body.into() }
    }
}

/// The rows of a table.
pub(crate) fn rows(table: &'static str) -> Vec<Row> {
    let mut rows = Vec::new();
    for row in table.strip_prefix("== ").unwrap().split("\n== ") {
        let (head, script) = row.split_once('\n').unwrap_or((row, ""));
        let (name, end) = head.rsplit_once(": ").unwrap_or_else(|| panic!("no end in the row {head}"));
        let end = match end {
            "budget" => End::Budget,
            "memory" => End::Memory,
            "limit" => End::Limit,
            "error" => End::Error,
            "stopped" => End::Stopped,
            "refused" => End::Refused,
            "answer" => End::Answer,
            "any" => End::Any,
            _ => panic!("{end} is no end: {head}"),
        };
        let (top, body) = script.split_once("\n---\n").unwrap_or(("", script));
        rows.push(Row { name, end, top, body: repeated(body).into() });
    }
    rows
}

/// Limits for hostile scripts: what those take must be far less than a hang.
fn limits(end: End) -> Limits {
    let tight = Limits {
        ticks: 50_000_000,
        cpu_time: Duration::from_millis(90),
        wall_time: Duration::from_millis(400),
        memory: 16 << 20,
        room: None,
        stack: None,
    };
    // A heap that is to be filled may take its time on a busy machine.
    if end == End::Memory { Limits { cpu_time: PATIENCE, wall_time: PATIENCE, ..tight } } else { tight }
}

/// How long the heap may take to be full.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far more than any row takes, far less than a hang.
const HANGS: Duration = Duration::from_secs(30);
/// CPU time beyond its budget that no row may take: several times what the slowest takes in a debug build, and less than the hang
/// of a native function that nobody looks after.
const CPU_GUARD: Duration = Duration::from_millis(300);

/// Runs every row: each ends in time and as it must; then the thread serves a VM that replaces it, and has its memory back.
/// `source` makes the text of an entry script, which also answers `GET /alive` with "alive". `memory` is how many times
/// its limit a VM may take. Call it in a child process.
pub(crate) fn assert_harmless(path: &'static str, rows: &[Row], memory: usize, source: fn(&str, &str) -> String) {
    let mut faults = Vec::new();
    warm(path, memory, source);
    let only = std::env::var("REPLUG_TEST_ROW").unwrap_or_default();
    for row in rows.iter().filter(|row| row.name.contains(&only)) {
        let (name, limits) = (row.name, limits(row.end));
        let row = row.clone();
        let run = move || run(path, row, &limits, memory, source);
        note(&format!("row {name}"));
        match child::on_a_stack(limits.stack_size(), HANGS, name, run) {
            Ok(told) => note(&told),
            Err(fault) => faults.push(format!("{name}: {fault}")),
        }
    }
    assert!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
}

/// Runs every row as a whole entry script: its top level ends in time and as it must, also a hundred times, and leaves
/// nothing. Call it in a child process.
pub(crate) fn assert_top_levels_harmless(path: &'static str, rows: &[Row]) {
    for row in rows {
        let (name, limits) = (row.name, limits(row.end));
        let row = row.clone();
        note(&format!("row {name}"));
        child::on_a_stack(limits.stack_size(), HANGS, name, move || {
            let made = match compile(&sources(&[(path, &row.body)])) {
                Ok(program) => program.instantiate(Arc::new(Quiet(Notes::default())), &limits, &context()),
                Err(_) if row.end == End::Refused => return,
                Err(faults) => panic!("{name}: {}", faults[0]),
            };
            let made = made.map(|vm| assert!(vm.memory() <= limits.memory + (1 << 20), "{name}"));
            let kept = match (row.end, &made) {
                (_, Err(ScriptError::Engine(_))) => false,
                (End::Budget, Err(ScriptError::Limit(verdict))) => !matches!(verdict, Verdict::Memory(_)),
                (End::Memory | End::Limit, Err(ScriptError::Limit(_))) => true,
                (End::Error, Err(error)) => !error.retires_vm(),
                (End::Stopped, Err(_)) | (End::Answer, Ok(())) | (End::Any, _) => true,
                _ => false,
            };
            assert!(kept, "{name}: expected {:?}, found {made:?}", row.end);
        });
    }
}

/// What is made once in a process must not look as if a row had left it.
pub(crate) fn warm(path: &'static str, memory: usize, source: fn(&str, &str) -> String) {
    let _ = run(path, Row::any("", "return 1".into()), &Limits::default(), memory, source);
}

/// Runs one row: what it took, or what is wrong.
pub(crate) fn run(
    path: &'static str,
    row: Row,
    limits: &Limits,
    memory: usize,
    source: fn(&str, &str) -> String,
) -> Result<String, String> {
    let text_of = source(row.top, &row.body);
    let program = match compile(&sources(&[(path, &text_of)])) {
        Ok(program) if row.end != End::Refused => program,
        Ok(_) => return Err("it compiles".into()),
        Err(_) if matches!(row.end, End::Refused | End::Any) => return Ok("  refused".into()),
        Err(faults) => return Err(format!("it does not compile: {}", faults[0])),
    };
    let held = live();
    let before = resident::start();
    let make = |limits| program.instantiate(Arc::new(Quiet(Notes::default())), limits, &context());
    let mut vm = make(limits).map_err(|error| format!("no VM: {error}"))?;
    let (wall, cpu) = (Instant::now(), thread_cpu_time());
    let result = vm.respond(&api(), &request(), &context());
    let (wall, cpu) = (wall.elapsed(), thread_cpu_time().saturating_sub(cpu));
    let peak = resident::peak().saturating_sub(before);
    let told = format!("  {cpu:?} of CPU, {wall:?}, {} MiB: {:?}", peak >> 20, result.as_ref().map(|r| r.status));
    if !is_kept(row.end, &result) {
        return Err(format!("expected {:?}, found {result:?}", row.end));
    }
    if cpu > limits.cpu_time + CPU_GUARD {
        return Err(format!("it took {cpu:?} of CPU time"));
    }
    if peak > memory * limits.memory + RESIDENT_SLACK {
        return Err(format!("it took {} MiB", peak >> 20));
    }
    if vm.memory() > limits.memory + (1 << 20) {
        return Err(format!("the VM holds {} bytes", vm.memory()));
    }
    if let Err(error) = &result {
        assert_stays_spent(&mut *vm, error, row.name);
    }
    drop((vm, result));
    let mut next = make(&Limits::default()).map_err(|error| format!("no VM to replace it: {error}"))?;
    let alive = next.respond(&Handler::Api("GET /alive".into()), &request(), &context());
    match &alive {
        Ok(answer) if text(answer) == "alive" => {}
        other => return Err(format!("the VM that replaces it answers {other:?}")),
    }
    drop((next, alive));
    match (held, live()) {
        (Some(before), Some(after)) if after - before > 256 << 10 => Err(format!("it left {} bytes", after - before)),
        _ => Ok(told),
    }
}

fn repeated(script: &str) -> String {
    let line = |line: &str| {
        let times = line.strip_prefix('@').and_then(|rest| rest.split_once(' '));
        times.map_or_else(|| line.to_owned(), |(times, text)| format!("{text} ").repeat(times.parse().unwrap()))
    };
    script.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_kept(end: End, result: &Result<crate::api::Response, ScriptError>) -> bool {
    match (end, result) {
        (_, Err(ScriptError::Engine(_))) => false,
        (End::Budget, Err(ScriptError::Limit(verdict))) => !matches!(verdict, Verdict::Memory(_)),
        (End::Memory | End::Limit, Err(ScriptError::Limit(_))) => true,
        (End::Error, Err(error)) => !error.retires_vm(),
        (End::Stopped, Err(_)) | (End::Answer, Ok(_)) | (End::Any, _) => true,
        _ => false,
    }
}

/// Answers as [`Notes`] does and keeps nothing.
struct Quiet(Notes);

impl Host for Quiet {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        let result = self.0.call(function, args, call);
        self.0.forget();
        result
    }
}

/// Pages of the process beside its scripts' heaps: stacks, garbage that the allocator keeps for a while.
const RESIDENT_SLACK: usize = 32 << 20;

/// The resident memory of this process, where the system tells it.
mod resident {
    /// Bytes now; from here on the peak is counted anew.
    pub(super) fn start() -> usize {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        of("VmRSS:")
    }

    /// The most bytes since [`start`].
    pub(super) fn peak() -> usize {
        of("VmHWM:")
    }

    fn of(name: &str) -> usize {
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().split(' ').next()?.parse::<usize>().ok()).map_or(0, |kib| kib << 10)
    }
}

/// Bytes that this thread has allocated and not freed; none where nothing counts them.
#[cfg(feature = "jemalloc")]
fn live() -> Option<i64> {
    use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};
    let (allocated, freed) = (allocatedp::read().ok()?, deallocatedp::read().ok()?);
    Some(allocated.get().wrapping_sub(freed.get()).cast_signed())
}

/// Nothing counts.
#[cfg(not(feature = "jemalloc"))]
fn live() -> Option<i64> {
    None
}
