use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::error::HostError;
use crate::host::{CallContext, Host, Sources};

#[test]
fn files_are_modules_by_their_path() {
    scripted(|| {
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                ("main.rhai", "#{ health: || [lib::util::twice(21), lib::deep::more::two(), lib::LIMIT, top::up()] }"),
                ("lib/util.rhai", "fn twice(x) { inner(lib::deep::more::two(), x) } fn inner(a, b) { a * b }"),
                ("lib/deep/more.rhai", "fn two() { 2 }"),
                ("lib.rhai", "export const LIMIT = 7;"),
                ("top.rhai", "fn up() { log.info(\"up\"); \"up\" }"),
            ],
        );
        let answer = vm.call(&Handler::Health, &[], &context()).unwrap();
        let expected = [Value::Int(42), Value::Int(2), Value::Int(7), Value::from("up")];
        assert_eq!(answer, Value::List(expected.to_vec()));
    });
}

#[test]
fn constants_of_files_are_seen_by_their_own_functions_and_by_others() {
    scripted(|| {
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                ("main.rhai", "#{ health: || [lib::b::own(), lib::b::SUM, lib::c::read(), lib::b::next()] }"),
                ("lib/a.rhai", "export const FROM_B = lib::b::SUM + 1;"),
                (
                    "lib/b.rhai",
                    "const OWN = 5; export const SUM = 10; fn own() { global::OWN } fn next() { lib::a::FROM_B }",
                ),
                ("lib/c.rhai", "fn read() { lib::b::SUM * 2 }"),
            ],
        );
        let answer = vm.call(&Handler::Health, &[], &context()).unwrap();
        assert_eq!(answer, Value::List([5, 10, 20, 11].map(Value::Int).to_vec()));
    });
}

/// Rhai resolves an unqualified call by name and number alone, once for a whole call from outside.
#[test]
fn functions_of_one_name_in_two_files_are_two_functions() {
    scripted(|| {
        let file = |answer: &str| {
            format!(
                "fn name(x) {{ `{answer}${{x}}` }}\nfn outer(x) {{ let s = \"\"; for i in 0..3 {{ s += `${{name(i)}} `; }} s + name(x) }}"
            )
        };
        let (a, b) = (file("a"), file("b"));
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                (
                    "main.rhai",
                    "fn name(x) { \"main\" } #{ health: || { let all = \"\"; for i in 0..3 { all += name(1) + lib::a::outer(9) + lib::b::outer(9); } all } }",
                ),
                ("lib/a.rhai", &a),
                ("lib/b.rhai", &b),
            ],
        );
        let once = "maina0 a1 a2 a9b0 b1 b2 b9";
        assert_eq!(vm.call(&Handler::Health, &[], &context()).unwrap(), Value::from(once.repeat(3)));
    });
}

#[test]
fn private_functions_of_one_name_are_refused_not_confused() {
    let faults = compile(&sources(&[
        ("main.rhai", "#{}"),
        ("a.rhai", "private fn help(x) { 1 } fn a() { help(1) }"),
        ("b.rhai", "private fn help(x) { 2 } fn b() { help(1) }"),
    ]));
    let Err(faults) = faults else { panic!("it compiles") };
    assert!(faults[0].to_string().contains("b.rhai:0:0: the function help stands in a.rhai too"), "{}", faults[0]);
    scripted(|| {
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                ("main.rhai", "#{ health: || a::a() }"),
                ("a.rhai", "private fn help(x) { x + 1 } fn a() { [1, 2].map(|x| help(x)) }"),
            ],
        );
        let answer = vm.call(&Handler::Health, &[], &context()).unwrap();
        assert_eq!(answer, Value::List([2, 3].map(Value::Int).to_vec()));
    });
}

#[test]
fn errors_name_the_file_they_come_from() {
    scripted(|| {
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                ("main.rhai", "#{\n health: || lib::a::outer() }"),
                ("lib/a.rhai", "fn outer() {\n inner()\n}\nfn inner() {\n [1].for_each(|| {\n throw \"boom\"; })\n}"),
            ],
        );
        let ScriptError::Thrown { message, trace } = vm.call(&Handler::Health, &[], &context()).unwrap_err() else {
            panic!("thrown")
        };
        assert_eq!(message, "lib/a.rhai:6: boom");
        let lines: Vec<_> = trace.lines().collect();
        assert_eq!(lines[0], "lib/a.rhai:6");
        assert!(lines.contains(&"lib/a.rhai:2 in outer"), "{trace}");
        assert_eq!(*lines.last().unwrap(), "main.rhai:2");
    });
}

#[test]
fn a_top_level_that_throws_names_its_file() {
    scripted(|| {
        let error = refused(&[("main.rhai", "#{}"), ("lib/a.rhai", "\nthrow \"inside\";")]);
        assert_eq!(error.to_string(), "lib/a.rhai:2: inside");
    });
}

#[test]
fn what_the_top_level_of_a_file_captured_stays() {
    scripted(|| {
        let (mut vm, _) = vm_of(
            &generous(),
            &[
                ("main.rhai", "#{ health: || lib::ids::next() }"),
                ("lib/ids.rhai", "let n = 0; const NEXT = || { n += 1; n }; fn next() { global::NEXT.call() }"),
            ],
        );
        for expected in 1..4 {
            assert_eq!(vm.call(&Handler::Health, &[], &context()).unwrap(), Value::Int(expected));
        }
    });
}

