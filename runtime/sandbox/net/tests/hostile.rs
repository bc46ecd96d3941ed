//! Servers and names that mean no good.

use super::*;

/// The first answer of the name server is good, the next ones are not: what is connected to is what was checked.
#[tokio::test]
async fn a_name_that_is_looked_up_to_a_closed_address_is_not_connected_to() {
    let server = Server::start(|_| ok("secret")).await;
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254", "0.0.0.0", "::"] {
        let names = [("api.x.org", address)];
        let client = client(&names, &[("api.x.org", server.port), ("*.x.org", server.port)], NetworkQuota::default());
        is(HostErrorKind::PermissionDenied, "api.x.org leads to", get(&client, &server.url("api.x.org", "/")).await);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_requests_leads_nowhere_else() {
    let server =
        Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx".to_vec()).await;
    // granted by its address, so the first answer is open; the second is this machine under another one
    let names = [("api.x.org", "127.0.0.1"), ("api.x.org", "127.0.0.2")];
    let grants = [("api.x.org", server.port), ("127.0.0.1", server.port)];
    let client = client(&names, &grants, NetworkQuota::default());
    assert_eq!(get(&client, &server.url("api.x.org", "/")).await.unwrap().body, b"x");
    is(HostErrorKind::PermissionDenied, "127.0.0.2", get(&client, &server.url("api.x.org", "/")).await);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_open_address_among_closed_ones_is_the_one_that_is_taken() {
    let server = Server::start(|_| ok("x")).await;
    let names = Names::default();
    let both = ["127.0.0.9", "127.0.0.1"].map(|address| address.parse().unwrap());
    names.0.lock().unwrap().insert("api.x.org".to_owned(), vec![both.to_vec()]);
    let network = Network::with(Arc::new(names), vec![secure::authority().certificate.clone()]).unwrap();
    let grants = [("api.x.org", server.port), ("127.0.0.1", server.port)];
    let client = client_of(network, &grants, NetworkQuota::default());
    assert_eq!(get(&client, &server.url("api.x.org", "/")).await.unwrap().body, b"x");
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_no_more() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
    ] {
        let server = Server::start(move |_| answer.as_bytes().to_vec()).await;
        let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
        is(HostErrorKind::Failed, "http.get: ", get(&client, &server.url("127.0.0.1", "/")).await);
    }
}

#[tokio::test]
async fn what_is_larger_than_may_be_read_is_refused() {
    let body = "x".repeat(70 << 10);
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", body.repeat(4));
    for (answer, part) in
        [(ok(&body), "larger than 65536"), (chunked.into(), "larger than 65536"), (head.into(), "exchange failed")]
    {
        let server = Server::start(move |_| answer.clone()).await;
        let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
        is(HostErrorKind::Failed, part, get(&client, &server.url("127.0.0.1", "/")).await);
    }
}

/// Nothing is decompressed, so nothing grows: a bomb stays as small as it came.
#[tokio::test]
async fn compressed_bodies_are_not_asked_for_and_left_as_they_came() {
    let server = Server::start(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00".to_vec()
    })
    .await;
    let client = client(&[], &[("127.0.0.1", server.port)], NetworkQuota::default());
    assert_eq!(get(&client, &server.url("127.0.0.1", "/")).await.unwrap().body, b"\x1f\x8b\x08\x00");
    assert!(!server.requests()[0].to_ascii_lowercase().contains("accept-encoding"), "{:?}", server.requests());
}
