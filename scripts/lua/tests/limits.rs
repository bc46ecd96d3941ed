use super::*;
use crate::limits::Verdict;
use crate::testing::limits::{
    assert_a_crowded_heap_is_full, assert_each_budget_has_its_verdict, assert_ends_at_the_deadline,
    assert_large_request_is_a_memory_verdict, assert_new_limits_hold, assert_serves, sizes_over, verdict_on,
};

fn verdict(limits: &Limits, body: &str) -> Verdict {
    verdict_on(vm_with(limits, &handler(body)), body)
}

#[test]
fn each_limit_has_its_verdict() {
    assert_each_budget_has_its_verdict("while true do end", |limits| vm_with(limits, &handler("while true do end")));
    let limits = Limits { memory: 4 << 20, ..generous() };
    let keep = "local t = {} for i = 1, 1e9 do t[i] = { i } end";
    assert_eq!(verdict(&limits, keep), Verdict::Memory(4 << 20));
}

#[test]
fn the_deadline_of_the_call_ends_it() {
    assert_ends_at_the_deadline(vm(&handler("while true do end")));
}

#[test]
fn each_call_has_its_own_budget() {
    let limits = Limits { ticks: 10_000, ..generous() };
    let body = "for i = 1, 6000 do end return ''";
    assert_serves(vm_with(&limits, &handler(body)), 5, body);
}

#[test]
fn what_only_a_crowded_heap_has_no_room_for_is_a_verdict() {
    assert_a_crowded_heap_is_full(
        |limits, body| vm_with(limits, &handler(body)),
        &["return string.rep('x', 300000)", "return tostring(#table.create(1000, 1))"],
        &[
            "return string.rep('x', 3000000)",
            "local ok = pcall(string.rep, 'x', 3000000) return ''",
            "pcall(table.create, 200000, 1) return ''",
            "pcall(buffer.create, 3000000) return ''",
            "pcall(table.move, {}, 1, 200000, 2, {}) return ''",
            "local s = string.rep('x', 700000) pcall(string.format, '%s%s%s', s, s, s) return ''",
            "local s = string.rep('x', 700000) pcall(kv.cas, 'k', nil, { s, s, s, s }) return ''",
            "pcall(config.get) return ''",
        ],
    );
}

#[test]
fn new_limits_hold_from_the_next_call() {
    let body = "for i = 1, 6000 do end return string.rep('x', 2000000)";
    assert_new_limits_hold(vm(&handler(body)), "resulting string too large");
}

#[test]
fn the_top_level_is_under_the_limits_too() {
    let program = program(&[("main.lua", "while true do pcall(function() while true do end end) end")]);
    let limits = Limits { ticks: 1000, ..generous() };
    let Err(error) = program.instantiate(Arc::new(Notes::default()), &limits, &context()) else { panic!("it ran") };
    assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(1000))), "{error:?}");
}

#[test]
fn a_full_heap_cannot_be_caught() {
    let limits = Limits { memory: 4 << 20, ..generous() };
    let fill = "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end";
    for body in [
        format!("pcall(function() {fill} end) return 'caught'"),
        format!("xpcall(function() {fill} end, function(e) return e end) return 'caught'"),
        format!("coroutine.resume(coroutine.create(function() {fill} end)) return 'caught'"),
        format!("pcall(coroutine.wrap(function() {fill} end)) return 'caught'"),
        format!("local ok = pcall(function() pcall(function() {fill} end) end) return 'caught'"),
        format!(
            "for i = 1, 10 do local co = coroutine.wrap(function() {fill} end) pcall(pcall, pcall, co) end return 'caught'"
        ),
    ] {
        assert_eq!(verdict(&limits, &body), Verdict::Memory(4 << 20), "{body}");
    }
}

#[test]
fn garbage_does_not_count_as_memory() {
    let limits = Limits { memory: 8 << 20, ..generous() };
    for body in [
        "for i = 1, 200000 do local s = string.rep('x', 100) .. i end return ''",
        "for i = 1, 2000 do local s = string.rep('x', 1000000) .. i end return ''",
        "for i = 1, 300000 do local t = { i, { i } } end return ''",
        "local s = '' for i = 1, 5000 do s = s .. 'xxxxxxxxxx' end return ''",
    ] {
        assert_serves(vm_with(&limits, &handler(body)), 1, body);
    }
}

