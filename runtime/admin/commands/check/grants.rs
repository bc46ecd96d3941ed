//! Host functions that the scripts name and the manifest does not ask for.

use std::path::Path;

use replug_scripts::Language;
use replug_scripts::scan::{Named, host_functions};

use super::place;
use crate::admin::commands::{Finding, Location};
use crate::kit::suites;
use crate::manifest::{Access, Loaded, Manifest};
use crate::registry::Bundle;

/// Functions of `fs` that change files.
const WRITES: [&str; 4] = ["write", "append", "remove", "mkdir"];

/// Adds a warning for each place that a runtime would deny.
pub(super) fn check(dir: &Path, loaded: &Loaded, bundle: &Bundle, warnings: &mut Vec<Finding>) {
    for (path, content) in bundle.files() {
        let Some(language) = Language::of(path) else { continue };
        let Ok(text) = std::str::from_utf8(content) else { continue };
        if path.starts_with(suites::DIR) && path.as_bytes().get(suites::DIR.len()) == Some(&b'/') {
            continue;
        }
        for named in host_functions(language, text) {
            let Some(line) = wanting(&loaded.manifest, &named) else { continue };
            warnings.push(Finding {
                location: Location { file: place(dir, path), line: named.line, column: named.column },
                message: format!("{} is not asked for, and would be denied", named.function.id.path()),
                help: Some(format!("add `{line}` to module.manifest.yaml")),
            });
        }
    }
}

/// The line of the manifest that would grant the call; nothing if it needs none, or has one.
fn wanting(manifest: &Manifest, named: &Named) -> Option<String> {
    let asked = &manifest.permissions.system;
    let argument = named.argument.as_deref();
    match (named.function.group, named.function.name) {
        ("db", "for_caller") if !asked.database.iter().any(|one| one.module == "caller") => {
            Some("permissions: { system: { database: [{ module: caller, access: read }] } }".to_owned())
        }
        ("db", "for_caller") => None,
        ("db", _) if manifest.database.is_none() => Some("database: { migrations: […] }".to_owned()),
        ("http", _) => {
            let host = argument.and_then(host);
            let named = |wanted: &str| {
                asked.network.iter().any(|one| match one.host.strip_prefix("*.") {
                    Some(below) => wanted.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
                    None => one.host == wanted,
                })
            };
            let granted = host.as_deref().map_or(!asked.network.is_empty(), named);
            let host = host.unwrap_or_else(|| "HOST".to_owned());
            (!granted).then(|| format!("permissions: {{ system: {{ network: [{{ host: {host} }}] }} }}"))
        }
        ("fs", name) => {
            let access = if WRITES.contains(&name) { Access::Write } else { Access::Read };
            let holds =
                |path: &str, one: &str| path == one || path.strip_prefix(one).is_some_and(|rest| rest.starts_with('/'));
            let granted = asked.filesystem.iter().any(|one| {
                one.access >= access && (one.path == "." || argument.is_none_or(|path| holds(path, &one.path)))
            });
            let path =
                argument.and_then(|path| path.split('/').next()).filter(|path| !path.is_empty()).unwrap_or("PATH");
            let access = if access == Access::Write { "write" } else { "read" };
            (!granted)
                .then(|| format!("permissions: {{ system: {{ filesystem: [{{ path: {path}, access: {access} }}] }} }}"))
        }
        ("env", _) => {
            let granted = match argument {
                Some(name) => asked.environment.iter().any(|one| one == name),
                None => !asked.environment.is_empty(),
            };
            let name = argument.unwrap_or("NAME");
            (!granted).then(|| format!("permissions: {{ system: {{ environment: [{name}] }} }}"))
        }
        ("services", "invalidate") => {
            let capability = argument?;
            let provided = manifest.capabilities.iter().any(|one| one.id == capability);
            (!provided).then(|| format!("capabilities: [{{ id: {capability} }}]"))
        }
        _ => None,
    }
}

/// The host of a URL, in lower case.
fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use replug_scripts::HostFn;
    use replug_scripts::api::Function;

    use super::*;
    use crate::manifest;

    /// The line that a call wants of a manifest with these permissions.
    fn wanted(group: &'static str, name: &'static str, argument: Option<&str>, system: &str) -> Option<String> {
        let text = format!("id: a\nversion: 1.0.0\npermissions: {{ system: {{ {system} }} }}\n");
        let loaded = manifest::load("m", text.as_bytes()).unwrap();
        let function: &'static Function = Box::leak(Box::new(Function { group, name, ..*HostFn::KvGet.function() }));
        wanting(&loaded.manifest, &Named { function, line: 1, column: 1, argument: argument.map(str::to_owned) })
    }

    #[test]
    fn what_is_asked_for_wants_nothing() {
        let rows = [
            ("http", "get", Some("https://api.x.org/a"), "network: [{ host: '*.x.org' }]"),
            ("http", "get", None, "network: [{ host: x.org }]"),
            ("fs", "write", Some("data/a.txt"), "filesystem: [{ path: data, access: write }]"),
            ("fs", "read", Some("data/a.txt"), "filesystem: [{ path: data, access: write }]"),
            ("env", "get", Some("HOME"), "environment: [HOME]"),
            ("db", "for_caller", None, "database: [{ module: caller }]"),
            ("kv", "get", Some("a"), ""),
        ];
        for (group, name, argument, system) in rows {
            assert_eq!(wanted(group, name, argument, system), None, "{group}.{name}");
        }
    }

    #[test]
    fn what_is_not_names_the_line_to_add() {
        let rows = [
            ("http", "get", Some("https://X.org/a"), "network: [{ host: '*.x.org' }]", "network: [{ host: x.org }]"),
            ("http", "post", None, "", "network: [{ host: HOST }]"),
            (
                "fs",
                "write",
                Some("data/a"),
                "filesystem: [{ path: data }]",
                "filesystem: [{ path: data, access: write }]",
            ),
            ("fs", "read", Some("database"), "filesystem: [{ path: data }]", "[{ path: database, access: read }]"),
            ("env", "get", Some("HOME"), "environment: [PATH]", "environment: [HOME]"),
            ("db", "for_caller", None, "", "database: [{ module: caller, access: read }]"),
            ("db", "query", None, "", "database: { migrations: […] }"),
            ("services", "invalidate", Some("b"), "", "capabilities: [{ id: b }]"),
        ];
        for (group, name, argument, system, line) in rows {
            let found = wanted(group, name, argument, system).unwrap_or_default();
            assert!(found.contains(line), "{group}.{name}: {found}");
        }
    }
}
