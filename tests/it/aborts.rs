//! A version that brings the process down is named, and after two times not started again.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use replug::Runtime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{Module, Server};

/// Says something, which [`Aborter`] hears on the thread of the script.
const SAYS: &str = r#"#{ init: |ctx| { log.info("the end"); } }"#;

/// Aborts the process where something of this target is said: by a script, or where one is compiled.
struct Aborter(String);

impl Subscriber for Aborter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == self.0
    }

    fn event(&self, _: &Event<'_>) {
        std::process::abort();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs in a process of its own: a runtime that is aborted on the thread of a module's script.
async fn end(data: &Path, at: String) {
    replug::monitor::aborts::install().expect("a handler");
    tracing::subscriber::set_global_default(Aborter(at)).expect("the only one");
    let runtime = Runtime::builder().data_dir(data).build().await.expect("a runtime");
    runtime.register(data.with_file_name("modules").join("a-1.0.0")).await.expect("it is registered");
    let _ = runtime.activate("a@1.0.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_aborted_in_a_script_names_its_version() {
    if let Ok(data) = std::env::var("REPLUG_TEST_ABORT") {
        let at = std::env::var("REPLUG_TEST_ABORT_AT").expect("the other one is set as well");
        return end(Path::new(&data), at).await;
    }
    // Rhai is compiled on a thread of its own
    for at in ["module", "compiler"] {
        let dir = tempfile::tempdir().unwrap();
        Module::new("a", "1.0.0").rhai(SAYS).write(&dir.path().join("modules"));
        let data = dir.path().join("data");
        let name = "aborts::a_process_that_is_aborted_in_a_script_names_its_version";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env("REPLUG_TEST_ABORT", &data).env("REPLUG_TEST_ABORT_AT", at);
        let output = child.output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.code().is_none(), "a signal ends it: {told}");
        assert_eq!(std::fs::read_to_string(data.join("aborts")).unwrap(), "a@1.0.0\n", "{at}: {told}");
    }
}

/// Runs in a process of its own: starts a runtime whose module is there from the first start on.
async fn start(data: &Path, is_first: bool) {
    replug::monitor::aborts::install().expect("a handler");
    if !is_first {
        tracing::subscriber::set_global_default(Aborter("module".to_owned())).expect("the only one");
    }
    let runtime = Runtime::builder().data_dir(data).build().await.expect("a runtime");
    if is_first {
        runtime.register(data.with_file_name("modules").join("a-1.0.0")).await.expect("it is registered");
        let report = runtime.activate("a@1.0.0").await.expect("it is activated");
        assert!(report.serves(), "{report:?}");
        return;
    }
    let why = runtime.why("a@1.0.0").await.expect("it is registered");
    assert!(why.reasons.iter().any(|reason| reason.text.contains("in quarantine")), "{why:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_aborts_two_starts_is_kept_out_of_the_third() {
    if let Ok(data) = std::env::var("REPLUG_TEST_START") {
        return start(Path::new(&data), std::env::var_os("REPLUG_TEST_START_FIRST").is_some()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    Module::new("a", "1.0.0").rhai(SAYS).write(&dir.path().join("modules"));
    let data = dir.path().join("data");
    let name = "aborts::a_version_that_aborts_two_starts_is_kept_out_of_the_third";
    for (number, is_aborted) in [false, true, true, false].into_iter().enumerate() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env("REPLUG_TEST_START", &data);
        if number == 0 {
            child.env("REPLUG_TEST_START_FIRST", "1");
        }
        let output = child.output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            (output.status.code().is_none(), output.status.success()),
            (is_aborted, !is_aborted),
            "{number}: {told}"
        );
    }
    assert_eq!(std::fs::read_to_string(data.join("aborts")).unwrap(), "a@1.0.0\na@1.0.0\n");
}

#[tokio::test]
async fn what_aborted_twice_is_quarantined_with_an_alarm_until_somebody_activates_it() {
    let mut server = Server::with(&[Module::echo("a", "1.0.0", "lua"), Module::echo("b", "1.0.0", "rhai")]).await;
    server.kill();
    let mut file = std::fs::File::options().append(true).open(server.data().join("aborts")).unwrap();
    file.write_all(b"a@1.0.0\nb@1.0.0\na@1.0.0\n").unwrap();
    server.start().await;
    assert_eq!((server.get("/api/a").await.status, server.get("/api/b").await.status), (404, 200));
    let why = server.ok(&["why", "a"]).await;
    assert!(why["reasons"][0]["text"].as_str().unwrap().contains("in quarantine"), "{why}");
    let alarms = server.resource("/v1/audit?limit=1000").await;
    let is_alarm =
        |row: &serde_json::Value| row["kind"] == "alarm" && row.to_string().contains("a@1.0.0 is in quarantine");
    assert!(alarms.as_array().unwrap().iter().any(is_alarm), "{alarms}");
    server.ok(&["activate", "a@1.0.0"]).await;
    server.kill();
    server.start().await;
    assert_eq!(server.get("/api/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_of_a_loaded_runtime_quarantine_nobody() {
    let mut server = Server::with(&[Module::echo("a", "1.0.0", "lua"), Module::echo("b", "1.0.0", "rhai")]).await;
    for _ in 0..10 {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|n| {
                let (request, stop) =
                    (server.request("GET", if n % 2 == 0 { "/api/a" } else { "/api/b" }), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut answered = 0_usize;
                    while !stop.load(Ordering::Relaxed) {
                        let sent = request.try_clone().expect("no body").send().await;
                        answered += usize::from(sent.is_ok_and(|answer| answer.status() == 200));
                    }
                    answered
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(server.get("/api/a").await.status, 200);
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.await.unwrap() > 0, "it was loaded");
        }
        server.start().await;
    }
    assert_eq!(std::fs::read_to_string(server.data().join("aborts")).unwrap(), "");
    assert_eq!((server.get("/api/a").await.status, server.get("/api/b").await.status), (200, 200));
}
