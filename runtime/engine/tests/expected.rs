//! What a fault comes to, said beforehand: the matrices over stand-ins and over real parts take their outcomes from here, not
//! from what a command told, so that a fault that is swallowed fails its cell.

use std::time::Duration;

use crate::engine::probe::{Act, When};
use crate::engine::{ActivationReport, Engine, EngineError, Outcome, State};
use crate::manifest::ActivationStrategy;

/// What a cell's command said.
#[derive(Debug)]
pub(crate) enum Told {
    Report(Box<ActivationReport>),
    Refused(String),
    /// Nobody was told: the process ended, or nobody asked.
    Nothing,
}

impl From<Result<ActivationReport, EngineError>> for Told {
    fn from(result: Result<ActivationReport, EngineError>) -> Self {
        match result {
            Ok(report) => Self::Report(Box::new(report)),
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

impl Told {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Report(report) => Some(report.outcome),
            _ => None,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Error,
    Panic,
    Hang,
    /// A script throws.
    Throw,
    /// A script runs for ever.
    Loop,
    /// The second migration of the version fails in the database.
    Statement,
}

pub(crate) const WRONGS: [Wrong; 3] = [Wrong::Error, Wrong::Panic, Wrong::Hang];

impl Wrong {
    /// What happens at a place of the engine, or inside a port or a script, where the steps may take so long. Between two steps
    /// nothing hangs for ever that a timeout could end, but it may go on too late.
    pub(crate) fn act(self, when: When, time: Duration) -> Act {
        match self {
            Self::Error | Self::Statement => Act::Error,
            Self::Panic => Act::Panic,
            Self::Hang if when == When::Inside => Act::Hang,
            Self::Hang => Act::Stall(time + Duration::from_millis(100)),
            Self::Throw => Act::Say("throw"),
            Self::Loop => Act::Say("loop"),
        }
    }
}

/// A step, or what is done within one, and where in it.
pub(crate) type Place = (&'static str, When);

/// What becomes of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is an error of the command, and nothing was begun.
    Refused,
    /// It began, and what it did is taken back.
    TakenBack,
    Serves,
}

impl End {
    /// What is told of it; nothing where it never began.
    pub(crate) const fn outcome(self, first: bool) -> Option<Outcome> {
        match (self, first) {
            (Self::Refused, _) => None,
            (Self::TakenBack, false) => Some(Outcome::RolledBack),
            // there is nothing to return to
            (Self::TakenBack, true) => Some(Outcome::Failed),
            (Self::Serves, false) => Some(Outcome::Provisional),
            (Self::Serves, true) => Some(Outcome::Active),
        }
    }
}

/// What a fault at a place of an activation comes to.
pub(crate) fn forward((strategy, first): (ActivationStrategy, bool), place: Place, wrong: Wrong) -> End {
    use When::{After, Inside};
    match (place, wrong) {
        // the schema is asked before the journal knows of it
        (("validate", Inside), _) => End::Refused,
        // it was told already: its report is made again
        (("close", After), _) => End::Serves,
        // what can be returned from is, where its end is not told; what has nothing behind it goes on
        (("close", _), _) => {
            if first {
                End::Serves
            } else {
                End::TakenBack
            }
        }
        // how long a shift takes, and who steers it, is no slowness of the steps
        (("shift" | "steer", _), Wrong::Hang) => End::Serves,
        // nothing comes after the last step that could be too late
        (("verify", After), Wrong::Hang) => End::Serves,
        (("activate", After), Wrong::Hang) if strategy == ActivationStrategy::Instant => End::Serves,
        // too late is noticed by the step after it, and a hang inside one by its own time, the script's or the check's
        _ => End::TakenBack,
    }
}

/// What a fault at a place of one of a set comes to, for all of them: what is not taken over as one is taken back as one, also
/// by a member that had nothing before it.
pub(crate) fn forward_of_set(strategy: ActivationStrategy, place: Place, wrong: Wrong) -> End {
    match (place, wrong) {
        // they wait for each other in the step that they make as one, and that is no slowness of any
        (("activate", _), Wrong::Hang) => End::Serves,
        _ => forward((strategy, false), place, wrong),
    }
}

/// What a fault at a place of a way back comes to in the end.
pub(crate) fn back(place: Place, wrong: Wrong) -> Outcome {
    use When::{After, Before};
    match (place, wrong) {
        // its time begins once the traffic is given back
        (("stopTraffic" | "commit", _), Wrong::Hang) => Outcome::RolledBack,
        // what comes after it takes no time: it looks at what serves
        (("cleanup", After) | ("restore", _), Wrong::Hang) => Outcome::RolledBack,
        // there is no time left to stop it, to take its migrations back, or to let go of what it holds
        (_, Wrong::Hang) => Outcome::FailedToRestore,
        // it kept the traffic: that is tried again, and the second time nothing goes wrong
        (("stopTraffic" | "commit", Before), _) => Outcome::RolledBack,
        // it gave the traffic back, and something was not taken back, or nobody knows: it is told, and not tried again
        _ => Outcome::FailedToRestore,
    }
}

/// What the command tells whose way back that is.
pub(crate) fn back_told(place: Place, wrong: Wrong, serves: bool) -> Outcome {
    match (place, wrong) {
        // what serves is watched, and the next try is the watch's; nobody watches a share, and it is tried again at once
        (("stopTraffic" | "commit", When::Before), Wrong::Error | Wrong::Panic) if serves => Outcome::FailedToRestore,
        _ => back(place, wrong),
    }
}

/// What a fault at a place of the way back of one of a set comes to, for that one; the others are taken back.
pub(crate) fn back_of_set(place: Place, wrong: Wrong) -> Outcome {
    match (place, wrong) {
        // the traffic of all was given back as one before the steps of each, so this one fails after that
        (("stopTraffic", When::Before), Wrong::Error | Wrong::Panic) => Outcome::FailedToRestore,
        _ => back(place, wrong),
    }
}

/// The state in which such an outcome leaves the version.
pub(crate) fn state(outcome: Outcome) -> State {
    match outcome {
        Outcome::Provisional => State::Provisional,
        Outcome::Active => State::Active,
        Outcome::RolledBack | Outcome::Failed => State::Failed,
        Outcome::FailedToRestore => State::FailedToRestore,
        Outcome::Inactive => State::Inactive,
    }
}

/// Whether the migrations are still applied that such a way back was to take back.
pub(crate) fn keeps_migrations(place: Place, wrong: Wrong) -> bool {
    match place {
        // a step that fails before its changes, or within them, does not make them
        ("rollback", When::Before | When::Inside) => true,
        // nor one that has no time left
        ("deactivate", _) => wrong == Wrong::Hang,
        _ => false,
    }
}

/// The step that a place of an activation is in, or of a way back.
pub(crate) fn step(place: Place, back: bool) -> &'static str {
    match place.0 {
        "init" => "load",
        "commit" if back => "stopTraffic",
        "commit" | "shift" | "steer" => "activate",
        "health" => "verify",
        step => step,
    }
}

/// What is done with 2.0.0 while it is provisional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Deactivate,
    Rollback,
    Confirm,
}

impl Command {
    pub(crate) async fn give(self, engine: &Engine, id: &str) -> Result<(), EngineError> {
        match self {
            Self::Deactivate => engine.deactivate(id).await.map(drop),
            Self::Rollback => engine.rollback(id, None).await.map(drop),
            Self::Confirm => engine.confirm(id).await.map(drop),
        }
    }

