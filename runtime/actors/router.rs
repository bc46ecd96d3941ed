//! Where requests and service calls go: one snapshot of slots and routes, replaced as a whole.
//!
//! The request path reads the snapshot and nothing else; a swap is one pointer store, so a request sees the routes and
//! the versions of one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::Method;
use replug_scripts::{CallContext, Handler, Value};
use semver::VersionReq;

mod companions;
mod mirrors;
mod serving;

pub use companions::Companions;
pub use mirrors::CopyTo;
use mirrors::Mirrors;
pub use serving::serve;

pub use super::copies::{Came, Copies, Ended, MOST_COPIES, Place, Taking};
pub use super::error::{Blame, CallError};
pub use super::gate::LOOKS;
pub use super::instance::{Broken, Instance, Piece, Streaming};
use super::residents::Households;
pub use super::routes::{Endpoint, Found, RouteTaken, Routes};
use crate::manifest::StickyBy;

/// How many buckets a sticky hash or a random number chooses from.
pub const BUCKETS: u16 = 10_000;

/// A version that takes traffic, or is to.
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
    /// The versions that take traffic: one, or a baseline and then its candidate.
    pub targets: Vec<Target>,
}

impl Slot {
    /// A slot that one instance serves alone.
    #[must_use]
    pub fn of(instance: Arc<Instance>, endpoints: Arc<[Endpoint]>) -> Self {
        Self { targets: vec![Target { instance, weight: BUCKETS, endpoints }] }
    }

    /// A slot whose traffic moves from a baseline to a candidate, which has `weight` percent of it by now; more than 100
    /// is 100. Buckets below the weight are the candidate's, so that who came to it stays with it as the weight grows. A
    /// version of weight 0 answers nothing, but what it claims is kept free for it.
    #[must_use]
    pub fn shifting(
        baseline: (Arc<Instance>, Arc<[Endpoint]>),
        candidate: (Arc<Instance>, Arc<[Endpoint]>),
        weight: u8,
    ) -> Self {
        let share = u16::from(weight.min(100)) * (BUCKETS / 100);
        let target = |(instance, endpoints), weight| Target { instance, weight, endpoints };
        Self { targets: vec![target(baseline, BUCKETS - share), target(candidate, share)] }
    }

    /// The instance that the slot's actors, events and timers run in: what serves, until another serves everything.
    #[must_use]
    pub fn owner(&self) -> Option<&Arc<Instance>> {
        self.targets.first().map(|target| &target.instance)
    }

    /// The instance for a bucket below [`BUCKETS`].
    #[must_use]
    pub fn pick(&self, bucket: u16) -> Option<&Arc<Instance>> {
        self.by_preference(bucket).next().map(|index| &self.targets[index].instance)
    }

    /// What decides the bucket of whoever asks; nothing where one version answers everything.
    #[must_use]
    pub fn sticky_by(&self) -> Option<&StickyBy> {
        match &*self.targets {
            [baseline, candidate] if baseline.weight > 0 && candidate.weight > 0 => {
                Some(&candidate.instance.manifest.lifecycle.activation.sticky_by)
            }
            _ => None,
        }
    }

    /// The targets with a share: the one of this bucket, then the other, for what the first does not have.
    fn by_preference(&self, bucket: u16) -> impl Iterator<Item = usize> {
        let to_candidate = self.targets.get(1).is_some_and(|candidate| bucket < candidate.weight);
        let order = if to_candidate { [1, 0] } else { [0, 1] };
        order.into_iter().filter(|index| self.targets.get(*index).is_some_and(|target| target.weight > 0))
    }
}

