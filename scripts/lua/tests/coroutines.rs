//! Calls that wait for their host while the VM runs others.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::error::{HostError, HostErrorKind};
use crate::host::{CallContext, Host, Vm};
use crate::limits::Verdict;
use crate::task::{Advance, Answer, Output, Task, Ticket};

/// A host whose database lets scripts wait for answers that the test gives, and whose store answers at once.
#[derive(Default)]
struct Slow {
    /// The requests for which functions were called, with whether the script could wait.
    calls: Mutex<Vec<(HostFn, String, bool)>>,
}

impl Slow {
    fn note(&self, function: HostFn, call: &CallContext, waits: bool) {
        self.calls.lock().unwrap().push((function, call.request_id.to_string(), waits));
    }

    fn of(&self, request: &str) -> Vec<bool> {
        self.calls.lock().unwrap().iter().filter(|call| call.1 == request).map(|call| call.2).collect()
    }
}

impl Host for Slow {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        self.note(function, call, false);
        Ok(args.into_iter().next().unwrap_or_default())
    }

    fn begin(self: Arc<Self>, function: HostFn, args: Vec<Value>, call: &CallContext) -> Answer {
        self.note(function, call, true);
        if function == HostFn::DbExecute {
            return Answer::Ready(Ok(args.into_iter().next().unwrap_or_default()));
        }
        Answer::Pending(Box::pin(std::future::pending()))
    }
}

fn slow_vm(limits: &Limits, body: &str) -> (Box<dyn Vm>, Arc<Slow>) {
    let source = format!("local seen = 0\nreturn {{ services = {{ [\"a.b\"] = function(args, ctx)\n{body}\nend }} }}");
    let host = Arc::new(Slow::default());
    let vm = program(&[("main.lua", &source)]).instantiate(host.clone(), limits, &context()).unwrap();
    (vm, host)
}

fn for_request(id: &str) -> CallContext {
    CallContext { request_id: id.into(), ..context() }
}

fn begin(vm: &mut Box<dyn Vm>, id: &str, args: Value) -> Advance {
    vm.begin(&Task::Call(Handler::Service("a.b".into()), vec![args]), &for_request(id))
}

#[track_caller]
fn waits(step: Advance) -> Ticket {
    match step {
        Advance::Waits(ticket, _) => ticket,
        Advance::Done(result) => panic!("it ended: {result:?}"),
    }
}

#[track_caller]
fn done(step: Advance) -> Result<Value, ScriptError> {
    match step {
        Advance::Done(Ok(Output::Value(value))) => Ok(value),
        Advance::Done(Ok(Output::Response(response))) => panic!("a response: {response:?}"),
        Advance::Done(Err(error)) => Err(error),
        Advance::Waits(ticket, _) => panic!("it waits under {ticket:?}"),
    }
}

fn denied() -> HostError {
    HostError::new(HostErrorKind::PermissionDenied, "permission denied: ask first")
}

#[test]
fn calls_go_on_in_the_order_of_their_answers_each_with_its_own_context() {
    let body = r"local row = db.query('q') seen = seen + 1 kv.get('k') return { args, row, seen, ctx.request_id }";
    let (mut vm, host) = slow_vm(&generous(), body);
    let first = waits(begin(&mut vm, "r-1", Value::Int(1)));
    let second = waits(begin(&mut vm, "r-2", Value::Int(2)));
    let answer = done(vm.resume(second, Ok(Value::from("two")))).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"[2,"two",1,"r-2"]"#);
    let answer = done(vm.resume(first, Ok(Value::from("one")))).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"[1,"one",2,"r-1"]"#);
    assert_eq!((host.of("r-1"), host.of("r-2")), (vec![true, false], vec![true, false]));
}

#[test]
fn a_call_that_ends_at_once_and_one_with_a_quick_answer_do_not_wait() {
    let (mut vm, host) = slow_vm(&generous(), "if args then return db.execute('x') end return 'plain'");
    assert_eq!(done(begin(&mut vm, "r", Value::Null)).unwrap(), Value::from("plain"));
    assert_eq!(done(begin(&mut vm, "r", Value::Bool(true))).unwrap(), Value::from("x"));
    assert_eq!(host.of("r"), [true]);
}

#[test]
fn a_request_waits_as_other_calls_do() {
    let source = handler("return { status = 201, body = db.query('q') .. req.path }");
    let mut vm =
        program(&[("main.lua", &source)]).instantiate(Arc::new(Slow::default()), &generous(), &context()).unwrap();
    let ticket = waits(vm.begin(&Task::Respond(api(), Box::new(request())), &context()));
    let Advance::Done(Ok(Output::Response(response))) = vm.resume(ticket, Ok(Value::from("rows of "))) else {
        panic!("no response")
    };
    assert_eq!((response.status.as_u16(), text(&response)), (201, "rows of /x"));
}

