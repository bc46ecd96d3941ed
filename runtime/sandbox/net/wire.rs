//! A connection of a module: counted, slowed to the module's bandwidth, and one of those that it may have at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::client::TlsStream;

use crate::sandbox::quota::bandwidth::Bandwidth;

/// What the connections of an instance share.
pub(super) struct Meter {
    pub(super) bandwidth: Option<Bandwidth>,
    pub(super) received: IntCounter,
    pub(super) sent: IntCounter,
}

/// Bytes on the wire, what TLS adds included.
pub(super) struct Metered {
    tcp: TcpStream,
    meter: Arc<Meter>,
    /// The bandwidth was exceeded: nothing goes until this ends.
    rest: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Metered {
    pub(super) fn new(tcp: TcpStream, meter: Arc<Meter>, place: OwnedSemaphorePermit) -> Self {
        Self { tcp, meter, rest: None, _place: place }
    }

    fn poll_rested(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        // another connection of the module may have used the bandwidth meanwhile
        if let Some(bandwidth) = &self.meter.bandwidth {
            let wait = bandwidth.debt(Instant::now());
            if !wait.is_zero() {
                let mut rest = Box::pin(tokio::time::sleep(wait));
                // a sleep is registered by being polled
                let done = rest.as_mut().poll(cx).is_ready();
                self.rest = (!done).then_some(rest);
                if !done {
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    fn took(&self, counter: &IntCounter, bytes: usize) {
        counter.inc_by(bytes as u64);
        if let Some(bandwidth) = &self.meter.bandwidth {
            bandwidth.take(bytes, Instant::now());
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_rested(cx));
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
        this.took(&this.meter.received, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_rested(cx));
        let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, buf))?;
        this.took(&this.meter.sent, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A connection, in the clear or not.
pub(super) enum Wire {
    Plain(Metered),
    Tls(Box<TlsStream<Metered>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buf),
            Self::Tls(wire) => Pin::new(wire).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_write(cx, buf),
            Self::Tls(wire) => Pin::new(wire).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Self::Tls(wire) => Pin::new(wire).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Tls(wire) => Pin::new(wire).poll_shutdown(cx),
        }
    }
}
