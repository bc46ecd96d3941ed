//! Commands by module: one runs, the others wait for their turn. A traffic shift may take long, or wait for samples without
//! end, so some of those that wait end it.
//!
//! | what waits behind an activation | its traffic shift |
//! |---|---|
//! | `rollback`, `deactivate` | gives up at once |
//! | the way back from the confirmed version that serves, where there is one | gives up at once |
//! | `activate` of another version | gives up once it is held without end |
//! | anything else | goes on |
//!
//! A command that is about a set of modules has its turn when it has it in all of their lanes.
//!
//! A `rollback` that names no version is about the version that was on its way when it waited: once that is gone, the command
//! is done, and what serves is not returned from as well.

mod queues;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::ActorId;
use semver::Version;
use tokio::sync::watch;

use super::activation::{Command, Reply};
use super::shared::Shared;
use super::validate;
use crate::monitor::InstanceKey;
use crate::store::audit::Who;

use queues::Queues;

/// Commands by module: the one that runs, and those that wait.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) running: HashMap<ActorId, Running>,
    pub(super) queues: Queues<(Command, Reply)>,
}

/// A command that runs.
pub(super) struct Running {
    /// The modules that it is about.
    pub(super) ids: Vec<String>,
    /// The versions that it brings, or returns from, by module.
    pub(super) of: BTreeMap<String, Version>,
    /// Told why an activation is to give up.
    pub(super) abort: watch::Sender<Option<Abort>>,
    /// Whether its end was told already.
    pub(super) over: Arc<AtomicBool>,
}

/// Why a shift is to give up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Abort {
    /// At once.
    Now(String),
    /// Once it is held without end.
    OnceHeld(String),
}

impl Abort {
    /// The reason, if a shift that is held without end, or is not, gives up for it.
    pub(super) fn reason(&self, is_held: bool) -> Option<&str> {
        match self {
            Self::Now(reason) => Some(reason),
            Self::OnceHeld(reason) => is_held.then_some(reason),
        }
    }
}

impl Lanes {
    /// Whether a command of `id` runs whose end is not told yet.
    pub(super) fn is_busy(&self, id: &str) -> bool {
        let mut runs = self.running.values().filter(|running| !running.over.load(Ordering::Acquire));
        runs.any(|running| running.ids.iter().any(|of| of == id))
    }

    /// Lets the command of `id` that runs give way to those that wait. To be called when either is new.
    pub(super) fn give_way(&mut self, id: &str, shared: &Shared) {
        let runs = self.running.values().filter(|running| !running.over.load(Ordering::Acquire));
        let running = runs.filter_map(|running| Some((running.of.get(id)?, &running.abort))).next();
        let Some((of, abort)) = running else { return };
        self.queues.look(id, |(command, reply)| {
            if let Command::Rollback { of: about, .. } = command {
                *about = Some(of.clone());
            }
            let Some(next) = abort_for((id, command), reply.by.who, of, shared) else { return };
            abort.send_if_modified(|present| {
                let is_stronger = match present {
                    None => true,
                    Some(Abort::OnceHeld(_)) => matches!(next, Abort::Now(_)),
                    Some(Abort::Now(_)) => false,
                };
                if is_stronger {
                    *present = Some(next);
                }
                is_stronger
            });
        });
    }
}

/// Whoever gave a command, in words.
pub(super) const fn asker(who: Who) -> &'static str {
    match who {
        Who::Admin => "an operator",
        Who::Host => "the application",
        Who::Runtime => "the runtime",
    }
}

/// Why the activation of `of` is to give up for a command that waits in the lane of its module.
fn abort_for((id, command): (&str, &Command), who: Who, of: &Version, shared: &Shared) -> Option<Abort> {
    let asker = asker(who);
    let held = |version: &Version| {
        Abort::OnceHeld(format!("it is held without a verdict, and the activation of {version} waits"))
    };
    match command {
        Command::Rollback { .. } => Some(Abort::Now(format!("{asker} asked for a rollback"))),
        Command::Deactivate { .. } => Some(Abort::Now(format!("{asker} asked for the module's deactivation"))),
        Command::FallBack { key, .. } if has_way_back(key, shared) => {
            Some(Abort::Now(format!("the version it builds on, {}, is returned from", key.version)))
        }
        Command::Activate { version, .. } if version != of => Some(held(version)),
        Command::Together { members, .. } => members.get(id).filter(|version| *version != of).map(held),
        _ => None,
    }
}

/// Whether the version that serves can be returned from: where it cannot, what is on its way may be what mends it.
fn has_way_back(key: &InstanceKey, shared: &Shared) -> bool {
    let (slot, snapshot) = (shared.board.slot(&key.id), shared.registry.snapshot());
    let serving = slot.state.serving.as_ref().filter(|serving| *serving == key).and_then(super::board::version_of);
    let target = slot.record.as_ref().and_then(|record| record.returns_to());
    let of = |version: &Version| snapshot.get(&key.id, version);
    let both = serving.as_ref().and_then(of).zip(target.and_then(of));
    both.is_some_and(|(newer, older)| validate::reversible(newer, older).is_ok())
}
