//! From a folder to what serves.

use std::path::Path;

use semver::Version;
use tokio::sync::Semaphore;

use super::{say, version};
use crate::admin::CommandError;
use crate::admin::commands::{CheckReport, check};
use crate::app::Runtime;
use crate::engine::{Engine, EngineError, State};
use crate::error::Error;
use crate::manifest::{ActivationStrategy, Manifest};
use crate::registry::Bundle;
use crate::sandbox::permissions::PermissionError;
use crate::store::audit::Who;

/// What came of a folder.
pub(super) enum Swapped {
    /// It serves.
    Done {
        /// `id@version`.
        label: String,
    },
    /// It serves already: what was saved is what was before a save with faults.
    Same {
        /// `id@version`.
        label: String,
    },
    /// Something that it needs does not serve; only where that is worth another try.
    Waits,
    /// It has faults, or does not start; why was said.
    Refused,
}

/// Checks the folder when it is its turn, registers its files as a version of their own, and swaps that in. With `patient`,
/// what it needs may come later.
pub(super) async fn swap(runtime: &Runtime, dir: &Path, bundle: &Bundle, checks: &Semaphore, patient: bool) -> Swapped {
    let (folder, files) = (dir.to_owned(), bundle.clone());
    let turn = checks.acquire().await;
    let checked = tokio::task::spawn_blocking(move || (check(&folder), version::of(&files))).await;
    drop(turn);
    let bundle = match checked {
        Ok((Ok(CheckReport { faults, .. }), bundle)) if faults.is_empty() => bundle,
        Ok((Ok(CheckReport { faults, .. }), _)) => return refused(dir, &faults),
        Ok((Err(error), _)) => return failed(dir, &error),
        Err(error) => return failed(dir, &CommandError::new("internal", error.to_string())),
    };
    let registered = match bundle {
        Ok(bundle) => runtime.register_bundle(Who::Runtime, bundle).await,
        Err(error) => Err(Error::Registry(error)),
    };
    let definition = match registered {
        Ok(registered) => registered.definition,
        Err(Error::Registry(error)) => return failed(dir, &error.into()),
        Err(error) => return failed(dir, &CommandError::new("failed", error.to_string())),
    };
    let manifest = &definition.manifest;
    let label = manifest.label();
    let served = runtime.engine.slots().into_iter().find(|slot| slot.id == manifest.id);
    if let Some(slot) = served
        && slot.version == manifest.version.to_string()
        && matches!(slot.state, State::Active | State::Provisional)
    {
        return Swapped::Same { label };
    }
    if let Err(error) = grant(runtime, manifest).await {
        return failed(dir, &CommandError::new("failed", error.to_string()));
    }
    match activate(&runtime.engine, manifest).await {
        Ok(None) => {
            settle(&runtime.engine, manifest).await;
            Swapped::Done { label }
        }
        Ok(Some(reason)) => failed(dir, &CommandError::new("failed", format!("{label} does not start: {reason}"))),
        Err(EngineError::Obstructed { .. }) if patient => Swapped::Waits,
        Err(error) => failed(dir, &error.into()),
    }
}

/// In development a module has what its manifest asks for, save what somebody decided otherwise.
async fn grant(runtime: &Runtime, manifest: &Manifest) -> Result<(), PermissionError> {
    for granted in runtime.permissions().grant_all_asked(manifest, Who::Runtime).await? {
        say::line(&format!("{} is granted {}, as its manifest asks and --dev is on", manifest.id, granted.permission));
    }
    Ok(())
}

/// Swaps the version in; why not, if it did not come up.
async fn activate(engine: &Engine, manifest: &Manifest) -> Result<Option<String>, EngineError> {
    let (id, version) = (&manifest.id, &manifest.version);
    let report = match engine.activate(id, version, Some(ActivationStrategy::Instant)).await {
        Err(EngineError::PendingMigrations { pending, .. }) => {
            let pending = pending.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            say::line(&format!("{id} has new migrations ({pending}): it is activated gradually, which takes longer"));
            engine.activate(id, version, Some(ActivationStrategy::Gradual)).await?
        }
        other => other?,
    };
    Ok(if report.outcome.serves() {
        None
    } else {
        Some(report.reason.unwrap_or_else(|| "no reason was given".to_owned()))
    })
}

/// Makes the version permanent, and forgets those of development that do not serve any more: nobody returns to them, and
/// each save makes one.
async fn settle(engine: &Engine, manifest: &Manifest) {
    let (id, version) = (manifest.id.clone(), manifest.version.clone());
    // a version without one before it is confirmed already
    let _ = engine.confirm(&id).await;
    let engine = engine.clone();
    tokio::spawn(async move {
        for old in engine.registered(&id).into_iter().filter(|old: &Version| version::is_dev(old) && *old != version) {
            // what serves again by now, or is needed, stays; the next save tries again
            if let Err(error) = engine.unregister(&id, Some(&old)).await {
                tracing::debug!(module = id, version = %old, %error, "a version of development stays");
            }
        }
    });
}

fn refused(dir: &Path, faults: &[crate::admin::commands::Finding]) -> Swapped {
    say::faults(faults);
    say::line(&format!("{} has faults; what serves goes on", dir.display()));
    Swapped::Refused
}

fn failed(dir: &Path, error: &CommandError) -> Swapped {
    if error.faults.is_empty() {
        say::line(&format!("{}: {}; what serves goes on", dir.display(), error.message));
        return Swapped::Refused;
    }
    let named = error.clone().in_files(|file| dir.join(file).display().to_string());
    refused(dir, &named.faults)
}
