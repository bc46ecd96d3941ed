//! One instance's access to the residents of its slot.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::Shared;
use super::household::Household;
use super::subscription::Delivery;
use crate::manifest::ActorSpec;
use crate::monitor::InstanceKey;
use crate::sandbox::ports::{MAX_TIMERS, Residence, Timer};

/// Keeps a household open from the start of an instance to its end, also while no version serves yet.
pub(super) struct Share {
    key: InstanceKey,
    shared: Arc<Shared>,
    household: Mutex<Option<Arc<Household>>>,
}

impl Share {
    pub(super) fn new(key: InstanceKey, shared: Arc<Shared>) -> Self {
        let household = shared.router.upgrade().map(|router| router.households.open(&key.id, &shared));
        Self { key, shared, household: Mutex::new(household) }
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

#[async_trait]
impl Residence for Share {
    fn send(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<(), HostError> {
        self.household()?.actor(actor).send(actor, message, call, &self.key)
    }

    async fn call(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError> {
        self.household()?.actor(actor).call(actor, message, call, &self.key).await
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
                    tick: None,
                });
            }
        }
    }

    fn set_timer(&self, timer: Timer) -> Result<String, HostError> {
        self.household()?.set_timer(timer).ok_or_else(|| {
            let what = format!("{} has {MAX_TIMERS} timers, which is the most", self.key.id);
            HostError::new(HostErrorKind::Overloaded, what)
        })
    }

    fn cancel_timer(&self, id: &str) -> bool {
        self.household().is_ok_and(|household| household.cancel_timer(id))
    }
}
