use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::admin::commands::tests::fake::{World, bundle, files};
use crate::engine::Outcome;
use crate::monitor::InstanceKey;

mod bundles;
mod choosing;
mod identity;
mod permissions;
mod records;
mod relations;
mod steering;
mod usage;

const TOKEN: &str = "0123456789abcdef";

/// The admin API on a socket.
struct Server {
    world: World,
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    metrics: Metrics,
    stop: watch::Sender<bool>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Status and kind of a problem.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let body = self.json();
        assert_eq!(body["type"], body["kind"]);
        assert_eq!((&body["detail"], &body["status"]), (&body["message"], &self.status.into()));
        (self.status, body["kind"].as_str().unwrap().to_owned())
    }
}

impl Server {
    async fn of(world: World) -> Self {
        let (ready, metrics) = (Arc::new(AtomicBool::new(false)), Metrics::default());
        let asked = Arc::clone(&ready);
        let obstacle = move || (!asked.load(Ordering::Relaxed)).then(|| "starting".to_owned());
        let admin = Admin::new(world.commands.clone(), TOKEN, obstacle, metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = admin.listening_on(address).until(stopped).into_router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { world, address, ready, metrics, stop }
    }

    async fn with(modules: &[(&str, &str)]) -> Self {
        Self::of(World::with(modules).await).await
    }

    /// Sends a request without adding anything to its head but lengths.
    async fn raw(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        // A server that refuses a body may close before it is sent.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    async fn tagged(&self, method: &str, path: &str, tag: &str, body: &[u8]) -> Answer {
        let host = self.address;
        let tag = if tag.is_empty() { String::new() } else { format!("if-match: {tag}\r\n") };
        self.raw(method, path, &format!("host: {host}\r\nauthorization: Bearer {TOKEN}\r\n{tag}"), body).await
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.tagged(method, path, "", body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, b"").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, body.to_string().as_bytes()).await
    }

    /// The operation that `answer` began, once it has ended.
    async fn ended(&self, answer: &Answer) -> Value {
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
        let location = answer.header("location").unwrap();
        assert_eq!(location, format!("/v1/operations/{}", answer.json()["id"].as_str().unwrap()));
        self.get(&format!("{location}?wait=30s")).await.json()
    }
}

#[tokio::test]
async fn a_module_is_registered_shown_found_and_unregistered() {
    let server = Server::with(&[]).await;
    let offers = "capabilities: [{ id: greeting, category: talk }]\n";
    let archive = bundle("greeter", "1.0.0", offers).to_tar();
    let done = server.ask("POST", "/v1/modules", &archive).await;
    let body = done.json();
    assert_eq!((done.status, done.header("location")), (201, Some("/v1/modules/greeter/versions/1.0.0")));
    assert_eq!((&body["id"], &body["fresh"], &body["warnings"]), (&"greeter".into(), &true.into(), &json!([])));
    let again = server.ask("POST", "/v1/modules", &archive).await;
    assert_eq!((again.status, &again.json()["fresh"]), (200, &false.into()));

    let versions = server.get("/v1/modules/greeter/versions").await.json();
    let expected = json!([{"version": "1.0.0", "state": "registered", "registeredAt": 1000, "digest": body["digest"], "reason": null}]);
    assert_eq!(versions, expected);
    for path in ["/v1/modules/greeter", "/v1/modules/greeter/versions/1.0.0"] {
        let shown = server.get(path).await;
        assert_eq!(shown.json()["manifest"]["runtime"]["workers"], 2);
        assert!(shown.header("etag").unwrap().starts_with('"') && shown.header("cache-control") == Some("no-store"));
    }
    for query in ["capability=greeting", "category=talk"] {
        let found = server.get(&format!("/v1/find?{query}")).await.json();
        assert_eq!(found[0]["capabilities"], json!([{"id": "greeting", "version": "1.0.0", "category": "talk"}]));
    }
    let all = server.get("/v1/versions").await.json();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["state"]), (1, &"registered".into()));
    assert_eq!(all[0]["capabilities"], json!([{"id": "greeting", "version": "1.0.0", "category": "talk"}]));
    assert_eq!(server.get("/v1/modules").await.json(), json!([]), "nothing has a slot");
    let gone = server.ask("DELETE", "/v1/modules/greeter/versions/1.0.0", b"").await;
    assert_eq!((gone.status, gone.json()), (200, json!({"id": "greeter", "versions": ["1.0.0"]})));
    assert_eq!(server.get("/v1/modules/greeter").await.problem(), (404, "not-registered".into()));
}

