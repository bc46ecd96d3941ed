//! A jump (see [`super::through`]) that the end of a runtime cuts off: the mark that one is under way, and what a start makes of it.
//!
//! A stop that was confirmed on the way is a version like any other: alone, a start would keep it, and the module would be neither
//! where it began nor where it was to come. So the mark is on the disk before the first version takes over, and stays until the module has
//! arrived or is back. A start that finds one starts what served, and then goes back; one that is cut off in that finds it again. Where the
//! module cannot go back, that is for a person to decide, and any other command that does something with it ends the mark.

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::activate::{self, Way};
use super::activation::{Activation, Command};
use super::board::Slot;
use super::journal::{Action, Entry, clipped};
use super::record::{Records, SlotRecord};
use super::shared::Shared;
use super::{Engine, EngineError, through};
use crate::monitor::Event;
use crate::store::audit::Kind;
use crate::store::{Batch, StoreError};

/// The mark: a jump is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Jump {
    /// The version that was confirmed before it.
    pub(super) from: Version,
    /// The version that served before it, where that one was not confirmed.
    #[serde(default)]
    was: Option<Version>,
    /// The version that is to serve after it.
    pub(super) to: Version,
    /// The number of the entry that set it last, in the module's journal.
    pub(super) leg: u64,
}

impl Jump {
    /// From the version that `serves` in this slot.
    pub(super) fn begun(slot: &Slot, serves: &Version, to: &Version) -> Self {
        let confirmed = slot.record.as_ref().and_then(|record| record.serving.clone());
        let (from, was) = match confirmed.filter(|_| slot.state.is_provisional()) {
            Some(confirmed) => (confirmed, Some(serves.clone())),
            None => (serves.clone(), None),
        };
        Self { from, was, to: to.clone(), leg: 0 }
    }

    /// The version to go back to: the one that served, if it was confirmed since, otherwise the confirmed one behind it.
    pub(super) fn home(&self, record: Option<&SlotRecord>) -> &Version {
        let Some((was, record)) = self.was.as_ref().zip(record) else { return &self.from };
        // each confirmation puts what was confirmed before it in `previous`; beside `from` that is of an older time
        let is_confirmed = record.serving.as_ref() == Some(was)
            || (record.serving.as_ref() != Some(&self.from) && record.previous.as_ref() == Some(was));
        if is_confirmed { was } else { &self.from }
    }

    /// The same for the next leg: what was confirmed stays so, also behind further confirmations.
    pub(super) fn settled(self, record: Option<&SlotRecord>) -> Self {
        let from = self.home(record).clone();
        let was = self.was.filter(|was| *was != from);
        Self { from, was, ..self }
    }

    /// The version that served before it.
    fn began_at(&self) -> &Version {
        self.was.as_ref().unwrap_or(&self.from)
    }

    /// Whether it is over once this version serves by the entry of this number, or none does.
    pub(super) fn ends_with(&self, version: Option<&Version>, number: u64) -> bool {
        let ends = [Some(&self.from), self.was.as_ref(), Some(&self.to)];
        number >= self.leg && version.is_none_or(|version| ends.contains(&Some(version)))
    }
}

impl Records {
    /// Sets the mark with the entry of a leg, or of the way back.
    pub(super) fn mark(&self, batch: &mut Batch, id: &str, entry: &Entry) -> Result<(), StoreError> {
        match &entry.jump {
            Some(jump) => batch.put(&self.jumps, id, &Jump { leg: entry.number, ..jump.clone() }),
            None => Ok(()),
        }
    }

    /// Ends the mark with the switch of a command that is about something else.
    pub(super) fn unmark(&self, batch: &mut Batch, id: &str) -> Result<(), StoreError> {
        if self.jumps.get(id)?.is_some() { batch.remove(&self.jumps, id) } else { Ok(()) }
    }
}

impl Shared {
    /// Ends the mark of the module, where it has one: it has arrived, is back, or somebody decided otherwise.
    pub(super) async fn jump_is_over(&self, id: &str) {
        self.marked_with(id, None).await;
    }

    /// Leaves the mark as it was before a jump that came to nothing.
    pub(super) async fn marked_with(&self, id: &str, mark: Option<&Jump>) {
        let ended = async {
            let mut batch = Batch::new();
            match mark {
                Some(mark) => batch.put(&self.records.jumps, id, mark)?,
                None => self.records.unmark(&mut batch, id)?,
            }
            if batch.is_empty() { Ok(()) } else { self.records.store.commit(batch).await }
        };
        let ended: Result<(), StoreError> = ended.await;
        if let Err(error) = ended {
            // what was done was done all the same
            let message =
                format!("that its jump is over could not be written, so the next start turns it back: {error}");
            self.events.emit(Event::Alarm { subject: id.to_owned(), message });
        }
    }
}

