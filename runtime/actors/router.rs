//! Where requests and service calls go: one snapshot of slots and routes, replaced as a whole.
//!
//! The request path reads the snapshot and nothing else; a swap is one pointer store, so a request sees the routes and
//! the versions of one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use replug_scripts::{CallContext, Handler, Value};

pub use super::error::CallError;
pub use super::instance::Instance;
pub use super::routes::{Endpoint, Found, RouteTaken, Routes};

/// How many buckets a sticky hash or a random number chooses from.
pub const BUCKETS: u16 = 10_000;

/// How often a call that met a closing instance looks its slot up again. One look suffices after a swap; more means
/// that the module is going away.
const LOOKS: usize = 3;

/// A version that takes traffic.
#[derive(Clone)]
pub struct Target {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its share in hundredths of a percent; the targets of a slot add up to [`BUCKETS`].
    pub weight: u16,
    /// What it serves.
    pub endpoints: Arc<[Endpoint]>,
}

/// The stable address of a module id.
#[derive(Clone)]
pub struct Slot {
    /// The versions that take traffic.
    pub targets: Vec<Target>,
}

impl Slot {
    /// A slot that one instance serves alone.
    #[must_use]
    pub fn of(instance: Arc<Instance>, endpoints: Arc<[Endpoint]>) -> Self {
        Self { targets: vec![Target { instance, weight: BUCKETS, endpoints }] }
    }

    /// A slot that a baseline and a candidate share.
    #[must_use]
    pub fn shifting(
        baseline: (Arc<Instance>, Arc<[Endpoint]>),
        candidate: (Arc<Instance>, Arc<[Endpoint]>),
        weight: u8,
    ) -> Self {
        let share = u16::from(weight) * 100;
        let target = |(instance, endpoints), weight| Target { instance, weight, endpoints };
        Self { targets: vec![target(baseline, BUCKETS - share), target(candidate, share)] }
    }

    /// The instance for a bucket below [`BUCKETS`].
    #[must_use]
    pub fn pick(&self, bucket: u16) -> Option<&Arc<Instance>> {
        let mut upper = 0;
        self.targets
            .iter()
            .find(|target| {
                upper += target.weight;
                bucket < upper
            })
            .or_else(|| self.targets.last())
            .map(|target| &target.instance)
    }
}

/// One moment's view of everything that serves.
#[derive(Default)]
pub struct Snapshot {
    /// Counts the changes.
    pub revision: u64,
    /// The slots that serve, by module id.
    pub slots: BTreeMap<Arc<str>, Slot>,
    /// The paths.
    pub routes: Routes,
    providers: HashMap<String, Vec<Arc<str>>>,
}

impl Snapshot {
    fn build(revision: u64, slots: BTreeMap<Arc<str>, Slot>) -> Result<Self, RouteTaken> {
        let routes = Routes::build(slots.iter().flat_map(|(id, slot)| {
            // until a shift names its own, the last target's endpoints are a subset or the same
            slot.targets.first().map(|target| (id, &*target.endpoints))
        }))?;
        let mut providers: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        for (id, slot) in &slots {
            for capability in slot.targets.iter().flat_map(|target| &target.instance.manifest.capabilities) {
                let ids = providers.entry(capability.id.clone()).or_default();
                if !ids.contains(id) {
                    ids.push(Arc::clone(id));
                }
            }
        }
        Ok(Self { revision, slots, routes, providers })
    }

    /// The modules that provide a capability and serve, by id.
    #[must_use]
    pub fn providers(&self, capability: &str) -> &[Arc<str>] {
        self.providers.get(capability).map_or(&[], Vec::as_slice)
    }

    /// The instance for a module and a bucket.
    #[must_use]
    pub fn instance(&self, module: &str, bucket: u16) -> Option<&Arc<Instance>> {
        self.slots.get(module)?.pick(bucket)
    }
}

/// The router.
#[derive(Default)]
pub struct Router {
    snapshot: ArcSwap<Snapshot>,
}

impl Router {
    /// The snapshot of this moment. Do not hold it across a wait.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The snapshot of this moment, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The next snapshot, with a slot replaced, added or (with `None`) removed. Only who alone stores snapshots may use
    /// it: of two that were made from the same one, the second to be stored undoes the first.
    ///
    /// # Errors
    /// Another slot owns a path of this one.
    pub fn with(&self, module: &Arc<str>, slot: Option<Slot>) -> Result<Arc<Snapshot>, RouteTaken> {
        let present = self.snapshot.load();
        let mut slots = present.slots.clone();
        match slot {
            Some(slot) => slots.insert(Arc::clone(module), slot),
            None => slots.remove(module),
        };
        Ok(Arc::new(Snapshot::build(present.revision + 1, slots)?))
    }

    /// Makes a snapshot the one that requests read.
    pub fn store(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// Calls a handler of a module that serves, on whichever version its slot picks for `bucket`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        module: &str,
        bucket: u16,
        handler: &Handler,
        args: Vec<Value>,
        call: CallContext,
    ) -> Result<Value, CallError> {
        let mut closed = CallError::NoModule(module.to_owned());
        for _ in 0..LOOKS {
            let Some(instance) = self.load().instance(module, bucket).cloned() else { break };
            let mut call = call.clone();
            call.module = Arc::clone(&instance.key.id);
            call.version = Arc::clone(&instance.key.version);
            match instance.call(handler.clone(), args.clone(), call).await {
                Err(error @ CallError::Closed(_)) => closed = error,
                result => return result,
            }
        }
        Err(closed)
    }
}

#[cfg(all(test, feature = "lua"))]
pub(crate) mod tests;
