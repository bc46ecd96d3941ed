//! Webhooks that hear of rollbacks: signed, tried again, and only where the module may talk to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Module, Server, until};

/// What a receiver was sent: the headers in lower case, and the body.
struct Message {
    headers: BTreeMap<String, String>,
    body: String,
}

/// Takes one request and answers it with `status`.
async fn receive(listener: &TcpListener, status: &str) -> Message {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.expect("a request");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers: BTreeMap<_, _> = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        if body.len() >= length {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("it can be answered");
            return Message { headers, body: body.to_owned() };
        }
    }
}

/// A version whose `init` fails, with a webhook at `port`, and with the permission to talk to it if `granted`.
fn failing(version: &str, port: u16, granted: bool) -> Module {
    let asks = format!("permissions: {{ system: {{ network: [{{ host: 127.0.0.1, ports: [{port}] }}] }} }}\n");
    let channels =
        format!("lifecycle:\n  rollback: {{ notificationChannels: [log, \"http://127.0.0.1:{port}/hook?key=x\"] }}\n");
    let script = "return { init = function() error('no ink') end, apis = { ['GET /api/a'] = function() end } }";
    let module = Module::new("a", version).api("/api/a", "GET").lua(script);
    module.manifest(&if granted { format!("{asks}{channels}") } else { channels })
}

#[tokio::test]
async fn a_webhook_is_told_of_a_rollback_signed_and_again_until_it_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    server.ok(&["register", &server.write(&failing("1.1.0", port, true))]).await;
    server.ok(&["permissions", "grant", "a"]).await;
    assert_eq!(server.run(&["activate", "a@1.1.0"]).await.code, 3, "the engine waits for nobody");
    let first = receive(&listener, "503 Service Unavailable").await;
    let second = receive(&listener, "204 No Content").await;
    assert_eq!((&first.body, &first.headers["webhook-id"]), (&second.body, &second.headers["webhook-id"]));

    let document: Value = serde_json::from_str(&second.body).unwrap();
    let data = &document["data"];
    assert_eq!(
        (&document["type"], &data["module"], &data["version"]),
        (&"module.rolled-back".into(), &"a".into(), &"1.1.0".into())
    );
    assert!(data["serving"] == "1.0.0" && data["reason"].as_str().unwrap().contains("no ink"), "{document}");
    let secret = std::fs::read_to_string(server.data().join("webhook.secret")).unwrap();
    let secret = STANDARD.decode(secret.trim().strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
    let (id, at) = (&second.headers["webhook-id"], &second.headers["webhook-timestamp"]);
    mac.update(format!("{id}.{at}.{}", second.body).as_bytes());
    assert_eq!(second.headers["webhook-signature"], format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
}

#[tokio::test]
async fn a_webhook_that_the_module_may_not_talk_to_is_not_told_and_that_is_an_alarm() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    server.ok(&["register", &server.write(&failing("1.1.0", port, false))]).await;
    assert_eq!(server.run(&["activate", "a@1.1.0"]).await.code, 3);
    let alarm = loop {
        let rows = server.resource("/v1/audit?limit=100&wait=1s").await;
        let alarm = rows.as_array().unwrap().iter().find(|row| row["kind"] == "alarm").cloned();
        if let Some(alarm) = alarm {
            break alarm["data"]["message"].as_str().unwrap().to_owned();
        }
    };
    assert!(alarm.contains("127.0.0.1") && alarm.contains("permission denied"), "{alarm}");
    assert!(!alarm.contains("key=x"), "a query may be a secret: {alarm}");
    let asked = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
    assert!(asked.is_err(), "nobody came");
}

/// A version that serves, with a webhook at `port` that it may talk to, and nobody confirms it for an hour.
fn watched(version: &str, port: u16) -> Module {
    let asks = format!("permissions: {{ system: {{ network: [{{ host: 127.0.0.1, ports: [{port}] }}] }} }}\n");
    let rollback = format!("  rollback: {{ notificationChannels: [\"http://127.0.0.1:{port}/hook\"] }}\n");
    let activation = "  activation: { confirmWindow: 1h, trafficShifting: { interval: 20ms } }\n";
    Module::echo("a", version, "lua").manifest(&format!("{asks}lifecycle:\n{activation}{rollback}"))
}

#[tokio::test]
async fn a_webhook_is_told_of_a_return_that_the_next_start_makes_and_of_one_that_somebody_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = Server::with(&[]).await;
    server.ok(&["register", &server.write(&watched("1.0.0", port))]).await;
    server.ok(&["permissions", "grant", "a"]).await;
    server.settle(&watched("1.0.0", port)).await;
    assert!(server.terminate().await.success(), "so that there is a snapshot");
    server.start().await;
    for damages in [false, true] {
        returns(&mut server, &listener, port, damages).await;
    }

    server.settle(&watched("1.1.0", port)).await;
    server.ok(&["rollback", "a"]).await;
    let document: Value = serde_json::from_str(&receive(&listener, "204 No Content").await.body).unwrap();
    let data = &document["data"];
    let expected = json!({ "module": "a", "version": "1.1.0", "generation": data["generation"], "outcome": "rolled-back",
        "reason": "an operator asked for a rollback", "serving": "1.0.0" });
    assert_eq!((&document["type"], data), (&"module.rolled-back".into(), &expected));
}

/// The runtime is killed while 1.1.0 is provisional, its store perhaps `damaged` then, and the next start tells the receiver.
async fn returns(server: &mut Server, listener: &TcpListener, port: u16, damaged: bool) {
    server.install(&watched("1.1.0", port)).await;
    assert_eq!(server.slot("a").await.unwrap()["state"], "provisional");
    server.kill();
    if damaged {
        std::fs::write(server.data().join("store/db"), b"this is no store").unwrap();
    }
    let (_, told) = tokio::join!(server.start(), receive(listener, "204 No Content"));
    let document: Value = serde_json::from_str(&told.body).unwrap();
    let data = &document["data"];
    assert_eq!((&document["type"], &data["version"]), (&"module.rolled-back".into(), &"1.1.0".into()), "{document}");
    assert_eq!(data["serving"], "1.0.0", "{document}");
    assert!(data["reason"].as_str().unwrap().contains("the runtime ended before the version was confirmed"));
    assert_eq!(server.logged().contains("is made anew"), damaged, "{}", server.logged());
}

#[tokio::test]
async fn a_rollback_is_one_line_of_the_log_where_the_manifest_says_so_and_nowhere_else() {
    let ids = [("event", "[events]", 0), ("none", "[]", 0), ("line", "[log]", 1), ("default", "", 1)];
    let server = Server::with(&ids.map(|(id, ..)| Module::echo(id, "1.0.0", "lua"))).await;
    for (id, channels, _) in ids {
        let channels = if channels.is_empty() {
            String::new()
        } else {
            format!("lifecycle:\n  rollback: {{ notificationChannels: {channels} }}\n")
        };
        let fails =
            Module::new(id, "1.1.0").manifest(&channels).lua("return { init = function() error('no ink') end }");
        server.ok(&["register", &server.write(&fails)]).await;
        assert_eq!(server.run(&["activate", &format!("{id}@1.1.0")]).await.code, 3);
    }
    let lines = |id: &str| {
        let logged = server.logged();
        let of = format!("{id}@1.1.0#");
        logged.lines().filter(|line| line.contains("a version is rolled-back") && line.contains(&of)).count()
    };
    // they are told in this order
    until("the last one is told", async || lines("default") > 0).await;
    for (id, _, expected) in ids {
        assert_eq!(lines(id), expected, "{id}: {}", server.logged());
    }
}
