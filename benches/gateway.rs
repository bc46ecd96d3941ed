//! What does the gateway add to a request? Bare axum handlers that give the same answers, in the same process, are 1. And what do
//! copies of requests for a candidate cost who asks?

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/world.rs"]
mod world;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::routing::get;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use replug::Event;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use world::World;

/// Connections that are kept open, each with one request at a time.
const CONNECTIONS: u64 = 64;

const API: &str = "apis:\n  - path: /hello/{name}\n    methods: [GET]\n";

const LUA: &str = r#"
return { apis = { ["GET /hello/{name}"] = function(req)
  return { body = { message = "hello " .. req.params.name, method = req.method } }
end } }"#;

const RHAI: &str = r#"
fn hello(req) { #{ body: #{ message: "hello " + req.params.name, method: req.method } } }
#{ apis: #{ "GET /hello/{name}": Fn("hello") } }"#;

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn bare() -> axum::Router {
    let hello = |axum::extract::Path(name): axum::extract::Path<String>| async move {
        Json(json!({ "message": format!("hello {name}"), "method": "GET" }))
    };
    axum::Router::new().route("/hello/{name}", get(hello))
}

/// Sends `count` requests over all connections and takes the time from the first byte to the last answer.
async fn drive(address: SocketAddr, count: u64) -> Duration {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS.min(count) {
        let socket = TcpStream::connect(address).await.expect("a connection");
        socket.set_nodelay(true).expect("a socket option");
        sockets.push(socket);
    }
    let each = count / sockets.len() as u64;
    let more = count % sockets.len() as u64;
    let started = Instant::now();
    let tasks: Vec<_> =
        (0_u64..).zip(sockets).map(|(n, socket)| tokio::spawn(requests(socket, each + u64::from(n < more)))).collect();
    for task in tasks {
        task.await.expect("a client");
    }
    started.elapsed()
}

async fn requests(mut socket: TcpStream, count: u64) {
    const REQUEST: &[u8] = b"GET /hello/ada HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: bench\r\n\r\n";
    let mut buffer = vec![0; 4096];
    for _ in 0..count {
        socket.write_all(REQUEST).await.expect("a request");
        let mut filled = 0;
        loop {
            let read = socket.read(&mut buffer[filled..]).await.expect("an answer");
            assert_ne!(read, 0, "the connection was closed");
            filled += read;
            if buffer[..filled].ends_with(b"}") {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
    }
}

/// A version of the module `hello` that gets copies of so many requests, in percent, for as long as the benchmark takes.
async fn mirror_to(world: &World, share: u8) {
    let shift = format!("{{ interval: 1h, mirror: {{ methods: [GET], share: {share} }} }}");
    let manifest = format!("{API}lifecycle:\n  activation:\n    trafficShifting: {shift}\n");
    world.register("hello", "1.1.0", &manifest, "lua", LUA).await;
    let mut events = world.runtime.events();
    let mirrored = async {
        while let Some(event) = events.next().await {
            if matches!(*event.expect("no event is missed"), Event::TrafficShifted { weight: 0, .. }) {
                break;
            }
        }
    };
    // the engine goes on with it when nobody waits for it any more
    tokio::select! {
        done = world.runtime.activate("hello@1.1.0").into_future() => panic!("it ended: {done:?}"),
        () = mirrored => {}
    }
}

fn gateway(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let bare = tokio.block_on(serve(bare()));
    let served = |language: &str, script: &str| {
        let world = tokio.block_on(World::new());
        tokio.block_on(world.install("hello", "1.0.0", API, language, script));
        let address = tokio.block_on(serve(world.runtime.router()));
        (world, address)
    };
    let (lua, rhai) = (served("lua", LUA), served("rhai", RHAI));
    let mirrored = [10, 100].map(|share| {
        let (world, address) = served("lua", LUA);
        tokio.block_on(mirror_to(&world, share));
        (world, address)
    });
    let mut group = criterion.benchmark_group("gateway");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(10));
    for (name, address) in [
        ("bare axum", bare),
        ("lua", lua.1),
        ("rhai", rhai.1),
        ("lua, 10 % copied", mirrored[0].1),
        ("lua, 100 % copied", mirrored[1].1),
    ] {
        group.bench_function(name, |bencher| bencher.iter_custom(|count| tokio.block_on(drive(address, count))));
    }
    group.finish();
    for (world, _) in [lua, rhai].into_iter().chain(mirrored) {
        tokio.block_on(world.end());
    }
}

criterion_group!(benches, gateway);
criterion_main!(benches);