#[test]
fn what_the_host_refuses_is_thrown_where_the_script_waited() {
    let body = r"local ok, e = pcall(function() return db.query('q') end)
        return { ok, e.kind, tostring(e), (select(2, xpcall(db.query, function(e) return e.kind .. '!' end, 'q'))) }";
    let (mut vm, _) = slow_vm(&generous(), body);
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    let ticket = waits(vm.resume(ticket, Err(denied())));
    let answer = done(vm.resume(ticket, Err(denied()))).unwrap();
    let expected = r#"[false,"permission-denied","permission denied: ask first","permission-denied!"]"#;
    assert_eq!(serde_json::to_string(&answer).unwrap(), expected);

    let (mut vm, _) = slow_vm(&generous(), "local function deep() return db.query('q') + 1 end\nreturn deep()");
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    match done(vm.resume(ticket, Err(denied()))) {
        Err(ScriptError::Host { error, trace }) => {
            assert_eq!(error, denied());
            assert!(trace.contains("main.lua:3 in deep"), "{trace}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_after_a_wait_names_its_line() {
    let (mut vm, _) = slow_vm(&generous(), "db.query('q')\nerror('no')");
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    match done(vm.resume(ticket, Ok(Value::Null))) {
        Err(ScriptError::Thrown { message, trace }) => {
            assert_eq!(message, "main.lua:4: no");
            assert!(trace.starts_with("main.lua:4"), "{trace}");
        }
        other => panic!("{other:?}"),
    }
}

/// There the thread waits: what stands between cannot be suspended.
#[test]
fn behind_a_native_function_or_in_a_coroutine_of_the_script_nothing_waits() {
    for body in [
        "return coroutine.wrap(function() return db.query('x') end)()",
        "local co = coroutine.create(function() return db.query('x') end) return select(2, coroutine.resume(co))",
        "local t = { 2, 1 } table.sort(t, function(a, b) db.query('x') return a < b end) return 'x'",
        "return (string.gsub('a', 'a', function() return db.query('x') end))",
        "return setmetatable({}, { __index = function() return db.query('x') end }).y",
    ] {
        let (mut vm, host) = slow_vm(&generous(), body);
        assert_eq!(done(begin(&mut vm, "r", Value::Null)).unwrap(), Value::from("x"), "{body}");
        assert_eq!(host.of("r").first(), Some(&false), "{body}");
    }
}

#[test]
fn a_handler_that_yields_to_nobody_gets_an_error_it_can_catch() {
    let (mut vm, _) = slow_vm(&generous(), "return { pcall(coroutine.yield, 1) }");
    let answer = done(begin(&mut vm, "r", Value::Null)).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"[false,"attempt to yield from outside a coroutine"]"#);
    let (mut vm, _) = slow_vm(&generous(), "coroutine.yield()");
    let error = done(begin(&mut vm, "r", Value::Null)).unwrap_err();
    assert!(matches!(error, ScriptError::Thrown { .. }), "{error:?}");
    let limits = Limits { ticks: 10_000, ..generous() };
    let (mut vm, _) = slow_vm(&limits, "while true do pcall(coroutine.yield) end");
    let error = done(begin(&mut vm, "r", Value::Null)).unwrap_err();
    assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(10_000))), "{error:?}");
}

#[test]
fn each_call_has_a_budget_of_its_own_across_its_waits() {
    let limits = Limits { ticks: 3_000, ..generous() };
    let (mut vm, _) = slow_vm(&limits, "for _ = 1, args do db.query('q') for _ = 1, 500 do end end return 'done'");
    // two calls of 1,500 ticks and more side by side
    let mut tickets = [waits(begin(&mut vm, "r-1", Value::Int(3))), waits(begin(&mut vm, "r-2", Value::Int(3)))];
    for round in 0..3 {
        for ticket in &mut tickets {
            match vm.resume(*ticket, Ok(Value::Null)) {
                Advance::Waits(next, _) => *ticket = next,
                step => {
                    assert_eq!(round, 2);
                    assert_eq!(done(step).unwrap(), Value::from("done"));
                }
            }
        }
    }
    // one call that uses up its ticks over several waits
    let mut ticket = waits(begin(&mut vm, "r-3", Value::Int(100)));
    let error = loop {
        match vm.resume(ticket, Ok(Value::Null)) {
            Advance::Waits(next, _) => ticket = next,
            step => break done(step).unwrap_err(),
        }
    };
    assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(3_000))), "{error:?}");
}

#[test]
fn a_wait_costs_wall_time_but_no_cpu_time() {
    let limits =
        Limits { cpu_time: Duration::from_millis(60), wall_time: Duration::from_secs(30), ..Limits::default() };
    let (mut vm, _) = slow_vm(&limits, "db.query('q') for _ = 1, 1000 do end return 'done'");
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    let spun = Instant::now();
    while spun.elapsed() < Duration::from_millis(150) {}
    assert_eq!(done(vm.resume(ticket, Ok(Value::Null))).unwrap(), Value::from("done"));

    let limits = Limits { wall_time: Duration::from_millis(50), ..generous() };
    let (mut vm, _) = slow_vm(&limits, "db.query('q') return 'done'");
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    let spun = Instant::now();
    while spun.elapsed() < Duration::from_millis(60) {}
    let error = done(vm.resume(ticket, Ok(Value::Null))).unwrap_err();
    assert!(matches!(error, ScriptError::Limit(Verdict::WallTime(_))), "{error:?}");
}

