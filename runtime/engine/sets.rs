//! Several modules that take over, are confirmed, and return as one.
//!
//! Each member is brought as far as it can be without traffic, those that others need first. Then one commit switches the slots
//! of all: the one point of no return. Before it, and after it until all are confirmed, what goes wrong with one of them takes
//! all of them back, and again by one commit. So nobody ever meets some of them without the others, and versions may be members
//! that fit only each other.
//!
//! There is no shift of traffic: a share of the requests of one module would meet old versions of the others. Instead the
//! confirm window is there for all, and each member's triggers are watched in it.

mod back;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use semver::Version;
use tokio::sync::broadcast::error::TryRecvError;

use super::EngineError;
use super::activate::{Ran, Ready, Way, begin, definition, report, validated};
use super::activation::Activation;
use super::apply::{guarded, said};
use super::attempt::Attempt;
use super::board::{Slot, version_of};
use super::commit::Commit;
use super::outcome::{ActivationReport, Outcome};
use super::plan::{Change, Plan, Step, Turn};
#[cfg(test)]
use super::probe::When;
use super::quarantine;
use super::state::State;
use super::strategy::StepName;
use super::window::trigger_name;
use super::{through, validate};
use crate::manifest::{ActivationStrategy, Manifest, TriggerKind};
use crate::monitor::Event;
use crate::registry::Definition;
use crate::registry::resolver::{self, Running};

pub(super) use back::{last_first, return_from, roll_back};

/// The most members: their records are written at once.
const MOST: usize = 16;

/// The members by module, and the one that is told first.
///
/// # Errors
/// They are none, too many, or one module is named twice.
pub(super) fn named(members: &[(String, Version)]) -> Result<(String, BTreeMap<String, Version>), EngineError> {
    let refused = |reason: String| Err(EngineError::Set { reason });
    let Some((lead, _)) = members.first() else { return refused("it has no members".to_owned()) };
    if members.len() > MOST {
        return refused(format!(
            "it has {} members, and {MOST} are the most; activate them in several sets",
            members.len()
        ));
    }
    let mut by_id = BTreeMap::new();
    for (id, version) in members {
        if let Some(other) = by_id.insert(id.clone(), version.clone()) {
            return refused(format!("it has {id}@{other} and {id}@{version}; name each module once"));
        }
    }
    Ok((lead.clone(), by_id))
}

/// Whether something may be done to the module alone.
///
/// # Errors
/// It took over as one of a set that is not confirmed.
pub(super) fn alone(id: &str, slot: &Slot, action: impl FnOnce() -> String) -> Result<(), EngineError> {
    let Some(set) = slot.set() else { return Ok(()) };
    Err(EngineError::InSet { id: id.to_owned(), set: set.into_iter().collect(), action: action() })
}

/// One of a set that is on its way.
struct Member<'a> {
    attempt: Attempt<'a>,
    plan: Plan,
    /// When it had come as far as it can without traffic.
    waits: Instant,
}

/// The command `activate` of a set.
pub(super) async fn activate(
    work: &Activation,
    lead: &str,
    members: &BTreeMap<String, Version>,
    strategy: Option<ActivationStrategy>,
) -> Result<ActivationReport, EngineError> {
    let mut reports = BTreeMap::new();
    let set = admitted(work, members, &mut reports)?;
    if let [alone] = &*set {
        let manifest = &alone.manifest;
        let ran = super::activate::activate(work, &manifest.id, &manifest.version, strategy).await?;
        reports.insert(manifest.id.clone(), ran);
    } else if !set.is_empty() {
        let way =
            |definition: &Definition| Way::of(strategy.unwrap_or(definition.manifest.lifecycle.activation.strategy));
        let mut ready = Vec::new();
        for definition in &set {
            let way = way(definition);
            ready.push((validated(work, definition, &way, Instant::now()).await?, way));
        }
        let ran = run(work, ready, &labels(&set)).await?;
        let reason = ran.iter().find_map(|ran| ran.report.reason.clone());
        // those that had not begun when another failed are as they were as well
        for Manifest { id, version, .. } in set.iter().map(|definition| &definition.manifest) {
            let untouched = report(id, version, Outcome::RolledBack);
            reports.insert(id.clone(), ActivationReport { reason: reason.clone(), ..untouched });
        }
        for ran in ran {
            let (id, mut report) = (ran.report.id.clone(), ran.report);
            // its window is over at once, and the last of them confirmed all
            let is_active = work.shared.board.slot(&id).serving_state() == Some(State::Active);
            report.outcome = if is_active && report.serves() { Outcome::Active } else { report.outcome };
            reports.insert(id, report);
        }
    }
    told(lead, reports)
}

