//! What tests of the folders above start modules with; it keeps ractor out of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{Actor, ActorRef};
use replug_scripts::Sources;

use super::Instance;
use crate::actors::gate::Gated;
use crate::actors::modules::{ModulesMsg, ModulesSupervisor};
use crate::manifest::Manifest;
use crate::monitor::{Events, InstanceKey, Metrics};
use crate::sandbox::{Guard, Supplies};

/// A supervisor of instances, and what starts them from text.
pub(crate) struct Rig {
    supervisor: ActorRef<ModulesMsg>,
    generation: AtomicU64,
    /// Where the instances count.
    pub(crate) metrics: Metrics,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let supervisor = ModulesSupervisor { events: Events::default() };
        let (supervisor, _) = ModulesSupervisor::spawn(None, supervisor, ()).await.expect("the supervisor starts");
        Self { supervisor, generation: AtomicU64::new(1), metrics: Metrics::default() }
    }

    /// An instance of the entry script `main.rhai`, or else `main.lua`, of which nothing has run yet.
    pub(crate) fn instance(
        &self,
        manifest: Manifest,
        files: BTreeMap<String, Arc<str>>,
        supplies: Supplies,
    ) -> Arc<Instance> {
        let entry = if files.contains_key("main.rhai") { "main.rhai" } else { "main.lua" };
        let program = replug_scripts::compile(&Sources { entry: entry.into(), files }).expect("it compiles");
        let key = InstanceKey {
            id: manifest.id.as_str().into(),
            version: manifest.version.to_string().into(),
            generation: self.generation.fetch_add(1, Ordering::Relaxed),
        };
        let host = Arc::new(Guard::new(&key, &manifest, supplies.clone()));
        let metrics = self.metrics.instance(&key);
        let live = Arc::clone(host.live());
        let instance = Instance::new(key, Arc::new(manifest), program, host, metrics);
        Arc::new(instance.supplied(supplies).governed(live))
    }

    /// Starts one.
    pub(crate) async fn start(
        &self,
        manifest: Manifest,
        files: BTreeMap<String, Arc<str>>,
        supplies: Supplies,
    ) -> Arc<Instance> {
        let instance = self.instance(manifest, files, supplies);
        instance.first_vm().await.expect("the first VM comes up");
        let starting = Arc::clone(&instance);
        let started = self.supervisor.call(|reply| ModulesMsg::Start(starting, reply), None).await;
        started.expect("the supervisor lives").expect("it answers").expect("the tree starts");
        instance
    }

    /// Lets nobody in any more, waits for those inside, and stops the instance.
    pub(crate) async fn retire(&self, instance: &Arc<Instance>) {
        instance.gate().close();
        instance.gate().drained().await;
        self.stop(instance).await;
    }

    /// Stops an instance whatever is inside.
    pub(crate) async fn stop(&self, instance: &Arc<Instance>) {
        let stopping = Arc::clone(instance);
        self.supervisor.call(|reply| ModulesMsg::Stop(stopping, reply), None).await.expect("the supervisor lives");
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self, instance: &Instance) {
        instance.gate().close();
    }
}
