use super::*;
use crate::limits::Verdict;
use crate::testing::limits::{assert_stays_spent, tight};

/// What a hostile script must come to, in time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// A verdict on ticks or time.
    Budget,
    /// A memory verdict.
    Memory,
    /// Any verdict.
    Limit,
    /// An error of the script, not a verdict.
    Error,
    /// Whatever, but in time.
    Any,
    /// An answer.
    Answer,
}

const HOSTILE: &[(&str, End, &str)] = &[
    ("a plain loop", End::Budget, "while true do end"),
    ("a loop in pcall", End::Budget, "while true do pcall(function() while true do end end) end"),
    ("a loop in nested pcalls", End::Budget, "local function f() while true do pcall(f) end end f()"),
    ("pcall of pcall", End::Budget, "while true do pcall(pcall, pcall, pcall, function() while true do end end) end"),
    (
        "a loop in the handler of xpcall",
        End::Budget,
        "local function spin() while true do end end while true do xpcall(spin, spin) end",
    ),
    (
        "errors in the handler of xpcall",
        End::Any,
        "local function h(e) error(e) end for i = 1, 1e5 do xpcall(error, h) end",
    ),
    (
        "loops in coroutines",
        End::Budget,
        "while true do local co = coroutine.wrap(function() pcall(function() while true do end end) end) pcall(co) end",
    ),
    (
        "coroutines that resume each other",
        End::Budget,
        "local function make() return coroutine.create(function() while true do coroutine.resume(coroutine.create(function() coroutine.yield() end)) end end) end while true do coroutine.resume(make()) end",
    ),
    (
        "closing coroutines",
        End::Budget,
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) coroutine.close(co) end",
    ),
    ("recursion", End::Any, "local function f(n) return f(n + 1) + 1 end while true do pcall(f, 1) end"),
    (
        "recursion through a metamethod",
        End::Any,
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k + 1] end while true do pcall(function() return t[1] end) end",
    ),
    (
        "recursion through tostring",
        End::Any,
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(s) return tostring(s) end while true do pcall(tostring, t) end",
    ),
    ("recursion through require and pcall", End::Budget, "local function f() pcall(f) pcall(f) end f()"),
    (
        "recursion through coroutines",
        End::Any,
        "local function f() return coroutine.wrap(f)() end while true do pcall(f) end",
    ),
    (
        "recursion through gsub",
        End::Any,
        "local function f() return (string.gsub('x', 'x', f)) end while true do pcall(f) end",
    ),
    (
        "recursion through sort",
        End::Any,
        "local function f() table.sort({ 1, 2, 3 }, function() return f() end) end while true do pcall(f) end",
    ),
    ("doubling a string", End::Limit, "local s = 'x' while true do s = s .. s end"),
    ("doubling a string in pcall", End::Limit, "local s = 'x' while true do pcall(function() s = s .. s end) end"),
    (
        "large strings as garbage",
        End::Budget,
        "local s = string.rep('x', 8000000) while true do local t = s .. 'y' end",
    ),
    ("one enormous string", End::Error, "return string.rep('x', 1e9)"),
    ("enormous strings forever", End::Budget, "while true do pcall(string.rep, 'x', 1e9) end"),
    ("format with a wide field", End::Error, "return string.format('%1000d', 1)"),
    (
        "format with large arguments",
        End::Limit,
        "local s = string.rep('x', 4000000) while true do pcall(string.format, '%s%s%s%s%s%s%s%s', s, s, s, s, s, s, s, s) end",
    ),
    ("an enormous table", End::Error, "return table.create(1e9, 1)"),
    ("a table beyond any integer", End::Error, "return table.create(2 ^ 60)"),
    ("an enormous buffer", End::Error, "return buffer.create(1e9)"),
    (
        "buffers forever",
        End::Limit,
        "local t = {} while true do pcall(function() t[#t + 1] = buffer.create(1000000) end) end",
    ),
    (
        "at the brim of memory",
        End::Memory,
        "local keep = {} while true do pcall(function() keep[#keep + 1] = string.rep('x', 100000 + #keep) end) end",
    ),
    ("tables forever", End::Memory, "local t = {} while true do t = { t } end"),
    (
        "closures forever",
        End::Memory,
        "local f = function() end while true do local g = f f = function() return g end end",
    ),
    ("coroutines forever", End::Memory, "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end"),
    ("a table grown by hand", End::Memory, "local t = {} for i = 1, 1e12 do t[i] = i end"),
    ("a table grown by keys", End::Limit, "local t = {} for i = 1, 1e12 do t['k' .. i] = i end"),
    (
        "concat of one string many times",
        End::Any,
        "local t = table.create(100000, string.rep('x', 10000)) while true do pcall(table.concat, t) end",
    ),
    (
        "unpacking a large table",
        End::Any,
        "local t = table.create(1000000, 1) while true do pcall(function() return select('#', table.unpack(t)) end) end",
    ),
    ("unpacking any range", End::Any, "while true do pcall(table.unpack, {}, 1, 1e8) end"),
    (
        "a slow pattern",
        End::Budget,
        "local s = string.rep('a', 200000) for i = 1, 100 do string.find(s, '.-.-.-.-b') end",
    ),
    (
        "a slow pattern in gsub",
        End::Budget,
        "local s = string.rep('a', 200000) while true do string.gsub(s, '.-.-.-b', '') end",
    ),
    (
        "a slow pattern in gmatch",
        End::Budget,
        "local s = string.rep('a', 200000) for x in string.gmatch(s, '.-.-.-b') do end while true do end",
    ),
    (
        "a pattern with an enormous set",
        End::Error,
        "return string.find(string.rep('a', 1000000), '[' .. string.rep('b', 1000000) .. 'a]*c')",
    ),
    ("an enormous balanced pattern", End::Error, "return string.find(string.rep('(', 8000000), '%b()')"),
    (
        "a large balanced pattern",
        End::Budget,
        "local s = string.rep('(', 4000000) for x in string.gmatch(s, '%b()') do end while true do end",
    ),
    ("a back reference", End::Budget, "local s = string.rep('a', 1000000) while true do string.find(s, '(.*)%1b') end"),
    (
        "a plain search",
        End::Budget,
        "local hay = string.rep('a', 3000000) local needle = string.rep('a', 1500000) .. 'b' for i = 1, 1000 do string.find(hay, needle, 1, true) end",
    ),
    (
        "a plain search by pattern",
        End::Budget,
        "local hay = string.rep('a', 3000000) local needle = string.rep('a', 1500000) .. 'b' while true do pcall(string.find, hay, needle) end",
    ),
    (
        "splitting by a large separator",
        End::Error,
        "return string.split(string.rep('a', 3000000), string.rep('a', 1500000) .. 'b')",
    ),
    ("splitting forever", End::Limit, "local s = string.rep(',', 100000) while true do pcall(string.split, s) end"),
    (
        "sorting forever",
        End::Budget,
        "local t = {} for i = 1, 400000 do t[i] = (i * 7919) % 1000003 end while true do table.sort(t) t[1], t[#t] = t[#t], t[1] end",
    ),
    (
        "sorting with a lying comparator",
        End::Any,
        "local t = {} for i = 1, 100000 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end",
    ),
    ("sorting what cannot be compared", End::Budget, "while true do pcall(table.sort, { 1, 'x', {} }) end"),
    ("moving two thousand million holes", End::Error, "table.move({}, 1, 2000000000, 2)"),
    ("moving forever", End::Budget, "local t = table.create(500000, 1) while true do table.move(t, 1, 499999, 2) end"),
    (
        "inserting at the front",
        End::Budget,
        "local t = table.create(500000, 1) while true do table.insert(t, 1, 1) table.remove(t, 1) end",
    ),
    ("cloning forever", End::Budget, "local t = table.create(500000, 1) while true do local u = table.clone(t) end"),
    (
        "next over an emptied table",
        End::Budget,
        "local t = {} for i = 1, 200000 do t['k' .. i] = 1 end for k in t do t[k] = nil end while true do next(t) end",
    ),
    (
        "comparing large strings",
        End::Budget,
        "local a = string.rep('a', 4000000) .. 'a' local b = string.rep('a', 4000000) .. 'b' while true do local x = a < b end",
    ),
    (
        "case and reversal of large strings",
        End::Budget,
        "local s = string.rep('a', 1000000) while true do s = s:upper():lower():reverse() end",
    ),
    ("numbers from long strings", End::Budget, "local s = string.rep('9', 1000000) while true do tonumber(s) end"),
    (
        "utf8 over large strings",
        End::Budget,
        "local s = string.rep('ä', 1000000) while true do utf8.len(s) utf8.offset(s, 900000) end",
    ),
    ("a flood of the log", End::Budget, "while true do log.info(string.rep('x', 1000)) end"),
    (
        "a flood of the log in pcall",
        End::Budget,
        "while true do pcall(log.info, string.rep('x', 1000)) pcall(print, 'x') end",
    ),
    ("host errors forever", End::Budget, "while true do pcall(db.query, 'x') end"),
    (
        "large arguments forever",
        End::Budget,
        "local t = {} for i = 1, 1000 do t[i] = 'x' end while true do pcall(kv.get, t) end",
    ),
    ("a cyclic argument forever", End::Budget, "local t = {} t.t = t while true do pcall(kv.get, t) end"),
    (
        "a deep body",
        End::Error,
        "local t = {} local root = t for i = 1, 100000 do t.a = {} t = t.a end return { body = root }",
    ),
    ("a cyclic body", End::Error, "local t = {} t.t = t return { body = t }"),
    (
        "a deep thrown value",
        End::Error,
        "local t = {} local root = t for i = 1, 100000 do t.a = {} t = t.a end error(root)",
    ),
    ("a thrown string of a megabyte", End::Error, "error(string.rep('x', 1000000))"),
    ("iterators forever", End::Budget, "for i in function() return 1 end do end"),
    ("pairs of a growing table", End::Any, "local t = { 1 } for k in pairs(t) do t[k + 1] = 1 end while true do end"),
    (
        "foreach over a large table",
        End::Budget,
        "local t = table.create(500000, -1) while true do table.foreachi(t, function() end) table.foreach(t, function() end) end",
    ),
    (
        "vararg selection",
        End::Any,
        "local function f(...) for i = 1, select('#', ...) do local x = select(i, ...) end end while true do pcall(f, table.unpack(table.create(7000, 1))) end",
    ),
    (
        "closed globals",
        End::Answer,
        r#"
        for _, name in { "io", "os", "package", "load", "loadstring", "dofile", "loadfile", "getfenv", "setfenv", "newproxy", "collectgarbage", "gcinfo" } do
            assert(_G[name] == nil, name)
        end
        for name in debug do assert(name == "traceback", name) end
        assert(not pcall(function() getmetatable("").__index = 1 end), "string metatable")
        assert(not pcall(function() string.format = 1 end), "string library")
        assert(not pcall(rawset, string, "format", 1), "string library, raw")
        assert(not pcall(setmetatable, _G, {}), "globals")
        assert(not pcall(function() _G.x = 1 end), "globals")
        return ''"#,
    ),
];

