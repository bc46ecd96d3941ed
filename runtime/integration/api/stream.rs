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
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
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
    let (wants, wanted) = mpsc::channel(1);
    let reader = Reader { wanted, want: None, stall: patience.stall };
    let made = Made { streaming, follow, pace: Pace::new(is_events(headers), patience) };
    tokio::spawn(drive(made, reader));
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

/// Whether they are those of server-sent events.
fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Makes a stream to its end, or until nobody wants it any more.
async fn drive(mut made: Made, mut reader: Reader) {
    let instance = Arc::clone(made.streaming.instance());
    let outcome = tokio::select! {
        biased;
        () = instance.streams_cut() => StreamOutcome::CutOff,
        ended = made.run(&mut reader) => ended.err().unwrap_or(StreamOutcome::Ended),
    };
    // before its drain and the body learn of it: who has seen the end finds it counted
    instance.metrics.stream_ended(outcome);
    drop(made);
    if outcome == StreamOutcome::Ended {
        reader.end();
    }
}

/// The side of the body.
struct Reader {
    wanted: mpsc::Receiver<Want>,
    /// The wish that is being met.
    want: Option<Want>,
    stall: Duration,
}

impl Reader {
    /// Waits until it wants a part. Who takes nothing has gone, whether or not it said so.
    async fn wants(&mut self) -> Result<(), StreamOutcome> {
        if self.want.is_none() {
            self.want = tokio::time::timeout(self.stall, self.wanted.recv()).await.ok().flatten();
        }
        if self.want.is_some() { Ok(()) } else { Err(StreamOutcome::Abandoned) }
    }

    /// Waits until it wants nothing any more.
    async fn gone(&mut self) {
        match &mut self.want {
            Some(want) => want.closed().await,
            None => std::future::pending().await,
        }
    }

    /// The next wish says whether it was taken.
    fn give(&mut self, part: Bytes) {
        let _ = self.want.take().map(|want| want.send(Some(part)));
    }

    fn end(mut self) {
        // a client that is gone needs no end
        let _ = self.want.take().map(|want| want.send(None));
    }
}

/// When something is to be sent.
struct Pace {
    is_events: bool,
    patience: Patience,
    /// When something was sent last.
    sent: Instant,
    /// Whether that ends with the end of a line.
    whole_line: bool,
    /// When the next piece may be made.
    next: Instant,
}

impl Pace {
    fn new(is_events: bool, patience: Patience) -> Self {
        let now = Instant::now();
        Self { is_events, patience, sent: now, whole_line: true, next: now }
    }

    /// Whether a comment keeps it up: in the middle of a line it would become part of that.
    const fn has_comments(&self) -> bool {
        self.is_events && self.whole_line
    }

    /// Until when there need not be anything to send.
    fn quiet_until(&self) -> Instant {
        self.sent + if self.has_comments() { self.patience.beat } else { self.patience.silence }
    }

    fn sends(&mut self, part: &[u8]) {
        self.sent = Instant::now();
        self.whole_line = matches!(part.last(), Some(b'\n' | b'\r'));
    }
}

/// A stream as it is made.
struct Made {
    streaming: Streaming,
    follow: Follow,
    pace: Pace,
}

impl Made {
    /// Gives parts to its end, or until it breaks off.
    async fn run(&mut self, reader: &mut Reader) -> Result<(), StreamOutcome> {
        loop {
            reader.wants().await?;
            let Some(mut left) = self.piece(reader).await? else { return Ok(()) };
            while !left.is_empty() {
                reader.wants().await?;
                let part = left.split_to(left.len().min(CHUNK));
                self.streaming.taken(left.len());
                self.pace.sends(&part);
                self.streaming.instance().metrics.sent.inc_by(answer::bytes(&part));
                reader.give(part);
            }
        }
    }

    /// The next piece that is not empty; nothing at the end. However long that takes, the reader hears something meanwhile.
    async fn piece(&mut self, reader: &mut Reader) -> Result<Option<Bytes>, StreamOutcome> {
        let Self { streaming, follow, pace } = self;
        let (instance, mut next) = (Arc::clone(streaming.instance()), pace.next);
        let made = async {
            loop {
                tokio::time::sleep_until(next).await;
                let Some(Piece { body, after, .. }) = follow.next(streaming).await? else { return Ok(None) };
                next = Instant::now() + if body.is_empty() { after.max(BREATH) } else { after };
                if !body.is_empty() {
                    return Ok(Some((body, next)));
                }
            }
        };
        tokio::pin!(made);
        loop {
            tokio::select! {
                biased;
                () = reader.gone() => return Err(StreamOutcome::Abandoned),
                made = &mut made => {
                    let Some((body, next)) = made? else { return Ok(None) };
                    pace.next = next;
                    return Ok(Some(body));
                }
                () = tokio::time::sleep_until(pace.quiet_until()) => {
                    if !pace.has_comments() {
                        return Err(StreamOutcome::Silent);
                    }
                    pace.sends(&COMMENT);
                    instance.metrics.sent.inc_by(answer::bytes(&COMMENT));
                    reader.give(COMMENT);
                    reader.wants().await?;
                }
            }
        }
    }
}
