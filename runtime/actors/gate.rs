//! Counts the calls that are inside an instance, and closes it so that exactly those finish and no other enters.

use std::sync::Arc;

use super::primitives::{AtomicUsize, Notify, Ordering};

/// The lowest bit says closed, the rest counts.
const CLOSED: usize = 1;
const ONE: usize = 2;

/// How often a call that met a closed gate looks up again who is to be entered. Each swap that overtakes it costs one look; whoever
/// needs more than this asks for what is going away.
pub const LOOKS: usize = 3;

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

    /// Enters whom `look` finds; where that gate is closed, what it finds then. Nothing when it finds nothing, or no gate open in
    /// [`LOOKS`] looks.
    pub fn look(mut look: impl FnMut() -> Option<Arc<G>>) -> Option<Self> {
        (0..LOOKS).find_map(|_| Self::enter(look()?))
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