/// Where a request goes.
pub enum Way<'a> {
    /// To this endpoint of this instance, with the path's parameters, not yet decoded.
    To(&'a Arc<Instance>, &'a Endpoint, Vec<(&'a str, String)>),
    /// To one of two versions of this module: choose a bucket by this and ask [`Snapshot::find_shared`].
    Shared(&'a Arc<str>, &'a StickyBy),
    /// Nowhere: the path exists, with these methods only.
    OtherMethods(Vec<Method>),
    /// Nowhere.
    Nothing,
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
    /// The paths of each target of the slots that shift.
    shared: HashMap<Arc<str>, Vec<Routes>>,
    mirrors: Mirrors,
    by_address: bool,
    providers: HashMap<String, Vec<Arc<str>>>,
    /// The module that is chosen of those that provide a capability.
    chosen: Arc<Choices>,
    subscribers: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// What took over as one, the newest last.
    companions: Vec<Arc<Companions>>,
}

/// The chosen provider of each capability for which there is one.
pub type Choices = BTreeMap<String, Arc<str>>;

impl Snapshot {
    fn build(
        revision: u64,
        slots: BTreeMap<Arc<str>, Slot>,
        chosen: Arc<Choices>,
        mut companions: Vec<Arc<Companions>>,
    ) -> Result<Self, RouteTaken> {
        companions.retain(|companions| companions.matters());
        let routes = Routes::build(claims(&slots, |target| target.weight > 0))?;
        if slots.values().flat_map(|slot| &slot.targets).any(|target| target.weight == 0) {
            // what such a version claims is refused now rather than in the midst of its shift
            Routes::build(claims(&slots, |_| true))?;
        }
        let mut shared = HashMap::new();
        for (id, slot) in slots.iter().filter(|(_, slot)| slot.sticky_by().is_some()) {
            let alone = |target: &Target| Routes::build([(id, vec![&*target.endpoints])]);
            shared.insert(Arc::clone(id), slot.targets.iter().map(alone).collect::<Result<_, _>>()?);
        }
        let mirrors = Mirrors::of(&slots)?;
        let by_address = slots.values().any(|slot| slot.sticky_by() == Some(&StickyBy::Address));
        let mut providers: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        for (id, slot) in &slots {
            let reached = slot.targets.iter().filter(|target| target.weight > 0);
            for capability in reached.flat_map(|target| &target.instance.manifest.capabilities) {
                let ids = providers.entry(capability.id.clone()).or_default();
                if !ids.contains(id) {
                    ids.push(Arc::clone(id));
                }
            }
        }
        for (capability, module) in &*chosen {
            let Some(ids) = providers.get_mut(capability) else { continue };
            if let Some(at) = ids.iter().position(|id| id == module) {
                ids[..=at].rotate_right(1);
            }
        }
        let mut subscribers: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        for (id, owner) in slots.iter().filter_map(|(id, slot)| Some((id, slot.owner()?))) {
            for handler in &owner.exports().handlers {
                if let Handler::Event(topic) = handler {
                    subscribers.entry(Arc::clone(topic)).or_default().push(Arc::clone(id));
                }
            }
        }
        Ok(Self { revision, slots, routes, shared, mirrors, by_address, providers, chosen, subscribers, companions })
    }

    /// Where a request goes.
    #[must_use]
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Way<'a> {
        match self.routes.find(method, path) {
            // one target has all the weight, so any bucket is its own
            Found::Endpoint(module, endpoint, params) => match self.instance(module, 0) {
                Some(instance) => Way::To(instance, endpoint, params),
                None => Way::Nothing,
            },
            Found::Shared(module) => match self.slots.get(module).and_then(Slot::sticky_by) {
                Some(sticky_by) => Way::Shared(module, sticky_by),
                None => Way::Nothing,
            },
            Found::OtherMethods(methods) => Way::OtherMethods(methods),
            Found::Nothing => Way::Nothing,
        }
    }

    /// Where a request goes in a slot that shifts: to the version of its bucket, as that version's own endpoints have it,
    /// or to the other one where the first does not have it.
    #[must_use]
    pub fn find_shared<'a>(&'a self, module: &str, bucket: u16, method: &Method, path: &'a str) -> Way<'a> {
        let (Some(slot), Some(tables)) = (self.slots.get(module), self.shared.get(module)) else { return Way::Nothing };
        for index in slot.by_preference(bucket) {
            if let Found::Endpoint(_, endpoint, params) = tables[index].find(method, path) {
                return Way::To(&slot.targets[index].instance, endpoint, params);
            }
        }
        let tables = tables.iter().chain([&self.routes]);
        let methods: Vec<Method> = tables.flat_map(|table| table.methods(path)).collect();
        if methods.is_empty() { Way::Nothing } else { Way::OtherMethods(methods) }
    }

    /// The modules that provide a capability and serve: the chosen one first, the others by id.
    #[must_use]
    pub fn providers(&self, capability: &str) -> &[Arc<str>] {
        self.providers.get(capability).map_or(&[], Vec::as_slice)
    }

    /// The chosen providers, whether they serve or not.
    #[must_use]
    pub fn choices(&self) -> &Choices {
        &self.chosen
    }

    /// Whether a module offers a capability in a version of this range: each of its versions that takes traffic does.
    #[must_use]
    pub fn offers(&self, module: &str, capability: &str, range: &VersionReq) -> bool {
        self.takes(module, |instance| {
            let mut offered = instance.manifest.capabilities.iter();
            offered.any(|own| own.id == capability && range.matches(&own.version))
        })
    }

    /// Whether a module serves in a version of this range: each of its versions that takes traffic is in it.
    #[must_use]
    pub fn serves(&self, module: &str, range: &VersionReq) -> bool {
        self.takes(module, |instance| range.matches(&instance.manifest.version))
    }

    /// Whether something takes traffic of the module, and this is so of all that does.
    fn takes(&self, module: &str, is_so: impl Fn(&Instance) -> bool) -> bool {
        let targets = self.slots.get(module).into_iter().flat_map(|slot| &slot.targets);
        let mut reached = targets.filter(|target| target.weight > 0).peekable();
        reached.peek().is_some() && reached.all(|target| is_so(&target.instance))
    }

    /// The modules whose scripts have a handler for a topic, by id.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> &[Arc<str>] {
        self.subscribers.get(topic).map_or(&[], Vec::as_slice)
    }

    /// The instance that runs a module's actors, events and timers.
    #[must_use]
    pub fn owner(&self, module: &str) -> Option<&Arc<Instance>> {
        self.slots.get(module)?.owner()
    }

    /// The instance for a module and a bucket.
    #[must_use]
    pub fn instance(&self, module: &str, bucket: u16) -> Option<&Arc<Instance>> {
        self.slots.get(module)?.pick(bucket)
    }

    /// The instance that runs this handler for a module and a bucket: the bucket's own, or the other version where only
    /// that one exports it.
    #[must_use]
    pub fn instance_with(&self, module: &str, bucket: u16, handler: &Handler) -> Option<&Arc<Instance>> {
        let slot = self.slots.get(module)?;
        let mut instances = slot.by_preference(bucket).map(|index| &slot.targets[index].instance);
        if slot.targets.len() == 1 {
            return instances.next();
        }
        instances.find(|instance| instance.exports().has(handler)).or_else(|| slot.pick(bucket))
    }

    /// Whether some slot tells its clients apart by their addresses at this moment.
    #[must_use]
    pub const fn needs_addresses(&self) -> bool {
        self.by_address
    }
}

