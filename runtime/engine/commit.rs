//! The commit of slots: the records are written, then the routes are switched by one store.
//!
//! What this means for the versions that had a place is part of it, so that no one sees the one without the other. It is
//! the point of no return of every command; the coordinator alone makes it. The slots of a set are turned by one commit:
//! one write, and one store.

mod after;

use std::sync::Arc;

use semver::Version;

use super::EngineError;
use super::board::{Slot, version_of};
use super::coordinator::Coordinator;
use super::journal::{Action, Entry};
use super::plan::{SlotState, Turn};
use super::probe::places;
use super::record::{Change, OneWay, SlotRecord};
use super::state::State;
use super::validate::{self, Coming};
use crate::actors::router::{Companions, Slot as RoutedSlot, Snapshot as Routed};
use crate::manifest::ActivationStrategy;
use crate::monitor::{Event, InstanceKey};
use crate::registry::Definition;
use crate::registry::resolver::{self, Moves};
use crate::store::audit::{By, Kind};
use after::{kept_versions, record, transitions};

/// A change of what a slot serves.
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) turn: Turn,
    /// Who gave the command.
    pub(super) by: By,
    /// How the version that serves afterwards was activated; `None` leaves it as it was.
    pub(super) strategy: Option<ActivationStrategy>,
    /// What was kept of the slot before a version took over that is withdrawn now.
    pub(super) before: Option<SlotRecord>,
    /// The command's entry in the journal.
    pub(super) entry: Option<Entry>,
    /// What the audit log says of it: that it begins, before it is made; anything else, once it is.
    pub(super) told: Option<Told>,
    /// The modules of the set that takes over with it, itself among them; empty: it does so alone.
    pub(super) joins: Vec<String>,
}

/// An entry of the audit log.
pub(super) struct Told {
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) data: serde_json::Value,
}

/// What a commit changed.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) from: SlotState,
    pub(super) to: SlotState,
    /// Migrations that the version that took over owes for the provisional one before it.
    pub(super) inherited: Vec<Version>,
}

/// A commit with the slot as it is and as it is to be.
struct Turning {
    commit: Commit,
    slot: Slot,
    to: SlotState,
}

/// A state that an instance went to: from, to.
type Happened = (InstanceKey, State, State);

impl Commit {
    /// A turn of a slot for which nothing else is to be noted.
    pub(super) fn of(id: &str, turn: Turn, by: By) -> Self {
        let (id, joins) = (id.to_owned(), Vec::new());
        Self { id, turn, by, strategy: None, before: None, entry: None, told: None, joins }
    }

    /// A deactivation is of what serves when it is made: a return may have come between since the command looked.
    fn names_what_serves(&mut self, from: &SlotState) {
        let Some(version) = from.serving.as_ref().and_then(version_of).filter(|_| self.turn == Turn::Clear) else {
            return;
        };
        if let Some(told) = &mut self.told {
            told.subject = format!("{}@{version}", self.id);
        }
        if let Some(entry) = &mut self.entry {
            (entry.version, entry.from) = (version.clone(), Some(version));
        }
    }
}

impl Turning {
    /// Whether what is kept changes. What did not start again serves nothing, and its deactivation is kept all the same; a
    /// share outlives no restart, so nothing is kept of it but the command's entry.
    fn switches(&self) -> bool {
        let (from, to) = (&self.slot.state, &self.to);
        self.commit.turn == Turn::Clear
            || to.serving != from.serving
            || to.is_provisional() != from.is_provisional()
            || to.standby != from.standby
    }

    /// Whether what serves is confirmed by it.
    fn settles(&self) -> bool {
        matches!(self.commit.turn, Turn::Confirm | Turn::TakeOver { .. }) && !self.to.is_provisional()
    }

    /// The share of the traffic that a candidate has from now on, if it is another.
    fn shifted(&self) -> Option<(InstanceKey, u8)> {
        match (&self.commit.turn, &self.slot.state.shift) {
            (Turn::Shift(share), _) => Some((share.key.clone(), share.weight)),
            (Turn::Withdraw(_), Some(share)) => Some((share.key.clone(), 0)),
            _ => None,
        }
    }
}

