use super::*;
use crate::testing::contract::{
    assert_answer, assert_context_where_the_contract_has_it, assert_contract_error, assert_exports, assert_faulty,
    assert_missing_page_is_named, assert_not_found, assert_serves_on_after_an_error, assert_streams, assert_thrown,
    assert_vms_share_nothing, assert_whole_request_arrives,
};

#[test]
fn the_exports_are_what_the_entry_returned() {
    scripted(|| {
        assert_exports(vm(r#"
            fn get_a() { }
            #{
                init: || (),
                health: || true,
                apis: #{ "GET /a": Fn("get_a"), "POST /a": |req| req },
                pages: #{ Home: || "" },
                services: #{ "x.y": |args, ctx| args },
                cleanup: #{ things: || () },
                events: #{ "x.made": |message| () },
                actors: #{ count: #{ init: || 0, handle: |state, message| () }, bare: #{ handle: |state| () } },
                notes: "ignored",
                warmup: (),
            }"#));
    });
}

#[test]
fn an_entry_without_a_map_of_functions_is_a_contract_error() {
    scripted(|| {
        for (source, part) in [
            ("", "()"),
            ("1", "number"),
            ("#{ init: 1 }", "init"),
            ("#{ apis: 1 }", "apis must be a map"),
            ("#{ apis: #{ \"GET /x\": #{} } }", "apis[\"GET /x\"]"),
            ("#{ apis: #{ \"GET /x\": Fn(\"none\") } }", "a function that the entry script defines"),
            ("#{ actors: #{ a: || 1 } }", "actors[\"a\"] must have the functions"),
            ("#{ actors: #{ a: #{ handle: 1 } } }", "actors[\"a\"].handle must be a function"),
            ("#{ health: Fn(\"keys\") }", "a function that the entry script defines"),
            ("let a = #{}; for i in 0..20000 { a[i.to_string()] = || (); } #{ apis: a }", "more than 10000 handlers"),
        ] {
            let error = refused(&[("main.rhai", source)]);
            assert_contract_error(&error, part, source);
        }
    });
}

#[test]
fn faults_of_every_file_are_reported_with_their_places() {
    let sources = sources(&[
        ("main.rhai", "let x = 1;\nlet = 2;\n"),
        ("lib/bad.rhai", "\n\nfn f( {"),
        ("lib/good.rhai", "fn f() { 1 }"),
        ("lib/large.rhai", &"/".repeat((1 << 20) + 1)),
    ]);
    let Err(faults) = compile(&sources) else { panic!("expected faults") };
    let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
    assert_eq!(places, [("lib/bad.rhai", 3), ("lib/large.rhai", 0), ("main.rhai", 2)]);
    assert_eq!(faults[2].column, 5);
    assert_eq!(faults[2].message, "expecting name of a variable");
}

#[test]
fn words_that_reach_beyond_the_host_do_not_compile() {
    for source in
        ["eval(\"1\")", "import \"x\" as x;", "let f = || 1; f.curry(1)", "let f = Fn(\"eval\"); let e = eval;"]
    {
        assert!(compile(&sources(&[("main.rhai", source)])).is_err(), "{source} compiles");
    }
}

#[test]
fn sources_that_nest_without_end_are_faults_not_crashes() {
    let deep = 100_000;
    for source in [
        "(".repeat(deep),
        format!("{}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("{}1", "-".repeat(deep).replace("--", "- -")),
        format!("{}1", "!".repeat(deep)),
        format!("1{}", " ** 1".repeat(deep)),
        "{ ".repeat(deep),
        "if x { ".repeat(deep),
        "|| { ".repeat(deep / 2),
        format!("f{}", "(f".repeat(deep)),
        format!("{}1", "#{a:".repeat(deep)),
        format!("`{}", "${`".repeat(deep)),
        format!("switch 1 {{ 1 => {}", "switch 1 { 1 => ".repeat(deep)),
    ] {
        assert_faulty("main.rhai", &source);
    }
}

#[test]
fn long_chains_are_faults_or_run() {
    scripted(|| {
        let long = 20_000;
        for source in [
            format!("1{}", " + 1".repeat(long)),
            format!("t{}", ".a".repeat(long)),
            format!("t{}", "[0]".repeat(long)),
            format!("f{}", ".f()".repeat(long)),
            format!("x{}", " && x".repeat(long)),
            format!("x{}", " ?? x".repeat(long)),
            format!("if x {{ }}{}", " else if x { }".repeat(long)),
        ] {
            let start = &source[..20];
            if let Ok(program) = compile(&sources(&[("main.rhai", &source)])) {
                let answer = program.instantiate(Arc::new(Notes::default()), &generous(), &context());
                assert!(answer.is_err(), "{start}");
            }
        }
    });
}

#[test]
fn a_request_arrives_whole() {
    scripted(|| {
        assert_whole_request_arrives(vm(&handler(
            r#"
            if req.id != "r-1" || req.method != "GET" || req.path != "/x" { throw "line"; }
            if req.params.id != "7" || req.query.q != "new" || req.query.none != () { throw "names"; }
            if req.headers.accept != "a, b" || req.headers["x-one"][0] != 0xe4 { throw "headers"; }
            if type_of(req.body) != "blob" || req.body.len() != 3 || req.body[1] != 255 { throw "body"; }
            if req.principal.subject != "ann" || req.principal.permissions != ["p", "q"] { throw "principal"; }
            if ctx.module != "sample" || ctx.version != "1.2.3" || ctx.request_id != "r-1" || ctx.caller != () { throw "ctx"; }
            req.added = 1;
            req.params.added = 2;
            #{ status: 201, headers: #{ "x-a": "1", "X-N": 5, "set-cookie": ["a=1", "b=2"] }, body: req.body }
        "#,
        )));
    });
}

#[test]
fn an_empty_request_has_an_empty_body_and_no_principal() {
    scripted(|| {
        let answer = respond(r#"#{ body: [req.body == "", req.principal == (), req.headers.is_empty()] }"#);
        assert_eq!(text(&answer.unwrap()), "[true,true,true]");
    });
}

#[test]
fn a_handler_gets_as_many_arguments_as_it_declares() {
    scripted(|| {
        let (mut vm, _) = vm(r#"
            fn named(args, ctx) { ctx.caller }
            fn shaped() { "none" }
            fn shaped(args) { "one" }
            fn shaped(args, ctx, more) { "three" }
            let kept = 40;
            #{ services: #{
                none: || 0,
                one: |args| args,
                two: Fn("named"),
                more: |args, ctx, third| third == (),
                captured: |args| { kept += args; kept },
                logs: |args| { log.info("x"); kv.get(args) },
                shaped: Fn("shaped"),
            } }"#);
        let mut context = context();
        context.caller = Some("other".into());
        let mut call = |name: &str| vm.call(&Handler::Service(name.into()), &[Value::Int(5)], &context).unwrap();
        assert_eq!(call("none"), Value::Int(0));
        assert_eq!(call("one"), Value::Int(5));
        assert_eq!(call("two"), Value::from("other"));
        assert_eq!(call("more"), Value::Bool(true));
        assert_eq!(call("captured"), Value::Int(45));
        assert_eq!(call("captured"), Value::Int(50), "what the top level made stays");
        assert_eq!(call("logs"), Value::Int(5));
        assert_eq!(call("shaped"), Value::from("one"));
    });
}

#[test]
fn only_handlers_of_the_contract_that_take_it_get_the_context() {
    scripted(|| {
        assert_context_where_the_contract_has_it(vm(r#"#{
            health: |ctx| ctx.module,
            on_config: |next, previous, more| [next, previous, more == ()],
        }"#));
    });
}

#[test]
fn a_string_answer_is_the_body_and_a_map_body_is_json() {
    scripted(|| {
        assert_answer(respond("\"hello\""), "hello", Some("text/plain; charset=utf-8"));
        let answer = respond("return #{ body: #{ b: [1, 2.5], a: \"ü\", n: 0.0/0.0, u: () } };");
        assert_answer(answer, r#"{"a":"ü","b":[1,2.5],"n":null,"u":null}"#, Some("application/json"));
        assert_answer(respond("#{}"), "", None);
        let (mut vm, _) = vm("#{ pages: #{ Home: || \"<p>\" } }");
        let answer = vm.respond(&Handler::Page("Home".into()), &request(), &context());
        assert_answer(answer, "<p>", Some("text/html; charset=utf-8"));
    });
}

#[test]
fn an_answer_that_is_no_response_is_a_contract_error() {
    scripted(|| {
        for (body, part) in [
            ("", "()"),
            ("5", "number"),
            ("#{ data: 1 }", "put data under body"),
            ("#{ status: 99 }", "99"),
            ("#{ status: 200.5 }", "200.5"),
            ("#{ status: \"200\" }", "must be a number"),
            ("#{ headers: \"x\" }", "must be a map"),
            ("#{ headers: #{ \"x y\": \"x\" } }", "x y"),
            ("#{ headers: #{ x: \"a\\r\\nb: c\" } }", "control characters"),
            ("#{ headers: #{ x: || 1 } }", "function"),
            ("let h = #{}; for i in 0..200 { h[`x-${i}`] = \"\"; } #{ headers: h }", "headers"),
            ("let a = []; a.pad(100000, \"a\"); #{ headers: #{ \"set-cookie\": a } }", "headers"),
            ("#{ body: || 1 }", "function"),
            ("#{ body: [|| 1] }", "function"),
            ("#{ body: #{ r: 0..5 } }", "range"),
            ("#{ body: log }", "host object"),
            ("let b = blob(); b.push(255); #{ body: [b] }", "UTF-8"),
        ] {
            let error = respond(body).unwrap_err();
            assert_contract_error(&error, part, body);
            assert!(error.to_string().contains("apis[\"GET /x\"]"), "{error}");
        }
    });
}

#[test]
fn a_missing_handler_is_named() {
    scripted(|| assert_missing_page_is_named(vm("#{}")));
}

#[test]
fn a_thrown_string_has_its_place_and_the_stack() {
    scripted(|| {
        let source = "fn inner() {\n throw \"boom\"; }\n#{ apis: #{ \"GET /x\": |req| {\n\n inner();\n #{} } } }";
        let error = vm(source).0.respond(&api(), &request(), &context()).unwrap_err();
        let ScriptError::Thrown { message, trace } = error else { panic!("{error:?}") };
        assert_eq!(message, "main.rhai:2: boom");
        let lines: Vec<_> = trace.lines().collect();
        assert_eq!(lines, ["main.rhai:2 in inner", "main.rhai:5"], "innermost first");
    });
}

#[test]
fn other_thrown_values_have_a_message_too() {
    scripted(|| {
        for (body, expected) in [
            ("throw #{ message: \"told\" };", "main.rhai:2: told"),
            ("throw #{};", "main.rhai:2: a map without status or message was thrown"),
            ("throw 7;", "main.rhai:2: 7"),
            ("throw;", "main.rhai:2: a () value was thrown"),
            ("throw || 1;", "main.rhai:2: a function value was thrown"),
            ("let x = (); x.y", "main.rhai:2: unknown property 'y' - a getter is not registered for type '()'"),
            ("none", "main.rhai:2: variable not found: none"),
            ("none(1)", "main.rhai:2: function not found: none (i64)"),
            ("[1].map(|x| {\nthrow \"in\" })", "main.rhai:3: in"),
            ("1 / 0", "main.rhai:2: division by zero: 1 / 0"),
            ("let a = [1]; a[5]", "main.rhai:2: array index 5 out of bounds: only 1 element in array"),
        ] {
            let error = respond(body).unwrap_err();
            assert_thrown(&error, expected, body);
        }
    });
}

#[test]
fn a_thrown_message_is_cut() {
    scripted(|| {
        let error = respond("let s = \"\"; s.pad(100000, 'ü'); throw s;").unwrap_err();
        assert!(error.to_string().len() < 10_000);
    });
}

#[test]
fn a_thrown_status_is_a_problem() {
    scripted(|| {
        let error = respond("throw #{ status: 404, title: \"Gone\", detail: \"no such thing\" };").unwrap_err();
        assert_not_found(&error, ("Gone", "no such thing"));
        let error = respond("throw #{ status: 200, message: \"m\" };").unwrap_err();
        assert_thrown(&error, "main.rhai:2: m", "a status of 200");
    });
}

#[test]
fn the_vm_serves_on_after_an_error_of_the_script() {
    scripted(|| {
        assert_serves_on_after_an_error(vm(r#"let n = 0;
            #{ apis: #{ "GET /x": || { n += 1; if n == 1 { throw "once"; } `${n}` } } }"#));
    });
}

#[test]
fn two_vms_of_a_program_share_nothing() {
    scripted(|| {
        let program = program(&[("main.rhai", "let count = 0; #{ health: || { count += 1; count } }")]);
        assert_vms_share_nothing(&*program);
    });
}

#[test]
fn the_top_level_runs_once_and_not_with_each_call() {
    scripted(|| {
        let (mut vm, notes) = vm("print(\"top\"); fn health() { \"ok\" } #{ health: Fn(\"health\") }");
        for _ in 0..3 {
            vm.call(&Handler::Health, &[], &context()).unwrap();
        }
        assert_eq!(notes.of(HostFn::LogInfo), [vec![Value::from("top")]]);
    });
}

#[test]
fn an_api_answers_with_a_stream_that_its_script_has() {
    assert_streams(vm(r#"
        #{
            apis: #{
                "GET /x": || #{ status: 206, headers: #{ "content-type": "text/event-stream" }, stream: "ticks", state: 2 },
                "POST /a": || #{ stream: "tocks" },
            },
            streams: #{ ticks: |left, ctx| {
                if left == 0 { return; }
                let body = left + "\n";
                if left == 1 { body = body.to_blob(); body.push(255); }
                #{ body: body, state: left - 1, after: 5 }
            } },
        }
    "#));
}
