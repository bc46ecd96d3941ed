//! One permission of a module: what it is, and when one holds another.
//!
//! | text | allows |
//! |---|---|
//! | `system.database:shop:read` | to read the database of `shop`; `caller` is whichever module calls; `write` includes `read` |
//! | `system.filesystem:in/new:write` | to change what is below `in/new` in the module's data folder |
//! | `system.network:*.x.org:443` | port 443 of every host below `x.org` |
//! | `system.environment:HOME` | to read that variable |
//! | `application.routes:/shop/*`, `application.apis:/api/shop/*` | pages and apis of other modules below a path |
//! | `application.components:Chart` | a component of another module |
//! | `application.configurations:shop.currency` | a setting of `shop`; `shop:a.b` where the setting has dots |
//! | `resources.storage.max=128MiB` | to use so much |

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::resource::ResourceType;
use crate::manifest::{Access, is_component, is_data_path, is_host, is_id, is_key, is_path_pattern, is_variable};

/// The longest text that is read as a permission, in bytes; manifests ask for none that is longer.
const LONGEST: usize = 1024;

/// Something that a module may do, or how much it may use. See the table above.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// The database of a module, or of `caller`.
    Database {
        /// The module's id.
        module: String,
        /// What may be done there.
        access: Access,
    },
    /// What is at a path of the module's data folder, and below it.
    Filesystem {
        /// The path, relative, with `/`.
        path: String,
        /// What may be done there.
        access: Access,
    },
    /// A port of a host.
    Network {
        /// A name in lower case, an address, or `*.` before a name.
        host: String,
        /// The port.
        port: u16,
    },
    /// An environment variable.
    Environment(String),
    /// Pages by path; `/*` at the end means everything below.
    Route(String),
    /// Apis by path; `/*` at the end means everything below.
    Api(String),
    /// A component by its id.
    Component(String),
    /// A setting of a module.
    Configuration {
        /// The module's id.
        module: String,
        /// The setting's key.
        key: String,
    },
    /// So much of a resource, in its unit.
    Quota {
        /// Of what.
        resource: ResourceType,
        /// How much.
        amount: u64,
    },
}

impl Permission {
    /// Whether whoever has this may do all that `other` allows.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.meet(other).as_ref() == Some(other)
    }

    /// What both allow, if there is anything: a permission that both cover.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let narrower = |a: &str, b: &str, holds: fn(&str, &str) -> bool| {
            if holds(a, b) { Some(b.to_owned()) } else { holds(b, a).then(|| a.to_owned()) }
        };
        match (self, other) {
            (Self::Database { module: a, access: x }, Self::Database { module: b, access: y }) if a == b => {
                Some(Self::Database { module: a.clone(), access: *x.min(y) })
            }
            (Self::Filesystem { path: a, access: x }, Self::Filesystem { path: b, access: y }) => {
                Some(Self::Filesystem { path: narrower(a, b, holds_file)?, access: *x.min(y) })
            }
            (Self::Network { host: a, port: x }, Self::Network { host: b, port: y }) if x == y => {
                Some(Self::Network { host: narrower(a, b, holds_host)?, port: *x })
            }
            (Self::Route(a), Self::Route(b)) => narrower(a, b, holds_path).map(Self::Route),
            (Self::Api(a), Self::Api(b)) => narrower(a, b, holds_path).map(Self::Api),
            (Self::Quota { resource: a, amount: x }, Self::Quota { resource: b, amount: y }) if a == b => {
                Some(Self::Quota { resource: *a, amount: *x.min(y) })
            }
            _ => (self == other).then(|| self.clone()),
        }
    }

    /// The line of a manifest that asks for it.
    #[must_use]
    pub fn asking(&self) -> String {
        let (part, list) = match self {
            Self::Database { module, access } => {
                ("system", format!("database: [{{ module: {}, access: {} }}]", scalar(module), name(*access)))
            }
            Self::Filesystem { path, access } => {
                ("system", format!("filesystem: [{{ path: {}, access: {} }}]", scalar(path), name(*access)))
            }
            Self::Network { host, port } => {
                ("system", format!("network: [{{ host: {}, ports: [{port}] }}]", scalar(host)))
            }
            Self::Environment(name) => ("system", format!("environment: [{}]", scalar(name))),
            Self::Route(path) => ("application", format!("routes: [{}]", scalar(path))),
            Self::Api(path) => ("application", format!("apis: [{}]", scalar(path))),
            Self::Component(id) => ("application", format!("components: [{}]", scalar(id))),
            Self::Configuration { module, key } => {
                ("application", format!("configurations: [{{ module: {}, keys: [{}] }}]", scalar(module), scalar(key)))
            }
            Self::Quota { resource, amount } => {
                let (group, key) = resource.key()["resources.".len()..].split_once('.').unwrap_or_default();
                ("resources", format!("{group}: {{ {key}: {} }}", resource.spelled(*amount)))
            }
        };
        format!("permissions: {{ {part}: {{ {list} }} }}")
    }
}

