//! Streamed answers over real connections, while versions change, stop and end.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Module, Server, until};

/// `GET /api/ID/count` counts, `VERSION N` a line, until somebody posts to `/api/ID/stop`; `GET /api/ID` says the version.
fn counter(id: &str, version: &str, language: &str) -> Module {
    let module = Module::new(id, version)
        .api(&format!("/api/{id}"), "GET")
        .api(&format!("/api/{id}/count"), "GET")
        .api(&format!("/api/{id}/stop"), "POST");
    match language {
        "lua" => module.lua(&format!(
            r#"return {{
  apis = {{
    ["GET /api/{id}"] = function(_, ctx) return ctx.version end,
    ["GET /api/{id}/count"] = function() return {{ headers = {{ ["content-type"] = "text/plain" }}, stream = "count", state = 1 }} end,
    ["POST /api/{id}/stop"] = function() kv.put("stop", true) return "" end,
  }},
  streams = {{ count = function(at, ctx)
    if kv.get("stop") then return nil end
    return {{ body = ctx.version .. " " .. at .. "\n", state = at + 1, after = 5 }}
  end }},
}}"#
        )),
        _ => module.rhai(&format!(
            r#"#{{
  apis: #{{
    "GET /api/{id}": |req, ctx| ctx.version,
    "GET /api/{id}/count": |req| #{{ headers: #{{ "content-type": "text/plain" }}, stream: "count", state: 1 }},
    "POST /api/{id}/stop": |req| {{ kv.put("stop", true); "" }},
  }},
  streams: #{{ count: |at, ctx| {{
    if kv.get("stop") == true {{ return; }}
    #{{ body: ctx.version + " " + at + "\n", state: at + 1, after: 5 }}
  }} }},
}}"#
        )),
    }
}

/// A drain waits this long for streams that do not end.
const IMPATIENT: &str =
    "lifecycle:\n  activation: { trafficShifting: { interval: 20ms } }\n  deactivation: { timeout: 200ms }\n";

/// A stream as a client reads it.
struct Count {
    answer: reqwest::Response,
    version: String,
    text: String,
    /// Lines that were read.
    lines: u64,
}

impl Count {
    async fn of(server: &Server, id: &str, version: &str) -> Self {
        let answer = server.request("GET", &format!("/api/{id}/count")).send().await.expect("a head");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain");
        assert_eq!(answer.headers()["x-replug-module"], format!("{id}@{version}"));
        Self { answer, version: version.to_owned(), text: String::new(), lines: 0 }
    }

    /// Reads on to its end: whether that is one, or the stream broke off. Every line is the next one of the version that began.
    async fn end(&mut self) -> bool {
        while let Ok(chunk) = self.answer.chunk().await {
            let Some(chunk) = chunk else { return self.text.is_empty() };
            self.take(&chunk);
        }
        false
    }

