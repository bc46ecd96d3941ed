use super::*;
use crate::testing::contract::{
    assert_answer, assert_context_where_the_contract_has_it, assert_contract_error, assert_exports, assert_faulty,
    assert_missing_page_is_named, assert_not_found, assert_serves_on_after_an_error, assert_streams, assert_thrown,
    assert_vms_share_nothing, assert_whole_request_arrives,
};

#[test]
fn the_exports_are_what_the_entry_returned() {
    assert_exports(vm(r#"return {
        init = function() end,
        health = function() return true end,
        apis = { ["GET /a"] = function() end, ["POST /a"] = function() end },
        pages = { Home = function() end },
        services = { ["x.y"] = function() end },
        cleanup = { things = function() end },
        events = { ["x.made"] = function() end },
        actors = { count = { init = function() end, handle = function() end }, bare = { handle = function() end } },
        notes = "ignored",
    }"#));
}

#[test]
fn an_entry_without_a_table_of_functions_is_a_contract_error() {
    for (source, part) in [
        ("", "nil"),
        ("return 1", "number"),
        ("return { init = 1 }", "init"),
        ("return { apis = 1 }", "apis must be a table"),
        ("return { apis = { [\"GET /x\"] = {} } }", "apis[\"GET /x\"]"),
        ("return { apis = { [1] = print } }", "use strings"),
        ("return { actors = { a = print } }", "actors[\"a\"] must have the functions"),
        ("return { actors = { a = { handle = 1 } } }", "actors[\"a\"].handle must be a function"),
        ("local a = {} for i = 1, 20000 do a[tostring(i)] = print end return { apis = a }", "more than 10000 handlers"),
    ] {
        let error = refused(&[("main.lua", source)]);
        assert_contract_error(&error, part, source);
    }
}

#[test]
fn faults_of_every_file_are_reported_with_their_lines() {
    let sources = sources(&[
        ("main.lua", "local x = 1\nlocal = 2\n"),
        ("lib/bad.lua", "\n\nreturn ("),
        ("lib/good.lua", "return 1"),
        ("lib/large.lua", &"-".repeat((1 << 20) + 1)),
    ]);
    let Err(faults) = compile(&sources) else { panic!("expected faults") };
    let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
    assert_eq!(places, [("lib/bad.lua", 3), ("lib/large.lua", 0), ("main.lua", 2)]);
    assert_eq!(faults[2].message, "expected identifier when parsing variable name, got '='");
}

#[test]
fn sources_that_nest_without_end_are_faults_not_crashes() {
    let deep = 100_000;
    for source in [
        format!("return {}", "(".repeat(deep)),
        format!("return {}1{}", "{".repeat(deep), "}".repeat(deep)),
        format!("return {}1", "-".repeat(deep).replace("--", "- -")),
        format!("return {}1", "not ".repeat(deep)),
        format!("return 1{}", " .. 1".repeat(deep)),
        format!("return 1{}", " ^ 1".repeat(deep)),
        "do ".repeat(deep),
        "if x then ".repeat(deep),
        "return function() ".repeat(deep / 2),
        format!("return f{}", "()".repeat(deep)),
        format!("return t{}", ".a".repeat(deep)),
        format!("local x: {}", "(".repeat(deep)),
    ] {
        assert_faulty("main.lua", &source);
    }
}

#[test]
fn a_request_arrives_whole() {
    assert_whole_request_arrives(vm(&handler(
        r#"
        assert(req.id == "r-1" and req.method == "GET" and req.path == "/x")
        assert(req.params.id == "7" and req.query.q == "new")
        assert(req.headers.accept == "a, b" and req.headers["x-one"] == "\xe4")
        assert(req.body == "\0\xff!" and #req.body == 3)
        assert(req.principal.subject == "ann" and table.concat(req.principal.permissions, "+") == "p+q")
        assert(ctx.module == "sample" and ctx.version == "1.2.3" and ctx.request_id == "r-1" and ctx.caller == nil)
        req.added, req.params.added = 1, 2
        return { status = 201, headers = { ["x-a"] = "1", ["X-N"] = 5, ["set-cookie"] = { "a=1", "b=2" } }, body = req.body }
    "#,
    )));
}

#[test]
fn an_empty_request_has_an_empty_body_and_no_principal() {
    let answer = respond(r#"return { body = { req.body == "", req.principal == nil, next(req.headers) == nil } }"#);
    assert_eq!(text(&answer.unwrap()), "[true,true,true]");
}

#[test]
fn a_handler_gets_as_many_arguments_as_it_declares() {
    let (mut vm, _) = vm(r#"return { services = {
        none = function() return 0 end,
        one = function(args) return args end,
        all = function(...) return select('#', ...) end,
        two = function(args, ctx) return ctx.caller end,
        more = function(args, ctx, third) return third == nil end,
    } }"#);
    let mut context = context();
    context.caller = Some("other".into());
    let mut call = |name: &str| vm.call(&Handler::Service(name.into()), &[Value::Int(5)], &context).unwrap();
    assert_eq!(call("none"), Value::Int(0));
    assert_eq!(call("one"), Value::Int(5));
    assert_eq!(call("all"), Value::Int(2));
    assert_eq!(call("two"), Value::from("other"));
    assert_eq!(call("more"), Value::Bool(true));
}

#[test]
fn only_handlers_of_the_contract_that_take_it_get_the_context() {
    assert_context_where_the_contract_has_it(vm(r#"return {
        health = function(ctx) return ctx.module end,
        on_config = function(next, previous, more) return { next, previous, more == nil } end,
    }"#));
}

#[test]
fn a_string_answer_is_the_body_and_a_table_body_is_json() {
    assert_answer(respond("return 'hello'"), "hello", Some("text/plain; charset=utf-8"));
    let answer = respond("return { body = { b = { 1, 2.5 }, a = 'ü', n = 0/0 } }");
    assert_answer(answer, r#"{"a":"ü","b":[1,2.5],"n":null}"#, Some("application/json"));
    assert_answer(respond("return {}"), "", None);
}

#[test]
fn an_answer_that_is_no_response_is_a_contract_error() {
    for (body, part) in [
        ("", "nil"),
        ("return 5", "number"),
        ("return { data = 1 }", "put data under body"),
        ("return { status = 99 }", "99"),
        ("return { status = 200.5 }", "200.5"),
        ("return { status = '200' }", "must be a number"),
        ("return { headers = 'x' }", "must be a table"),
        ("return { headers = { [1] = 'x' } }", "name that is no string"),
        ("return { headers = { ['x y'] = 'x' } }", "x y"),
        ("return { headers = { ['x'] = 'a\\r\\nb: c' } }", "control characters"),
        ("return { headers = { x = print } }", "function"),
        ("local h = {} for i = 1, 200 do h['x-' .. i] = '' end return { headers = h }", "headers"),
        ("return { headers = { ['set-cookie'] = table.create(100000, 'a') } }", "headers"),
        ("return { body = print }", "function"),
        ("return { body = { print } }", "function"),
        ("return { body = { a = 1, 2 } }", "\"a\""),
        ("return { body = { '\\xff' } }", "UTF-8"),
    ] {
        let error = respond(body).unwrap_err();
        assert_contract_error(&error, part, body);
        assert!(error.to_string().contains("apis[\"GET /x\"]"), "{error}");
    }
}

#[test]
fn a_missing_handler_is_named() {
    assert_missing_page_is_named(vm("return {}"));
}

#[test]
fn a_thrown_string_has_its_place_and_the_stack() {
    let error = respond("local function inner() error('boom') end\ninner()\nreturn {}").unwrap_err();
    let ScriptError::Thrown { message, trace } = error else { panic!("{error:?}") };
    assert_eq!(message, "main.lua:2: boom");
    let lines: Vec<_> = trace.lines().collect();
    assert_eq!(lines, ["main.lua:2 in inner", "main.lua:3"], "innermost first");
}

#[test]
fn other_thrown_values_have_a_message_too() {
    for (body, expected) in [
        ("error({ message = 'told' })", "told"),
        ("error({})", "a table without status or message was thrown"),
        ("error(7)", "main.lua:2: 7"),
        ("error(7, 0)", "7"),
        ("error()", "a nil value was thrown"),
        ("error(print)", "a function value was thrown"),
        ("local x = nil; return x.y", "main.lua:2: attempt to index nil with 'y'"),
        ("string.rep({}, 2)", "main.lua:2: invalid argument #1 to 'rep' (string expected, got table)"),
    ] {
        let error = respond(body).unwrap_err();
        assert_thrown(&error, expected, body);
    }
}

#[test]
fn a_thrown_message_is_cut() {
    let error = respond("error(string.rep('ü', 100000))").unwrap_err();
    assert!(error.to_string().len() < 10_000);
}

#[test]
fn a_thrown_status_is_a_problem() {
    let error = respond("error({ status = 404, title = 'Gone', detail = 'no such thing' })").unwrap_err();
    assert_not_found(&error, ("Gone", "no such thing"));
    let error = respond("error({ status = 200, message = 'm' })").unwrap_err();
    assert_thrown(&error, "m", "a status of 200");
}

#[test]
fn the_vm_serves_on_after_an_error_of_the_script() {
    assert_serves_on_after_an_error(vm(r#"local n = 0
        return { apis = { ["GET /x"] = function() n += 1 if n == 1 then error("once") end return tostring(n) end } }"#));
}

#[test]
fn files_are_required_by_path_once() {
    let program = program(&[
        (
            "main.lua",
            r#"
            local util = require("lib/util")
            assert(util == require("lib/util"), "cached")
            assert(require("nothing") == true)
            return { health = function() return { util.twice(21), require("lib/deep/more") } end }
        "#,
        ),
        ("lib/util.lua", "return { twice = function(x) return require('lib/deep/more') * x end }"),
        ("lib/deep/more.lua", "return 2"),
        ("nothing.lua", "local x = 1"),
    ]);
    let mut vm = program.instantiate(Arc::new(Notes::default()), &generous(), &context()).unwrap();
    let answer = vm.call(&Handler::Health, &[], &context()).unwrap();
    assert_eq!(answer, Value::List(vec![Value::Int(42), Value::Int(2)]));
}

#[test]
fn files_that_cannot_be_required_say_why() {
    for (main, part) in [
        ("require('lib/none')", "main.lua:1: require: the module has no file lib/none.lua"),
        ("require('../lib/a')", "no file ../lib/a.lua"),
        ("require('/lib/a')", "no file /lib/a.lua"),
        ("require('lib/a.lua')", "leave out the ending: require(\"lib/a\")"),
        ("require('main')", "the entry script, which cannot be required"),
        ("require(5)", "must be a string"),
        ("require('lib/a')", "lib/b.lua:1: files require each other: lib/a.lua -> lib/b.lua -> lib/a.lua"),
        ("require('lib/throws')", "lib/throws.lua:2: inside"),
    ] {
        let error = refused(&[
            ("main.lua", main),
            ("lib/a.lua", "return require('lib/b')"),
            ("lib/b.lua", "return require('lib/a')"),
            ("lib/throws.lua", "\nerror('inside')"),
        ]);
        assert!(error.to_string().contains(part), "{main}: {error}");
    }
}

#[test]
fn a_file_that_failed_to_load_can_be_required_again() {
    let program = program(&[
        ("main.lua", "pcall(require, 'flaky') return { health = function() return require('flaky') end }"),
        ("flaky.lua", "if not tried then tried = true error('first') end return 5"),
    ]);
    let mut vm = program.instantiate(Arc::new(Notes::default()), &generous(), &context()).unwrap();
    assert_eq!(vm.call(&Handler::Health, &[], &context()).unwrap(), Value::Int(5));
}

#[test]
fn two_vms_of_a_program_share_nothing() {
    let program = program(&[(
        "main.lua",
        r#"
        count = 0
        return { health = function() count += 1 return count end }"#,
    )]);
    assert_vms_share_nothing(&*program);
}

#[test]
fn coroutines_yield_across_pcall() {
    let answer = call(
        r#"local co = coroutine.wrap(function()
            local ok, got = pcall(function() return coroutine.yield(1) + 1 end)
            local caught, why = pcall(function() coroutine.yield(2) error({ code = 9 }) end)
            local _, handled = xpcall(function() coroutine.yield(3) error("x", 0) end, function(e) return e .. "!" end)
            return tostring(ok) .. got .. tostring(caught) .. why.code .. handled
        end)
        assert(co() == 1) assert(co(40) == 2) assert(co() == 3)
        return co()"#,
        Value::Null,
    );
    assert_eq!(answer.unwrap(), Value::from("true41false9x!"));
}

#[test]
fn pcall_and_xpcall_keep_luaus_shape() {
    let answer = call(
        r#"return {
            { pcall(function(...) return ... end, 1, 2) },
            { pcall(error, "e", 0) },
            { xpcall(function(a) return a end, print, 3) },
            { xpcall(function() error("e", 0) end, function(e) return e .. "!" end) },
            { (select(2, pcall(pcall))) },
        }"#,
        Value::Null,
    );
    let json = serde_json::to_string(&answer.unwrap()).unwrap();
    assert_eq!(json, r#"[[true,1,2],[false,"e"],[true,3],[false,"e!"],["missing argument #1"]]"#);
}

#[test]
fn an_api_answers_with_a_stream_that_its_script_has() {
    assert_streams(vm(r#"return {
        apis = {
            ["GET /x"] = function() return { status = 206, headers = { ["content-type"] = "text/event-stream" }, stream = "ticks", state = 2 } end,
            ["POST /a"] = function() return { stream = "tocks" } end,
        },
        streams = { ticks = function(left, ctx)
            if left == 0 then return nil end
            local body = left .. "\n"
            if left == 1 then body ..= "\xff" end
            return { body = body, state = left - 1, after = 5 }
        end },
    }"#));
}