impl Coordinator {
    /// Makes all of these commits or none; each is about a slot of its own.
    pub(super) async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>, EngineError> {
        let shared = &self.shared;
        let turning = |mut commit: Commit| {
            let slot = shared.board.slot(&commit.id);
            commit.names_what_serves(&slot.state);
            let to = slot.state.turned(&commit.turn);
            Turning { commit, slot, to }
        };
        let mut turns: Vec<Turning> = commits.into_iter().map(turning).collect();
        self.may(&turns)?;
        // whatever can be refused is refused before anything is written
        let routes = self.routes(&turns)?;
        let told = self.intended(&mut turns).await?;
        let (mut changes, mut slots, mut made) = (Vec::new(), Vec::new(), Vec::new());
        let one_way = self.one_way(&turns);
        let settled: Vec<String> =
            turns.iter().filter(|turn| turn.settles()).map(|turn| turn.commit.id.clone()).collect();
        for turn in turns {
            let (shifted, by) = (turn.shifted(), turn.commit.by.clone());
            let (id, from, to) = (turn.commit.id.clone(), turn.slot.state.clone(), turn.to.clone());
            let (slot, happened, inherited) = if turn.switches() {
                let (slot, change, happened, inherited) = self.switch(turn, one_way.clone())?;
                changes.push((id.clone(), change));
                (slot, happened, inherited)
            } else {
                (Slot { state: turn.to, ..turn.slot }, Vec::new(), Vec::new())
            };
            slots.push((id, slot));
            made.push((Committed { from, to, inherited }, happened, shifted, by));
        }
        #[cfg(test)]
        let switched: Vec<String> = changes.iter().map(|(id, _)| id.clone()).collect();
        places!(shared, &switched, "commit", Before);
        if !changes.is_empty() {
            shared.records.write_all(changes).await?;
        }
        places!(shared, &switched, "commit", Inside);
        shared.router.store(routes);
        settled.iter().for_each(|id| shared.router.settles(id));
        shared.board.replace(slots);
        for (Told { kind, subject, data }, by) in told {
            if let Err(error) = shared.audit(kind, by, subject.clone(), data).await {
                // it was made all the same, and must not be told as one that was not
                let message = format!("it was {}, which is not in the audit log: {error}", kind.name());
                shared.events.emit(Event::Alarm { subject, message });
            }
        }
        places!(shared, &switched, "commit", After);
        for (Committed { to, .. }, happened, shifted, by) in &made {
            let share = to.shift.iter().filter(|share| share.weight > 0).map(|share| &share.key);
            for key in to.serving.iter().chain(share) {
                if let Some(instance) = shared.hands.instances.instance(key) {
                    instance.serves();
                }
            }
            for (instance, from, to) in happened {
                shared.changed(instance.clone(), (*from, *to), None, by).await;
            }
            if let Some((instance, weight)) = shifted {
                shared.shifted(instance.clone(), *weight, by).await;
            }
        }
        Ok(made.into_iter().map(|(committed, ..)| committed).collect())
    }

    /// Tells the audit log what is about to be made, and returns what is told of it once that is true. A log that takes nothing
    /// more refuses both.
    async fn intended(&self, turns: &mut [Turning]) -> Result<Vec<(Told, By)>, EngineError> {
        let mut later = Vec::new();
        for Turning { commit, .. } in turns {
            let Some(told) = commit.told.take() else { continue };
            if told.kind == Kind::ActivationBegan {
                self.shared.audit(told.kind, commit.by.clone(), told.subject, told.data).await?;
            } else {
                later.push((told, commit.by.clone()));
            }
        }
        if !later.is_empty() {
            self.shared.audit.takes()?;
        }
        Ok(later)
    }

