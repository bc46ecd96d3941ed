//! Versions that brought the process down so often that the runtime does nothing with them by itself any more: neither are they
//! started, nor is anything taken back of them. A command of a person's tries such a version again, and what it did is forgotten then.

use std::sync::Arc;

use super::EngineError;
use super::activate::report;
use super::activation::Activation;
use super::journal::{Action, Entry};
use super::outcome::{ActivationReport, Outcome};
use super::state::Happening;
use crate::manifest::{ActivationStrategy, Manifest};
use crate::monitor::Aborts;
use crate::monitor::aborts::LIMIT;
use crate::registry::Definition;
use crate::store::audit::Who;

/// Whether the runtime does anything with the version by itself. Its scripts and its migrations, also the way down, are what aborts
/// the process, so one in quarantine is not so much as read.
///
/// # Errors
/// It is in quarantine.
pub(super) fn admits(aborts: &Aborts, manifest: &Manifest) -> Result<(), EngineError> {
    let module = manifest.label();
    let count = aborts.count(&module);
    if count < LIMIT { Ok(()) } else { Err(EngineError::Quarantined { module, count }) }
}

/// Whether the version may be activated by whoever gives the command.
///
/// # Errors
/// It is in quarantine and the runtime itself would activate it, or that it is forgiven cannot be written.
pub(super) fn admit(work: &Activation, manifest: &Manifest) -> Result<(), EngineError> {
    let aborts = &work.shared.hands.supplies.aborts;
    match admits(aborts, manifest) {
        Err(refusal) if work.by.who == Who::Runtime => Err(refusal),
        Err(_) => Ok(aborts.forgive(&manifest.label())?),
        Ok(()) => Ok(()),
    }
}

/// Keeps a version out that served when the runtime ended: it fails, and nothing of it is so much as read. What the end of the runtime
/// interrupted is decided about before: see [`super::resume::recover`], which asks the same.
///
/// Gives nothing where it may start.
pub(super) async fn keep_out(
    work: &Activation,
    definition: &Arc<Definition>,
    strategy: ActivationStrategy,
) -> Result<Option<ActivationReport>, EngineError> {
    let manifest = &definition.manifest;
    let Err(refusal) = admit(work, manifest) else { return Ok(None) };
    let (shared, reason) = (&work.shared, refusal.to_string());
    let entry = Entry::begun(Action::Resume, manifest.version.clone(), None, strategy, shared.now());
    let (key, mut entry) = work.begin(&manifest.id, entry).await?;
    work.happened(&key, Happening::Trigger, Some(reason.clone())).await?;
    work.happened(&key, Happening::Undone, Some(reason.clone())).await?;
    entry.end(Outcome::Failed, Some(reason.clone()), shared.now());
    shared.records.write_entry(&manifest.id, &entry).await?;
    shared.told(&key, Outcome::Failed, Some(reason.clone()));
    let failed = report(&manifest.id, &manifest.version, Outcome::Failed);
    Ok(Some(ActivationReport { reason: Some(reason), ..failed }))
}
