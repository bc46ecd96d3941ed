//! The one way to a socket: look up, drop what is closed, connect.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::{Reach, reach};
use super::lookup::Network;
use super::rules::NetworkRules;
use super::target::Target;
use super::wire::{Meter, Metered, Wire};

/// The most addresses of a name that are tried.
const MAX_TRIED: usize = 4;
/// How long each but the last of them may take to answer.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The address is closed to the module.
    #[error("{host} leads to {address}, {}", place(*address))]
    Closed { host: String, address: IpAddr, port: u16 },
    /// The name is unknown.
    #[error("{host} could not be looked up: {cause}")]
    Lookup { host: String, cause: io::Error },
    /// Nobody answers there.
    #[error("{host} port {port} could not be connected to: {cause}")]
    Connect { host: String, port: u16, cause: io::Error },
    /// TLS came to nothing.
    #[error("no secure connection to {host}: {cause}")]
    Tls { host: String, cause: String },
}

fn place(address: IpAddr) -> &'static str {
    match reach(address) {
        Reach::Private => "which is in a private network",
        Reach::Link => "which is on the local link, where clouds keep credentials",
        Reach::Nothing | Reach::Public => "where nothing answers that a module may ask",
    }
}

/// Makes the connections of one instance.
pub(super) struct Connector {
    pub(super) network: Network,
    pub(super) rules: Arc<NetworkRules>,
    pub(super) meter: Arc<Meter>,
}

impl Connector {
    /// A connection to where `target` leads, which takes `place` until it is closed.
    pub(super) async fn connect(&self, target: &Target, place: OwnedSemaphorePermit) -> Result<Wire, ConnectError> {
        let (host, port) = (target.host().into_owned(), target.port());
        let found = match target.address() {
            Some(address) => vec![address],
            None => match self.network.lookup.lookup(host.clone()).await {
                Ok(found) => found,
                Err(cause) => return Err(ConnectError::Lookup { host, cause }),
            },
        };
        let (open, closed): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|address| self.rules.opens(target, *address));
        if let (true, Some(address)) = (open.is_empty(), closed.first()) {
            return Err(ConnectError::Closed { host, address: *address, port });
        }
        let tcp = match reach_one(&open, port).await {
            Ok(tcp) => tcp,
            Err(cause) => return Err(ConnectError::Connect { host, port, cause }),
        };
        // small messages are not held back; a socket that cannot be told so works as well
        let _ = tcp.set_nodelay(true);
        let metered = Metered::new(tcp, Arc::clone(&self.meter), place);
        if !target.is_secure() {
            return Ok(Wire::Plain(metered));
        }
        let failed = |cause: String| ConnectError::Tls { host: host.clone(), cause };
        let tls = self.network.tls().await.map_err(failed)?;
        let name = match target.address() {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?,
        };
        let wire = TlsConnector::from(tls).connect(name, metered).await.map_err(|error| failed(error.to_string()))?;
        Ok(Wire::Tls(Box::new(wire)))
    }
}

/// The first of the addresses that answers. One that does not leaves time for the next.
async fn reach_one(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let tried = &addresses[..addresses.len().min(MAX_TRIED)];
    for (index, address) in tried.iter().enumerate() {
        let connected = TcpStream::connect(SocketAddr::new(*address, port));
        let connected = if index + 1 == tried.len() {
            connected.await
        } else {
            let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
            tokio::time::timeout(ATTEMPT, connected).await.unwrap_or_else(late)
        };
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}
