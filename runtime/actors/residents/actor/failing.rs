//! What follows when the state of an actor is lost: for itself, and for those that go down with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::standing::{Hold, Standing};
use super::{Life, ScriptActor};
use crate::actors::residents::failures::{Cause, Verdict};
use crate::actors::residents::household::strategy::{End, Followed};
use crate::manifest::Restart;
use crate::monitor::{Event, InstanceKey};

impl ScriptActor {
    /// Starts it anew, holds it, or ends it, as the manifest of the version that has the slot says; how long it waits before it
    /// begins anew. `failed` is the version that it failed in.
    pub(super) fn fail(&self, life: &mut Life, failed: Option<InstanceKey>, why: (Cause, &str)) -> Duration {
        life.end();
        let now = Duration::ZERO;
        let (Some(owner), Some(household)) = (self.shared.owner(&self.module), self.household.upgrade()) else {
            return now;
        };
        let Some(position) = owner.manifest.runtime.actors.iter().position(|spec| *spec.id == *self.name) else {
            return now;
        };
        let key = failed.as_ref().unwrap_or(&owner.key);
        if owner.manifest.runtime.actors[position].restart == Restart::Temporary {
            self.end();
            self.tell(key, why, ("ended", &[]));
            return now;
        }
        // a version is not blamed for what the one before did
        let end = End { actor: self, position, why, counts: *key == owner.key };
        let Followed { verdict, hold, with } = household.one_ended(&owner, &end, || life.pause());
        let Some(hold) = hold else {
            // to stop is no failure, as long as nobody else has to do with it
            if why.0 != Cause::Stop || !with.is_empty() {
                self.tell(key, why, ("restarted", &with));
            }
            return if let Verdict::Restart(wait) = verdict { wait } else { now };
        };
        self.tell(key, why, ("held", &with));
        self.hold(&hold);
        if verdict == Verdict::GiveUp {
            let rule = &owner.manifest.runtime.supervision;
            let (name, reason, intensity, period) = (&self.name, why.1, rule.intensity, rule.period);
            let fault = format!("actor {name} failed ({reason}) after {intensity} restarts within {period:?}");
            if let Some(live) = owner.quotas().teller() {
                live.gave_up(u64::from(intensity), &fault);
            }
            // before it is told: who missed that looks here
            owner.actors_give_up(&fault, hold.until);
            self.shared.events.emit(Event::CriticalError { instance: owner.key.clone(), reason: fault });
        }
        now
    }

    /// It was asked for its end and told so; how long it waits before it begins anew.
    pub(super) fn stop(&self, life: &mut Life, owner: InstanceKey, restart: Restart) -> Duration {
        if restart == Restart::Permanent {
            return self.fail(life, Some(owner), (Cause::Stop, "it stopped"));
        }
        life.end();
        // one that goes down and up with another one is up again
        if !self.is_to_forget.load(Ordering::Acquire) {
            self.end();
        }
        Duration::ZERO
    }

    /// It goes down with another one that failed, and up again unless it is temporary; the message in hand ends with the state
    /// that it has. What was never begun has nothing to give up. Whether it did anything.
    pub(in crate::actors::residents) fn goes_along(&self, restart: Restart, hold: Option<&Hold>) -> bool {
        // kept until it is down: its reader begins nothing meanwhile
        let mut life = self.life.try_lock();
        let has_begun = match &mut life {
            Ok(life) => {
                let has_begun = !life.is_new();
                life.end();
                has_begun
            }
            Err(_) => {
                self.is_to_forget.store(true, Ordering::Release);
                true
            }
        };
        let has_ended = self.has_ended();
        match (restart, hold) {
            (Restart::Temporary, _) if has_ended => return false,
            (Restart::Temporary, _) if has_begun => self.end(),
            (_, Some(hold)) => self.hold(hold),
            (_, None) if has_ended => *self.standing() = Standing::Runs,
            (_, None) => return has_begun,
        }
        true
    }

    /// Whether it went down with another one while the message in hand ran.
    pub(in crate::actors::residents) fn went_along(&self) -> bool {
        self.is_to_forget.load(Ordering::Acquire)
    }

    /// For the reader, between two messages: gives up the state if it went down with another one.
    pub(super) fn forgets(&self, life: &mut Life) {
        if self.is_to_forget.swap(false, Ordering::AcqRel) {
            life.end();
        }
    }

    /// Tells what failed and why, what follows, and who went down with it.
    pub(super) fn tell(
        &self,
        key: &InstanceKey,
        (cause, reason): (Cause, &str),
        (next, with): (&'static str, &[Arc<str>]),
    ) {
        let owner = self.shared.owner(&self.module).filter(|instance| instance.key == *key);
        let with: Vec<String> = with.iter().map(|name| name.to_string()).collect();
        if let Some(live) = owner.as_ref().and_then(|instance| instance.quotas().teller()) {
            live.actor_failed(&self.name, reason, (next, &with));
        }
        self.shared.events.emit(Event::ActorFailed {
            instance: key.clone(),
            actor: self.name.to_string(),
            cause: cause.name(),
            reason: reason.to_owned(),
            next,
            with,
        });
    }
}
