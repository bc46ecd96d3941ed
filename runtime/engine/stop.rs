//! The end of an engine: what runs finishes what it holds, and stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::{Slot, Slots, version_of};
use super::{Engine, plan};
use crate::monitor::InstanceKey;
use crate::registry::resolver::{Running, Starts};

/// How long its own actor may take to stop.
const ENDS: Duration = Duration::from_secs(1);

impl Engine {
    /// Breaks off the streamed answers of all instances.
    pub(crate) fn cut_streams(&self) {
        let instances = &self.shared.hands.instances;
        instances.keys().iter().filter_map(|key| instances.instance(key)).for_each(|instance| instance.cut_streams());
    }

    /// Refuses commands from now on, lets every instance finish what it holds within `patience`, and stops them: who needs
    /// others before them, so that what it still holds and its farewell can call them. What serves is started again by the
    /// next runtime; of an activation that has not committed nothing is kept.
    pub async fn stop(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let shared = &self.shared;
        let _ = shared.stopping.set(());
        shared.drains.close();
        self.commands.close();
        // a command that runs ends by itself, soon or never: what it is about must still run while it takes it back
        if tokio::time::timeout(patience / 2, self.commands.drained()).await.is_err() {
            tracing::warn!("a command still runs: the runtime does not wait for it");
        }
        let stops = async {
            let mut waves = self.waves(&shared.board.slots());
            while let Some(wave) = waves.pop() {
                let parts = u32::try_from(waves.len() + 1).unwrap_or(u32::MAX);
                let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / parts;
                futures::future::join_all(wave.iter().map(|key| self.stop_one(key, until))).await;
            }
        };
        // what drains has its own farewell
        let ends = async {
            let drained = async { tokio::join!(self.commands.drained(), shared.drains.drained()) };
            tokio::pin!(drained);
            if tokio::time::timeout_at(deadline - patience / 2, &mut drained).await.is_err() {
                // streams without an end leave their versions time to say goodbye
                self.cut_streams();
                drained.await;
            }
        };
        let (_, ended) = tokio::join!(stops, tokio::time::timeout_at(deadline, ends));
        if ended.is_err() {
            tracing::warn!("commands or drains are cut off: the runtime stops");
        }
        let left = shared.hands.instances.close();
        futures::future::join_all(left.iter().map(|key| self.stop_one(key, deadline))).await;
        // whoever keeps the router must not keep with it what the instances hold: the store above all
        shared.router.store(Arc::default());
        let _ = self.coordinator.stop_and_wait(None, Some(ENDS)).await;
    }

    /// What serves or stands by, in waves: who needs others is in a later one than they. The last one goes first, and each
    /// has an equal part of the time that is left: what ends early leaves its own to the others.
    fn waves(&self, slots: &Slots) -> Vec<Vec<InstanceKey>> {
        let serving = |slot: &Slot| slot.state.serving.as_ref().and_then(version_of);
        let running: Running = slots.iter().filter_map(|(id, slot)| Some((id.clone(), serving(slot)?))).collect();
        let snapshot = self.shared.registry.snapshot();
        let (mut starts, mut waves) = (Starts::of(&running, &snapshot), Vec::new());
        loop {
            let ids: Vec<&str> = std::iter::from_fn(|| starts.begin()).collect();
            if ids.is_empty() {
                return waves;
            }
            let placed = ids.iter().flat_map(|id| {
                let state = &slots[*id].state;
                state.serving.iter().chain(&state.standby).cloned()
            });
            waves.push(placed.collect());
            for id in ids {
                starts.ended(id);
            }
        }
    }

    /// Those inside have three quarters of the time, streams half of it; the rest is for the module to say goodbye.
    async fn stop_one(&self, key: &InstanceKey, deadline: Instant) {
        let hands = &self.shared.hands;
        if let Some(instance) = hands.instances.instance(key) {
            instance.close();
            let quarter = deadline.saturating_duration_since(Instant::now()) / 4;
            if tokio::time::timeout_at(deadline - quarter * 2, instance.drained()).await.is_err() {
                instance.cut_streams();
            }
            if tokio::time::timeout_at(deadline - quarter, instance.drained()).await.is_err() {
                let left = instance.in_flight();
                tracing::warn!(instance = %key, left, "requests are cut off: the runtime stops");
            }
            if tokio::time::timeout_at(deadline, hands.farewell(&instance, false)).await.is_err() {
                tracing::warn!(instance = %key, "the module's shutdown was cut off: the runtime stops");
            }
        }
        for change in [plan::Change::Stop(key.clone()), plan::Change::Release(key.clone())] {
            if let Err(fault) = hands.apply(&change).await {
                tracing::warn!(instance = %key, %fault, "an instance did not stop cleanly");
            }
        }
        // a command may have started it meanwhile
        let Some(removed) = hands.instances.remove(key) else { return };
        let Some(instance) = removed.instance else { return };
        for ended in [hands.end(instance).await, hands.let_go(&removed.subject).await] {
            if let Err(fault) = ended {
                tracing::warn!(instance = %key, %fault, "an instance did not stop cleanly");
            }
        }
    }
}
