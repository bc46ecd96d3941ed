//! The way to a version that cannot follow the one that serves directly: by the versions between, as one command.
//!
//! Which those are is said by the manifest's `lifecycle.updates`. Each is activated as it would be alone, with its own steps and
//! its own shift. Where one of them does not come to serve, the module goes back to where it was before the command.

use std::fmt;
use std::sync::Arc;

use semver::{Version, VersionReq};

use super::EngineError;
use super::activate::{self, Way, report, run};
use super::activation::{Activation, Done};
use super::board::version_of;
use super::error::list;
use super::jump::Jump;
use super::outcome::{ActivationReport, Outcome};
use super::{returning, rollback, validate};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Event, InstanceKey};
use crate::registry::compatibility::Way as Leads;
use crate::registry::{Definition, Snapshot};

/// A version cannot take over from the one that serves, by its manifest's `lifecycle.updates`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}@{to} cannot take over from {from}, which serves: {cause}")]
pub struct NoWay {
    /// The module.
    pub id: String,
    /// The version that was to serve.
    pub to: Version,
    /// The one that does.
    pub from: Version,
    /// Why.
    pub cause: Impassable,
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Impassable {
    /// It updates no version.
    Unsupported,
    /// It follows others only.
    Outside(Option<VersionReq>),
    /// The way leads by versions that are not registered.
    Missing {
        /// The whole way.
        via: Vec<Version>,
        /// Those of it that are not registered.
        unregistered: Vec<Version>,
    },
    /// The way leads by a version that cannot follow the one before it.
    Stop {
        /// The whole way.
        via: Vec<Version>,
        /// That version.
        stop: Version,
        /// The one before it.
        after: Version,
    },
}

impl fmt::Display for Impassable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => {
                f.write_str("its manifest says `lifecycle.updates.supported: false`; deactivate the module first")
            }
            Self::Outside(range) => {
                let range = range.as_ref().map_or_else(|| "no other".to_owned(), ToString::to_string);
                write!(
                    f,
                    "its manifest follows {range} (`lifecycle.updates.compatibility`), and none of its `migrationPaths` leads there \
                     from that one; activate a version that it follows first"
                )
            }
            Self::Missing { via, unregistered } => write!(
                f,
                "its manifest leads by {}, and {} is not registered; register that first",
                list(via),
                list(unregistered)
            ),
            Self::Stop { via, stop, after } => write!(
                f,
                "its manifest leads by {}, and {stop} cannot follow {after} by `lifecycle.updates` of its own manifest; activate a version \
                 that it follows first",
                list(via)
            ),
        }
    }
}

/// The versions to go through, in order; none: it follows directly.
///
/// # Errors
/// There is no way.
pub(super) fn stops(
    snapshot: &Snapshot,
    definition: &Definition,
    from: &Version,
) -> Result<Vec<Arc<Definition>>, EngineError> {
    let manifest = &definition.manifest;
    let updates = &manifest.lifecycle.updates;
    let cause = match snapshot.way(manifest, from) {
        Leads::Direct => return Ok(Vec::new()),
        Leads::Through { via } => {
            return Ok(via.iter().filter_map(|version| snapshot.get(&manifest.id, version).cloned()).collect());
        }
        Leads::Missing { via, unregistered } => Impassable::Missing { via, unregistered },
        Leads::Refused { via, stop, after } => Impassable::Stop { via, stop, after },
        Leads::None if !updates.supported => Impassable::Unsupported,
        Leads::None => Impassable::Outside(updates.compatibility.get(&manifest.version).cloned()),
    };
    let (id, to, from) = (manifest.id.clone(), manifest.version.clone(), from.clone());
    Err(EngineError::NoWay(Box::new(NoWay { id, to, from, cause })))
}