#[tokio::test]
async fn activating_deactivating_and_rolling_back_are_operations_with_the_report_as_result() {
    let server = Server::with(&[("a", "1.0.0"), ("a", "1.1.0")]).await;
    let done = server.ended(&server.post("/v1/modules/a/activate", json!({"version": "1.0.0"})).await).await;
    assert_eq!((&done["state"], &done["verb"], &done["module"]), (&"done".into(), &"activate".into(), &"a".into()));
    assert_eq!(done["result"]["outcome"], "active");
    let slots = server.get("/v1/modules").await.json();
    assert_eq!(
        (&slots[0]["id"], &slots[0]["version"], &slots[0]["candidate"]),
        (&"a".into(), &"1.0.0".into(), &Value::Null)
    );

    let newest = server.ask("POST", "/v1/modules/a/activate", b"").await;
    assert_eq!(server.ended(&newest).await["result"]["version"], "1.1.0");
    let back = server.ask("POST", "/v1/modules/a/rollback", b"").await;
    assert_eq!(server.ended(&back).await["result"]["version"], "1.0.0");
    let down = server.ask("POST", "/v1/modules/a/deactivate", b"").await;
    assert_eq!(server.ended(&down).await["result"]["cutOff"], 0);
    let down = server.ended(&server.ask("POST", "/v1/modules/a/deactivate", b"").await).await;
    assert_eq!((&down["state"], &down["error"]["kind"]), (&"failed".into(), &"nothing-serves".into()));
}

#[tokio::test]
async fn an_activation_that_was_taken_back_is_done_and_its_report_says_so() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    server.world.fake.played.lock().unwrap().outcome = Some(Outcome::RolledBack);
    let done = server.ended(&server.post("/v1/modules/a/activate", json!({"strategy": "gradual"})).await).await;
    assert_eq!((&done["state"], &done["result"]["outcome"]), (&"done".into(), &"rolled-back".into()));
    assert_eq!(server.world.fake.calls(), ["activate a@1.0.0 Some(Gradual)"]);
}

#[tokio::test]
async fn update_answers_faults_at_once_and_activates_as_an_operation() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let idle = server.ended(&server.ask("POST", "/v1/update", &bundle("a", "1.1.0", "").to_tar()).await).await;
    assert!(idle["result"]["activation"].is_null() && idle["result"]["version"] == "1.1.0", "{idle}");
    server.ended(&server.post("/v1/modules/a/activate", json!({})).await).await;
    let done = server.ask("POST", "/v1/update?strategy=instant", &bundle("a", "1.2.0", "").to_tar()).await;
    assert_eq!(server.ended(&done).await["result"]["activation"]["version"], "1.2.0");
    let other = server.ask("POST", "/v1/update", &bundle("a", "1.2.0", "author: x\n").to_tar()).await;
    assert_eq!(other.problem(), (409, "content-differs".into()));
}

#[tokio::test]
async fn an_operation_outlives_the_client_that_began_it() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let held = Arc::clone(&server.world.fake.gate).acquire_many_owned(1000).await.unwrap();
    // The connection is closed when the answer is there, and nobody waits.
    let begun = server.post("/v1/modules/a/activate", json!({})).await;
    let path = format!("/v1/operations/{}", begun.json()["id"].as_str().unwrap());
    assert_eq!(server.get(&format!("{path}?wait=1ms")).await.json()["state"], "running");
    drop(held);
    assert_eq!(server.get(&format!("{path}?wait=30s")).await.json()["state"], "done");
    assert_eq!(server.get("/v1/modules").await.json()[0]["version"], "1.0.0");
}

#[tokio::test]
async fn without_the_token_only_the_probes_answer() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let host = format!("host: {}\r\n", server.address);
    for head in
        [host.clone(), format!("{host}authorization: Bearer {TOKEN}0\r\n"), format!("{host}authorization: Basic x\r\n")]
    {
        for (method, path) in
            [("GET", "/v1/modules"), ("POST", "/v1/modules"), ("DELETE", "/v1/modules/a"), ("GET", "/nothing")]
        {
            let refused = server.raw(method, path, &head, b"").await;
            assert_eq!(refused.problem(), (401, "unauthenticated".into()), "{method} {path}");
            assert!(refused.header("www-authenticate").is_some());
        }
    }
    assert_eq!(server.world.commands.versions("a").unwrap().len(), 1);
    assert_eq!(server.raw("GET", "/healthz", &host, b"").await.status, 200);
    let starting = server.raw("GET", "/readyz", &host, b"").await;
    assert_eq!((starting.status, &*starting.body), (503, &b"not ready: starting\n"[..]));
    server.ready.store(true, Ordering::Relaxed);
    assert_eq!(server.raw("GET", "/readyz", &host, b"").await.status, 200);
    let key = InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 };
    server.metrics.activation(&key).ended("active", Duration::from_millis(3));
    let metrics = server.raw("GET", "/metrics", &host, b"").await;
    assert!(
        String::from_utf8(metrics.body)
            .unwrap()
            .contains("replug_activations_total{module=\"shop\",outcome=\"active\",version=\"1.0.0\"} 1")
    );
}

#[tokio::test]
async fn a_name_that_somebody_made_point_here_is_refused_even_at_the_probes() {
    let server = Server::with(&[]).await;
    let foreign = server.raw("GET", "/metrics", "host: evil.example\r\n", b"").await;
    assert_eq!(foreign.problem(), (403, "foreign-host".into()));
    assert_eq!(server.raw("GET", "/metrics", "host: localhost:1\r\n", b"").await.status, 200);
}

