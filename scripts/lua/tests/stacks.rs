//! No script overflows the stack of its thread: Luau bounds how deep native code calls itself, so what is needed does not
//! depend on memory.

use super::*;
use crate::testing::child::{in_a_process, note, on_a_stack, test_path};

/// More than any script needs, and a fraction of what script threads have at the least.
const ENOUGH: usize = 1 << 20;

/// What recurses through native code, and what nests deep.
const DEEP: &[(&str, &str)] = &[
    ("calls", "local function f() return 1 + f() end f()"),
    ("pcall", "local function f() return pcall(f) end f()"),
    ("xpcall", "local function f() return xpcall(f, f) end f()"),
    ("handlers", "local function h(e) xpcall(error, h) end xpcall(error, h)"),
    (
        "metamethods",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
    ),
    (
        "arithmetic",
        "local t = setmetatable({}, {}) getmetatable(t).__add = function(a, b) return a + b end return t + t",
    ),
    ("coroutines", "local function f() return coroutine.wrap(f)() end f()"),
    ("coroutines in pcall", "local function f() return pcall(coroutine.wrap(f)) end f()"),
    ("gsub", "local function f() return (string.gsub('x', 'x', f)) end f()"),
    ("sort", "local function f() table.sort({ 1, 2, 3 }, function() return f() end) end f()"),
    (
        "tostring",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(s) return tostring(s) end tostring(t)",
    ),
    ("patterns", "string.find(string.rep('a', 100000), string.rep('a?', 5000))"),
    ("greedy patterns", "string.find(string.rep('a', 1000), string.rep('a*', 300) .. 'b')"),
    ("tables", "local t = {} for i = 1, 100000 do t = { t } end return t"),
    ("tables to the host", "local t = {} for i = 1, 100000 do t = { t } end kv.get(t)"),
    ("tables in a body", "local t = {} for i = 1, 60 do t = { t } end return { body = t }"),
    ("closures", "local f for i = 1, 60000 do local g = f f = function() return g end end return f"),
    (
        "suspended coroutines",
        "local co for i = 1, 5000 do local inner = co co = coroutine.create(function() coroutine.yield(inner) end) coroutine.resume(co) end return co",
    ),
    ("metatables", "local t = {} for i = 1, 100000 do t = setmetatable({}, { __index = t }) end return t.x"),
    (
        "host functions",
        "local t = setmetatable({}, {}) getmetatable(t).__index = kv.get for i = 1, 100 do t = setmetatable({}, { __index = function() return t.x end }) end return t.x",
    ),
    ("require", "pcall(require, 'main') local function f() return require('x') end f()"),
];

#[test]
fn nothing_deep_overflows_a_small_stack() {
    in_a_process(test_path!(nothing_deep_overflows_a_small_stack), || {
        let given = std::env::var("REPLUG_TEST_STACK").ok().and_then(|bytes| bytes.parse().ok());
        for (name, body) in DEEP {
            note(name);
            on_a_stack(given.unwrap_or(ENOUGH), Duration::from_secs(60), name, move || {
                for memory in [2 << 20, 64 << 20] {
                    let (mut vm, _) = vm_with(&Limits { memory, ..generous() }, &handler(body));
                    let _ = vm.respond(&api(), &request(), &context());
                }
            });
        }
    });
}

/// Functions that call themselves without end.
const ENDLESS: &[&str] = &[
    "local function f() return 1 + f() end f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
    "local function f() table.sort({ 1, 2, 3 }, function() return f() end) end f()",
    "local function f() return (string.gsub('x', 'x', f)) end f()",
];

#[test]
fn calls_without_end_are_an_error_on_the_least_stack_and_the_vm_serves_on() {
    in_a_process(test_path!(calls_without_end_are_an_error_on_the_least_stack_and_the_vm_serves_on), || {
        for body in ENDLESS {
            note(body);
            let limits = Limits { stack: Some(0), ..generous() };
            on_a_stack(limits.stack_size(), Duration::from_secs(60), body, move || {
                let script = handler(&format!("if req.method == 'POST' then return 'well' end {body}"));
                let (mut vm, _) = vm_with(&limits, &script);
                let error = vm.respond(&api(), &request(), &context()).unwrap_err();
                assert!(error.to_string().contains("stack overflow"), "{body}: {error}");
                assert!(!error.retires_vm(), "{body}: {error:?}");
                let post = crate::api::Request { method: http::Method::POST, ..request() };
                assert_eq!(text(&vm.respond(&api(), &post, &context()).unwrap()), "well");
            });
        }
    });
}
