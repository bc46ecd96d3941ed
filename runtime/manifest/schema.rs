//! The plain types of a checked manifest. They serialize with the manifest's own keys (`show --json` reads like
//! the file, and loads as one); durations as milliseconds, sizes as bytes. What is stored is the text, so nothing here
//! deserializes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use semver::{Version, VersionReq};
use serde::{Serialize, Serializer};
use serde_json::Value;

mod config;
mod lifecycle;
mod mirror;
mod permissions;
mod runtime;
mod shifting;

pub use config::{Config, ConfigKey, ConfigKind};
pub use lifecycle::{
    Activation, ActivationStrategy, AfterConfirm, Deactivation, DeactivationStrategy, HealthCheck, HealthCheckKind,
    Lifecycle, MigrationPath, NotificationChannel, Rollback, RollbackTrigger, Threshold, TriggerKind, Updates,
};
pub use mirror::Mirror;
pub use permissions::{
    Access, ApplicationPermissions, ConfigurationPermission, CpuQuota, DatabasePermission, FilesystemPermission,
    MemoryQuota, NetworkPermission, NetworkQuota, Permissions, ResourceQuotas, StorageQuota, SystemPermissions,
};
pub use runtime::{ActorSpec, LimitsSpec, Restart, RestartStrategy, RuntimeSpec, SupervisionSpec};
pub use shifting::{OnInconclusive, OnPass, StickyBy, TrafficShifting};

/// The scripts looked for when `runtime.entry` does not name one.
pub const ENTRY_FILES: [&str; 2] = ["main.lua", "main.rhai"];

/// A module's definition: its manifest, parsed and checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The module's id, `[a-z0-9-]+(\.[a-z0-9-]+)*`, at most 128 characters. Required.
    pub id: String,
    /// The name people see. Default: the id.
    pub name: String,
    /// The version. Required; `id@version` is immutable once registered.
    pub version: Version,
    /// What the module does. Default: empty.
    pub description: String,
    /// Who wrote it. Default: empty.
    pub author: String,
    /// Its licence. Default: empty.
    pub license: String,
    /// What it offers to other modules. Default: none.
    pub capabilities: Vec<Capability>,
    /// What it needs. Default: nothing.
    pub dependencies: Vec<Dependency>,
    /// What it cannot run beside. Default: nothing.
    pub conflicts: Vec<Conflict>,
    /// Its pages. Default: none.
    pub routes: Vec<Route>,
    /// Its declared components; a route implies its component, so those need no entry. Default: none.
    pub components: Vec<Component>,
    /// Its HTTP apis. Default: none.
    pub apis: Vec<Api>,
    /// Its database. Default: none, and then the script has no `db`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Its configuration and the permissions of people that it knows.
    pub config: Config,
    /// How its instances run.
    pub runtime: RuntimeSpec,
    /// What it asks for beyond what is its own.
    pub permissions: Permissions,
    /// How it is activated, deactivated, rolled back and updated.
    pub lifecycle: Lifecycle,
    /// Free-form facts about the module, at most 16 KiB as JSON. Default: empty.
    pub metadata: BTreeMap<String, Value>,
    /// Where it asks for what. Not serialized.
    #[serde(skip)]
    pub lines: super::Lines,
}

impl Manifest {
    /// The entry script among `files` (paths relative to the module's folder, with `/`): `runtime.entry` if it
    /// exists, otherwise the only one of [`ENTRY_FILES`]. `None` when there is none or when both exist.
    pub fn entry(&self, files: &BTreeSet<String>) -> Option<String> {
        if let Some(entry) = &self.runtime.entry {
            return files.contains(entry).then(|| entry.clone());
        }
        let mut found = ENTRY_FILES.iter().filter(|name| files.contains(**name));
        match (found.next(), found.next()) {
            (Some(entry), None) => Some((*entry).to_owned()),
            _ => None,
        }
    }

    /// `id@version`, as people write it.
    pub fn label(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// The ids of all components: the declared ones and those that routes imply.
    pub fn component_ids(&self) -> BTreeSet<&str> {
        let declared = self.components.iter().map(|component| component.id.as_str());
        declared.chain(self.routes.iter().map(|route| route.component.as_str())).collect()
    }
}

/// Something a module offers; its services are `id.method`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// The capability's id, in the form of a module id. Required.
    pub id: String,
    /// The name people see. Default: the id.
    pub name: String,
    /// Default: empty.
    pub description: String,
    /// The version of the capability. Default: the module's version.
    pub version: Version,
    /// What to find it by, in the form of an id. Default: `general`.
    pub category: String,
    /// The capabilities it needs from others. Default: none.
    pub requirements: Vec<CapabilityRequirement>,
    /// The interfaces it offers, for people and tools. Default: none.
    pub interfaces: Vec<Interface>,
}

