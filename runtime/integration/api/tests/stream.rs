//! Answers that are made piece by piece.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, Method, Request};
use tower::ServiceExt;

use super::{NOTES, Site};
use crate::actors::router::Instance;
use crate::monitor::InstanceMetrics;

mod bounds;

/// `held` waits for `POST /news/go/N` before its piece N, and ends after the third.
const LUA: &str = r#"
return {
  apis = {
    ["GET /news/held"] = function(req)
      return { status = 202, headers = { ["content-type"] = "text/event-stream" }, stream = "held", state = 1 }
    end,
    ["POST /news/go/{n}"] = function(req) kv.put("go-" .. req.params.n, true) return "" end,
    ["GET /news/quick"] = function(_, ctx) return ctx.version end,
    ["GET /news/idle"] = function() return { stream = "idle" } end,
    ["GET /news/broken"] = function() return { stream = "broken" } end,
    ["GET /news/odd"] = function() return { stream = "odd" } end,
    ["GET /news/missing"] = function() return { stream = "nowhere" } end,
    ["GET /news/who"] = function() return { stream = "who" } end,
  },
  streams = {
    held = function(at, ctx)
      if at > 3 then return nil end
      if not kv.get("go-" .. at) then return { after = 1 } end
      return { body = at .. " " .. ctx.version .. "\n", state = at + 1 }
    end,
    idle = function(begun) return { body = if begun then nil else "first", state = true, after = 3600000 } end,
    broken = function(at)
      if at then error("the secret of the stream") end
      return { body = "a", state = 1 }
    end,
    odd = function() return { count = 1 } end,
    who = function(_, ctx) kv.put("who", { ctx.request_id, ctx.module, ctx.caller }) return nil end,
  },
}"#;

#[cfg(feature = "rhai")]
const RHAI: &str = r#"
#{
  apis: #{
    "GET /news/held": |req| #{ status: 202, headers: #{ "content-type": "text/event-stream" }, stream: "held", state: 1 },
    "POST /news/go/{n}": |req| { kv.put("go-" + req.params.n, true); "" },
    "GET /news/quick": |req, ctx| ctx.version,
    "GET /news/idle": |req| #{ stream: "idle" },
    "GET /news/broken": |req| #{ stream: "broken" },
    "GET /news/odd": |req| #{ stream: "odd" },
    "GET /news/missing": |req| #{ stream: "nowhere" },
    "GET /news/who": |req| #{ stream: "who" },
  },
  streams: #{
    held: |at, ctx| {
      if at > 3 { return; }
      if kv.get("go-" + at) == () { return #{ after: 1 }; }
      #{ body: at + " " + ctx.version + "\n", state: at + 1 }
    },
    idle: |begun| #{ body: if begun == () { "first" } else { () }, state: true, after: 3600000 },
    broken: |at| {
      if at != () { throw "the secret of the stream"; }
      #{ body: "a", state: 1 }
    },
    odd: || #{ count: 1 },
    who: |state, ctx| { kv.put("who", [ctx.request_id, ctx.module, ctx.caller]); },
  },
}"#;

#[derive(Clone, Copy, Debug)]
enum In {
    Lua,
    #[cfg(feature = "rhai")]
    Rhai,
}

#[cfg(feature = "rhai")]
const LANGUAGES: &[In] = &[In::Lua, In::Rhai];
#[cfg(not(feature = "rhai"))]
const LANGUAGES: &[In] = &[In::Lua];

async fn news(site: &Site, language: In, version: &str, more: &str) -> Arc<Instance> {
    let paths = ["held", "quick", "idle", "broken", "odd", "missing", "who"];
    let apis: String = paths.iter().map(|path| format!("  - {{ path: /news/{path}, methods: [GET] }}\n")).collect();
    let manifest = format!(
        "id: news\nversion: {version}\napis:\n{apis}  - {{ path: \"/news/go/{{n}}\", methods: [POST] }}\n\
         runtime: {{ workers: 1{more} }}\n"
    );
    match language {
        In::Lua => site.world.serve(&manifest, LUA).await,
        #[cfg(feature = "rhai")]
        In::Rhai => site.world.serve_rhai(&manifest, RHAI).await,
    }
}

/// An answer whose body is still to come.
struct Open {
    status: u16,
    headers: HeaderMap,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>,
}

impl Open {
    async fn piece(&mut self) -> String {
        let piece = self.pieces.next().await.expect("there is more").expect("it did not break off");
        String::from_utf8(piece.to_vec()).expect("text")
    }

