//! Why the engine refuses a command. Nothing was changed then; a step that fails later is an outcome, not an error.

use semver::Version;

use super::through::NoWay;
use crate::registry::RegistryError;
use crate::registry::resolver::{Dependent, Obstacle};
use crate::store::StoreError;
use crate::store::audit::AuditError;

/// A command that was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The registry does not know the version, or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Something stands in the way of running the version.
    #[error("{module} cannot be activated: {}", lines(obstacles))]
    Obstructed {
        /// `id@version`.
        module: String,
        /// Everything that is in the way.
        obstacles: Vec<Obstacle>,
    },
    /// Running modules would lose what they need.
    #[error("{id} cannot be {action}: {}; {} first{}", lines(dependents), ways_out(dependents), as_one(together))]
    Needed {
        /// The module that others need.
        id: String,
        /// What was to be done: `deactivated`, `activated at 2.0.0`.
        action: String,
        /// Who needs it.
        dependents: Vec<Dependent>,
        /// Versions of those that could take over together with it, `id@version`; empty: there are none for all of them.
        together: Vec<String>,
    },
    /// Registered modules would lose the only version that they can run with.
    #[error("{id}@{version} cannot be unregistered: {}; unregister {} first", lines(dependents), names(dependents.iter().map(|it| it.id.as_str())))]
    Orphans {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
        /// Who needs it.
        dependents: Vec<Dependent>,
    },
    /// The manifest requires settings that have no value.
    #[error("{module} has no value for the required setting{} {}", if keys.len() == 1 { "" } else { "s" }, keys.join(", "))]
    Unconfigured {
        /// `id@version`.
        module: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// An instant activation has no step for migrations.
    #[error(
        "{module} has pending migrations ({}), which an instant activation does not run; use gradual: \
         replug activate {module} --strategy gradual",
        list(pending)
    )]
    PendingMigrations {
        /// `id@version`.
        module: String,
        /// The migrations' versions.
        pending: Vec<Version>,
    },
    /// The version asks for permissions that nobody granted or denied yet.
    #[error(transparent)]
    Ungranted(#[from] crate::sandbox::permissions::Ungranted),
    /// The scripts do not compile.
    #[error("the scripts of {module} do not compile: {}", lines(faults))]
    Scripts {
        /// `id@version`.
        module: String,
        /// Every file's fault.
        faults: Vec<replug_scripts::SourceFault>,
    },
    /// A piece of code beside the module failed.
    #[error("{}:{}: {}", fault.file, fault.line, fault.message)]
    Evaluation {
        /// `id@version`.
        module: String,
        /// Where and why.
        fault: Box<replug_scripts::SourceFault>,
        /// The stack as `FILE:LINE in NAME`, innermost first.
        trace: Vec<String>,
        /// What it logged before.
        log: Vec<String>,
    },
    /// So many commands for the module wait already.
    #[error("{waiting} commands for {id} wait already; try again when they have ended")]
    Busy {
        /// The module.
        id: String,
        /// How many.
        waiting: usize,
    },
    /// Versions cannot be activated as one.
    #[error("these cannot be activated as one set: {reason}")]
    Set {
        /// Why, and what to do.
        reason: String,
    },
    /// The module took over as one of a set and is not confirmed.
    #[error(
        "{id} took over as one of a set that is not confirmed ({}), so it cannot be {action} alone; confirm the set or return from it \
         first: replug confirm {id}, or replug rollback {id}",
        set.join(", ")
    )]
    InSet {
        /// The module.
        id: String,
        /// The modules of the set.
        set: Vec<String>,
        /// What was to be done: `deactivated`, `activated at 2.0.0`.
        action: String,
    },
    /// No version of the module serves.
    #[error("{id} does not serve; activate a version of it first: replug activate {id}")]
    NothingServes {
        /// The module.
        id: String,
    },
    /// No traffic is being shifted.
    #[error("no traffic of {id} is being shifted, so there is nothing to steer; replug list shows what is on its way")]
    NothingShifts {
        /// The module.
        id: String,
    },
    /// The version that took over is not verified yet.
    #[error("{id}@{version} is being activated and cannot be confirmed yet; wait for the end of its activation")]
    NotYet {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
    },
    /// What serves is in a state in which it cannot be confirmed.
    #[error(
        "{id}@{version} is {state} and cannot be confirmed; activate a version that works: replug activate {id}@VERSION"
    )]
    Unconfirmable {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
        /// Its state.
        state: super::state::State,
    },
    /// There is no version to return to.
    #[error("{id} has no version to return to; name one: replug rollback {id} --to VERSION")]
    NothingToReturnTo {
        /// The module.
        id: String,
    },
    /// The version to return to would run on a newer schema whose migrations cannot be taken back.
    #[error(
        "{id} cannot return to {to}: migration {migration} came after it and cannot be taken back (it has no down file or is irreversible)"
    )]
    Irreversible {
        /// The module.
        id: String,
        /// Where it was to return to.
        to: Version,
        /// The first migration that stands between.
        migration: Version,
    },
    /// It cannot take over from the version that serves.
    #[error(transparent)]
    NoWay(Box<NoWay>),
    /// The module offers no such capability.
    #[error("{}", not_offered(capability, module.as_deref(), providers))]
    NotOffered {
        /// The capability.
        capability: String,
        /// The module that was to be called for it.
        module: Option<String>,
        /// Those that offer it.
        providers: Vec<String>,
    },
    /// It runs, so it cannot be unregistered.
    #[error("{id}@{version} is {state}, so it cannot be unregistered")]
    Runs {
        /// The module.
        id: String,
        /// Its version.
        version: Version,
        /// Its state.
        state: super::state::State,
        /// What to do first.
        help: String,
    },
    /// What the integrations hold could not be asked.
    #[error("{module}: {cause}")]
    Port {
        /// `id@version`.
        module: String,
        /// What the integration said.
        cause: String,
    },
    /// The store failed; the command was not carried out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log takes no entries; the command was not carried out.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The version brought the process down, so the runtime does not start it by itself.
    #[error(
        "{module} is in quarantine: the process aborted {count} times while it executed it; look at the log, and try it again by hand: \
         replug activate {module}"
    )]
    Quarantined {
        /// `id@version`.
        module: String,
        /// How often.
        count: u32,
    },
    /// That such a version is tried again could not be written; it is not tried.
    #[error(transparent)]
    Forgive(#[from] crate::monitor::aborts::ForgiveError),
    /// The engine is stopping.
    #[error("engine: stopped")]
    Stopped,
    /// A contradiction inside the engine, contained here.
    #[error("engine: internal error: {0}")]
    Internal(String),
}

