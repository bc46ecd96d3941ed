//! What administrators decided of a module, and what follows from it for one of its manifests.
//!
//! A decision is about a permission that some version asked for. It holds for whatever that permission covers, so that a
//! version which asks for no more than was decided needs no new decision; of several the narrowest counts. What none covers
//! waits. A later decision takes the place of those about what it covers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::asked::{Asked, asked};
use super::permission::Permission;
use crate::manifest::{
    ConfigurationPermission, DatabasePermission, FilesystemPermission, Manifest, NetworkPermission, Permissions,
};
use crate::store::audit::Who;

/// What an administrator made of a permission that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is given.
    Granted,
    /// Only these are given.
    Narrowed(Vec<Permission>),
    /// Nothing is given; of a quota, its default.
    Denied,
}

/// A verdict, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// Who decided.
    pub who: Who,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// The decisions about one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Counts the changes; 0 where nothing was ever decided.
    pub revision: u64,
    /// By what was asked for.
    pub made: BTreeMap<Permission, Decision>,
}

/// How it stands with something that a manifest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The module has it by declaring it, and nobody narrowed that.
    Declared,
    /// It is granted.
    Granted,
    /// A part of it is granted.
    Narrowed,
    /// It is denied.
    Denied,
    /// Nobody decided yet.
    Waiting,
}

/// Something that a manifest asks for, and what is given of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// What is asked for.
    pub asked: Asked,
    /// How it stands.
    pub standing: Standing,
    /// What is given: permissions that the asked one covers.
    pub given: Vec<Permission>,
    /// Who decided and when, if anybody did.
    pub decided: Option<(Who, u64)>,
}

impl Decisions {
    /// Adds a decision about `asked`, and drops those about what it covers; they are returned.
    pub fn decide(&mut self, asked: Permission, decision: Decision) -> Vec<Permission> {
        let covered: Vec<_> = self.made.keys().filter(|made| asked.covers(made)).cloned().collect();
        self.made.retain(|made, _| !asked.covers(made));
        self.made.insert(asked.clone(), decision);
        covered.into_iter().filter(|made| *made != asked).collect()
    }

    /// The decision about `permission`: the narrowest that covers it.
    #[must_use]
    pub fn about(&self, permission: &Permission) -> Option<&Decision> {
        let mut found: Option<(&Permission, &Decision)> = None;
        for (made, decision) in self.made.iter().filter(|(made, _)| made.covers(permission)) {
            if found.is_none_or(|(narrowest, _)| narrowest.covers(made)) {
                found = Some((made, decision));
            }
        }
        found.map(|(_, decision)| decision)
    }

    /// Everything that `manifest` asks for, and what is given of it.
    #[must_use]
    pub fn rule(&self, manifest: &Manifest) -> Vec<Ruled> {
        asked(manifest).into_iter().map(|asked| self.ruled(asked, manifest)).collect()
    }

    fn ruled(&self, asked: Asked, manifest: &Manifest) -> Ruled {
        let permission = &asked.permission;
        let decision = self.about(permission);
        let decided = decision.map(|decision| (decision.who, decision.at));
        let parts = match decision.map(|decision| &decision.verdict) {
            Some(Verdict::Granted) => vec![permission.clone()],
            Some(Verdict::Narrowed(to)) => {
                let parts = to.iter().filter_map(|part| part.meet(permission));
                match *permission {
                    // of several amounts of a quota the largest counts, as a union of other permissions does; another
                    // version may have been able to do with less
                    Permission::Quota { resource, amount } => {
                        let least = Permission::Quota { resource, amount: amount.min(resource.least(manifest)) };
                        parts.max().map(|most| most.max(least)).into_iter().collect()
                    }
                    _ => parts.collect(),
                }
            }
            Some(Verdict::Denied) => Vec::new(),
            None if asked.needs_grant => {
                let given = default(permission, manifest).into_iter().collect();
                return Ruled { asked, standing: Standing::Waiting, given, decided };
            }
            None => {
                let given = vec![permission.clone()];
                return Ruled { asked, standing: Standing::Declared, given, decided };
            }
        };
        let (standing, given) = match parts.as_slice() {
            [] => match default(permission, manifest) {
                // a quota is never less than what everyone has but by narrowing it
                Some(least) if least == *permission => (Standing::Declared, vec![least]),
                least => (Standing::Denied, least.into_iter().collect()),
            },
            _ if parts.contains(permission) && asked.needs_grant => (Standing::Granted, vec![permission.clone()]),
            _ if parts.contains(permission) => (Standing::Declared, vec![permission.clone()]),
            _ => (Standing::Narrowed, parts),
        };
        Ruled { asked, standing, given, decided }
    }
}

/// What is left of a quota without a grant: the default, or less if less is asked for.
fn default(permission: &Permission, manifest: &Manifest) -> Option<Permission> {
    let Permission::Quota { resource, amount } = permission else { return None };
    Some(Permission::Quota { resource: *resource, amount: (*amount).min(resource.default(manifest)) })
}

/// What is left of what `manifest` asks for: in its own form, never more than it has.
#[must_use]
pub fn effective(manifest: &Manifest, ruled: &[Ruled]) -> Permissions {
    let mut left = Permissions { resources: manifest.permissions.resources.clone(), ..Permissions::default() };
    for it in ruled {
        for given in &it.given {
            add(&mut left, &it.asked.permission, given);
        }
    }
    left
}

fn add(left: &mut Permissions, asked: &Permission, given: &Permission) {
    let (system, application) = (&mut left.system, &mut left.application);
    match given.clone() {
        Permission::Database { module, access } => system.database.push(DatabasePermission { module, access }),
        Permission::Filesystem { path, access } => system.filesystem.push(FilesystemPermission { path, access }),
        Permission::Network { host, port } => match system.network.iter_mut().find(|it| it.host == host) {
            Some(known) => known.ports.push(port),
            None => system.network.push(NetworkPermission { host, ports: vec![port] }),
        },
        Permission::Environment(name) => system.environment.push(name),
        Permission::Route(path) => application.routes.push(path),
        Permission::Api(path) => application.apis.push(path),
        Permission::Component(id) => application.components.push(id),
        Permission::Configuration { module, key } => {
            match application.configurations.iter_mut().find(|it| it.module == module) {
                Some(known) => known.keys.push(key),
                None => application.configurations.push(ConfigurationPermission { module, keys: vec![key] }),
            }
        }
        Permission::Quota { resource, amount } if given != asked => resource.set(left, amount),
        Permission::Quota { .. } => {}
    }
}
