//! What becomes of the state of an actor where another version has the slot: whoever made the swap waits for that, since a
//! version that does not take the state must not keep the slot.
//!
//! | `upgrade` | what follows |
//! |---|---|
//! | gives a state, or nothing | that is the state, or it stays as it is |
//! | is not begun, or does not come to its end: no worker, no share of the processors, no heap that others have not | it is tried again |
//! | meets `overloaded` or `timeout`, or there is no room for its state now | the state of before the swap is back, where this version made that; otherwise it is tried again |
//! | is not begun or meets those for [`TRIES`], fails by anything else, or gives a state that is larger than the whole room | the state of before the swap is back, where this version made that; otherwise it does not fit |
//!
//! So `upgrade` may run more than once for one state, and what it does outside of it is done as often.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use replug_scripts::{Handler, HostError, HostErrorKind, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::life::{Past, TRIES};
use super::turn::{AGAIN, Stop, Turn};
use super::{Life, ScriptActor};
use crate::actors::instance::Instance;
use crate::actors::residents::failures::{Cause, passes};
use crate::actors::residents::larder::{self, Held};
use crate::actors::residents::letter::{Letter, link};
use crate::monitor::InstanceKey;
use crate::sandbox::quota::Parcel;

/// How long an `upgrade` waits for its next try that met what others fill or hold.
const CROWDED: Duration = Duration::from_millis(100);

/// Why `upgrade` made no state.
struct Unfit {
    error: HostError,
    reason: String,
    /// Until its next try, where what it met passes by itself.
    wait: Option<Duration>,
    /// Whether it came to something of its own.
    has_run: bool,
}

/// How many messages were lost by it, or why the state does not fit.
type Verdict = Result<u64, String>;

/// What came of it last, and in which instance.
pub(super) struct Fitted(watch::Sender<Option<(InstanceKey, Verdict)>>);

impl Default for Fitted {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Fitted {
    /// Notes what came of it; whether that is news. What was lost once is not forgotten by the next message.
    fn is(&self, key: &InstanceKey, verdict: impl FnOnce() -> Verdict) -> bool {
        self.0.send_if_modified(|told| {
            let is_known = told.as_ref().is_some_and(|(by, known)| by == key && known.is_ok());
            if !is_known {
                *told = Some((key.clone(), verdict()));
            }
            !is_known
        })
    }
}

impl ScriptActor {
    /// Makes the state, or fits it to the version, for whoever reads the messages, and lets whoever waits for that know.
    pub(super) async fn make_ready(&self, owner: &Arc<Instance>, life: &mut Life, letter: &Letter) -> Result<(), Stop> {
        let ready = self.ready(owner, life, letter).await;
        let verdict = match &ready {
            Ok(lost) => Ok(*lost),
            Err(Stop::Turn(Turn::Misfit { reason, .. })) => Err(reason),
            // there is no state that could not fit
            Err(Stop::Turn(Turn::NotBegun { .. })) => Ok(0),
            Err(_) => return ready.map(drop),
        };
        if self.fitted.is(&owner.key, || verdict.map_err(String::clone)) {
            // before it is told: who missed that looks there
            owner.misfits(&self.name, verdict.err().map(String::as_str));
        }
        ready.map(drop)
    }

    /// Fits the state to `owner`, which has the slot now, once the message in hand is over; how many messages are lost by
    /// that. Without a state there is nothing to do.
    ///
    /// # Errors
    /// The state does not fit. It is kept as it was.
    pub(in crate::actors::residents) async fn fit(&self, owner: &Arc<Instance>) -> Result<u64, String> {
        let fitted = self.fits(owner).await;
        self.lets_the_past_go();
        fitted
    }

    async fn fits(&self, owner: &Arc<Instance>) -> Result<u64, String> {
        let mut fitted = self.fitted.0.subscribe();
        let by_reader = async {
            let told = fitted.wait_for(|told| told.as_ref().is_some_and(|(by, _)| *by == owner.key)).await;
            told.ok().and_then(|told| told.clone())
        };
        // as long as messages wait, their reader does it before the next one and lets nobody in between
        let mut life = tokio::select! {
            biased;
            told = by_reader => return told.map_or(Ok(0), |(_, verdict)| verdict),
            life = self.life.lock() => life,
        };
        self.forgets(&mut life);
        if self.is_settled.swap(false, Ordering::AcqRel) {
            life.past = None;
        }
        let letter = self.no_letter(owner);
        loop {
            let has_slot = self.shared.owner(&self.module).is_some_and(|now| now.key == owner.key);
            let has_none = life.is_new() && !life.remembers(&owner.key.version);
            if has_none || self.mailbox.is_closed() || !has_slot {
                return Ok(0);
            }
            match self.ready(owner, &mut life, &letter).await {
                Ok(lost) => {
                    owner.misfits(&self.name, None);
                    return Ok(lost);
                }
                Err(Stop::Turn(Turn::Later(_, wait))) => tokio::time::sleep(wait).await,
                Err(Stop::Turn(Turn::Misfit { reason, .. })) => {
                    owner.misfits(&self.name, Some(&reason));
                    self.tell(&owner.key, (Cause::Upgrade, &reason), ("state kept", &[]));
                    return Err(reason);
                }
                Err(Stop::Closed) => return Err("its version goes".to_owned()),
                Err(Stop::Turn(_)) => return Err("internal error: a state was neither kept nor fitted".to_owned()),
            }
        }
    }

