//! Answers whose bodies a script makes piece by piece.
//!
//! A task of its own has one piece made after the other; a body takes them from it. The next piece is asked for only when the
//! client has taken the one before, so that a slow client holds one piece and no VM. Where the task ends without having come to
//! the end, the body breaks off: over HTTP/1.1 the last chunk is missing, over HTTP/2 the stream is reset.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures::stream;
use replug_scripts::{CallContext, Principal};
use tokio::sync::mpsc;

use super::{Asked, answer, deadline};
use crate::actors::router::{Blame, Broken, CallError, Instance, Piece, Streaming};
use crate::monitor::StreamOutcome;

/// The least time between two calls of which the first gave nothing to send: a script that looks for news does not spin.
const BREATH: Duration = Duration::from_millis(10);

/// How often a piece is asked for again that admission turned away.
const TRIES: u32 = 8;

/// How long to wait before the first such try; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// For whom a stream is made.
pub(super) struct Follow {
    request_id: Arc<str>,
    principal: Option<Arc<Principal>>,
}

impl Asked<'_> {
    /// What is kept of the request for the calls of its stream.
    pub(super) fn follow(&self) -> Follow {
        Follow { request_id: Arc::clone(&self.id.text), principal: self.principal.clone() }
    }
}

/// What a body gets.
enum Part {
    Piece(Bytes),
    End,
}

/// Why a body has no end.
#[derive(Debug)]
struct BrokeOff;

impl fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream broke off")
    }
}

impl std::error::Error for BrokeOff {}

/// The body of a stream, which begins at once. Dropping it ends the stream.
pub(super) fn body(streaming: Streaming, follow: Follow) -> Body {
    let (parts, taken) = mpsc::channel(1);
    tokio::spawn(drive(streaming, follow, parts));
    Body::from_stream(stream::unfold(Some(taken), |taken| async {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Part::Piece(piece)) => Some((Ok(piece), Some(taken))),
            Some(Part::End) => None,
            None => Some((Err(BrokeOff), None)),
        }
    }))
}

/// Makes a stream to its end, or until nobody wants it any more.
async fn drive(mut streaming: Streaming, follow: Follow, parts: mpsc::Sender<Part>) {
    let instance = Arc::clone(streaming.instance());
    let outcome = tokio::select! {
        biased;
        () = parts.closed() => StreamOutcome::Abandoned,
        () = instance.streams_cut() => StreamOutcome::CutOff,
        outcome = follow.to_the_end(&mut streaming, &parts) => outcome,
    };
    // before its drain and the body learn of it: who has seen the end finds it counted
    instance.metrics.stream_ended(outcome);
    drop(streaming);
    if outcome == StreamOutcome::Ended {
        // a place is free, since the last piece was taken; a client that is gone needs no end
        let _ = parts.try_send(Part::End);
    }
}

impl Follow {
    async fn to_the_end(&self, streaming: &mut Streaming, parts: &mpsc::Sender<Part>) -> StreamOutcome {
        loop {
            let Ok(place) = parts.reserve().await else { return StreamOutcome::Abandoned };
            let Piece { body, after, .. } = match self.next(streaming).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return StreamOutcome::Ended,
                // it stops: the pool is closed, or the script was stopped
                Err(Broken::Call(error)) if error.blame() == Blame::Nobody => return StreamOutcome::CutOff,
                Err(broken) => {
                    self.log(streaming, &broken);
                    return StreamOutcome::Failed;
                }
            };
            let after = if body.is_empty() { after.max(BREATH) } else { after };
            if !body.is_empty() {
                streaming.instance().metrics.sent.inc_by(answer::bytes(&body));
                place.send(Part::Piece(body));
            }
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
        }
    }

    /// The next piece; what admission turns away is asked for again.
    async fn next(&self, streaming: &mut Streaming) -> Result<Option<Piece>, Broken> {
        let mut tried = 0;
        loop {
            let call = self.call(streaming.instance());
            let error = match streaming.next(call).await {
                Err(Broken::Call(error)) if error.blame() == Blame::Admission && tried < TRIES => error,
                result => return result,
            };
            tokio::time::sleep(wait(&error, tried)).await;
            tried += 1;
        }
    }

    /// Each call has the time of a request.
    fn call(&self, instance: &Instance) -> CallContext {
        CallContext {
            module: Arc::clone(&instance.key.id),
            version: Arc::clone(&instance.key.version),
            request_id: Arc::clone(&self.request_id),
            caller: None,
            deadline: deadline(Instant::now(), instance),
            chain: Vec::new(),
            hops: 0,
            principal: self.principal.clone(),
            mirrored: None,
        }
    }

    fn log(&self, streaming: &Streaming, broken: &Broken) {
        let (key, handler) = (&streaming.instance().key, streaming.handler());
        let (request_id, module, version) = (&*self.request_id, &*key.id, &*key.version);
        let trace = if let Broken::Call(error) = broken { answer::trace(error) } else { "" };
        tracing::warn!(request_id, module, version, %handler, error = %broken, trace, "a stream broke off");
    }
}

/// How long to wait after a refusal.
fn wait(error: &CallError, tried: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << tried.min(16));
    match error {
        CallError::Throttled { wait: told, .. } => wait.max(*told),
        _ => wait,
    }
    .min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_away_waits_longer_each_time_and_as_long_as_it_was_told_within_bounds() {
        let full = CallError::Overloaded { instance: "a@1".into(), queue: 1 };
        let throttled = |millis| CallError::Throttled { instance: "a@1".into(), wait: Duration::from_millis(millis) };
        let waits: Vec<_> = (0..TRIES).map(|tried| wait(&full, tried).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(wait(&full, u32::MAX), LONGEST_WAIT);
        assert_eq!(wait(&throttled(700), 0), Duration::from_millis(700));
        assert_eq!(wait(&throttled(60_000), 0), LONGEST_WAIT);
    }
}
