//! From the tree to the plain types: every key is read by the reader of its type, and each reader reports what it
//! refuses and goes on, so that one pass finds everything. What a reader returns after a fault does not matter: a
//! manifest with faults is never handed out.

use std::collections::BTreeMap;

use super::parse::Node;
use super::report::Report;
use super::{Lines, Manifest, Place};

mod config;
mod fields;
mod http;
mod identity;
mod lifecycle;
mod migrations;
mod names;
mod permissions;
mod runtime;
mod scalars;

use fields::{Fields, Item};
pub(super) use names::{is_component, is_host, is_id, is_key, is_variable, leaves_folder};
pub(super) use permissions::is_path_pattern;
pub(super) use scalars::{parse_size, spelled_size};

/// The most entries of a list of the manifest.
const MAX_ITEMS: usize = 1000;

/// The largest `metadata`, in bytes of JSON.
const MAX_METADATA: usize = 16 << 10;

/// The longest `description`, in characters.
const MAX_DESCRIPTION: usize = 4096;

/// The manifest that `root` describes and where each of its values stands.
pub(super) fn check(root: &Node, report: &mut Report<'_>) -> (Manifest, BTreeMap<String, Place>) {
    let mut cx = Checker { report, places: BTreeMap::new(), declared: Vec::new(), declared_whole: true };
    let manifest = cx.manifest(root);
    (manifest, cx.places)
}

/// What the readers share.
struct Checker<'r, 'f> {
    report: &'r mut Report<'f>,
    places: BTreeMap<String, Place>,
    /// The permissions that `config.permissions` declares.
    declared: Vec<String>,
    /// Whether all of them could be read; otherwise a missing one proves nothing.
    declared_whole: bool,
}

impl Checker<'_, '_> {
    fn manifest(&mut self, root: &Node) -> Manifest {
        let mut top = Fields::top(self, root);
        let id = top.required(self, "id", Self::id).unwrap_or_default();
        let version = top.required(self, "version", Self::version).unwrap_or_else(scalars::no_version);
        let name = top.read(self, "name", Self::name).unwrap_or_else(|| id.clone());
        let description = top.read(self, "description", Self::description).unwrap_or_default();
        let author = top.read(self, "author", Self::credit).unwrap_or_default();
        let license = top.read(self, "license", Self::credit).unwrap_or_default();
        let capabilities =
            top.read(self, "capabilities", |cx, item| cx.capabilities(item, &version)).unwrap_or_default();
        let mut others = BTreeMap::new();
        let dependencies = top.read(self, "dependencies", |cx, item| cx.dependencies(item, &id, &mut others));
        let conflicts = top.read(self, "conflicts", |cx, item| cx.conflicts(item, &id, &others));
        let config = self.config(&mut top);
        let routes = top.take(self, "routes");
        let components = top.read(self, "components", Self::components).unwrap_or_default();
        let apis = top.take(self, "apis");
        let (routes, apis) = self.paths(routes.as_ref(), apis.as_ref());
        let database = top.read(self, "database", Self::database);
        let runtime = top.read(self, "runtime", Self::runtime).unwrap_or_default();
        let permissions = top.take(self, "permissions");
        let permissions = self.permissions(permissions.as_ref(), &runtime);
        let lifecycle = top.read(self, "lifecycle", |cx, item| cx.lifecycle(item, database.as_ref()));
        let metadata = top.read(self, "metadata", Self::metadata).unwrap_or_default();
        top.close(self);
        Manifest {
            id,
            name,
            version,
            description,
            author,
            license,
            capabilities,
            dependencies: dependencies.unwrap_or_default(),
            conflicts: conflicts.unwrap_or_default(),
            routes,
            components,
            apis,
            database,
            config,
            runtime,
            permissions,
            lifecycle: lifecycle.unwrap_or_default(),
            metadata,
            lines: Lines::default(),
        }
    }

    /// A name for people: one line.
    fn name(&mut self, item: &Item<'_>) -> Option<String> {
        self.line(item, 128)
    }

    /// An author or a licence: one line that may be empty.
    fn credit(&mut self, item: &Item<'_>) -> Option<String> {
        let text = self.text(item, 256)?;
        if text.contains('\n') {
            self.expected(item, "one line");
            return None;
        }
        Some(text)
    }

    /// A text for people: may be empty and have several lines.
    fn description(&mut self, item: &Item<'_>) -> Option<String> {
        self.text(item, MAX_DESCRIPTION)
    }

    /// `metadata`: any map, bounded.
    fn metadata(&mut self, item: &Item<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
        let value = self.json(item)?;
        let size = value.to_string().len();
        match value {
            serde_json::Value::Null => None,
            serde_json::Value::Object(_) if size > MAX_METADATA => {
                let message = format!("metadata: {size} bytes as JSON, more than 16 KiB");
                self.fault(item, message, Some("move data into files of the module".to_owned()));
                None
            }
            serde_json::Value::Object(map) => Some(map.into_iter().collect()),
            _ => {
                self.expected(item, "a map");
                None
            }
        }
    }
}
