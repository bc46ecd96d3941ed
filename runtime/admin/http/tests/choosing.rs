//! Capabilities, over a socket.

use super::*;

#[tokio::test]
async fn capabilities_are_read_and_a_provider_is_chosen() {
    let server = Server::with(&[]).await;
    let all = server.get("/v1/capabilities").await.json();
    assert_eq!((&all[0]["id"], &all[0]["called"], &all[0]["chosen"]), (&json!("sql"), &json!("a"), &Value::Null));
    let put = async |body: &[u8]| server.ask("PUT", "/v1/capabilities/sql", body).await;
    let done = put(br#"{"provider": "b"}"#).await.json();
    assert_eq!((&done["called"], &done["consumers"][0]["range"]), (&json!("b"), &json!("^2")));
    assert_eq!(server.get("/v1/capabilities/sql").await.json()["chosen"], "b");
    assert_eq!(put(br#"{"provider": null}"#).await.json()["called"], "a");
    assert_eq!(server.world.fake.calls(), [r#"choose sql Some("b")"#, "choose sql None"]);
    assert_eq!(put(b"").await.problem(), (400, "bad-request".into()));
    assert_eq!(put(br#"{"who": "b"}"#).await.problem(), (400, "bad-request".into()));
    assert_eq!(server.get("/v1/capabilities/mail").await.problem(), (404, "not-offered".into()));
}
