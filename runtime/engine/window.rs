//! The confirm window and what comes after it: a version that serves is watched as long as it has a place.
//!
//! While it is provisional a trigger returns to the version before; when the window has passed without one, it confirms
//! itself. Where a migration has no way back, a trigger freezes the module instead: the version serves on, with an alarm, and a
//! person decides. Once it is confirmed a trigger is an alarm, unless the manifest says `afterConfirm: rollback`.

use std::time::Instant;

use tokio::sync::{broadcast::error::RecvError, oneshot};

use super::EngineError;
use super::activation::{Activation, Command, Done, Reply};
use super::analysis::Rules;
use super::coordinator::Message;
use super::instances::Instances;
use super::record::Provisional;
use super::state::State;
use super::traffic::Health;
use super::undo::called_for;
use super::vigil::{Duty, Seen, Vigil};
use crate::manifest::{RollbackTrigger, TriggerKind};
use crate::monitor::{Event, Following, InstanceKey, Sample};
use crate::store::audit::Who;

/// Watches `key` from now on, by these triggers. `reference` is what the version before did, to compare with; `events` are
/// those that its activation has not looked at. `unreturned` is why it was to be returned from and could not be, which is tried
/// again.
pub(super) fn open(
    work: &Activation,
    key: &InstanceKey,
    reference: Sample,
    (triggers, events): (Vec<RollbackTrigger>, Following),
    unreturned: Option<String>,
) {
    let Some(instance) = work.shared.hands.instances.instance(key) else { return };
    let (work, key) = (work.clone(), key.clone());
    let rules = Rules::of(&triggers);
    let (activation, done) = (&instance.manifest.lifecycle.activation, instance.metrics.stats.sample());
    let mut vigil = Vigil::new(activation, triggers, done, Instant::now());
    if let Some(reason) = unreturned {
        vigil.put_off(Instant::now(), reason.clone(), reason);
    }
    // what has no place any more is not watched, so the task ends with the instance
    tokio::spawn(async move {
        let stopping = work.shared.stopping.wait();
        tokio::select! {
            _ = stopping => {}
            () = watch(&work, &key, (vigil, events), &reference, &rules) => {}
        }
    });
}

async fn watch(
    work: &Activation,
    key: &InstanceKey,
    (mut vigil, mut events): (Vigil, Following),
    reference: &Sample,
    rules: &Rules,
) {
    // it may have given up before anybody watched it
    let mut before = GaveUp::unseen(&work.shared.hands.instances, key);
    loop {
        let of = (&work.shared.hands.instances, key);
        let gave_up = match before.take() {
            Some(before) => Some(before),
            None => wait_until(vigil.due(), of, &mut events).await,
        };
        let Some(instance) = work.shared.hands.instances.instance(key) else { return };
        let slots = work.shared.board.slots();
        let Some(slot) = slots.get(&*key.id).filter(|slot| slot.state.keys().any(|placed| placed == key)) else {
            return;
        };
        if slot.state.serving.as_ref() != Some(key) {
            vigil.rest(instance.metrics.stats.sample(), Instant::now());
            continue;
        }
        // once it is confirmed, a state that it does not take does not call for a return any more
        let critical = gave_up.filter(|gave_up| !gave_up.is_misfit || slot.state.is_provisional());
        let report = instance.health.report();
        let detail = report.detail();
        let provisional = slot.record.as_ref().and_then(|record| record.provisional.as_ref());
        let one_way = provisional.and_then(Provisional::one_way);
        let seen = Seen {
            provisional: slot.state.is_provisional(),
            frozen: provisional.is_some_and(|it| it.frozen.is_some()),
            sample: instance.metrics.stats.sample(),
            health: Health::of(report.status, &detail),
            critical: critical.as_ref().map(|gave_up| &*gave_up.reason),
        };
        let now = Instant::now();
        if let Some(reason) = slot.unreturned() {
            vigil.makes_up(now, called_for(reason));
        }
        let duty = vigil.observe(now, &seen, reference, rules);
        if let Some(began) = vigil.ended_interval() {
            instance.metrics.stats.set_recent(began);
        }
        drop(slots);
        match duty {
            Duty::Nothing => {}
            Duty::Confirm => {
                if let Err(error) = work.confirm(key).await {
                    let is_news = vigil.postpone(Instant::now(), &error.to_string());
                    // one that lost its place in between has nothing to be confirmed
                    let slot = work.shared.board.slot(&key.id);
                    let stays =
                        slot.state.serving.as_ref() == Some(key) && slot.serving_state() == Some(State::Provisional);
                    if stays && is_news {
                        alarm(work, key, format!("it could not be confirmed and stays provisional: {error}"));
                    }
                }
            }
            Duty::Return(reason) if let Some(migration) = &one_way => freeze(work, key, &reason, migration).await,
            // what loses its place by it is not watched any more, and what keeps it is: by a confirmation that came before,
            // or because there is no way back
            Duty::Return(reason) => match return_from(work, key, &reason, now).await {
                Ok(Done::Unreturned(cause)) => drop(vigil.put_off(Instant::now(), reason, cause)),
                Ok(_) | Err(EngineError::Stopped) => {}
                Err(error) => {
                    let message = format!("{reason}; and it could not be returned from: {error}");
                    if vigil.put_off(Instant::now(), reason, error.to_string()) {
                        alarm(work, key, message);
                    }
                }
            },
            Duty::RollBack(reason) => roll_back(work, key, &reason, now).await,
            Duty::Alarm(reason) => alarm(work, key, reason),
        }
    }
}

