//! How a runtime ends: by a shutdown, or because it was dropped.

use std::sync::PoisonError;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use ractor::ActorRef;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Runtime;
use super::audit::Chronicle;
use super::snapshots::Snapshots;
use super::supervisor::Leash;
use super::upkeep::Upkeep;
use crate::actors::modules::ModulesMsg;
use crate::engine::Engine;
use crate::error::Error;
use crate::registry::Registry;
use crate::sandbox::PermissionManager;
use crate::store::audit::AuditError;
use crate::store::{Store, StoreError};

/// How long each of the supervisors may take, once nothing hangs on it any more, and how long the last snapshot may at least.
const LAST: Duration = Duration::from_secs(1);

/// What has to be ended.
pub(super) struct Ending {
    pub(super) snapshots: Snapshots,
    pub(super) engine: Engine,
    pub(super) registry: Registry,
    pub(super) modules: ActorRef<ModulesMsg>,
    pub(super) store: Store,
    pub(super) permissions: PermissionManager,
    pub(super) chronicle: Chronicle,
    pub(super) supervisor: Leash,
    pub(super) upkeep: Upkeep,
    /// Told at the very end.
    pub(super) ended: watch::Sender<bool>,
    /// The async runtime that all of it runs on.
    pub(super) tokio: Handle,
}

/// The end of a runtime, for everybody who waits for it. It comes whether or not somebody does.
pub(super) type Ended = Shared<BoxFuture<'static, Result<(), Loss>>>;

/// Why not everything could be written.
#[derive(Clone)]
pub(super) enum Loss {
    Audit(AuditError),
    Store(StoreError),
    Broken(String),
}

impl Ending {
    /// Ends it on a task of its own, so that nobody who stops waiting leaves it half done.
    fn begin(self, patience: Duration) -> Ended {
        let task = self.tokio.clone().spawn(self.run(patience));
        task.map(|ended| ended.unwrap_or_else(|error| Err(Loss::Broken(error.to_string())))).boxed().shared()
    }

    async fn run(self, patience: Duration) -> Result<(), Loss> {
        let until = Instant::now() + patience;
        self.supervisor.expect_ends();
        self.upkeep.stop().await;
        self.engine.stop(patience).await;
        self.registry.stop().await;
        let _ = self.modules.stop_and_wait(None, Some(LAST)).await;
        // what modules needed of the time is not its own fault
        self.snapshots.end(until.max(Instant::now() + LAST)).await;
        let closed = self.store.close().await;
        // the instances are gone, and with them what they were denied is told
        self.permissions.close().await;
        let written = self.chronicle.end(closed.is_ok()).await;
        self.supervisor.stop(LAST).await;
        self.ended.send_replace(true);
        written.map_err(Loss::Audit)?;
        closed.map_err(Loss::Store)
    }
}

impl From<Loss> for Error {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Audit(error) => error.into(),
            Loss::Store(error) => error.into(),
            Loss::Broken(why) => Self::Broken(why),
        }
    }
}

impl Runtime {
    /// Lets every module finish what it holds within `patience` and stops everything; from then on commands and calls are
    /// refused, the gateway knows no path, and streams of events end. What serves is started again by the next runtime,
    /// for which the data directory is free once this one is dropped. It goes on if the caller stops waiting: a second call
    /// waits for the end that the first one began, whatever its own `patience`, and gives the same result.
    ///
    /// # Errors
    /// Not everything could be written.
    pub async fn shutdown(&self, patience: Duration) -> Result<(), Error> {
        self.readiness.stopping();
        let end = self.end.get_or_init(|| {
            let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
            // only whoever gets here takes it, and nobody gets here twice
            ending.map_or_else(|| std::future::ready(Ok(())).boxed().shared(), |ending| ending.begin(patience))
        });
        Ok(end.clone().await?)
    }
}

impl Drop for Runtime {
    /// A runtime that was not shut down must not live on without a handle and hold its data directory.
    fn drop(&mut self) {
        let ending = self.ending.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ending) = ending else { return };
        tracing::warn!("a runtime was dropped without a shutdown: what its modules hold is cut off");
        let tokio = ending.tokio.clone();
        tokio.spawn(async move {
            if let Err(error) = ending.run(Duration::ZERO).await.map_err(Error::from) {
                tracing::error!(%error, "not everything could be written at the end of a runtime");
            }
        });
    }
}
