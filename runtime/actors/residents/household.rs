//! The residents of one slot. Its actors are supervised as one: see [`strategy`].

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use replug_scripts::{Handler, Readying, Value};
use tokio::time::Instant;

use super::Shared;
use super::actor::ScriptActor;
use super::failures::Failures;
use super::subscription::{Delivery, Subscription, Tick};
use super::timers::{Beat, NotSet, Timers};
use crate::actors::instance::Instance;
use crate::manifest::ActorSpec;
use crate::monitor::InstanceKey;
use crate::sandbox::ports::Timer;
use crate::sandbox::quota::Parcel;
use crate::sandbox::quota::heap::NoRoom;

pub(super) mod strategy;

/// Actors that are kept before those go that no version asks for and that hold nothing.
const MANY: usize = 256;

/// States that are fitted at a time: an actor that calls another one meanwhile finds a worker.
const AT_ONCE: usize = 4;

/// What came of the states of a slot's actors in another version.
#[derive(Debug, Default)]
pub struct Fitted {
    /// Messages whose effects are lost, since the version took no newer state and has that of before the swap.
    pub lost: u64,
    /// The actors whose state does not fit, and why. It is kept as it was.
    pub faults: Vec<String>,
}

/// The actors, by name.
#[derive(Default)]
struct Actors {
    table: HashMap<Arc<str>, Arc<ScriptActor>>,
    /// Those of the manifest of the version that has the slot, in its order, and after them those of versions before it.
    order: Vec<Arc<str>>,
}

/// What lives in one slot.
pub(super) struct Household {
    module: Arc<str>,
    shared: Arc<Shared>,
    actors: Mutex<Actors>,
    /// How often actors failed in the version that has the slot.
    failures: Mutex<Failures>,
    since: Instant,
    events: Arc<Subscription>,
    timers: Timers,
    is_closed: AtomicBool,
}

