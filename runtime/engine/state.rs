//! The states of an instance, as one enum with one transition function.
//!
//! | state | event → next |
//! |---|---|
//! | registered | activate → activating |
//! | activating | steps succeeded, something to return to → provisional · nothing to return to → active · trigger → rolling-back · refused → registered |
//! | provisional | confirmed → active · superseded or deactivated → draining · trigger → rolling-back |
//! | standby | successor confirmed or superseded → draining · returned to → active |
//! | active | superseded → standby · deactivated or returned from → draining |
//! | draining | drained → inactive |
//! | rolling-back | undone → failed · undo failed → failed-to-restore |
//! | failed-to-restore | it serves still: something else does now → draining · its rollback is tried again → rolling-back |
//! | inactive, failed, failed-to-restore | activate → activating |
//!
//! A version that was never activated is registered. `unregister` is allowed in registered, inactive and the failed
//! states, unless the version has a place in its slot still; what it removes has no state any more.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of an instance; a version shows that of its newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Known, never activated.
    #[default]
    Registered,
    /// Its activation runs.
    Activating,
    /// Serves all traffic, not yet confirmed.
    Provisional,
    /// Warm, at weight 0: what a rollback returns to.
    Standby,
    /// Serves, confirmed.
    Active,
    /// Finishes what it holds, takes nothing new.
    Draining,
    /// Its activation is being undone.
    RollingBack,
    /// Was deactivated or replaced.
    Inactive,
    /// Its activation failed and was undone.
    Failed,
    /// Its activation failed and so did the undoing.
    FailedToRestore,
}

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Happening {
    /// An activation begins.
    Activate,
    /// It was refused before anything was started.
    Refused,
    /// All its steps succeeded; `provisional`: there is something to return to and a window to do it in.
    Succeeded {
        /// Whether it has to be confirmed.
        provisional: bool,
    },
    /// It is confirmed, by a person or by the end of its window.
    Confirmed,
    /// A newer version serves all traffic.
    Superseded,
    /// Its traffic was given to nobody, or back to its predecessor.
    Withdrawn,
    /// A rollback returns to it.
    ReturnedTo,
    /// Its last call ended, or the drain deadline passed.
    Drained,
    /// Something calls for a rollback.
    Trigger,
    /// The rollback is complete.
    Undone,
    /// The rollback failed.
    UndoFailed,
}

/// An event that a state does not know: a contradiction inside the engine, contained as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {state} cannot take {happening:?}")]
pub struct Impossible {
    /// The state.
    pub state: State,
    /// The event.
    pub happening: Happening,
}

impl State {
    /// The state after `happening`.
    ///
    /// # Errors
    /// The state does not know the event.
    pub fn after(self, happening: Happening) -> Result<Self, Impossible> {
        use Happening as H;
        Ok(match (self, happening) {
            (Self::Registered | Self::Inactive | Self::Failed | Self::FailedToRestore, H::Activate) => Self::Activating,
            (Self::Activating, H::Refused) => Self::Registered,
            (Self::Activating, H::Succeeded { provisional: true }) => Self::Provisional,
            (Self::Activating, H::Succeeded { provisional: false }) => Self::Active,
            (Self::Activating | Self::Provisional | Self::FailedToRestore, H::Trigger) => Self::RollingBack,
            (Self::Provisional, H::Confirmed) => Self::Active,
            (Self::Provisional | Self::FailedToRestore, H::Superseded | H::Withdrawn) => Self::Draining,
            (Self::Active, H::Superseded) => Self::Standby,
            (Self::Active, H::Withdrawn) => Self::Draining,
            (Self::Standby, H::ReturnedTo) => Self::Active,
            (Self::Standby, H::Superseded | H::Withdrawn) => Self::Draining,
            (Self::Draining, H::Drained) => Self::Inactive,
            (Self::RollingBack, H::Undone) => Self::Failed,
            (Self::RollingBack, H::UndoFailed) => Self::FailedToRestore,
            _ => return Err(Impossible { state: self, happening }),
        })
    }

    /// The name as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Activating => "activating",
            Self::Provisional => "provisional",
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::RollingBack => "rolling-back",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::FailedToRestore => "failed-to-restore",
        }
    }

    /// Whether nothing happens to it, so that it may be activated, or unregistered where it has no place in a slot: what
    /// failed to restore may serve still.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(self, Self::Registered | Self::Inactive | Self::Failed | Self::FailedToRestore)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_through_its_states() {
        use Happening as H;
        let life = [
            (H::Activate, State::Activating),
            (H::Succeeded { provisional: true }, State::Provisional),
            (H::Confirmed, State::Active),
            (H::Superseded, State::Standby),
            (H::ReturnedTo, State::Active),
            (H::Withdrawn, State::Draining),
            (H::Drained, State::Inactive),
            (H::Activate, State::Activating),
            (H::Trigger, State::RollingBack),
            (H::Undone, State::Failed),
        ];
        let mut state = State::Registered;
        for (happening, expected) in life {
            state = state.after(happening).expect("a life's event");
            assert_eq!(state, expected);
        }
    }

    #[test]
    fn what_serves_although_its_rollback_failed_can_be_replaced_tried_anew_or_rolled_back_once_more() {
        use Happening as H;
        for happening in [H::Superseded, H::Withdrawn] {
            assert_eq!(State::FailedToRestore.after(happening), Ok(State::Draining));
        }
        assert_eq!(State::FailedToRestore.after(H::Activate), Ok(State::Activating));
        assert_eq!(State::FailedToRestore.after(H::Trigger), Ok(State::RollingBack));
        assert!(State::FailedToRestore.after(H::Confirmed).is_err());
    }

    #[test]
    fn what_a_state_does_not_know_is_an_error_that_names_both() {
        let error = State::Draining.after(Happening::Activate).expect_err("impossible");
        assert_eq!(error.to_string(), "an instance that is draining cannot take Activate");
    }

    #[test]
    fn only_idle_states_can_be_activated() {
        let all = [
            State::Registered,
            State::Activating,
            State::Provisional,
            State::Standby,
            State::Active,
            State::Draining,
            State::RollingBack,
            State::Inactive,
            State::Failed,
            State::FailedToRestore,
        ];
        for state in all {
            assert_eq!(state.after(Happening::Activate).is_ok(), state.is_idle(), "{state}");
        }
    }
}