/// Far more than any takes, far less than a hang: the budgets are 100 ms of CPU and 400 ms of wall time.
const IN_TIME: Duration = Duration::from_secs(5);

#[test]
fn hostile_scripts_end_in_time_and_leave_a_working_process() {
    for (name, end, body) in HOSTILE {
        // a heap that is to be filled may take its time on a busy machine
        let patient = Limits { cpu_time: IN_TIME, wall_time: IN_TIME, ..tight() };
        let limits = if *end == End::Memory { patient } else { tight() };
        let (mut vm, _) = vm_with(&limits, &handler(body));
        let begun = Instant::now();
        let result = vm.respond(&api(), &request(), &context());
        let took = begun.elapsed();
        assert!(took < IN_TIME, "{name} took {took:?}");
        let kept = match (end, &result) {
            (End::Any, _) => true,
            (End::Limit, Err(ScriptError::Limit(_))) => true,
            (End::Budget, Err(ScriptError::Limit(verdict))) => !matches!(verdict, Verdict::Memory(_)),
            (End::Memory, Err(ScriptError::Limit(verdict))) => matches!(verdict, Verdict::Memory(_)),
            (End::Error, Err(error)) => !error.retires_vm(),
            (End::Answer, Ok(_)) => true,
            _ => false,
        };
        assert!(kept, "{name}: expected {end:?}, found {result:?}");
        assert!(vm.memory() <= limits.memory + (1 << 20), "{name} holds {} bytes", vm.memory());
        if let Err(error) = &result {
            assert_stays_spent(&mut *vm, error, name);
        }
    }
    assert_eq!(text(&respond("return 'alive'").unwrap()), "alive");
}
