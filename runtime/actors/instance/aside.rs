//! What an instance runs for its slot's actors, events and timers: workers beside those for requests, since a request may
//! wait for an actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use replug_scripts::{CallContext, Handler, Value};
use tokio::sync::oneshot;

use super::Instance;
use crate::actors::error::CallError;
use crate::actors::job::Work;
use crate::actors::pool::Pool;
use crate::manifest::Manifest;

/// Room in the queue of actors and events: each actor and the events have one call in it at most.
pub(super) const ASIDE: usize = 65_537;

/// The most workers that an instance has beside those for requests.
const MOST_ASIDE: usize = 8;

/// Whose calls a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Requests, services and what the runtime asks of its own accord.
    Requests,
    /// The actors, events and timers of the slot.
    Aside,
}

/// How many workers an instance has beside those for requests, where its script hears events or not.
pub(in crate::actors) fn workers_aside(manifest: &Manifest, hears: bool) -> usize {
    (manifest.runtime.actors.len() + usize::from(hears)).min(MOST_ASIDE)
}

/// One more for as long as it is kept.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Instance {
    /// Runs a handler for an actor, an event or a timer of the slot, in workers of their own: a request that waits for an
    /// actor holds one of the others.
    pub(in crate::actors) async fn call_aside(
        self: &Arc<Self>,
        handler: Handler,
        args: Vec<Value>,
        call: CallContext,
    ) -> Result<Value, CallError> {
        let (reply, answer) = oneshot::channel();
        let _held = Counted::one(&self.calls_aside);
        self.enter(&self.aside, (Work::Call { handler, args, reply }, false), call, answer).await
    }

    /// The queue of a lane.
    pub(in crate::actors) const fn queue(&self, lane: Lane) -> &Pool {
        match lane {
            Lane::Requests => &self.pool,
            Lane::Aside => &self.aside,
        }
    }

    /// How many workers a lane has: one for each actor and one for the events, as far as it has any.
    pub(in crate::actors) fn workers(&self, lane: Lane) -> usize {
        match lane {
            Lane::Requests => self.manifest.runtime.workers,
            Lane::Aside => {
                let hears = self.exports().handlers.iter().any(|handler| matches!(handler, Handler::Event(_)));
                workers_aside(&self.manifest, hears)
            }
        }
    }

    /// Whether one more actor finds a worker, also one that another one waits for.
    pub(in crate::actors) fn has_spare_aside(&self) -> bool {
        self.calls_aside.load(Ordering::Acquire) < self.workers(Lane::Aside)
    }

    /// Takes no more work: what waits is answered, and the threads end, each after the job in hand.
    pub(in crate::actors) fn shut(&self) {
        self.cut_streams();
        self.pool.close();
        self.aside.close();
    }

    /// Waits until it was shut and its threads have ended.
    pub(in crate::actors) async fn threads_ended(&self) {
        self.pool.ended().await;
        self.aside.ended().await;
    }
}