/// Goes through `stops` to `definition`, from the version that serves.
pub(super) async fn go(
    work: &Activation,
    (serving, stops, definition): (&Version, &[Arc<Definition>], &Arc<Definition>),
    strategy: Option<ActivationStrategy>,
) -> Result<ActivationReport, EngineError> {
    let (id, to) = (&definition.manifest.id, &definition.manifest.version);
    let slot = || work.shared.board.slot(id);
    let (marked, mut jump) = (work.shared.records.jumps.get(id)?, Jump::begun(&slot(), serving, to));
    let mut via: Vec<ActivationReport> = Vec::new();
    for leg in stops.iter().chain([definition]) {
        let strategy = strategy.unwrap_or(leg.manifest.lifecycle.activation.strategy);
        jump = jump.settled(slot().record.as_ref());
        let work = &Activation { jump: Some(jump.clone()), ..work.clone() };
        let way = Way { keeps_standby: slot().keeps_standby(), ..Way::of(strategy) };
        let is_first = via.is_empty();
        let gone_wrong = match run(work, leg, &way).await {
            Ok(ran) if ran.report.serves() => {
                via.push(ran.report);
                continue;
            }
            Ok(ran) => {
                let reason = ran.report.reason.clone().unwrap_or_default();
                via.push(ran.report);
                reason
            }
            // the next start goes back
            Err(EngineError::Stopped) => return Err(EngineError::Stopped),
            // a command that is refused changes nothing; one whose end could not be written may have
            Err(error) if is_first && serves(work, id, serving) => {
                work.shared.marked_with(id, marked.as_ref()).await;
                return Err(error);
            }
            Err(error) => error.to_string(),
        };
        let reason = format!("{} on the way to it: {gone_wrong}", leg.label());
        let reason = if Arc::ptr_eq(leg, definition) { gone_wrong } else { reason };
        // a candidate that failed leaves what serves as it was
        let left = via.last().filter(|_| is_first && serves(work, id, serving)).map(|leg| leg.outcome);
        let outcome = match left {
            Some(outcome) => outcome,
            None => turn_back(work, id, &jump, &reason).await?,
        };
        work.shared.marked_with(id, marked.as_ref().filter(|_| left.is_some())).await;
        let is_last = |last: &mut ActivationReport| last.version == definition.manifest.version.to_string();
        let last = via.pop_if(is_last);
        let told = last.unwrap_or_else(|| report(id, &definition.manifest.version, outcome));
        return Ok(ActivationReport { outcome, reason: Some(reason), via, ..told });
    }
    let arrived = via.pop().ok_or_else(|| EngineError::Internal(format!("{id} went nowhere")))?;
    Ok(ActivationReport { via, ..arrived })
}

fn serves(work: &Activation, id: &str, version: &Version) -> bool {
    let serving = work.shared.board.slot(id).state.serving;
    serving.as_ref().and_then(version_of).as_ref() == Some(version)
}

/// Goes back to where the module was before, and tells where it cannot.
async fn turn_back(work: &Activation, id: &str, jump: &Jump, reason: &str) -> Result<Outcome, EngineError> {
    let slot = || work.shared.board.slot(id);
    if slot().state.serving.is_none() {
        return Ok(Outcome::Failed);
    }
    match back(work, id, jump, reason).await? {
        Ok(_) => Ok(Outcome::RolledBack),
        Err(cause) => {
            let slot = slot();
            let home = jump.home(slot.record.as_ref());
            let is = slot
                .state
                .serving
                .map_or("nothing of it serves".to_owned(), |it| format!("it stays at {}", it.version));
            let message = format!("{reason}; {is}, since there is no way back to {home}: {cause}");
            work.shared.events.emit(Event::Alarm { subject: id.to_owned(), message });
            Ok(Outcome::FailedToRestore)
        }
    }
}

/// How often it is looked what serves. On a way back there are two legs at most; the others are for confirmations in between.
const LOOKS: usize = 4;

/// Goes back to where the module was before, and gives that version: one between that is provisional is returned from, and one that was
/// confirmed is rolled back. Gives why there is no way back.
pub(super) async fn back(
    work: &Activation,
    id: &str,
    jump: &Jump,
    reason: &str,
) -> Result<Result<Version, String>, EngineError> {
    let board = &work.shared.board;
    let mut fault = "what serves changed again and again".to_owned();
    for _ in 0..LOOKS {
        let slot = board.slot(id);
        let home = jump.home(slot.record.as_ref());
        let Some(serving) = &slot.state.serving else { return Ok(Err(fault)) };
        if version_of(serving).as_ref() == Some(home) {
            return Ok(Ok(home.clone()));
        }
        let went = if slot.state.is_provisional() {
            match returning::return_from(work, serving, reason, None).await {
                Ok(Done::Unreturned(cause)) => Err(cause),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        } else {
            roll_back(work, id, (serving, home), reason).await
        };
        match went {
            // it was not tried to its end: the next start does
            Err(_) if work.shared.is_stopping() => return Err(EngineError::Stopped),
            Err(cause) if board.slot(id).state == slot.state => return Ok(Err(cause)),
            // what serves now may be one that was confirmed on the way
            Err(cause) => fault = cause,
            Ok(()) => {}
        }
    }
    Ok(Err(fault))
}

/// Returns from a confirmed version; why it cannot be.
async fn roll_back(
    work: &Activation,
    id: &str,
    (serving, from): (&InstanceKey, &Version),
    reason: &str,
) -> Result<(), String> {
    let text = |error: EngineError| error.to_string();
    version_of(serving).map_or(Ok(()), |serving| may_leave(work, id, (&serving, from)))?;
    let report = rollback::rollback(work, id, Some(from.clone()), None, reason).await.map_err(text)?;
    if report.serves() { Ok(()) } else { Err(report.reason.unwrap_or_default()) }
}

/// Whether the runtime may go from a confirmed version to an older one without a person's word.
pub(super) fn may_leave(work: &Activation, id: &str, (newer, older): (&Version, &Version)) -> Result<(), String> {
    let of = |version| activate::definition(&work.shared, id, version).map_err(|error| error.to_string());
    match validate::one_way(&*of(newer)?, Some(&*of(older)?)) {
        Some(migration) => Err(format!("migration {migration} of {newer} cannot be taken back")),
        None => Ok(()),
    }
}
