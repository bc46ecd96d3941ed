use super::*;
use crate::api::FUNCTIONS;
use crate::testing::calls::{assert_argument_error, assert_arguments_cross, assert_denied, assert_panics};
use crate::testing::limits::assert_full;

#[test]
fn every_function_of_the_table_is_there_and_read_only() {
    let names: Vec<_> = FUNCTIONS.iter().map(|f| format!("{}.{}", f.group, f.name)).collect();
    let source = names
        .iter()
        .fold(String::new(), |source, name| source + format!("assert(type({name}) == 'function')\n").as_str());
    call(&source, Value::Null).unwrap();
    for change in ["kv.get = print", "rawset(kv, 'get', 1)", "table.clear(kv)", "_G.kv = 1"] {
        let answer = call(&format!("{change} return type(kv.get)"), Value::Null);
        assert!(answer.is_err(), "{change}: {answer:?}");
    }
}

#[test]
fn arguments_cross_in_order_with_nil_between() {
    assert_arguments_cross(vm(&handler("log.warn('m', { a = 1 }) kv.cas('k', nil, { 1, 2 }) return ''")));
}

#[test]
fn print_goes_to_the_log() {
    let (_, notes) =
        vm("print('a', nil, 1.5, setmetatable({}, { __tostring = function() return 'own' end })) return {}");
    assert_eq!(notes.of(HostFn::LogInfo), [vec![Value::from("a\tnil\t1.5\town")]]);
}

#[test]
fn a_host_error_is_a_table_that_reads_as_its_message() {
    let answer = call(
        r#"local ok, e = pcall(db.query, "select 1")
        return { ok, type(e), e.kind, e.message, tostring(e), getmetatable(e), (pcall(function() setmetatable(e, nil) end)) }"#,
        Value::Null,
    );
    let json = serde_json::to_string(&answer.unwrap()).unwrap();
    let message = "permission denied: ask first";
    assert_eq!(json, format!(r#"[false,"table","permission-denied","{message}","{message}","host error",false]"#));
}

#[test]
fn an_uncaught_host_error_keeps_its_kind_and_place() {
    let body = "db.query('select 1')";
    assert_denied(&respond(body).unwrap_err(), "main.lua:2", body);
}

#[test]
fn what_cannot_cross_is_an_argument_error() {
    for (body, part) in [
        ("kv.put('k', print)", "kv.put: argument 2: a function cannot leave the script"),
        ("local t = {} t.t = t kv.put('k', t)", "contains itself"),
        ("kv.put('k', { [true] = 1 })", "a boolean as a table key"),
        ("kv.put('k', { [1.5] = 1 })", "1.5"),
        ("kv.put('k', { [3] = 1 })", "the key 3 but not 1"),
        ("kv.put('k', coroutine.create(print))", "thread"),
    ] {
        let error = respond(body).unwrap_err();
        assert_argument_error(&error, part, body);
    }
}

#[test]
fn a_host_function_takes_few_arguments() {
    for count in [17, 7000, 900_000] {
        let error = respond(&format!("kv.put(table.unpack(table.create({count}, 'x')))")).unwrap_err();
        let ScriptError::Thrown { message, .. } = &error else { panic!("{error:?}") };
        assert_eq!(message, "main.lua:2: too many arguments to a host function");
    }
}

#[test]
fn work_with_its_own_quota_costs_the_call_nothing() {
    let limits = Limits { cpu_time: Duration::from_millis(40), ..generous() };
    let (mut vm, _) = vm_with(&limits, &handler("for i = 1, 5 do crypto.password_hash('x') end return 'done'"));
    assert_eq!(text(&vm.respond(&api(), &request(), &context()).unwrap()), "done");
}

#[test]
fn a_result_larger_than_the_vm_ends_the_call() {
    assert_full(vm(&handler("pcall(config.get) return 'caught'")), &request());
}

#[test]
fn a_panic_of_the_host_passes_every_pcall() {
    for body in [
        "crypto.uuid()",
        "pcall(crypto.uuid) return 'caught'",
        "coroutine.wrap(function() pcall(crypto.uuid) end)() return 'caught'",
        "coroutine.resume(coroutine.create(crypto.uuid)) return 'caught'",
        "while true do xpcall(crypto.uuid, print) end",
    ] {
        assert_panics(vm(&handler(body)), body);
    }
}

#[test]
fn an_empty_list_of_the_host_stays_a_list() {
    let response = respond("return { body = { none = kv.list(), own = {} } }").unwrap();
    assert_eq!(text(&response), r#"{"none":[],"own":{}}"#);
    let response = respond("local list = kv.list() table.insert(list, 1) return { body = list }").unwrap();
    assert_eq!(text(&response), "[1]");
}

#[test]
fn a_host_function_kept_for_later_works_only_in_a_call() {
    let (mut vm, notes) = vm(r#"
        local get = kv.get
        return { health = function(ctx) return get(ctx.request_id) end }"#);
    assert_eq!(vm.call(&Handler::Health, &[], &context()).unwrap(), Value::from("r-1"));
    assert_eq!(notes.of(HostFn::KvGet).len(), 1);
}