    /// Whether it ended as it should; what it breaks off with otherwise.
    async fn end(&mut self) -> Result<(), String> {
        match self.pieces.next().await {
            None => Ok(()),
            Some(Ok(piece)) => panic!("there is more: {piece:?}"),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

async fn open(site: &Site, path: &str) -> Open {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let (parts, body) = site.app.clone().oneshot(request).await.expect("it never fails").into_parts();
    Open { status: parts.status.as_u16(), headers: parts.headers, pieces: Box::pin(body.into_data_stream()) }
}

async fn go(site: &Site, number: u32) {
    assert_eq!(site.send(Method::POST, &format!("/news/go/{number}"), &[], "").await.status, 200);
}

/// Waits for what another task does.
async fn until(what: impl Fn() -> bool) {
    let done = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), done).await.expect("in time");
}

/// How many streams ended so.
fn ended(site: &Site, outcome: &str) -> u64 {
    let line = format!("replug_streams_total{{module=\"news\",outcome=\"{outcome}\",version=\"1.0.0\"}} ");
    let text = site.world.rig.metrics.render();
    text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}

fn errors(metrics: &InstanceMetrics) -> (u64, u64) {
    let sample = metrics.stats.sample();
    (sample.requests(), sample.errors())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_arrive_one_by_one_while_the_next_is_not_made() {
    for language in LANGUAGES {
        let site = Site::empty().await;
        let instance = news(&site, *language, "1.0.0", "").await;
        let mut held = open(&site, "/news/held").await;
        assert_eq!((held.status, held.headers["x-replug-module"].as_bytes()), (202, &b"news@1.0.0"[..]));
        assert_eq!(held.headers["content-type"], "text/event-stream");
        assert!(held.headers.contains_key("x-request-id") && !held.headers.contains_key("content-length"));
        for number in 1..4 {
            assert!(held.pieces.next().now_or_never().is_none(), "{language:?}: nobody let piece {number} go");
            go(&site, number).await;
            assert_eq!(held.piece().await, format!("{number} 1.0.0\n"));
        }
        assert_eq!((held.end().await, ended(&site, "ended")), (Ok(()), 1), "{language:?}");
        // the worker lets go of the last call after its answer
        until(|| instance.in_flight() == 0).await;
        assert_eq!(instance.metrics.streams.get(), 0);
        assert_eq!(errors(&instance.metrics), (4, 0), "one head and three that let go");
        assert_eq!(instance.metrics.sent.get(), 3 * "1 1.0.0\n".len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_call_fails_breaks_off_and_counts_as_an_error() {
    for language in LANGUAGES {
        let site = Site::empty().await;
        let instance = news(&site, *language, "1.0.0", "").await;
        let mut broken = open(&site, "/news/broken").await;
        assert_eq!((broken.status, broken.piece().await.as_str()), (200, "a"));
        let error = broken.end().await.expect_err("it does not end as if all were well");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(errors(&instance.metrics), (2, 1), "{language:?}: the head was good");
        assert_eq!(ended(&site, "failed"), 1);
        until(|| instance.in_flight() == 0).await;
        assert!(open(&site, "/news/odd").await.end().await.is_err(), "{language:?}: it is no piece");
        assert_eq!(errors(&instance.metrics), (4, 2), "{language:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_script_lacks_is_a_script_error_before_the_head() {
    for language in LANGUAGES {
        let site = Site::empty().await;
        news(&site, *language, "1.0.0", "").await;
        let answer = site.get("/news/missing", &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (500, "script-error"), "{language:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_waits_holds_no_vm() {
    for language in LANGUAGES {
        let site = Site::empty().await;
        let instance = news(&site, *language, "1.0.0", "").await;
        let mut idle = Vec::new();
        for number in 1..6_i64 {
            let mut one = open(&site, "/news/idle").await;
            assert_eq!(one.piece().await, "first");
            assert_eq!(instance.metrics.streams.get(), number);
            idle.push(one);
        }
        until(|| instance.in_flight() == 5).await;
        // its one worker has nothing else to do
        assert_eq!(site.get("/news/quick", &[]).await.body, "1.0.0", "{language:?}");
        drop(idle);
        until(|| instance.in_flight() == 0 && ended(&site, "abandoned") == 5).await;
        assert_eq!((instance.metrics.streams.get(), errors(&instance.metrics).1), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_streams_are_open_than_the_manifest_says() {
    let site = Site::empty().await;
    let instance = news(&site, In::Lua, "1.0.0", ", limits: { streams: 2 }").await;
    let (first, _second) = (open(&site, "/news/idle").await, open(&site, "/news/idle").await);
    let refused = site.get("/news/idle", &[]).await;
    assert_eq!((refused.status, &*refused.problem(), refused.module()), (503, "overloaded", Some("news@1.0.0")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(instance.metrics.refused.get(), 1);
    until(|| instance.in_flight() == 2).await;
    assert_eq!(site.get("/news/quick", &[]).await.status, 200, "what does not stream is answered");
    drop(first);
    until(|| instance.in_flight() == 1).await;
    assert_eq!(open(&site, "/news/idle").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_with_its_version_while_the_next_one_serves() {
    for language in LANGUAGES {
        let site = Site::empty().await;
        let first = news(&site, *language, "1.0.0", "").await;
        let mut held = open(&site, "/news/held").await;
        go(&site, 1).await;
        assert_eq!(held.piece().await, "1 1.0.0\n");
        news(&site, *language, "2.0.0", "").await;
        let mut retired = Box::pin(site.world.rig.retire(&first));
        assert!(retired.as_mut().now_or_never().is_none(), "the stream is waited for");
        assert_eq!(site.get("/news/quick", &[]).await.body, "2.0.0");
        for number in 2..4 {
            go(&site, number).await;
            assert_eq!(held.piece().await, format!("{number} 1.0.0\n"), "{language:?}");
        }
        assert_eq!(held.end().await, Ok(()));
        retired.await;
        assert_eq!(ended(&site, "ended"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_waits_no_longer_breaks_streams_off_whoever_reads_them() {
    let site = Site::empty().await;
    let instance = news(&site, In::Lua, "1.0.0", "").await;
    let (mut waits, mut unread) = (open(&site, "/news/idle").await, open(&site, "/news/idle").await);
    assert_eq!(waits.piece().await, "first");
    instance.close();
    instance.cuts_off(std::time::Duration::ZERO, instance.in_flight());
    instance.drained().await;
    assert!(waits.end().await.is_err());
    assert_eq!(ended(&site, "cut-off"), 2);
    assert!(unread.end().await.is_err());
    assert_eq!(errors(&instance.metrics), (2, 0), "that is no fault of the script");
    site.world.rig.stop(&instance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_breaks_streams_off() {
    let site = Site::empty().await;
    let instance = news(&site, In::Lua, "1.0.0", "").await;
    let mut idle = open(&site, "/news/idle").await;
    assert_eq!(idle.piece().await, "first");
    site.world.rig.stop(&instance).await;
    assert!(idle.end().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_streams_to_who_asks_for_the_head_alone() {
    let site = Site::empty().await;
    let instance = news(&site, In::Lua, "1.0.0", "").await;
    let head = site.send(Method::HEAD, "/news/who", &[], "").await;
    assert_eq!((head.status, &*head.body, head.header("content-length")), (200, "", None));
    until(|| instance.in_flight() == 0).await;
    assert_eq!(instance.metrics.streams.get(), 0);
    assert_eq!((ended(&site, "ended"), ended(&site, "abandoned")), (0, 0), "no stream was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_holds_several_calls_streams_as_well() {
    let site = Site::empty().await;
    let instance = news(&site, In::Lua, "1.0.0", ", concurrency: 4").await;
    let mut held = open(&site, "/news/held").await;
    for number in 1..4 {
        go(&site, number).await;
        assert_eq!(held.piece().await, format!("{number} 1.0.0\n"));
    }
    assert_eq!(held.end().await, Ok(()));
    until(|| instance.in_flight() == 0).await;
    assert_eq!(errors(&instance.metrics), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_of_another_module_leaves_streams_alone() {
    let site = Site::empty().await;
    news(&site, In::Lua, "1.0.0", "").await;
    let other = site.world.serve(NOTES.0, NOTES.1).await;
    let mut held = open(&site, "/news/held").await;
    go(&site, 1).await;
    assert_eq!(held.piece().await, "1 1.0.0\n");
    let next = site.world.serve(&NOTES.0.replace("1.0.0", "2.0.0"), NOTES.1).await;
    site.world.rig.retire(&other).await;
    site.world.remove("notes");
    site.world.rig.retire(&next).await;
    go(&site, 2).await;
    go(&site, 3).await;
    assert_eq!((held.piece().await, held.piece().await), ("2 1.0.0\n".to_owned(), "3 1.0.0\n".to_owned()));
    assert_eq!(held.end().await, Ok(()));
}
