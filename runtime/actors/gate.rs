//! Counts the calls that are inside an instance, and closes it so that exactly those finish and no other enters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The lowest bit says closed, the rest counts.
const CLOSED: usize = 1;
const ONE: usize = 2;

/// An instance's entrance.
///
/// A call enters, is counted, and leaves when its [`Pass`] is dropped. Once closed, nobody enters; [`Gate::drained`]
/// waits for those inside. One atomic holds both facts, so no call slips in between the two.
#[derive(Debug, Default)]
pub struct Gate {
    state: AtomicUsize,
    emptied: Notify,
}

/// What has a gate.
pub trait Gated {
    /// The gate.
    fn gate(&self) -> &Gate;
}

impl Gated for Gate {
    fn gate(&self) -> &Gate {
        self
    }
}

/// Proof of having entered; dropping it leaves.
#[derive(Debug)]
pub struct Pass<G: Gated> {
    inside: Arc<G>,
}

impl Gate {
    /// Closes the gate for good.
    pub fn close(&self) {
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before < ONE {
            self.emptied.notify_waiters();
        }
    }

    /// How many are inside.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.state.load(Ordering::Acquire) / ONE
    }

    /// Waits until the gate is closed and nobody is inside.
    pub async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // registered before the look, so that a leave in between is not missed
            emptied.as_mut().enable();
            if self.state.load(Ordering::Acquire) == CLOSED {
                return;
            }
            emptied.await;
        }
    }
}

impl<G: Gated> Pass<G> {
    /// Enters `inside`; nothing when its gate is closed.
    pub fn enter(inside: Arc<G>) -> Option<Self> {
        let before = inside.gate().state.fetch_add(ONE, Ordering::AcqRel);
        // made before the look: a refused one leaves again by being dropped
        let pass = Self { inside };
        (before & CLOSED == 0).then_some(pass)
    }

    /// What was entered.
    pub fn inside(&self) -> &Arc<G> {
        &self.inside
    }
}

impl<G: Gated> Drop for Pass<G> {
    fn drop(&mut self) {
        let gate = self.inside.gate();
        if gate.state.fetch_sub(ONE, Ordering::AcqRel) == CLOSED + ONE {
            gate.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_waits_for_those_inside() {
        let gate = Arc::new(Gate::default());
        let inside = Pass::enter(Arc::clone(&gate)).expect("open");
        gate.close();
        assert!(Pass::enter(Arc::clone(&gate)).is_none());
        assert_eq!(gate.inside(), 1);
        assert!(gate.drained().now_or_never().is_none());
        drop(inside);
        assert!(gate.drained().now_or_never().is_some());
    }

    #[test]
    fn an_empty_open_gate_is_not_drained() {
        assert!(Gate::default().drained().now_or_never().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_drain_ends_when_the_last_of_many_leaves() {
        for _ in 0..200 {
            let (gate, holders) = (Arc::new(Gate::default()), Arc::<AtomicUsize>::default());
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (gate, holders) = (Arc::clone(&gate), Arc::clone(&holders));
                    tokio::spawn(async move {
                        while let Some(pass) = Pass::enter(Arc::clone(&gate)) {
                            holders.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            holders.fetch_sub(1, Ordering::SeqCst);
                            drop(pass);
                        }
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            gate.close();
            gate.drained().await;
            assert_eq!(holders.load(Ordering::SeqCst), 0, "whoever holds a pass is waited for");
            // who finds it closed is counted for a moment
            for task in tasks {
                task.await.expect("ends");
            }
            assert_eq!(gate.inside(), 0);
        }
    }
}
