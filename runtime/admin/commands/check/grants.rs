//! Host functions that the scripts name and the guard would refuse.

use std::path::Path;

use replug_scripts::scan::{Named, host_functions};
use replug_scripts::{HostFn, Language};

use super::place;
use crate::admin::commands::{Finding, Location};
use crate::kit::suites;
use crate::manifest::Loaded;
use crate::registry::Bundle;
use crate::sandbox::permissions::Foresight;

/// Adds a warning for each place that a runtime would refuse.
pub(super) fn check(dir: &Path, loaded: &Loaded, bundle: &Bundle, warnings: &mut Vec<Finding>) {
    let foresight = Foresight::new(&loaded.manifest);
    for (path, content) in bundle.files() {
        let Some(language) = Language::of(path) else { continue };
        let Ok(text) = std::str::from_utf8(content) else { continue };
        if path.starts_with(suites::DIR) && path.as_bytes().get(suites::DIR.len()) == Some(&b'/') {
            continue;
        }
        for named in host_functions(language, text) {
            let Some((message, help)) = told(&foresight, &named) else { continue };
            let location = Location { file: place(dir, path), line: named.line, column: named.column };
            warnings.push(Finding { location, message, help });
        }
    }
}

/// What is said of a call, and what would undo it; nothing of one that may go.
fn told(foresight: &Foresight<'_>, named: &Named) -> Option<(String, Option<String>)> {
    let function = named.function.id;
    let foreseen = foresight.of(function, &named.arguments)?;
    let help = foreseen.line().map(|line| format!("add `{line}` to module.manifest.yaml"));
    let message = if help.is_some() && foreseen.refusal.is_refusal() && function != HostFn::ServicesCall {
        format!("{} is not asked for, and would be denied", function.path())
    } else {
        let whole = &foreseen.refusal.message;
        let why = help.as_ref().and_then(|_| whole.rsplit_once("; `")).map_or(&**whole, |(why, _)| why);
        why.to_owned()
    };
    Some((message, help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    /// What is said of a call in a module whose manifest has these lines.
    fn said(call: &str, more: &str) -> Option<(String, Option<String>)> {
        let loaded = manifest::load("m", format!("id: a\nversion: 1.0.0\n{more}\n").as_bytes()).unwrap();
        let named = host_functions(Language::Lua, call);
        told(&Foresight::new(&loaded.manifest), &named[0])
    }

    #[test]
    fn what_is_asked_for_wants_nothing() {
        for (call, more) in [
            ("http.get('https://api.x.org/a')", "permissions: { system: { network: [{ host: '*.x.org' }] } }"),
            (
                "http.get('http://x.org:8443/' .. id)",
                "permissions: { system: { network: [{ host: x.org, ports: [8443] }] } }",
            ),
            ("http.get(url)", "permissions: { system: { network: [{ host: x.org }] } }"),
            ("fs.write('data/a.txt', 1)", "permissions: { system: { filesystem: [{ path: data, access: write }] } }"),
            ("fs.read('data/' .. name)", "permissions: { system: { filesystem: [{ path: data, access: write }] } }"),
            ("env.get('HOME')", "permissions: { system: { environment: [HOME] } }"),
            ("db.for_caller('select 1')", "permissions: { system: { database: [{ module: caller }] } }"),
            ("db.of('b', 'select 1')", "permissions: { system: { database: [{ module: b }] } }"),
            ("config.of('b', 'k')", "permissions: { application: { configurations: [{ module: b, keys: [k] }] } }"),
            ("config.of('a', 'k')", ""),
            ("services.request('GET', '/b/1')", "permissions: { application: { apis: ['/b/*'] } }"),
            ("services.request('GET', '/b/' .. id)", "permissions: { application: { routes: ['/b/*'] } }"),
            ("services.render(name)", "permissions: { application: { components: [C] } }"),
            ("services.call('b.c.m')", "dependencies: [{ id: x }]"),
            ("services.call('b.c.m')", "capabilities: [{ id: a, requirements: [b.c] }]"),
            ("events.publish('a.made')", ""),
            ("events.publish(topic)", ""),
            ("actors.send('one')", "runtime: { actors: [{ id: one }] }"),
            ("kv.get('a')", ""),
        ] {
            assert_eq!(said(call, more), None, "{call} with {more}");
        }
    }

    #[test]
    fn what_is_not_names_the_line_to_add() {
        let network = "permissions: { system: { network: [{ host: x.org }] } }";
        for (call, more, line) in [
            ("http.get('https://X.org/a')", "", "network: [{ host: x.org, ports: [443] }]"),
            ("http.get('http://x.org/a')", network, "network: [{ host: x.org, ports: [80] }]"),
            ("http.get('http://x.org:8443/' .. id)", network, "network: [{ host: x.org, ports: [8443] }]"),
            ("http.post(url)", "", "network: [{ host: HOST, ports: [443] }]"),
            (
                "fs.write('data/a', 1)",
                "permissions: { system: { filesystem: [{ path: data }] } }",
                "[{ path: data, access: write }]",
            ),
            (
                "fs.read('database')",
                "permissions: { system: { filesystem: [{ path: data }] } }",
                "[{ path: database, access: read }]",
            ),
            ("env.get('HOME')", "permissions: { system: { environment: [PATH] } }", "environment: [HOME]"),
            ("db.for_caller('select 1')", "", "database: [{ module: caller, access: read }]"),
            ("db.query('select 1')", "", "database: { migrations: […] }"),
            ("db.of('b', 'select 1')", "", "database: [{ module: b, access: read }]"),
            (
                "db.of('b', 'Delete from t')",
                "permissions: { system: { database: [{ module: b }] } }",
                "[{ module: b, access: write }]",
            ),
            ("config.of('b', 'k')", "", "configurations: [{ module: b, keys: [k] }]"),
            ("config.of('b', key)", "", "configurations: [{ module: b, keys: [KEY] }]"),
            ("services.request('GET', '/b')", "", "application: { apis: [/b] }"),
            ("services.request('GET', '/b/' .. id)", "", "application: { apis: [\"/b/*\"] }"),
            ("services.render('C')", "", "components: [C]"),
            ("services.call('b.c.m')", "", "dependencies: [{ id: b.c }]"),
            ("services.invalidate('b')", "", "capabilities: [{ id: b }]"),
            ("actors.send('one')", "", "runtime: { actors: [{ id: one }] }"),
            ("actors.call(name)", "", "runtime: { actors: [{ id: ACTOR }] }"),
        ] {
            let (message, help) = said(call, more).unwrap_or_default();
            assert!(help.is_some_and(|help| help.contains(line)), "{call}: {message}");
        }
    }

    #[test]
    fn what_no_line_grants_is_said_with_its_reason() {
        for (call, why) in [
            ("events.publish('b.made')", "permission denied: events.publish: b.made is no topic of a"),
            ("timers.every(1000, 'b.' .. name)", "permission denied: timers.every: b. is no topic of a"),
            ("services.call('own.m')", "services.call: a provides own itself"),
        ] {
            let (message, help) = said(call, "capabilities: [{ id: own }]").unwrap_or_default();
            assert!(message.starts_with(why) && help.is_none(), "{call}: {message}");
        }
    }
}
