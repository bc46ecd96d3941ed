//! Suites of both languages, on a stage that plays a module.

use std::sync::{Arc, Mutex};

use super::{Stage, Step, Suite, SuiteFn};
use crate::error::{HostError, HostErrorKind, ScriptError};
use crate::host::{Handler, Vm};
use crate::limits::{Limits, Verdict};
use crate::testing::{Notes, context, generous, sources};
use crate::value::Value;

/// A stage that notes what it is told; `test.call` asks the stand-in for `shop.price`.
#[derive(Default)]
struct Played {
    seen: Mutex<Vec<(SuiteFn, Vec<Value>)>>,
}

impl Stage for Played {
    fn begin(&self, function: SuiteFn, args: Vec<Value>) -> Result<Step, HostError> {
        self.seen.lock().unwrap().push((function, args.clone()));
        match function {
            SuiteFn::Call => Ok(Step::Answer { service: "shop.price".into(), args: args[1].clone() }),
            SuiteFn::Page => Err(HostError::new(HostErrorKind::NotFound, "there is no such page")),
            SuiteFn::Health => panic!("the stage's own fault"),
            _ => Ok(Step::Done(Value::map([("status", Value::Int(200))]))),
        }
    }

    fn resume(&self, answer: Result<Value, HostError>) -> Result<Step, HostError> {
        answer.map(|value| Step::Done(Value::List(vec![value])))
    }
}

type Opened = (Box<dyn Vm>, Arc<Played>);

fn open(files: &[(&str, &str)], limits: &Limits) -> Result<Opened, ScriptError> {
    let suite = Suite::compile(&sources(files)).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let stage = Arc::new(Played::default());
    Ok((suite.open(Arc::new(Notes::default()), stage.clone(), limits, &context())?, stage))
}

/// Functions of the suite that were called, with their arguments.
type Seen = Vec<(SuiteFn, Vec<Value>)>;

/// What the test "it" of this file comes to, and what the stage saw.
fn run(path: &str, body: &str) -> (Result<Value, ScriptError>, Seen) {
    let text = match path.ends_with(".lua") {
        true => format!("return {{ it = function()\n{body}\nend }}"),
        false => format!("#{{ it: || {{\n{body}\n}} }}"),
    };
    let (mut vm, stage) = open(&[(path, &text)], &generous()).unwrap();
    let done = vm.call(&Handler::Test("it".into()), &[], &context());
    let seen = stage.seen.lock().unwrap().clone();
    (done, seen)
}

/// Rows of (Lua, Rhai, what is thrown; nothing for a test that holds).
const ROWS: &[(&str, &str, Option<&str>)] = &[
    ("assert.equal(1 + 1, 2)", "assert.equal(1 + 1, 2);", None),
    ("assert.equal({ a = { 1 } }, { a = { 1 } })", "assert.equal(#{a: [1]}, #{a: [1]});", None),
    ("assert.equal(1, 2)", "assert.equal(1, 2);", Some("expected 2, found 1")),
    ("assert.equal(nil, 'x')", "assert.equal((), \"x\");", Some("expected \"x\", found nothing")),
    ("assert.ok(0)", "assert.ok(0);", None),
    ("assert.ok(false, 'said')", "assert.ok(false, \"said\");", Some("said")),
    ("assert.contains('abc', 'x')", "assert.contains(\"abc\", \"x\");", Some("expected a text with \"x\"")),
    ("assert.fails(function() error('no') end, 'no')", "assert.fails(|| { throw \"no\" }, \"no\");", None),
    ("assert.fails(function() end)", "assert.fails(|| 1);", Some("nothing was thrown")),
    (
        "assert.fails(function() error({ title = 'T', detail = 'D' }) end, 'T: D')",
        "assert.fails(|| { throw #{status: 404, title: \"T\", detail: \"D\"} }, \"T: D\");",
        None,
    ),
    (
        "assert.fails(function() test.page('X') end, 'no such page')",
        "assert.fails(|| test.page(\"X\"), \"no such page\");",
        None,
    ),
    (
        "assert.equal(test.request({ path = '/' }).status, 200)",
        "assert.equal(test.request(#{path: \"/\"}).status, 200);",
        None,
    ),
    (
        "test.service('shop.price', function(args) return args.n * 2 end)\nassert.equal(test.call('a.b', { n = 4 }), { 8 })",
        "let twice = 2;\ntest.service(\"shop.price\", |args| args.n * twice);\nassert.equal(test.call(\"a.b\", #{n: 4}), [8]);",
        None,
    ),
    (
        "test.service('shop.price', function() error('sold out') end)\ntest.call('a.b', {})",
        "test.service(\"shop.price\", || { throw \"sold out\" });\ntest.call(\"a.b\", #{});",
        Some("sold out"),
    ),
    ("test.clock.advance(5)", "test.clock.advance(5);", None),
    ("test.health()", "test.health();", Some("the test runner failed")),
    ("kv.put('a', 1)", "kv.put(\"a\", 1);", None),
];

