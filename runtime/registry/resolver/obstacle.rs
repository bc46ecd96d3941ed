//! What stands in the way, told so that a person knows what to do.

use std::fmt;
use std::mem::Discriminant;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::manifest::Manifest;
use crate::registry::versions::list;

/// Why a version cannot run now. Displays as one line that names both sides and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A module that it can do without runs in a version that will not do.
    WrongOptional {
        /// Who takes it, `id@version`.
        module: String,
        /// The module that it takes.
        takes: String,
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
    /// It and others would need each other in a circle, which no restart could start.
    Circle {
        /// Who is to run, `id@version`.
        module: String,
        /// The ids around the circle: each needs the next, the last is the first again.
        chain: Vec<String>,
    },
    /// Nothing that runs is in the way, but a version that stands by would be if its module returned to it.
    StandsBy {
        /// What stands by, `id@version`.
        standby: String,
        /// What runs of that module and is not confirmed, `id@version`.
        unconfirmed: String,
        /// Other versions that stand by, `id@version`, where it takes their return as well.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<String>,
        /// What would be in the way.
        obstacle: Box<Obstacle>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause(f)?;
        f.write_str("; ")?;
        self.help(f)
    }
}

impl Obstacle {
    /// What it is about, whichever version of the other module is in the way.
    pub(super) fn matter(&self) -> (Discriminant<Self>, &str, &str) {
        let (one, other) = match self {
            Self::MissingDependency { needs, .. }
            | Self::DependencyNotRunning { needs, .. }
            | Self::WrongVersionRunning { needs, .. }
            | Self::WrongOptional { takes: needs, .. } => (needs.as_str(), ""),
            Self::MissingCapability { capability, .. }
            | Self::TakenCapability { capability, .. }
            | Self::HostedCapability { capability, .. } => (capability.as_str(), ""),
            Self::Conflict { running, .. } => (id(running), ""),
            Self::TakenRoute { method, path, .. } => (method.as_str(), path.as_str()),
            Self::Circle { .. } => ("", ""),
            Self::StandsBy { obstacle, .. } => return obstacle.matter(),
        };
        (std::mem::discriminant(self), one, other)
    }

