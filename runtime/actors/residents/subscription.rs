//! What waits for a module's handlers of events: of its own, of those it depends on, and the ticks of its timers.
//!
//! At most once, in the order of publication, one at a time. A handler that fails is counted and logged, never called again
//! for the same event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use replug_scripts::{CallContext, Handler, Value};

use super::Shared;
use super::larder;
use super::mailbox::{Mailbox, Refusal};
use super::tally::Tally;
use crate::actors::error::CallError;
use crate::actors::instance::Instance;
use crate::sandbox::quota::Parcel;

/// Events that may wait for one module; what comes beyond them is dropped.
const BACKLOG: usize = 1000;
/// How long an event may wait for a worker, a new VM included, beside the time that its handler may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an event waits for the routes to say who has the slot after an instance that goes.
const AGAIN: Duration = Duration::from_millis(10);

/// An event on its way to one module.
pub(super) struct Delivery {
    pub(super) topic: Arc<str>,
    pub(super) payload: Value,
    pub(super) publisher: Arc<str>,
    pub(super) request_id: Arc<str>,
    /// The events that led here, with this one.
    pub(super) hops: u8,
    /// What a timer waits for before it ticks again.
    pub(super) tick: Option<Tick>,
}

/// A tick on its way. Its timer does not tick again until it is dropped.
pub(super) struct Tick(Arc<AtomicBool>);

impl Tick {
    /// A tick of the timer that `is_out` belongs to; nothing while its last one is on its way.
    pub(super) fn begin(is_out: &Arc<AtomicBool>) -> Option<Self> {
        (!is_out.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(is_out)))
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The queue of one slot.
pub(super) struct Subscription {
    module: Arc<str>,
    shared: Arc<Shared>,
    mailbox: Mailbox<(Delivery, Parcel)>,
    dropped: Tally,
    failed: Tally,
}

impl Subscription {
    pub(super) fn new(module: Arc<str>, shared: Arc<Shared>) -> Self {
        Self { module, shared, mailbox: Mailbox::default(), dropped: Tally::default(), failed: Tally::default() }
    }

    /// Queues an event, or drops it when too many wait or there is no room for its payload.
    pub(super) fn put(self: &Arc<Self>, delivery: Delivery) {
        if self.mailbox.is_closed() {
            return;
        }
        let (kind, topic) = (kind(&delivery), Arc::clone(&delivery.topic));
        let Some(owner) = self.shared.owner(&self.module) else {
            return self.drop_one(kind, &topic, "no handler serves");
        };
        let call = context(&owner, &delivery.publisher, &delivery.request_id, delivery.hops);
        let room = match larder::hold(&owner, &delivery.payload, &Handler::Event(Arc::clone(&topic)), &call) {
            Ok(room) => room,
            Err(none) => return self.drop_one(kind, &topic, &none.to_string()),
        };
        // an instance that goes must not be kept by what waits
        drop(owner);
        match self.mailbox.push((delivery, room), BACKLOG) {
            Ok(true) => {
                self.shared.runtime.spawn(Arc::clone(self).read());
            }
            Ok(false) | Err(Refusal::Closed) => {}
            Err(Refusal::Full) => self.drop_one(kind, &topic, "too many wait"),
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        drop(self.mailbox.close());
    }

    fn drop_one(&self, kind: &str, topic: &str, why: &str) {
        if let Some(owner) = self.shared.owner(&self.module) {
            self.shared.count(&owner.key, kind, "dropped");
        }
        if let Some(dropped) = self.dropped.happened(Instant::now()) {
            tracing::warn!(module = &*self.module, topic, dropped, why, "events are dropped");
        }
    }

    async fn read(self: Arc<Self>) {
        while let Some((delivery, _room)) = self.mailbox.next() {
            if AssertUnwindSafe(self.deliver(delivery)).catch_unwind().await.is_err() {
                tracing::error!(module = &*self.module, "a delivery broke off by a panic, which stands above");
            }
        }
    }

    async fn deliver(&self, delivery: Delivery) {
        let kind = kind(&delivery);
        let Delivery { topic, payload, publisher, request_id, hops, tick } = delivery;
        let handler = Handler::Event(Arc::clone(&topic));
        let message = Value::map([
            ("topic", Value::from(&*topic)),
            ("publisher", Value::from(&*publisher)),
            ("payload", payload),
        ]);
        loop {
            let owner = self.shared.owner(&self.module).filter(|owner| owner.exports().has(&handler));
            let Some(owner) = owner else { return self.drop_one(kind, &topic, "no handler serves") };
            let call = context(&owner, &publisher, &request_id, hops);
            let outcome = match owner.call_aside(handler.clone(), vec![message.clone()], call).await {
                Ok(_) => "handled",
                Err(CallError::Closed(_)) if self.mailbox.is_closed() => return,
                Err(CallError::Closed(_)) => {
                    // it was not begun; the routes say in a moment who has the slot now
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => {
                    if let Some(failed) = self.failed.happened(Instant::now()) {
                        let (instance, topic, request_id) = (&owner.key, &*topic, &*request_id);
                        tracing::warn!(%instance, topic, request_id, failed, %error, "a handler of events failed");
                    }
                    "failed"
                }
            };
            self.shared.count(&owner.key, kind, outcome);
            // only now may its timer tick again
            drop(tick);
            return;
        }
    }
}

fn kind(delivery: &Delivery) -> &'static str {
    if delivery.tick.is_some() { "timer" } else { "event" }
}

/// Nobody waits for it, so nobody's deadline and principal hold.
fn context(owner: &Instance, publisher: &Arc<str>, request_id: &Arc<str>, hops: u8) -> CallContext {
    CallContext {
        module: Arc::clone(&owner.key.id),
        version: Arc::clone(&owner.key.version),
        request_id: Arc::clone(request_id),
        caller: Some(Arc::clone(publisher)),
        deadline: Instant::now() + owner.limits().wall_time + PATIENCE,
        chain: Vec::new(),
        hops,
        principal: None,
        mirrored: None,
        readying: None,
    }
}
