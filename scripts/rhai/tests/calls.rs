use super::*;
use crate::api::FUNCTIONS;
use crate::testing::calls::{assert_argument_error, assert_arguments_cross, assert_denied, assert_panics};
use crate::testing::limits::assert_full;

#[test]
fn an_answer_beyond_the_caps_of_a_value_is_an_error_that_can_be_caught() {
    scripted(|| {
        let limits = Limits { memory: 256 << 20, ..generous() };
        let body = "try { config.get(); } catch (e) { return `${e.kind}: ${e.message}`; }";
        let answer = vm_with(&limits, &handler(body)).0.respond(&api(), &request(), &context()).unwrap();
        let expected = "failed: config.get: 67108864 bytes of text are more than the 16777216 that a value in Rhai may \
                        have, a sixteenth of `runtime.limits.memory`";
        assert_eq!(text(&answer), expected);
    });
}

#[test]
fn every_function_of_the_table_is_there() {
    scripted(|| {
        let limits = Limits { memory: 256 << 20, ..generous() };
        for function in FUNCTIONS.iter().filter(|function| function.id != HostFn::CryptoUuid) {
            let (mut vm, notes) = vm_with(
                &limits,
                &handler(&format!("try {{ {}.{}(); }} catch {{ }} \"\"", function.group, function.name)),
            );
            let answer = vm.respond(&api(), &request(), &context());
            assert!(answer.is_ok(), "{}: {answer:?}", function.id.path());
            assert_eq!(notes.of(function.id).len(), 1, "{}", function.id.path());
        }
        for change in ["kv = 1;", "kv.get = 1;", "kv.nothing();", "log.get(1);"] {
            let answer = respond(change);
            assert!(answer.is_err(), "{change}: {answer:?}");
        }
    });
}

#[test]
fn arguments_cross_in_order_with_units_between() {
    scripted(|| {
        assert_arguments_cross(vm(&handler("log.warn(\"m\", #{ a: 1 }); kv.cas(\"k\", (), [1, 2]); \"\"")));
    });
}

