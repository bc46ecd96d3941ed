//! Requests without a pause while a module is swapped again and again: none is lost, none is counted twice, none is answered by a
//! version that did not serve, no stream lacks a line or has one of another version, and what the swaps took is given back. `REPLUG_STORM=1` makes it a thousand swaps and twenty shifts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::{Module, Server, until};

const CLIENTS: u64 = 4;

/// Bytes of the long answer.
const LONG: usize = 300_000;

/// What the long answer of a version is.
fn long(version: &str) -> String {
    format!("{version} ").repeat(LONG / (version.len() + 1))
}

/// Lines of a stream, which takes longer than a swap.
const LINES: u64 = 20;

/// A ledger that counts each client's posts, an answer that takes a while to be read, and one that takes a while to be made.
fn storm(version: &str) -> Module {
    let module = Module::new("storm", version)
        .api("/api/storm", "GET, POST")
        .api("/api/storm/long", "GET")
        .api("/api/storm/stream", "GET")
        .api("/api/storm/ledger", "GET")
        .manifest("runtime:\n  limits: { queue: 256 }\n  actors: [{ id: ledger }]\nlifecycle:\n  activation:\n    trafficShifting: { interval: 300ms }\n    onInconclusive: promote\n");
    if version == VERSIONS[1] { module.rhai(&in_rhai(version)) } else { module.lua(&in_lua(version)) }
}

fn in_lua(version: &str) -> String {
    format!(
        r#"
local long = string.rep("{version} ", {repeats})
return {{
  apis = {{
    ["GET /api/storm"] = function(req) return {{ body = "{version}" }} end,
    ["GET /api/storm/long"] = function(req) return {{ body = long }} end,
    ["GET /api/storm/stream"] = function() return {{ stream = "lines", state = 1 }} end,
    ["POST /api/storm"] = function(req)
      local client, number = req.body:match("^(%d+)%-(%d+)$")
      return {{ body = "{version} " .. actors.call("ledger", {{ client = client, number = tonumber(number) }}) }}
    end,
    ["GET /api/storm/ledger"] = function() return {{ body = actors.call("ledger", "state") }} end,
  }},
  streams = {{ lines = function(at)
    if at > {LINES} then return nil end
    return {{ body = "{version} " .. at .. "\n", state = at + 1, after = 2 }}
  end }},
  actors = {{ ledger = {{
    init = function() return {{ posts = 0, again = 0, last = {{}} }} end,
    upgrade = function(state) return state end,
    handle = function(state, message)
      if message == "state" then return {{ reply = state }} end
      if message.number <= (state.last[message.client] or 0) then state.again += 1 end
      state.last[message.client] = message.number
      state.posts += 1
      return {{ state = state, reply = tostring(message.number) }}
    end,
  }} }},
}}"#,
        repeats = LONG / (version.len() + 1)
    )
}

/// The same in the other language; the ledger goes from one to the other.
fn in_rhai(version: &str) -> String {
    format!(
        r#"
let long = "";
long.pad({length}, "{version} ");
#{{
  apis: #{{
    "GET /api/storm": |req| #{{ body: "{version}" }},
    "GET /api/storm/long": |req| #{{ body: long }},
    "GET /api/storm/stream": |req| #{{ stream: "lines", state: 1 }},
    "POST /api/storm": |req| {{
      let parts = req.body.split("-");
      let reply = actors.call("ledger", #{{ client: parts[0], number: parse_int(parts[1]) }});
      #{{ body: "{version} " + reply }}
    }},
    "GET /api/storm/ledger": |req| #{{ body: actors.call("ledger", "state") }},
  }},
  streams: #{{ lines: |at, ctx| {{
    if at > {LINES} {{ return; }}
    #{{ body: "{version} " + at + "\n", state: at + 1, after: 2 }}
  }} }},
  actors: #{{ ledger: #{{
    init: |ctx| #{{ posts: 0, again: 0, last: #{{}} }},
    handle: |state, message, ctx| {{
      if message == "state" {{ return #{{ reply: state }}; }}
      let before = state.last[message.client];
      if before != () && message.number <= before {{ state.again += 1; }}
      state.last[message.client] = message.number;
      state.posts += 1;
      #{{ state: state, reply: message.number.to_string() }}
    }},
  }} }},
}}"#,
        length = long(version).len()
    )
}