#[test]
fn a_test_holds_or_says_what_does_not() {
    for (lua, rhai, expected) in ROWS {
        for (path, body) in [("tests/a.lua", lua), ("tests/a.rhai", rhai)] {
            let (done, _) = run(path, body);
            match (done, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{body}: {error:?}"),
                (done, _) => panic!("{body}: {done:?}"),
            }
        }
    }
}

#[test]
fn a_failed_assertion_has_the_place_in_the_test_file_first_in_its_trace() {
    for (path, body) in [("tests/a.lua", "\nassert.equal(1, 2)"), ("tests/a.rhai", "\nassert.equal(1, 2);")] {
        let (done, _) = run(path, body);
        let Err(ScriptError::Host { trace, .. }) = done else { panic!("{done:?}") };
        assert!(trace.lines().next().is_some_and(|line| line.starts_with(&format!("{path}:3"))), "{trace}");
    }
    for (path, body) in [
        ("tests/a.lua", "\nassert.fails(function() end)"),
        ("tests/a.rhai", "\nassert.fails(|| 1);"),
        ("tests/a.lua", "\ntest.page('X')"),
        ("tests/a.rhai", "\ntest.page(\"X\");"),
    ] {
        let (done, _) = run(path, body);
        let Err(ScriptError::Host { trace, .. }) = done else { panic!("{done:?}") };
        assert!(trace.lines().next().is_some_and(|line| line.starts_with(&format!("{path}:3"))), "{body}: {trace}");
    }
}

#[test]
fn plain_stand_ins_and_clocks_reach_the_stage_alike() {
    for (path, body) in [
        ("tests/a.lua", "test.service('shop.price', 7)\ntest.clock.set(1000)"),
        ("tests/a.rhai", "test.service(\"shop.price\", 7);\ntest.clock.set(1000);"),
    ] {
        let (done, seen) = run(path, body);
        done.unwrap();
        let service = vec![Value::from("shop.price"), Value::Null, Value::Int(7)];
        assert_eq!(seen, [(SuiteFn::Service, service), (SuiteFn::ClockSet, vec![Value::Int(1000)])]);
    }
}

#[test]
fn no_assertion_swallows_a_limit() {
    let limits = Limits { ticks: 20_000, ..generous() };
    for (path, text) in [
        ("tests/a.lua", "return { it = function() assert.fails(function() while true do end end) return 1 end }"),
        ("tests/a.rhai", "#{ it: || { assert.fails(|| { loop {} }); 1 } }"),
    ] {
        let (mut vm, _) = open(&[(path, text)], &limits).unwrap();
        let done = vm.call(&Handler::Test("it".into()), &[], &context());
        assert!(matches!(done, Err(ScriptError::Limit(Verdict::Ticks(_)))), "{done:?}");
    }
}

#[test]
fn luas_own_assert_still_works() {
    let (done, _) =
        run("tests/a.lua", "assert(1 == 1)\nreturn assert.fails(function() assert(false, 'plain') end, 'plain')");
    assert_eq!(done.unwrap(), Value::from("tests/a.lua:3: plain"));
}

#[test]
fn what_is_no_table_of_functions_is_refused() {
    for (path, text, part) in [
        ("tests/a.lua", "return 1", "must return a table of tests"),
        ("tests/a.rhai", "1", "must return a map of tests"),
        ("tests/a.lua", "return { it = 1 }", "the test \"it\" must be a function"),
        ("tests/a.rhai", "#{ it: 1 }", "the test \"it\" must be a function"),
        ("tests/a.lua", "return { function() end }", "as the name of a test"),
    ] {
        let Err(error) = open(&[(path, text)], &generous()) else { panic!("{text}") };
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn modules_have_neither_test_nor_assert() {
    let file = ("main.rhai", "fn health() { test.health() }\n#{ health: Fn(\"health\") }");
    let error = crate::testing::vm_of(&generous(), &[file]).0.call(&Handler::Health, &[], &context()).unwrap_err();
    assert!(error.to_string().contains("variable not found: test"), "{error}");
    let file = ("main.lua", "return { health = function() return test == nil and type(assert) == 'function' end }");
    let health = crate::testing::vm_of(&generous(), &[file]).0.call(&Handler::Health, &[], &context()).unwrap();
    assert_eq!(health, Value::Bool(true));
}
