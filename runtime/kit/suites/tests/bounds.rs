//! Tests in a loop.

use std::time::{Duration, Instant};

use super::*;
use crate::sandbox::lines::{LINE, LINES};

const SMALL: Bounds = Bounds { wall_time: Duration::from_secs(60), held: 64 << 10 };

const SHORT: Bounds = Bounds { wall_time: Duration::from_millis(200), held: 64 << 10 };

/// Asks for a host, and lets calls run for longer than [`SHORT`].
fn manifest() -> String {
    let wide = "runtime: { limits: { ticks: 1000000000000, cpuTime: 60s, wallTime: 30s } }\n\
                permissions: { system: { network: [{ host: x.org, ports: [443] }] } }\n";
    MANIFEST.replace("runtime: { limits: { ticks: 200000 } }\n", wide)
}

fn within(bounds: Bounds, lua: &str, rhai: &str) -> Vec<String> {
    bodies_within(bounds, &[("module.manifest.yaml", &manifest())], lua, rhai)
}

/// A hundred times this with `i` and with `x`, a text of 1,000 letters.
fn a_hundred(lua: &str, rhai: &str) -> Vec<String> {
    let lua = format!("local x = ('x'):rep(1000) for i = 1, 100 do {lua} end");
    let rhai = format!("let x = \"\"; x.pad(1000, \"x\"); for i in 0..100 {{ {rhai} }}");
    within(SMALL, &lua, &rhai)
}

#[test]
fn whatever_a_test_lets_grow_has_one_bound_that_its_failure_names() {
    for (lua, rhai, path) in [
        ("test.service('a.b' .. i, x)", "test.service(`a.b${i}`, x);", "test.service"),
        (
            "test.http.respond('GET', 'https://x.org/' .. i, { body = x })",
            "test.http.respond(\"GET\", `https://x.org/${i}`, #{ body: x });",
            "test.http.respond",
        ),
        (
            "test.config('currency', x:rep(i))",
            "x.pad(1000 * (i + 1), \"x\"); test.config(\"currency\", x);",
            "test.config",
        ),
        (
            "test.http.respond('POST', 'https://x.org/', {}) http.post('https://x.org/', x)",
            "test.http.respond(\"POST\", \"https://x.org/\", #{}); http.post(\"https://x.org/\", x);",
            "http.post",
        ),
        (
            "test.service('stock.price', 1) test.request({ path = '/api/shop/' .. x })",
            "test.service(\"stock.price\", 1); test.request(#{ path: `/api/shop/${x}` });",
            "lib/price.lua:3: services.call",
        ),
    ] {
        for (said, file) in a_hundred(lua, rhai).iter().zip(["tests/a.lua", "tests/a.rhai"]) {
            assert!(said.starts_with(&format!("it: {file}:2: ")) && said.contains(&format!("{path}: 6")), "{said}");
            let end = " bytes of calls, requests, answers, settings, events, messages and timers would be held; \
                       65536 are the most for a test";
            assert!(said.ends_with(end), "{said}");
        }
    }
}

#[test]
fn what_takes_the_place_of_something_takes_no_more_room() {
    let said = a_hundred(
        "test.service('a.b', x) test.http.respond('get', 'https://x.org/', { body = x }) test.config('currency', x)",
        "test.service(\"a.b\", x); test.http.respond(\"get\", \"https://x.org/\", #{ body: x }); test.config(\"currency\", x);",
    );
    assert_eq!(said, ["it: held", "it: held"]);
}

#[test]
fn a_test_that_catches_what_it_hears_of_the_bound_fails_all_the_same() {
    for said in a_hundred("pcall(test.service, 'a.b' .. i, x)", "try { test.service(`a.b${i}`, x); } catch {}") {
        assert!(said.starts_with("it: nowhere: test.service: 6"), "{said}");
    }
}

#[test]
fn what_is_logged_is_kept_to_a_number_of_lines_and_a_length() {
    let text = "return { it = function() for i = 1, 300 do print(('é'):rep(5000)) log.info('b', { x = ('x'):rep(5000) }) end end }";
    let report = ran_within(SMALL, &[("module.manifest.yaml", &manifest()), ("tests/a.lua", text)]);
    let test = &report.tests[0];
    assert!(test.passed, "{:?}", test.failure);
    assert_eq!((test.log.len(), test.log[LINES].as_str()), (LINES + 1, "… (400 further lines; 200 are kept)"));
    for line in &test.log[..LINES] {
        assert!(line.len() <= LINE + 3 && line.ends_with('…'), "{line}");
    }
}

#[test]
fn a_test_that_takes_too_long_says_how_long_one_may_take() {
    let bound = "the test did not end: 200 ms of wall-clock time are the most for a test with all calls in it";
    assert_eq!(within(SHORT, "while true do end", "loop {}"), [bound; 2].map(|bound| format!("it: nowhere: {bound}")));
    // the call alone would have 30 s
    let begun = Instant::now();
    let said = within(
        SHORT,
        "test.request({ method = 'POST', path = '/api/shop/loop' })",
        "test.request(#{ method: \"POST\", path: \"/api/shop/loop\" });",
    );
    for (said, file) in said.iter().zip(["tests/a.lua", "tests/a.rhai"]) {
        let here = format!("it: {file}:2: {bound}; it was here: POST /api/shop/loop did not end: the limit of ");
        assert!(said == &format!("it: nowhere: {bound}") || said.starts_with(&here), "{said}");
    }
    let said = within(
        SHORT,
        "assert.fails(function() test.request({ method = 'POST', path = '/api/shop/loop' }) end)",
        "assert.fails(|| test.request(#{ method: \"POST\", path: \"/api/shop/loop\" }));",
    );
    assert_eq!(said, [bound; 2].map(|bound| format!("it: nowhere: {bound}")));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