#[tokio::test]
async fn of_two_writes_decided_on_one_reading_the_second_is_refused() {
    let server = Server::with(&[("a", "1.0.0"), ("b", "1.0.0")]).await;
    let tag = server.get("/v1/modules/a").await.header("etag").unwrap().to_owned();
    // The first write has begun and changed nothing yet.
    let held = Arc::clone(&server.world.fake.gate).acquire_many_owned(1000).await.unwrap();
    let first = server.tagged("POST", "/v1/modules/a/activate", &tag, b"").await;
    let second = server.tagged("DELETE", "/v1/modules/a", &tag, b"").await;
    assert_eq!((first.status, second.problem()), (202, (412, "changed-meanwhile".into())));
    drop(held);
    server.ended(&first).await;
    let versions = server.get("/v1/modules/a/versions").await;
    assert_ne!(versions.header("etag"), Some(tag.as_str()));
    let fresh = versions.header("etag").unwrap();
    assert_eq!(server.tagged("POST", "/v1/modules/a/deactivate", &format!("\"x\", {fresh}"), b"").await.status, 202);
    assert_eq!(server.tagged("DELETE", "/v1/modules/b", "*", b"").await.status, 200);
}

#[tokio::test]
async fn an_upload_can_be_decided_on_a_reading_too() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let tag = server.get("/v1/modules/a").await.header("etag").unwrap().to_owned();
    let (one, two) = (bundle("a", "1.1.0", "").to_tar(), bundle("a", "1.2.0", "").to_tar());
    let first = server.tagged("POST", "/v1/update", &tag, &one).await;
    assert_eq!(server.ended(&first).await["result"]["version"], "1.1.0");
    for path in ["/v1/update", "/v1/modules"] {
        let second = server.tagged("POST", path, &tag, &two).await;
        assert_eq!(second.problem(), (412, "changed-meanwhile".into()));
    }
    assert_eq!(server.world.commands.versions("a").unwrap().len(), 2, "a refused upload is not kept");
}

#[tokio::test]
async fn of_many_writes_at_once_with_one_tag_exactly_one_is_taken() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let tag = server.get("/v1/modules/a").await.header("etag").unwrap().to_owned();
    let taken = Mutex::new(0);
    futures::future::join_all((0..20).map(|_| async {
        let answer = server.tagged("POST", "/v1/modules/a/activate", &tag, b"").await;
        *taken.lock().unwrap() += u32::from(answer.status == 202);
    }))
    .await;
    assert_eq!(taken.into_inner().unwrap(), 1);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_problem() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        ("GET", "/v1/nothing", "", 404, "not-found"),
        ("PUT", "/v1/modules", "", 405, "method-not-allowed"),
        ("GET", "/v1/modules/A", "", 400, "reference"),
        ("GET", "/v1/modules/a@1.0.0", "", 400, "reference"),
        ("GET", "/v1/modules/..%2f..%2fetc", "", 400, "reference"),
        ("GET", "/v1/modules/%ff", "", 400, "bad-request"),
        ("GET", "/v1/modules/a/versions/1", "", 400, "reference"),
        ("GET", "/v1/modules/b", "", 404, "not-registered"),
        ("POST", "/v1/modules/a/activate", "{", 400, "bad-request"),
        ("POST", "/v1/modules/a/activate", r#"{"verzion": "1.0.0"}"#, 400, "bad-request"),
        ("POST", "/v1/modules/a/activate", r#"{"strategy": "fast"}"#, 400, "bad-request"),
        ("POST", "/v1/modules/a/activate", r#"{"version": "2.0.0"}"#, 404, "not-registered"),
        ("POST", "/v1/modules/a/activate", r#"{"set": ["b"]}"#, 404, "not-registered"),
        ("POST", "/v1/modules/a/activate", r#"{"set": ["b@x"]}"#, 400, "reference"),
        ("POST", "/v1/modules/a/rollback", r#"{"to": "x"}"#, 400, "reference"),
        ("POST", "/v1/modules/b/deactivate", "", 404, "not-registered"),
        ("GET", "/v1/operations/1-1", "", 404, "not-found"),
        ("GET", "/v1/operations/1-1?wait=long", "", 400, "bad-request"),
        ("POST", "/v1/modules/b/confirm", "", 404, "not-registered"),
        ("POST", "/v1/modules/a/confirm", r#"{"to": "x"}"#, 400, "bad-request"),
        ("GET", "/v1/modules/b/history", "", 404, "not-registered"),
        ("GET", "/v1/modules/a/history?limit=few", "", 400, "bad-request"),
        ("GET", "/v1/events?module=b", "", 404, "not-registered"),
        ("GET", "/v1/audit?from=new", "", 400, "bad-request"),
        ("GET", "/v1/find", "", 400, "bad-request"),
        ("GET", "/v1/find?capability=a&category=b", "", 400, "bad-request"),
    ];
    for (method, path, body, status, kind) in cases {
        let answer = server.ask(method, path, body.as_bytes()).await;
        assert_eq!(answer.problem(), (*status, (*kind).to_owned()), "{method} {path} {body}");
        assert!(answer.json()["help"].is_string(), "{method} {path} {body}");
    }
    assert!(server.world.fake.calls().is_empty());
}