/// Why an instance cannot go on as it is.
pub(super) struct GaveUp {
    pub(super) reason: String,
    /// Whether it is the state of an actor that it does not take, which only a version that is not confirmed must.
    is_misfit: bool,
}

impl GaveUp {
    /// What an event says of `key`: its tree or the actors of its slot gave up, or one of these does not take its state.
    fn of(event: &Event, key: &InstanceKey) -> Option<Self> {
        match event {
            Event::CriticalError { instance, reason } if instance == key => {
                Some(Self { reason: reason.clone(), is_misfit: false })
            }
            Event::ActorFailed { instance, actor, cause: "upgrade", reason, next: "state kept", .. }
                if instance == key =>
            {
                Some(Self::by_misfit(actor, reason))
            }
            _ => None,
        }
    }

    fn by_misfit(actor: &str, reason: &str) -> Self {
        Self { reason: format!("actor {actor} is held: {reason}"), is_misfit: true }
    }

    /// What the state of its tree and of its actors says, where events passed unseen.
    fn unseen(instances: &Instances, key: &InstanceKey) -> Option<Self> {
        let gave_up = instances.gave_up(key).map(|reason| Self { reason, is_misfit: false });
        gave_up.or_else(|| instances.misfit(key).map(|(actor, reason)| Self::by_misfit(&actor, &reason)))
    }
}

/// Waits until `due` or until something happens to the instance; why, if it gave up. Of what passed unseen in a flood of events,
/// the state of the tree and of the actors tells.
pub(super) async fn wait_until(
    due: Instant,
    (instances, key): (&Instances, &InstanceKey),
    events: &mut Following,
) -> Option<GaveUp> {
    let sleep = tokio::time::sleep_until(due.into());
    tokio::pin!(sleep);
    loop {
        tokio::select! {
            () = &mut sleep => return None,
            event = events.recv() => match event.as_deref() {
                Ok(Event::HealthChanged { instance, .. }) if instance == key => return None,
                Ok(event) => {
                    if let Some(gave_up) = GaveUp::of(event, key) {
                        return Some(gave_up);
                    }
                }
                Err(RecvError::Lagged(_)) => return GaveUp::unseen(instances, key),
                Err(RecvError::Closed) => std::future::pending().await,
            },
        }
    }
}

