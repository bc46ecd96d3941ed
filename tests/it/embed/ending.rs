//! How modules end: with the runtime, and when they are taken out of service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use replug::{Builder, Methods, Runtime, Value};
use tower::ServiceExt as _;

use super::Embedded;
use crate::support::Module;

/// Keeps what it is told, also when it ends itself.
fn notes() -> Module {
    let script = r#"
return {
  services = {
    ["notes.add"] = function(note) kv.put(note, true) end,
    ["notes.has"] = function(note) return kv.get(note) == true end,
  },
  shutdown = function() kv.put("its own", true) end,
}"#;
    Module::new("notes", "1.0.0").manifest("capabilities: [{ id: notes }]").lua(script)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_says_goodbye_still_reaches_what_it_depends_on_and_that_what_it_needs_itself() {
    let host = Embedded::new(|builder| builder).await;
    host.install(&notes()).await;
    // by its id it would be the first to start and the last to stop
    let middle = r#"
return {
  services = { ["lines.add"] = function(note) return services.call("notes.add", note) end },
  shutdown = function() services.call("notes.add", "of lines") end,
}"#;
    let middle =
        Module::new("lines", "1.0.0").manifest("capabilities: [{ id: lines }]").needs("notes", "^1").lua(middle);
    let last = r#"#{ shutdown: || { services.call("lines.add", "of letters"); } }"#;
    let optional = "dependencies: [{ id: notes, version: ^1, required: false }]";
    let wish = r#"return { shutdown = function() services.call("notes.add", "of a wish") end }"#;
    host.install(&middle).await;
    host.install(&Module::new("letters", "1.0.0").needs("lines", "^1").rhai(last)).await;
    host.install(&Module::new("wish", "1.0.0").manifest(optional).lua(wish)).await;
    let root = host.end().await;

    let runtime = Runtime::builder().data_dir(root.path().join("data")).build().await.expect("it starts again");
    for note in ["its own", "of lines", "of letters", "of a wish"] {
        let has: bool = runtime.call("notes", "has", note).await.expect("it serves");
        assert!(has, "{note}");
    }
    runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_does_not_end_leaves_what_it_depends_on_time_to_end() {
    let host = Embedded::new(|builder| builder).await;
    host.install(&notes()).await;
    let limits = "runtime: { limits: { ticks: 1000000000000, cpuTime: 600s, wallTime: 600s } }";
    let endless = Module::new("endless", "1.0.0").manifest(limits).needs("notes", "^1");
    host.install(&endless.lua("return { shutdown = function() while true do end end }")).await;
    host.runtime.shutdown(Duration::from_secs(2)).await.expect("it stops");
    let data = host.root().join("data");
    drop(host.runtime);

    let runtime = Runtime::builder().data_dir(data).build().await.expect("it starts again");
    assert!(runtime.call::<bool>("notes", "has", "its own").await.expect("it serves"), "it had its time");
    runtime.shutdown(Duration::from_secs(1)).await.expect("it stops");
}

/// `GET /news` is a stream without an end; its versions say goodbye, and know who did.
fn endless(version: &str) -> Module {
    let script = r#"
return {
  apis = { ["GET /news"] = function() return { stream = "news" } end },
  streams = { news = function() return { body = "x", after = 5 } end },
  services = { ["news.has"] = function(version) return kv.get(version) == true end },
  shutdown = function() kv.put("VERSION", true) end,
}"#;
    let lifecycle =
        "lifecycle:\n  activation: { trafficShifting: { interval: 20ms } }\n  deactivation: { timeout: 1h }\n";
    Module::new("news", version)
        .api("/news", "GET")
        .manifest("capabilities: [{ id: news }]")
        .manifest(lifecycle)
        .lua(&script.replace("VERSION", version))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_drains_behind_a_stream_without_an_end_says_goodbye_too() {
    let host = Embedded::new(|builder| builder).await;
    host.install(&endless("1.0.0")).await;
    let request = http::Request::get("/news").body(Body::empty()).expect("a request");
    let mut body = host.runtime.router().oneshot(request).await.expect("it never fails").into_body();
    assert_eq!(body.frame().await.expect("there is more").expect("it goes on").into_data().expect("a piece"), "x");
    host.install(&endless("2.0.0")).await;
    host.runtime.confirm("news").await.expect("it is confirmed");
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
    let root = host.end().await;
    reader.await.expect("it reads");

    let runtime = Runtime::builder().data_dir(root.path().join("data")).build().await.expect("it starts again");
    for version in ["1.0.0", "2.0.0"] {
        assert!(runtime.call::<bool>("news", "has", version).await.expect("it serves"), "{version}");
    }
    runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
}

/// A service of the host that says how many files of this process belong to a database, and keeps what it is told.
fn watching(builder: Builder, told: &Arc<Mutex<Vec<String>>>, database: &'static str) -> Builder {
    let told = Arc::clone(told);
    let open = move || {
        let files = std::fs::read_dir("/proc/self/fd").expect("a process file system");
        let links = files.filter_map(|file| std::fs::read_link(file.expect("an entry").path()).ok());
        links.filter(|link| link.to_string_lossy().contains(database)).count()
    };
    let look = move |what: String, _| {
        let line = format!("{what}, {} open", if open() > 0 { "the database" } else { "nothing" });
        told.lock().expect("no test panics here").push(line);
        async { Ok(()) }
    };
    builder.service("watch", Methods::new().method("look", look))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_ups_run_in_the_order_of_the_manifest_and_the_report_names_what_failed() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let host = Embedded::new(|builder| watching(builder, &told, "tidied.sqlite")).await;
    let manifest = "database: {}\nruntime: { workers: 1 }\ncapabilities: [{ id: tidied, requirements: [watch] }]\n\
        lifecycle:\n  deactivation:\n    cleanup: [first, clearCache, second, breaks, closeConnections, third]\n";
    let script = r#"
local kept = ""
local function look(when) services.call("watch.look", when .. ": " .. tostring(kv.get("warm")) .. kept) end
return {
  services = { ["tidied.warm"] = function()
    kv.put("warm", "it is warm", { cache = true })
    db.query("SELECT 1")
  end },
  shutdown = function() look("shutdown") error("no goodbye") end,
  cleanup = {
    first = function() kept = ", kept in the VM" look("first") end, second = function() look("second") end, third = function() look("third") end,
    breaks = function() error("a broken broom") end,
  },
}"#;
    host.install(&Module::new("tidied", "1.0.0").manifest(manifest).lua(script)).await;
    let _: Value = host.runtime.call("tidied", "warm", Value::Null).await.expect("it serves");
    let report = host.runtime.deactivate("tidied").await.expect("it serves");
    let told = told.lock().unwrap().clone();
    let expected = [
        "shutdown: it is warm, the database open",
        "first: it is warm, kept in the VM, the database open",
        "second: nil, the database open",
        "third: nil, nothing open",
    ];
    assert_eq!(told, expected);
    let failed: Vec<_> = report.failed.iter().map(|failed| failed.name.as_str()).collect();
    assert_eq!(failed, ["shutdown", "breaks"], "{report:?}");
    assert!(report.failed[0].reason.contains("no goodbye") && report.failed[1].reason.contains("a broken broom"));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_the_host_without_an_end_keeps_no_data_directory() {
    let (called, mut is_called) = tokio::sync::mpsc::channel(1);
    let held_by_calls = Arc::new(());
    let hold = Arc::downgrade(&held_by_calls);
    let hang = move |(): (), _| {
        let (called, held) = (called.clone(), hold.upgrade());
        async move {
            let _held = held;
            called.send(()).await.expect("the test waits");
            std::future::pending::<Result<(), _>>().await
        }
    };
    let host = Embedded::new(|builder| builder.service("gate", Methods::new().method("hang", hang))).await;
    let patient = |more: &str| {
        format!("lifecycle:\n  activation: {{ timeout: 600s }}\nruntime: {{ {more}limits: {{ wallTime: 600s }} }}")
    };
    let waits = |id: &str, more| {
        Module::new(id, "1.0.0").manifest(&patient(more)).manifest(&format!("capabilities: [{{ id: {id} }}]"))
    };
    let lua = |id: &str| {
        format!(r#"return {{ services = {{ ["{id}.hang"] = function() services.call("gate.hang") end }} }}"#)
    };
    host.install(&waits("alone", "").lua(&lua("alone"))).await;
    host.install(&waits("beside", "concurrency: 4, ").lua(&lua("beside"))).await;
    let rhai = r#"#{ services: #{ "other.hang": || services.call("gate.hang") } }"#;
    host.install(&waits("other", "").rhai(rhai)).await;
    host.register(&waits("begins", "").lua(r#"return { init = function() services.call("gate.hang") end }"#)).await;
    let Embedded { runtime, root } = host;
    let runtime = Arc::new(runtime);
    let mut held = Vec::new();
    for id in ["alone", "beside", "other"] {
        let runtime = Arc::clone(&runtime);
        held.push(tokio::spawn(async move { runtime.call::<Value>(id, "hang", Value::Null).await.map(drop) }));
        is_called.recv().await.expect("it waits");
    }
    let activating = Arc::clone(&runtime);
    held.push(tokio::spawn(async move { Ok(activating.activate("begins").await?.ensure_serves()?) }));
    is_called.recv().await.expect("it begins");

    runtime.shutdown(Duration::from_millis(100)).await.expect("it stops");
    assert_eq!(Arc::strong_count(&held_by_calls), 1, "nobody waits any more");
    for held in held {
        held.await.expect("no panic").expect_err("it was cut off");
    }
    drop(Arc::into_inner(runtime).expect("nobody else has it"));
    let again = Runtime::builder().data_dir(root.path().join("data")).build().await.expect("its data is free");
    again.shutdown(Duration::from_secs(1)).await.expect("it stops");
}
