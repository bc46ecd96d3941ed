//! The composition root: puts the folders together into a [`Runtime`].
//!
//! | file | what it knows |
//! |---|---|
//! | `builder` | what a runtime is told, and how its parts are put together |
//! | `host` | the commands of the application around it |
//! | `activate`, `call`, `follow`, `permissions` | those of them that have forms of their own |
//! | `discovery` | what is registered, what goes with what |
//! | `data`, `audit`, `supervisor`, `upkeep` | what runs under it |
//! | `backup`, `snapshots`, `rebuild` | what it is brought back with, and how a damaged store is |
//! | `notify` | webhooks that hear of rollbacks |
//! | `ending` | how it ends |
//! | `seed` | the modules of the folders that it is started with |
//! | `serve`, `listen`, `greeting` | the process `replug serve` |
//! | `dev` | the folders of `serve --dev`: what is saved serves |
//! | `demo` | the guided story `replug demo` |
//! | `signals` | how either is told to stop |

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::actors::router::BUCKETS;
use crate::actors::{Instance, Router};
use crate::engine::Engine;
#[cfg(feature = "http")]
use crate::integration::Authenticator;
use crate::monitor::{Event, Events, Metrics};
use crate::registry::Registry;
use crate::sandbox::tracker::ResourceTracker;
use crate::store::audit::{AuditLog, Who};
use backup::Backups;
use ending::{Ended, Ending};
use readiness::Readiness;
use supervisor::Stops;

mod activate;
mod audit;
pub mod backup;
mod builder;
mod call;
mod data;
#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
mod dev;
mod discovery;
mod ending;
mod follow;
#[cfg(feature = "cli")]
mod greeting;
mod host;
#[cfg(feature = "cli")]
mod listen;
mod notify;
#[cfg(feature = "cli")]
pub mod one_line;
mod permissions;
mod readiness;
mod rebuild;
mod seed;
#[cfg(feature = "cli")]
pub mod serve;
#[cfg(feature = "cli")]
mod signals;
mod snapshots;
mod supervisor;
#[cfg(all(test, feature = "lua", feature = "rhai", feature = "http", feature = "sqlite"))]
mod tests;
mod upkeep;

pub use activate::Activate;
pub use backup::BackupError;
pub use backup::restore::{Restored, restore};
pub use builder::Builder;
pub use discovery::Update;
pub use follow::{EventStream, Missed};

/// A running Replug: modules, their coordinators, and what they are kept in. Several may live in one process, each on a
/// data directory of its own; they share nothing.
///
/// It lives on the tokio runtime on which it was built, until [`Runtime::shutdown`]. Dropping it without that stops it in the
/// background and lets nothing finish.
pub struct Runtime {
    data: PathBuf,
    seeds: Vec<PathBuf>,
    registry: Registry,
    engine: Engine,
    router: Arc<Router>,
    #[cfg(feature = "http")]
    authenticator: Authenticator,
    events: Events,
    metrics: Metrics,
    tracker: ResourceTracker,
    backups: Backups,
    broken: watch::Receiver<Option<String>>,
    stops: Stops,
    readiness: Readiness,
    /// What was wrong with the data, what served before and what of the folders was not registered or does not start.
    troubles: Mutex<Vec<String>>,
    /// Until it is shut down.
    ending: Mutex<Option<Ending>>,
    /// From then on.
    end: OnceLock<Ended>,
    /// Whether it has ended, which ends the streams of events.
    ended: watch::Receiver<bool>,
}

impl Runtime {
    /// Starts what served before, then the modules of the folders.
    async fn begin(&self) {
        self.end_development().await;
        let left = self.engine.resume().await;
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
        self.seed().await;
    }

    /// Takes back what `serve --dev` granted: nobody else decides as the runtime.
    async fn end_development(&self) {
        if let Err(error) = self.engine.permissions().forget_by(Who::Runtime).await {
            let message = format!("what `serve --dev` granted could not be taken back and holds on: {error}");
            self.events.emit(Event::Alarm { subject: "permissions".to_owned(), message });
        }
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

    /// The gateway, to serve or to mount in the host's own application; it may be called more than once.
    ///
    /// Modules see paths without the prefix under which they are mounted: with `app.nest("/modules", runtime.router())` the api
    /// `/hello` of a manifest is `/modules/hello` outside. Apis may be mounted anywhere. Pages, the sign-in page and the
    /// links between them are absolute, so mount modules that have pages at the root, behind the host's own routes:
    /// `app.fallback_service(runtime.router())`.
    ///
    /// For `stickyBy: address`, serve the application with `into_make_service_with_connect_info::<SocketAddr>()`.
    #[cfg(feature = "http")]
    pub fn router(&self) -> axum::Router {
        crate::integration::Gateway::new(Arc::clone(&self.router), self.authenticator.clone()).into_router()
    }

    /// What was found wrong with the store or the audit log at the start and what was done about it, what served before and does
    /// not start again, and what of the folders was not registered or does not start, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether what served before and the modules of the folders have been started, as far as they start, and the runtime is
    /// not being shut down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness.is_started()
    }

    /// Waits until a coordinator is gone, which never happens by design, and says why. A shutdown is no breakdown: it never
    /// returns then.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            None if self.stops.is_set() => std::future::pending().await,
            None => "the supervisor is gone".to_owned(),
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("data", &self.data).field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
