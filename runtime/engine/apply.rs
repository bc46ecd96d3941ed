//! Carries out the changes of plans. Every change may come twice for the same instance and does no harm then.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use ractor::ActorRef;
use ractor::rpc::CallResult;
use replug_scripts::Handler;

use super::instances::{Instances, Running};
use super::plan::Change;
use super::ports::{Binding, Migrator, PortError, Subject};
use crate::actors::modules::ModulesMsg;
use crate::actors::{Instance, health};
use crate::monitor::{HealthStatus, InstanceKey, Metrics};
use crate::sandbox::{Guard, Supplies};

/// What changes are made with.
pub(super) struct Hands {
    pub(super) bindings: Vec<Arc<dyn Binding>>,
    pub(super) migrator: Option<Arc<dyn Migrator>>,
    pub(super) supplies: Supplies,
    pub(super) modules: ActorRef<ModulesMsg>,
    pub(super) metrics: Metrics,
    pub(super) instances: Instances,
    /// What starts are cut off by; commands have that of [`super::shared::Shared`].
    #[cfg(test)]
    pub(super) probe: Arc<super::probe::Probe>,
}

impl Hands {
    /// Makes one change other than [`Change::Route`], which is the coordinator's.
    ///
    /// # Errors
    /// Why it could not be made; it may be half made then, and its inverse takes that back. A panic of what was called
    /// is such an error.
    pub(super) async fn apply(&self, change: &Change) -> Result<(), String> {
        guarded(self.make(change)).await
    }

    async fn make(&self, change: &Change) -> Result<(), String> {
        match change {
            Change::Prepare(key) => {
                let subject = self.subject(key)?;
                for binding in &self.bindings {
                    binding.prepare(&subject).await.map_err(|error| named(&**binding, &error))?;
                }
                Ok(())
            }
            Change::Release(key) => self.release(key).await,
            Change::Start(key) => self.start(key).await,
            Change::Stop(key) => self.stop(key).await,
            Change::Bind(key) => self.bind(key).await,
            Change::Unbind(key) => {
                self.instances.change(key, |running| running.endpoints = Arc::new([]));
                Ok(())
            }
            Change::Migrate(_, _) | Change::Revert(_, _) => {
                Err("internal error: a migration without its instance".into())
            }
            Change::Warm(key) => self.warm(key).await,
            Change::Verify(key) => self.verify(key).await,
            Change::Route(_) | Change::Restore(..) => Err("internal error: routing is the coordinator's".into()),
        }
    }

    /// Applies what is pending of the instance's migrations.
    pub(super) async fn migrate(&self, key: &InstanceKey) -> Result<(), String> {
        let (Some(migrator), subject) = (&self.migrator, self.subject(key)?) else { return Ok(()) };
        guarded(async { migrator.up(&subject).await.map(drop).map_err(|error| error.to_string()) }).await
    }

    /// Takes migrations back, within the manifest's time for a rollback.
    pub(super) async fn revert(&self, subject: &Subject, versions: &[semver::Version]) -> Result<(), String> {
        let Some(migrator) = &self.migrator else { return Ok(()) };
        let time = subject.manifest.lifecycle.rollback.timeout;
        let reverted = guarded(async { migrator.down(subject, versions).await.map_err(|error| error.to_string()) });
        let late = |_| Err(format!("it took longer than {} ms to take the migrations back", time.as_millis()));
        tokio::time::timeout(time, reverted).await.unwrap_or_else(late)
    }

    /// The instance's subject.
    pub(super) fn subject(&self, key: &InstanceKey) -> Result<Subject, String> {
        Ok(self.running(key)?.subject)
    }

    fn running(&self, key: &InstanceKey) -> Result<Running, String> {
        self.instances.get(key).ok_or_else(|| format!("internal error: {key} is unknown"))
    }

    fn instance(&self, key: &InstanceKey) -> Result<Arc<Instance>, String> {
        self.running(key)?.instance.ok_or_else(|| format!("internal error: {key} was not started"))
    }