/// The endpoints of each slot's `targets`.
fn claims(
    slots: &BTreeMap<Arc<str>, Slot>,
    targets: impl Fn(&Target) -> bool,
) -> impl Iterator<Item = (&Arc<str>, Vec<&[Endpoint]>)> {
    slots.iter().map(move |(id, slot)| {
        (id, slot.targets.iter().filter(|target| targets(target)).map(|target| &*target.endpoints).collect())
    })
}

/// The router.
#[derive(Default)]
pub struct Router {
    snapshot: ArcSwap<Snapshot>,
    /// What lives in its slots.
    pub(super) households: Households,
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
        self.with_all([(Arc::clone(module), slot)], None)
    }

    /// [`Router::with`] for several slots: requests see all of them as they were or all as they are then. Calls among
    /// `companions` stay on their side of the switch.
    ///
    /// # Errors
    /// Two slots would own one path.
    pub fn with_all(
        &self,
        changes: impl IntoIterator<Item = (Arc<str>, Option<Slot>)>,
        companions: Option<Companions>,
    ) -> Result<Arc<Snapshot>, RouteTaken> {
        let present = self.snapshot.load();
        let mut slots = present.slots.clone();
        for (module, slot) in changes {
            match slot {
                Some(slot) => slots.insert(module, slot),
                None => slots.remove(&module),
            };
        }
        let companions = present.companions.iter().cloned().chain(companions.map(Arc::new)).collect();
        Ok(Arc::new(Snapshot::build(present.revision + 1, slots, Arc::clone(&present.chosen), companions)?))
    }

    /// The next snapshot, in which these providers are chosen; as with [`Router::with`].
    ///
    /// # Errors
    /// None: what serves has been a snapshot already.
    pub fn choosing(&self, chosen: Choices) -> Result<Arc<Snapshot>, RouteTaken> {
        let present = self.snapshot.load();
        let (slots, companions) = (present.slots.clone(), present.companions.clone());
        Ok(Arc::new(Snapshot::build(present.revision + 1, slots, Arc::new(chosen), companions)?))
    }

    /// Makes a snapshot the one that requests read. The actors, events and timers of slots that it lacks end; those of
    /// slots that have another owner learn of it.
    pub fn store(&self, snapshot: Arc<Snapshot>) {
        let before = self.snapshot.swap(Arc::clone(&snapshot));
        serving::owned(&before, &snapshot);
        self.households.moved(&before, &snapshot);
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
            let Some(instance) = self.load().instance_with(module, bucket, handler).cloned() else { break };
            match serve(&instance, handler, args.clone(), call.clone()).await {
                Err(error @ CallError::Closed(_)) => closed = error,
                result => return result,
            }
        }
        Err(closed)
    }
}

#[cfg(all(test, feature = "lua"))]
pub(crate) mod tests;
