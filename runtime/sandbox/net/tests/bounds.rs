//! Time, connections, bandwidth.

use tokio::sync::Notify;

use super::*;

fn quota(connections: u32) -> NetworkQuota {
    NetworkQuota { connection_limit: connections, ..NetworkQuota::default() }
}

/// A server that takes connections, reads, and answers with what `drip` writes.
async fn slow<F>(drip: impl Fn(TcpStream) -> F + Send + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            if read(&mut stream).await.is_some() {
                tokio::spawn(drip(stream));
            }
        }
    });
    Server { port, connections, requests: Arc::default(), task }
}

#[tokio::test]
async fn a_server_that_drips_is_given_up_at_the_deadline() {
    for begin in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"] {
        let server = slow(move |mut stream| async move {
            let _ = stream.write_all(begin.as_bytes()).await;
            // one byte after the other, for ever
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let client = client(&[], &[("127.0.0.1", server.port)], quota(1));
        let drip = request(&server.url("127.0.0.1", "/"), &[("timeout", Value::Int(150))]);
        is(HostErrorKind::Timeout, "127.0.0.1 had not answered whole", send(&client, drip).await);
        // its connection is free again
        let again = request(&server.url("127.0.0.1", "/"), &[("timeout", Value::Int(150))]);
        is(HostErrorKind::Timeout, "had not answered", send(&client, again).await);
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn the_deadline_of_the_call_holds_whatever_timeout_is_asked_for() {
    let server = slow(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let client = client(&[], &[("127.0.0.1", server.port)], quota(1));
    let ask = request(&server.url("127.0.0.1", "/"), &[("timeout", Value::Int(3_600_000))]);
    let deadline = Instant::now() + Duration::from_millis(100);
    let answer = Arc::clone(&client).send("http.get".into(), ask, deadline).await;
    is(HostErrorKind::Timeout, "had not answered", answer.map_err(|refused| refused.error));
}

#[tokio::test]
async fn more_requests_at_once_than_connections_are_refused_without_one() {
    let go = Arc::<Notify>::default();
    let going = Arc::clone(&go);
    let server = slow(move |mut stream| {
        let go = Arc::clone(&going);
        async move {
            go.notified().await;
            let _ = stream.write_all(&ok("x")).await;
        }
    })
    .await;
    let client = client(&[], &[("127.0.0.1", server.port)], quota(2));
    let url = server.url("127.0.0.1", "/");
    let held = [
        tokio::spawn({
            let (c, u) = (client.clone(), url.clone());
            async move { get(&c, &u).await }
        }),
        tokio::spawn({
            let (c, u) = (client.clone(), url.clone());
            async move { get(&c, &u).await }
        }),
    ];
    while server.connections() < 2 {
        tokio::task::yield_now().await;
    }
    is(HostErrorKind::Overloaded, "network: { connectionLimit: 4 }", get(&client, &url).await);
    assert_eq!(server.connections(), 2);
    go.notify_one();
    go.notify_one();
    for answer in held {
        assert_eq!(answer.await.unwrap().unwrap().body, b"x");
    }
}

#[tokio::test]
async fn idle_connections_to_one_host_are_not_in_the_way_of_another() {
    let (one, other) = (Server::start(|_| ok("one")).await, Server::start(|_| ok("other")).await);
    let client = client(&[], &[("127.0.0.1", one.port), ("127.0.0.1", other.port)], quota(1));
    for _ in 0..3 {
        assert_eq!(get(&client, &one.url("127.0.0.1", "/")).await.unwrap().body, b"one");
        assert_eq!(get(&client, &other.url("127.0.0.1", "/")).await.unwrap().body, b"other");
    }
    assert_eq!((one.connections(), other.connections()), (3, 3));
}

#[tokio::test]
async fn a_module_over_its_bandwidth_waits_and_then_hears_why() {
    let server = Server::start(|_| ok(&"x".repeat(20_000))).await;
    let bound = NetworkQuota { max_bandwidth: Some(20_000), ..NetworkQuota::default() };
    let client = client(&[], &[("127.0.0.1", server.port)], bound);
    let ask = || request(&server.url("127.0.0.1", "/"), &[("timeout", Value::Int(300))]);
    // the first second's worth comes at once
    send(&client, ask()).await.unwrap();
    let mut refused = None;
    for _ in 0..3 {
        if let Err(error) = send(&client, ask()).await {
            refused = Some(error);
            break;
        }
    }
    is(HostErrorKind::Overloaded, "network: { maxBandwidth: 40000 }", Err(refused.expect("80 KB in a second")));
}

#[tokio::test]
async fn bytes_and_time_are_counted() {
    let server = Server::start(|_| ok("0123456789")).await;
    let metrics = Metrics::default();
    let key = InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 };
    let grants = [NetworkPermission { host: "127.0.0.1".into(), ports: vec![server.port] }];
    let rules = Arc::new(NetworkRules::new(&grants, &NetworkQuota::default()));
    let client = Arc::new(Client::new(Network::default(), rules, metrics.http(&key), 1 << 20));
    get(&client, &server.url("127.0.0.1", "/")).await.unwrap();
    let (http, sent) = (metrics.http(&key), server.requests()[0].len() as u64);
    assert_eq!(
        (http.received.get(), http.sent.get(), http.seconds.get_sample_count()),
        (ok("0123456789").len() as u64, sent, 1)
    );
}