#[test]
fn after_a_verdict_nothing_begins_but_what_waits_ends() {
    let limits = Limits { ticks: 10_000, ..generous() };
    let (mut vm, _) = slow_vm(&limits, "if args then while true do end end db.query('q') return 'done'");
    let ticket = waits(begin(&mut vm, "r-1", Value::Null));
    let verdict = done(begin(&mut vm, "r-2", Value::Bool(true))).unwrap_err();
    assert!(verdict.retires_vm(), "{verdict:?}");
    assert!(done(begin(&mut vm, "r-3", Value::Null)).unwrap_err().retires_vm());
    assert_eq!(done(vm.resume(ticket, Ok(Value::Null))).unwrap(), Value::from("done"));
}

#[test]
fn an_answer_that_does_not_fit_is_a_memory_verdict() {
    let limits = Limits { memory: 4 << 20, ..generous() };
    let (mut vm, _) = slow_vm(&limits, "return #db.query('q')");
    let ticket = waits(begin(&mut vm, "r", Value::Null));
    let error = done(vm.resume(ticket, Ok(Value::from("x".repeat(8 << 20).as_str())))).unwrap_err();
    assert!(matches!(error, ScriptError::Limit(Verdict::Memory(_))), "{error:?}");
}

#[test]
fn memory_that_runs_out_in_a_coroutine_is_a_verdict() {
    let limits = Limits { memory: 4 << 20, ..generous() };
    for body in [
        "local t = {} while true do t[#t + 1] = { {}, {} } end",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1000) .. #t end) end",
    ] {
        let (mut vm, _) = slow_vm(&limits, &format!("db.query('q') {body}"));
        let ticket = waits(begin(&mut vm, "r", Value::Null));
        let error = done(vm.resume(ticket, Ok(Value::Null))).unwrap_err();
        assert!(matches!(error, ScriptError::Limit(Verdict::Memory(_))), "{body}: {error:?}");
    }
}

#[test]
fn a_call_that_is_given_up_leaves_nothing_behind() {
    let (mut vm, _) = slow_vm(&generous(), "local big = ('x'):rep(100000) db.query('q') return #big");
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(waits(begin(&mut vm, "r", Value::Null)));
    }
    for ticket in &held {
        vm.forget(*ticket);
    }
    let error = done(vm.resume(held[0], Ok(Value::Null))).unwrap_err();
    assert!(matches!(error, ScriptError::Contract(_)), "{error:?}");
    // enough calls for the collector to come round
    for _ in 0..2_000 {
        let ticket = waits(begin(&mut vm, "r", Value::Null));
        assert_eq!(done(vm.resume(ticket, Ok(Value::Null))).unwrap(), Value::Int(100_000));
    }
    assert!(vm.memory() < 8 << 20, "{}", vm.memory());
}

#[test]
fn coroutines_of_the_script_are_resumed_and_wrapped_as_luau_does_it() {
    let body = r##"
local co = coroutine.create(function(a, b)
  local c, d = coroutine.yield(a + b, "first")
  coroutine.yield(c .. d)
  error({ code = 7 })
end)
local ok, sum, name = coroutine.resume(co, 1, 2)
assert(ok and sum == 3 and name == "first" and coroutine.status(co) == "suspended")
assert(select(2, coroutine.resume(co, "x", "y")) == "xy")
local failed, thrown = coroutine.resume(co)
assert(not failed and thrown.code == 7 and coroutine.status(co) == "dead")
local dead, why = coroutine.resume(co)
assert(not dead and why == "cannot resume dead coroutine")
assert(select("#", coroutine.resume(coroutine.create(function() end))) == 1)
assert(not pcall(coroutine.resume, 1) and not pcall(coroutine.wrap, 1))

local each = coroutine.wrap(function(...) for _, v in { ... } do coroutine.yield(v, v) end return "end" end)
assert(select(2, each(5, 6)) == 5 and each() == 6 and each() == "end")
local ok, said = pcall(each)
assert(not ok and said:find("cannot resume dead coroutine", 1, true))
local ok, said = pcall(coroutine.wrap(function() error({ code = 8 }) end))
assert(not ok and said.code == 8)
local ok, said = pcall(function() coroutine.wrap(function() error("deep") end)() end)
assert(not ok and select(2, said:gsub("main.lua:%d+: ", "")) == 2 and said:find("deep$"), said)
local values = {}
for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do table.insert(values, v) end
assert(table.concat(values, ",") == "1,2,3")
local inner = coroutine.wrap(function() coroutine.wrap(function() coroutine.yield(1) end)() coroutine.yield("outer") end)
assert(inner() == "outer")
return "well"
"##;
    assert_eq!(text(&respond(body).unwrap()), "well");
}
