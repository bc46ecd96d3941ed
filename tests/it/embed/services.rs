//! Rust services that scripts call.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use replug::{Error, HostError, HostErrorKind, HostService, Methods, Runtime, ServiceContext, Value, Version};
use tokio::sync::mpsc;

use super::{Embedded, fault, relay, relayed};
use crate::support::Module;

fn sums() -> Methods {
    Methods::new()
        .method("add", |(a, b): (i64, i64), _| async move { Ok(a + b) })
        .method("refuse", |(): (), _| async { Err::<(), _>(HostError::new(HostErrorKind::Conflict, "sums: taken")) })
        .method("panic", |(): (), _| async { if true { panic!("the password is 1234") } else { Ok(()) } })
        .method("large", |(): (), _| async { Ok(u64::MAX) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_calls_rust_and_gets_its_answers_and_errors() {
    let host = Embedded::new(|builder| builder.service("math.sums", sums())).await;
    host.install(&relay("relay")).await;
    let pair = |a, b| Value::List(vec![a, b]);
    let answer = relayed(&host.runtime, "math.sums.add", pair(Value::Int(2), Value::Int(3))).await.unwrap();
    assert_eq!(answer.get("answer"), Some(&Value::Int(5)));
    let relayed =
        async |method: &str, args| relayed(&host.runtime, &format!("math.sums.{method}"), args).await.unwrap();
    assert_eq!(fault(&relayed("refuse", Value::Null).await), ("conflict", "sums: taken"));
    let wrong = relayed("add", pair(Value::Int(2), Value::from("three"))).await;
    let expected = "math.sums.add: wrong arguments: [1]: invalid type: string \"three\", expected i64";
    assert_eq!(fault(&wrong), ("invalid-argument", expected));
    let missing = relayed("subtract", Value::Null).await;
    let expected = "math.sums.subtract: there is no such method; math.sums has add, large, panic, refuse";
    assert_eq!(fault(&missing), ("not-found", expected));
    let large = relayed("large", Value::Null).await;
    assert_eq!(fault(&large).0, "failed");
    assert!(fault(&large).1.contains("18446744073709551615 is no whole number"), "{large:?}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_host_costs_its_call_and_no_other() {
    let host = Embedded::new(|builder| builder.service("sums", sums())).await;
    host.install(&relay("relay")).await;
    let before = host.runtime.instance("relay").expect("it serves").key.clone();
    for _ in 0..8 {
        let panicked = relayed(&host.runtime, "sums.panic", Value::Null).await.unwrap();
        assert_eq!(fault(&panicked).0, "failed");
        assert!(!fault(&panicked).1.contains("1234"), "what was said in it is not for modules: {panicked:?}");
    }
    let pair = Value::List(vec![Value::Int(2), Value::Int(3)]);
    let answer = relayed(&host.runtime, "sums.add", pair).await.unwrap();
    assert_eq!(answer.get("answer"), Some(&Value::Int(5)));
    assert_eq!(host.runtime.instance("relay").expect("it serves").key, before, "the module was not started again");
    host.end().await;
}

/// A service that never answers, and says when it is given up.
struct Endless(mpsc::Sender<Instant>);

struct Dropped(mpsc::Sender<Instant>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(Instant::now());
    }
}

#[replug::async_trait]
impl HostService for Endless {
    async fn call(&self, _: &str, _: Value, context: ServiceContext) -> Result<Value, HostError> {
        let _dropped = Dropped(self.0.clone());
        assert!(context.deadline > Instant::now());
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_answer_is_dropped_at_the_deadline_and_the_script_goes_on() {
    let (sender, mut dropped) = mpsc::channel(1);
    let host = Embedded::new(|builder| builder.service("endless", Endless(sender))).await;
    let script = r#"return { services = { ["relay.call"] = function(args)
        local ok, result = pcall(services.call, args.service)
        return { kind = result.kind, message = result.message }
    end } }"#;
    let limits = "capabilities: [{ id: relay }]\nruntime: { limits: { wallTime: 1s } }";
    host.install(&Module::new("relay", "1.0.0").manifest(limits).lua(script)).await;
    let began = Instant::now();
    let answer = relayed(&host.runtime, "endless.wait", Value::Null).await.unwrap();
    let expected = "services.call: endless.wait: the host application gave no answer until the deadline";
    assert_eq!(fault(&answer), ("timeout", expected));
    let given_up = dropped.recv().await.expect("it was dropped");
    let lasted = given_up.duration_since(began);
    assert!(lasted >= Duration::from_millis(800) && lasted < Duration::from_secs(5), "{lasted:?}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_admitted_modules_reach_a_service_that_the_host_narrowed() {
    let host = Embedded::new(|builder| builder.service("sums", sums().only_for(["friend"]))).await;
    host.install(&relay("relay")).await.install(&relay("friend")).await;
    let pair = Value::List(vec![Value::Int(2), Value::Int(3)]);
    let refused = relayed(&host.runtime, "sums.add", pair.clone()).await.unwrap();
    let (kind, message) = fault(&refused);
    assert_eq!(kind, "permission-denied");
    assert!(message.starts_with("permission denied: services.call: sums.add is a service of the host"), "{message}");
    assert!(message.contains("relay"), "{message}");
    let args = Value::map([("service", Value::from("sums.add")), ("args", pair)]);
    let answer: Value = host.runtime.call("friend", "call", args).await.unwrap();
    assert_eq!(answer.get("answer"), Some(&Value::Int(5)));
    host.end().await;
}

/// A service that cannot say whom it admits.
struct Undecided;

#[replug::async_trait]
impl HostService for Undecided {
    async fn call(&self, _: &str, args: Value, _: ServiceContext) -> Result<Value, HostError> {
        Ok(args)
    }

    fn admits(&self, _: &str) -> bool {
        panic!("the password is 1234")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_whom_a_service_admits_costs_the_call_too() {
    let host = Embedded::new(|builder| builder.service("gate", Undecided)).await;
    host.install(&relay("relay")).await;
    let panicked = relayed(&host.runtime, "gate.pass", Value::Null).await.unwrap();
    let (kind, message) = fault(&panicked);
    assert_eq!(kind, "failed");
    assert!(
        message.starts_with("services.call: gate.pass: the host application failed; its log says why"),
        "{message}"
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_learns_who_calls_and_why() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let watch = Methods::new().method("look", move |(): (), context: ServiceContext| {
        noted.lock().unwrap().push(context);
        async { Ok(()) }
    });
    let host = Embedded::new(|builder| builder.service("watch", watch)).await;
    let script = r#"return {
        apis = { ["GET /api/caller"] = function() services.call("watch.look") return "seen" end },
    }"#;
    host.install(&Module::new("caller", "1.2.3").api("/api/caller", "GET").lua(script)).await;
    let request = axum::extract::Request::get("/api/caller")
        .header("x-request-id", "seven")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(host.runtime.router(), request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = seen.lock().unwrap().pop().expect("it was called");
    assert_eq!((&*seen.service, &*seen.module, &*seen.version), ("watch.look", "caller", "1.2.3"));
    assert_eq!(answer.headers()["x-request-id"], *seen.request_id);
    assert!(seen.principal.is_none() && seen.deadline > Instant::now());
    host.end().await;
}

/// A service that calls `CAPABILITY.call` in turn, which looks at where it stands.
fn back(runtime: Arc<OnceLock<Weak<Runtime>>>, seen: Arc<Mutex<Vec<ServiceContext>>>) -> Methods {
    let noted = Arc::clone(&seen);
    Methods::new()
        .method("call", move |capability: String, context: ServiceContext| {
            let runtime = runtime.get().and_then(Weak::upgrade).expect("it runs");
            noted.lock().unwrap().push(context.clone());
            async move {
                let args = Value::map([("service", Value::from("back.look"))]);
                let answer = runtime.call_from::<Value>(&context, &capability, "call", args).await;
                answer.map_err(|error| HostError::new(HostErrorKind::Failed, error.to_string()))
            }
        })
        .method("look", move |(): (), context| {
            seen.lock().unwrap().push(context);
            async { Ok("looked") }
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_calls_in_turn_is_a_part_of_the_call_that_it_answers() {
    let (cell, seen) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
    let host = Embedded::new(|builder| builder.service("back", back(Arc::clone(&cell), Arc::clone(&seen)))).await;
    let script = r#"return { services = { ["lonely.call"] = function(args)
        local ok, result = pcall(services.call, args.service, args.args)
        return { kind = result.kind, message = result.message }
    end } }"#;
    let one = "capabilities: [{ id: lonely }]\nruntime: { workers: 1, limits: { wallTime: 5s } }";
    host.install(&Module::new("lonely", "1.0.0").manifest(one).lua(script)).await;
    host.install(&relay("outer")).await.install(&relay("inner")).await;
    let Embedded { runtime, root: _root } = host;
    let runtime = Arc::new(runtime);
    cell.set(Arc::downgrade(&runtime)).expect("once");
    let call = async |first: &str, then: &str| {
        let args = Value::map([("service", Value::from("back.call")), ("args", Value::from(then))]);
        runtime.call::<Value>(first, "call", args).await.expect("it answers")
    };

    let answer = call("outer", "inner").await;
    assert_eq!(answer.get("answer").and_then(|inner| inner.get("answer")), Some(&Value::from("looked")), "{answer:?}");
    let contexts = std::mem::take(&mut *seen.lock().unwrap());
    let [first, then] = &contexts[..] else { panic!("{contexts:?}") };
    assert_eq!((&*first.module, &*then.module, &first.request_id), ("outer", "inner", &then.request_id));
    assert!(then.deadline < first.deadline, "it inherits the deadline");

    let refused = call("lonely", "lonely").await;
    let expected =
        "lonely.call: lonely -> lonely call each other in a circle and no worker of the last is free; break the circle";
    assert_eq!(fault(&refused), ("failed", expected));
    runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_events_through_the_host_application_ends() {
    let (cell, seen) = (Arc::new(OnceLock::new()), Arc::default());
    let host = Embedded::new(|builder| builder.service("back", back(Arc::clone(&cell), seen))).await;
    let script = r#"return { services = { ["voice.call"] = function() events.publish("voice.again") end } }"#;
    host.install(&Module::new("voice", "1.0.0").manifest("capabilities: [{ id: voice }]").lua(script)).await;
    let script = r#"return {
        services = { ["echo.heard"] = function() return { count = kv.get("count"), refused = kv.get("refused") } end },
        events = { ["voice.again"] = function()
            kv.put("count", (kv.get("count") or 0) + 1)
            local ok, fault = pcall(services.call, "back.call", "voice")
            if not ok then kv.put("refused", fault.message) end
        end },
    }"#;
    let needs = "capabilities: [{ id: echo }]\ndependencies: [{ id: voice }]";
    host.install(&Module::new("echo", "1.0.0").manifest(needs).lua(script)).await;
    let Embedded { runtime, root: _root } = host;
    let runtime = Arc::new(runtime);
    cell.set(Arc::downgrade(&runtime)).expect("once");
    runtime.call::<Value>("voice", "call", Value::Null).await.expect("it publishes");
    let heard = loop {
        let heard = runtime.call::<Value>("echo", "heard", Value::Null).await.expect("it answers");
        if heard.get("refused").is_some_and(|refused| *refused != Value::Null) {
            break heard;
        }
        tokio::task::yield_now().await;
    };
    let refused = heard.get("refused").and_then(Value::as_str).expect("a message");
    assert!(refused.contains("voice.again: events follow from each other more than 8 deep"), "{refused}");
    assert_eq!(heard.get("count"), Some(&Value::Int(8)));
    runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_modules_require_the_host_may_offer_and_then_no_module_does() {
    let needs = |range: &str| {
        Module::new("shop", "1.0.0")
            .manifest(&format!("capabilities: [{{ id: shop, requirements: ['sums@{range}'] }}]"))
            .lua("return {}")
    };
    let host = Embedded::new(|builder| builder.service("sums", sums().in_version(2, 1, 0))).await;
    host.install(&needs("^2")).await;
    let taken = Module::new("calculator", "1.0.0").manifest("capabilities: [{ id: sums }]").lua("return {}");
    host.register(&taken).await;
    let refused = host.runtime.activate("calculator").await.unwrap_err().to_string();
    let expected = "calculator@1.0.0 cannot be activated: calculator@1.0.0 offers `sums`, which the host application offers \
                    itself";
    assert!(refused.starts_with(expected), "{refused}");
    host.end().await;

    let old = Embedded::new(|builder| builder.service("sums", sums())).await;
    old.register(&needs("^2")).await;
    let refused = old.runtime.activate("shop").await.unwrap_err().to_string();
    assert!(refused.contains("needs the capability `sums`"), "{refused}");
    old.end().await;
}

#[tokio::test]
async fn a_service_that_cannot_be_offered_stops_the_build() {
    let root = tempfile::tempdir().unwrap();
    let builder = || Runtime::builder().data_dir(root.path().join("data"));
    let refused = async |builder: replug::Builder| match builder.build().await {
        Err(Error::Offer(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(builder().service("My Sums", sums())).await.contains("`My Sums` is not named as a capability"));
    let twice = builder().service("sums", sums()).service("sums", sums());
    assert!(refused(twice).await.contains("offers `sums` twice"));
    assert!(refused(builder().service("authentication", sums())).await.contains("asks a module"));
    for name in ["", "a.b"] {
        let service = Methods::new().method(name, |(): (), _| async { Ok(()) });
        let refused = refused(builder().service("sums", service.only_for(["shop"]))).await;
        assert!(refused.contains(&format!("`sums` has a method `{name}`, which no script could call")), "{refused}");
    }
    assert!(!root.path().join("data").exists(), "nothing was begun");
    assert_eq!(sums().version(), Version::new(1, 0, 0));
}
