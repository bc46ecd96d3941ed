//! What the end of a process means for what it left open: each interrupted command is driven to one side of its point of
//! no return, and each slot to exactly one version. Pure, so that it can be tried on every cut of every history.
//!
//! | what is open | after it |
//! |---|---|
//! | an activation before its switch | undone: the slot is as it was |
//! | a first activation after its switch | finished: there is nothing to return to |
//! | a version that was provisional, or about to be | returned from: the last confirmed version serves |
//! | the same, behind a migration that has no way back | kept: it is confirmed |
//! | a rollback before its switch | undone: the version that served still does |
//! | a rollback after its switch | finished |
//! | a deactivation | finished if the slot was cleared, otherwise undone |
//! | migrations that a start before could not take back | taken back now |

use semver::Version;

use super::journal::{Action, Entry, Owed};
use super::outcome::Outcome;
use super::record::{SlotRecord, VersionRecord};
use super::state::State;

#[cfg(test)]
mod tests;

/// What was decided about one module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settled {
    pub(super) slot: Option<SlotRecord>,
    /// Versions that were returned from.
    pub(super) versions: Vec<(Version, VersionRecord)>,
    /// The entries with their ends.
    pub(super) entries: Vec<Entry>,
    /// Entries whose ends a start before told, and of which only what they owe was left.
    pub(super) left: Vec<Entry>,
    /// Migrations that have to be taken back before anything of the module starts, in this order, with the number of the entry that
    /// owes them.
    pub(super) owed: Vec<(u64, Owed)>,
    /// What was decided, for people.
    pub(super) notes: Vec<String>,
}

/// Decides about a module: its slot and the entries that are open, oldest first.
pub(super) fn settle(slot: Option<SlotRecord>, open: Vec<Entry>, now: u64) -> Settled {
    let mut settled = Settled { slot, ..Settled::default() };
    for mut entry in open {
        let provisional = settled.slot.as_ref().and_then(|slot| slot.provisional.as_ref());
        let is_provisional = provisional.is_some_and(|it| it.entry == entry.number);
        let step = entry.steps.iter().rev().find(|step| step.outcome.is_none()).map(|step| step.name.clone());
        if !is_provisional && entry.is_told() {
            settled.owes(&mut entry);
            entry.closed = true;
            settled.left.push(entry);
            continue;
        }
        let during = step.map_or_else(String::new, |step| format!(" during {step}"));
        if is_provisional && provisional.is_some_and(|it| it.one_way.is_some()) {
            settled.keep(&mut entry, now);
        } else if is_provisional {
            settled.return_from(&mut entry, now);
        } else if !entry.committed {
            let outcome = entry.taken_back();
            let reason = format!("the runtime ended{during} before the switch; nothing of it is left");
            settled.notes.push(format!("{} of {} was undone: {reason}", entry.action.name(), entry.version));
            // what a rollback owes, it owes only once the version before serves
            if entry.action != Action::Rollback {
                settled.owes(&mut entry);
            }
            entry.end(outcome, Some(reason), now);
        } else {
            settled.finish(&mut entry, now);
        }
        settled.entries.push(entry);
    }
    // a slot never stays provisional over a restart, whatever became of its entry
    if let Some(slot) = &mut settled.slot {
        slot.decide();
    }
    // nor does what serves lose what it migrated, whatever an entry says that was left open
    let serving = settled.slot.as_ref().and_then(|slot| slot.serving.as_ref());
    settled.owed.retain(|(_, owed)| Some(&owed.version) != serving);
    // what came last goes first: it may have altered what those before it made
    settled.owed.reverse();
    settled
}

impl Settled {
    fn owes(&mut self, entry: &mut Entry) {
        self.owed.extend(entry.owed.take().map(|owed| (entry.number, owed)));
    }

    /// The runtime ended before the version was confirmed, and nothing may return from it without a person's decision.
    fn keep(&mut self, entry: &mut Entry, now: u64) {
        let migration = self.slot.as_mut().and_then(SlotRecord::decide);
        let because = migration.map_or_else(String::new, |it| format!(": migration {it} cannot be taken back"));
        self.notes.push(format!("{} is kept, although it was not confirmed{because}", entry.version));
        entry.ended.get_or_insert(now);
        entry.confirm(now);
    }

    /// The runtime ended before the version was confirmed.
    fn return_from(&mut self, entry: &mut Entry, now: u64) {
        let reason = match entry.reason.take() {
            // it was being returned from already
            Some(reason) => reason,
            None => "the runtime ended before the version was confirmed".to_owned(),
        };
        if let Some(slot) = &mut self.slot {
            slot.decide();
            let returned = slot.serving.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            self.notes.push(format!("{} was returned from, {returned} serves: {reason}", entry.version));
        }
        self.failed(entry, Outcome::RolledBack, reason, now);
    }

    fn failed(&mut self, entry: &mut Entry, outcome: Outcome, reason: String, now: u64) {
        let (state, generation) = (State::Failed, entry.generation);
        let record = VersionRecord { state, reason: Some(reason.clone()), since: now, generation };
        self.versions.push((entry.version.clone(), record));
        self.owes(entry);
        entry.end(outcome, Some(reason), now);
    }

    /// Its switch was made and it is not provisional: what was left to do is done now, or ended with the process.
    fn finish(&mut self, entry: &mut Entry, now: u64) {
        let serves = self.slot.as_ref().and_then(|slot| slot.serving.as_ref()) == Some(&entry.version);
        match entry.action {
            Action::Rollback => {
                self.owes(entry);
                entry.end(Outcome::Active, None, now);
            }
            Action::Deactivate => entry.end(Outcome::Inactive, None, now),
            Action::Activate | Action::Resume if serves => {
                entry.owed = None;
                entry.end(Outcome::Active, None, now);
            }
            // it was taken back already, and only that was not noted
            Action::Activate | Action::Resume => {
                let reason = entry.reason.take();
                let reason = reason.unwrap_or_else(|| "the runtime ended while it was undone".to_owned());
                let outcome = entry.taken_back();
                self.failed(entry, outcome, reason, now);
            }
        }
        let outcome = entry.outcome.map_or("", Outcome::name);
        self.notes.push(format!("{} of {} was finished: {outcome}", entry.action.name(), entry.version));
    }
}
