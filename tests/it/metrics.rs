//! What the runtime measures of each version, as `/metrics` tells it.

use crate::support::{Module, Server, until};

const API: &str = "/api/busy";

fn with_table(version: &str) -> Module {
    let database = "database: { migrations: [{ version: 1.0.0, file: t.sql }] }\n";
    Module::new("busy", version)
        .api(API, "GET, POST")
        .manifest(database)
        .file("t.sql", "create table t (n integer);")
        .file("t.down.sql", "drop table t;")
}

fn lua(version: &str) -> Module {
    let script = r#"return { apis = {
    ["POST /api/busy"] = function(req)
        kept = kept or string.rep("x", 2000000)
        local sum = 0
        for i = 1, 2000000 do sum = sum + i % 7 end
        return { body = string.rep("y", #req.body * 2) }
    end,
    ["GET /api/busy"] = function(req)
        if req.query.fail then error("told to") end
        db.execute("insert into t (n) values (?)", { 1 })
        return { body = db.query("select count(*) as n from t") }
    end,
} }"#;
    with_table(version).lua(script)
}

fn rhai(version: &str) -> Module {
    let script = r#"fn work(req) {
    let sum = 0;
    for i in 0..100000 { sum += i % 7; }
    #{ body: req.body + req.body }
}
fn ask(req) {
    if "fail" in req.query { throw "told to"; }
    db.execute("insert into t (n) values (?)", [1]);
    #{ body: db.query("select count(*) as n from t", []) }
}
#{ apis: #{ "POST /api/busy": Fn("work"), "GET /api/busy": Fn("ask") } }"#;
    with_table(version).rhai(script)
}

