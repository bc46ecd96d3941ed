//! The modules that ship, as people and programs use them.

use serde_json::{Value, json};

use crate::support::{Answer, Server};

const PASSWORD: &str = "correct horse battery";

/// The path of the newest sign-up link that the runtime printed.
fn sign_up_link(server: &Server) -> String {
    let log = server.logged();
    let line = log.lines().rev().find(|line| line.contains("/signup?code=")).unwrap_or_else(|| panic!("{log}"));
    let link = &line[line.find("/signup").unwrap()..];
    link[..link.find('"').unwrap()].to_owned()
}

async fn post(server: &Server, path: &str, token: Option<&str>, body: &Value) -> Answer {
    call(server, "POST", path, token, Some(body)).await
}

async fn call(server: &Server, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
    let mut request = server.request(method, path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    server.send(request).await
}

fn token_of(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The first user, who holds everything, and their token.
async fn first_user(server: &Server) -> String {
    let link = sign_up_link(server);
    let code = link.split_once("code=").unwrap().1;
    let who = json!({ "code": code, "name": "ada", "password": PASSWORD });
    let answer = post(server, "/api/auth/signup", None, &who).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    token_of(&answer)
}

/// Another user with these permissions, and their token.
async fn user(server: &Server, admin: &str, name: &str, permissions: &[&str]) -> String {
    let who = json!({ "name": name, "password": PASSWORD, "permissions": permissions });
    let made = post(server, "/api/auth/users", Some(admin), &who).await;
    assert_eq!(made.status, 201, "{made:?}");
    token_of(&post(server, "/api/auth/login", None, &json!({ "name": name, "password": PASSWORD })).await)
}

#[tokio::test]
async fn all_modules_that_ship_serve_in_a_fresh_runtime() {
    let server = Server::shipped().await;
    for id in ["analytics-advanced", "authentication", "database"] {
        let slot = server.slot(id).await.unwrap_or_else(|| panic!("{id}: {}", server.logged()));
        assert_eq!(slot["state"], "active", "{slot}");
    }
}

#[tokio::test]
async fn the_sign_up_link_works_once_and_is_new_at_each_start() {
    let mut server = Server::shipped().await;
    let stale = sign_up_link(&server);
    assert!(server.terminate().await.success());
    server.start().await;
    let link = sign_up_link(&server);
    assert_ne!(link, stale);
    assert_eq!((server.get(&stale).await.status, server.get(&link).await.status), (403, 200));
    first_user(&server).await;
    assert_eq!(server.get(&link).await.status, 403);
    assert!(server.terminate().await.success());
    let before = server.logged().matches("/signup?code=").count();
    server.start().await;
    assert_eq!(server.logged().matches("/signup?code=").count(), before, "nobody signs up any more");
}

#[tokio::test]
async fn pages_lead_to_the_sign_in_and_back_and_apis_say_401_and_403() {
    let server = Server::shipped().await;
    let page = server.get("/analytics/dashboard").await;
    assert_eq!(page.status, 303, "{page:?}");
    assert_eq!(page.header("location"), "/login?next=%2Fanalytics%2Fdashboard");
    assert_eq!(server.get("/login").await.status, 200);
    let api = server.get("/api/analytics/reports").await;
    assert_eq!((api.status, api.problem().as_str()), (401, "unauthenticated"));
    let forged = call(&server, "GET", "/api/analytics/reports", Some("eyJhbGciOiJub25lIn0.e30."), None).await;
    assert_eq!(forged.status, 401);

    let ada = first_user(&server).await;
    let bob = user(&server, &ada, "bob", &["analytics.view"]).await;
    let refused = call(&server, "GET", "/api/analytics/reports", Some(&bob), None).await;
    assert_eq!((refused.status, refused.problem().as_str()), (403, "permission-denied"));
    let login = json!({ "name": "bob", "password": PASSWORD, "next": "/analytics/dashboard" });
    let form = "name=bob&password=correct+horse+battery&next=%2Fanalytics%2Fdashboard";
    let request = server.request("POST", "/api/auth/login").header("content-type", "application/x-www-form-urlencoded");
    let answer = server.send(request.body(form)).await;
    assert_eq!((answer.status, answer.header("location")), (303, login["next"].as_str().unwrap()), "{answer:?}");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(answer.header("set-cookie").contains("HttpOnly"), "{answer:?}");
    let page = server.send(server.request("GET", "/analytics/dashboard").header("cookie", &cookie)).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.to_lowercase().starts_with("<!doctype html>") && page.body.contains("Dashboard"), "{page:?}");
    let denied = server.send(server.request("GET", "/analytics/reports").header("cookie", &cookie)).await;
    assert_eq!(denied.status, 403);
}

#[tokio::test]
async fn a_report_is_posted_and_read_back_also_after_a_restart() {
    let mut server = Server::shipped().await;
    let ada = first_user(&server).await;
    let report = json!({ "name": "Visits", "metric": "visits", "period": "week" });
    let made = post(&server, "/api/analytics/reports", Some(&ada), &report).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    for restart in [false, true] {
        if restart {
            server.kill();
            server.start().await;
        }
        let read = call(&server, "GET", &path, Some(&ada), None).await;
        let item = &read.json()["items"][0];
        assert_eq!((&item["name"], &item["author"]), (&json!("Visits"), &json!("ada")), "{read:?}");
    }
    let metrics = call(&server, "GET", "/api/analytics/metrics", Some(&ada), None).await;
    assert_eq!(metrics.json()["totals"]["reports"], 1, "{metrics:?}");
    let wrong = post(&server, "/api/analytics/reports", Some(&ada), &json!({ "name": "" })).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
}

#[tokio::test]
async fn keys_rotate_and_are_revoked_with_their_tokens() {
    let server = Server::shipped().await;
    let old = first_user(&server).await;
    let me = |token: String| {
        let server = &server;
        async move { call(server, "GET", "/api/auth/me", Some(&token), None).await.status }
    };
    assert_eq!(post(&server, "/api/auth/keys/rotate", Some(&old), &json!({})).await.status, 201);
    let new = token_of(&post(&server, "/api/auth/login", None, &json!({ "name": "ada", "password": PASSWORD })).await);
    assert_eq!((me(old.clone()).await, me(new.clone()).await), (200, 200), "older keys still verify");
    let keys = call(&server, "GET", "/api/auth/keys", Some(&new), None).await.json();
    let keys = keys["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(!format!("{keys:?}").contains("secret"), "{keys:?}");
    let kid = |token: &str| {
        let encoded = token.split('.').next().unwrap();
        keys.iter().find(|key| decoded(encoded).contains(key["id"].as_str().unwrap())).unwrap()["id"].clone()
    };
    let path = format!("/api/auth/keys/{}", kid(&old).as_str().unwrap());
    assert_eq!(call(&server, "DELETE", &path, Some(&new), None).await.status, 200);
    assert_eq!((me(old).await, me(new.clone()).await), (401, 200));
    assert_eq!(post(&server, "/api/auth/logout", Some(&new), &json!({})).await.status, 204);
    assert_eq!(me(new).await, 401, "a token that signed out is withdrawn at once");
}

/// Base64url (RFC 4648, section 5) without padding, as text.
fn decoded(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let server = Server::shipped().await;
    let ada = first_user(&server).await;
    let eve = user(&server, &ada, "eve", &["auth.manage"]).await;
    let more = json!({ "name": "mallory", "password": PASSWORD, "permissions": ["*"] });
    assert_eq!(post(&server, "/api/auth/users", Some(&eve), &more).await.status, 403);
    let own = json!({ "permissions": ["*"] });
    assert_eq!(call(&server, "PATCH", "/api/auth/users/eve", Some(&eve), Some(&own)).await.status, 403);
    assert_eq!(call(&server, "DELETE", "/api/auth/users/ada", Some(&eve), None).await.status, 403);
}

#[tokio::test]
async fn a_module_reaches_its_own_tables_through_the_database_module_and_no_others() {
    use crate::support::Module;

    let server = Server::shipped().await;
    let tables =
        "dependencies:\n  - id: database\ndatabase:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n";
    let script = r#"return { apis = { ["GET /api/notes"] = function(req)
  local done, answer = pcall(services.call, "database.sql", { sql = req.query.sql })
  return { body = if done then answer else { kind = answer.kind } }
end } }"#;
    let module = Module::new("notes", "1.0.0").api("/api/notes", "GET").manifest(tables).lua(script).file(
        "one.sql",
        "create table notes (id integer primary key, text);\ninsert into notes (text) values ('mine')",
    );
    server.install(&module).await;
    let ask = |sql: &str| server.send(server.request("GET", &format!("/api/notes?sql={}", sql.replace(' ', "+"))));
    assert_eq!(ask("select text from notes").await.json(), json!({ "rows": [{ "text": "mine" }] }));
    let foreign = ask("select name from users").await.json();
    assert!(foreign["kind"] == "invalid-argument" || foreign["kind"] == "failed", "{foreign}");
    let refused = server.run(&["deactivate", "database"]).await;
    assert!(refused.code == 1 && refused.error().1.contains("notes"), "{refused:?}");
}
