//! What a runtime says of itself while it cannot do all that it is there for: at its end, and after a failed write.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::support::{Module, Server, patience, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_seen_from_outside_while_requests_are_answered() {
    let script = r#"
local function slow()
  local started = time.now()
  while time.now() < started + 3000 do end
  return "done"
end
return { apis = { ["GET /api/slow"] = slow } }"#;
    let limits = "runtime:\n  limits: { ticks: 10000000000, cpuTime: 10s, wallTime: 10s }\n";
    let module = Module::new("slow", "1.0.0").api("/api/slow", "GET").manifest(limits).lua(script);
    let mut server = Server::with(&[module]).await;
    let slow = tokio::spawn(server.request("GET", "/api/slow").send());
    let held = "replug_in_flight{module=\"slow\",version=\"1.0.0\"} 1\n";
    until("the request runs", async || server.metrics().await.contains(held)).await;
    let admin = format!("http://{}", server.address("admin"));
    let probe = |path: &str| reqwest::get(format!("{admin}{path}"));
    assert_eq!(probe("/readyz").await.unwrap().status(), 200);
    let told = Command::new("kill").arg(server.pid().to_string()).status().unwrap();
    assert!(told.success());
    let mut answers = Vec::new();
    let deadline = patience();
    while answers.last() != Some(&(503, "not ready: stopping\n".to_owned())) {
        assert!(Instant::now() < deadline, "{answers:?}");
        let answer = probe("/readyz").await.expect("the admin API answers while requests are answered");
        answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    assert_eq!(probe("/healthz").await.unwrap().status(), 200);
    assert!(!slow.is_finished(), "what was seen was seen before the end");
    assert_eq!(slow.await.unwrap().unwrap().text().await.unwrap(), "done");
    assert!(server.wait().await.success());
    assert!(probe("/healthz").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_no_writes_any_more_is_an_alarm_and_not_ready() {
    let script = r#"
return { apis = { ["POST /api/keep"] = function(req)
  kv.put("n", string.rep(tostring(kv.get("n") or 0):sub(1, 1), 30000)) return "kept" end } }"#;
    let module = Module::new("keeper", "1.0.0").api("/api/keep", "POST").lua(script);
    let mut server = Server::with(&[module, Module::echo("probe", "1.0.0", "lua")]).await;
    let writable = |metrics: &str, part: &str| {
        let series = format!("replug_writable{{part=\"{part}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    };
    assert_eq!(writable(&server.metrics().await, "store").as_deref(), Some("1"));
    // no file may grow from here on, which is what a full disk does to the store
    let limited = Command::new("prlimit").args(["--fsize=65536", "--pid", &server.pid().to_string()]).status().unwrap();
    assert!(limited.success());
    until("a write fails", async || server.send(server.request("POST", "/api/keep")).await.status != 200).await;
    until("it is not ready", async || server.probe("/readyz").await.status == 503).await;
    let ready = server.probe("/readyz").await.body;
    assert!(ready.contains("takes no writes"), "{ready}");
    assert_eq!(server.probe("/healthz").await.status, 200);
    assert_eq!(server.get("/api/probe").await.status, 200, "what does not write serves on");
    until("it says what to do", async || server.logged().contains("mend the disk and restart the runtime")).await;
    assert_eq!(writable(&server.metrics().await, "store").as_deref(), Some("0"));
    let _ = server.terminate().await;
    server.start().await;
    assert_eq!(server.send(server.request("POST", "/api/keep")).await.status, 200);
    assert_eq!(server.slot("keeper").await.unwrap()["state"], json!("active"));
}
