//! Who asks: from a token to a principal.
//!
//! The module that provides the capability [`CAPABILITY`] and serves is the verifier: its service
//! `authentication.verify` turns `{token}` into `{subject, permissions, expires}` or nothing. What it said is kept until
//! `expires` or until it withdraws its answers ([`Authenticator::invalidate`]), whichever is first; that nobody stands
//! behind a token is kept for a second. Where no module provides the capability, nobody is signed in.
//!
//! A token that is known costs a hash and one read of a snapshot. Requests that ask for the same unknown token at the
//! same time share one call of the verifier.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use replug_scripts::{CallContext, Handler, Principal, Value};

use self::cache::{Cache, Entry, Key};
use super::chance;
use crate::actors::router::{BUCKETS, CallError, Router, Snapshot};

mod cache;
pub mod token;

#[cfg(all(test, feature = "lua"))]
mod tests;

/// The capability whose provider verifies tokens.
pub const CAPABILITY: &str = "authentication";

/// The service of it that is asked.
const SERVICE: &str = "authentication.verify";

/// Longer tokens are nobody's.
const MAX_TOKEN: usize = 8 << 10;

/// How long the verifier may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it is remembered that nobody stands behind a token. Short: a user may be made at any moment.
const NOBODY: Duration = Duration::from_secs(1);

/// The longest that an answer is kept, however far off its expiry.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls of the verifier that may be under way before those that were given up are swept.
const SWEEP: usize = 256;

/// Why nothing is known about a token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The verifier did not answer.
    #[error("module {module} did not verify a token: {source}")]
    Call {
        /// The verifier.
        module: Arc<str>,
        /// Why.
        source: CallError,
    },
    /// The verifier's answer is none.
    #[error("module {module} answered {SERVICE} with {what}; it must be {{subject, permissions, expires}} or nothing")]
    Answer {
        /// The verifier.
        module: Arc<str>,
        /// What is wrong.
        what: &'static str,
    },
}

/// An answer, for as many as wait for it.
type Answer = Result<Option<Arc<Principal>>, VerifyError>;
type Flight = Shared<BoxFuture<'static, Answer>>;
type Flights = HashMap<(Key, u64), WeakShared<BoxFuture<'static, Answer>>>;

/// Turns tokens into principals. Clones share everything.
#[derive(Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
}

struct Inner {
    router: Arc<Router>,
    cache: Cache,
    /// Counts the withdrawals. What was asked in an earlier epoch is not used in a later one.
    epoch: AtomicU64,
    /// Calls under way; off the way of a known token.
    flights: Mutex<Flights>,
}

impl Authenticator {
    /// One that finds the verifier through `router`.
    #[must_use]
    pub fn new(router: Arc<Router>) -> Self {
        let inner = Inner { router, cache: Cache::default(), epoch: AtomicU64::new(0), flights: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Who stands behind `token`; nobody where it is unknown, expired or withdrawn, or where no verifier serves.
    ///
    /// # Errors
    /// The verifier did not answer in its time, failed, or answered nonsense: nothing is known then.
    pub async fn principal(&self, token: &str, request_id: &Arc<str>) -> Answer {
        let Some(module) = provider(&self.inner.router.load()).cloned() else { return Ok(None) };
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let key = *blake3::hash(token.as_bytes()).as_bytes();
        let epoch = self.inner.epoch.load(Ordering::Acquire);
        if let Some(known) = self.inner.cache.get(&key, epoch, &module, Instant::now()) {
            return Ok(known);
        }
        self.flight(key, epoch, module, token, request_id).await
    }

    /// Forgets every answer, those on their way included.
    pub fn invalidate(&self) {
        self.inner.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The call under way for this token, begun now if there is none.
    fn flight(&self, key: Key, epoch: u64, module: Arc<str>, token: &str, request_id: &Arc<str>) -> Flight {
        let mut flights = self.inner.flights();
        if let Some(flight) = flights.get(&(key, epoch)).and_then(WeakShared::upgrade) {
            return flight;
        }
        if flights.len() >= SWEEP {
            flights.retain(|_, flight| flight.upgrade().is_some());
        }
        let (inner, token, request_id) = (Arc::clone(&self.inner), token.to_owned(), Arc::clone(request_id));
        let verify = async move {
            let answer = inner.verify(key, epoch, module, token, request_id).await;
            inner.flights().remove(&(key, epoch));
            answer
        };
        let flight = verify.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert((key, epoch), weak);
        }
        flight
    }
}

/// The module that verifies tokens at this moment.
pub(super) fn provider(snapshot: &Snapshot) -> Option<&Arc<str>> {
    snapshot.providers(CAPABILITY).first()
}

/// The path of the verifier's page that `component` draws, such as `Login`.
pub(super) fn page<'a>(snapshot: &'a Snapshot, component: &str) -> Option<&'a str> {
    // while it shifts, of the version that is to be replaced: it has the most sessions
    let instance = snapshot.instance(provider(snapshot)?, BUCKETS - 1)?;
    let route = instance.manifest.routes.iter().find(|route| route.component == component)?;
    Some(&route.path)
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn verify(&self, key: Key, epoch: u64, module: Arc<str>, token: String, request_id: Arc<str>) -> Answer {
        let call = CallContext {
            module: Arc::clone(&module),
            version: "".into(),
            request_id,
            caller: None,
            deadline: Instant::now() + PATIENCE,
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        };
        let args = vec![Value::map([("token", Value::Text(token))])];
        let handler = Handler::Service(SERVICE.into());
        let (principal, lasts) = match self.router.call(&module, chance::bucket(), &handler, args, call).await {
            Ok(answer) => read(&answer).map_err(|what| VerifyError::Answer { module: Arc::clone(&module), what })?,
            // it went away since: whoever asks now finds no verifier
            Err(CallError::NoModule(_)) => return Ok(None),
            Err(source) => return Err(VerifyError::Call { module, source }),
        };
        let now = Instant::now();
        let entry = Entry { principal: principal.clone(), until: now + lasts, epoch, module };
        self.cache.put(key, entry, now);
        Ok(principal)
    }
}

/// The principal of an answer and how long it holds.
fn read(answer: &Value) -> Result<(Option<Arc<Principal>>, Duration), &'static str> {
    if *answer == Value::Null {
        return Ok((None, NOBODY));
    }
    let subject = answer.get("subject").and_then(Value::as_str).ok_or("no string `subject`")?.to_owned();
    let permissions = match answer.get("permissions") {
        Some(Value::List(held)) => {
            let held = held.iter().map(|one| one.as_str().map(str::to_owned));
            held.collect::<Option<_>>().ok_or("`permissions` that are not strings")?
        }
        // an empty table of Lua may come as either
        Some(Value::Map(map)) if map.is_empty() => Vec::new(),
        _ => return Err("no list `permissions`"),
    };
    let lasts = match answer.get("expires") {
        None | Some(Value::Null) => NOBODY,
        Some(expires) => {
            let expires = expires.as_i64().ok_or("`expires` that is no whole number of milliseconds")?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_millis(u64::try_from(expires).unwrap_or(0)).saturating_sub(now);
            if left.is_zero() {
                return Ok((None, NOBODY));
            }
            left.min(LONGEST)
        }
    };
    Ok((Some(Arc::new(Principal { subject, permissions })), lasts))
}