/// A capability that another one needs; `ID` and `ID@RANGE` are its short forms.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityRequirement {
    /// The capability's id. Required.
    pub capability: String,
    /// The versions that will do. Default: any.
    pub version: VersionReq,
    /// Whether the module cannot run without it. Default: true.
    pub required: bool,
}

/// A named group of methods of a capability; a bare string is an interface with the one method of that name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// The interface's name. Required.
    pub name: String,
    /// Default: empty.
    pub description: String,
    /// The methods, each called as the service `capability.method`. Default: one, of the interface's name.
    pub methods: Vec<String>,
}

/// A module that this one needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other module's id. Required.
    pub id: String,
    /// The versions that will do. Default: any.
    pub version: VersionReq,
    /// Whether activation is refused without it. Default: true.
    pub required: bool,
}

/// A module that this one cannot run beside: `ID` or `ID@RANGE` in the manifest, and serialized so.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The other module's id.
    pub id: String,
    /// The versions meant; `None` means all.
    pub range: Option<VersionReq>,
}

impl Serialize for Conflict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.range {
            None => serializer.serialize_str(&self.id),
            Some(range) => serializer.collect_str(&format_args!("{}@{range}", self.id)),
        }
    }
}

/// A page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The path, in matchit's syntax (`/a/{name}`, `/files/{*rest}`). Required.
    pub path: String,
    /// The component that draws the page: a name of the script's `pages` or of an element. Required.
    pub component: String,
    /// The permissions that a person needs, all of them. Default: none, and then the page is public.
    pub permissions: Vec<String>,
    /// The page's title. Default: none; the script or the module's name gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its entry in the shell's navigation.
    pub navigation: Navigation,
}

/// A page's entry in the shell's navigation. `false`, `true` or a label are its short forms.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Navigation {
    /// Whether the page is listed. Default: true for a path without parameters.
    pub visible: bool,
    /// The entry's text. Default: none; the title, else the component's name as words, is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where it stands among the entries, lowest first, -1000 to 1000. Default: 0.
    pub order: i32,
}

/// A part of the user interface.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The component's id, `[A-Za-z][A-Za-z0-9_.-]*`. Required.
    pub id: String,
    /// What draws it. Default: `element` with a `file`, `page` without.
    #[serde(rename = "type")]
    pub kind: ComponentKind,
    /// The script file of a web component, in the module's folder. Required for an element, refused for a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The custom element's tag, lower case with a dash. Default: none; it is then made from module and id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Default: empty.
    pub description: String,
}

/// What draws a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ComponentKind {
    /// The server: the script's `pages[id]`.
    Page,
    /// The browser: a web component in a file.
    Element,
}

/// An HTTP api: one path, answered by the script's `apis["METHOD PATH"]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// The path, in matchit's syntax. Required.
    pub path: String,
    /// The methods, upper case, each once. Required.
    pub methods: Vec<String>,
    /// The permissions that a caller needs, all of them. Default: none, and then the api is public.
    pub permissions: Vec<String>,
    /// For people and the OpenAPI document. Default: empty.
    pub description: String,
}

/// The module's own database.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// The migrations, in ascending order of their versions. Default: none.
    pub migrations: Vec<Migration>,
}

/// One step of the database's schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// The migration's version, above the one before it. Required.
    pub version: Version,
    /// The SQL file, in the module's folder. Required.
    pub file: String,
    /// The file that takes it back. Default: none; see [`Migration::down_file`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Whether it can never be taken back. Default: false, but see [`Migration::down_file`].
    pub irreversible: bool,
}

impl Migration {
    /// The file among `files` that takes this migration back: `down`, else `X.down.sql` beside `X.sql`.
    /// `None` means that the migration counts as irreversible.
    pub fn down_file(&self, files: &BTreeSet<String>) -> Option<String> {
        if self.irreversible {
            return None;
        }
        let down = match &self.down {
            Some(down) => down.clone(),
            None => format!("{}.down.sql", self.file.strip_suffix(".sql")?),
        };
        files.contains(&down).then_some(down)
    }
}

/// Serializes a duration as whole milliseconds, which fit: durations in manifests are bounded by days.
fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
