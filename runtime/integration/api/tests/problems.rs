//! What goes wrong, and what the client learns of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Site;

const FAULTY: (&str, &str) = (
    r#"
id: faulty
version: 2.0.0
dependencies: [{ id: other, required: false }]
capabilities: [{ id: faulty }]
apis:
  - { path: /throw, methods: [GET] }
  - { path: /problem, methods: [GET] }
  - { path: /gone, methods: [GET] }
  - { path: /spin, methods: [GET] }
  - { path: /busy, methods: [GET] }
  - { path: /bad, methods: [GET] }
  - { path: /overloaded, methods: [GET] }
  - { path: /timeout, methods: [GET] }
  - { path: /denied, methods: [GET] }
runtime: { workers: 1, limits: { queue: 1, ticks: 100000000, cpuTime: 2s, wallTime: 3s } }
"#,
    r#"
local function host(kind) return function() error({ kind = kind, message = "internal: " .. kind }) end end
return { apis = {
  ["GET /throw"] = function() error("the password is 1234") end,
  ["GET /problem"] = function() error({ status = 422, title = "name is too long", detail = "at most 64" }) end,
  ["GET /gone"] = function() error({ status = 503, title = "closed" }) end,
  ["GET /spin"] = function() while true do end end,
  ["GET /busy"] = function() local t = time.now() + 300 while time.now() < t do end return {} end,
  ["GET /bad"] = function() return { status = 42 } end,
  ["GET /overloaded"] = host("overloaded"),
  ["GET /timeout"] = host("timeout"),
  ["GET /denied"] = host("permission-denied"),
} }
"#,
);

async fn site() -> Site {
    let site = Site::empty().await;
    site.world.serve(FAULTY.0, FAULTY.1).await;
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failure_has_its_type_and_no_internals() {
    let site = site().await;
    let cases = [
        ("/throw", 500, "script-error"),
        ("/bad", 500, "script-error"),
        ("/denied", 500, "script-error"),
        ("/spin", 503, "limit-exceeded"),
        ("/overloaded", 503, "overloaded"),
        ("/timeout", 504, "timeout"),
    ];
    for (path, status, kind) in cases {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (status, kind), "{path}");
        assert_eq!(answer.module(), Some("faulty@2.0.0"), "{path}");
        assert_eq!(answer.header("retry-after").is_some(), kind == "overloaded", "{path}");
        for secret in ["1234", "main.lua", "internal"] {
            assert!(!answer.body.contains(secret), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thrown_problem_is_passed_on() {
    let site = site().await;
    let answer = site.get("/problem", &[]).await;
    assert_eq!((answer.status, answer.module(), &*answer.problem()), (422, Some("faulty@2.0.0"), "about:blank"));
    assert_eq!((&answer.json()["title"], &answer.json()["detail"]), (&"name is too long".into(), &"at most 64".into()));
    let bare = site.get("/gone", &[]).await;
    assert_eq!((bare.status, &*bare.problem(), bare.json().get("detail")), (503, "about:blank", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_turns_away_at_once_and_is_counted() {
    let site = site().await;
    let answers = futures::future::join_all((0..5).map(|_| site.get("/busy", &[]))).await;
    let mut by_status = BTreeMap::new();
    for answer in &answers {
        *by_status.entry(answer.status).or_insert(0) += 1;
        assert_eq!(answer.module(), Some("faulty@2.0.0"));
        if answer.status == 503 {
            assert_eq!((&*answer.problem(), answer.header("retry-after")), ("overloaded", Some("1")));
        }
    }
    let refused = by_status.get(&503).copied().unwrap_or(0);
    assert!(refused >= 2 && by_status.get(&200).is_some_and(|served| *served >= 1), "{by_status:?}");
    let metrics = site.world.rig.metrics.render();
    let labels =
        |outcome: &str| format!("replug_requests_total{{module=\"faulty\",outcome=\"{outcome}\",version=\"2.0.0\"}}");
    assert!(metrics.contains(&format!("{} {refused}", labels("refused"))), "{metrics}");
    assert!(metrics.contains(&format!("{} {}", labels("answered"), 5 - refused)), "{metrics}");
    assert!(metrics.contains("replug_in_flight{module=\"faulty\",version=\"2.0.0\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_is_counted_out() {
    let site = site().await;
    let gone = tokio::time::timeout(Duration::from_millis(30), site.get("/busy", &[])).await;
    assert!(gone.is_err());
    let metrics = site.world.rig.metrics.render();
    assert!(metrics.contains("replug_in_flight{module=\"faulty\",version=\"2.0.0\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_answers_are_counted_apart() {
    let site = site().await;
    for path in ["/throw", "/gone", "/problem"] {
        site.get(path, &[]).await;
    }
    let metrics = site.world.rig.metrics.render();
    for line in ["outcome=\"failed\",version=\"2.0.0\"} 2", "outcome=\"answered\",version=\"2.0.0\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_over_its_share_of_the_processor_answers_429_and_says_when_to_come_again() {
    let site = Site::empty().await;
    let manifest = r#"
id: greedy
version: 1.0.0
apis: [{ path: /work, methods: [GET] }]
runtime: { workers: 1, limits: { ticks: 1000000000, cpuTime: 10s, wallTime: 20s } }
permissions: { resources: { cpu: { maxCpuUsage: 0.0002, cpuQuotaPeriod: 60s } } }
"#;
    let script = r#"
return { apis = { ["GET /work"] = function() local x = 0 for i = 1, 3000000 do x += i % 7 end return { body = { x = x } } end } }
"#;
    let instance = site.world.serve(manifest, script).await;
    assert_eq!(site.get("/work", &[]).await.status, 200);
    let quota = &instance.manifest.permissions.resources.cpu;
    let wait = || instance.account().cpu.wait(quota, std::time::Instant::now());
    for _ in 0..1_000 {
        if wait() > Duration::from_secs(100) {
            break;
        }
        site.get("/work", &[]).await;
    }
    let answer = site.get("/work", &[]).await;
    assert_eq!((answer.status, &*answer.problem()), (429, "overloaded"));
    let retry: u64 = answer.header("retry-after").expect("when to come again").parse().expect("seconds");
    assert!(retry > 60, "{retry}");
}
