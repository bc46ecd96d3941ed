//! What senders must know of an actor.

use std::time::Duration;

use replug_scripts::{HostError, HostErrorKind};
use tokio::time::Instant;

use super::ScriptActor;
use crate::actors::residents::letter::Letter;
use crate::monitor::InstanceKey;

/// Why messages to one that has ended are dropped.
pub(super) const ENDED: &str = "the actor has ended";

/// How it stands.
pub(super) enum Standing {
    Runs,
    /// It failed too often, it goes with one that did, or its state does not fit: it tries again later.
    Held {
        why: String,
        until: Instant,
    },
    /// It is not started again.
    Ended,
}

/// Why and how long actors are held.
pub(in crate::actors::residents) struct Hold {
    /// The version that holds them: no other one does.
    owner: InstanceKey,
    why: String,
    pub(in crate::actors::residents) until: Instant,
}

impl Hold {
    pub(in crate::actors::residents) fn now(owner: InstanceKey, why: impl Into<String>, pause: Duration) -> Self {
        Self { owner, why: why.into(), until: Instant::now() + pause }
    }
}

impl Standing {
    /// Why it is held, if it still is.
    pub(super) fn held(&self) -> Option<&str> {
        match self {
            Self::Held { why, until } if Instant::now() < *until => Some(why),
            _ => None,
        }
    }
}

impl ScriptActor {
    /// What a caller hears of one that is held.
    pub(super) fn held_for(&self, why: &str) -> HostError {
        self.error(HostErrorKind::Overloaded, format_args!("it is held for a while: {why}"))
    }

    /// Nobody can reach it any more in this version.
    pub(super) fn end(&self) {
        *self.standing() = Standing::Ended;
        self.empty_if_ended();
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.standing(), Standing::Ended)
    }

    /// Nothing waits for one that has ended. Who puts something into the mailbox asks this after that, since it may have ended
    /// in between; its reader asks before each message.
    pub(super) fn empty_if_ended(&self) {
        let left = {
            let standing = self.standing();
            // under its lock: what comes for the next version stays
            if matches!(*standing, Standing::Ended) { self.mailbox.take_out(|_| true) } else { return }
        };
        self.refuse(left, ENDED, &|| self.ended());
    }

    /// Holds it for a while: who waits is told, what was only sent waits on.
    pub(super) fn hold(&self, hold: &Hold) {
        *self.standing() = Standing::Held { why: hold.why.clone(), until: hold.until };
        if self.shared.owner(&self.module).is_some_and(|now| now.key != hold.owner) {
            // that one was told before it could know
            *self.standing() = Standing::Runs;
            return;
        }
        self.refuse(self.mailbox.take_out(Letter::is_asked), "it is held", &|| self.held_for(&hold.why));
    }

    /// For the reader: waits until it is held no more.
    pub(super) async fn waits_while_held(&self) {
        loop {
            let left = {
                let mut standing = self.standing();
                let Standing::Held { until, .. } = &*standing else { return };
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || self.mailbox.is_closed() {
                    *standing = Standing::Runs;
                    return;
                }
                left
            };
            self.mailbox.pause(left).await;
        }
    }

    /// For the reader: waits before it begins anew, as long as the rule of its slot says.
    pub(super) async fn backs_off(&self, wait: Duration) {
        if !wait.is_zero() {
            self.mailbox.pause(wait).await;
        }
    }
}
