//! The calls of a stream: for whom they are made, and what becomes of one that is turned away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Principal};

use crate::actors::router::{Blame, Broken, CallError, Instance, Piece, Streaming};
use crate::integration::api::{answer, deadline};
use crate::integration::auth::Authenticator;
use crate::monitor::StreamOutcome;

/// How often a piece is asked for again that admission turned away, and a verifier that did not answer.
const TRIES: u32 = 8;

/// How long to wait before the first such try; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// For whom a stream is made. Who is signed in is asked anew for each piece: a stream outlives no token.
pub(in crate::integration::api) struct Follow {
    pub(in crate::integration::api) request_id: Arc<str>,
    pub(in crate::integration::api) auth: Authenticator,
    /// What whoever opened it was signed in by; nothing: nobody was.
    pub(in crate::integration::api) token: Option<String>,
    /// What whoever reads it must be allowed.
    pub(in crate::integration::api) permissions: Arc<[String]>,
}

/// Why there is no piece.
enum No {
    /// Admission turned the call away, or the verifier did not answer: it may be tried again after so long.
    Yet(Duration, Box<dyn std::error::Error + Send + Sync>),
    /// It breaks off.
    More(StreamOutcome),
}

impl Follow {
    /// The next piece; what admission turns away is asked for again.
    pub(super) async fn next(&self, streaming: &mut Streaming) -> Result<Option<Piece>, StreamOutcome> {
        let mut tried = 0;
        loop {
            match self.once(streaming, tried).await {
                Ok(piece) => return Ok(piece),
                Err(No::Yet(wait, _)) if tried < TRIES => {
                    tokio::time::sleep(wait).await;
                    tried += 1;
                }
                Err(No::Yet(_, error)) => {
                    self.log(streaming, &*error, "");
                    return Err(StreamOutcome::Refused);
                }
                Err(No::More(outcome)) => return Err(outcome),
            }
        }
    }

    async fn once(&self, streaming: &mut Streaming, tried: u32) -> Result<Option<Piece>, No> {
        let turn = streaming.turn().await;
        let principal = self.principal(tried).await?;
        let call = self.call(streaming.instance(), principal);
        let broken = match streaming.next(turn, call).await {
            Ok(piece) => return Ok(piece),
            Err(broken) => broken,
        };
        if let Some(wait) = turned_away(&broken, tried) {
            return Err(No::Yet(wait, Box::new(broken)));
        }
        let outcome = outcome(&broken);
        if outcome != StreamOutcome::CutOff {
            let trace = if let Broken::Call(error) = &broken { answer::trace(error) } else { "" };
            self.log(streaming, &broken, trace);
        }
        Err(No::More(outcome))
    }

    /// Who reads it now, if it is still theirs to read.
    async fn principal(&self, tried: u32) -> Result<Option<Arc<Principal>>, No> {
        let Some(token) = &self.token else { return Ok(None) };
        let asked = self.auth.principal(token, &self.request_id).await;
        match asked.map_err(|error| No::Yet(backoff(tried), Box::new(error)))? {
            Some(principal) if self.permissions.iter().all(|permission| principal.may(permission)) => {
                Ok(Some(principal))
            }
            _ => Err(No::More(StreamOutcome::SignedOut)),
        }
    }

    /// Each call has the time of a request.
    fn call(&self, instance: &Instance, principal: Option<Arc<Principal>>) -> CallContext {
        CallContext {
            module: Arc::clone(&instance.key.id),
            version: Arc::clone(&instance.key.version),
            request_id: Arc::clone(&self.request_id),
            caller: None,
            deadline: deadline(Instant::now(), instance),
            chain: Vec::new(),
            hops: 0,
            principal,
            mirrored: None,
            readying: None,
        }
    }

    fn log(&self, streaming: &Streaming, error: &dyn std::error::Error, trace: &str) {
        let (key, handler) = (&streaming.instance().key, streaming.handler());
        let (request_id, module, version) = (&*self.request_id, &*key.id, &*key.version);
        tracing::warn!(request_id, module, version, %handler, %error, trace, "a stream broke off");
    }
}

/// How a stream ends whose next piece is this.
const fn outcome(broken: &Broken) -> StreamOutcome {
    match broken {
        Broken::Call(error) => match error.blame() {
            // it stops: the pool is closed, or the script was stopped
            Blame::Nobody => StreamOutcome::CutOff,
            Blame::Admission => StreamOutcome::Refused,
            Blame::Instance | Blame::Caller => StreamOutcome::Failed,
        },
        Broken::Room { .. } => StreamOutcome::Refused,
        Broken::Piece { .. } => StreamOutcome::Failed,
    }
}

/// How long to wait before the next try, where this is a refusal.
fn turned_away(broken: &Broken, tried: u32) -> Option<Duration> {
    match broken {
        Broken::Call(CallError::Throttled { wait, .. }) => Some(backoff(tried).max(*wait).min(LONGEST_WAIT)),
        Broken::Call(error) if error.blame() != Blame::Admission => None,
        Broken::Call(_) | Broken::Room { .. } => Some(backoff(tried)),
        Broken::Piece { .. } => None,
    }
}

fn backoff(tried: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << tried.min(16)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_away_waits_longer_each_time_and_as_long_as_it_was_told_within_bounds() {
        let full = Broken::Call(CallError::Overloaded { instance: "a@1".into(), queue: 1 });
        let throttled =
            |millis| Broken::Call(CallError::Throttled { instance: "a@1".into(), wait: Duration::from_millis(millis) });
        let wait = |broken: &Broken, tried| turned_away(broken, tried).expect("a refusal");
        let waits: Vec<_> = (0..TRIES).map(|tried| wait(&full, tried).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(wait(&full, u32::MAX), LONGEST_WAIT);
        assert_eq!(wait(&throttled(700), 0), Duration::from_millis(700));
        assert_eq!(wait(&throttled(60_000), 0), LONGEST_WAIT);
        assert_eq!(turned_away(&Broken::Call(CallError::Crashed("a@1".into())), 0), None);
    }

    #[test]
    fn only_what_the_script_did_is_its_failure() {
        let call = |error| outcome(&Broken::Call(error));
        assert_eq!(call(CallError::Crashed("a@1".into())), StreamOutcome::Failed);
        assert_eq!(call(CallError::Timeout(Duration::ZERO)), StreamOutcome::Failed);
        assert_eq!(call(CallError::Overloaded { instance: "a@1".into(), queue: 1 }), StreamOutcome::Refused);
        assert_eq!(call(CallError::Closed("a@1".into())), StreamOutcome::CutOff);
    }
}
