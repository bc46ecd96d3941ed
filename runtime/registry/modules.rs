//! The registry's actor and the handle on it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr, rpc::CallResult};
use semver::Version;
use tokio::sync::Semaphore;

use super::{Bundle, Definition, Hosted, RegistryError, Snapshot};
use crate::manifest::{self, Fault, Faults, Loaded};
use crate::store::Store;
use crate::store::audit::{AuditLog, By, Who};

mod actor;
mod records;
mod retell;

pub(crate) use retell::{Told, digest_of, readable, retell};

use actor::{Command, Offer, Start};

/// Requests in the registry at once; who comes after them waits. A bundle may be 64 MiB, so they must be few.
const IN_FLIGHT: usize = 8;

/// The time in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a registration came to.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The definition, now in the snapshot.
    pub definition: Arc<Definition>,
    /// `false`: the same content was registered under the same `id@version` already.
    pub fresh: bool,
    /// What is legal in the manifest but probably not meant.
    pub warnings: Vec<Fault>,
}

/// A handle on the registry. Clones share it.
#[derive(Clone)]
pub struct Registry {
    actor: ActorRef<Command>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    in_flight: Arc<Semaphore>,
}

impl Registry {
    /// Starts the registry on what `store` and `data_dir/bundles` hold, supervised by `supervisor` if there is one. A
    /// definition whose files are missing, changed, or no longer accepted is left out and named in [`Snapshot::problems`].
    /// What is registered and unregistered is written to `audit` before it is done. `hosted` is what the application
    /// around the runtime offers: [`Snapshot::hosted`].
    ///
    /// # Errors
    /// [`RegistryError::Store`] when the records cannot be read.
    pub async fn start(
        store: Store,
        audit: AuditLog,
        data_dir: &Path,
        clock: Clock,
        hosted: Hosted,
        supervisor: Option<ActorCell>,
    ) -> Result<Self, RegistryError> {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default().beside(hosted)));
        let start = Start { store, audit, bundles: data_dir.join("bundles"), clock, snapshot: Arc::clone(&snapshot) };
        // Actor names are global to the process and two runtimes may live in one, so this one has none.
        let spawned = match supervisor {
            Some(supervisor) => Actor::spawn_linked(None, actor::RegistryActor, start, supervisor).await,
            None => Actor::spawn(None, actor::RegistryActor, start).await,
        };
        let (actor, _) = spawned.map_err(|error| match error {
            SpawnErr::StartupFailed(cause) => match cause.downcast::<RegistryError>() {
                Ok(error) => *error,
                Err(cause) => RegistryError::Internal { cause: cause.to_string() },
            },
            error => RegistryError::Internal { cause: error.to_string() },
        })?;
        Ok(Self { actor, snapshot, in_flight: Arc::new(Semaphore::new(IN_FLIGHT)) })
    }

    /// What is registered now. Never waits; what was acknowledged before the call is in it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Registers a bundle: checks its manifest and files, copies it into the data directory, records it. The same content
    /// again changes nothing and is no error; it puts back files that were lost or changed meanwhile.
    ///
    /// A caller that stops waiting does not take the registration back.
    ///
    /// # Errors
    /// [`RegistryError::Manifest`] with all faults; [`RegistryError::ContentDiffers`] for other content under a known
    /// `id@version`; [`RegistryError::BreakingChange`] where it takes away what a registered version promises;
    /// [`RegistryError::Files`], [`RegistryError::Audit`] or [`RegistryError::Store`] when it could not be written.
    pub async fn register(&self, bundle: Bundle) -> Result<Registration, RegistryError> {
        self.register_by(Who::Runtime, bundle).await
    }

    /// [`Registry::register`], with who had it done in the audit log; that one has the runtime itself there.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub async fn register_by(&self, by: impl Into<By>, bundle: Bundle) -> Result<Registration, RegistryError> {
        let by = by.into();
        let permit = Arc::clone(&self.in_flight).acquire_owned().await.map_err(|_| RegistryError::Stopped)?;
        let checked = tokio::task::spawn_blocking(move || check(&bundle).map(|loaded| (bundle, loaded))).await;
        let (bundle, loaded) = checked.map_err(|error| RegistryError::Internal { cause: error.to_string() })??;
        let offer = Box::new(Offer { bundle, loaded, by });
        let answer = self.actor.call(|reply| Command::Register { offer, reply, _permit: permit }, None).await;
        settle(answer.ok())
    }

    /// Forgets these versions of `id`, all or none, and removes their files; who had it done stands in the audit log. Whether
    /// something uses them is for the caller to know.
    ///
    /// # Errors
    /// [`RegistryError::NotRegistered`], or [`RegistryError::Audit`] or [`RegistryError::Store`] when it could not be written.
    pub async fn unregister_by(&self, by: impl Into<By>, id: &str, versions: &[Version]) -> Result<(), RegistryError> {
        let by = by.into();
        let permit = Arc::clone(&self.in_flight).acquire_owned().await.map_err(|_| RegistryError::Stopped)?;
        let (id, versions) = (id.to_owned(), versions.to_vec());
        let unregister = |reply| Command::Unregister { by, id, versions, reply, _permit: permit };
        let answer = self.actor.call(unregister, None).await;
        settle(answer.ok())
    }

    /// Finishes what is queued and stops. Snapshots can still be read.
    pub async fn stop(&self) {
        self.in_flight.close();
        // An error means that it has stopped already.
        let _ = self.actor.drain_and_wait(None).await;
    }
}

/// The bundle's manifest, if it and the files are without fault.
fn check(bundle: &Bundle) -> Result<Loaded, RegistryError> {
    let loaded = manifest::load(manifest::FILE_NAME, bundle.manifest())?;
    let faults = manifest::check_files(&loaded, &bundle.paths());
    if faults.is_empty() { Ok(loaded) } else { Err(Faults(faults).into()) }
}

fn settle<T>(answer: Option<CallResult<Result<T, RegistryError>>>) -> Result<T, RegistryError> {
    match answer {
        Some(CallResult::Success(result)) => result,
        _ => Err(RegistryError::Stopped),
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("revision", &self.snapshot.load().revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