/// The report about one member, with the others in it.
fn told(lead: &str, mut reports: BTreeMap<String, ActivationReport>) -> Result<ActivationReport, EngineError> {
    let told = reports.remove(lead).ok_or_else(|| EngineError::Internal(format!("nothing became of {lead}")))?;
    Ok(ActivationReport { set: reports.into_values().collect(), ..told })
}

fn labels(set: &[Arc<Definition>]) -> Vec<String> {
    set.iter().map(|definition| definition.label()).collect()
}

/// The members that do not serve yet, in the order in which they start; those that do are reported.
///
/// # Errors
/// They cannot take over as one.
fn admitted(
    work: &Activation,
    members: &BTreeMap<String, Version>,
    reports: &mut BTreeMap<String, ActivationReport>,
) -> Result<Vec<Arc<Definition>>, EngineError> {
    let (shared, mut set) = (&work.shared, Running::new());
    let snapshot = shared.registry.snapshot();
    for (id, version) in members {
        let (newer, slot) = (definition(shared, id, version)?, shared.board.slot(id));
        let serving = slot.state.serving.as_ref().and_then(version_of);
        if serving.as_ref() == Some(version) && !slot.is_stuck() {
            let outcome = if slot.state.is_provisional() { Outcome::Provisional } else { Outcome::Active };
            reports.insert(id.clone(), report(id, version, outcome));
            continue;
        }
        if let Some(serving) = &serving {
            let unsettled = slot.state.is_provisional() || slot.is_stuck();
            if unsettled {
                let state = slot.serving_state().unwrap_or_default();
                let reason = format!(
                    "{id}@{serving} is {state}, and only what is confirmed can be returned to; confirm it or return from it first: \
                     replug confirm {id}, or replug rollback {id}"
                );
                return Err(EngineError::Set { reason });
            }
            validate::reversible(&*definition(shared, id, serving)?, &newer)?;
            let stops = through::stops(&snapshot, &newer, serving)?;
            if let Some(stop) = stops.first() {
                let reason = by_way_of(&newer.manifest, Some(&stop.manifest.version.to_string()));
                return Err(EngineError::Set { reason });
            }
        }
        quarantine::admit(work, &newer.manifest)?;
        set.insert(id.clone(), version.clone());
    }
    let order =
        resolver::start_order(&set, &snapshot).map_err(|cycle| EngineError::Set { reason: cycle.to_string() })?;
    let set = order.iter().map(|id| definition(shared, id, &set[id])).collect::<Result<Vec<_>, _>>()?;
    if set.len() > 1 {
        validate::fit_together(&set, &snapshot, &shared.board.placed())?;
    }
    Ok(set)
}

/// Why a version is no member that follows what serves by way of another one.
pub(super) fn by_way_of(manifest: &Manifest, stop: Option<&String>) -> String {
    let stop = stop.map_or("another version", String::as_str);
    format!("{} follows what serves only by way of {stop}; activate that first", manifest.label())
}

/// Runs the members to their common end, whichever that is.
async fn run(work: &Activation, ready: Vec<(Ready, Way)>, set: &[String]) -> Result<Vec<Ran>, EngineError> {
    let mut members = Vec::new();
    // a panic between two steps is a fault of all like any other
    let ended = AssertUnwindSafe(Box::pin(forward(work, ready, set, &mut members))).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| Err(Stop::Failed(said(&*panic))));
    let attempts = members.into_iter().map(|member| member.attempt);
    match ended {
        Ok(()) => close(work, attempts.map(|attempt| (attempt.reached(), None, attempt)).collect()).await,
        Err(_) if work.shared.is_stopping() => {
            for attempt in attempts.rev() {
                let _ = attempt.abandon().await;
            }
            Err(EngineError::Stopped)
        }
        // nothing was begun
        Err(stop) if attempts.len() == 0 => Err(stop.into()),
        Err(stop) => close(work, back::take_back(work, attempts.collect(), &stop.to_string()).await).await,
    }
}

