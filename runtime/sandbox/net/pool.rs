//! The connections of one instance: as many at once as it may have, used again while both sides keep them.
//!
//! A request that needs a connection when all places are taken closes the one that has been idle longest. There are never more
//! requests at once than places, so each gets one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::connect::{ConnectError, Connector};
use super::target::Target;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);
/// The most that is read ahead of an answer's head, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the exchange failed: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("the client is closed")]
    Closed,
}

pub(super) struct Pool {
    connector: Connector,
    places: Arc<Semaphore>,
    /// The one idle for the longest time first.
    idle: Mutex<Vec<Idle>>,
    sweeps: AtomicBool,
}

struct Idle {
    origin: Origin,
    open: Open,
    since: Instant,
}

/// Whether it is secure, the host, the port.
type Origin = (bool, String, u16);

/// A connection. It is closed when this is dropped.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection in use; given back when its answer was read to the end, closed otherwise.
pub(super) struct Used {
    origin: Origin,
    open: Open,
}

impl Pool {
    pub(super) fn new(connector: Connector, places: usize) -> Arc<Self> {
        let (idle, sweeps) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { connector, places: Arc::new(Semaphore::new(places)), idle, sweeps })
    }

    pub(super) const fn connector(&self) -> &Connector {
        &self.connector
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one request over an idle connection or a new one.
    pub(super) async fn send(
        &self,
        target: &Target,
        mut message: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Used), Failure> {
        let origin = (target.is_secure(), target.host().into_owned(), target.port());
        while let Some(mut open) = self.take(&origin) {
            // the other side may have closed it; what was not sent goes over another one
            if open.sender.ready().await.is_err() {
                continue;
            }
            match open.sender.try_send_request(message).await {
                Ok(answer) => return Ok((answer, Used { origin, open })),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => message = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let wire = self.connector.connect(target, self.place().await?).await?;
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_buf_size(MAX_HEAD).handshake(TokioIo::new(wire)).await?;
        // how it ends, whoever waits for the answer hears
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let mut open = Open { sender, task };
        let answer = open.sender.send_request(message).await?;
        Ok((answer, Used { origin, open }))
    }

    /// The connection that was idle for the shortest time: the other side has most likely kept that one.
    fn take(&self, origin: &Origin) -> Option<Open> {
        let mut idle = self.idle();
        let at = idle.iter().rposition(|idle| idle.origin == *origin)?;
        Some(idle.remove(at).open)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let oldest = {
            let mut idle = self.idle();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        drop(oldest);
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| Failure::Closed)
    }

    /// Takes a connection back whose answer was read to the end.
    pub(super) fn give_back(self: &Arc<Self>, used: Used) {
        let Used { origin, open } = used;
        if open.sender.is_closed() {
            return;
        }
        self.idle().push(Idle { origin, open, since: Instant::now() });
        if !self.sweeps.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what nobody used for a while, as long as there is something.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        if idle.is_empty() {
            pool.sweeps.store(false, Ordering::Relaxed);
            return;
        }
    }
}
