//! What a manifest asks for, one permission after the other.

use super::permission::Permission;
use super::resource::ResourceType;
use crate::manifest::Manifest;

/// The name in `permissions.system.database` that stands for whichever module calls.
pub const CALLER: &str = "caller";

/// Something that a manifest asks for, or has by declaring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub permission: Permission,
    /// The line of the manifest; none for a default.
    pub line: Option<usize>,
    /// Whether an administrator must grant it. What needs no grant can be narrowed all the same.
    pub needs_grant: bool,
}

impl Asked {
    /// What is asked for, in the form that commands take.
    #[must_use]
    pub fn text(&self) -> String {
        self.permission.to_string()
    }
}

/// Everything that `manifest` asks for, in its order; then all quotas, also those at their defaults.
#[must_use]
pub fn asked(manifest: &Manifest) -> Vec<Asked> {
    let (system, application) = (&manifest.permissions.system, &manifest.permissions.application);
    let mut all = Vec::new();
    let mut ask = |path: String, permission: Permission, needs_grant: bool| {
        all.push(Asked { permission, line: manifest.lines.line(&path), needs_grant });
    };
    for (index, it) in system.database.iter().enumerate() {
        // a caller consents by depending on the module
        let is_own = it.module == CALLER || it.module == manifest.id;
        let permission = Permission::Database { module: it.module.clone(), access: it.access };
        ask(format!("permissions.system.database[{index}]"), permission, !is_own);
    }
    for (index, it) in system.filesystem.iter().enumerate() {
        let permission = Permission::Filesystem { path: it.path.clone(), access: it.access };
        ask(format!("permissions.system.filesystem[{index}]"), permission, true);
    }
    for (index, it) in system.network.iter().enumerate() {
        for port in &it.ports {
            let permission = Permission::Network { host: it.host.clone(), port: *port };
            ask(format!("permissions.system.network[{index}]"), permission, true);
        }
    }
    for (index, name) in system.environment.iter().enumerate() {
        ask(format!("permissions.system.environment[{index}]"), Permission::Environment(name.clone()), true);
    }
    for (index, path) in application.routes.iter().enumerate() {
        ask(format!("permissions.application.routes[{index}]"), Permission::Route(path.clone()), true);
    }
    for (index, path) in application.apis.iter().enumerate() {
        ask(format!("permissions.application.apis[{index}]"), Permission::Api(path.clone()), true);
    }
    for (index, id) in application.components.iter().enumerate() {
        ask(format!("permissions.application.components[{index}]"), Permission::Component(id.clone()), true);
    }
    for (index, it) in application.configurations.iter().enumerate() {
        for key in &it.keys {
            let permission = Permission::Configuration { module: it.module.clone(), key: key.clone() };
            ask(format!("permissions.application.configurations[{index}]"), permission, it.module != manifest.id);
        }
    }
    for resource in ResourceType::ALL {
        let amount = resource.amount(manifest, &manifest.permissions);
        let (key, needs_grant) = (format!("permissions.{}", resource.key()), amount > resource.default(manifest));
        let line = manifest.lines.line(&key).or_else(|| {
            // without a quota of its own the heap must hold one VM
            let follows = resource == ResourceType::HeapSize && needs_grant;
            manifest.lines.line("runtime.limits.memory").filter(|_| follows)
        });
        all.push(Asked { permission: Permission::Quota { resource, amount }, line, needs_grant });
    }
    all
}