fn not_offered(capability: &str, module: Option<&str>, providers: &[String]) -> String {
    match (module, providers) {
        (Some(module), [_, ..]) => {
            format!("no registered version of {module} offers `{capability}`; choose one of {}", providers.join(", "))
        }
        _ => format!("no registered module offers `{capability}`; register one that does first"),
    }
}

fn lines<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

pub(super) fn list(versions: &[Version]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn names<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut ids: Vec<&str> = ids.into_iter().collect();
    ids.dedup();
    ids.join(", ")
}

/// How it can be done at once with those that need it.
fn as_one(together: &[String]) -> String {
    match together {
        [] => String::new(),
        members => {
            let set: Vec<String> = members.iter().map(|member| format!("--set {member}")).collect();
            format!(", or activate {} together with it: {}", members.join(", "), set.join(" "))
        }
    }
}

/// What runs is to be deactivated; what stands by goes with a confirmation of its module.
fn ways_out(dependents: &[Dependent]) -> String {
    let of = |verb: &str| {
        let ways = dependents.iter().map(Dependent::way_out).filter(|(way, _)| *way == verb);
        Some(names(ways.map(|(_, id)| id))).filter(|ids| !ids.is_empty()).map(|ids| format!("{verb} {ids}"))
    };
    ["deactivate", "confirm"].into_iter().filter_map(of).collect::<Vec<_>>().join(" and ")
}
