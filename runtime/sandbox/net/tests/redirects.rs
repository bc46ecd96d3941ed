//! Redirects: each hop is checked as the first.

use super::*;

#[tokio::test]
async fn a_redirect_is_followed_where_it_is_granted() {
    let server = Server::start(|request| match request.split(' ').nth(1).unwrap() {
        "/a" => redirect(302, "/b"),
        "/b" => redirect(301, "c?d=e"),
        path => ok(path),
    })
    .await;
    let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
    assert_eq!(get(&client, &server.url("127.0.0.1", "/a")).await.unwrap().body, b"/c?d=e");
    let first = send(&client, request(&server.url("127.0.0.1", "/a"), &[("redirects", Value::Int(0))])).await.unwrap();
    assert_eq!((first.status, first.headers["location"].as_bytes()), (302, &b"/b"[..]));
}

#[tokio::test]
async fn no_redirect_leads_to_what_is_not_granted() {
    let inner = Server::start(|_| ok("secret")).await;
    let port = inner.port;
    for (location, part) in [
        (format!("http://127.0.0.2:{port}/"), "may not talk to 127.0.0.2"),
        (format!("http://localhost:{port}/"), "may not talk to localhost"),
        (format!("http://2130706433:{port}/"), "may not talk to 127.0.0.1"),
        (format!("//[::ffff:127.0.0.1]:{port}/"), "may not talk to ::ffff:127.0.0.1"),
        (format!("http://0x7f.1:{port}/"), "may not talk to 127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "may not talk to 169.254.169.254"),
        (format!("http://inner.x.org:{port}/"), "inner.x.org leads to 127.0.0.1"),
        ("file:///etc/passwd".to_owned(), "the scheme is file"),
        ("gopher://127.0.0.1:6379/_".to_owned(), "the scheme is gopher"),
        (format!("http://user:secret@inner.x.org:{port}/"), "credentials"),
        ("http://".to_owned(), "no URL"),
    ] {
        let to = location.clone();
        let outer = Server::start(move |_| redirect(302, &to)).await;
        let names = [("start.test", "127.0.0.1"), ("inner.x.org", "127.0.0.1")];
        let client = client(&names, &[("start.test", outer.port), ("inner.x.org", port)], NetworkQuota::default());
        let error = get(&client, &outer.url("start.test", "/")).await.expect_err(&location);
        assert!(error.message.contains(part), "{location}: {error}");
    }
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = Server::start(|_| redirect(307, "/again")).await;
    let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
    let last = get(&client, &server.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!((last.status, server.requests().len()), (307, 1 + usize::from(MAX_REDIRECTS)));
}

#[tokio::test]
async fn credentials_stay_with_the_host_that_they_are_for() {
    let other = Server::start(ok).await;
    let to = format!("http://other.test:{}/", other.port);
    let server = Server::start(move |request| match request.split(' ').nth(1).unwrap() {
        "/own" => redirect(302, "/seen"),
        "/other" => redirect(302, &to),
        _ => ok(request),
    })
    .await;
    let names = [("one.test", "127.0.0.1"), ("other.test", "127.0.0.1")];
    let client = client(&names, &[("one.test", server.port), ("other.test", other.port)], NetworkQuota::default());
    let headers =
        [("authorization", "Bearer secret"), ("cookie", "secret"), ("x-api-key", "secret"), ("accept", "text/x")];
    let headers = Value::map(headers.map(|(name, value)| (name, Value::from(value))));
    let ask = |path: &str| request(&server.url("one.test", path), &[("headers", headers.clone())]);
    let own = String::from_utf8(send(&client, ask("/own")).await.unwrap().body).unwrap();
    assert_eq!(own.matches("secret").count(), 3, "{own}");
    let elsewhere = String::from_utf8(send(&client, ask("/other")).await.unwrap().body).unwrap();
    assert!(!elsewhere.contains("secret") && elsewhere.contains("text/x"), "{elsewhere}");
}

/// Method, status, the method and whether the body comes along on the second hop.
#[tokio::test]
async fn a_body_comes_along_where_the_status_says_so() {
    for (method, status, then, with_body) in [
        ("POST", 301, "GET", false),
        ("POST", 302, "GET", false),
        ("PUT", 302, "PUT", true),
        ("POST", 303, "GET", false),
        ("PUT", 303, "GET", false),
        ("HEAD", 303, "HEAD", false),
        ("POST", 307, "POST", true),
        ("POST", 308, "POST", true),
    ] {
        let server = Server::start(move |request| match request.split(' ').nth(1).unwrap() {
            "/a" => redirect(status, "/b"),
            _ => ok(""),
        })
        .await;
        let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
        let body = if method == "HEAD" { Value::Null } else { Value::from("payload") };
        let ask = request(&server.url("127.0.0.1", "/a"), &[("method", Value::from(method)), ("body", body)]);
        send(&client, ask).await.unwrap();
        let last = server.requests().pop().unwrap();
        assert!(last.starts_with(&format!("{then} /b ")), "{method} {status}: {last}");
        assert_eq!(last.contains("payload"), with_body, "{method} {status}: {last}");
    }
}
