//! A listener and its connections: bounded in number and in the time that a request's head may take, and closed so that
//! requests in flight are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections at once; who comes after them waits in the system's queue.
const CONNECTIONS: usize = 8192;

/// How long the head of a request may take to arrive, on a new connection and on one that was kept open. A client that is
/// slower holds a connection for nothing.
const HEAD: Duration = Duration::from_secs(30);

/// How long after a probe of a quiet connection the next one is sent, when nobody answered.
const PROBE: Duration = Duration::from_secs(10);

/// How long a peer may leave what it was sent where it is.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(60);

/// Bytes that wait in the system for a slow peer, beyond what is on its way: it shows that it goes on reading each time it has taken
/// about as many, not once it has emptied buffers of several MiB.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// How long to wait when the system has no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves `router` until `stopped` says so; then idle connections are closed at once, and it returns when the others have
/// been answered. A request carries its peer's address while `addresses` says that somebody asks for it: it is a map entry
/// and an allocation, which most requests need not pay for.
pub(super) async fn listen(
    listener: TcpListener,
    router: axum::Router,
    addresses: impl Fn() -> bool + Clone + Send + 'static,
    mut stopped: watch::Receiver<bool>,
) {
    let stop = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    tokio::pin!(stop);
    let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), GracefulShutdown::new());
    loop {
        let (socket, peer, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            },
        };
        // what a socket cannot be told costs time, no answer
        let _ = prepare(&socket);
        let (app, addresses) = (TowerToHyperService::new(router.clone()), addresses.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            if addresses() {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            app.call(request)
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // a client that breaks off or breaks the protocol is no fault of this side
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// An answer is written whole: waiting for more to send only costs time. And a peer that has vanished, or takes nothing of what
/// it was sent, is noticed by the system, also where nobody reads from it or writes to it any more.
fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(HEAD).with_interval(PROBE))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(UNTAKEN))?;
        socket.set_tcp_notsent_lowat(UNSENT)?;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, place))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What the application of a listener learns of a peer, and the peer's own address.
    async fn learned(addresses: bool) -> (String, SocketAddr) {
        let told = |request: axum::extract::Request| async move {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
            peer.map_or("nothing".to_owned(), |ConnectInfo(peer)| peer.to_string())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let app = axum::Router::new().fallback(told);
        let listening = tokio::spawn(listen(listener, app, move || addresses, stopped));
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        let own = socket.local_addr().expect("an address");
        socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("it answers and closes");
        stop.send(true).expect("it listens");
        listening.await.expect("it stops");
        (answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned(), own)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_looks_after_a_peer_that_vanished_or_takes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (socket, _) = listener.accept().await.expect("a connection");
        prepare(&socket).expect("it can be told so");
        let (told, untold) = (SockRef::from(&socket), SockRef::from(&peer));
        assert!(told.keepalive().expect("a flag") && !untold.keepalive().expect("a flag"));
        assert_eq!(told.tcp_keepalive_time().expect("a time"), HEAD);
        assert_eq!(told.tcp_notsent_lowat().expect("a number"), UNSENT);
        assert_eq!(told.tcp_user_timeout().expect("a time"), Some(UNTAKEN));
    }

    #[tokio::test]
    async fn a_request_carries_its_peers_address_only_while_somebody_asks_for_it() {
        let (told, own) = learned(true).await;
        assert_eq!(told, own.to_string());
        assert_eq!(learned(false).await.0, "nothing");
    }
}
