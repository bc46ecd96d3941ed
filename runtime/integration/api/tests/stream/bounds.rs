//! What a stream may cost: a client that takes nothing, one that is not allowed any more, memory, and the queue.

use std::time::Duration;

use super::*;
use crate::integration::api::stream::Patience;
use crate::integration::tests::VERIFIER;

const BOUNDS: &str = r#"
return {
  apis = {
    ["GET /b/tick"] = function() return { stream = "tick", state = 0 } end,
    ["POST /b/tick"] = function() return { stream = "tick", state = 0 } end,
    ["GET /b/mine"] = function() return { stream = "mine" } end,
    ["GET /b/large"] = function() return { stream = "large" } end,
    ["GET /b/quiet"] = function() return { stream = "quiet" } end,
    ["GET /b/events"] = function() return { headers = { ["content-type"] = "text/event-stream" }, stream = "quiet" } end,
    ["GET /b/open"] = function() return { headers = { ["content-type"] = "text/event-stream" }, stream = "cut" } end,
    ["GET /b/hang"] = function() return { stream = "hang" } end,
    ["GET /b/spin"] = function() while not kv.get("stop") do end return "" end,
    ["GET /b/stop"] = function() kv.put("stop", true) return "" end,
    ["GET /b/slow"] = function() return { headers = { ["content-type"] = "Text/Event-Stream; charset=utf-8" }, stream = "slow" } end,
    ["GET /b/plain"] = function() return if kv.get("hangs") then "hangs" else "plain" end,
  },
  streams = {
    tick = function(at) return { body = at .. "\n", state = at + 1 } end,
    mine = function() return { body = "mine", after = 1 } end,
    large = function() return { body = string.rep("x", 1048576) } end,
    quiet = function(begun) return { body = if begun then nil else "a\n", state = true } end,
    cut = function(begun) return { body = if begun then nil else "data: a", state = true } end,
    slow = function() while not kv.get("stop") do end return { body = "data: a\n\n", state = true } end,
    hang = function() kv.put("hangs", true) while true do end end,
  },
}"#;

/// Calls may loop for as long as a test takes.
const LONG: &str = "runtime: { workers: 2, limits: { ticks: 100000000000, cpuTime: 60s, wallTime: 60s } }\n";

