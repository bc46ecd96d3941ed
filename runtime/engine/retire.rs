//! What has no place in its slot any more: it finishes what it holds, says goodbye, and stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::activation::Activation;
use super::apply::guarded;
use super::board::version_of;
use super::outcome::FailedFarewell;
use super::plan::Change;
use super::probe::place;
use super::record::VersionRecord;
use super::state::{Happening, State};
use crate::actors::Instance;
use crate::actors::gate::Pass;
use crate::manifest::{Deactivation, DeactivationStrategy};
use crate::monitor::InstanceKey;

/// How an instance lost its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Another version serves.
    Replaced,
    /// The module goes out of service: its clean-ups run.
    Deactivated,
}

/// Drains and stops an instance while others go on; what is returned ends when it has stopped. Its state says already
/// that it drains.
pub(super) fn spawn(work: &Activation, key: &InstanceKey, why: Why) -> Option<JoinHandle<()>> {
    spawn_all(work, vec![key.clone()], why)
}

/// [`spawn`] for several, one after the other: those that have ended call none of those behind them any more.
pub(super) fn spawn_all(work: &Activation, keys: Vec<InstanceKey>, why: Why) -> Option<JoinHandle<()>> {
    // once the engine stops, it stops what is left itself
    let pass = Pass::enter(Arc::clone(&work.shared.drains))?;
    let work = work.clone();
    Some(tokio::spawn(async move {
        for key in &keys {
            retire(&work, key, why).await;
        }
        drop(pass);
    }))
}

/// How an instance ended.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// How many calls were cut off.
    pub(super) cut_off: usize,
    /// What of its farewell failed.
    pub(super) failed: Vec<FailedFarewell>,
}

/// Drains and stops an instance that is draining, unless somebody does already.
pub(super) async fn retire(work: &Activation, key: &InstanceKey, why: Why) -> Retired {
    let (hands, mut retired) = (&work.shared.hands, Retired::default());
    let Some(instance) = hands.instances.instance(key).filter(|_| hands.instances.goes(key)) else { return retired };
    let farewell = async {
        place!(work.shared, &key.id, "drain", Before);
        retired.cut_off = drain(&instance, patience(&instance.manifest.lifecycle.deactivation)).await;
        place!(work.shared, &key.id, "farewell", Before);
        retired.failed = hands.farewell(&instance, why == Why::Deactivated).await;
        place!(work.shared, &key.id, "farewell", After);
        Ok(())
    };
    // however it says goodbye, it goes
    if let Err(fault) = guarded(farewell).await {
        tracing::error!(instance = %key, %fault, "an instance could not end as it should");
    }
    let_go(work, key).await;
    if let Err(error) = work.happened(key, Happening::Drained, None).await {
        tracing::error!(instance = %key, %error, "the end of a drain could not be recorded");
    }
    retired
}

/// Begins the end of the instances of a module that drain and of which nobody sees to it.
pub(super) fn displaced(work: &Activation, id: &str) {
    let slot = work.shared.board.slot(id);
    for key in work.shared.hands.instances.keys().into_iter().filter(|key| *key.id == *id) {
        let record = version_of(&key).and_then(|version| slot.versions.get(&version));
        // what is returned from, or on its way, has a command of its own
        let is_of = |it: &VersionRecord| it.generation == key.generation && it.state == State::Draining;
        let drains = record.is_some_and(|it| it.generation > key.generation || is_of(it));
        if drains && slot.state.keys().all(|placed| *placed != key) {
            spawn(work, &key, Why::Replaced);
        }
    }
}

/// The same for those that a command was returning from when it died: they have no traffic, and what was done of them stays.
pub(super) async fn unreturned(work: &Activation, id: &str) {
    let (slot, instances) = (work.shared.board.slot(id), &work.shared.hands.instances);
    for key in instances.keys().into_iter().filter(|key| *key.id == *id) {
        let record = version_of(&key).and_then(|version| slot.versions.get(&version));
        let returned = record.is_some_and(|it| it.generation == key.generation && it.state == State::RollingBack);
        if !returned || slot.state.keys().any(|placed| *placed == key) {
            continue;
        }
        instances.change(&key, |running| running.left = true);
        let reason = "the way back died of an internal error; what it did to data stays".to_owned();
        if let Err(error) = work.happened(&key, Happening::UndoFailed, Some(reason)).await {
            tracing::error!(instance = %key, %error, "the end of a return could not be recorded");
        }
    }
    sweep(work, id);
}

/// Lets go, beside whatever goes on, of what earlier instances of a module left behind.
pub(super) fn sweep(work: &Activation, id: &str) {
    for key in work.shared.hands.instances.take_left(id) {
        // once the engine stops, it stops what is left itself
        let Some(pass) = Pass::enter(Arc::clone(&work.shared.drains)) else { return };
        let work = work.clone();
        tokio::spawn(async move {
            let_go(&work, &key).await;
            drop(pass);
        });
    }
}

/// Stops an instance and releases what is held for it, within the manifest's time for a rollback. What fails is tried again
/// when the module is activated next.
async fn let_go(work: &Activation, key: &InstanceKey) {
    let (hands, mut left) = (&work.shared.hands, false);
    let Some(running) = hands.instances.get(key) else { return };
    let time = running.subject.manifest.lifecycle.rollback.timeout;
    let deadline = tokio::time::Instant::now() + time;
    for change in [Change::Stop(key.clone()), Change::Unbind(key.clone()), Change::Release(key.clone())] {
        let late = |_| Err(format!("it took longer than {} ms", time.as_millis()));
        // what waits for it must not wait for ever
        let made = tokio::time::timeout_at(deadline, hands.apply(&change)).await.unwrap_or_else(late);
        if let Err(fault) = made {
            tracing::warn!(instance = %key, %fault, "an instance that ended left something behind");
            left = true;
        }
    }
    if left {
        hands.instances.change(key, |running| running.left = true);
    } else {
        hands.instances.remove(key);
    }
}

/// Gives the states of the actors to what serves now, within `time`; how many messages are lost by that. What it does not
/// take is kept and told: it keeps nobody from returning. Actors that only the version before had end.
pub(super) async fn hands_over(work: &Activation, to: Option<&InstanceKey>, time: Duration) -> u64 {
    let (Some(key), shared) = (to, &work.shared) else { return 0 };
    let fitted = tokio::time::timeout(time, shared.router.fit(key)).await;
    if !shared.board.slot(&key.id).state.is_provisional() {
        shared.router.is_back(&key.id);
    }
    fitted.map_or(0, |fitted| fitted.lost)
}

/// How long those inside may take to finish.
pub(super) const fn patience(deactivation: &Deactivation) -> Duration {
    match deactivation.strategy {
        DeactivationStrategy::Graceful => deactivation.timeout,
        DeactivationStrategy::Immediate => Duration::ZERO,
    }
}

/// Lets nobody enter and waits for those inside, at most this long; says how many are left.
pub(super) async fn drain(instance: &Arc<Instance>, patience: Duration) -> usize {
    instance.close();
    if tokio::time::timeout(patience, instance.drained()).await.is_ok() {
        return 0;
    }
    let left = instance.in_flight();
    if left > 0 {
        tracing::warn!(instance = %instance.key, left, "requests are cut off: the drain deadline passed");
        instance.cuts_off(patience, left);
    }
    left
}
