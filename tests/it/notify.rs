//! Webhooks that hear of rollbacks: signed, tried again, and only where the module may talk to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Module, Server};

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
