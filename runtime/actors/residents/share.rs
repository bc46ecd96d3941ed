//! One instance's access to the residents of its slot.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::Shared;
use super::actor::ScriptActor;
use super::household::Household;
use super::larder::{Held, Larder};
use super::letter::link;
use super::subscription::Delivery;
use super::timers::NotSet;
use crate::manifest::ActorSpec;
use crate::monitor::InstanceKey;
use crate::sandbox::ports::{MAX_TIMERS, Residence, TIMERS_FULL, Timer, readying};

/// Keeps a household open from the start of an instance to its end, also while no version serves yet.
pub(super) struct Share {
    key: InstanceKey,
    larder: Larder,
    shared: Arc<Shared>,
    household: Mutex<Option<Arc<Household>>>,
}

impl Share {
    pub(super) fn new(key: InstanceKey, larder: Larder, shared: Arc<Shared>) -> Self {
        let household = shared.router.upgrade().map(|router| router.households.open(&key.id, &shared));
        Self { key, larder, shared, household: Mutex::new(household) }
    }

    /// The household; a closed one is replaced where the instance is routed again.
    fn household(&self) -> Result<Arc<Household>, HostError> {
        let mut household = self.household.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = household.as_ref().filter(|household| !household.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let router = self.shared.router.upgrade();
        let routed = router.filter(|router| {
            let slots = router.load();
            let targets = slots.slots.get(&self.key.id).map_or(&[][..], |slot| &slot.targets);
            targets.iter().any(|target| target.instance.key == self.key)
        });
        match routed {
            Some(router) => Ok(Arc::clone(household.insert(router.households.open(&self.key.id, &self.shared)))),
            None => Err(HostError::new(HostErrorKind::NotFound, format!("{} stopped serving", self.key.id))),
        }
    }
}

impl Share {
    /// An actor, with the message that is to wait for it.
    fn letter(
        &self,
        actor: &ActorSpec,
        message: Value,
        (function, call): (&str, &CallContext),
    ) -> Result<(Arc<ScriptActor>, Held), HostError> {
        let actor = self.household()?.actor(actor);
        match self.larder.hold(&message, function, call) {
            Ok(room) => Ok((actor, Held { value: message, room })),
            Err(none) => {
                self.shared.count(&self.key, "actor", "refused");
                Err(actor.error(HostErrorKind::Overloaded, none))
            }
        }
    }

    /// What `actor` did is not the doing of the actors that wait for it. One that waits for itself has nobody else to blame.
    fn lets_down(&self, actor: &ActorSpec, call: &CallContext) {
        let (itself, router) = (link(&self.key.id, &actor.id), self.shared.router.upgrade());
        let others = call.chain.iter().filter(|waits| **waits != itself).filter_map(|waits| waits.split_once('/'));
        for (module, waits) in others {
            let household = router.as_ref().and_then(|router| router.households.get(module));
            if let Some(actor) = household.and_then(|household| household.known(waits)) {
                actor.is_let_down();
            }
        }
    }
}

#[async_trait]
impl Residence for Share {
    fn send(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<(), HostError> {
        let (to, message) = self.letter(actor, message, ("actors.send", call))?;
        to.send(actor, message, call, &self.key).inspect_err(|_| self.lets_down(actor, call))
    }

    async fn call(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError> {
        let (to, message) = self.letter(actor, message, ("actors.call", call))?;
        to.call(actor, message, call, &self.key).await.inspect_err(|_| self.lets_down(actor, call))
    }

    fn publish(&self, topic: &str, payload: Value, call: &CallContext) {
        let Some(router) = self.shared.router.upgrade() else { return };
        let (routes, publisher) = (router.load(), &self.key.id);
        for module in routes.subscribers(topic) {
            // an id may begin with another one: what is meant for those that depend on the one is not heard from the other
            let hears = module == publisher
                || routes.owner(module).is_some_and(|owner| {
                    owner.manifest.dependencies.iter().any(|dependency| *dependency.id == **publisher)
                });
            if let Some(household) = router.households.get(module).filter(|_| hears) {
                household.hear(Delivery {
                    topic: topic.into(),
                    payload: payload.clone(),
                    publisher: Arc::clone(publisher),
                    request_id: Arc::clone(&call.request_id),
                    hops: call.hops.saturating_add(1),
                    tick: None,
                });
            }
        }
    }

    fn set_timer(&self, timer: Timer, call: &CallContext) -> Result<String, HostError> {
        let function = if timer.repeats { "timers.every" } else { "timers.after" };
        let hold = |payload: &Value| self.larder.hold(payload, function, call);
        let household = self.household()?;
        let (set, whose) = match readying(call) {
            Some(run) => (household.set_own_timer(&self.key, (timer, run), hold), " of its `init` and `warmup`"),
            None => (household.set_timer(timer, hold), ""),
        };
        set.map_err(|why| {
            let what = match why {
                NotSet::TooMany => format!("{} has {MAX_TIMERS} timers{whose}, {TIMERS_FULL}", self.key.id),
                NotSet::NoRoom(none) => none.to_string(),
            };
            HostError::new(HostErrorKind::Overloaded, what)
        })
    }

    fn cancel_timer(&self, id: &str, call: &CallContext) -> bool {
        self.household().is_ok_and(|household| household.cancel_timer(id, &self.key, readying(call).is_some()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let household = self.household.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(household) = household {
            household.left_by(&self.key);
        }
    }
}
