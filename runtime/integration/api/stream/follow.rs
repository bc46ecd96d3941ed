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
    /// What the request was signed in by.
    pub(in crate::integration::api) token: Option<String>,
    /// What whoever reads it must be allowed.
    pub(in crate::integration::api) permissions: Arc<[String]>,
}

impl Follow {
    /// The next piece; what admission turns away is asked for again.
    pub(super) async fn next(&self, streaming: &mut Streaming) -> Result<Option<Piece>, StreamOutcome> {
        let mut tried = 0;
        loop {
            let principal = self.principal(streaming).await?;
            let call = |instance: &Instance| self.call(instance, principal);
            match streaming.next(call).await {
                Ok(piece) => return Ok(piece),
                Err(Broken::Call(error)) if error.blame() == Blame::Admission && tried < TRIES => {
                    tokio::time::sleep(wait(&error, tried)).await;
                    tried += 1;
                }
                Err(broken) => {
                    let outcome = outcome(&broken);
                    if outcome != StreamOutcome::CutOff {
                        self.log(streaming, &broken);
                    }
                    return Err(outcome);
                }
            }
        }
    }

    /// Who reads it now, if the endpoint is still theirs to read.
    async fn principal(&self, streaming: &Streaming) -> Result<Option<Arc<Principal>>, StreamOutcome> {
        let Some(token) = &self.token else { return Ok(None) };
        let mut tried = 0;
        loop {
            match self.auth.principal(token, &self.request_id).await {
                Ok(principal) => {
                    let may = |permission| principal.as_ref().is_some_and(|principal| principal.may(permission));
                    return match self.permissions.iter().all(|permission| may(permission)) {
                        true => Ok(principal),
                        false => Err(StreamOutcome::SignedOut),
                    };
                }
                // as at its begin: what is open to all is so without a verifier too
                Err(_) if self.permissions.is_empty() => return Ok(None),
                Err(_) if tried < TRIES => {
                    tokio::time::sleep(backoff(tried)).await;
                    tried += 1;
                }
                Err(error) => {
                    self.log(streaming, &error);
                    return Err(StreamOutcome::Refused);
                }
            }
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
        }
    }

    fn log(&self, streaming: &Streaming, error: &(dyn std::error::Error + 'static)) {
        let (key, handler) = (&streaming.instance().key, streaming.handler());
        let (request_id, module, version) = (&*self.request_id, &*key.id, &*key.version);
        let trace = match error.downcast_ref() {
            Some(Broken::Call(error)) => answer::trace(error),
            _ => "",
        };
        tracing::warn!(request_id, module, version, %handler, %error, trace, "a stream broke off");
    }
}

/// How a stream ends whose next piece is this.
fn outcome(broken: &Broken) -> StreamOutcome {
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

/// How long to wait after a refusal.
fn wait(error: &CallError, tried: u32) -> Duration {
    match error {
        CallError::Throttled { wait: told, .. } => backoff(tried).max(*told).min(LONGEST_WAIT),
        _ => backoff(tried),
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
        let full = CallError::Overloaded { instance: "a@1".into(), queue: 1 };
        let throttled = |millis| CallError::Throttled { instance: "a@1".into(), wait: Duration::from_millis(millis) };
        let waits: Vec<_> = (0..TRIES).map(|tried| wait(&full, tried).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(wait(&full, u32::MAX), LONGEST_WAIT);
        assert_eq!(wait(&throttled(700), 0), Duration::from_millis(700));
        assert_eq!(wait(&throttled(60_000), 0), LONGEST_WAIT);
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