impl Household {
    pub(super) fn new(module: Arc<str>, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            events: Arc::new(Subscription::new(Arc::clone(&module), Arc::clone(&shared))),
            module,
            shared,
            actors: Mutex::default(),
            failures: Mutex::default(),
            since: Instant::now(),
            timers: Timers::default(),
            is_closed: AtomicBool::new(false),
        })
    }

    fn actors(&self) -> MutexGuard<'_, Actors> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The actor that a manifest declares, made at its first message.
    pub(super) fn actor(self: &Arc<Self>, spec: &ActorSpec) -> Arc<ScriptActor> {
        let mut actors = self.actors();
        if let Some(actor) = actors.table.get(&*spec.id) {
            return Arc::clone(actor);
        }
        if actors.table.len() >= MANY {
            // one that a sender was handed is not idle for long
            actors.table.retain(|_, actor| Arc::strong_count(actor) > 1 || !actor.is_idle());
        }
        let name: Arc<str> = spec.id.as_str().into();
        let above = (Arc::clone(&self.shared), Arc::downgrade(self));
        let actor = ScriptActor::new(Arc::clone(&self.module), Arc::clone(&name), above);
        let actor = Arc::new(actor);
        if self.is_closed() {
            actor.close();
        }
        actors.table.insert(name, Arc::clone(&actor));
        actor
    }

    /// The actor of this name, if it was made.
    pub(super) fn known(&self, name: &str) -> Option<Arc<ScriptActor>> {
        self.actors().table.get(name).cloned()
    }

    /// Queues an event for the module's handler.
    pub(super) fn hear(&self, delivery: Delivery) {
        self.events.put(delivery);
    }

    /// Sets a timer of the slot whose payload `hold` finds room for, and gives its id.
    pub(super) fn set_timer(
        &self,
        timer: Timer,
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
    ) -> Result<String, NotSet> {
        self.sets(|beat| self.timers.set(timer, beat, hold))
    }

    /// The same with a timer that a run of `init` or `warmup` sets for the version itself: it ticks as long as that has the slot.
    pub(super) fn set_own_timer(
        &self,
        key: &InstanceKey,
        timer: (Timer, &Readying),
        hold: impl FnOnce(&Value) -> Result<Parcel, NoRoom>,
    ) -> Result<String, NotSet> {
        self.sets(|beat| self.timers.set_own((key, || self.is_of(key)), timer, beat, hold))
    }

    fn sets<R>(&self, set: impl FnOnce(&Beat<'_, Box<dyn Fn(&Timer) + Send + Sync>>) -> R) -> R {
        let tick = |timer: &Timer| self.tick(timer);
        let set = set(&Beat { runtime: &self.shared.runtime, tick: &tick });
        if self.is_closed() {
            self.timers.clear();
        }
        set
    }

    /// What a timer calls.
    fn tick(&self, timer: &Timer) -> Box<dyn Fn(&Timer) + Send + Sync> {
        let (events, shared, publisher) =
            (Arc::clone(&self.events), Arc::clone(&self.shared), Arc::clone(&self.module));
        let topic: Arc<str> = timer.topic.as_str().into();
        let is_out = Arc::<AtomicBool>::default();
        Box::new(move |timer| {
            // before its first version serves, nobody is there to hear it
            let Some(owner) = shared.owner(&publisher) else { return };
            let Some(tick) = Tick::begin(&is_out) else { return shared.count(&owner.key, "timer", "skipped") };
            events.put(Delivery {
                topic: Arc::clone(&topic),
                payload: timer.payload.clone(),
                publisher: Arc::clone(&publisher),
                request_id: "timer".into(),
                // whatever set it: time keeps a circle through a timer slow
                hops: 0,
                tick: Some(tick),
            });
        })
    }

    /// Whether this version has the slot.
    fn is_of(&self, key: &InstanceKey) -> bool {
        self.shared.owner(&self.module).is_some_and(|owner| owner.key == *key)
    }

    /// Ends a timer on behalf of a version; while that only gets ready (`is_getting_ready`), one of the version's own.
    pub(super) fn cancel_timer(&self, id: &str, key: &InstanceKey, is_getting_ready: bool) -> bool {
        self.timers.cancel(id, key, is_getting_ready)
    }

    /// A version is gone, and with it what it set for itself.
    pub(super) fn left_by(&self, key: &InstanceKey) {
        self.timers.forget(key);
    }

    /// Another version has the slot, which declares these actors.
    pub(super) fn has_another_owner(&self, owner: &InstanceKey, declared: &[ActorSpec]) {
        self.sets(|beat| self.timers.move_to(owner, beat));
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).forget();
        let mut actors = self.actors();
        actors.declare(declared);
        for actor in actors.table.values() {
            actor.has_another_owner();
        }
    }

    /// Fits the states of its actors to `owner`, which has the slot now: each once its message in hand is over.
    pub(super) async fn fit(&self, owner: &Arc<Instance>) -> Fitted {
        let takes = |name: &str| {
            let declared = owner.manifest.runtime.actors.iter().any(|spec| *spec.id == *name);
            declared && owner.exports().has(&Handler::ActorHandle(name.into()))
        };
        let actors: Vec<_> = {
            let actors = self.actors();
            let taken = actors.table.iter().filter(|(name, _)| takes(name));
            taken.map(|(name, actor)| (Arc::clone(name), Arc::clone(actor), Arc::clone(owner))).collect()
        };
        let fits = futures::stream::iter(actors).map(|(name, actor, owner)| async move {
            let fitted = actor.fit(&owner).await;
            fitted.map_err(|reason| format!("actor {name}: {reason}"))
        });
        let mut fits = fits.buffer_unordered(AT_ONCE);
        let mut all = Fitted::default();
        while let Some(fitted) = fits.next().await {
            match fitted {
                Ok(lost) => all.lost += lost,
                Err(fault) => all.faults.push(fault),
            }
        }
        all
    }

    /// The version that has the slot is confirmed: actors that it does not declare end, and no other returns to what it was.
    pub(super) fn settles(&self, declared: &[ActorSpec]) {
        self.ends_others(declared);
        self.timers.settle();
        for actor in self.actors().table.values() {
            actor.settles();
        }
    }

    /// Actors that are not declared end.
    pub(super) fn ends_others(&self, declared: &[ActorSpec]) {
        let gone = {
            let mut actors = self.actors();
            let stay: HashSet<&str> = declared.iter().map(|spec| &*spec.id).collect();
            let (stay, gone) =
                std::mem::take(&mut actors.table).into_iter().partition(|(name, _)| stay.contains(&**name));
            let order = actors.order.clone();
            actors.table = stay;
            actors.declare(declared);
            Actors { table: gone, order }.last_first()
        };
        // closed without the lock: a script may be told
        for actor in gone {
            actor.close();
        }
    }

    /// Everything in it ends.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.timers.clear();
        self.events.close();
        // taken under the lock, closed after it: a script may be told
        let actors = std::mem::take(&mut *self.actors());
        for actor in actors.last_first() {
            actor.close();
        }
    }
}

