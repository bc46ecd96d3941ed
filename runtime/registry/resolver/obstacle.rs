//! What stands in the way, told so that a person knows what to do.

use std::fmt;

use semver::{Version, VersionReq};
use serde::Serialize;

use crate::registry::versions::list;

/// Why a version cannot run now. Displays as one line that names both sides and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Obstacle {
    /// No registered version of a module it needs will do.
    MissingDependency {
        /// Who needs it, `id@version`.
        module: String,
        /// The module that it needs.
        needs: String,
        /// The versions that would do.
        range: VersionReq,
        /// The versions that are registered.
        registered: Vec<Version>,
    },
    /// A module it needs is registered but does not run.
    DependencyNotRunning {
        /// Who needs it, `id@version`.
        module: String,
        /// The module that it needs.
        needs: String,
        /// The versions that would do.
        range: VersionReq,
        /// The newest registered version that would do.
        fitting: Version,
    },
    /// A module it needs runs in a version that will not do.
    WrongVersionRunning {
        /// Who needs it, `id@version`.
        module: String,
        /// The module that it needs.
        needs: String,
        /// The versions that would do.
        range: VersionReq,
        /// The version that runs.
        running: Version,
        /// The newest registered version that would do, if there is one.
        fitting: Option<Version>,
    },
    /// No running module offers a capability it needs.
    MissingCapability {
        /// Who needs it, `id@version`.
        module: String,
        /// The capability's id.
        capability: String,
        /// The versions of the capability that would do.
        range: VersionReq,
        /// Registered modules that offer it, `id@version`.
        providers: Vec<String>,
    },
    /// It and a running module cannot run together.
    Conflict {
        /// Who is to run, `id@version`.
        module: String,
        /// Who runs, `id@version`.
        running: String,
        /// Whether the running module's manifest declares it, rather than this one's.
        declared_by_running: bool,
        /// The versions that the declaration means; none: all.
        range: Option<VersionReq>,
    },
    /// A running module offers a capability that only one module may offer at a time.
    TakenCapability {
        /// Who is to run, `id@version`.
        claimant: String,
        /// Who offers it, `id@version`.
        owner: String,
        /// The capability's id.
        capability: String,
    },
    /// The application around the runtime offers a capability itself.
    HostedCapability {
        /// Who is to run, `id@version`.
        claimant: String,
        /// The capability's id.
        capability: String,
    },
    /// A running module serves one of its paths.
    TakenRoute {
        /// Who is to run, `id@version`.
        claimant: String,
        /// Who serves the path, `id@version`.
        owner: String,
        /// The method; pages are `GET`.
        method: String,
        /// The claimed path.
        path: String,
        /// The owner's path, which may name its parameters otherwise.
        owner_path: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingDependency { module, needs, range, registered } => {
                write!(f, "{module} needs `{needs}` in a version {range}, and ")?;
                match registered.as_slice() {
                    [] => write!(f, "no version of it is registered; register `{needs}` first"),
                    versions => write!(f, "only {} is registered; register one in that range", list(versions)),
                }
            }
            Self::DependencyNotRunning { module, needs, range, fitting } => {
                write!(
                    f,
                    "{module} needs `{needs}` in a version {range}, which does not run; activate {needs}@{fitting} first"
                )
            }
            Self::WrongVersionRunning { module, needs, range, running, fitting } => {
                write!(f, "{module} needs `{needs}` in a version {range}, but {needs}@{running} runs; ")?;
                match fitting {
                    Some(fitting) => write!(f, "activate {needs}@{fitting} first"),
                    None => write!(f, "register a version of `{needs}` in that range and activate it first"),
                }
            }
            Self::MissingCapability { module, capability, range, providers } => {
                write!(
                    f,
                    "{module} needs the capability `{capability}` in a version {range}, which no running module offers; "
                )?;
                match providers.as_slice() {
                    [] => write!(f, "register a module that offers it"),
                    providers => write!(f, "activate one of {} first", providers.join(", ")),
                }
            }
            Self::Conflict { module, running, declared_by_running, range } => {
                let (by, with) = if *declared_by_running { (running, module) } else { (module, running) };
                let id = |label: &str| label.split('@').next().unwrap_or_default().to_owned();
                write!(
                    f,
                    "{module} cannot run beside {running}: the manifest of {by} declares a conflict with `{}",
                    id(with)
                )?;
                match range {
                    Some(range) => write!(f, "@{range}`; ")?,
                    None => write!(f, "`; ")?,
                }
                write!(f, "deactivate `{}` first", id(running))
            }
            Self::TakenCapability { claimant, owner, capability } => {
                let id = owner.split('@').next().unwrap_or_default();
                write!(
                    f,
                    "{claimant} offers `{capability}`, which only one module may offer at a time and {owner} does; \
                     deactivate `{id}` first"
                )
            }
            Self::HostedCapability { claimant, capability } => {
                write!(
                    f,
                    "{claimant} offers `{capability}`, which the host application offers itself; give the capability \
                     another id in the manifest, or start the host without its service"
                )
            }
            Self::TakenRoute { claimant, owner, method, path, owner_path } => {
                write!(f, "{method} {path} of {claimant} is taken: {owner} serves ")?;
                if path == owner_path {
                    write!(f, "it")?;
                } else {
                    write!(f, "{owner_path}")?;
                }
                let id = owner.split('@').next().unwrap_or_default();
                write!(f, "; change the path in the manifest or deactivate `{id}` first")
            }
        }
    }
}

/// A module that needs another one. Displays as `id@version needs …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependent {
    /// The id of the module that needs something.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// The module or the capability that it needs.
    pub needs: String,
    /// The versions that would do.
    pub range: VersionReq,
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} needs `{}` in a version {}", self.id, self.version, self.needs, self.range)
    }
}