/// Which swap has begun and which has ended, by number.
#[derive(Default)]
struct Swaps {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// They serve in turn. Of three, one must not be met while the swap between two others is on its way.
const VERSIONS: [&str; 3] = ["1.0.0", "2.0.0", "3.0.0"];

/// What serves after so many swaps.
fn version(swaps: u64) -> &'static str {
    VERSIONS[usize::try_from(swaps % 3).expect("one of three")]
}

/// Asks in turn for what is short and long, streams and counts, until it is told to stop; how many posts were answered.
async fn ask(server: Arc<Server>, client: u64, swaps: Arc<Swaps>, stop: Arc<AtomicBool>) -> u64 {
    let mut posts = 0;
    for serial in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ended = swaps.ended.load(Ordering::SeqCst);
        let request = match serial % 8 {
            0 => server.request("GET", "/api/storm/long"),
            4 => server.request("GET", "/api/storm/stream"),
            n if n % 2 == 0 => server.request("GET", "/api/storm"),
            _ => server.request("POST", "/api/storm").body(format!("{client}-{serial}")),
        };
        let answer = server.send(request).await;
        let begun = swaps.begun.load(Ordering::SeqCst);
        let served = answer.header("x-replug-module").trim_start_matches("storm@").to_owned();
        assert_eq!(answer.status, 200, "{answer:?}: {}", server.logged());
        let expected = match serial % 8 {
            0 => long(&served),
            4 => (1..=LINES).map(|line| format!("{served} {line}\n")).collect(),
            n if n % 2 == 0 => served.clone(),
            _ => {
                posts += 1;
                format!("{served} {serial}")
            }
        };
        assert!(answer.body == expected, "{} bytes instead of {}", answer.body.len(), expected.len());
        let served_meanwhile: Vec<_> = (ended..=begun).map(version).collect();
        assert!(served_meanwhile.contains(&served.as_str()), "{served} served, and not {served_meanwhile:?}");
    }
    posts
}

/// Brings the next version into service, and confirms it.
async fn swap(server: &Server, swaps: &Swaps, strategy: &str) {
    let next = swaps.begun.fetch_add(1, Ordering::SeqCst) + 1;
    let begun =
        server.post("/v1/modules/storm/activate", &json!({ "version": version(next), "strategy": strategy })).await;
    let ended = server.operation(begun["id"].as_str().expect("an operation")).await;
    assert_eq!(ended["result"]["outcome"], "provisional", "{ended}");
    server.post("/v1/modules/storm/confirm", &json!({})).await;
    swaps.ended.store(next, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_requests_over_many_swaps_loses_nothing_and_leaves_nothing() {
    let (instant, gradual, looks) =
        if std::env::var_os("REPLUG_STORM").is_some() { (1000, 20, 600) } else { (24, 1, 8) };
    let server = Arc::new(Server::lean(&[storm("1.0.0")]).await);
    for version in &VERSIONS[1..] {
        server.ok(&["register", &server.write(&storm(version))]).await;
    }
    let (swaps, stop) = (Arc::new(Swaps::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(ask(Arc::clone(&server), client, Arc::clone(&swaps), Arc::clone(&stop))))
        .collect();
    // what is allocated once is there after a few of them
    for _ in 0..8 {
        swap(&server, &swaps, "instant").await;
    }
    let before = least_over(looks, &server, &swaps).await;
    for n in 0..instant {
        swap(&server, &swaps, "instant").await;
        if n % (instant / gradual) == 0 {
            swap(&server, &swaps, "gradual").await;
        }
    }
    let after = least_over(looks, &server, &swaps).await;
    stop.store(true, Ordering::Relaxed);
    let mut posts = 0;
    for client in clients {
        posts += client.await.expect("a client");
    }
    let ledger: Value = server.get("/api/storm/ledger").await.json();
    assert_eq!((&ledger["posts"], &ledger["again"]), (&json!(posts), &json!(0)), "each post is counted once");
    assert!(after < before + before / 10, "{before} KiB before, {after} KiB after");
}

/// The least that the process takes over so many swaps, in KiB, and once only what serves is left of the module. The store writes its
/// log through a buffer of 8 MiB, of which a swap fills some 20 KiB more until there is a new one: 600 swaps meet that moment.
async fn least_over(count: u64, server: &Server, swaps: &Swaps) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..count {
        swap(server, swaps, "instant").await;
        least = least.min(server.resident());
    }
    until("what was replaced has stopped", async || {
        let versions = server.states("storm").await;
        versions.iter().filter(|(_, state)| matches!(state.as_str(), "active" | "inactive")).count() == VERSIONS.len()
    })
    .await;
    least.min(server.resident())
}