/// Why a set does not come to its end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Refused(#[from] EngineError),
    #[error("{0}")]
    Failed(String),
}

impl From<Stop> for EngineError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) => error,
            Stop::Failed(reason) => Self::Set { reason },
        }
    }
}

/// Ends the members; that of one could not be told keeps no other from being ended. What a panic leaves of one is put right once
/// the others have ended, since it may take all of them back.
async fn close(work: &Activation, ended: Vec<(Outcome, Option<String>, Attempt<'_>)>) -> Result<Vec<Ran>, EngineError> {
    let (mut closed, mut failed, mut left) = (Vec::new(), None, Vec::new());
    for (outcome, reason, attempt) in ended {
        match attempt.left().or_fault(Box::pin(attempt.end(outcome, reason))).await {
            Ok(Ok(ran)) => closed.push(ran),
            Ok(Err(error)) => failed = failed.or(Some(error)),
            Err(unended) => left.push(unended),
        }
    }
    let mends = !left.is_empty();
    let provisional: Vec<bool> = left.iter().map(|(left, _)| left.is_provisional()).collect();
    for ((left, fault), was_provisional) in left.into_iter().zip(provisional) {
        if was_provisional && !left.is_provisional() {
            // with the one before
            failed = failed.or(left.may_be_told().err());
        }
        match Box::pin(left.mend(&fault)).await {
            Ok(ran) => closed.push(ran),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    for ran in closed.iter_mut().filter(|_| mends) {
        let slot = work.shared.board.slot(&ran.report.id).state;
        let serves = slot.serving.is_some_and(|key| *key.version == *ran.report.version);
        let entry = work.shared.records.entry(&ran.report.id, ran.entry.number)?;
        if let (false, Some(entry)) = (serves, entry) {
            // it was returned from with the others
            ran.report.outcome = entry.outcome.unwrap_or(Outcome::RolledBack);
            ran.report.reason.clone_from(&entry.reason);
        }
    }
    failed.map_or(Ok(closed), Err)
}

async fn forward<'a>(
    work: &'a Activation,
    ready: Vec<(Ready, Way)>,
    set: &[String],
    members: &mut Vec<Member<'a>>,
) -> Result<(), Stop> {
    for (ready, way) in ready {
        gives_up(work)?;
        let (attempt, plan) = begin(work, ready.just_now(), &way, set).await?;
        members.push(Member { attempt, plan, waits: Instant::now() });
        let Some(Member { attempt, plan, waits }) = members.last_mut() else { continue };
        let (before, _) = halves(plan);
        attempt.steps(before).await.map_err(|fault| of(attempt, &fault))?;
        *waits = Instant::now();
    }
    for Member { attempt, plan, .. } in &mut *members {
        let (_, after) = halves(plan);
        is_well(work, attempt, after).await.map_err(|fault| of(attempt, &fault))?;
    }
    gives_up(work)?;
    switch(work, members).await.map_err(Stop::Failed)?;
    for Member { attempt, plan, waits } in members {
        // it waited for the others: that is no slowness of its own
        attempt.deadline += waits.elapsed();
        let (_, after) = halves(plan);
        attempt.steps(after).await.map_err(|fault| of(attempt, &fault))?;
    }
    Ok(())
}

/// Whether a member is still well after it waited for the others: nothing is routed to one that is not.
async fn is_well(work: &Activation, attempt: &mut Attempt<'_>, after: &[Step]) -> Result<(), String> {
    loop {
        let critical = match attempt.events.try_recv().as_deref() {
            Ok(Event::CriticalError { instance, reason }) if *instance == attempt.key => Some(reason.clone()),
            Ok(_) => None,
            Err(TryRecvError::Lagged(_)) => work.shared.hands.instances.gave_up(&attempt.key),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        };
        if let Some(reason) = critical {
            return Err(format!("{}: {reason}", trigger_name(TriggerKind::CriticalError)));
        }
    }
    for verify in after.iter().flat_map(|step| &step.changes).filter(|change| matches!(change, Change::Verify(_))) {
        let health = work.shared.hands.apply(verify).await;
        health.map_err(|fault| format!("{}: {fault}", trigger_name(TriggerKind::HealthCheckFailure)))?;
    }
    Ok(())
}

/// The steps before the switch and those after it.
fn halves(plan: &Plan) -> (&[Step], &[Step]) {
    let at = plan.steps.iter().position(|step| step.name == StepName::Activate).unwrap_or(plan.steps.len());
    (&plan.steps[..at], plan.steps.get(at + 1..).unwrap_or_default())
}

fn of(attempt: &Attempt<'_>, fault: &str) -> Stop {
    Stop::Failed(format!("{}: {fault}", attempt.manifest.label()))
}

/// Whether a command that waits, or the end of the runtime, calls for the end of this one.
fn gives_up(work: &Activation) -> Result<(), Stop> {
    if work.shared.is_stopping() {
        return Err(EngineError::Stopped.into());
    }
    let aborted = work.aborted.borrow();
    let reason = aborted.as_ref().and_then(|abort| abort.reason(false));
    reason.map_or(Ok(()), |reason| Err(Stop::Failed(reason.to_owned())))
}

/// The step `activate` of all: one commit, which is made whole or not at all. What goes wrong in it is of all of them.
async fn switch(work: &Activation, members: &mut [Member<'_>]) -> Result<(), String> {
    let started = Instant::now();
    let mut fault = guarded(turned(work, members)).await.err();
    for Member { attempt, .. } in members.iter_mut().filter(|member| member.attempt.is_amid(StepName::Activate)) {
        #[cfg(test)]
        if fault.is_none() {
            fault = guarded(met(&work.shared, attempt, When::After)).await.err();
        }
        let noted = attempt.ended(StepName::Activate, started, fault.as_ref()).await;
        fault = fault.or(noted.err());
    }
    fault.map_or(Ok(()), |fault| Err(format!("{}: {fault}", StepName::Activate.name())))
}

/// Switches the slots of all, and lets each member know where it is then.
async fn turned(work: &Activation, members: &mut [Member<'_>]) -> Result<(), String> {
    let joins: Vec<String> = members.iter().map(|member| member.attempt.manifest.id.clone()).collect();
    let mut commits = Vec::new();
    for Member { attempt, plan, .. } in &mut *members {
        if let Some(step) = plan.steps.iter().find(|step| step.name == StepName::Activate) {
            attempt.intends(step).await?;
        }
        #[cfg(test)]
        met(&work.shared, attempt, When::Before).await?;
        attempt.compares();
        let turn = Turn::TakeOver { key: attempt.key.clone(), keeps_standby: true, joins: true };
        commits.push(Commit { joins: joins.clone(), ..attempt.turn(turn) });
    }
    let committed = work.commit_all(commits).await.map_err(|error| error.to_string())?;
    // each knows where it is before anything else may fail
    for (Member { attempt, .. }, committed) in members.iter_mut().zip(committed) {
        attempt.made(committed);
    }
    for Member { attempt, waits, .. } in members {
        // it waited for the others: that is no slowness of its own
        let until = attempt.deadline + waits.elapsed();
        attempt.fits(until).await.map_err(|fault| format!("{}: {fault}", attempt.manifest.label()))?;
    }
    Ok(())
}

/// A place of the common step in the name of one member.
#[cfg(test)]
async fn met(shared: &super::shared::Shared, attempt: &Attempt<'_>, when: When) -> Result<(), String> {
    let met = shared.probe.at(&attempt.key.id, StepName::Activate.name(), when).await;
    met.map_err(|fault| format!("{}: {fault}", attempt.manifest.label()))
}
