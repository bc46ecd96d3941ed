//! `permissions`: what the module asks for beyond what is its own.

use std::collections::BTreeMap;

use super::super::{
    Access, ApplicationPermissions, ConfigurationPermission, DatabasePermission, FilesystemPermission,
    NetworkPermission, Permissions, RuntimeSpec, SystemPermissions,
};
use super::Checker;
use super::fields::{Fields, Item};
use super::http::path_fault;

mod quotas;

const ACCESS: [(&str, Access); 2] = [("read", Access::Read), ("write", Access::Write)];

impl Checker<'_, '_> {
    /// `permissions`; the heap quota's default follows the VMs of `runtime`.
    pub(super) fn permissions(&mut self, item: Option<&Item<'_>>, runtime: &RuntimeSpec) -> Permissions {
        let mut permissions = Permissions::default();
        let mut resources = None;
        if let Some(mut fields) = item.and_then(|item| Fields::open(self, item)) {
            permissions.system = fields.read(self, "system", Self::system).unwrap_or_default();
            permissions.application = fields.read(self, "application", Self::application).unwrap_or_default();
            resources = fields.take(self, "resources");
            fields.close(self);
        }
        permissions.resources = self.resources(resources.as_ref(), runtime);
        permissions
    }

    fn system(&mut self, item: &Item<'_>) -> Option<SystemPermissions> {
        let mut fields = Fields::open(self, item)?;
        let database = fields.read(self, "database", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let mut fields = Fields::open(cx, item)?;
                let module = fields.required(cx, "module", |cx, item| {
                    let id = cx.id(item)?;
                    cx.unique(&mut seen, "module", &id, item).then_some(id)
                });
                let access = fields.read(cx, "access", Self::access).unwrap_or(Access::Read);
                fields.close(cx);
                Some(DatabasePermission { module: module?, access })
            })
        });
        let filesystem = fields.read(self, "filesystem", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let mut fields = Fields::open(cx, item)?;
                let path = fields.required(cx, "path", |cx, item| {
                    let path = cx.data_path(item)?;
                    cx.unique(&mut seen, "path", &path, item).then_some(path)
                });
                let access = fields.read(cx, "access", Self::access).unwrap_or(Access::Read);
                fields.close(cx);
                Some(FilesystemPermission { path: path?, access })
            })
        });
        let network = fields.read(self, "network", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let mut fields = Fields::open(cx, item)?;
                let host = fields.required(cx, "host", |cx, item| {
                    let host = cx.host(item)?;
                    cx.unique(&mut seen, "host", &host, item).then_some(host)
                });
                let ports = fields.read(cx, "ports", Self::ports).unwrap_or_else(|| vec![443]);
                fields.close(cx);
                Some(NetworkPermission { host: host?, ports })
            })
        });
        let environment = fields.read(self, "environment", |cx, item| cx.names(item, "variable", Self::identifier));
        fields.close(self);
        Some(SystemPermissions {
            database: database.unwrap_or_default(),
            filesystem: filesystem.unwrap_or_default(),
            network: network.unwrap_or_default(),
            environment: environment.unwrap_or_default(),
        })
    }

    fn access(&mut self, item: &Item<'_>) -> Option<Access> {
        self.choice(item, &ACCESS)
    }

    /// Ports, at least one.
    fn ports(&mut self, item: &Item<'_>) -> Option<Vec<u16>> {
        let before = self.report.count();
        let ports = self.port_list(item)?;
        if ports.is_empty() && self.report.count() == before {
            let help = "name one, or leave `ports` out for 443".to_owned();
            self.fault(item, format!("{}: no ports", item.path), Some(help));
        }
        Some(ports)
    }

    fn port_list(&mut self, item: &Item<'_>) -> Option<Vec<u16>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| {
            let port: u16 = cx.whole(item, 1..=65_535)?;
            cx.unique(&mut seen, "port", &port.to_string(), item).then_some(port)
        })
    }

    /// A list of names, each once.
    fn names<'n>(
        &mut self,
        item: &Item<'n>,
        what: &str,
        reader: impl Fn(&mut Self, &Item<'n>) -> Option<String>,
    ) -> Option<Vec<String>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| {
            let name = reader(cx, item)?;
            cx.unique(&mut seen, what, &name, item).then_some(name)
        })
    }

    fn application(&mut self, item: &Item<'_>) -> Option<ApplicationPermissions> {
        let mut fields = Fields::open(self, item)?;
        let routes = fields.read(self, "routes", |cx, item| cx.names(item, "path", Self::path_pattern));
        let apis = fields.read(self, "apis", |cx, item| cx.names(item, "path", Self::path_pattern));
        let components = fields.read(self, "components", |cx, item| cx.names(item, "component", Self::component_id));
        let configurations = fields.read(self, "configurations", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let mut fields = Fields::open(cx, item)?;
                let module = fields.required(cx, "module", |cx, item| {
                    let id = cx.id(item)?;
                    cx.unique(&mut seen, "module", &id, item).then_some(id)
                });
                let keys = fields.required(cx, "keys", |cx, item| cx.names(item, "key", Self::key));
                fields.close(cx);
                Some(ConfigurationPermission { module: module?, keys: keys? })
            })
        });
        fields.close(self);
        Some(ApplicationPermissions {
            routes: routes.unwrap_or_default(),
            apis: apis.unwrap_or_default(),
            components: components.unwrap_or_default(),
            configurations: configurations.unwrap_or_default(),
        })
    }

    /// A path, or a path and `/*` for everything below it.
    fn path_pattern(&mut self, item: &Item<'_>) -> Option<String> {
        let what = "a path, or one with /* at its end";
        let text = self.string(item, what)?;
        if is_path_pattern(text) {
            return Some(text.to_owned());
        }
        self.expected(item, what);
        None
    }
}

/// Whether `text` is a path, or one with `/*` at its end.
pub(in crate::manifest) fn is_path_pattern(text: &str) -> bool {
    let path = text.strip_suffix("/*").map_or(text, |path| if path.is_empty() { "/" } else { path });
    path_fault(path).is_none() && !path.contains('*')
}
