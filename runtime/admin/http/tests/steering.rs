//! Orders for a traffic shift, over a socket.

use super::*;
use crate::engine::{CandidateView, State};

#[tokio::test]
async fn a_shift_is_steered_and_who_steers_nothing_is_told_so() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    for order in ["pause", "resume", "promote", "abort"] {
        let path = format!("/v1/modules/a/{order}");
        assert_eq!(server.post(&path, json!({})).await.problem(), (409, "nothing-shifts".into()), "{order}");
        let unknown = server.post(&format!("/v1/modules/b/{order}"), json!({})).await;
        assert_eq!(unknown.problem(), (404, "not-registered".into()), "{order}");
        assert_eq!(server.post(&path, json!({"now": true})).await.problem(), (400, "bad-request".into()), "{order}");
    }
    server.ended(&server.post("/v1/modules/a/activate", json!({})).await).await;
    let candidate = CandidateView { version: "1.1.0".into(), state: State::Activating, weight: 30, paused: true };
    server.world.fake.played.lock().unwrap().slots.get_mut("a").unwrap().candidate = Some(candidate);
    let done = server.ask("POST", "/v1/modules/a/pause", b"").await.json();
    assert_eq!(done, json!({"id": "a", "version": "1.1.0", "done": "paused", "weight": 30, "next": 30}));
    assert_eq!(server.post("/v1/modules/a/promote", json!({"full": true})).await.json()["next"], 100);
    assert_eq!(server.get("/v1/modules").await.json()[0]["candidate"]["paused"], true);
    let told = server.world.fake.calls();
    assert_eq!(told[told.len() - 2..], ["steer a Pause", "steer a Promote { full: true }"]);
    let stale = server.tagged("POST", "/v1/modules/a/abort", "\"old\"", b"").await;
    assert_eq!(stale.problem().0, 412);
}
