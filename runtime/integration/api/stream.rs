//! Answers whose bodies a script makes piece by piece.
//!
//! A task of its own holds the stream, and a body asks it for one part after the other; a piece is made when it is asked for. So
//! a client that reads slowly has one piece wait for it, which counts in the module's memory, and no VM. Where the task ends
//! without having come to the end, the body breaks off: over HTTP/1.1 the last chunk is missing, over HTTP/2 the stream is reset.
//!
//! ```text
//! script → piece → chunks of 64 KiB → body → client
//! ```
//!
//! Nothing waits without end: a client that takes nothing for a minute has gone, and so has one to which nothing was sent for ten
//! minutes, since who has vanished is noticed by sending only. Server-sent events are kept up by comments.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub(super) use self::follow::Follow;
use super::answer;
use crate::actors::router::{Piece, Streaming};
use crate::monitor::StreamOutcome;

mod follow;

/// The least time between two calls of which the first gave nothing to send: a script that looks for news does not spin.
const BREATH: Duration = Duration::from_millis(10);

/// Bytes of a piece that are handed over at once: what waits for a slow client beyond them is counted.
const CHUNK: usize = 64 << 10;

/// A line of server-sent events that says nothing ([comment]); it ends no event.
///
/// [comment]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
const COMMENT: Bytes = Bytes::from_static(b":\n");

/// How long is waited for a client, and for something to send to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until a client has taken what was made for it.
    pub(super) stall: Duration,
    /// Until server-sent events without news get a comment; proxies close what is quiet for a minute.
    pub(super) beat: Duration,
    /// Until another stream that sends nothing breaks off.
    pub(super) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (stall, beat, silence) = (Duration::from_secs(60), Duration::from_secs(15), Duration::from_secs(600));
        Self { stall, beat, silence }
    }
}

/// Where the next part goes: a chunk, or nothing at the end. Dropped, the body breaks off.
type Want = oneshot::Sender<Option<Bytes>>;

/// Why a body has no end.
#[derive(Debug)]
struct BrokeOff;

impl fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream broke off")
    }
}

impl std::error::Error for BrokeOff {}

/// The body of a stream whose head has these headers. Dropping it ends the stream.
pub(super) fn body(streaming: Streaming, follow: Follow, headers: &HeaderMap, patience: Patience) -> Body {
    let is_events = headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
    let (wants, wanted) = mpsc::channel(1);
    let now = Instant::now();
    let made =
        Made { streaming, follow, is_events, patience, left: Bytes::new(), sent: now, next: now, whole_line: true };
    tokio::spawn(drive(made, wanted));
    Body::from_stream(stream::unfold(Some(wants), |wants| async {
        let (wants, (want, part)) = (wants?, oneshot::channel());
        // a task that has ended takes no wish, and then there is no part
        let _ = wants.send(want).await;
        match part.await {
            Ok(Some(piece)) => Some((Ok(piece), Some(wants))),
            Ok(None) => None,
            Err(_) => Some((Err(BrokeOff), None)),
        }
    }))
}

/// Makes a stream to its end, or until nobody wants it any more.
async fn drive(mut made: Made, mut wanted: mpsc::Receiver<Want>) {
    let instance = Arc::clone(made.streaming.instance());
    let mut want = None;
    let outcome = tokio::select! {
        biased;
        () = instance.streams_cut() => StreamOutcome::CutOff,
        outcome = made.run(&mut wanted, &mut want) => outcome,
    };
    // before its drain and the body learn of it: who has seen the end finds it counted
    instance.metrics.stream_ended(outcome);
    drop(made);
    if let (StreamOutcome::Ended, Some(want)) = (outcome, want) {
        // a client that is gone needs no end
        let _ = want.send(None);
    }
}

/// A stream as it is made.
struct Made {
    streaming: Streaming,
    follow: Follow,
    /// Whether it is server-sent events.
    is_events: bool,
    patience: Patience,
    /// What is left of the last piece.
    left: Bytes,
    /// When something was sent last.
    sent: Instant,
    /// When the next piece may be made.
    next: Instant,
    /// Whether what was sent ends with the end of a line.
    whole_line: bool,
}

impl Made {
    /// Gives parts as long as somebody wants them; how it ended. `want` is the wish that is not met then.
    async fn run(&mut self, wanted: &mut mpsc::Receiver<Want>, want: &mut Option<Want>) -> StreamOutcome {
        loop {
            *want = match tokio::time::timeout(self.patience.stall, wanted.recv()).await {
                Ok(Some(want)) => Some(want),
                // who takes nothing has gone, whether or not it said so
                Ok(None) | Err(_) => return StreamOutcome::Abandoned,
            };
            let gone = async {
                if let Some(want) = want.as_mut() {
                    want.closed().await
                }
            };
            let part = tokio::select! {
                biased;
                () = gone => return StreamOutcome::Abandoned,
                part = self.part() => part,
            };
            match (part, want.take()) {
                (Ok(Some(part)), Some(met)) => {
                    self.sent = Instant::now();
                    self.streaming.instance().metrics.sent.inc_by(answer::bytes(&part));
                    // the next wish says whether it was taken
                    let _ = met.send(Some(part));
                }
                (part, left) => {
                    *want = left;
                    return part.map_or_else(|outcome| outcome, |_| StreamOutcome::Ended);
                }
            }
        }
    }

    /// What is sent next; nothing at the end.
    async fn part(&mut self) -> Result<Option<Bytes>, StreamOutcome> {
        while self.left.is_empty() {
            let quiet = if self.is_events && self.whole_line { self.patience.beat } else { self.patience.silence };
            if tokio::time::timeout_at(self.sent + quiet, tokio::time::sleep_until(self.next)).await.is_err() {
                return if self.is_events && self.whole_line { Ok(Some(COMMENT)) } else { Err(StreamOutcome::Silent) };
            }
            let Some(Piece { body, after, .. }) = self.follow.next(&mut self.streaming).await? else { return Ok(None) };
            self.next = Instant::now() + if body.is_empty() { after.max(BREATH) } else { after };
            self.left = body;
        }
        let part = self.left.split_to(self.left.len().min(CHUNK));
        self.streaming.taken(self.left.len());
        self.whole_line = part.ends_with(b"\n");
        Ok(Some(part))
    }
}