/// The command of a start: goes back to where the module was before a jump that was cut off.
pub(super) async fn turn_back(work: &Activation, id: &str) -> Result<(), EngineError> {
    let shared = &work.shared;
    // somebody may have decided meanwhile
    let Some(jump) = shared.records.jumps.get(id)? else { return Ok(()) };
    let slot = shared.board.slot(id);
    let Some(kept) = slot.record.as_ref().and_then(|record| record.serving.clone()) else {
        shared.jump_is_over(id).await;
        return Ok(());
    };
    let (to, home) = (&jump.to, jump.home(slot.record.as_ref()));
    if kept == *to {
        shared.jump_is_over(id).await;
        return Ok(());
    }
    let way = format!("the way from {} to {to} was cut off", jump.began_at());
    if kept == *home {
        let is = if slot.state.serving.is_some() { "serves" } else { "is what it goes back to, and does not start" };
        return is_back(work, id, format!("{way} by the end of the runtime; {home} {is}")).await;
    }
    let way = format!("{way} at {kept} by the end of the runtime");
    let work = &Activation { jump: Some(jump.clone()), ..work.clone() };
    let went = match slot.state.serving {
        Some(_) => through::back(work, id, &jump, &way).await?,
        None => start_before(work, id, (&kept, home)).await?,
    };
    match went {
        Ok(home) => {
            let note = format!("{way}; it was returned to {home}");
            explain(shared, id, &home, &note).await?;
            is_back(work, id, note).await
        }
        Err(cause) => {
            let help = match shared.board.slot(id).state.serving {
                Some(key) => format!(
                    "it stays at {}: go on (replug activate {id}@{to}), return from it (replug rollback {id}) or accept it \
                     (replug confirm {id})",
                    key.version
                ),
                None => format!(
                    "nothing of it serves: start a version (replug activate {id}@VERSION) or leave it out of service \
                     (replug deactivate {id})"
                ),
            };
            let message = format!(
                "{way}, and there is no way back to {home}: {cause}; {help}; until then each start tries to go back to {home}"
            );
            shared.events.emit(Event::Alarm { subject: id.to_owned(), message });
            Ok(())
        }
    }
}

/// Starts the version from before a jump where the one at which it was cut off did not start. What that one made of the schema
/// stays: nothing of it is read, since it may be what ends the process.
async fn start_before(
    work: &Activation,
    id: &str,
    (kept, before): (&Version, &Version),
) -> Result<Result<Version, String>, EngineError> {
    let started = async {
        through::may_leave(work, id, (kept, before))?;
        let text = |error: EngineError| error.to_string();
        let older = activate::definition(&work.shared, id, before).map_err(text)?;
        let report = activate::run(work, &older, &Way::back(None)).await.map_err(text)?.report;
        if report.serves() { Ok(()) } else { Err(report.reason.unwrap_or_default()) }
    };
    match started.await {
        Err(_) if work.shared.is_stopping() => Err(EngineError::Stopped),
        Err(cause) => Ok(Err(format!("{kept} did not start again, and neither did {before}: {cause}"))),
        Ok(()) => Ok(Ok(before.clone())),
    }
}

/// Gives the history the reason of the rollback that was just made.
async fn explain(shared: &Shared, id: &str, version: &Version, note: &str) -> Result<(), EngineError> {
    let newest = shared.records.newest(id, 1)?.pop();
    let rollback = newest.filter(|entry| entry.action == Action::Rollback && entry.version == *version);
    if let Some(mut entry) = rollback {
        entry.reason = Some(clipped(note.to_owned()));
        shared.records.write_entry(id, &entry).await?;
    }
    Ok(())
}

/// Tells that the module is where the jump began. The mark ends after that: told twice is better than not at all.
async fn is_back(work: &Activation, id: &str, note: String) -> Result<(), EngineError> {
    work.audit(Kind::Recovered, id.to_owned(), json!({ "note": note })).await?;
    work.shared.events.emit(Event::Recovered { id: id.to_owned(), note });
    work.shared.jump_is_over(id).await;
    Ok(())
}

impl Engine {
    /// Goes back with each module whose jump was cut off. What served runs again by now, as far as it starts.
    pub(super) async fn turn_back_jumps(&self) {
        let marked = match self.shared.records.marked() {
            Ok(marked) => marked,
            Err(error) => return self.alarm("slots", &format!("jumps that were cut off cannot be read: {error}")),
        };
        let turning = marked.into_iter().map(async |id| match self.run(Command::TurnBack { id: id.clone() }).await {
            Ok(_) | Err(EngineError::Stopped) => {}
            Err(error) => {
                let message = format!(
                    "a jump was cut off, and it could not be turned back: {error}; look at `replug history {id}`"
                );
                self.alarm(&id, &message);
            }
        });
        futures::future::join_all(turning).await;
    }
}