/// The heap stands above five eighths of the limit all the time, so nearly every safepoint after a step of the collector
/// makes a full collection: between open calls, in patterns, in coroutines.
#[test]
fn collections_at_safepoints_lose_nothing() {
    let body = r##"
        local keep = {}
        for i = 1, 6000 do keep[i] = { "value " .. i, i } end
        local function pack(...) return { n = select("#", ...), ... } end
        local function several(i) return "a" .. i, { i }, "c" .. i end
        local made = 0
        for round = 1, 100 do
            local packed = pack(several(round), several(round + 1))
            assert(packed.n == 4 and packed[1] == "a" .. round and packed[3][1] == round + 1 and packed[4] == "c" .. round + 1)
            local text = string.gsub("x1 y2 z3", "(%a)(%d)", function(a, b) return b .. ({ a .. round })[1] end)
            assert(text == ("1x%d 2y%d 3z%d"):format(round, round, round), text)
            local co = coroutine.wrap(function(...)
                local held = { ... }
                for i = 1, 3 do held[#held + 1] = coroutine.yield(held[i] .. ":" .. i) end
                return held
            end)
            local got = co("p" .. round, "q" .. round, "r")
            assert(got == "p" .. round .. ":1")
            co("s" .. round) co("t" .. round)
            local held = co("u")
            assert(#held == 6 and held[4] == "s" .. round)
            local ok, why = pcall(function(...) local a = { ... } error({ a[1] .. a[2] }) end, "e" .. round, "f")
            assert(not ok and why[1] == "e" .. round .. "f")
            made += #table.concat({ text, got, "z" .. round })
        end
        for i = 1, 6000 do assert(keep[i][1] == "value " .. i and keep[i][2] == i) end
        return tostring(made)"##;
    let (mut vm, _) = vm(&handler(body));
    let roomy = text(&vm.respond(&api(), &request(), &context()).unwrap()).to_owned();
    let mut served = 0;
    for memory in [1792, 2048, 2304, 2560].map(|kib| kib << 10) {
        let (mut vm, _) = vm_with(&Limits { memory, ..generous() }, &handler(body));
        match vm.respond(&api(), &request(), &context()) {
            Ok(response) => {
                assert_eq!(text(&response), roomy);
                served += 1;
            }
            Err(error) => assert!(matches!(error, ScriptError::Limit(Verdict::Memory(_))), "{error:?}"),
        }
    }
    assert!(served > 1, "the limits of this test are too small");
}

#[test]
fn a_vm_keeps_its_size_over_many_calls() {
    let (mut vm, _) = vm(&handler("return { body = { req.path, { a = req.query } } }"));
    let (first, second) = sizes_over(&mut *vm, 2000);
    assert!(second < first * 2, "{first} bytes grew to {second}");
}

#[test]
fn a_request_larger_than_the_vm_is_a_memory_verdict() {
    let source = handler("local t = {} return #req.body .. ''");
    assert_large_request_is_a_memory_verdict(|limits| vm_with(limits, &source));
}

/// Reading a large text letter by letter costs what is read, not the text again and again.
#[test]
fn small_parts_of_large_texts_are_cheap() {
    let limits = Limits { ticks: 20_000_000, ..generous() };
    for step in [
        "s:sub(i, i)",
        "s:byte(i)",
        "string.sub(s, i, i + 3)",
        "utf8.codepoint(s, i)",
        "utf8.offset(s, 1, i)",
        "string.unpack('b', s, i)",
        "buffer.readstring(b, i, 2)",
        "buffer.copy(b, 0, b, i, 4)",
        "buffer.fill(b, i, 1, 4)",
        "s:find('^a+', 999990)",
    ] {
        let body = format!(
            "local s = string.rep('a', 1000000) local b = buffer.fromstring(s) for i = 1, 20000 do local x = {step} end return ''"
        );
        assert_serves(vm_with(&limits, &handler(&body)), 1, step);
    }
}
