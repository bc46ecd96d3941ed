//! A gradual activation under load: nothing is lost, and a version that fails is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Module, Server, patience};

/// How long each weight is judged.
const INTERVAL_MS: u64 = 1000;

fn shifting() -> String {
    format!("lifecycle:\n  activation:\n    trafficShifting: {{ interval: {INTERVAL_MS}ms }}\n")
}

/// What clients saw: answers by module version and status.
type Seen = BTreeMap<(String, u16), usize>;

/// Clients that get and post until they are told to stop; an answer whose body is not whole is a panic.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Seen>>,
}

impl Load {
    fn start(server: &Arc<Server>) -> Self {
        Self::of(server, None)
    }

    /// Clients that go away when an answer takes longer than `patience`.
    fn impatient(server: &Arc<Server>, patience: Duration) -> Self {
        Self::of(server, Some(patience))
    }

    fn of(server: &Arc<Server>, patience: Option<Duration>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |n: usize| {
            let (server, stop) = (Arc::clone(server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = Seen::new();
                for serial in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let body = if serial % 2 == 0 { String::new() } else { format!("{n}-{serial}") };
                    let method = if body.is_empty() { "GET" } else { "POST" };
                    let mut request = server.request(method, "/api/probe").body(body.clone());
                    if let Some(patience) = patience {
                        request = request.timeout(patience);
                    }
                    let answer = match request.send().await {
                        Err(error) if patience.is_some() && error.is_timeout() => continue,
                        answer => server.answer(answer).await,
                    };
                    let version = answer.header("x-replug-module").trim_start_matches("probe@").to_owned();
                    if answer.status == 200 {
                        assert_eq!(answer.body, format!("{version} {body}"));
                    }
                    *seen.entry((version, answer.status)).or_default() += 1;
                }
                seen
            })
        };
        Self { stop: Arc::clone(&stop), clients: (0..4).map(client).collect() }
    }

    async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::new();
        for client in self.clients {
            for (key, count) in client.await.expect("every answer is whole") {
                *all.entry(key).or_default() += count;
            }
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gradual_activation_under_load_loses_no_request() {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    let load = Load::start(&server);
    let report = server.install(&Module::echo("probe", "2.0.0", "rhai").manifest(&shifting())).await;
    let seen = load.end().await;
    assert_eq!(report["outcome"], "provisional", "{report}");
    let shift = report["trafficShift"].as_array().unwrap();
    let judged: Vec<_> = shift.iter().map(|weight| (&weight["weight"], &weight["verdict"])).collect();
    let pass = json!("pass");
    assert_eq!(judged, [(&json!(0), &pass), (&json!(10), &pass), (&json!(30), &pass), (&json!(70), &pass)], "{report}");
    let versions: Vec<_> = seen.keys().map(|(version, status)| (version.as_str(), *status)).collect();
    assert_eq!(versions, [("1.0.0", 200), ("2.0.0", 200)], "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_begins_to_fail_at_weight_30_is_taken_back_and_met_by_its_share_alone() {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    // it fails as soon as the module's store, which its versions share, says so
    let script = r#"
local function reply(req)
  if kv.get("broken") then error("broken") end
  return { body = "2.0.0 " .. req.body }
end
return { apis = { ["GET /api/probe"] = reply, ["POST /api/probe"] = reply,
  ["POST /api/probe/break"] = function() kv.put("broken", true) return "broken" end } }"#;
    let module = Module::new("probe", "2.0.0").api("/api/probe", "GET, POST").api("/api/probe/break", "POST");
    let dir = server.write(&module.manifest(&shifting()).lua(script));
    server.ok(&["register", &dir]).await;
    let load = Load::start(&server);
    let began = server.ok(&["activate", "probe@2.0.0", "--no-wait"]).await;
    let mut shifts = false;
    let deadline = patience();
    loop {
        assert!(Instant::now() < deadline, "{}", server.logged());
        let slots = server.resource("/v1/modules").await;
        let slot = &slots.as_array().unwrap()[0];
        if slot["candidate"]["weight"] == 30 {
            assert_eq!(slot["weight"], 70, "{slot}");
            break;
        }
        shifts |= slot["candidate"] != json!(null);
        assert!(!shifts || slot["candidate"] != json!(null), "it got past 30: {slot}");
    }
    // the path is the candidate's alone, so it reaches it whatever its share
    let answer = server.send(server.request("POST", "/api/probe/break")).await;
    assert_eq!((answer.status, answer.header("x-replug-module")), (200, "probe@2.0.0"));
    let ended = server.operation(began["id"].as_str().unwrap()).await;
    let report = &ended["result"];
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    assert!(report["reason"].as_str().unwrap().contains("errorRateExceeded"), "{report}");
    let last = report["trafficShift"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["weight"], &last["verdict"]), (&json!(30), &json!("fail")), "{report}");
    let seen = load.end().await;
    let failed: usize = seen.iter().filter(|((_, status), _)| *status != 200).map(|(_, count)| count).sum();
    let from_old = seen.iter().filter(|((version, status), _)| version == "1.0.0" && *status != 200).count();
    assert!(failed > 0 && from_old == 0, "{seen:?}");
    let all: usize = seen.values().sum();
    assert!(failed * 100 <= all * 30, "more than its share of all requests met the fault: {seen:?}");
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_answers_nobody_is_taken_back_although_its_clients_do_not_wait_for_it() {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    let load = Load::impatient(&server, Duration::from_millis(150));
    let script = r#"
local function reply()
  local n = 0
  while true do n = n + 1 end
end
return { apis = { ["GET /api/probe"] = reply, ["POST /api/probe"] = reply } }"#;
    let module = Module::new("probe", "2.0.0").api("/api/probe", "GET, POST");
    let dir = server.write(&module.manifest(&shifting()).lua(script));
    server.ok(&["register", &dir]).await;
    let begun = server.ok(&["activate", "probe@2.0.0", "--no-wait"]).await;
    let ended = server.operation(begun["id"].as_str().unwrap()).await;
    let report = &ended["result"];
    assert_eq!(report["outcome"], "rolled-back", "{report}");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("errorRateExceeded") || reason.contains("responseTimeExceeded"), "{reason}");
    let seen = load.end().await;
    assert!(seen.keys().all(|(version, status)| version == "1.0.0" && *status == 200), "{seen:?}");
    let metrics = server.metrics().await;
    let abandoned = "replug_requests_total{module=\"probe\",outcome=\"abandoned\",version=\"2.0.0\"} ";
    let abandoned = metrics.lines().find_map(|line| line.strip_prefix(abandoned)).expect("they are counted");
    assert!(abandoned.parse::<u64>().unwrap() >= 20, "{abandoned}");
}

#[tokio::test]
async fn a_shift_is_paused_and_promoted_by_hand() {
    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    let slow = "lifecycle:\n  activation:\n    trafficShifting: { initial: 10, increment: 20, interval: 1h }\n";
    server.ok(&["register", &server.write(&Module::echo("probe", "2.0.0", "rhai").manifest(slow))]).await;
    let begun = server.ok(&["activate", "probe@2.0.0", "--no-wait"]).await;
    let deadline = patience();
    while server.resource("/v1/modules").await[0]["candidate"]["weight"] != 10 {
        assert!(Instant::now() < deadline, "{}", server.logged());
    }
    assert_eq!(server.ok(&["pause", "probe"]).await["weight"], 10);
    assert_eq!(server.resource("/v1/modules").await[0]["candidate"]["paused"], true);
    assert_eq!(server.ok(&["promote", "probe"]).await["next"], 30);
    assert_eq!(server.ok(&["promote", "probe", "--full"]).await["next"], 100);
    let ended = server.operation(begun["id"].as_str().unwrap()).await;
    let report = &ended["result"];
    let judged: Vec<_> =
        report["trafficShift"].as_array().unwrap().iter().map(|it| (&it["weight"], &it["verdict"])).collect();
    assert_eq!(
        (&report["outcome"], judged.len(), judged[0]),
        (&json!("provisional"), 2, (&json!(10), &json!("promoted"))),
        "{report}"
    );
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@2.0.0");
    assert_eq!(server.run(&["abort", "probe"]).await.error().0, "nothing-shifts");
}
