//! What limits do to a call, and to the VM.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Running, api, context, generous, request};
use crate::api::Request;
use crate::error::ScriptError;
use crate::host::Vm;
use crate::limits::{Limits, Verdict};

/// The verdict on the handler's call; the VM is spent then.
#[track_caller]
pub(crate) fn verdict_on((mut vm, _): Running, script: &str) -> Verdict {
    match vm.respond(&api(), &request(), &context()) {
        Err(error @ ScriptError::Limit(verdict)) => {
            assert!(error.retires_vm());
            let again = vm.respond(&api(), &request(), &context());
            assert!(matches!(again, Err(ScriptError::Limit(second)) if second == verdict), "the VM is spent");
            verdict
        }
        other => panic!("{script}: {other:?}"),
    }
}

/// An endless loop that keeps nothing meets each limit but that of memory. `start` makes its VM.
pub(crate) fn assert_each_budget_has_its_verdict(script: &str, start: impl Fn(&Limits) -> Running) {
    let verdict = |limits: &Limits| verdict_on(start(limits), script);
    assert_eq!(verdict(&Limits { ticks: 1000, ..generous() }), Verdict::Ticks(1000));
    let short = Duration::from_millis(20);
    let limits = Limits { ticks: u64::MAX, cpu_time: short, ..generous() };
    assert_eq!(verdict(&limits), Verdict::CpuTime(short));
    let limits = Limits { ticks: u64::MAX, wall_time: short, ..generous() };
    assert_eq!(verdict(&limits), Verdict::WallTime(short));
}

/// The handler loops, and the deadline of its caller ends it.
pub(crate) fn assert_ends_at_the_deadline((mut vm, _): Running) {
    let short = Duration::from_millis(20);
    let mut context = context();
    context.deadline = Instant::now() + short;
    let error = vm.respond(&api(), &request(), &context).unwrap_err();
    assert!(matches!(error, ScriptError::Limit(Verdict::WallTime(limit)) if limit <= short), "{error:?}");
}

/// The handler answers this many times.
#[track_caller]
pub(crate) fn assert_serves((mut vm, _): Running, times: usize, script: &str) {
    for _ in 0..times {
        vm.respond(&api(), &request(), &context()).unwrap_or_else(|error| panic!("{script}: {error}"));
    }
}

/// The handler makes a string of 2 MB after some thousand ticks. `too_large` is what it throws when it may not.
pub(crate) fn assert_new_limits_hold((mut vm, _): Running, too_large: &str) {
    vm.respond(&api(), &request(), &context()).unwrap();
    vm.set_limits(Limits { memory: 1 << 20, ..generous() });
    let error = vm.respond(&api(), &request(), &context()).unwrap_err();
    assert!(error.to_string().contains(too_large), "{error}");
    vm.set_limits(Limits { ticks: 10, ..generous() });
    assert!(vm.respond(&api(), &request(), &context()).unwrap_err().retires_vm());
}

/// What the VM holds after `calls` calls with a body of some size, and after twice as many more.
pub(crate) fn sizes_over(vm: &mut dyn Vm, calls: usize) -> (usize, usize) {
    let request = with_body(10_000);
    let mut after = |calls: usize| {
        for _ in 0..calls {
            vm.respond(&api(), &request, &context()).unwrap();
        }
        vm.memory()
    };
    (after(calls), after(2 * calls))
}

/// A request of 4 MiB is too much for a VM of 1 MiB.
pub(crate) fn assert_large_request_is_a_memory_verdict(start: impl Fn(&Limits) -> Running) {
    let running = start(&Limits { memory: 1 << 20, ..generous() });
    assert_full(running, &with_body(4 << 20));
}

/// The handler's call ends because the heap is full.
#[track_caller]
pub(crate) fn assert_full((mut vm, _): Running, request: &Request) {
    let error = vm.respond(&api(), request, &context()).unwrap_err();
    assert!(matches!(error, ScriptError::Limit(Verdict::Memory(_))), "{error:?}");
}

/// A VM that `error` retired does not run again.
#[track_caller]
pub(crate) fn assert_stays_spent(vm: &mut dyn Vm, error: &ScriptError, script: &str) {
    if error.retires_vm() {
        let again = vm.respond(&api(), &request(), &context()).unwrap_err();
        assert!(again.retires_vm(), "{script}: a spent VM ran again");
    }
}

/// Two of 256 MiB of memory are left to the VM: what `fits` answers, and what would fit into all of it ends as if that were full.
pub(crate) fn assert_a_crowded_heap_is_full(start: impl Fn(&Limits, &str) -> Running, fits: &[&str], full: &[&str]) {
    let limits = Limits { memory: 256 << 20, room: Some(2 << 20), ..generous() };
    for body in fits {
        assert_serves(start(&limits, body), 2, body);
    }
    for body in full {
        assert_eq!(verdict_on(start(&limits, body), body), Verdict::Memory(2 << 20), "{body}");
        let all = Limits { room: None, ..limits };
        assert_serves(start(&all, body), 1, body);
    }
}

fn with_body(bytes: usize) -> Request {
    Request { body: Bytes::from(vec![b'x'; bytes]), ..request() }
}