/// The value of a series of this version; nothing where there is none.
fn value(metrics: &str, name: &str, version: &str, label: &str) -> Option<f64> {
    let of_version = format!("version=\"{version}\"");
    let mut lines = metrics.lines().filter(|line| line.split('{').next() == Some(name));
    let line = lines.find(|line| line.contains(&of_version) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn measured(module: &Module, version: &str) {
    let server = Server::with(&[]).await;
    server.settle(module).await;
    for _ in 0..3 {
        assert_eq!(server.send(server.request("POST", API).body("12345")).await.body.len(), 10);
        assert_eq!(server.get(API).await.status, 200);
    }
    assert_eq!(server.get(&format!("{API}?fail=1")).await.status, 500);
    // a worker tells what it took right after its answer
    let of = |metrics: &str, name: &str, label: &str| {
        value(metrics, name, version, label).unwrap_or_else(|| panic!("{name} {label} in {metrics}"))
    };
    let told = async || of(&server.metrics().await, "replug_script_cpu_seconds_total", "") >= 0.001;
    until("the processor time is told", told).await;
    let metrics = server.metrics().await;
    let of = |name: &str, label: &str| of(&metrics, name, label);
    assert_eq!(of("replug_received_bytes_total", "").to_bits(), 15_f64.to_bits());
    assert!(of("replug_sent_bytes_total", "") >= 30.0 + 3.0 * r#"[{"n":1}]"#.len() as f64);
    assert!(of("replug_script_memory_bytes", "") > 1000.0, "{metrics}");
    assert_eq!(of("replug_database_query_seconds_count", "").to_bits(), 6_f64.to_bits());
    assert_eq!(of("replug_host_calls_total", "db.query").to_bits(), 3_f64.to_bits());
    assert_eq!(of("replug_requests_total", "\"answered\"").to_bits(), 6_f64.to_bits());
    assert_eq!(of("replug_requests_total", "\"failed\"").to_bits(), 1_f64.to_bits());
    assert_eq!(of("replug_request_seconds_count", "").to_bits(), 7_f64.to_bits());
    assert_eq!(of("replug_activations_total", "\"active\"").to_bits(), 1_f64.to_bits());
    assert!(of("replug_activation_seconds_sum", "") > 0.0);
}

#[tokio::test]
async fn what_a_lua_version_takes_and_answers_is_measured() {
    measured(&lua("1.0.0"), "1.0.0").await;
}

#[tokio::test]
async fn what_a_rhai_version_takes_and_answers_is_measured() {
    measured(&rhai("1.0.0"), "1.0.0").await;
}

#[tokio::test]
async fn an_activation_tells_what_its_analysis_saw_and_a_forgotten_version_leaves_no_series() {
    let server = Server::with(&[]).await;
    let shift = "lifecycle:\n  activation:\n    strategy: gradual\n    trafficShifting: { interval: 40ms }\n";
    server.settle(&lua("1.0.0")).await;
    let next = rhai("2.0.0").manifest(shift);
    let load = async {
        loop {
            server.get(API).await;
        }
    };
    let activated = tokio::select! {
        activated = server.install(&next) => activated,
        () = load => unreachable!("it never ends"),
    };
    assert_eq!(activated["outcome"], "provisional", "{activated}");
    let metrics = server.metrics().await;
    for name in ["replug_traffic_shift_seconds_count", "replug_activations_total"] {
        assert_eq!(value(&metrics, name, "2.0.0", ""), Some(1.0), "{name} in {metrics}");
    }
    let judged = value(&metrics, "replug_activation_error_ratio", "2.0.0", "");
    assert_eq!(judged, Some(0.0), "{metrics}");
    assert_eq!(value(&metrics, "replug_activation_success_ratio", "2.0.0", ""), Some(1.0), "{metrics}");
    server.ok(&["rollback", "busy"]).await;
    let metrics = server.metrics().await;
    assert_eq!(value(&metrics, "replug_rollback_seconds_count", "2.0.0", ""), Some(1.0), "{metrics}");
    until("it is unregistered", async || server.run(&["unregister", "busy@2.0.0"]).await.code == 0).await;
    let metrics = server.metrics().await;
    assert!(!metrics.contains("version=\"2.0.0\""), "{metrics}");
    assert!(value(&metrics, "replug_requests_total", "1.0.0", "").is_some(), "{metrics}");
}

#[tokio::test]
async fn what_is_not_to_be_monitored_is_in_no_metric_of_scripts_but_counts_all_the_same() {
    let body = "kept = kept or string.rep('x', 2000000)\nlocal sum = 0\nfor i = 1, 2000000 do sum = sum + i % 7 end\n\
                crypto.password_hash('x')\nreturn 'done'";
    let module = |(id, on): (&str, bool)| {
        let quotas = format!("memory: {{ memoryUsageMonitoring: {on} }}, cpu: {{ cpuMonitoringEnabled: {on} }}");
        Module::handler(id, "1.0.0", body).manifest(&format!("permissions: {{ resources: {{ {quotas} }} }}\n"))
    };
    let server = Server::granting(&[("seen", true), ("unseen", false)].map(module)).await;
    for id in ["seen", "unseen"] {
        assert_eq!(server.get(&format!("/api/{id}")).await.body, "done");
        // a worker tells what it took right after its answer
        let told = async || {
            let usage = server.ok(&["top", id]).await;
            let at = |name: &str| usage[name].as_f64().unwrap_or_else(|| panic!("{name} in {usage}"));
            at("calls") >= 1.0 && at("cpuMillis") >= 1.0 && at("memory") > 2e6
        };
        until("its usage is told", told).await;
    }
    let names = ["replug_script_memory_bytes", "replug_script_cpu_seconds_total"];
    let of = |metrics: &str, id: &str| names.map(|name| value(metrics, name, "1.0.0", &format!("module=\"{id}\"")));
    let is_told = |shown: &Option<f64>| shown.is_some_and(|shown| shown > 0.0);
    until("its use is shown", async || of(&server.metrics().await, "seen").iter().all(is_told)).await;
    let metrics = server.metrics().await;
    assert_eq!(of(&metrics, "unseen"), [Some(0.0); 2], "{metrics}");
}
