//! What was done and what happens: confirm, history, operations, audit log, events.

use super::*;
use crate::engine::{HistoryEntry, State};
use crate::monitor::{Event, InstanceKey};

/// A reader of a stream of events.
struct Reader {
    stream: TcpStream,
    text: String,
}

impl Reader {
    async fn open(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let host = server.address;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reader = Self { stream, text: String::new() };
        let head = reader.until("\r\n\r\n").await;
        assert!(head.contains("200 OK") && head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-"), "{head}");
        reader
    }

    /// Everything up to `end`, which is taken too.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            assert!(self.more().await, "the stream ended: {}", self.text);
        }
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        read > 0
    }

    /// The name, number and document of the next event.
    async fn event(&mut self) -> (String, String, Value) {
        let text = self.until("\n\n").await;
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        (field("event: ").into(), field("id: ").into(), serde_json::from_str(field("data: ")).unwrap())
    }
}

fn alarm(subject: &str) -> Event {
    Event::Alarm { subject: subject.into(), message: "look".into() }
}

#[tokio::test]
async fn a_version_is_confirmed_at_once_and_with_if_match() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let refused = server.post("/v1/modules/a/confirm", json!({})).await;
    assert_eq!(refused.problem(), (409, "nothing-serves".into()));
    server.ended(&server.post("/v1/modules/a/activate", json!({})).await).await;
    server.world.fake.played.lock().unwrap().slots.get_mut("a").unwrap().state = State::Provisional;
    let tag = server.get("/v1/modules/a").await.header("etag").unwrap().to_owned();
    let done = server.tagged("POST", "/v1/modules/a/confirm", &tag, b"").await;
    assert_eq!(
        (done.status, done.json()),
        (200, json!({"id": "a", "version": "1.0.0", "previous": null, "already": false}))
    );
    let again = server.tagged("POST", "/v1/modules/a/confirm", &tag, b"").await;
    assert_eq!(again.problem(), (412, "changed-meanwhile".into()));
    assert_eq!(server.ask("POST", "/v1/modules/a/confirm", b"").await.json()["already"], true);
}

#[tokio::test]
async fn a_history_is_sent_newest_first_up_to_its_limit() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    assert_eq!(server.get("/v1/modules/a/history").await.json(), json!([]));
    let entry = |number| HistoryEntry {
        lost: 0,
        set: Vec::new(),
        number,
        command: "activate".into(),
        version: "1.0.0".into(),
        from: None,
        strategy: "gradual".into(),
        began: 5,
        ended: None,
        outcome: None,
        confirmed: None,
        reason: None,
        steps: vec![],
        traffic_shift: vec![],
    };
    server.world.fake.played.lock().unwrap().history = vec![entry(3), entry(2), entry(1)];
    let sent = server.get("/v1/modules/a/history?limit=2").await.json();
    assert_eq!((sent.as_array().unwrap().len(), &sent[0]["number"], &sent[1]["number"]), (2, &3.into(), &2.into()));
    let gone = server.get("/v1/modules/gone/history").await.json();
    assert_eq!(gone.as_array().unwrap().len(), 3, "a module that was unregistered keeps its history");
}

#[tokio::test]
async fn operations_are_listed_newest_first_and_one_of_another_process_points_to_the_history() {
    let server = Server::with(&[("a", "1.0.0"), ("b", "1.0.0")]).await;
    for id in ["a", "b", "a"] {
        server.ended(&server.post(&format!("/v1/modules/{id}/activate"), json!({})).await).await;
    }
    let all = server.get("/v1/operations").await.json();
    let modules: Vec<_> = all.as_array().unwrap().iter().map(|view| view["module"].as_str().unwrap()).collect();
    assert_eq!(modules, ["a", "b", "a"]);
    let ids: Vec<_> = all.as_array().unwrap().iter().map(|view| view["id"].as_str().unwrap()).collect();
    assert!(ids[0].ends_with("-3") && ids[2].ends_with("-1"), "{ids:?}");
    let of_b = server.get("/v1/operations?module=b").await.json();
    assert_eq!((of_b.as_array().unwrap().len(), &of_b[0]["id"]), (1, &ids[1].into()));
    assert_eq!(server.get("/v1/operations?limit=1").await.json()[0]["id"], ids[0]);

    let before = server.get("/v1/operations/1-1").await;
    let body = before.json();
    assert!(body["message"].as_str().unwrap().contains("a runtime that has ended"), "{body}");
    assert!(body["help"].as_str().unwrap().contains("history"), "{body}");
    assert_eq!(before.problem(), (404, "not-found".into()));
}