    /// What serves once it is carried out.
    pub(crate) const fn serves(self) -> Option<&'static str> {
        match self {
            Self::Deactivate => None,
            Self::Rollback => Some("1.0.0"),
            Self::Confirm => Some("2.0.0"),
        }
    }

    /// The places before its point of no return, and those after it.
    pub(crate) fn places(self) -> (Vec<Place>, Vec<Place>) {
        use When::{After, Before, Inside};
        let mut after = vec![("drain", Before), ("farewell", Before), ("shutdown", Inside), ("farewell", After)];
        after.push(("cleanup", Inside));
        match self {
            Self::Deactivate => after.push(("sweep", Inside)),
            Self::Rollback => after.push(("rollback", Inside)),
            Self::Confirm => {}
        }
        (vec![("commit", Before)], after)
    }
}

/// What may go wrong at such a place.
pub(crate) fn of_command(place: Place) -> Vec<Wrong> {
    let scripts: &[Wrong] = match place.0 {
        "shutdown" | "sweep" => &[Wrong::Throw, Wrong::Loop],
        _ => &[],
    };
    // what is asked of the coordinator is asked of the store, where a hang is a disk's
    let engine = WRONGS.iter().filter(|wrong| !(place.0 == "commit" && **wrong == Wrong::Hang));
    engine.chain(scripts).copied().collect()
}
