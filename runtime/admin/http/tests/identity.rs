//! Requests have ids, which the audit log has with what they did; and requests that are not let in.

use super::*;
use crate::store::audit::{Kind, Row};

/// Kind, subject and data of all entries, once those of incidents are written.
async fn told(server: &Server) -> Vec<(Kind, String, Value)> {
    server.world.fake.permissions.close().await;
    let rows = server.world.commands.audit(Some(1), 1000, Duration::ZERO).await.unwrap();
    let entries = rows.iter().filter_map(Row::entry);
    entries.map(|it| (it.kind, it.subject.clone(), serde_json::from_str(it.data.get()).unwrap())).collect()
}

#[tokio::test]
async fn an_answer_names_its_request_and_the_entry_of_what_it_did_has_that_id() {
    let server = Server::with(&[]).await;
    let archive = bundle("a", "1.0.0", "").to_tar();
    let head = format!("host: {}\r\nauthorization: Bearer {TOKEN}\r\n", server.address);
    let given = format!("{head}x-request-id: deploy/7\r\n");
    let answer = server.raw("POST", "/v1/modules", &given, &archive).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (201, Some("deploy/7")));
    let answer = server.raw("POST", "/v1/modules", &head, &bundle("b", "1.0.0", "").to_tar()).await;
    let made = answer.header("x-request-id").expect("an id").to_owned();
    let third = server.get("/v1/modules").await;
    assert_ne!(third.header("x-request-id"), Some(&*made));
    let long = format!("{head}x-request-id: {}\r\n", "x".repeat(129));
    let fourth = server.raw("GET", "/v1/modules", &long, b"").await;
    assert!(fourth.header("x-request-id").is_some_and(|id| id.starts_with("admin-")), "{}", fourth.head);
    let told = told(&server).await;
    let ids: Vec<_> = told.iter().map(|(kind, subject, data)| (*kind, subject.as_str(), &data["requestId"])).collect();
    let expected =
        [(Kind::Registered, "a@1.0.0", &json!("deploy/7")), (Kind::Registered, "b@1.0.0", &json!(made.as_str()))];
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn an_operation_names_the_request_that_began_it() {
    let server = Server::with(&[("a", "1.0.0")]).await;
    let answer = server.post("/v1/modules/a/activate", json!({})).await;
    let id = answer.header("x-request-id").expect("an id").to_owned();
    let ended = server.ended(&answer).await;
    assert_eq!((&ended["requestId"], &ended["state"]), (&json!(id), &json!("done")));
}

#[tokio::test]
async fn requests_without_the_token_are_told_once_with_what_they_asked_and_then_counted() {
    let server = Server::with(&[]).await;
    let head = format!("host: {}\r\n", server.address);
    let first = server.raw("DELETE", "/v1/modules/a", &head, b"").await;
    assert_eq!(first.problem().1, "unauthenticated");
    for _ in 0..200 {
        server.raw("GET", "/v1/modules", &head, b"").await;
    }
    let foreign = server.raw("GET", "/metrics", "host: evil.example\r\n", b"").await;
    assert_eq!(foreign.problem().1, "foreign-host");
    let told = told(&server).await;
    assert!(told.iter().all(|(kind, subject, _)| (*kind, subject.as_str()) == (Kind::AccessDenied, "runtime")));
    let of = |index: usize, key: &str| told[index].2[key].clone();
    let id = first.header("x-request-id").expect("an id");
    let expected = json!({ "reason": "unauthenticated", "method": "DELETE", "path": "/v1/modules/a", "requestId": id,
        "count": 1 });
    assert_eq!((&told[0].2, told.len()), (&expected, 3));
    assert_eq!((of(1, "reason"), of(1, "path"), of(1, "count")), (json!("foreign-host"), json!("/metrics"), json!(1)));
    assert_eq!(
        (of(2, "reason"), of(2, "path"), of(2, "count")),
        (json!("unauthenticated"), json!("/v1/modules"), json!(200))
    );
}
