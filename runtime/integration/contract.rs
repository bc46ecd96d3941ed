//! The comparison of a manifest with what its script exports. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use replug_scripts::{Exports, Handler};

use crate::manifest::{ComponentKind, Manifest};

/// How alike two names must be for one to be taken for a slip of the other.
const ALIKE: f64 = 0.85;

/// What the two do not agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the manifest names and the script lacks.
    missing: BTreeSet<Handler>,
    /// What the script has and the manifest does not name.
    unused: BTreeSet<Handler>,
    /// Topics that the script has a handler for and will never hear of.
    unheard: BTreeSet<Arc<str>>,
}

/// The handler of one method of an api.
#[must_use]
pub fn api(method: &str, path: &str) -> Handler {
    Handler::Api(format!("{method} {path}").into())
}

/// Compares. Health checks need no handler: without an api of its path, `endpoint` asks `health`.
#[must_use]
pub fn compare(manifest: &Manifest, exports: &Exports) -> Report {
    let element = |component: &str| {
        manifest.components.iter().any(|one| one.id == component && one.kind == ComponentKind::Element)
    };
    let pages = manifest.component_ids().into_iter().map(|id| Handler::Page(id.into()));
    let apis = manifest.apis.iter().flat_map(|one| one.methods.iter().map(|method| api(method, &one.path)));
    let services = manifest.capabilities.iter().flat_map(|capability| {
        let methods = capability.interfaces.iter().flat_map(|interface| &interface.methods);
        methods.map(|method| Handler::Service(format!("{}.{method}", capability.id).into()))
    });
    let cleanups = manifest.lifecycle.deactivation.script_cleanups().map(|name| Handler::Cleanup(name.into()));
    let actors = manifest.runtime.actors.iter().map(|actor| Handler::ActorHandle(actor.id.as_str().into()));
    let named: BTreeSet<Handler> = pages.chain(apis).chain(services).chain(cleanups).chain(actors).collect();
    let routed = |handler: &Handler| match handler {
        Handler::Page(id) => !element(id) && manifest.routes.iter().any(|route| *route.component == **id),
        _ => true,
    };
    // a capability without interfaces says nothing about its methods
    let declared = |handler: &Handler| match handler {
        Handler::Service(name) => manifest.capabilities.iter().any(|capability| {
            let own = name.rsplit_once('.').is_some_and(|(before, _)| *before == *capability.id);
            own && capability.interfaces.is_empty()
        }),
        Handler::Api(_) | Handler::Page(_) | Handler::Cleanup(_) | Handler::ActorHandle(_) => false,
        Handler::ActorInit(name) => named.contains(&Handler::ActorHandle(Arc::clone(name))),
        _ => true,
    };
    let missing = named.iter().filter(|handler| routed(handler) && !exports.has(handler)).cloned().collect();
    let unused = exports.handlers.iter().filter(|one| !named.contains(one) && !declared(one)).cloned().collect();
    let publishers = || manifest.dependencies.iter().map(|dependency| &*dependency.id).chain([&*manifest.id]);
    let unheard = exports.handlers.iter().filter_map(|handler| match handler {
        Handler::Event(topic) if !publishers().any(|id| belongs(topic, id)) => Some(Arc::clone(topic)),
        _ => None,
    });
    Report { missing, unused, unheard: unheard.collect() }
}

/// Whether a module may publish under a topic.
fn belongs(topic: &str, module: &str) -> bool {
    topic.strip_prefix(module).and_then(|rest| rest.strip_prefix('.')).is_some_and(|rest| !rest.is_empty())
}

/// A handler that the manifest names and the script lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing<'a> {
    /// Which.
    pub handler: &'a Handler,
    /// The line of the script that would add it.
    pub line: String,
    /// A handler that the manifest does not name and that was probably meant.
    pub near: Option<&'a Handler>,
}

/// A topic that the script has a handler for and will never hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard<'a> {
    /// Which.
    pub topic: &'a str,
    /// Which topics it hears, and what would make this one of them.
    pub why: String,
}