/// What an activation that is on its way listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    Not,
    /// To the tree and the actors of the slot, as far as they give up.
    ToTree,
    /// To the tree, and to actors whose state it does not take.
    ToActors,
}

/// Waits until `key` gives up in a way that is listened to, and says why.
pub(super) async fn critical_error(
    events: &mut Following,
    (instances, key): (&Instances, &InstanceKey),
    listens: Listens,
) -> String {
    if listens == Listens::Not {
        return std::future::pending().await;
    }
    loop {
        let gave_up = match events.recv().await.as_deref() {
            Ok(event) => GaveUp::of(event, key),
            Err(RecvError::Lagged(_)) => GaveUp::unseen(instances, key),
            Err(RecvError::Closed) => std::future::pending().await,
        };
        let heard = gave_up.filter(|it| listens == Listens::ToActors || !it.is_misfit);
        if let Some(GaveUp { reason, .. }) = heard {
            return format!("{}: {reason}", trigger_name(TriggerKind::CriticalError));
        }
    }
}

/// Returns from a provisional version; returns when that has ended.
async fn return_from(work: &Activation, key: &InstanceKey, reason: &str, since: Instant) -> Result<Done, EngineError> {
    let (reply, answer) = oneshot::channel();
    let _ = work.coordinator.send_message(Message::Return(key.clone(), (reason.to_owned(), since), reply));
    answer.await.unwrap_or_else(|_| match work.shared.is_stopping() {
        true => Err(EngineError::Stopped),
        false => Err(EngineError::Internal("the return came to no end; look at the log".to_owned())),
    })
}

/// Returns from a confirmed version whose manifest wants that, if it serves still when its turn comes.
async fn roll_back(work: &Activation, key: &InstanceKey, reason: &str, since: Instant) {
    alarm(work, key, format!("{reason}; the version before is activated"));
    let (reply, answer) = oneshot::channel();
    let command = Command::FallBack { key: key.clone(), reason: reason.to_owned() };
    let _ = work.coordinator.send_message(Message::Run(command, Reply { to: reply, by: Who::Runtime.into(), since }));
    let failed = match answer.await {
        Ok(Err(EngineError::Stopped)) | Err(_) => return,
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(Done::Activated(report))) if !report.outcome.serves() => report.reason.unwrap_or_default(),
        Ok(Ok(_)) => return,
    };
    alarm(work, key, format!("{reason}; and there is no way back: {failed}"));
}

/// Keeps a provisional version that something calls to return from, since that would lose data.
async fn freeze(work: &Activation, key: &InstanceKey, reason: &str, migration: &str) {
    match work.freeze(key, reason).await {
        Ok(true) => {
            let (instance, migration) = (key.clone(), migration.to_owned());
            let id = &key.id;
            let mend = match work.shared.board.slot(id).set() {
                None => "mend it by a newer version (replug update PATH), or accept it",
                Some(_) => "accept its set, and mend it by a newer version then",
            };
            let message = format!(
                "{reason}; it is frozen and serves on, since migration {migration} cannot be taken back: {mend} (replug confirm {id})"
            );
            work.shared.events.emit(Event::Frozen { instance, migration, reason: reason.to_owned() });
            alarm(work, key, message);
        }
        Ok(false) | Err(EngineError::Stopped) => {}
        Err(error) => alarm(work, key, format!("{reason}; and that it is frozen could not be written: {error}")),
    }
}

fn alarm(work: &Activation, key: &InstanceKey, message: String) {
    work.shared.events.emit(Event::Alarm { subject: key.to_string(), message });
}

/// A trigger's name in manifests.
pub(super) const fn trigger_name(trigger: TriggerKind) -> &'static str {
    match trigger {
        TriggerKind::HealthCheckFailure => "healthCheckFailure",
        TriggerKind::ErrorRateExceeded => "errorRateExceeded",
        TriggerKind::ResponseTimeExceeded => "responseTimeExceeded",
        TriggerKind::ActivationTimeout => "activationTimeout",
        TriggerKind::CriticalError => "criticalError",
    }
}
