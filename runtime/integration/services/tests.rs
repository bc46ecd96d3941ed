//! Calls between modules that run.

use std::time::{Duration, Instant};

use replug_scripts::{CallContext, HostErrorKind, ScriptError, Value};

use crate::actors::router::CallError;
use crate::integration::tests::World;

mod application;
mod shift;

const PROVIDER: (&str, &str) = (
    r#"
id: sums
version: 1.0.0
capabilities: [{ id: math.sums }]
runtime: { workers: 1, limits: { queue: 1, cpuTime: 3s, wallTime: 5s, ticks: 10000000000 } }
"#,
    r#"
return { services = {
  ["math.sums.add"] = function(args, ctx) return { sum = args[1] + args[2], caller = ctx.caller, id = ctx.request_id } end,
  ["math.sums.throw"] = function() error("the password is 1234") end,
  ["math.sums.refuse"] = function() error({ kind = "conflict", message = "math.sums: taken" }) end,
  ["math.sums.problem"] = function() error({ status = 404, title = "no such sum", detail = "seven" }) end,
  ["math.sums.spin"] = function() local t = time.now() + 400 while time.now() < t do end return true end,
} }
"#,
);

const CALLER: (&str, &str) = (
    "id: caller\nversion: 1.0.0\ndependencies: [{ id: sums }]\ncapabilities: [{ id: relay }]\nruntime: { workers: 4 }",
    r#"
return { services = { ["relay.call"] = function(args)
  local ok, result = pcall(services.call, args.service, args.args)
  if ok then return { ok = true, result = result } end
  return { ok = false, kind = result.kind, message = result.message }
end } }
"#,
);

async fn world() -> World {
    let world = World::new().await;
    world.serve(PROVIDER.0, PROVIDER.1).await;
    world.serve(CALLER.0, CALLER.1).await;
    world
}

async fn relay(world: &World, service: &str, args: Value) -> Value {
    let args = Value::map([("service", Value::from(service)), ("args", args)]);
    world.call("caller", "relay.call", args).await.expect("the relay answers")
}

