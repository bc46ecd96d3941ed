//! What becomes of the state of an actor where another version has the slot: whoever made the swap waits for that, since a
//! version that does not take the state must not keep the slot.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use replug_scripts::Value;
use tokio::sync::watch;

use super::turn::{Stop, Turn};
use super::{Life, ScriptActor};
use crate::actors::instance::Instance;
use crate::actors::residents::failures::Cause;
use crate::actors::residents::larder::Held;
use crate::actors::residents::letter::{Letter, link};
use crate::monitor::InstanceKey;
use crate::sandbox::quota::Parcel;

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

    /// What `upgrade` is called for where there is no message.
    fn no_letter(&self, owner: &Instance) -> Letter {
        let nothing = Held { value: Value::Null, room: Parcel::none(Arc::clone(owner.account())) };
        let call = owner.context("upgrade", Duration::ZERO);
        Letter::sent(nothing, link(&self.module, &self.name), &call)
    }
}
