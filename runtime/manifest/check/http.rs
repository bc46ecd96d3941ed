//! `routes`, `components` and `apis`: what the module puts under the gateway's paths.

use std::collections::BTreeMap;

use super::super::parse::{Kind, Scalar};
use super::super::{Api, Component, ComponentKind, Navigation, Place, Route};
use super::Checker;
use super::fields::{Fields, Item};

mod paths;

use paths::Taken;
pub(super) use paths::path_fault;

/// The methods that an api may answer.
const METHODS: [(&str, &str); 7] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
    ("OPTIONS", "OPTIONS"),
];

impl Checker<'_, '_> {
    /// `routes` and `apis`, which share one table of paths: a page is its path's GET and HEAD.
    pub(super) fn paths(&mut self, routes: Option<&Item<'_>>, apis: Option<&Item<'_>>) -> (Vec<Route>, Vec<Api>) {
        let mut taken = Taken::default();
        let routes = routes.and_then(|item| self.list(item, |cx, item| cx.route(item, &mut taken)));
        let apis = apis.and_then(|item| self.list(item, |cx, item| cx.api(item, &mut taken)));
        (routes.unwrap_or_default(), apis.unwrap_or_default())
    }

    fn route(&mut self, item: &Item<'_>, taken: &mut Taken) -> Option<Route> {
        let mut fields = Fields::open(self, item)?;
        let path = fields.required(self, "path", |cx, item| {
            let path = cx.url_path(item)?;
            taken.add(cx, item, &path, &["GET", "HEAD"]).then_some(path)
        });
        let component = fields.required(self, "component", Self::component_id);
        let permissions = fields.read(self, "permissions", Self::needed).unwrap_or_default();
        let title = fields.read(self, "title", Self::name);
        let fixed = path.as_ref().is_none_or(|path| !path.contains('{'));
        let navigation = fields.read(self, "navigation", |cx, item| cx.navigation(item, fixed));
        fields.close(self);
        let navigation = navigation.unwrap_or(Navigation { visible: fixed, label: None, order: 0 });
        Some(Route { path: path?, component: component?, permissions, title, navigation })
    }

    fn navigation(&mut self, item: &Item<'_>, fixed: bool) -> Option<Navigation> {
        let read = match (&item.node.kind, item.node.scalar()) {
            (Kind::Map(_), _) => {
                let mut fields = Fields::open(self, item)?;
                let visible = fields.read(self, "visible", Self::boolean).unwrap_or(fixed);
                let label = fields.read(self, "label", Self::name);
                let order = fields.read(self, "order", |cx, item| cx.whole(item, -1000..=1000)).unwrap_or(0);
                fields.close(self);
                Navigation { visible, label, order }
            }
            (_, Some(Scalar::Bool(visible))) => Navigation { visible, label: None, order: 0 },
            (_, Some(Scalar::Str(_))) => Navigation { visible: true, label: Some(self.name(item)?), order: 0 },
            _ => {
                self.expected(item, "true, false, a label, or a map with `visible`, `label` and `order`");
                return None;
            }
        };
        if read.visible && !fixed {
            let message = format!("{}: a path with parameters cannot be listed", item.path);
            let help = "leave `navigation` out, or list a page without parameters".to_owned();
            self.fault(item, message, Some(help));
            return None;
        }
        Some(read)
    }

    fn api(&mut self, item: &Item<'_>, taken: &mut Taken) -> Option<Api> {
        let mut fields = Fields::open(self, item)?;
        let path = fields.take(self, "path");
        let checked = path.as_ref().and_then(|item| self.url_path(item));
        if path.is_none() {
            fields.missing(self, "`path`", None);
        }
        let methods = fields.required(self, "methods", Self::methods);
        let permissions = fields.read(self, "permissions", Self::needed).unwrap_or_default();
        let description = fields.read(self, "description", Self::description).unwrap_or_default();
        fields.close(self);
        let (item, path) = (path?, checked?);
        let methods = methods.unwrap_or_default();
        let names: Vec<&str> = methods.iter().map(String::as_str).collect();
        taken.add(self, &item, &path, &names).then_some(Api { path, methods, permissions, description })
    }