impl Actors {
    /// Puts these first, and after them those that live and are not among them.
    fn declare(&mut self, declared: &[ActorSpec]) {
        let names: HashSet<&str> = declared.iter().map(|spec| &*spec.id).collect();
        let before = std::mem::take(&mut self.order);
        let others = before.into_iter().filter(|name| !names.contains(&**name) && self.table.contains_key(name));
        self.order = declared.iter().map(|spec| spec.id.as_str().into()).chain(others).collect();
    }

    /// All of them, in the order in which they end: last declared, first ended.
    fn last_first(mut self) -> Vec<Arc<ScriptActor>> {
        let last = std::mem::take(&mut self.order);
        let known: Vec<_> = last.iter().rev().filter_map(|name| self.table.remove(name)).collect();
        // what no version that had the slot declares was made last
        self.table.into_values().chain(known).collect()
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use tokio::runtime::Handle;

    use super::*;
    use crate::manifest::Restart;
    use crate::monitor::{Events, Metrics};

    fn specs(ids: &[&str]) -> Vec<ActorSpec> {
        let spec = |id: &&str| ActorSpec { id: (*id).to_owned(), restart: Restart::Permanent, mailbox: 1 };
        ids.iter().map(spec).collect()
    }

    /// A household whose actors were first called in this order.
    fn household(called: &[&str]) -> Arc<Household> {
        let (router, runtime) = (Weak::new(), Handle::current());
        let shared = Shared { router, runtime, events: Events::default(), metrics: Metrics::default() };
        let household = Household::new("shop".into(), Arc::new(shared));
        for spec in specs(called) {
            household.actor(&spec);
        }
        household
    }

    fn owner() -> InstanceKey {
        InstanceKey { id: "shop".into(), version: "1.0.0".into(), generation: 1 }
    }

    fn ends(household: &Household) -> Vec<String> {
        let actors = std::mem::take(&mut *household.actors());
        actors.last_first().iter().map(|actor| actor.name().to_string()).collect()
    }

    #[tokio::test]
    async fn actors_end_in_the_reverse_order_of_the_manifest_however_they_were_called() {
        let household = household(&["b", "c", "a"]);
        household.has_another_owner(&owner(), &specs(&["a", "b", "unused", "c"]));
        assert_eq!(ends(&household), ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn those_that_only_an_earlier_version_declares_end_before_those_that_go_on() {
        let household = household(&["new", "old", "both", "older"]);
        household.has_another_owner(&owner(), &specs(&["both", "older", "old"]));
        household.has_another_owner(&owner(), &specs(&["new", "both"]));
        assert_eq!(
            household.actors().order.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["new", "both", "older", "old"]
        );
        household.settles(&specs(&["new", "both"]));
        assert_eq!(household.actors().order.len(), 2, "nothing is kept of those that are gone");
        assert_eq!(ends(&household), ["both", "new"]);
    }
}