#[test]
fn a_path_that_leads_nowhere_is_a_fault_at_its_place() {
    let faults = |files: &[(&str, &str)]| {
        let faults = compile(&sources(files)).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let lib = "fn f(x) { x } private fn p() { 1 } export const C = 1;";
    for (main, fault) in [
        ("#{ health: || lib::a::f(1) + lib::a::C + global::C }", None),
        ("lib::gone::f(1)", Some("main.rhai:1:1: lib::gone::f leads nowhere: lib/gone.rhai is no file of the module")),
        (
            "let x = `ä${\n  lib::a::g(1)}`;",
            Some("main.rhai:2:3: lib::a::g leads nowhere: the function g is not there in lib/a.rhai"),
        ),
        ("lib::a::p()", Some("main.rhai:1:1: lib::a::p leads nowhere: the function p is private in lib/a.rhai")),
        ("lib::gone::C", Some("main.rhai:1:1: lib::gone::C leads nowhere: lib/gone.rhai is no file of the module")),
        ("// lib::gone::f(1)\n#{ a: \"lib::gone::f(1)\" }", None),
    ] {
        assert_eq!(faults(&[("main.rhai", main), ("lib/a.rhai", lib)]), Vec::from_iter(fault), "{main}");
    }
    let lib = "fn a() {\n    main::f();\n    lib::b::f()\n}";
    let expected = [
        "lib/a.rhai:2:5: main::f leads nowhere: main.rhai is the entry script, which no other reaches",
        "lib/a.rhai:3:5: lib::b::f leads nowhere: lib/b.rhai is no file of the module",
    ];
    assert_eq!(faults(&[("main.rhai", "fn f() {} #{}"), ("lib/a.rhai", lib)]), expected);
}

#[test]
fn many_paths_that_lead_nowhere_keep_nobody() {
    let functions: String = (0..5_000).map(|n| format!("fn f{n}() {{}}\n")).collect();
    let calls = "a::none();\n".repeat(12_000);
    let faults = compile(&sources(&[("main.rhai", &calls), ("a.rhai", &functions)])).err().unwrap_or_default();
    assert_eq!((faults.len(), faults[19].line), (20, 20));
}

#[test]
fn no_file_can_be_imported() {
    assert!(compile(&sources(&[("main.rhai", "import \"/etc/passwd\" as x; #{}")])).is_err());
}

/// The module that ships is written against this host.
#[test]
fn the_authentication_module_runs() {
    struct Users;
    impl Host for Users {
        fn call(&self, function: HostFn, args: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
            let sql = args.first().and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(match function {
                HostFn::DbQuery if sql.contains("from users where name") => Value::List(vec![Value::map([
                    ("name", Value::from("ann")),
                    ("password", Value::from("$hash")),
                    ("permissions", Value::from("[\"*\"]")),
                    ("epoch", Value::from("e")),
                    ("disabled", Value::Int(0)),
                    ("created_at", Value::Int(0)),
                ])]),
                HostFn::DbQuery if sql.contains("from keys") => {
                    Value::List(vec![Value::map([("id", Value::from("k")), ("secret", Value::from("s"))])])
                }
                HostFn::DbQuery => Value::List(Vec::new()),
                HostFn::JsonDecode => serde_json::from_str(&sql).unwrap(),
                HostFn::JsonEncode => Value::from(serde_json::to_string(&args[0]).unwrap()),
                HostFn::ConfigGet => Value::Int(12),
                HostFn::TimeNow => Value::Int(1_700_000_000_000),
                HostFn::CryptoPasswordVerify | HostFn::KvCas => Value::Bool(true),
                HostFn::CryptoSha256 | HostFn::CryptoRandom | HostFn::CryptoUuid => Value::from("abcdef"),
                HostFn::CryptoJwtSign => Value::from("token"),
                _ => Value::Null,
            })
        }
    }
    fn read(folder: &std::path::Path, below: &str, files: &mut BTreeMap<String, Arc<str>>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            // tests are no part of a module's program
            if entry.path().is_dir() && name != "tests" {
                read(&entry.path(), &format!("{name}/"), files);
            } else if name.ends_with(".rhai") {
                files.insert(name, std::fs::read_to_string(entry.path()).unwrap().into());
            }
        }
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules/authentication");
    let mut files = BTreeMap::new();
    read(&folder, "", &mut files);
    scripted(|| {
        let program = compile(&Sources { entry: "main.rhai".into(), files }).unwrap();
        let mut vm = program.instantiate(Arc::new(Users), &generous(), &context()).unwrap();
        assert!(vm.exports().has(&Handler::Service("authentication.verify".into())));
        let healthy = vm.call(&Handler::Health, &[], &context()).unwrap();
        assert_eq!(healthy.get("status").and_then(Value::as_str), Some("healthy"));
        let mut login = request();
        login.headers.insert("content-type", "application/json".parse().unwrap());
        login.body = Bytes::from_static(br#"{"name":"ann","password":"a long one"}"#);
        let answer = vm.respond(&Handler::Api("POST /api/auth/login".into()), &login, &context()).unwrap();
        assert!(text(&answer).contains("\"token\":\"token\""), "{}", text(&answer));
        assert!(answer.headers["set-cookie"].to_str().unwrap().contains("Max-Age=43200"));
        login.body = Bytes::from_static(b"{");
        let answer = vm.respond(&Handler::Api("GET /api/auth/me".into()), &login, &context()).unwrap_err();
        assert!(matches!(answer, ScriptError::Problem { status: 401, .. }), "{answer:?}");
        let page = vm.respond(&Handler::Page("Login".into()), &request(), &context()).unwrap();
        assert!(text(&page).contains("<h1>Sign in</h1>"));
    });
}