    async fn start(&self, key: &InstanceKey) -> Result<(), String> {
        let running = self.running(key)?;
        if running.instance.is_some() {
            return Ok(());
        }
        let manifest = &running.subject.manifest;
        let guard = Guard::new(key, manifest, self.supplies.clone());
        let (metrics, live) = (self.metrics.instance(key), Arc::clone(guard.live()));
        let instance = Instance::new(key.clone(), Arc::clone(manifest), running.program, Arc::new(guard), metrics);
        let instance = Arc::new(instance.supplied(self.supplies.clone()).governed(live));
        // in the table before anything of it runs, so that a start that is given up can be stopped
        if !self.instances.begins(key, &instance) {
            return Err("it was stopped".to_owned());
        }
        if let Err(error) = instance.first_vm().await {
            self.instances.ended(key, &instance);
            return Err(error.to_string());
        }
        self.instances.change(key, |running| running.subject.exports = instance.exports().clone());
        match self.modules.call(|reply| ModulesMsg::Start(instance, reply), None).await {
            Ok(CallResult::Success(started)) => started.map_err(|error| error.to_string()),
            _ => Err("the supervisor of modules is gone".into()),
        }
    }

    async fn stop(&self, key: &InstanceKey) -> Result<(), String> {
        let Some(instance) = self.instances.instance(key) else { return Ok(()) };
        self.end(Arc::clone(&instance)).await?;
        self.instances.ended(key, &instance);
        Ok(())
    }

    /// Stops an instance, with whatever runs in it.
    pub(super) async fn end(&self, instance: Arc<Instance>) -> Result<(), String> {
        instance.close();
        match self.modules.call(|reply| ModulesMsg::Stop(instance, reply), None).await {
            Ok(CallResult::Success(())) => Ok(()),
            _ => Err("the supervisor of modules is gone".into()),
        }
    }

    async fn bind(&self, key: &InstanceKey) -> Result<(), String> {
        let subject = self.subject(key)?;
        let mut endpoints = Vec::new();
        for binding in &self.bindings {
            endpoints.extend(binding.commit(&subject).await.map_err(|error| named(&**binding, &error))?);
        }
        self.instances.change(key, |running| running.endpoints = endpoints.into());
        Ok(())
    }

    async fn release(&self, key: &InstanceKey) -> Result<(), String> {
        let Some(running) = self.instances.get(key) else { return Ok(()) };
        self.undo(&running.subject).await
    }

    /// Lets go of what the bindings hold for an instance that a process before this one had.
    pub(super) async fn let_go(&self, subject: &Subject) -> Result<(), String> {
        let time = subject.manifest.lifecycle.rollback.timeout;
        let late = |_| Err(format!("it took longer than {} ms to let go of it", time.as_millis()));
        tokio::time::timeout(time, guarded(self.undo(subject))).await.unwrap_or_else(late)
    }

    /// Every binding is asked, also after one that failed.
    async fn undo(&self, subject: &Subject) -> Result<(), String> {
        let mut faults = Vec::new();
        for binding in self.bindings.iter().rev() {
            if let Err(error) = binding.undo(subject).await {
                faults.push(named(&**binding, &error));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    async fn warm(&self, key: &InstanceKey) -> Result<(), String> {
        let instance = self.instance(key)?;
        if instance.exports().has(&Handler::Warmup) {
            let call = instance.context("warmup", instance.limits().wall_time.saturating_mul(2));
            instance.call(Handler::Warmup, Vec::new(), call).await.map_err(|error| format!("warmup: {error}"))?;
        }
        Ok(())
    }

    async fn verify(&self, key: &InstanceKey) -> Result<(), String> {
        let report = health::examine(&self.instance(key)?).await;
        match report.status {
            HealthStatus::Unhealthy => Err(format!("health: {}", report.detail())),
            _ => Ok(()),
        }
    }
}

fn named(binding: &dyn Binding, error: &PortError) -> String {
    format!("{}: {error}", binding.name())
}

/// Makes a panic of what is called an error like any other.
pub(super) async fn guarded<T>(made: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    AssertUnwindSafe(made).catch_unwind().await.unwrap_or_else(|panic| Err(said(&*panic)))
}

/// What a panic said, as a reason.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("internal error: {}", text.unwrap_or("panicked"))
}