    /// Whether two modules keep each other from running, rather than one lacking something.
    pub(super) const fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::WrongOptional { .. }
            | Self::TakenCapability { .. }
            | Self::HostedCapability { .. }
            | Self::TakenRoute { .. } => true,
            Self::StandsBy { .. }
            | Self::Circle { .. }
            | Self::MissingDependency { .. }
            | Self::DependencyNotRunning { .. }
            | Self::WrongVersionRunning { .. }
            | Self::MissingCapability { .. } => false,
        }
    }

    /// The path that is taken, with its method.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::TakenRoute { method, path, .. } => Some(format!("{method} {path}")),
            _ => None,
        }
    }

    fn cause(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingDependency { module, needs, range, registered } => {
                write!(f, "{module} needs `{needs}` in a version {range}, and ")?;
                match registered.as_slice() {
                    [] => write!(f, "no version of it is registered"),
                    versions => write!(f, "only {} is registered", list(versions)),
                }
            }
            Self::DependencyNotRunning { module, needs, range, .. } => {
                write!(f, "{module} needs `{needs}` in a version {range}, which does not run")
            }
            Self::WrongVersionRunning { module, needs, range, running, .. } => {
                write!(f, "{module} needs `{needs}` in a version {range}, but {needs}@{running} runs")
            }
            Self::WrongOptional { module, takes, range, running, .. } => {
                write!(f, "{module} takes `{takes}` in a version {range} or not at all, but {takes}@{running} runs")
            }
            Self::MissingCapability { module, capability, range, .. } => write!(
                f,
                "{module} needs the capability `{capability}` in a version {range}, which no running module offers"
            ),
            Self::Conflict { module, running, declared_by_running, range } => {
                let (by, with) = if *declared_by_running { (running, module) } else { (module, running) };
                let with = id(with);
                write!(
                    f,
                    "{module} cannot run beside {running}: the manifest of {by} declares a conflict with `{with}"
                )?;
                match range {
                    Some(range) => write!(f, "@{range}`"),
                    None => write!(f, "`"),
                }
            }
            Self::TakenCapability { claimant, owner, capability } => write!(
                f,
                "{claimant} offers `{capability}`, which only one module may offer at a time and {owner} does"
            ),
            Self::HostedCapability { claimant, capability } => {
                write!(f, "{claimant} offers `{capability}`, which the host application offers itself")
            }
            Self::TakenRoute { claimant, owner, method, path, owner_path } => {
                write!(f, "{method} {path} of {claimant} is taken: {owner} serves ")?;
                if path == owner_path { write!(f, "it") } else { write!(f, "{owner_path}") }
            }
            Self::Circle { module, chain } => {
                write!(f, "with {module} modules need each other in a circle: {}", chain.join(" -> "))
            }
            Self::StandsBy { standby, unconfirmed, with, obstacle } => {
                write!(f, "{standby} stands by until {unconfirmed} is confirmed, and if it returns")?;
                let together = if with.is_empty() { String::new() } else { format!(" as well as {}", with.join(", ")) };
                write!(f, "{together}, ")?;
                obstacle.cause(f)
            }
        }
    }

    fn help(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingDependency { needs, registered, .. } => match registered.as_slice() {
                [] => write!(f, "register `{needs}` first"),
                _ => write!(f, "register one in that range"),
            },
            Self::DependencyNotRunning { module, needs, fitting, .. }
            | Self::WrongVersionRunning { module, needs, fitting: Some(fitting), .. } => {
                let needed = format!("{needs}@{fitting}");
                write!(f, "activate {needed} first, or {module} together with it: --set {needed}")
            }
            Self::WrongVersionRunning { needs, fitting: None, .. } => {
                write!(f, "register a version of `{needs}` in that range and activate it first")
            }
            Self::WrongOptional { takes, fitting: Some(fitting), .. } => {
                write!(f, "activate {takes}@{fitting} first, or deactivate `{takes}`")
            }
            Self::WrongOptional { takes, fitting: None, .. } => write!(f, "deactivate `{takes}` first"),
            Self::MissingCapability { module, providers, .. } => match providers.as_slice() {
                [] => write!(f, "register a module that offers it"),
                [only] => write!(f, "activate {only} first, or {module} together with it: --set {only}"),
                [any, ..] => {
                    let all = providers.join(", ");
                    write!(f, "activate one of {all} first, or {module} together with one: --set {any}")
                }
            },
            Self::Conflict { running: other, .. } | Self::TakenCapability { owner: other, .. } => {
                write!(f, "deactivate `{}` first", id(other))
            }
            Self::HostedCapability { .. } => {
                write!(f, "give the capability another id in the manifest, or start the host without its service")
            }
            Self::TakenRoute { owner, .. } => {
                write!(f, "change the path in the manifest or deactivate `{}` first", id(owner))
            }
            Self::Circle { .. } => write!(f, "make one of these dependencies `required: false`"),
            Self::StandsBy { standby, .. } => write!(f, "confirm `{}` first", id(standby)),
        }
    }
}

/// The module's id of a label `id@version`.
fn id(label: &str) -> &str {
    label.split('@').next().unwrap_or_default()
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
    /// Whether it can do without, and only not with another version.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Whether it does not run but stands by, to be returned to until a newer version of its module is confirmed.
    pub stands_by: bool,
    /// The versions of other modules that stand by, `id@version`, where it lacks what it needs only once they are returned
    /// to: until then those modules give it as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<String>,
}

impl Dependent {
    /// One that runs and needs this.
    pub(super) fn new(manifest: &Manifest, needs: &str, range: &VersionReq) -> Self {
        Self {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            needs: needs.to_owned(),
            range: range.clone(),
            optional: false,
            stands_by: false,
            returned: Vec::new(),
        }
    }

    /// Who needs what.
    pub(super) fn of(&self) -> (&str, &Version, &str, &VersionReq) {
        (&self.id, &self.version, &self.needs, &self.range)
    }

    /// What would free what it needs: a command, and the module that it is for.
    #[must_use]
    pub fn way_out(&self) -> (&'static str, &str) {
        match self.returned.first() {
            _ if self.stands_by => ("confirm", &self.id),
            Some(standby) => ("confirm", id(standby)),
            None => ("deactivate", &self.id),
        }
    }
}

impl fmt::Display for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, needs, range, optional, stands_by, returned } = self;
        let until = if *stands_by { format!(", which stands by until `{id}` is confirmed,") } else { String::new() };
        match optional {
            false => write!(f, "{id}@{version}{until} needs `{needs}` in a version {range}")?,
            true => write!(f, "{id}@{version}{until} takes `{needs}` in a version {range} or not at all")?,
        }
        match returned.as_slice() {
            [] => Ok(()),
            returned => write!(f, ", which no other module gives once {} is returned to", returned.join(" and ")),
        }
    }
}