    /// The slot after its switch, what is kept of that, what happened by it, and the migrations that are owed for another.
    fn switch(
        &self,
        Turning { commit, mut slot, to }: Turning,
        one_way: Option<OneWay>,
    ) -> Result<(Slot, Change, Vec<Happened>, Vec<Version>), EngineError> {
        let now = self.shared.now();
        let from = std::mem::replace(&mut slot.state, to.clone());
        slot.window_passed = false;
        let (replaced, inherited) = self.replaced(&commit, slot.record.as_ref())?;
        slot.record = record(&commit, (&from, &to), (slot.record.take(), one_way), now);
        let mut happened = Vec::new();
        for (key, happening) in transitions(&commit.turn, &from, &to) {
            match slot.happened(&key, happening, None, now) {
                Ok(taken) => happened.extend(taken.map(|(from, record)| (key, from, record.state))),
                // contained: it must not keep a slot from being put right
                Err(impossible) => tracing::error!(instance = %key, %impossible, "a state was left as it is"),
            }
        }
        let mut entry = commit.entry.map(|entry| Entry { committed: true, ..entry });
        if let (Some(entry), false) = (&mut entry, inherited.is_empty()) {
            entry.inherit(inherited.clone());
        }
        let is_begun = entry.as_ref().is_some_and(|entry| entry.jump.is_none() && entry.action != Action::Resume);
        let change = Change {
            slot: Some(slot.record.clone()),
            ends_jump: is_begun && matches!(&commit.turn, Turn::TakeOver { .. } | Turn::ReturnToStandby | Turn::Clear),
            versions: kept_versions(&commit.turn, &from, &to, now),
            entries: entry.into_iter().chain(replaced).collect(),
        };
        Ok((slot, change, happened, inherited))
    }

    /// Whether the commits may be made now; all that was validated is looked at once more.
    fn may(&self, turns: &[Turning]) -> Result<(), EngineError> {
        let mut fits = Vec::new();
        let mut coming = Coming::Over;
        for Turning { commit, slot, to } in turns {
            let (id, from) = (&commit.id, &slot.state);
            match (&commit.turn, &commit.entry) {
                (Turn::ReturnToStandby, _) => coming = Coming::Back,
                (_, Some(entry)) if entry.action == Action::Resume => coming = Coming::Again,
                _ => {}
            }
            let internal = |what: &str| Err(EngineError::Internal(format!("{id} {what}")));
            match &commit.turn {
                Turn::Withdraw(_) => {}
                Turn::ReturnToStandby if from.standby.is_none() => return internal("has nothing on standby"),
                Turn::Confirm if !from.is_provisional() => return internal("has nothing to confirm"),
                Turn::Confirm => {}
                Turn::Shift(_) if from.serving.is_none() => return internal("has nothing to shift traffic from"),
                _ if self.shared.is_stopping() => return Err(EngineError::Stopped),
                Turn::Shift(_) => {}
                Turn::TakeOver { .. } | Turn::ReturnToStandby | Turn::Clear => fits.push((id, to)),
            }
        }
        self.still_fits(&fits, coming)
    }

    fn still_fits(&self, turns: &[(&String, &SlotState)], coming: Coming) -> Result<(), EngineError> {
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        let mut taking: Vec<Arc<Definition>> = Vec::new();
        let mut going = Moves::new();
        for (id, to) in turns {
            let Some(version) = to.serving.as_ref().and_then(version_of) else {
                going.insert((*id).clone(), None);
                continue;
            };
            let definition = snapshot.get(id, &version);
            let unregistered = || EngineError::Internal(format!("{id}@{version} was unregistered meanwhile"));
            taking.push(Arc::clone(definition.ok_or_else(unregistered)?));
        }
        validate::still_fit(&taking, coming, &snapshot, &self.shared.board)?;
        if going.is_empty() {
            return Ok(());
        }
        let dependents = resolver::dependents_beside(&going, &snapshot, &placed);
        let Some((id, _)) = going.pop_first().filter(|_| !dependents.is_empty()) else { return Ok(()) };
        Err(EngineError::Needed { id, action: "deactivated".into(), dependents, together: Vec::new() })
    }

    /// The snapshot with the slots as they are to be.
    fn routes(&self, turns: &[Turning]) -> Result<Arc<Routed>, EngineError> {
        let running = |key: &InstanceKey| {
            let running = self.shared.hands.instances.get(key);
            let running = running.and_then(|running| Some((running.instance?, running.endpoints)));
            running.ok_or_else(|| EngineError::Internal(format!("{key} is not running")))
        };
        let mut slots = Vec::new();
        for Turning { commit, to, .. } in turns {
            let slot = match (&to.serving, &to.shift) {
                (None, _) => None,
                (Some(key), None) => {
                    let (instance, endpoints) = running(key)?;
                    Some(RoutedSlot::of(instance, endpoints))
                }
                (Some(key), Some(share)) => {
                    Some(RoutedSlot::shifting(running(key)?, running(&share.key)?, share.weight))
                }
            };
            slots.push((commit.id.as_str().into(), slot));
        }
        let ids = || turns.iter().map(|turn| turn.commit.id.as_str()).collect::<Vec<_>>().join(", ");
        let next = self.shared.router.with_all(slots, self.companions(turns));
        next.map_err(|taken| EngineError::Port { module: ids(), cause: taken.to_string() })
    }

