//! The instances that exist, between the step that starts one and the drain that stops it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use replug_scripts::Program;

use super::ports::Subject;
use crate::actors::Instance;
use crate::actors::routes::Endpoint;
use crate::monitor::InstanceKey;

/// What is known of one instance, from the validation of its version on.
#[derive(Clone)]
pub(super) struct Running {
    /// What the ports are asked about.
    pub(super) subject: Subject,
    /// What runs in it.
    pub(super) program: Arc<dyn Program>,
    /// Its actors; none before it is started.
    pub(super) instance: Option<Arc<Instance>>,
    /// What it serves; nothing before it is bound.
    pub(super) endpoints: Arc<[Endpoint]>,
    /// Whether it was to go and something of it is left.
    pub(super) left: bool,
    /// Whether somebody sees to its end.
    pub(super) goes: bool,
}

/// The table. Only commands touch it, never requests.
#[derive(Default)]
pub(super) struct Instances {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    all: HashMap<InstanceKey, Running>,
    /// Whether nothing begins any more.
    is_closed: bool,
}

impl Instances {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &InstanceKey) -> Option<Running> {
        self.table().all.get(key).cloned()
    }

    pub(super) fn instance(&self, key: &InstanceKey) -> Option<Arc<Instance>> {
        self.table().all.get(key)?.instance.clone()
    }

    /// Why the tree of an instance gave up, where none runs.
    pub(super) fn gave_up(&self, key: &InstanceKey) -> Option<String> {
        self.instance(key)?.gave_up()
    }

    /// An actor whose state an instance does not take, and why.
    pub(super) fn misfit(&self, key: &InstanceKey) -> Option<(Arc<str>, String)> {
        self.instance(key)?.misfit()
    }

    pub(super) fn insert(&self, key: InstanceKey, running: Running) {
        self.table().all.insert(key, running);
    }

    pub(super) fn change(&self, key: &InstanceKey, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.table().all.get_mut(key) {
            change(running);
        }
    }

    /// Notes that somebody sees to the end of an instance; `false`: somebody does already, or it is gone.
    pub(super) fn goes(&self, key: &InstanceKey) -> bool {
        self.table().all.get_mut(key).is_some_and(|running| !std::mem::replace(&mut running.goes, true))
    }

    /// Notes what runs of it from now on; `false`: it is gone, or the table is closed.
    pub(super) fn begins(&self, key: &InstanceKey, instance: &Arc<Instance>) -> bool {
        let mut table = self.table();
        let running = if table.is_closed { None } else { table.all.get_mut(key) };
        running.map(|running| running.instance = Some(Arc::clone(instance))).is_some()
    }

    /// Notes that an instance has ended.
    pub(super) fn ended(&self, key: &InstanceKey, instance: &Arc<Instance>) {
        self.change(key, |running| {
            running.instance.take_if(|it| Arc::ptr_eq(it, instance));
        });
    }

    /// Has nothing begin from now on; what is there.
    pub(super) fn close(&self) -> Vec<InstanceKey> {
        let mut table = self.table();
        table.is_closed = true;
        table.all.keys().cloned().collect()
    }

    /// What was there.
    pub(super) fn remove(&self, key: &InstanceKey) -> Option<Running> {
        self.table().all.remove(key)
    }

    /// The instances of a module that are left, for one who lets them go: no one else is told the same.
    pub(super) fn take_left(&self, id: &str) -> Vec<InstanceKey> {
        let mut table = self.table();
        let left = table.all.iter_mut().filter(|(key, running)| &*key.id == id && running.left);
        left.map(|(key, running)| {
            running.left = false;
            key.clone()
        })
        .collect()
    }

    pub(super) fn keys(&self) -> Vec<InstanceKey> {
        self.table().all.keys().cloned().collect()
    }
}