fn fault(answer: &Value) -> (&str, &str) {
    let text = |key| answer.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}: {answer:?}"));
    (text("kind"), text("message"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_answers_and_learns_who_calls() {
    let world = world().await;
    let answer = relay(&world, "math.sums.add", Value::List(vec![Value::Int(2), Value::Int(3)])).await;
    let result = answer.get("result").expect("a result");
    assert_eq!(result.get("sum"), Some(&Value::Int(5)));
    assert_eq!(result.get("caller"), Some(&Value::from("caller")));
    assert_eq!(result.get("id"), Some(&Value::from("test")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_is_no_dependency_is_refused_with_the_line_that_would_make_it_one() {
    let world = world().await;
    world
        .serve(
            "id: hidden\nversion: 1.0.0\ncapabilities: [{ id: secrets }]",
            r#"return { services = { ["secrets.tell"] = function() return 1 end } }"#,
        )
        .await;
    let answer = relay(&world, "secrets.tell", Value::Null).await;
    let (kind, message) = fault(&answer);
    assert_eq!(kind, "permission-denied");
    assert!(message.starts_with("permission denied: services.call: secrets is provided by hidden"), "{message}");
    assert!(message.contains("`dependencies: [{ id: hidden }]`"), "{message}");
    let own = relay(&world, "relay.call", Value::Null).await;
    assert!(fault(&own).1.contains("call the function"), "{own:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_out_of_its_range_is_not_reached() {
    let world = World::new().await;
    world.serve(PROVIDER.0, PROVIDER.1).await;
    let version =
        |range: &str| CALLER.0.replace("{ id: sums }", &format!("{{ id: sums, version: '{range}', required: false }}"));
    world.serve(&version("^9"), CALLER.1).await;
    let answer = relay(&world, "math.sums.add", Value::Null).await;
    let (kind, message) = fault(&answer);
    assert_eq!(kind, "not-found");
    assert!(message.contains("math.sums is provided by sums, which does not serve in a version ^9"), "{message}");
    let in_range = World::new().await;
    in_range.serve(PROVIDER.0, PROVIDER.1).await;
    in_range.serve(&version(">=0.1"), CALLER.1).await;
    let args = Value::List(vec![Value::Int(2), Value::Int(3)]);
    assert_eq!(relay(&in_range, "math.sums.add", args).await.get("ok"), Some(&Value::Bool(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let world = world().await;
    let method = relay(&world, "math.sums.subtract", Value::Null).await;
    assert_eq!(fault(&method).0, "not-found");
    assert!(fault(&method).1.contains("sums@1.0.0 provides math.sums, but"), "{method:?}");
    world.remove("sums");
    let module = relay(&world, "math.sums.add", Value::Null).await;
    assert_eq!(fault(&module).0, "not-found");
    assert!(fault(&module).1.contains("activate"), "{module:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_says_to_its_caller_only_what_it_addressed_to_it() {
    let world = world().await;
    let thrown = relay(&world, "math.sums.throw", Value::Null).await;
    assert_eq!(fault(&thrown).0, "failed");
    assert!(!fault(&thrown).1.contains("1234") && !fault(&thrown).1.contains("main.lua"), "{thrown:?}");
    let refused = relay(&world, "math.sums.refuse", Value::Null).await;
    assert_eq!(fault(&refused), ("conflict", "math.sums: taken"));
    let problem = relay(&world, "math.sums.problem", Value::Null).await;
    assert_eq!(fault(&problem), ("failed", "services.call: math.sums.problem: no such sum: seven"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_a_call_at_once() {
    let world = world().await;
    let calls = (0..4).map(|_| relay(&world, "math.sums.spin", Value::Null));
    let answers = futures::future::join_all(calls).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.get("ok") == Some(&Value::Bool(false))).collect();
    assert!(!refused.is_empty() && refused.len() < 4, "{answers:?}");
    for answer in refused {
        assert_eq!(fault(answer).0, "overloaded");
    }
}

fn circle(deadline: Instant) -> CallContext {
    CallContext {
        module: "".into(),
        version: "".into(),
        request_id: "circle".into(),
        caller: None,
        deadline,
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_onto_busy_workers_is_refused_long_before_its_deadline() {
    let world = World::new().await;
    for (id, other) in [("one", "two"), ("two", "one")] {
        let text = format!(
            "id: {id}\nversion: 1.0.0\ncapabilities: [{{ id: {id} }}]\ndependencies: [{{ id: {other}, required: false }}]\n\
             runtime: {{ workers: 1, limits: {{ wallTime: 60s }} }}"
        );
        let script =
            format!(r#"return {{ services = {{ ["{id}.go"] = function() return services.call("{other}.go") end }} }}"#);
        world.serve(&text, &script).await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    for (module, service) in [("one", "one.go"), ("two", "two.go")] {
        let handler = replug_scripts::Handler::Service(service.into());
        let answer = world.router.call(module, 0, &handler, vec![Value::Null], circle(deadline)).await;
        let Err(CallError::Script(ScriptError::Host { error, .. })) = answer else { panic!("{answer:?}") };
        assert_eq!(error.kind, HostErrorKind::Overloaded, "{}", error.message);
    }
    assert!(Instant::now() < deadline, "nobody waited for a worker that could not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_that_finds_workers_ends_at_its_depth() {
    let world = World::new().await;
    world.serve(
        "id: odd\nversion: 1.0.0\ncapabilities: [{ id: odd }]\ndependencies: [{ id: even, required: false }]\nruntime: { workers: 8 }",
        r#"return { services = { ["odd.go"] = function() return services.call("even.go") end } }"#,
    )
    .await;
    world.serve(
        "id: even\nversion: 1.0.0\ncapabilities: [{ id: even }]\ndependencies: [{ id: odd, required: false }]\nruntime: { workers: 8 }",
        r#"return { services = { ["even.go"] = function() return services.call("odd.go") end } }"#,
    )
    .await;
    let answer = world.call("odd", "odd.go", Value::Null).await;
    let Err(CallError::Script(ScriptError::Host { error, .. })) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind, HostErrorKind::Overloaded);
    assert!(error.message.contains("deep"), "{}", error.message);
}
