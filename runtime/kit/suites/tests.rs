//! Modules with tests, run as `replug test` runs them.

use std::fs;

use replug_scripts::Language;
use tempfile::TempDir;

use super::bounds::Bounds;
use super::{Report, TestReport, run, run_within};
use crate::admin::commands::check;
use crate::kit::{KitError, scaffold};

mod bounds;
mod others;
mod residence;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\n\
    apis: [{ path: '/api/shop/{item}', methods: [GET, POST], permissions: [] }, \
           { path: /api/secret, methods: [GET], permissions: [shop.see] }]\n\
    dependencies: [{ id: stock, required: false }]\n\
    config: { schema: { currency: { type: string, default: EUR } }, permissions: [shop.see] }\n\
    database: { migrations: [{ version: 1.0.0, file: migrations/1.sql }] }\n\
    runtime: { limits: { ticks: 200000 } }\n";

const SQL: &str = "create table sold (item text not null);";

const LUA: &str = r#"
local price = require("lib/price")
return {
    health = function() return { status = "healthy" } end,
    apis = {
        ["GET /api/shop/{item}"] = function(req)
            return { body = { item = req.params.item, price = price.of(req.params.item), currency = config.get("currency") } }
        end,
        ["POST /api/shop/{item}"] = function(req)
            if req.params.item == "loop" then while true do end end
            if req.params.item == "gone" then error({ status = 404, title = "No such item", detail = "gone" }) end
            db.execute("insert into sold (item) values (?)", { req.params.item })
            kv.put("last", req.params.item, { ttl = 1000 })
            log.info("sold", { item = req.params.item })
            return { status = 201, headers = { ["x-n"] = tostring(#db.query("select item from sold")) }, body = req.body }
        end,
        ["GET /api/secret"] = function(req) return req.principal.subject end,
    },
}
"#;

const LIB: &str = "return { of = function(item)\n\tif item == '' then error('no item') end\n\
    \treturn services.call('stock.price', { item = item })\nend }";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    let common =
        [("module.manifest.yaml", MANIFEST), ("migrations/1.sql", SQL), ("main.lua", LUA), ("lib/price.lua", LIB)];
    for (path, text) in common.iter().chain(files) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn ran(files: &[(&str, &str)]) -> Report {
    ran_within(Bounds::default(), files)
}

fn ran_within(bounds: Bounds, files: &[(&str, &str)]) -> Report {
    run_within(bounds, folder(files).path(), None, |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn messages(report: &Report) -> Vec<String> {
    let told = |test: &TestReport| {
        let said = test.failure.as_ref().map_or("held".to_owned(), |failure| {
            format!("{}: {}", failure.place.as_deref().unwrap_or("nowhere"), failure.message)
        });
        format!("{}: {said}", test.name)
    };
    report.tests.iter().map(told).collect()
}

/// Runs this body as a test in Lua and in Rhai, and gives what came of each.
fn bodies(lua: &str, rhai: &str) -> Vec<String> {
    bodies_within(Bounds::default(), &[], lua, rhai)
}

fn bodies_within(bounds: Bounds, files: &[(&str, &str)], lua: &str, rhai: &str) -> Vec<String> {
    let lua = format!("return {{ it = function()\n{lua}\nend }}");
    let rhai = format!("#{{ it: || {{\n{rhai}\n}} }}");
    let tests = [("tests/a.lua", lua.as_str()), ("tests/a.rhai", &rhai)];
    messages(&ran_within(bounds, &[files, &tests].concat()))
}

fn assert_holds(lua: &str, rhai: &str) {
    assert_eq!(bodies(lua, rhai), ["it: held", "it: held"], "{lua}");
}

/// Both fail at line 2 of their files with `part` in the message.
fn assert_fails(lua: &str, rhai: &str, part: &str) {
    for (said, file) in bodies(lua, rhai).iter().zip(["tests/a.lua", "tests/a.rhai"]) {
        assert!(said.starts_with(&format!("it: {file}:2: ")) && said.contains(part), "{lua}: {said}");
    }
}

#[test]
fn a_new_module_of_each_language_has_no_warning_and_its_tests_hold() {
    for language in [Language::Lua, Language::Rhai] {
        let parent = TempDir::new().unwrap();
        let made = scaffold::create(language, "price-list", parent.path()).unwrap();
        let checked = check(&made.dir).unwrap();
        assert_eq!((checked.faults, checked.warnings), (vec![], vec![]), "{language:?}");
        let report = run(&made.dir, None, |_| {}).unwrap();
        assert_eq!((report.passed, report.failed), (5, 0), "{:?}", messages(&report));
    }
}

#[test]
fn a_request_goes_through_the_paths_the_database_and_the_store_of_the_module() {
    assert_holds(
        "local sold = test.request({ method = 'POST', path = '/api/shop/red%20tea?a=1', body = { n = 1 } })\n\
         assert.equal(sold.status, 201)\nassert.equal(sold.headers['x-n'], '1')\nassert.equal(sold.body, '{\"n\":1}')\n\
         assert.equal(kv.get('last'), 'red tea')\n\
         assert.equal(db.query('select item from sold'), { { item = 'red tea' } })",
        "let sold = test.request(#{method: \"POST\", path: \"/api/shop/red%20tea?a=1\", body: #{n: 1}});\n\
         assert.equal(sold.status, 201);\nassert.equal(sold.headers[\"x-n\"], \"1\");\nassert.equal(sold.body, `{\"n\":1}`);\n\
         assert.equal(kv.get(\"last\"), \"red tea\");\n\
         assert.equal(db.query(\"select item from sold\"), [#{item: \"red tea\"}]);",
    );
}

#[test]
fn each_test_begins_with_nothing() {
    let body = "assert.equal(test.request({ method = 'POST', path = '/api/shop/tea' }).headers['x-n'], '1')";
    let text = format!("return {{ a = function() {body} end, b = function() {body} end }}");
    assert_eq!(messages(&ran(&[("tests/a.lua", &text)])), ["a: held", "b: held"]);
}

#[test]
fn the_gateway_answers_what_no_handler_sees() {
    assert_holds(
        "assert.equal(test.request({ path = '/nowhere' }).status, 404)\n\
         assert.equal(test.request({ method = 'DELETE', path = '/api/shop/tea' }).status, 405)\n\
         assert.equal(test.request({ path = '/api/secret' }).status, 401)\n\
         assert.equal(test.request({ path = '/api/secret', principal = { subject = 'ann' } }).status, 403)\n\
         assert.equal(test.request({ path = '/api/secret', principal = { subject = 'ann', permissions = { '*' } } }).body, 'ann')\n\
         assert.equal(test.request({ method = 'POST', path = '/api/shop/gone' }).json.detail, 'gone')",
        "assert.equal(test.request(#{path: \"/nowhere\"}).status, 404);\n\
         assert.equal(test.request(#{method: \"DELETE\", path: \"/api/shop/tea\"}).status, 405);\n\
         assert.equal(test.request(#{path: \"/api/secret\"}).status, 401);\n\
         assert.equal(test.request(#{path: \"/api/secret\", principal: #{subject: \"ann\"}}).status, 403);\n\
         let ann = #{subject: \"ann\", permissions: [\"*\"]};\n\
         assert.equal(test.request(#{path: \"/api/secret\", principal: ann}).body, \"ann\");\n\
         assert.equal(test.request(#{method: \"POST\", path: \"/api/shop/gone\"}).json.detail, \"gone\");",
    );
}

#[test]
fn stand_ins_answer_for_other_modules_and_settings_can_be_changed() {
    assert_holds(
        "test.service('stock.price', function(args) return #args.item end)\ntest.config('currency', 'CHF')\n\
         assert.equal(test.request({ path = '/api/shop/tea' }).json, { item = 'tea', price = 3, currency = 'CHF' })\n\
         assert.equal(test.calls('stock.price'), { { item = 'tea' } })",
        "test.service(\"stock.price\", |args| args.item.len());\ntest.config(\"currency\", \"CHF\");\n\
         assert.equal(test.request(#{path: \"/api/shop/tea\"}).json, #{item: \"tea\", price: 3, currency: \"CHF\"});\n\
         assert.equal(test.calls(\"stock.price\"), [#{item: \"tea\"}]);",
    );
    assert_fails(
        "test.request({ path = '/api/shop/tea' })",
        "test.request(#{path: \"/api/shop/tea\"});",
        "lib/price.lua:3: services.call: nothing stands in for stock.price",
    );
    assert_fails("test.config('no', 1)", "test.config(\"no\", 1);", "config.schema has no key `no`");
}

#[test]
fn a_stream_is_driven_piece_by_piece() {
    let main = r#"return {
        apis = { ["GET /api/shop/{item}"] = function() return { stream = "count", state = 2 } end },
        streams = { count = function(left)
            if left == 0 then return nil end
            if left == 9 then return { left = 8 } end
            if left == 8 then error({ status = 404, title = "too late" }) end
            return { body = tostring(left), state = left - 1, after = 5 }
        end },
    }"#;
    let held = bodies_within(
        Bounds::default(),
        &[("main.lua", main)],
        "local head = test.request({ path = '/api/shop/tea' })\n\
         assert.equal({ head.status, head.stream, head.state, head.body }, { 200, 'count', 2, '' })\n\
         assert.equal(test.stream('count', 2), { body = '2', state = 1, after = 5 })\n\
         assert.equal(test.stream('count', 0), nil)\n\
         assert.fails(function() test.stream('count', 9) end, '`left` is none of them')\n\
         assert.fails(function() test.stream('count', 8) end, 'too late')\n\
         assert.fails(function() test.stream('other', 1) end, 'streams[\"other\"]')",
        "let head = test.request(#{path: \"/api/shop/tea\"});\n\
         assert.equal([head.status, head.stream, head.state, head.body], [200, \"count\", 2, \"\"]);\n\
         assert.equal(test.stream(\"count\", 2), #{body: \"2\", state: 1, after: 5});\n\
         assert.equal(test.stream(\"count\", 0), ());\n\
         assert.fails(|| test.stream(\"count\", 9), \"`left` is none of them\");\n\
         assert.fails(|| test.stream(\"count\", 8), \"too late\");\n\
         assert.fails(|| test.stream(\"other\", 1), \"streams[\");",
    );
    assert_eq!(held, ["it: held", "it: held"]);
}

#[test]
fn the_clock_is_the_tests() {
    assert_holds(
        "test.clock.set(1000)\nassert.equal(time.now(), 1000)\n\
         test.request({ method = 'POST', path = '/api/shop/tea' })\nassert.equal(kv.get('last'), 'tea')\n\
         test.clock.advance(1001)\nassert.equal(time.now(), 2001)\nassert.equal(kv.get('last'), nil)",
        "test.clock.set(1000);\nassert.equal(time.now(), 1000);\n\
         test.request(#{method: \"POST\", path: \"/api/shop/tea\"});\nassert.equal(kv.get(\"last\"), \"tea\");\n\
         test.clock.advance(1001);\nassert.equal(time.now(), 2001);\nassert.equal(kv.get(\"last\"), ());",
    );
}

#[test]
fn what_is_not_asked_for_is_denied_as_in_production() {
    assert_fails("db.for_caller('select 1')", "db.for_caller(\"select 1\");", "permission denied: db.for_caller");
}

#[test]
fn a_loop_is_ended_by_the_limits_in_the_module_and_in_the_test() {
    assert_fails(
        "test.request({ method = 'POST', path = '/api/shop/loop' })",
        "test.request(#{method: \"POST\", path: \"/api/shop/loop\"});",
        "POST /api/shop/loop did not end: the limit of 200000 ticks was reached",
    );
    for said in bodies("while true do end", "loop {}") {
        assert!(said.contains("the test did not end: the limit of 200000 ticks"), "{said}");
    }
    // the module goes on after one
    assert_holds(
        "assert.fails(function() test.request({ method = 'POST', path = '/api/shop/loop' }) end, 'ticks')\n\
         assert.equal(test.health().status, 'healthy')",
        "assert.fails(|| test.request(#{method: \"POST\", path: \"/api/shop/loop\"}), \"ticks\");\n\
         assert.equal(test.health().status, \"healthy\");",
    );
}

#[test]
fn a_failed_test_shows_the_place_the_stack_and_the_log() {
    let text = "local function inner()\n\tassert.equal(1, 2)\nend\n\
        return { it = function()\n\ttest.request({ method = 'POST', path = '/api/shop/tea' })\n\tinner()\nend }";
    let report = ran(&[("tests/a.lua", text)]);
    let test = &report.tests[0];
    let failure = test.failure.as_ref().unwrap();
    assert_eq!((failure.place.as_deref(), failure.message.as_str()), (Some("tests/a.lua:2"), "expected 2, found 1"));
    assert_eq!(failure.trace, ["tests/a.lua:2 in inner", "tests/a.lua:6 in it"]);
    assert_eq!(test.log, ["info sold {\"item\":\"tea\"}"]);
}

#[test]
fn a_file_that_does_not_load_is_a_failed_test_and_one_that_does_not_compile_a_fault() {
    let report = ran(&[("tests/a.lua", "\nerror('broken')"), ("tests/b.lua", "return { it = function() end }")]);
    assert_eq!(messages(&report), ["tests/a.lua: tests/a.lua:2: broken", "it: held"]);
    assert_eq!((report.passed, report.failed), (1, 1));
    let dir = folder(&[("tests/a.lua", "return {"), ("tests/b.rhai", "#{")]);
    let Err(KitError::Scripts(faults)) = run(dir.path(), None, |_| {}) else { panic!() };
    assert_eq!(faults.iter().map(|fault| fault.file.as_str()).collect::<Vec<_>>(), ["tests/a.lua", "tests/b.rhai"]);
}

#[test]
fn a_filter_means_names_and_files_and_nothing_to_run_is_said() {
    let text = "return { one = function() end, two = function() end }";
    let dir = folder(&[("tests/a.lua", text), ("tests/b.lua", text)]);
    let names = |filter: &str| run(dir.path(), Some(filter), |_| {}).map(|report| report.tests.len()).ok();
    assert_eq!((names("one"), names("tests/b"), names("t"), names("three")), (Some(2), Some(2), Some(4), None));
    assert!(matches!(run(folder(&[]).path(), None, |_| {}), Err(KitError::NoTests { .. })));
}

#[test]
fn tests_are_no_part_of_the_program() {
    let dir = folder(&[
        ("tests/a.lua", "return {}"),
        ("main.lua", "local a = pcall(require, 'tests/a')\nreturn { health = function() return a end, apis = {} }"),
    ]);
    fs::write(dir.path().join("tests/b.lua"), "return { it = function() assert.equal(test.health(), false) end }")
        .unwrap();
    assert_eq!(messages(&run(dir.path(), None, |_| {}).unwrap()), ["it: held"]);
}
