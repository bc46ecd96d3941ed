//! The composition root: puts the folders together into a [`Runtime`].
//!
//! | file | what it knows |
//! |---|---|
//! | `builder` | what a runtime is told, and how its parts are put together |
//! | `host` | the commands of the application around it |
//! | `activate`, `call`, `follow` | those of them that have forms of their own |
//! | `data`, `audit`, `supervisor`, `upkeep` | what runs under it |
//! | `seed` | the modules of the folders that it is started with |
//! | `serve`, `listen`, `greeting` | the process `replug serve` |

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::watch;

use crate::actors::modules::ModulesMsg;
use crate::actors::router::BUCKETS;
use crate::actors::{Instance, Router};
use crate::engine::Engine;
use crate::error::Error;
#[cfg(feature = "http")]
use crate::integration::Authenticator;
use crate::monitor::{Events, Metrics};
use crate::registry::Registry;
use crate::store::Store;
use crate::store::audit::AuditLog;
use audit::Chronicle;
use supervisor::Leash;
use upkeep::Sweeper;

mod activate;
mod audit;
mod builder;
mod call;
mod data;
mod follow;
#[cfg(feature = "cli")]
mod greeting;
mod host;
#[cfg(feature = "cli")]
mod listen;
mod seed;
#[cfg(feature = "cli")]
pub mod serve;
mod supervisor;
mod upkeep;

pub use activate::Activate;
pub use builder::Builder;
pub use follow::{EventStream, Missed};

/// A running Replug: modules, their coordinators, and what they are kept in. Several may live in one process, each on a
/// data directory of its own; they share nothing.
///
/// It lives on the tokio runtime on which it was built. Dropping it stops it without letting anything finish; see
/// [`Runtime::shutdown`].
pub struct Runtime {
    data: PathBuf,
    seeds: Vec<PathBuf>,
    store: Store,
    registry: Registry,
    engine: Engine,
    router: Arc<Router>,
    #[cfg(feature = "http")]
    authenticator: Authenticator,
    events: Events,
    metrics: Metrics,
    supervisor: Leash,
    modules: ActorRef<ModulesMsg>,
    broken: watch::Receiver<Option<String>>,
    ready: Arc<AtomicBool>,
    /// What of the folders was not registered or does not start.
    troubles: Mutex<Vec<String>>,
    sweeper: Sweeper,
    chronicle: Chronicle,
    /// Closed when this is dropped, which ends the streams of events.
    alive: watch::Sender<()>,
}

impl Runtime {
    /// Starts what served before, then the modules of the folders.
    async fn begin(&self) {
        self.engine.resume().await;
        self.seed().await;
    }

    fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The registry.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The metrics, in Prometheus' form by [`Metrics::render`].
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The audit log: what was done, by whom and when.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        self.engine.audit()
    }

    /// The instance of a module that serves now; while its traffic shifts, the one that is to be replaced.
    #[must_use]
    pub fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        self.router.load().instance(id, BUCKETS - 1).cloned()
    }

    /// The gateway, to serve or to mount in the host's own application.
    #[cfg(feature = "http")]
    pub fn router(&self) -> axum::Router {
        crate::integration::Gateway::new(Arc::clone(&self.router), self.authenticator.clone()).into_router()
    }

    /// What of the folders was not registered or does not start, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what served before and the modules of the folders have been started, as far as they start.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until a coordinator is gone, which never happens by design, and says why.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        let why = broken.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_else(|| "the supervisor is gone".to_owned())
    }

    /// Lets every module finish what it holds within `patience` and stops everything. What serves is started again by the
    /// next runtime.
    ///
    /// # Errors
    /// Not everything could be written.
    pub async fn shutdown(self, patience: Duration) -> Result<(), Error> {
        // children end from here on, and that is no breakdown
        let _ = self.supervisor.0.send_message(());
        drop(self.sweeper);
        self.engine.stop(patience).await;
        self.registry.stop().await;
        self.modules.stop(None);
        let closed = self.store.close().await;
        self.chronicle.end(closed.is_ok()).await?;
        closed?;
        let _ = self.supervisor.0.stop_and_wait(None, Some(Duration::from_secs(1))).await;
        Ok(())
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("data", &self.data).field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
