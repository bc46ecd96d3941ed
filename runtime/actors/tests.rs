//! Instances whose scripts are fakes, under real actors and real threads.

mod crashes;
pub(super) mod fake;
mod gate;
mod health;
mod idle;
mod incidents;
mod pool;
mod prober;
mod residents;
mod stops;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
use replug_scripts::{Handler, Value};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use self::fake::{Fake, Script};
use super::error::{CallError, StartError};
use super::instance::Instance;
use super::modules::{ModulesMsg, ModulesSupervisor};
use super::pool::Pool;
use crate::manifest::{Manifest, RestartStrategy};
use crate::monitor::{Event, Events, InstanceKey, Metrics};

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

/// Waits for something that gives no other sign.
async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A supervisor of modules and what it said.
struct Rig {
    modules: ActorRef<ModulesMsg>,
    heard: broadcast::Receiver<Arc<Event>>,
}

impl Rig {
    async fn new() -> Self {
        let events = Events::default();
        let heard = events.subscribe();
        let (modules, _) = ModulesSupervisor::spawn(None, ModulesSupervisor { events }, ()).await.expect("starts");
        Self { modules, heard }
    }

    /// An instance that runs, with what `adjust` changes in its manifest.
    async fn start(&self, script: &Arc<Script>, adjust: impl FnOnce(&mut Manifest)) -> Arc<Instance> {
        let instance = instance(script, adjust);
        instance.first_vm().await.expect("a first VM");
        self.start_tree(&instance).await.expect("a tree");
        instance
    }

    async fn start_tree(&self, instance: &Arc<Instance>) -> Result<(), StartError> {
        let instance = Arc::clone(instance);
        match soon(self.modules.call(|reply| ModulesMsg::Start(instance, reply), None)).await {
            Ok(CallResult::Success(started)) => started,
            _ => panic!("the supervisor of modules is gone"),
        }
    }

    async fn stop(&self, instance: &Arc<Instance>) {
        let instance = Arc::clone(instance);
        let stopped = soon(self.modules.call(|reply| ModulesMsg::Stop(instance, reply), None)).await;
        assert!(matches!(stopped, Ok(CallResult::Success(()))), "answers a stop");
    }

    /// Waits for the next event that `is` knows.
    async fn hear(&mut self, is: impl Fn(&Event) -> bool) -> Arc<Event> {
        soon(async {
            loop {
                let event = self.heard.recv().await.expect("an event");
                if is(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// The failures of children that were reported and not yet heard, as `CHILD: REASON`.
    fn failures(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        while let Ok(event) = self.heard.try_recv() {
            if let Event::WorkerFailed { child, reason, .. } = &*event {
                failures.push(format!("{child}: {reason}"));
            }
        }
        failures
    }
}

fn critical(event: &Event) -> bool {
    matches!(event, Event::CriticalError { .. })
}

/// An instance without a tree, with one worker.
pub(super) fn instance(script: &Arc<Script>, adjust: impl FnOnce(&mut Manifest)) -> Arc<Instance> {
    Arc::new(unshared(script, adjust))
}

/// As [`instance`], with threads that park at once when there is nothing to do.
fn restless(script: &Arc<Script>, adjust: impl FnOnce(&mut Manifest)) -> Arc<Instance> {
    let mut instance = unshared(script, adjust);
    instance.pool = Pool::with_idle(instance.key.to_string(), instance.manifest.runtime.limits.queue, Duration::ZERO);
    Arc::new(instance)
}

fn unshared(script: &Arc<Script>, adjust: impl FnOnce(&mut Manifest)) -> Instance {
    let text = b"id: sample\nname: Sample\nversion: 1.0.0\n";
    let mut manifest = crate::manifest::load("module.manifest.yaml", text).expect("a manifest").manifest;
    manifest.runtime.workers = 1;
    adjust(&mut manifest);
    let key = InstanceKey { id: "sample".into(), version: "1.0.0".into(), generation: 1 };
    let metrics = Metrics::default().instance(&key);
    Instance::new(key, Arc::new(manifest), Arc::new(Fake(Arc::clone(script))), Arc::new(fake::NoHost), metrics)
}

/// Calls the fake's service `name`.
async fn call(instance: &Arc<Instance>, name: &str) -> Result<Value, CallError> {
    call_within(instance, name, SOON).await
}

async fn call_within(instance: &Arc<Instance>, name: &str, time: Duration) -> Result<Value, CallError> {
    let context = instance.context("test", time);
    instance.call(Handler::Service(name.into()), Vec::new(), context).await
}

/// The same beside the test.
fn calling(instance: &Arc<Instance>, name: &'static str) -> JoinHandle<Result<Value, CallError>> {
    let instance = Arc::clone(instance);
    tokio::spawn(async move { call(&instance, name).await })
}

/// The result of [`calling`].
async fn result(call: JoinHandle<Result<Value, CallError>>) -> Result<Value, CallError> {
    soon(call).await.expect("does not panic")
}