    /// Methods, each once, at least one.
    pub(super) fn methods(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let mut seen = BTreeMap::new();
        let before = self.report.count();
        let methods = self.list(item, |cx, item| {
            let method = cx.method(item)?;
            cx.unique(&mut seen, "method", method, item).then(|| method.to_owned())
        })?;
        if methods.is_empty() && self.report.count() == before {
            let help = "name at least one, as [\"GET\"]".to_owned();
            self.fault(item, format!("{}: no methods", item.path), Some(help));
        }
        Some(methods)
    }

    fn method(&mut self, item: &Item<'_>) -> Option<&'static str> {
        let upper = item.node.raw().to_ascii_uppercase();
        match METHODS.iter().find(|(name, _)| *name == upper) {
            Some((name, _)) if *name != item.node.raw() => {
                let help = format!("methods are upper case: {name}");
                self.expected_with(item, "a method", Some(help));
                None
            }
            _ => self.choice(item, &METHODS),
        }
    }

    /// The `permissions` of a route or api: each declared in `config.permissions`.
    fn needed(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| {
            let name = cx.permission(item)?;
            if !cx.unique(&mut seen, "permission", &name, item) {
                return None;
            }
            if cx.declared_whole && !cx.declared.contains(&name) {
                let near = cx.report.suggest(&name, cx.declared.iter().map(String::as_str));
                let message = format!("{}: the permission `{name}` is not declared", item.path);
                let help = near.unwrap_or_else(|| format!("add `{name}` to config.permissions"));
                cx.fault(item, message, Some(help));
            }
            Some(name)
        })
    }

    /// `components`.
    pub(super) fn components(&mut self, item: &Item<'_>) -> Option<Vec<Component>> {
        let (mut ids, mut tags) = (BTreeMap::new(), BTreeMap::new());
        self.list(item, |cx, item| cx.component(item, &mut ids, &mut tags))
    }

    fn component(
        &mut self,
        item: &Item<'_>,
        ids: &mut BTreeMap<String, Place>,
        tags: &mut BTreeMap<String, Place>,
    ) -> Option<Component> {
        let mut fields = Fields::open(self, item)?;
        let id = fields.required(self, "id", |cx, item| {
            let id = cx.component_id(item)?;
            cx.unique(ids, "component", &id, item).then_some(id)
        });
        let kinds = [("page", ComponentKind::Page), ("element", ComponentKind::Element)];
        let kind = fields.read(self, "type", |cx, item| cx.choice(item, &kinds));
        let file = fields.take(self, "file");
        let path = file.as_ref().and_then(|item| self.file(item));
        let tag = fields.take(self, "tag");
        let name = tag.as_ref().and_then(|item| self.tag(item, tags));
        let description = fields.read(self, "description", Self::description).unwrap_or_default();
        let kind = kind.unwrap_or(if file.is_some() { ComponentKind::Element } else { ComponentKind::Page });
        if kind == ComponentKind::Element && file.is_none() {
            fields.missing(self, "`file`", Some("an element is a web component in a file".to_owned()));
        }
        for (key, item) in [("file", &file), ("tag", &tag)] {
            if let (ComponentKind::Page, Some(item)) = (kind, item) {
                let message = format!("{}: a page has no `{key}`", item.path);
                let help = "the script's `pages` draws it; for a web component write `type: element`".to_owned();
                self.fault(item, message, Some(help));
            }
        }
        fields.close(self);
        Some(Component { id: id?, kind, file: path, tag: name, description })
    }

    fn tag(&mut self, item: &Item<'_>, tags: &mut BTreeMap<String, Place>) -> Option<String> {
        let help = "lower-case letters, digits and dashes, beginning with a letter, with at least one dash";
        let tag = self.word(item, "the tag of a custom element such as report-list", help, |text| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.contains('-')
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })?;
        self.unique(tags, "tag", &tag, item).then_some(tag)
    }
}