#[tokio::test]
async fn the_audit_log_is_read_waited_for_and_verified() {
    let server = Server::with(&[("a", "1.0.0"), ("b", "1.0.0")]).await;
    let all = server.get("/v1/audit").await.json();
    let seen: Vec<_> =
        all.as_array().unwrap().iter().map(|entry| (&entry["seq"], &entry["kind"], &entry["actor"])).collect();
    assert_eq!(
        seen,
        [(&1.into(), &"registered".into(), &"admin".into()), (&2.into(), &"registered".into(), &"admin".into())]
    );
    assert_eq!(server.get("/v1/audit?limit=1").await.json()[0]["subject"], "b@1.0.0", "the newest");
    assert_eq!(server.get("/v1/audit?from=1&limit=1").await.json()[0]["subject"], "a@1.0.0");
    assert_eq!(server.get("/v1/audit?from=3&wait=1ms").await.json(), json!([]));

    let waits = server.get("/v1/audit?from=3&wait=60s");
    let registers = async { server.world.commands.register(bundle("c", "1.0.0", "")).await.unwrap() };
    let (answer, _) = tokio::join!(waits, registers);
    assert_eq!(answer.json()[0]["subject"], "c@1.0.0");

    let whole = server.get("/v1/audit/verify").await.json();
    assert_eq!((&whole["entries"], &whole["segments"], &whole["head"]["seq"]), (&3.into(), &1.into(), &3.into()));
    let file = server.world.dir.path().join("audit/00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("b@1.0.0", "x@1.0.0")).unwrap();
    let sent = server.get("/v1/audit").await.json();
    let damaged = "the line was changed: its hash is not that of its content";
    assert_eq!(sent[1], json!({"after": 1, "before": 3, "damaged": damaged}));
    assert_eq!((&sent[0]["seq"], &sent[2]["seq"], sent.as_array().unwrap().len()), (&1.into(), &3.into(), 3));
    let broken = server.ask("POST", "/v1/audit/verify", b"").await;
    let location = json!({"file": "00000000000000000001.jsonl", "line": 2, "column": 1});
    assert_eq!(broken.json()["location"], location);
    assert_eq!(broken.problem(), (500, "broken-chain".into()));
}

#[tokio::test]
async fn events_come_as_they_happen_numbered_and_of_one_module_only() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let mut all = Reader::open(&server, "/v1/events").await;
    let mut one = Reader::open(&server, "/v1/events?module=a").await;
    let instance = |id: &str| InstanceKey { id: id.into(), version: "1.0.0".into(), generation: 1 };
    for id in ["b", "a"] {
        server.world.events.emit(Event::TrafficShifted { instance: instance(id), weight: 10 });
        server.world.events.emit(alarm(&format!("{id}@1.0.0")));
        server.world.events.emit(Event::Unregistered { id: id.into(), version: "1.0.0".into() });
    }
    let (name, number, document) = all.event().await;
    assert_eq!((name.as_str(), number.as_str(), &document["instance"]["id"]), ("trafficShifted", "1", &"b".into()));
    assert_eq!(all.event().await.1, "2");
    let shifted =
        json!({"event": "trafficShifted", "instance": {"id": "a", "version": "1.0.0", "generation": 1}, "weight": 10});
    assert_eq!(one.event().await, ("trafficShifted".into(), "1".into(), shifted));
    assert_eq!(one.event().await.2["subject"], "a@1.0.0");
    assert_eq!(one.event().await.0, "unregistered");
}

#[tokio::test]
async fn a_reader_that_lags_is_told_how_much_it_missed() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let mut reader = Reader::open(&server, "/v1/events?module=a").await;
    // no task runs in between, so the stream sees none of them
    (0..5000).for_each(|_| server.world.events.emit(alarm("a")));
    let (name, _, document) = reader.event().await;
    let missed = document["count"].as_u64().unwrap();
    assert!(name == "lagged" && missed > 0, "{document}");
    for _ in missed..5000 {
        assert_eq!(reader.event().await.0, "alarm");
    }
}

#[tokio::test]
async fn streams_and_waits_end_when_the_runtime_stops() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let mut reader = Reader::open(&server, "/v1/events").await;
    let waits = server.get("/v1/audit?from=9&wait=60s");
    let stops = async { server.stop.send_replace(true) };
    let (answer, _) = tokio::join!(waits, stops);
    assert_eq!(answer.problem(), (503, "stopped".into()));
    assert_eq!(server.get("/v1/audit").await.status, 200, "what is there is still read");
    reader.until("0\r\n\r\n").await;
}
