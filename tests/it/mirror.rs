//! Requests that are mirrored to a candidate before it has a share of them, in the process that people run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Module, Server, until};

const API: &str = "/api/probe";

/// A mirror of two seconds, and then everything.
fn mirrored(more: &str) -> String {
    format!(
        "lifecycle:\n  activation:\n    trafficShifting: {{ increment: 100, maxIncrement: 100, interval: 2s, mirror: true }}\n{more}"
    )
}

/// 2.0.0, whose handler of both methods is this.
fn candidate(language: &str, body: &str, more: &str) -> Module {
    let module = Module::new("probe", "2.0.0").api(API, "GET, POST").manifest(&mirrored(more));
    match language {
        "lua" => module.lua(&format!(
            "local function reply(req) {body} end\nreturn {{ apis = {{ [\"GET {API}\"] = reply, [\"POST {API}\"] = reply }} }}"
        )),
        _ => module.rhai(&format!(
            "fn reply(req) {{ {body} }}\n#{{ apis: #{{ \"GET {API}\": Fn(\"reply\"), \"POST {API}\": Fn(\"reply\") }} }}"
        )),
    }
}

/// Activates 2.0.0 beside 1.0.0 while clients get and post; the report, and how often each version answered. Every answer is whole.
async fn under_load(server: &Arc<Server>, module: &Module) -> (Value, [usize; 2]) {
    let stop = Arc::new(AtomicBool::new(false));
    let client = |_| {
        let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut met = [0; 2];
            while !stop.load(Ordering::Relaxed) {
                for method in ["GET", "POST"] {
                    let body = if method == "GET" { "" } else { "posted" };
                    let answer = server.send(server.request(method, API).body(body)).await;
                    let version = answer.header("x-replug-module").trim_start_matches("probe@").to_owned();
                    assert_eq!((answer.status, answer.body.as_str()), (200, format!("{version} {body}").as_str()));
                    met[usize::from(version == "2.0.0")] += 1;
                }
            }
            met
        })
    };
    let clients: Vec<_> = (0..3).map(client).collect();
    server.ok(&["register", &server.write(module)]).await;
    let report = server.run(&["activate", "probe@2.0.0"]).await.json();
    stop.store(true, Ordering::Relaxed);
    let mut met = [0; 2];
    for client in clients {
        let [older, newer] = client.await.expect("every answer is whole");
        met = [met[0] + older, met[1] + newer];
    }
    (report, met)
}

/// The value of a series of 2.0.0 with this label.
fn series(metrics: &str, name: &str, label: &str) -> f64 {
    let of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains("2.0.0") && line.contains(label);
    metrics.lines().find(of).and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

async fn a_candidate_that_fails(language: &str, body: &str) {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    let (report, [older, newer]) = under_load(&server, &candidate(language, body, "")).await;
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    let shift = &report["trafficShift"][0];
    assert_eq!((&shift["weight"], &shift["verdict"]), (&json!(0), &json!("fail")), "{report}");
    assert_eq!(report["trafficShift"].as_array().map(Vec::len), Some(1), "{report}");
    assert!(older > 0 && newer == 0, "no client met it: {older} and {newer}");
    let metrics = server.metrics().await;
    assert!(series(&metrics, "replug_mirrored_requests_total", "\"failed\"") >= 20.0, "{metrics}");
    assert!(series(&metrics, "replug_mirror_differences_total", "") >= 20.0, "{metrics}");
    assert_eq!(series(&metrics, "replug_requests_total", "\"failed\"").to_bits(), 0_f64.to_bits(), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_in_lua_that_fails_its_copies_is_taken_back_before_a_client_meets_it() {
    a_candidate_that_fails("lua", "error('broken')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_in_rhai_that_fails_its_copies_is_taken_back_before_a_client_meets_it() {
    a_candidate_that_fails("rhai", "throw \"broken\"").await;
}

/// It writes for each request, of which clients made none: what is kept afterwards would be a copy's.
async fn a_candidate_that_writes(language: &str, body: &str) {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "rhai")]).await);
    let module = candidate(language, body, "    onInconclusive: rollback\n");
    let (report, [older, newer]) = under_load(&server, &module).await;
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    let shift = &report["trafficShift"][0];
    assert_eq!((&shift["weight"], &shift["verdict"]), (&json!(0), &json!("inconclusive")), "{report}");
    assert!(shift["detail"].as_str().is_some_and(|detail| detail.contains("not comparable")), "{report}");
    assert!(older > 0 && newer == 0, "{older} and {newer}");
    let metrics = server.metrics().await;
    assert!(series(&metrics, "replug_mirrored_requests_total", "\"incomparable\"") >= 1.0, "{metrics}");
    let forecast = server.ok(&["plan", "probe@2.0.0"]).await;
    assert_eq!(forecast["mirror"], json!({ "methods": ["GET", "HEAD"], "share": 100 }), "{forecast}");
    // the audit log knows of no denial, and the store of no key
    let audit = server.ok(&["audit"]).await.to_string();
    assert!(!audit.contains("call-denied"), "{audit}");
    let kept = server.ok(&["eval", "probe", "kv.list(\"\")"]).await.to_string();
    assert!(!kept.contains("written"), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_a_candidate_in_lua_answers_write_nothing_and_do_not_count_against_it() {
    a_candidate_that_writes("lua", "kv.put('written', true) return { body = '2.0.0 ' .. req.body }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_a_candidate_in_rhai_answers_write_nothing_and_do_not_count_against_it() {
    a_candidate_that_writes("rhai", "kv.put(\"written\", true); #{ body: \"2.0.0 \" + req.body }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_its_copies_well_takes_over() {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    let body = "#{ body: \"2.0.0 \" + req.body }";
    let (report, [older, _]) = under_load(&server, &candidate("rhai", body, "")).await;
    assert_eq!(report["outcome"], "provisional", "{report}");
    let shift = &report["trafficShift"][0];
    assert_eq!((&shift["weight"], &shift["verdict"]), (&json!(0), &json!("pass")), "{report}");
    assert!(shift["detail"].as_str().is_some_and(|detail| detail.contains(" copies of requests")), "{report}");
    assert!(older > 0);
    until("it serves", async || server.get(API).await.header("x-replug-module") == "probe@2.0.0").await;
    let metrics = server.metrics().await;
    assert!(series(&metrics, "replug_mirrored_requests_total", "\"answered\"") >= 20.0, "{metrics}");
    assert_eq!(series(&metrics, "replug_mirrored_requests_total", "\"failed\"").to_bits(), 0_f64.to_bits());
}