/// A text as YAML takes it for that text, within brackets too.
fn scalar(text: &str) -> Cow<'_, str> {
    let word = |text: &str| ["true", "false", "null"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !word(text);
    // what JSON quotes YAML reads the same
    if is_plain { text.into() } else { serde_json::Value::from(text).to_string().into() }
}

fn name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

fn holds_file(a: &str, b: &str) -> bool {
    b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn holds_path(a: &str, b: &str) -> bool {
    let below = |start: &str| b.len() > start.len() && b.starts_with(start);
    a == b || a.strip_suffix('*').is_some_and(|start| start.ends_with('/') && below(start))
}

/// A pattern holds names, never addresses: the parts of an address are no domains.
fn holds_host(a: &str, b: &str) -> bool {
    let Some(domain) = a.strip_prefix("*.").filter(|_| a != b) else { return a == b };
    let name = b.strip_prefix("*.").unwrap_or(b);
    let is_below = name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    name.parse::<IpAddr>().is_err() && (is_below || (name == domain && b.starts_with("*.")))
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { module, access } => write!(f, "system.database:{module}:{}", name(*access)),
            Self::Filesystem { path, access } => write!(f, "system.filesystem:{path}:{}", name(*access)),
            Self::Network { host, port } if host.contains(':') => write!(f, "system.network:[{host}]:{port}"),
            Self::Network { host, port } => write!(f, "system.network:{host}:{port}"),
            Self::Environment(name) => write!(f, "system.environment:{name}"),
            Self::Route(path) => write!(f, "application.routes:{path}"),
            Self::Api(path) => write!(f, "application.apis:{path}"),
            Self::Component(id) => write!(f, "application.components:{id}"),
            // ids and settings may both have dots
            Self::Configuration { module, key } => {
                let sign = if key.contains('.') { ':' } else { '.' };
                write!(f, "application.configurations:{module}{sign}{key}")
            }
            Self::Quota { resource, amount } => write!(f, "{}={}", resource.key(), resource.spelled(*amount)),
        }
    }
}

/// A text that is no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is no permission: {why}")]
pub struct NoPermission {
    shown: String,
    why: &'static str,
}

impl FromStr for Permission {
    type Err = NoPermission;

    fn from_str(text: &str) -> Result<Self, NoPermission> {
        read(text)
            .map_err(|why| NoPermission { shown: text.chars().take(80).flat_map(char::escape_debug).collect(), why })
    }
}

fn read(text: &str) -> Result<Permission, &'static str> {
    if text.len() > LONGEST {
        return Err("it is longer than 1024 bytes");
    }
    if text.starts_with("resources.") {
        let (key, amount) = text.split_once('=').ok_or("a quota is written as resources.storage.max=128MiB")?;
        let resource = ResourceType::parse(key).ok_or("there is no such quota")?;
        let amount = resource.read(amount).ok_or("the amount is not one of this quota")?;
        return Ok(Permission::Quota { resource, amount });
    }
    let (group, what) = text.split_once(':').ok_or("it is written as system.network:api.x.org:443")?;
    let checked = |holds: bool, permission, why| if holds { Ok(permission) } else { Err(why) };
    match group {
        "system.database" => {
            let (module, access) = accessed(what)?;
            let permission = Permission::Database { module: module.to_owned(), access };
            checked(is_id(module), permission, "the module's id is none")
        }
        "system.filesystem" => {
            let (path, access) = accessed(what)?;
            let permission = Permission::Filesystem { path: path.to_owned(), access };
            checked(is_data_path(path), permission, "the path is none that stays inside the module's data folder")
        }
        "system.network" => {
            let (host, port) = what.rsplit_once(':').ok_or("a port is missing, as in system.network:x.org:443")?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is none from 1 to 65535")?;
            let permission = Permission::Network { host: host.to_owned(), port };
            checked(is_host(host), permission, "the host is no lower-case name, address, or `*.` and a name")
        }
        "system.environment" => {
            checked(is_variable(what), Permission::Environment(what.to_owned()), "the variable's name is none")
        }
        "application.routes" => {
            checked(is_path_pattern(what), Permission::Route(what.to_owned()), "the path is none, nor one with /*")
        }
        "application.apis" => {
            checked(is_path_pattern(what), Permission::Api(what.to_owned()), "the path is none, nor one with /*")
        }
        "application.components" => {
            checked(is_component(what), Permission::Component(what.to_owned()), "the component's id is none")
        }
        "application.configurations" => {
            let (module, key) = what.split_once(':').or_else(|| what.rsplit_once('.')).ok_or("a key is missing")?;
            let permission = Permission::Configuration { module: module.to_owned(), key: key.to_owned() };
            checked(is_id(module) && is_key(key), permission, "it is written as shop.currency, a module and a key")
        }
        _ => Err("it begins with system., application. or resources. and the name of a group there"),
    }
}

fn accessed(text: &str) -> Result<(&str, Access), &'static str> {
    match text.rsplit_once(':') {
        Some((what, "read")) => Ok((what, Access::Read)),
        Some((what, "write")) => Ok((what, Access::Write)),
        _ => Err("`:read` or `:write` is missing at its end"),
    }
}
