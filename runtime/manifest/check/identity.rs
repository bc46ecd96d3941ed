//! `capabilities`, `dependencies` and `conflicts`: what a module offers, needs and cannot run beside.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use super::super::parse::{Kind, shown};
use super::super::{Capability, CapabilityRequirement, Conflict, Dependency, Interface, Place};
use super::Checker;
use super::fields::{Fields, Item};
use super::names::is_id;
use super::scalars::parse_range;

impl Checker<'_, '_> {
    /// `capabilities`; a capability without a version has the module's.
    pub(super) fn capabilities(&mut self, item: &Item<'_>, module: &Version) -> Option<Vec<Capability>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| cx.capability(item, module, &mut seen))
    }

    fn capability(
        &mut self,
        item: &Item<'_>,
        module: &Version,
        seen: &mut BTreeMap<String, Place>,
    ) -> Option<Capability> {
        let mut fields = Fields::open(self, item)?;
        let id = fields.required(self, "id", |cx, item| {
            let id = cx.id(item)?;
            cx.unique(seen, "capability", &id, item).then_some(id)
        });
        let name = fields.read(self, "name", Self::name);
        let description = fields.read(self, "description", Self::description).unwrap_or_default();
        let version = fields.read(self, "version", Self::version).unwrap_or_else(|| module.clone());
        let category = fields.read(self, "category", Self::id).unwrap_or_else(|| "general".to_owned());
        let requirements = fields.read(self, "requirements", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| cx.requirement(item, &mut seen))
        });
        let interfaces = fields.read(self, "interfaces", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| cx.interface(item, &mut seen))
        });
        fields.close(self);
        let id = id?;
        Some(Capability {
            name: name.unwrap_or_else(|| id.clone()),
            id,
            description,
            version,
            category,
            requirements: requirements.unwrap_or_default(),
            interfaces: interfaces.unwrap_or_default(),
        })
    }

    fn requirement(&mut self, item: &Item<'_>, seen: &mut BTreeMap<String, Place>) -> Option<CapabilityRequirement> {
        if let Kind::Scalar { .. } = item.node.kind {
            let (capability, range) = self.id_at_range(item, "a capability")?;
            let version = range.unwrap_or(VersionReq::STAR);
            return self.unique(seen, "requirement", &capability, item).then_some(CapabilityRequirement {
                capability,
                version,
                required: true,
            });
        }
        let mut fields = Fields::open(self, item)?;
        let capability = fields.required(self, "capability", |cx, item| {
            let id = cx.id(item)?;
            cx.unique(seen, "requirement", &id, item).then_some(id)
        });
        let version = fields.read(self, "version", Self::range).unwrap_or(VersionReq::STAR);
        let required = fields.read(self, "required", Self::boolean).unwrap_or(true);
        fields.close(self);
        Some(CapabilityRequirement { capability: capability?, version, required })
    }

    fn interface(&mut self, item: &Item<'_>, seen: &mut BTreeMap<String, Place>) -> Option<Interface> {
        if let Kind::Scalar { .. } = item.node.kind {
            let name = self.identifier(item)?;
            let methods = vec![name.clone()];
            return self.unique(seen, "interface", &name, item).then_some(Interface {
                name,
                description: String::new(),
                methods,
            });
        }
        let mut fields = Fields::open(self, item)?;
        let name = fields.required(self, "name", |cx, item| {
            let name = cx.identifier(item)?;
            cx.unique(seen, "interface", &name, item).then_some(name)
        });
        let description = fields.read(self, "description", Self::description).unwrap_or_default();
        let methods = fields.read(self, "methods", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let method = cx.identifier(item)?;
                cx.unique(&mut seen, "method", &method, item).then_some(method)
            })
        });
        fields.close(self);
        let name = name?;
        let methods = methods.unwrap_or_else(|| vec![name.clone()]);
        Some(Interface { name, description, methods })
    }

    /// `dependencies`; the ids are left in `seen` for [`Checker::conflicts`].
    pub(super) fn dependencies(
        &mut self,
        item: &Item<'_>,
        module: &str,
        seen: &mut BTreeMap<String, Place>,
    ) -> Option<Vec<Dependency>> {
        self.list(item, |cx, item| {
            let mut fields = Fields::open(cx, item)?;
            let id = fields.required(cx, "id", |cx, item| {
                let id = cx.id(item)?;
                if id == module {
                    let message = format!("{}: the module depends on itself", item.path);
                    cx.fault(item, message, Some("remove this dependency".to_owned()));
                    return None;
                }
                cx.unique(seen, "dependency", &id, item).then_some(id)
            });
            let version = fields.read(cx, "version", Self::range).unwrap_or(VersionReq::STAR);
            let required = fields.read(cx, "required", Self::boolean).unwrap_or(true);
            fields.close(cx);
            Some(Dependency { id: id?, version, required })
        })
    }

    /// `conflicts`: `ID` or `ID@RANGE`, none of them in `needed`.
    pub(super) fn conflicts(
        &mut self,
        item: &Item<'_>,
        module: &str,
        needed: &BTreeMap<String, Place>,
    ) -> Option<Vec<Conflict>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| {
            let (id, range) = cx.id_at_range(item, "a module")?;
            if id == module {
                let message = format!("{}: the module conflicts with itself", item.path);
                let help = "two versions of a module never serve as one: remove this conflict".to_owned();
                cx.fault(item, message, Some(help));
                return None;
            }
            if let Some(dependency) = needed.get(&id) {
                let line = dependency.line;
                let message = format!("{}: `{id}` is a conflict here and a dependency in line {line}", item.path);
                let help = "keep one of the two; a dependency's `version` already excludes what it does not name";
                cx.fault(item, message, Some(help.to_owned()));
                return None;
            }
            // One id may have several ranges, but not the same entry twice.
            let entry = item.node.raw();
            cx.unique(&mut seen, "conflict", entry, item).then_some(Conflict { id, range })
        })
    }

    /// `ID` or `ID@RANGE`.
    fn id_at_range(&mut self, item: &Item<'_>, what: &str) -> Option<(String, Option<VersionReq>)> {
        let what = format!("{what}, as ID or ID@RANGE");
        let text = self.string(item, &what)?;
        let (id, range) = text.split_once('@').map_or((text, None), |(id, range)| (id, Some(range)));
        if id.len() > 128 || !is_id(id) {
            let help = "an id has lower-case letters, digits and dashes, in parts joined by dots";
            self.expected_with(item, &what, Some(help.to_owned()));
            return None;
        }
        match range.map(parse_range).transpose() {
            Ok(range) => Some((id.to_owned(), range)),
            Err(error) => {
                let message = format!("{}: the range in `{}` is not one", item.path, shown(text));
                let help = format!("write a range such as `{id}@>=1.0.0` or `{id}@<2`: {error}");
                self.fault(item, message, Some(help));
                None
            }
        }
    }
}
