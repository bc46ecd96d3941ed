//! Against real servers on this machine. Names are looked up in a table, since no test may depend on a name server.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use replug_scripts::{HostError, HostErrorKind, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::lookup::{Lookup, Network};
use super::*;
use crate::manifest::{NetworkPermission, NetworkQuota};
use crate::monitor::{InstanceKey, Metrics};

mod bounds;
mod hostile;
mod redirects;
mod secure;

/// A name server of names that are known beforehand; an answer is used up where there are several.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    fn of(names: &[(&str, &str)]) -> Arc<Self> {
        let known = Self::default();
        for (name, address) in names {
            let address = address.parse().unwrap();
            known.0.lock().unwrap().entry((*name).to_owned()).or_default().push(vec![address]);
        }
        Arc::new(known)
    }
}

impl Lookup for Names {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut known = self.0.lock().unwrap();
        let found =
            known.get_mut(&host).map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"));
        async move { found }.boxed()
    }
}

/// A server that answers each request with what `answer` makes of it, and counts connections.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", answer).await
    }

    async fn on(address: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (counted, seen, answer) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = stream;
                    while let Some(request) = read(&mut stream).await {
                        let bytes = answer(&request);
                        seen.lock().unwrap().push(request);
                        if stream.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, connections, requests, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }
}

/// One request with its body.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => text.push_str(std::str::from_utf8(&chunk[..count]).unwrap()),
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// A client with these grants.
fn client(names: &[(&str, &str)], grants: &[(&str, u16)], quota: NetworkQuota) -> Arc<Client> {
    let roots = secure::authority().certificate.clone();
    client_of(Network::with(Names::of(names), vec![roots]).unwrap(), grants, quota)
}

fn client_of(network: Network, grants: &[(&str, u16)], quota: NetworkQuota) -> Arc<Client> {
    let grants: Vec<_> =
        grants.iter().map(|(host, port)| NetworkPermission { host: (*host).into(), ports: vec![*port] }).collect();
    let key = InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 };
    let rules = Arc::new(NetworkRules::new(&grants, &quota));
    Arc::new(Client::new(network, rules, Metrics::default().http(&key), 64 << 10))
}

fn request(url: &str, more: &[(&str, Value)]) -> Request {
    let url = ("url".to_owned(), Value::from(url));
    Request::read([url].into_iter().chain(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect()).unwrap()
}

async fn send(client: &Arc<Client>, request: Request) -> Result<Answer, HostError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    Arc::clone(client).send("http.get".to_owned(), request, deadline).await.map_err(|refused| refused.error)
}

async fn get(client: &Arc<Client>, url: &str) -> Result<Answer, HostError> {
    send(client, request(url, &[])).await
}

fn is(kind: HostErrorKind, part: &str, answer: Result<Answer, HostError>) {
    let error = answer.expect_err(part);
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(part), "`{error}` does not say `{part}`");
}

#[tokio::test]
async fn a_granted_host_is_asked_and_its_answer_read() {
    let server =
        Server::start(|_| b"HTTP/1.1 201 Made\r\nX-One: a\r\nx-one: b\r\ncontent-length: 2\r\n\r\nhi".to_vec()).await;
    let client = client(&[("shop.test", "127.0.0.1")], &[("shop.test", server.port)], NetworkQuota::default());
    let body = Value::map([("a", Value::Int(1))]);
    let headers = Value::map([("X-Own", Value::from("yes"))]);
    let more = [("method", Value::from("put")), ("body", body), ("headers", headers)];
    let answer = send(&client, request(&server.url("shop.test", "/a%20b?c=d#e"), &more)).await.unwrap();
    let value = answer.into_value();
    assert_eq!(value.get("status"), Some(&Value::Int(201)));
    assert_eq!(value.get("body"), Some(&Value::from("hi")));
    assert_eq!(value.get("headers").and_then(|headers| headers.get("x-one")), Some(&Value::from("a, b")));
    let [seen] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    let lower = seen.to_ascii_lowercase();
    assert!(seen.starts_with("PUT /a%20b?c=d HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
    for line in [
        "x-own: yes",
        "content-type: application/json",
        "content-length: 7",
        &format!("host: shop.test:{}", server.port),
    ] {
        assert!(lower.lines().any(|seen| seen == line), "{line} in {seen}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_even_connected_to() {
    let server = Server::start(|_| ok("secret")).await;
    let client = client(&[("shop.test", "127.0.0.1")], &[("shop.test", 1)], NetworkQuota::default());
    for host in ["shop.test", "127.0.0.1", "other.test"] {
        is(
            HostErrorKind::PermissionDenied,
            "permissions: { system: { network: [{ host:",
            get(&client, &server.url(host, "/")).await,
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_used_again_and_ends_with_the_client() {
    let server = Server::start(|_| ok("x")).await;
    let client =
        client(&[], &[("127.0.0.1", server.port)], NetworkQuota { connection_limit: 1, ..NetworkQuota::default() });
    for _ in 0..3 {
        get(&client, &server.url("127.0.0.1", "/")).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    drop(client);
    // a new client has no connection of the old one
    let other = client_of(Network::default(), &[("127.0.0.1", server.port)], NetworkQuota::default());
    get(&other, &server.url("127.0.0.1", "/")).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_name_that_nobody_knows_and_a_port_that_nobody_listens_on_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was asked for") };
    drop(listener);
    let client = client(&[], &[("gone.test", 80), ("127.0.0.1", address.port())], NetworkQuota::default());
    is(HostErrorKind::Failed, "gone.test could not be looked up: no such name", get(&client, "http://gone.test").await);
    is(HostErrorKind::Failed, "could not be connected to", get(&client, &format!("http://{address}")).await);
}
