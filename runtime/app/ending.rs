//! How a runtime ends: by a shutdown, or because it was dropped.

use std::time::Duration;

use ractor::ActorRef;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Runtime;
use super::audit::Chronicle;
use super::supervisor::Leash;
use super::upkeep::Sweeper;
use crate::actors::modules::ModulesMsg;
use crate::engine::Engine;
use crate::error::Error;
use crate::registry::Registry;
use crate::store::Store;

/// How long each of the supervisors may take, once nothing hangs on it any more.
const LAST: Duration = Duration::from_secs(1);

/// What has to be ended.
pub(super) struct Ending {
    pub(super) engine: Engine,
    pub(super) registry: Registry,
    pub(super) modules: ActorRef<ModulesMsg>,
    pub(super) store: Store,
    pub(super) chronicle: Chronicle,
    pub(super) supervisor: Leash,
    pub(super) sweeper: Sweeper,
    /// Told at the very end.
    pub(super) ended: watch::Sender<bool>,
    /// The async runtime that all of it runs on.
    pub(super) tokio: Handle,
}

impl Ending {
    async fn run(self, patience: Duration) -> Result<(), Error> {
        self.supervisor.expect_ends();
        self.sweeper.stop().await;
        self.engine.stop(patience).await;
        self.registry.stop().await;
        let _ = self.modules.stop_and_wait(None, Some(LAST)).await;
        let closed = self.store.close().await;
        let written = self.chronicle.end(closed.is_ok()).await;
        self.supervisor.stop(LAST).await;
        self.ended.send_replace(true);
        written?;
        Ok(closed?)
    }
}

impl Runtime {
    /// Lets every module finish what it holds within `patience` and stops everything; from then on commands and calls are
    /// refused, the gateway knows no path, and streams of events end. What serves is started again by the next runtime,
    /// for which the data directory is free once this one is dropped. A second call waits for the first one.
    ///
    /// # Errors
    /// Not everything could be written.
    pub async fn shutdown(&self, patience: Duration) -> Result<(), Error> {
        let mut ending = self.ending.lock().await;
        match ending.take() {
            Some(ending) => ending.run(patience).await,
            None => Ok(()),
        }
    }
}

impl Drop for Runtime {
    /// A runtime that was not shut down must not live on without a handle and hold its data directory.
    fn drop(&mut self) {
        let Some(ending) = self.ending.get_mut().take() else { return };
        tracing::warn!("a runtime was dropped without a shutdown: what its modules hold is cut off");
        let tokio = ending.tokio.clone();
        tokio.spawn(async move {
            if let Err(error) = ending.run(Duration::ZERO).await {
                tracing::error!(%error, "not everything could be written at the end of a runtime");
            }
        });
    }
}
