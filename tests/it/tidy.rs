//! The repository keeps its own rules: the import table, vendors at home, purity, small files. Sources are read as text, so
//! that code which a feature or `cfg` leaves out is held to them too.

mod files;
mod lexer;
mod rules;
mod scan;
mod table;

use rules::{Breach, RULES};
use scan::Source;
use table::{FOLDERS, PURE};

fn breaches(path: &str, text: &str) -> Vec<Breach> {
    let source = Source::new(path, text);
    let mut out = Vec::new();
    for rule in RULES {
        rule(&source, &mut out);
    }
    files::host_paths(path, text, &mut out);
    out
}

#[test]
fn the_sources_keep_the_rules() {
    let mut all = Vec::new();
    for (path, text) in files::texts() {
        if files::is_code(&path) {
            all.append(&mut breaches(&path, &text));
        } else {
            files::host_paths(&path, &text, &mut all);
        }
    }
    let lines: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} rules broken:\n{}", lines.len(), lines.join("\n"));
}

/// A renamed folder or file must not slip out from under its rule.
#[test]
fn every_rule_has_sources_to_look_at() {
    let texts = files::texts();
    let code: Vec<_> = texts.iter().filter(|(path, _)| files::is_code(path)).map(|(p, t)| Source::new(p, t)).collect();
    let imports: usize = code.iter().map(|source| source.paths.len()).sum();
    assert!(imports > code.len(), "only {imports} paths were read in {} files", code.len());
    for folder in FOLDERS {
        let exists = code.iter().any(|source| source.place() == ("runtime", folder.name));
        assert!(exists, "the import table names `{}`, which does not exist: rename it there", folder.name);
    }
    for pure in PURE {
        assert!(code.iter().any(|source| source.within(pure)), "no file is named {pure}: rename it in the table too");
    }
}

/// Each line: a path, a text that breaks exactly one rule there, the rule, the line.
#[test]
fn a_text_that_breaks_a_rule_is_caught() {
    let long = "//\n".repeat(table::MAX_LINES + 1);
    let host = format!("// see /{}/x", "home");
    let cases: &[(&str, &str, &str, usize)] = &[
        ("runtime/store/keys.rs", "use crate::registry::Registry;", "import table", 1),
        ("runtime/store.rs", "use super::engine;", "import table", 1),
        ("runtime/store/a/b.rs", "\nuse super::super::super::engine::Engine;", "import table", 2),
        ("runtime/monitor.rs", "fn f(x: &crate::store::Store) {}", "import table", 1),
        ("runtime/monitor.rs", "use replug_scripts::Value;", "import table", 1),
        ("runtime/registry.rs", "use crate::{manifest::Manifest, actors::{pool::Pool}};", "import table", 1),
        ("runtime/sandbox/guard.rs", "use crate::engine::ports::Binding;", "import table", 1),
        ("runtime/actors/pool.rs", "use crate::store::Store;", "import table", 1),
        ("runtime/actors/pool.rs", "use crate::*;", "import table", 1),
        ("runtime/actors/pool.rs", "use crate::Runtime;", "import table", 1),
        ("runtime/engine/apply.rs", "use crate::integration::api::Gateway;", "import table", 1),
        ("runtime/engine/apply.rs", "use crate as all;", "import table", 1),
        ("runtime/integration/api.rs", "use crate::engine::Engine;", "import table", 1),
        ("runtime/integration/api.rs", "use replug_scripts::Vm;", "import table", 1),
        ("runtime/integration/ui.rs", "use crate::actors::pool::Pool;", "import table", 1),
        ("runtime/admin/http.rs", "use crate::store::Store;", "import table", 1),
        ("runtime/admin/http.rs", "use crate::sandbox::quota::Quota;", "import table", 1),
        ("runtime/unheard.rs", "", "import table", 0),
        ("scripts/host.rs", "use replug::Runtime;", "import table", 1),
        ("runtime/registry/modules.rs", "use sled::Db;", "vendors stay home", 1),
        ("runtime/monitor.rs", "#[ractor::async_trait] impl A {}", "vendors stay home", 1),
        ("scripts/rhai/host.rs", "type L = mlua::Lua;", "vendors stay home", 1),
        ("scripts/host.rs", "use ::rhai::{Engine};", "vendors stay home", 1),
        ("runtime/engine/apply.rs", "extern crate axum;", "vendors stay home", 1),
        ("runtime/integration/ui.rs", "fn f() { axum::Router::<()>::new(); }", "vendors stay home", 1),
        ("runtime/sandbox/fs.rs", "#[cfg(test)] mod tests { use rusqlite::*; }", "vendors stay home", 1),
        ("runtime/app.rs", &long, "file size", 401),
        ("runtime/engine/mod.rs", "", "file name", 0),
        ("runtime/store.rs", "\n\nunsafe fn f() {}", "unsafe", 3),
        ("scripts/lua.rs", "#![allow(unsafe_code)]", "unsafe", 1),
        ("tests/it/a.rs", "#[test]\n#[ignore = \"slow\"] fn f() {}", "unfinished", 2),
        ("tests/it/a.rs", "#[cfg_attr(miri, ignore)] fn f() {}", "unfinished", 1),
        ("runtime/app.rs", "fn f() { todo!() }", "unfinished", 1),
        ("runtime/app.rs", "#[allow(dead_code, reason = \"x\")] fn f() {}", "unfinished", 1),
        ("runtime/app.rs", "#![allow(dead_code)]", "unfinished", 1),
        ("runtime/app.rs", "mod tests { }", "unfinished", 1),
        ("runtime/engine/plan.rs", "use std::fs;", "purity", 1),
        ("runtime/engine/plan/steps.rs", "use tokio::sync::mpsc;", "purity", 1),
        ("runtime/engine/analysis.rs", "fn f() { let t = Instant::now(); }", "purity", 1),
        ("runtime/actors/intensity.rs", "fn f(t: Instant) { t.elapsed(); }", "purity", 1),
        ("runtime/registry/resolver.rs", "async fn f() {}", "purity", 1),
        ("runtime/registry/versions.rs", "struct S { at: SystemTime }", "purity", 1),
        ("runtime/engine/apply.rs", "use http::StatusCode;", "http status", 1),
        ("scripts/host.rs", "const OK: http::StatusCode = x;", "http status", 1),
        ("book/src/a.md", &host, "host path", 1),
    ];
    for (path, text, rule, line) in cases {
        let found = breaches(path, text);
        let places: Vec<_> = found.iter().map(|breach| (breach.rule, breach.line)).collect();
        assert_eq!(places, [(*rule, *line)], "{path}: {text}");
    }
}

