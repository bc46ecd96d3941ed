//! Makes a provisional version the one that a restart starts: by a person's word, or once its confirm window has passed.
//!
//! Versions that took over as one set are confirmed as one: by a word about any of them, or once the windows of all have passed.

use std::time::Instant;

use ractor::ActorRef;
use semver::Version;
use serde_json::json;
use tokio::sync::watch;

use super::EngineError;
use super::board::{Slot, version_of};
use super::commit::{Commit, Told};
use super::coordinator::{Coordinator, Message};
use super::outcome::ConfirmReport;
use super::plan::Turn;
use super::retire::{self, Why};
use super::sets;
use super::state::State;
use crate::monitor::InstanceKey;
use crate::store::audit::{By, Kind};

impl Coordinator {
    /// Confirms what serves; what stood by for it drains apart from this mailbox. With `only`, the window of that instance has
    /// passed: it is confirmed if it serves still, and one of a set once it is the last of which that is so.
    pub(super) async fn confirm(
        &self,
        myself: &ActorRef<Message>,
        id: &str,
        only: Option<InstanceKey>,
        by: By,
    ) -> Result<ConfirmReport, EngineError> {
        let board = &self.shared.board;
        let slot = board.slot(id);
        let serving = slot.state.serving.as_ref().and_then(version_of);
        let asked = only.as_ref().is_none_or(|only| slot.state.serving.as_ref() == Some(only));
        let Some(version) = serving.filter(|_| asked) else {
            return Err(EngineError::NothingServes { id: id.to_owned() });
        };
        if !unconfirmed(id, &slot)? {
            return Ok(self.confirmed(id, &version, true));
        }
        let members: Vec<String> = slot.set().map_or_else(|| vec![id.to_owned()], |set| set.into_iter().collect());
        if only.is_some() && members.len() > 1 {
            if !slot.window_passed {
                board.change(id, |slot| slot.window_passed = true);
            }
            if !members.iter().all(|id| board.slot(id).window_passed) {
                return Ok(ConfirmReport { waits: true, ..self.confirmed(id, &version, false) });
            }
        }
        let mut commits = Vec::new();
        for member in &members {
            let slot = board.slot(member);
            let Some(key) = slot.state.serving.clone().filter(|_| slot.state.is_provisional()) else {
                return Err(EngineError::Internal(format!("{member} is of a set and does not wait to be confirmed")));
            };
            unconfirmed(member, &slot)?;
            let (kind, subject) = (Kind::Confirmed, format!("{member}@{}", key.version));
            let told = Some(Told { kind, subject, data: json!({ "generation": key.generation }) });
            commits.push(Commit { told, ..Commit::of(member, Turn::Confirm, by.clone()) });
        }
        let done = self.commit(commits).await?;
        let work = self.hand(myself, watch::channel(None).1, (by, Instant::now()));
        let gone = done.into_iter().filter_map(|done| done.from.standby).collect();
        retire::spawn_all(&work, sets::last_first(&work, gone), Why::Replaced);
        let others = members.iter().filter(|member| *member != id).filter_map(|member| {
            let version = version_of(board.slot(member).state.serving.as_ref()?)?;
            Some(self.confirmed(member, &version, false))
        });
        let set = others.collect();
        Ok(ConfirmReport { set, ..self.confirmed(id, &version, false) })
    }

    fn confirmed(&self, id: &str, version: &Version, already: bool) -> ConfirmReport {
        let previous = self.shared.board.slot(id).record.and_then(|record| record.previous);
        let (id, version, previous) = (id.to_owned(), version.to_string(), previous.map(|it| it.to_string()));
        ConfirmReport { id, version, previous, already, waits: false, set: Vec::new() }
    }
}

/// Whether what serves is still to be confirmed.
///
/// # Errors
/// It is in a state in which that cannot be said of it.
fn unconfirmed(id: &str, slot: &Slot) -> Result<bool, EngineError> {
    let Some(version) = slot.state.serving.as_ref().and_then(version_of) else {
        return Err(EngineError::NothingServes { id: id.to_owned() });
    };
    match slot.serving_state().unwrap_or_default() {
        State::Provisional => Ok(true),
        State::Active => Ok(false),
        State::Activating => Err(EngineError::NotYet { id: id.to_owned(), version }),
        // what is taken back, or could not be, serves still and must not become what a restart starts
        state => Err(EngineError::Unconfirmable { id: id.to_owned(), version, state }),
    }
}