#[test]
fn the_globals_are_seen_everywhere_and_yield_to_variables() {
    scripted(|| {
        let (mut vm, notes) = vm(r#"
            fn plain() { log.info("function"); }
            fn param(config) { config.a }
            log.info("top");
            #{ health: |ctx| {
                plain();
                [1].for_each(|| log.info("closure"));
                let time = #{ now: 5 };
                [param(#{ a: 1 }), time.now]
            } }"#);
        let answer = vm.call(&Handler::Health, &[], &context()).unwrap();
        assert_eq!(answer, Value::List(vec![Value::Int(1), Value::Int(5)]));
        assert_eq!(notes.of(HostFn::LogInfo).len(), 3);
    });
}

#[test]
fn services_are_called_and_invalidated() {
    scripted(|| {
        let body = "services.call(\"a.b\", #{ x: 1 }); [1].for_each(|| services.call(\"c.d\")); services.invalidate(\"a\"); \"\"";
        let (mut vm, notes) = vm(&handler(body));
        vm.respond(&api(), &request(), &context()).unwrap();
        let calls = notes.of(HostFn::ServicesCall);
        let expected = [vec![Value::from("a.b"), Value::map([("x", Value::Int(1))])], vec![Value::from("c.d")]];
        assert_eq!(calls, expected);
        assert_eq!(notes.of(HostFn::ServicesInvalidate), [vec![Value::from("a")]]);
    });
}

#[test]
fn print_and_debug_go_to_the_log() {
    scripted(|| {
        let (_, notes) = vm("print([1, \"a\", ()]); debug(\"x\"); #{}");
        let lines = notes.of(HostFn::LogInfo);
        assert_eq!(lines, [vec![Value::from("[1, \"a\", ()]")], vec![Value::from("\"x\"")]]);
    });
}

#[test]
fn a_host_error_is_a_map_that_can_be_caught() {
    scripted(|| {
        let answer =
            call("try { db.query(\"select 1\"); } catch (e) { return [type_of(e), e.kind, e.message]; }", Value::Null);
        let expected = ["map", "permission-denied", "permission denied: ask first"];
        assert_eq!(answer.unwrap(), Value::List(expected.map(Value::from).to_vec()));
    });
}

#[test]
fn an_uncaught_host_error_keeps_its_kind_and_place() {
    scripted(|| {
        for body in ["db.query(\"select 1\")", "try { db.query(\"x\"); } catch (e) { throw e; }"] {
            assert_denied(&respond(body).unwrap_err(), "main.rhai:2 in answer", body);
        }
    });
}

#[test]
fn what_cannot_cross_is_an_argument_error() {
    scripted(|| {
        for (body, part) in [
            ("kv.put(\"k\", || 1)", "kv.put: argument 2: a function cannot leave the script"),
            ("kv.put(\"k\", 0..5)", "a range cannot leave the script"),
            ("kv.put(\"k\", log)", "a host object cannot leave"),
            ("let a = 1; for i in 0..70 { a = [a]; } kv.put(\"k\", a)", "deeper than 64"),
        ] {
            let error = respond(body).unwrap_err();
            assert_argument_error(&error, part, body);
        }
    });
}

#[test]
fn work_with_its_own_quota_costs_the_call_nothing() {
    scripted(|| {
        let limits = Limits { cpu_time: Duration::from_millis(40), ..generous() };
        let (mut vm, _) = vm_with(&limits, &handler("for i in 0..5 { crypto.password_hash(\"x\"); } \"done\""));
        assert_eq!(text(&vm.respond(&api(), &request(), &context()).unwrap()), "done");
    });
}

#[test]
fn a_result_larger_than_the_vm_ends_the_call() {
    scripted(|| assert_full(vm(&handler("try { config.get(); } catch { } \"caught\"")), &request()));
}

#[test]
fn a_panic_of_the_host_passes_every_try() {
    scripted(|| {
        for body in [
            "crypto.uuid()",
            "try { crypto.uuid(); } catch { } \"caught\"",
            "loop { try { [1, 2].map(|x| crypto.uuid()); } catch { } }",
            "[2, 1].sort(|a, b| crypto.uuid()); \"sorted\"",
        ] {
            assert_panics(vm(&handler(body)), body);
        }
    });
}

#[test]
fn what_parts_an_array_takes_functions_and_their_names() {
    scripted(|| {
        let top =
            "fn odd(x) { x % 2 == 1 } fn at(x, i) { i > 2 } fn down(a, b) { b - a } fn alike(a, b) { a % 2 == b % 2 }";
        let json = |body: &str| {
            let source = format!("{top} #{{ services: #{{ \"a.b\": |args, ctx| {{\n{body}\n}} }} }}");
            let answer = vm(&source).0.call(&Handler::Service("a.b".into()), &[Value::Null], &context());
            serde_json::to_string(&answer.unwrap()).unwrap()
        };
        for (body, expected) in [
            ("let gone = a.retain(|x| x > 2); [a, gone]", "[[3,4,5],[1,2]]"),
            ("let gone = a.retain(\"odd\"); [a, gone]", "[[1,3,5],[2,4]]"),
            ("let gone = a.retain(Fn(\"odd\")); [a, gone]", "[[1,3,5],[2,4]]"),
            ("let gone = a.retain(|x, i| i < 1); [a, gone]", "[[1],[2,3,4,5]]"),
            ("let gone = a.retain(|| this > 4); [a, gone]", "[[5],[1,2,3,4]]"),
            ("let gone = a.retain(|x| 7); [a, gone]", "[[],[1,2,3,4,5]]"),
            ("let gone = a.drain(|x| x > 2); [a, gone]", "[[1,2],[3,4,5]]"),
            ("let gone = a.drain(\"odd\"); [a, gone]", "[[2,4],[1,3,5]]"),
            ("let gone = a.drain(\"at\"); [a, gone]", "[[1,2,3],[4,5]]"),
            ("let gone = a.drain(|x| ()); [a, gone]", "[[1,2,3,4,5],[]]"),
            ("try { a.retain(|x| if x == 3 { throw 1 } else { false }); } catch { } a", "[1,2,3,4,5]"),
            ("try { a.drain(\"none\"); } catch { } a", "[1,2,3,4,5]"),
            ("a.sort(\"down\"); a", "[5,4,3,2,1]"),
            ("a.sort_by(\"down\"); a", "[5,4,3,2,1]"),
            ("try { a.sort(\"none\"); } catch { } a", "[1,2,3,4,5]"),
            ("a = [1, 3, 5, 2, 4, 1]; a.dedup(\"alike\"); a", "[1,2,1]"),
            ("let e = []; let gone = e.retain(|x| true); [e, gone, e.drain(|x| true)]", "[[],[],[]]"),
        ] {
            assert_eq!(json(&format!("let a = [1, 2, 3, 4, 5]; {body}")), expected, "{body}");
        }
    });
}

#[test]
fn sorting_and_splitting_are_as_the_manual_says() {
    scripted(|| {
        let json = |body: &str| serde_json::to_string(&call(body, Value::Null).unwrap()).unwrap();
        assert_eq!(json("let a = [3, 1, 2]; a.sort(); a"), "[1,2,3]");
        assert_eq!(json("let a = [3, 1, 2]; a.sort_desc(); a"), "[3,2,1]");
        assert_eq!(json("let a = [3, 1, 2]; a.sort(|a, b| b - a); a"), "[3,2,1]");
        assert_eq!(json("let a = [3, 1, 2, 5, 4]; a.sort_by(|a, b| a < b); a"), "[1,2,3,4,5]");
        assert_eq!(json("[\"b\", \"a\"].order()"), r#"["a","b"]"#);
        assert_eq!(json("let a = [[1, 2], [1, 1], [0, 3]]; a.order(|x, y| x[0] - y[0])"), "[[0,3],[1,2],[1,1]]");
        assert_eq!(json("let a = [1, 1, 2, 2, 1]; a.dedup(); a"), "[1,2,1]");
        assert_eq!(json("let a = [1, 3, 4, 6]; a.dedup(|a, b| a % 2 == b % 2); a"), "[1,4]");
        assert_eq!(json("\"a,b,c\".split(\",\", 2)"), r#"["a","b,c"]"#);
        assert_eq!(json("\"a b  c\".split()"), r#"["a","b","c"]"#);
        assert_eq!(json("\"a,b\".split(',')"), r#"["a","b"]"#);
        assert_eq!(json("\"a,b,c\".split_rev(\",\")"), r#"["c","b","a"]"#);
        assert_eq!(json("\"\".split(\",\")"), r#"[""]"#);
        assert_eq!(json("let s = \"a-b-c\"; s.replace(\"-\", \"+\"); s"), "\"a+b+c\"");
        assert_eq!(json("let s = \"ab\"; s.pad(5, \"xy\"); s"), "\"abxyx\"");
        assert_eq!(json("let a = [1]; a.pad(3, [0]); a"), "[1,[0],[0]]");
        assert_eq!(json("\"ab\".to_chars()"), r#"["a","b"]"#);
    });
}