impl Report {
    /// What the script has and the manifest does not name.
    pub fn unused(&self) -> impl Iterator<Item = &Handler> {
        self.unused.iter()
    }

    /// Why the runtime refuses the script `entry` beside `manifest`: all that is missing, each with the line that would add it,
    /// and what it cannot hear. Nothing if there is neither.
    #[must_use]
    pub fn fault(&self, manifest: &Manifest, entry: &str) -> Option<String> {
        // taken apart, so that what is added here is not left out there
        let Self { missing, unheard, unused: _ } = self;
        if missing.is_empty() && unheard.is_empty() {
            return None;
        }
        let does = if missing.is_empty() { "listens to what it cannot hear" } else { "lacks what the manifest names" };
        let mut fault = format!("{}: {entry} {does}:", manifest.label());
        for Missing { handler, line, near } in self.missing(entry) {
            // writing to a string does not fail
            let _ = write!(fault, "\n  {handler}; add `{line}`");
            if let Some(near) = near {
                let _ = write!(fault, " (the script has {near}, which the manifest does not name: is it this one?)");
            }
        }
        for Unheard { topic, why } in self.unheard(&manifest.id) {
            let _ = write!(fault, "\n  events[\"{topic}\"]; {why}");
        }
        Some(fault)
    }

    /// What the script of the module `own` cannot hear.
    pub fn unheard(&self, own: &str) -> impl Iterator<Item = Unheard<'_>> {
        self.unheard.iter().map(move |topic| {
            let publisher = topic.split_once('.').map_or(&**topic, |(publisher, _)| publisher);
            let why = format!(
                "a module hears topics that begin with its own id, `{own}.…`, or with that of a module that it declares, \
                 `dependencies: [{{ id: {publisher} }}]`"
            );
            Unheard { topic, why }
        })
    }

    /// What the manifest names and the script `entry` lacks.
    pub fn missing(&self, entry: &str) -> impl Iterator<Item = Missing<'_>> {
        let rhai = entry.ends_with(".rhai");
        self.missing.iter().map(move |handler| Missing { handler, line: line(handler, rhai), near: self.near(handler) })
    }

    /// The unused handler of the same table that was probably meant.
    fn near(&self, missing: &Handler) -> Option<&Handler> {
        let (table, wanted) = parts(missing)?;
        let alike = self.unused.iter().filter_map(|handler| {
            let (other, name) = parts(handler)?;
            let likeness = strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase());
            (other == table && likeness >= ALIKE).then_some((likeness, handler))
        });
        alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, handler)| handler)
    }
}

/// The table that a handler stands in, and its name there.
fn parts(handler: &Handler) -> Option<(&'static str, &str)> {
    match handler {
        Handler::Api(name) => Some(("apis", name)),
        Handler::Page(name) => Some(("pages", name)),
        Handler::Service(name) => Some(("services", name)),
        Handler::Cleanup(name) => Some(("cleanup", name)),
        Handler::ActorHandle(name) => Some((Handler::ACTORS, name)),
        _ => None,
    }
}

/// The line that adds a handler.
fn line(handler: &Handler, rhai: bool) -> String {
    let Some((table, name)) = parts(handler) else { return handler.to_string() };
    let args = match table {
        "services" => "args, ctx",
        "cleanup" => "ctx",
        Handler::ACTORS => "state, message, ctx",
        _ => "req, ctx",
    };
    if table == Handler::ACTORS {
        return if rhai {
            format!("{table}: #{{ \"{name}\": #{{ handle: |{args}| … }} }}")
        } else {
            format!("{table} = {{ [\"{name}\"] = {{ handle = function({args}) … end }} }}")
        };
    }
    if rhai {
        format!("{table}: #{{ \"{name}\": |{args}| … }}")
    } else {
        format!("{table} = {{ [\"{name}\"] = function({args}) … end }}")
    }
}