#[test]
fn a_text_that_keeps_the_rules_is_left_alone() {
    let cases = [
        ("runtime/registry/modules.rs", "use crate::store::Store; use crate::manifest::Manifest; use super::bundle;"),
        ("runtime/store/keys.rs", "#[cfg(test)] mod tests { use crate::registry::Registry; use super::*; }"),
        ("runtime/store/keys.rs", "// crate::engine\nconst A: &str = \"crate::engine, unsafe, todo!() #[ignore]\";"),
        (
            "runtime/integration/api.rs",
            "use crate::engine::ports::Binding; use replug_scripts::{Request, api::Function};",
        ),
        (
            "runtime/admin/http.rs",
            "use crate::sandbox::audit::Audit; use axum::http::StatusCode; use crate::error::Error;",
        ),
        ("runtime/app.rs", "use crate::{engine, integration::database::Database}; pub(crate) fn f() {}"),
        ("runtime/engine/plan.rs", "fn f(now: Instant, x: S) -> bool { x.now < now }"),
        ("runtime/engine/plan.rs", "#[cfg(test)] mod tests { use std::fs; }"),
        ("runtime/engine/planet.rs", "use std::fs;"),
        ("scripts/lua/interrupt.rs", "#![allow(unsafe_code)] use mlua::ffi; unsafe fn f() {}"),
        ("scripts/lib.rs", "mod lua; mod rhai; fn f() { crate::rhai::RhaiProgram::compile(); }"),
        ("tests/it/a.rs", "use replug::engine::Engine; use axum::Router;"),
        ("runtime/app.rs", "#[cfg(test)] mod tests; fn f(ignore: bool) -> [bool; 1] { [ignore] }"),
    ];
    for (path, text) in cases {
        assert_eq!(breaches(path, text), [], "{path}: {text}");
    }
}

/// The manual's table of host functions has the rows of `scripts/api.rs`, word for word, and no others.
#[test]
fn the_manual_names_every_host_function_as_the_code_does() {
    let read = |path: &str| std::fs::read_to_string(files::top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (code, manual) = (read("scripts/api.rs"), read("book/src/reference/host-api.md"));
    let rows: Vec<String> = code.lines().filter_map(host_function).collect();
    assert!(rows.len() > 20, "only {} host functions were found", rows.len());
    let told: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `") && line.contains('(')).collect();
    assert_eq!(told, rows, "write the rows of scripts/api.rs into the manual");
}

/// A line of the table in `scripts/api.rs` as the manual's row.
fn host_function(line: &str) -> Option<String> {
    let parts: Vec<&str> = line.split('"').collect();
    let [_, group, ".", name, "(", params, ") -> ", returns, ", ", doc, ";"] = parts[..] else { return None };
    let returns = if returns.is_empty() { String::new() } else { format!("`{returns}`") };
    Some(format!("| `{group}.{name}({params})` | {returns} | {doc} |"))
}
