//! Which handler answers, and what it is told.

use axum::body::Body;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Site;
use crate::integration::api::MAX_BODY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_its_handler_with_decoded_parts() {
    let site = Site::new().await;
    let answer = site.get("/api/notes/a%20b%2Fc?x=1&y=%C3%A9+z&x=2", &[]).await;
    assert_eq!((answer.status, answer.module()), (200, Some("notes@1.0.0")));
    let told = answer.json();
    assert_eq!(told["method"], "GET");
    assert_eq!(told["path"], "/api/notes/a%20b%2Fc");
    assert_eq!(told["params"], serde_json::json!({ "id": "a b/c" }));
    assert_eq!(told["query"], serde_json::json!({ "x": "2", "y": "é z" }));
    assert_eq!(told["id"].as_str(), answer.header("x-request-id"));
    let rest = site.get("/api/files/a/b%2fc", &[]).await;
    assert_eq!(rest.json()["params"], serde_json::json!({ "rest": "a/b/c" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_is_no_text_is_refused() {
    let site = Site::new().await;
    let answer = site.get("/api/notes/%ff", &[]).await;
    assert_eq!((answer.status, answer.module(), &*answer.problem()), (400, None, "about:blank"));
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("id")), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_nothing_serves_is_no_module() {
    let site = Site::new().await;
    for path in ["/", "/api/other", "/api/notes/", "/api/notes/a/b"] {
        let answer = site.get(path, &[]).await;
        assert_eq!((answer.status, answer.module(), &*answer.problem()), (404, None, "no-module"), "{path}");
    }
    site.world.remove("notes");
    assert_eq!(site.get("/api/notes", &[]).await.problem(), "no-module");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_method_is_told_those_that_there_are() {
    let site = Site::new().await;
    let answer = site.send(Method::DELETE, "/api/notes", &[], "").await;
    assert_eq!((answer.status, answer.module(), answer.header("allow")), (405, None, Some("GET, HEAD, POST")));
    assert_eq!(answer.problem(), "about:blank");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_request_id_is_kept_when_it_is_sane() {
    let site = Site::new().await;
    let answer = site.get("/api/notes", &[("x-request-id", "trace-7")]).await;
    assert_eq!((answer.header("x-request-id"), answer.json()["id"].as_str()), (Some("trace-7"), Some("trace-7")));
    let insane = site.get("/nothing", &[("x-request-id", "a b")]).await;
    assert_ne!(insane.header("x-request-id"), Some("a b"));
    assert!(insane.header("x-request-id").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_up_to_the_limit_is_read_and_a_larger_one_refused() {
    let site = Site::new().await;
    let fits = site.send(Method::POST, "/api/notes", &[], &"x".repeat(MAX_BODY)).await;
    assert_eq!((fits.status, &fits.json()["length"]), (200, &serde_json::json!(MAX_BODY)));
    let large = site.send(Method::POST, "/api/notes", &[], &"x".repeat(MAX_BODY + 1)).await;
    assert_eq!((large.status, large.module(), &*large.problem()), (413, None, "about:blank"));
    let chunks = futures::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![b'x'; MAX_BODY / 2])));
    let request = Request::post("/api/notes").body(Body::from_stream(chunks)).expect("a request");
    assert_eq!(site.request(request).await.status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_not_read_for_somebody_who_may_not() {
    let site = Site::new().await;
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/api/hidden").body(never).expect("a request");
    assert_eq!(site.request(request).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_by_get_without_its_body() {
    let site = Site::new().await;
    let got = site.get("/api/notes/7", &[("x-request-id", "same")]).await;
    let head = site.send(Method::HEAD, "/api/notes/7", &[("x-request-id", "same")], "").await;
    assert_eq!((head.status, head.module(), &*head.body), (200, Some("notes@1.0.0"), ""));
    // `HEAD` is one letter longer than `GET` in the echoed answer
    let length = (got.body.len() + 1).to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_speaks_http_over_a_socket() {
    let site = Site::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = site.app.clone();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let requests = "HEAD /api/notes HTTP/1.1\r\nhost: a\r\n\r\nPOST /api/notes HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\
                    GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(requests.as_bytes()).await.expect("it reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("it answers and closes");
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["200", "200", "404"], "{text}");
    assert!(text.contains("\"length\":2"), "{text}");
    server.abort();
}