async fn bounds(site: &Site, more: &str) -> Arc<Instance> {
    let paths = ["tick", "large", "quiet", "events", "open", "hang", "plain", "spin", "stop", "slow"];
    let apis: String = paths.iter().map(|path| format!("  - {{ path: /b/{path}, methods: [GET, POST] }}\n")).collect();
    let mine = "  - { path: /b/mine, methods: [GET], permissions: [notes.view] }\n";
    let config = "config: { permissions: [notes.view] }\n";
    let manifest = format!("id: news\nversion: 1.0.0\napis:\n{}{mine}{config}{more}", apis.replace(", POST", ""));
    let manifest = manifest.replacen("/b/tick, methods: [GET]", "/b/tick, methods: [GET, POST]", 1);
    site.world.serve(&manifest, BOUNDS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_for_a_while_has_gone() {
    let site = Site::patient(Patience { stall: Duration::from_secs(1), ..Patience::default() }).await;
    let instance = bounds(&site, "").await;
    let mut stalled = open(&site, "/b/tick").await;
    assert_eq!(stalled.piece().await, "0\n");
    let unread = open(&site, "/b/tick").await;
    until(|| ended(&site, "abandoned") == 2 && instance.in_flight() == 0).await;
    assert!(stalled.end().await.is_err(), "it must not take it for whole");
    drop(unread);
    assert_eq!((instance.metrics.streams.get(), errors(&instance.metrics)), (0, (2, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_without_news_get_comments_and_other_streams_break_off() {
    let (stall, beat, silence) = (Duration::from_secs(60), Duration::from_millis(20), Duration::from_millis(60));
    let site = Site::patient(Patience { stall, beat, silence }).await;
    bounds(&site, "").await;
    let mut events = open(&site, "/b/events").await;
    for expected in ["a\n", ":\n", ":\n", ":\n", ":\n", ":\n"] {
        assert_eq!(events.piece().await, expected);
    }
    let mut quiet = open(&site, "/b/quiet").await;
    assert_eq!(quiet.piece().await, "a\n");
    assert!(quiet.end().await.is_err());
    // a comment in the middle of a line would become part of it
    let mut cut = open(&site, "/b/open").await;
    assert_eq!(cut.piece().await, "data: a");
    assert!(cut.end().await.is_err());
    assert_eq!(ended(&site, "silent"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_come_also_while_a_piece_is_being_made() {
    let site = Site::patient(Patience { beat: Duration::from_millis(20), ..Patience::default() }).await;
    bounds(&site, LONG).await;
    let mut slow = open(&site, "/b/slow").await;
    for _ in 0..3 {
        assert_eq!(slow.piece().await, ":\n");
    }
    assert_eq!(site.get("/b/stop", &[]).await.status, 200);
    let piece = async { while slow.piece().await != "data: a\n\n" {} };
    tokio::time::timeout(Duration::from_secs(20), piece).await.expect("it was not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_small_pieces_go_on_while_all_other_vms_are_busy() {
    let site = Site::empty().await;
    let instance = bounds(&site, &LONG.replace("workers: 2", "workers: 4")).await;
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let request = Request::get("/b/spin").body(Body::empty()).expect("a request");
            tokio::spawn(site.app.clone().oneshot(request))
        })
        .collect();
    until(|| instance.in_flight() == 3 && instance.pool.waiting() == 0).await;
    let mut tick = open(&site, "/b/tick").await;
    for at in 0..100 {
        assert_eq!(tick.piece().await, format!("{at}\n"));
    }
    assert_eq!(site.get("/b/stop", &[]).await.status, 200);
    for one in busy {
        assert_eq!(one.await.expect("it runs").expect("it never fails").status(), 200);
    }
    assert_eq!(ended(&site, "refused"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_not_taken_of_a_piece_counts_in_the_memory_of_the_module() {
    let site = Site::empty().await;
    let instance = bounds(&site, "").await;
    let values = || instance.account().heap.values();
    let before = values();
    let mut large = open(&site, "/b/large").await;
    for taken in 1..=16_u64 {
        assert_eq!(large.pieces.next().await.expect("there is more").expect("it goes on").len(), 64 << 10);
        assert_eq!(values() - before, (16 - taken) * (64 << 10));
    }
    assert_eq!(large.piece().await.len(), 64 << 10);
    assert!(values() > before);
    drop(large);
    until(|| values() == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_for_which_the_module_has_no_memory_left_is_no_failure_of_its_version() {
    let site = Site::empty().await;
    let more = "permissions: { resources: { memory: { maxHeapSize: 16MiB } } }\nruntime: { workers: 1, limits: { memory: 4MiB } }\n";
    let instance = bounds(&site, more).await;
    let mut readers = Vec::new();
    // each that is not turned away holds nearly a MiB
    while ended(&site, "refused") == 0 {
        let mut large = open(&site, "/b/large").await;
        assert!(readers.len() < 16, "{}", instance.account().heap.values());
        let _ = large.pieces.next().await;
        readers.push(large);
    }
    assert!(readers.len() > 2);
    assert_eq!((ended(&site, "failed"), errors(&instance.metrics).1), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_carried_out_and_found_no_place_for_its_stream_is_not_asked_to_come_again() {
    let site = Site::empty().await;
    bounds(&site, "runtime: { limits: { streams: 1 } }\n").await;
    let mut only = open(&site, "/b/tick").await;
    assert_eq!(only.piece().await, "0\n");
    for (method, retry) in [(Method::GET, Some("1")), (Method::POST, None)] {
        let refused = site.send(method, "/b/tick", &[], "").await;
        assert_eq!((refused.status, &*refused.problem(), refused.header("retry-after")), (503, "overloaded", retry));
    }
    assert_eq!(site.send(Method::HEAD, "/b/tick", &[], "").await.status, 200, "the head alone needs no place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_find_a_place_in_the_queue_however_many_streams_are_read() {
    let site = Site::empty().await;
    let instance = bounds(&site, "runtime: { workers: 1, limits: { queue: 4, streams: 64 } }\n").await;
    let mut readers = Vec::new();
    for _ in 0..32 {
        let mut tick = open(&site, "/b/tick").await;
        readers.push(tokio::spawn(async move {
            // the whole of it arrives, in order
            for at in 0..50 {
                assert_eq!(tick.piece().await, format!("{at}\n"));
            }
        }));
    }
    for _ in 0..50 {
        assert_eq!(site.get("/b/plain", &[]).await.status, 200);
    }
    for reader in readers {
        reader.await.expect("it reads");
    }
    assert_eq!((instance.metrics.refused.get(), ended(&site, "refused")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_sign_in_of_who_reads_it() {
    let site = Site::empty().await;
    site.world.serve(VERIFIER.0, VERIFIER.1).await;
    let instance = bounds(&site, "").await;
    assert_eq!(site.get("/b/mine", &[]).await.status, 401);
    let request = Request::get("/b/mine").header("authorization", "Bearer bob").body(Body::empty()).expect("a request");
    let body = site.app.clone().oneshot(request).await.expect("it never fails").into_body();
    let mut pieces = body.into_data_stream();
    for _ in 0..3 {
        assert_eq!(pieces.next().await.expect("there is more").expect("it goes on"), "mine");
    }
    // nobody stands behind the token any more
    site.world.remove("auth");
    let gone = async { while pieces.next().await.expect("it does not end").is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it breaks off");
    assert_eq!((ended(&site, "signed-out"), errors(&instance.metrics).1), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_that_hangs_is_an_error_also_where_its_client_did_not_wait() {
    let site = Site::empty().await;
    let instance = bounds(&site, "runtime: { limits: { wallTime: 100ms } }\n").await;
    let mut hang = open(&site, "/b/hang").await;
    assert!(hang.pieces.next().now_or_never().is_none());
    while site.get("/b/plain", &[]).await.body != "hangs" {}
    drop(hang);
    until(|| errors(&instance.metrics).1 == 1).await;
    assert_eq!(ended(&site, "abandoned"), 1);
}