    /// Fits the state to the version, which did not make it; how many messages are lost by that.
    pub(super) async fn fit_to(&self, owner: &Arc<Instance>, life: &mut Life, letter: &Letter) -> Result<u64, Stop> {
        let (version, began) = (Arc::clone(&owner.key.version), Instant::now());
        let Some((state, made_by)) = &mut life.state else { return Ok(0) };
        // of versions that follow each other unconfirmed, the first is what is returned to
        if life.past.is_none() {
            life.past = self.kept_as_it_is(owner, state, made_by, letter);
        }
        let Err(unfit) = self.upgrade(owner, (state, made_by), letter).await? else {
            life.past.take_if(|past| past.made_by == version);
            *made_by = version;
            return Ok(0);
        };
        let Unfit { error, mut reason, wait, has_run } = unfit;
        let again = wait.filter(|_| !life.is_tried_too_long(&owner.key, began, Instant::now()));
        let later = |wait| Err(Stop::Turn(Turn::Later(error.clone(), wait)));
        if let Some(wait) = again.filter(|_| !has_run) {
            return later(wait);
        }
        if let Some(lost) = life.returns_to(&version) {
            let reason = format!("{reason}; what it was before the swap is back, without {lost} messages since");
            self.tell(&owner.key, (Cause::Upgrade, &reason), ("state of before the swap", &[]));
            return Ok(lost);
        }
        if let Some(wait) = again {
            return later(wait);
        }
        if wait.is_some() {
            reason = format!("{reason}; it was tried for {} s", TRIES.as_secs());
        }
        Err(Stop::Turn(Turn::Misfit { owner: owner.key.clone(), error, reason }))
    }

    /// Has `upgrade` make the state of the one that is there, if the version has it.
    async fn upgrade(
        &self,
        owner: &Arc<Instance>,
        (state, made_by): (&mut Held, &str),
        letter: &Letter,
    ) -> Result<Result<(), Unfit>, Stop> {
        if !owner.exports().has(&Handler::Upgrade) {
            return Ok(Ok(()));
        }
        let args = vec![state.value.clone(), Value::from(made_by), Value::from(&*self.name)];
        let unfit = |error: HostError, reason: &dyn Display, wait, has_run| {
            Ok(Err(Unfit { error, reason: format!("upgrade from {made_by}: {reason}"), wait, has_run }))
        };
        match self.run(owner, &Handler::Upgrade, args, letter).await {
            Ok(Value::Null) => Ok(Ok(())),
            Ok(upgraded) => {
                let (call, wait) =
                    (self.context(owner, letter), larder::could_keep(owner, &upgraded).then_some(CROWDED));
                match larder::keep(owner, state, upgraded, (&Handler::Upgrade, &call)) {
                    Ok(()) => Ok(Ok(())),
                    Err(none) => unfit(self.error(HostErrorKind::Overloaded, none), &none, wait, true),
                }
            }
            Err(error) => match self.unbegun(&error) {
                Err(Stop::Turn(Turn::Later(told, wait))) => unfit(told, &error, Some(wait), false),
                Err(stop) => Err(stop),
                Ok(Some(told)) => unfit(told, &error, Some(AGAIN), false),
                Ok(None) => unfit(self.told(&error), &error, passes(&error).then_some(CROWDED), true),
            },
        }
    }

    /// The state as it is before another version has it. Where there is no room for both, only the one that goes on is kept.
    fn kept_as_it_is(&self, owner: &Arc<Instance>, state: &Held, made_by: &Arc<str>, letter: &Letter) -> Option<Past> {
        let mut kept = Held { value: Value::Null, room: Parcel::none(Arc::clone(owner.account())) };
        let call = self.context(owner, letter);
        match larder::keep(owner, &mut kept, state.value.clone(), (&Handler::Upgrade, &call)) {
            Ok(()) => Some(Past { state: kept, made_by: Arc::clone(made_by), since: 0 }),
            Err(none) => {
                let (module, actor) = (&*self.module, &*self.name);
                tracing::warn!(module, actor, %none, "what an actor was before a swap is not kept");
                None
            }
        }
    }

    /// What `upgrade` is called for where there is no message.
    fn no_letter(&self, owner: &Instance) -> Letter {
        let nothing = Held { value: Value::Null, room: Parcel::none(Arc::clone(owner.account())) };
        let call = owner.context("upgrade", Duration::ZERO);
        Letter::sent(nothing, link(&self.module, &self.name), &call)
    }
}
