//! Permissions as a resource.

use super::*;

const ASKS: &str = "permissions:\n  system:\n    network: [{ host: \"*.x.org\" }]\n    environment: [HOME]\n";

async fn server() -> Server {
    let server = Server::with(&[]).await;
    server.ask("POST", "/v1/modules", &bundle("m", "1.0.0", ASKS).to_tar()).await;
    server
}

#[tokio::test]
async fn what_a_version_asks_for_is_read_with_a_tag_and_decided_once_with_it() {
    let server = server().await;
    let shown = server.get("/v1/modules/m/permissions").await;
    let body = shown.json();
    let row = |permission, line| {
        json!({ "permission": permission, "state": "waiting", "effective": [], "file": "module.manifest.yaml",
            "line": line, "by": null, "at": null })
    };
    let rows = [row("system.network:*.x.org:443", 6), row("system.environment:HOME", 7)];
    assert_eq!(body, json!({ "id": "m", "version": "1.0.0", "revision": 0, "permissions": rows }));
    let tag = shown.header("etag").unwrap().to_owned();
    let narrow = json!({ "decision": "narrow", "permissions": ["system.network:a.x.org:443"] }).to_string();
    let done = server.tagged("POST", "/v1/modules/m/permissions", &tag, narrow.as_bytes()).await;
    let decided = json!([{ "permission": "system.network:*.x.org:443", "state": "narrowed", "to": ["system.network:a.x.org:443"] }]);
    let expected = json!({ "id": "m", "version": "1.0.0", "revision": 1, "decided": decided, "waiting": ["system.environment:HOME"] });
    assert_eq!((done.status, done.json()), (200, expected));
    let raced = server.tagged("POST", "/v1/modules/m/permissions", &tag, br#"{"decision": "grant"}"#).await;
    assert_eq!(raced.problem(), (412, "changed-meanwhile".into()));
    // a decision to activate was made on other permissions
    let stale = server.tagged("POST", "/v1/modules/m/activate", &tag, b"").await;
    assert_eq!(stale.problem(), (412, "changed-meanwhile".into()));
    let granted = server.post("/v1/modules/m/permissions", json!({ "decision": "grant", "version": "1.0.0" })).await;
    assert_eq!((granted.status, &granted.json()["waiting"]), (200, &json!([])));
    let shown = server.get("/v1/modules/m/permissions?version=1.0.0").await.json();
    assert_eq!(shown["permissions"][0]["effective"], json!(["system.network:a.x.org:443"]));
    assert_eq!(
        (&shown["permissions"][1]["state"], &shown["permissions"][1]["by"]),
        (&json!("granted"), &json!("admin"))
    );
    let all = server.get("/v1/versions").await.json();
    assert_eq!(all[0]["asks"], json!(["system.network:*.x.org:443", "system.environment:HOME"]));
}

#[tokio::test]
async fn a_decision_that_cannot_be_made_is_a_problem_and_decides_nothing() {
    let server = server().await;
    let cases = [
        (json!({}), 400, "bad-request"),
        (json!({ "decision": "allow" }), 400, "bad-request"),
        (json!({ "decision": "deny" }), 400, "bad-request"),
        (json!({ "decision": "grant", "permissions": ["all"] }), 400, "bad-request"),
        (json!({ "decision": "grant", "permissions": ["system.environment:USER"] }), 409, "not-asked"),
        (json!({ "decision": "narrow", "permissions": ["system.environment:HOME"] }), 409, "not-asked"),
        (json!({ "decision": "grant", "version": "2.0.0" }), 404, "not-registered"),
        (json!({ "decision": "grant", "everything": true }), 400, "bad-request"),
    ];
    for (body, status, kind) in cases {
        let answer = server.post("/v1/modules/m/permissions", body.clone()).await;
        assert_eq!(answer.problem(), (status, kind.to_owned()), "{body}");
    }
    assert_eq!(server.get("/v1/modules/gone/permissions").await.problem(), (404, "not-registered".into()));
    assert_eq!(server.get("/v1/modules/m/permissions").await.json()["revision"], 0);
}

#[tokio::test]
async fn what_only_an_older_version_asks_for_can_be_decided_without_naming_it() {
    let server = server().await;
    server.ask("POST", "/v1/modules", &bundle("m", "2.0.0", "").to_tar()).await;
    let body = json!({ "decision": "deny", "permissions": ["system.environment:HOME"] });
    let done = server.post("/v1/modules/m/permissions", body.clone()).await.json();
    assert_eq!(done["version"], "1.0.0");
    let named = server
        .post(
            "/v1/modules/m/permissions",
            json!({ "decision": "deny", "version": "2.0.0", "permissions": ["system.environment:HOME"] }),
        )
        .await;
    assert_eq!(named.problem(), (409, "not-asked".into()));
}
