//! Forgets versions that do not run and that nobody needs.

use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::EngineError;
use super::activation::Activation;
use super::board::version_of;
use super::shared::Shared;
use super::state::State;
use crate::monitor::Event;
use crate::registry::versions::ModuleRef;
use crate::registry::{Snapshot, resolver};

/// How long what drains is waited for: by default a drain takes 15 s at most. A manifest may give it an hour, for which nobody
/// waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The command `unregister`: one version, or all of the module's. All are forgotten or none.
pub(super) async fn unregister(
    work: &Activation,
    id: &str,
    version: Option<Version>,
) -> Result<Vec<Version>, EngineError> {
    let shared = &work.shared;
    let mut snapshot = (*shared.registry.snapshot()).clone();
    let broken = snapshot.problems.iter().filter(|problem| problem.id == id).map(|problem| problem.version.clone());
    let known: Vec<Version> = snapshot.versions(id).cloned().chain(broken).collect();
    let doomed: Vec<Version> = match &version {
        Some(version) if known.contains(version) => vec![version.clone()],
        None if !known.is_empty() => known,
        _ => {
            // the registry's own words for what it does not know
            let wanted = ModuleRef { id: id.to_owned(), version };
            return match snapshot.resolve(&wanted) {
                Err(unknown) => Err(unknown.into()),
                Ok(_) => Err(EngineError::Internal(format!("{wanted} is known and is not"))),
            };
        }
    };
    let placed: Vec<Version> = shared.board.slot(id).state.keys().filter_map(version_of).collect();
    for version in &doomed {
        let state = shared.board.state(id, version).state;
        // what failed to restore may serve still
        if !state.is_idle() || placed.contains(version) {
            let dependents =
                resolver::dependents_beside(&resolver::one_move(id, None), &snapshot, &shared.board.placed());
            // what drains gives nobody anything any more
            if !dependents.is_empty() && state != State::Draining {
                return Err(EngineError::Needed {
                    id: id.to_owned(),
                    action: "unregistered".to_owned(),
                    dependents,
                    together: Vec::new(),
                });
            }
            return Err(EngineError::Runs {
                id: id.to_owned(),
                version: version.clone(),
                state,
                help: help(id, state),
            });
        }
    }
    for version in &doomed {
        let dependents = resolver::orphans(id, version, &snapshot);
        if !dependents.is_empty() {
            return Err(EngineError::Orphans { id: id.to_owned(), version: version.clone(), dependents });
        }
        // of several, the last one that somebody needs is the one that is in the way
        let mut modules = snapshot.modules.clone();
        if let Some(versions) = modules.get_mut(id) {
            versions.remove(version);
        }
        let hosted = Arc::clone(&snapshot.hosted);
        snapshot = Snapshot::new(snapshot.revision, modules, Vec::new()).beside(hosted);
    }
    shared.registry.unregister_by(work.by.clone(), id, &doomed).await?;
    for version in &doomed {
        shared.metrics.forget(id, &version.to_string());
        shared.events.emit(Event::Unregistered { id: id.to_owned(), version: version.to_string() });
    }
    work.forget(id, &doomed).await?;
    let after = shared.registry.snapshot();
    let is_left = after.modules.contains_key(id) || after.problems.iter().any(|problem| problem.id == id);
    if is_left {
        return Ok(doomed);
    }
    shared.hands.supplies.accounts.forget(id);
    if let Err(error) = shared.hands.supplies.permissions.forget(id, work.by.clone()).await {
        // the next start does it; until then a module that takes the id is bound by decisions that may not fit it
        let message = format!("what was decided about its permissions could not be forgotten: {error}");
        shared.events.emit(Event::Alarm { subject: id.to_owned(), message });
    }
    Ok(doomed)
}

/// Waits until those of the versions that drain have stopped, in nobody's way. Says whether nothing runs any more.
pub(super) async fn drained(shared: &Shared, id: &str, version: Option<&Version>, deadline: Instant) -> bool {
    let mut events = shared.events.subscribe();
    let busy = || {
        let slot = shared.board.slot(id);
        let wanted = slot.versions.iter().filter(|(known, _)| version.is_none_or(|version| version == *known));
        wanted.map(|(_, record)| record.state).filter(|state| !state.is_idle()).collect::<Vec<_>>()
    };
    let ends = async {
        loop {
            let busy = busy();
            if busy.is_empty() {
                return true;
            }
            if busy.iter().any(|state| *state != State::Draining) {
                return false;
            }
            // a change is told once it can be seen
            if let Err(RecvError::Closed) = events.recv().await {
                return false;
            }
        }
    };
    tokio::select! {
        ended = tokio::time::timeout_at(deadline, ends) => ended.unwrap_or(false),
        _ = shared.stopping.wait() => false,
    }
}

fn help(id: &str, state: State) -> String {
    match state {
        State::Active | State::Provisional => format!("deactivate it first: replug deactivate {id}"),
        State::Standby => format!(
            "it stands by so that a rollback can return to it; activate another version twice, or deactivate: \
             replug deactivate {id}"
        ),
        State::FailedToRestore | State::Failed => format!(
            "it serves still, since its rollback failed; activate a version that works, or deactivate: \
             replug deactivate {id}"
        ),
        _ => "wait until that has ended".to_owned(),
    }
}
