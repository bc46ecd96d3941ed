//! What lives in a slot rather than in a version: script actors, what waits for the handlers of events, and timers.
//!
//! They run in the version that owns the slot, which is looked up at each delivery: what serves, until another version
//! serves everything. So a swap needs no step of its own, but that the states fit ([`Router::fit`]). The message in hand ends in the version that began it, whose
//! drain waits for it; the next one runs in the new version.
//!
//! | state of a household | event → next |
//! |---|---|
//! | none | an instance of the module is made → open |
//! | open | the slot has another owner → open, what waited for one goes on · that one is confirmed → open, actors that it does not declare end · the slot goes → closed · the last instance goes → gone |
//! | closed | an instance of it is routed again → another one is opened in its place |
//!
//! Nothing here is an actor of ractor's: its mailboxes are unbounded and are lost when an actor fails. A resident has a bounded
//! queue, and a task only while something waits in it; a panic costs the message in hand, and an idle resident no task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;

use super::instance::Instance;
use super::router::{Router, Snapshot};
use crate::manifest::ActorSpec;
use crate::monitor::{Events, InstanceKey, Metrics};
use crate::sandbox::permissions::Live;
use crate::sandbox::ports::{Residence, Residents};
use crate::sandbox::quota::Account;

mod actor;
mod failures;
mod household;
mod larder;
mod letter;
mod mailbox;
mod share;
mod subscription;
mod tally;
mod timers;

pub use household::Fitted;
use household::Household;
use larder::Larder;
use share::Share;

/// The households of a runtime, by module.
#[derive(Default)]
pub struct Households(Mutex<HashMap<Arc<str>, Weak<Household>>>);

impl Households {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Household>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The household of a module, if one is open.
    fn get(&self, module: &str) -> Option<Arc<Household>> {
        self.lock().get(module)?.upgrade().filter(|household| !household.is_closed())
    }

    /// The household of a module, opened where there is none.
    fn open(&self, module: &Arc<str>, shared: &Arc<Shared>) -> Arc<Household> {
        let mut open = self.lock();
        let found = open.get(module).and_then(Weak::upgrade).filter(|household| !household.is_closed());
        found.unwrap_or_else(|| {
            open.retain(|_, household| household.strong_count() > 0);
            let household = Household::new(Arc::clone(module), Arc::clone(shared));
            open.insert(Arc::clone(module), Arc::downgrade(&household));
            household
        })
    }

    /// Ends what lived in slots that are gone, and tells what lives in slots that have another owner.
    pub(super) fn moved(&self, before: &Snapshot, after: &Snapshot) {
        for module in before.slots.keys().filter(|module| !after.slots.contains_key(*module)) {
            if let Some(household) = self.get(module) {
                household.close();
            }
        }
        for (module, owner) in after.slots.iter().filter_map(|(module, slot)| Some((module, slot.owner()?))) {
            if before.owner(module).is_none_or(|former| former.key != owner.key)
                && let Some(household) = self.get(module)
            {
                household.has_another_owner(&owner.key, &owner.manifest.runtime.actors);
            }
        }
    }
}

/// What all households have in common.
pub(super) struct Shared {
    /// Weak: the router leads to the instances, and they lead here.
    router: Weak<Router>,
    runtime: Handle,
    events: Events,
    metrics: Metrics,
}

impl Shared {
    /// The version that a module's residents run in now.
    fn owner(&self, module: &str) -> Option<Arc<Instance>> {
        self.router.upgrade()?.load().owner(module).cloned()
    }

    /// Counts what became of a message.
    fn count(&self, instance: &InstanceKey, kind: &str, outcome: &str) {
        self.metrics.delivery(instance, kind, outcome).inc();
    }
}

/// The residents of all modules of one router.
struct All(Arc<Shared>);

impl Residents for All {
    fn open(&self, live: &Arc<Live>, account: Arc<Account>) -> Arc<dyn Residence> {
        let larder = Larder::new(Arc::clone(live), account);
        Arc::new(Share::new(live.key().clone(), larder, Arc::clone(&self.0)))
    }
}

impl Router {
    /// What serves of the module is confirmed: its actors are those that it declares.
    pub fn settles(&self, module: &str) {
        self.of_owner(module, Household::settles);
    }

    /// What was confirmed before serves again: the actors that only the other version had end.
    pub fn is_back(&self, module: &str) {
        self.of_owner(module, Household::ends_others);
    }

    fn of_owner(&self, module: &str, work: impl FnOnce(&Household, &[ActorSpec])) {
        let Some(owner) = self.load().owner(module).cloned() else { return };
        if let Some(household) = self.households.get(module) {
            work(&household, &owner.manifest.runtime.actors);
        }
    }

    /// Fits the states of a module's actors to `key`, if that has the slot now. Cut off, what was not fitted yet is fitted
    /// before the actor's next message.
    pub async fn fit(&self, key: &InstanceKey) -> Fitted {
        let owner = self.load().owner(&key.id).filter(|owner| owner.key == *key).cloned();
        match (owner, self.households.get(&key.id)) {
            (Some(owner), Some(household)) => household.fit(&owner).await,
            _ => Fitted::default(),
        }
    }

    /// The actors, events and timers of the modules that it routes to; their tasks run on `runtime`.
    #[must_use]
    pub fn residents(self: &Arc<Self>, events: Events, metrics: Metrics, runtime: Handle) -> Arc<dyn Residents> {
        Arc::new(All(Arc::new(Shared { router: Arc::downgrade(self), runtime, events, metrics })))
    }
}