    /// What gives way and what takes over as one set.
    fn companions(&self, turns: &[Turning]) -> Option<Companions> {
        let joins = turns.iter().any(|turn| !turn.commit.joins.is_empty());
        let serving = |place: fn(&Turning) -> &SlotState| {
            let keys = turns.iter().filter_map(|turn| place(turn).serving.as_ref());
            keys.filter_map(|key| self.shared.hands.instances.instance(key)).collect::<Vec<_>>()
        };
        joins.then(|| Companions::of(&serving(|turn| &turn.slot.state), &serving(|turn| &turn.to)))
    }

    /// The migration for which what serves is not returned from by itself: the first one of a set, since a set returns as one.
    fn one_way(&self, turns: &[Turning]) -> Option<OneWay> {
        let snapshot = self.shared.registry.snapshot();
        turns.iter().find_map(|Turning { commit, to, .. }| {
            let of = |key: &Option<InstanceKey>| snapshot.get(&commit.id, &version_of(key.as_ref()?)?).map(Arc::clone);
            let (newer, older) = (of(&to.serving)?, of(&to.standby));
            // a first version that takes over alone has nothing to return to
            let migration = match older {
                Some(older) => validate::one_way(&newer, Some(&older)),
                None if to.joined => validate::one_way(&newer, None),
                None => None,
            }?;
            Some(OneWay { module: commit.id.clone(), migration })
        })
    }

    /// The entries that change with this commit beside its own, and what the version that takes over owes for them: that of a version
    /// that was provisional and whose time ends with it, and those that owe what this one needs. A version that preserves data owes
    /// nothing for others, since its data may be in the same tables.
    fn replaced(
        &self,
        commit: &Commit,
        record: Option<&SlotRecord>,
    ) -> Result<(Vec<Entry>, Vec<Version>), EngineError> {
        let (mut entries, mut inherited) = (Vec::new(), Vec::new());
        let taking = match &commit.turn {
            Turn::TakeOver { key, keeps_standby, .. } => {
                self.shared.hands.instances.instance(key).map(|it| (it, *keeps_standby))
            }
            _ => None,
        };
        let inherits =
            taking.as_ref().is_some_and(|(it, keeps)| *keeps && !it.manifest.lifecycle.rollback.preserve_data);
        let own = commit.entry.as_ref().map_or(0, |entry| entry.number);
        let provisional = record.and_then(|record| record.provisional.as_ref()).map(|it| it.entry);
        if let Some(number) = provisional.filter(|number| *number != own)
            && let Some(mut entry) = self.shared.records.entry(&commit.id, number)?
        {
            if inherits {
                inherited = entry.owed.take().map(|owed| owed.migrations).unwrap_or_default();
            }
            match &commit.turn {
                Turn::Confirm => entry.confirm(self.shared.now()),
                Turn::TakeOver { .. } => entry.close("another version took over before it was confirmed".to_owned()),
                Turn::Clear => entry.close("the module was deactivated before it was confirmed".to_owned()),
                _ => entry.close("a rollback returned to the version before".to_owned()),
            }
            entries.push(entry);
        }
        let Some((instance, _)) = taking else { return Ok((entries, inherited)) };
        let (others, migrated) = (self.shared.records.undecided(&commit.id)?, validate::migrated(&instance.manifest));
        for mut entry in others.into_iter().filter(|it| it.number != own && Some(it.number) != provisional) {
            // it gave its traffic back and is taken back in its turn, or a start could not: this one found the schema as that one had
            // made it, so what it needs of it stays
            let needed = entry.keep(&migrated);
            if !needed.is_empty() {
                entries.push(entry);
                inherited.extend(needed.into_iter().filter(|_| inherits));
            }
        }
        Ok((entries, inherited))
    }
}
