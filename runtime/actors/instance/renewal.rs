//! What is made anew in an instance: its VMs, its connections, and its tree after that gave up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::Instance;

/// How far that has come.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// How often its VMs were to be made anew.
    era: AtomicU64,
    /// Why its tree gave up, until another one has started.
    gave_up: Mutex<Option<String>>,
    /// Why the actors of its slot did, and until when they pause.
    actors: Mutex<Option<(String, Instant)>>,
    /// The actors of its slot whose state it does not take, and why, until it does. Each is one that its manifest declares.
    misfits: Mutex<BTreeMap<Arc<str>, String>>,
}

impl Instance {
    /// Has each of its VMs made anew before the next call that begins in it: nothing that a script keeps in one outlives this. A
    /// call that has begun ends where it is.
    pub(crate) fn renew_vms(&self) {
        self.renewal.era.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was asked.
    pub(in crate::actors) fn era(&self) -> u64 {
        self.renewal.era.load(Ordering::Acquire)
    }

    /// Closes the connections to other hosts that nobody uses at this moment.
    pub(crate) fn close_connections(&self) {
        self.host.close_connections();
    }

    /// Notes why its tree gave up, or that another one has started.
    pub(in crate::actors) fn gives_up(&self, reason: Option<&str>) {
        *self.renewal.gave_up.lock().unwrap_or_else(PoisonError::into_inner) = reason.map(str::to_owned);
    }

    /// Notes why the actors of its slot gave up, and until when they pause.
    pub(in crate::actors) fn actors_give_up(&self, reason: &str, until: Instant) {
        let gave_up = Some((reason.to_owned(), until));
        *self.renewal.actors.lock().unwrap_or_else(PoisonError::into_inner) = gave_up;
    }

    /// Why its tree gave up, where none runs, or why the actors of its slot did, while they pause: for who may have missed the
    /// event.
    #[must_use]
    pub fn gave_up(&self) -> Option<String> {
        let tree = self.renewal.gave_up.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tree.or_else(|| {
            let actors = self.renewal.actors.lock().unwrap_or_else(PoisonError::into_inner);
            actors.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(reason, _)| reason.clone())
        })
    }

    /// Notes why it does not take the state of an actor, or that it does.
    pub(in crate::actors) fn misfits(&self, actor: &Arc<str>, reason: Option<&str>) {
        let mut misfits = self.renewal.misfits.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => drop(misfits.insert(Arc::clone(actor), reason.to_owned())),
            None => drop(misfits.remove(actor)),
        }
    }

    /// An actor whose state it does not take, and why: for who may have missed the event.
    #[must_use]
    pub fn misfit(&self) -> Option<(Arc<str>, String)> {
        let misfits = self.renewal.misfits.lock().unwrap_or_else(PoisonError::into_inner);
        misfits.first_key_value().map(|(actor, reason)| (Arc::clone(actor), reason.clone()))
    }

    /// Says that it has its module's slot: what other modules write for that one keeps to its storage quota from now on.
    pub(in crate::actors) fn owns_storage(&self) {
        if let (Some(supplies), Some(live)) = (&self.supplies, self.quotas.decided()) {
            supplies.outside.accounts.own(&self.key.id, live);
        }
    }
}