    /// Reads so many lines more.
    async fn read(&mut self, lines: u64) {
        let wanted = self.lines + lines;
        while self.lines < wanted {
            let chunk = self.answer.chunk().await.expect("it goes on").expect("it does not end");
            self.take(&chunk);
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        self.text.push_str(std::str::from_utf8(chunk).expect("text"));
        while let Some((line, rest)) = self.text.split_once('\n') {
            self.lines += 1;
            assert_eq!(line, format!("{} {}", self.version, self.lines));
            self.text = rest.to_owned();
        }
    }
}

fn gauge(id: &str, version: &str, open: u64) -> String {
    format!("replug_streams{{module=\"{id}\",version=\"{version}\"}} {open}\n")
}

#[tokio::test]
async fn a_stream_ends_on_the_version_that_began_it_and_one_of_another_module_is_untouched() {
    for (old, new) in [("lua", "rhai"), ("rhai", "lua")] {
        let server = Server::with(&[counter("news", "1.0.0", old), counter("other", "1.0.0", new)]).await;
        let (mut first, mut other) =
            (Count::of(&server, "news", "1.0.0").await, Count::of(&server, "other", "1.0.0").await);
        first.read(3).await;
        other.read(3).await;
        server.settle(&counter("news", "2.0.0", new)).await;
        assert_eq!(server.get("/api/news").await.body, "2.0.0");
        let mut second = Count::of(&server, "news", "2.0.0").await;
        second.read(3).await;
        first.read(20).await;
        other.read(20).await;
        assert!(server.states("news").await.contains(&("1.0.0".to_owned(), "draining".to_owned())), "it is waited for");
        let stopped = server.send(server.request("POST", "/api/news/stop")).await;
        assert_eq!((stopped.status, stopped.header("x-replug-module")), (200, "news@2.0.0"));
        assert!(first.end().await && second.end().await, "both end whole: {}", server.logged());
        until("the old version has stopped", async || {
            server.states("news").await.contains(&("1.0.0".to_owned(), "inactive".to_owned()))
        })
        .await;
        other.read(3).await;
        assert!(server.metrics().await.contains(&gauge("other", "1.0.0", 1)));
    }
}

#[tokio::test]
async fn a_drain_breaks_a_stream_off_at_its_deadline() {
    let server = Server::with(&[counter("news", "1.0.0", "lua").manifest(IMPATIENT)]).await;
    let mut count = Count::of(&server, "news", "1.0.0").await;
    count.read(3).await;
    server.settle(&counter("news", "2.0.0", "rhai").manifest(IMPATIENT)).await;
    assert!(!count.end().await, "a reader must not take it for whole");
    let cut = "replug_streams_total{module=\"news\",outcome=\"cut-off\",version=\"1.0.0\"} 1\n";
    assert!(server.metrics().await.contains(cut));
    let mut next = Count::of(&server, "news", "2.0.0").await;
    next.read(3).await;
    let gone = tokio::spawn(async move { next.end().await });
    server.ok(&["deactivate", "news"]).await;
    assert!(!gone.await.expect("it reads"), "a deactivation waits no longer either");
    assert_eq!(server.get("/api/news").await.status, 404);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_stream() {
    let server = Server::with(&[counter("news", "1.0.0", "lua")]).await;
    let mut count = Count::of(&server, "news", "1.0.0").await;
    count.read(1).await;
    assert!(server.metrics().await.contains(&gauge("news", "1.0.0", 1)));
    drop(count);
    until("nothing is open", async || server.metrics().await.contains(&gauge("news", "1.0.0", 0))).await;
    // what nobody reads any more holds nothing up
    let begun = server.post("/v1/modules/news/deactivate", &json!({})).await;
    let ended = server.operation(begun["id"].as_str().expect("an operation")).await;
    assert_eq!(ended["result"]["cutOff"], 0, "{ended}");
}

/// The clean-up of a module with streams that do not end has the time that they were to end in no longer.
#[tokio::test]
async fn a_stop_of_the_runtime_breaks_streams_off_and_modules_say_goodbye() {
    let polite = Module::new("news", "1.0.0").api("/api/news/count", "GET").api("/api/news/bye", "GET").lua(
        r#"return {
  apis = {
    ["GET /api/news/count"] = function() return { headers = { ["content-type"] = "text/plain" }, stream = "count", state = 1 } end,
    ["GET /api/news/bye"] = function() return kv.get("bye") or "nothing" end,
  },
  streams = { count = function(at, ctx) return { body = ctx.version .. " " .. at .. "\n", state = at + 1, after = 5 } end },
  shutdown = function() kv.put("bye", "said") end,
}"#,
    );
    let mut server = Server::with(&[polite]).await;
    assert_eq!(server.get("/api/news/bye").await.body, "nothing");
    let mut count = Count::of(&server, "news", "1.0.0").await;
    count.read(1).await;
    let broken = tokio::spawn(async move { count.end().await });
    assert!(server.terminate().await.success(), "{}", server.logged());
    assert!(!broken.await.expect("it reads"));
    assert!(!server.logged().contains("was cut off"), "{}", server.logged());
    server.start().await;
    assert_eq!(server.get("/api/news/bye").await.body, "said");
}

/// A client that speaks HTTP/2 without having asked for it.
async fn http2(server: &Server) -> SendRequest<Empty<Bytes>> {
    let socket = TcpStream::connect(server.address("gateway")).await.expect("it listens");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn over_http_2_a_stream_comes_piece_by_piece_and_is_reset_where_it_breaks_off() {
    let server = Server::with(&[counter("news", "1.0.0", "lua").manifest(IMPATIENT)]).await;
    let mut client = http2(&server).await;
    let mut open = async || {
        let uri = format!("http://{}/api/news/count", server.address("gateway"));
        let request = http::Request::get(uri).body(Empty::new()).expect("a request");
        let mut body = client.send_request(request).await.expect("a head").into_body();
        let first = body.frame().await.expect("there is more").expect("it goes on").into_data().expect("a piece");
        assert_eq!(first, "1.0.0 1\n");
        body
    };
    let gone = open().await;
    assert!(server.metrics().await.contains(&gauge("news", "1.0.0", 1)));
    drop(gone);
    until("nothing is open", async || server.metrics().await.contains(&gauge("news", "1.0.0", 0))).await;
    let mut cut = open().await;
    server.settle(&counter("news", "2.0.0", "rhai").manifest(IMPATIENT)).await;
    let error = loop {
        match cut.frame().await.expect("it does not end as if it were whole") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(!error.is_incomplete_message(), "it is reset, and the connection stays: {error}");
    // the connection is as good as it was
    let uri = format!("http://{}/api/news", server.address("gateway"));
    let request = http::Request::get(uri).body(Empty::new()).expect("a request");
    assert_eq!(client.send_request(request).await.expect("a head").headers()["x-replug-module"], "news@2.0.0");
}
