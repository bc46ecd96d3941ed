//! Paths that lead nowhere: Rhai itself finds out when it comes there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, FnAccess};

use super::files::namespace;
use super::qualify::{Path, paths};
use crate::error::SourceFault;
use crate::host::Sources;
use crate::message::clip;

/// What Rhai itself puts before the names of a file's own constants.
const GLOBAL: &str = "global";

/// Faults that are told of one file.
const MOST_FAULTS: usize = 20;

/// What others can reach of a file, and what they cannot.
struct Reach<'a> {
    path: &'a str,
    public: BTreeSet<&'a str>,
    private: BTreeSet<&'a str>,
}

/// A fault for each path of a file to another file that is not there, or to a function that it has not. What constants a file
/// has shows only when its top level runs.
pub(super) fn nowhere(sources: &Sources, trees: &BTreeMap<&str, AST>) -> Vec<SourceFault> {
    let others = trees.iter().filter(|(path, _)| **path != sources.entry);
    let files = others.map(|(path, ast)| (namespace(path), reach(path, ast))).collect();
    let mut faults = Vec::new();
    for (file, source) in &sources.files {
        let (mut line, mut line_start, mut seen) = (1, 0, 0);
        let paths = paths(source);
        let wrong = paths.iter().filter_map(|path| Some((path.start, fault(path, &sources.entry, &files)?)));
        for (start, message) in wrong.take(MOST_FAULTS) {
            let passed = &source[seen..start];
            line += passed.matches('\n').count();
            line_start = passed.rfind('\n').map_or(line_start, |at| seen + at + 1);
            seen = start;
            let column = 1 + source[line_start..start].chars().count();
            faults.push(SourceFault { file: file.clone(), line, column, message });
        }
    }
    faults
}

fn reach<'a>(path: &'a str, ast: &'a AST) -> Reach<'a> {
    let named = |access| {
        let functions = ast.iter_functions().filter(|one| one.this_type.is_none() && one.access == access);
        functions.map(|one| one.name).collect()
    };
    Reach { path, public: named(FnAccess::Public), private: named(FnAccess::Private) }
}

fn fault(path: &Path, entry: &str, files: &BTreeMap<String, Reach<'_>>) -> Option<String> {
    let (name, namespace) = path.parts.split_last()?;
    if path.parts[0] == GLOBAL {
        return None;
    }
    let (whole, namespace) = (path.parts.join("::"), namespace.join("::"));
    let whole = clip(&whole);
    let Some(found) = files.get(&namespace) else {
        let file = format!("{}.rhai", namespace.replace("::", "/"));
        let why =
            if file == entry { "is the entry script, which no other reaches" } else { "is no file of the module" };
        return Some(format!("{whole} leads nowhere: {} {why}", clip(&file)));
    };
    if !path.is_call || found.public.contains(name.as_str()) {
        return None;
    }
    let why = if found.private.contains(name.as_str()) { "is private" } else { "is not there" };
    Some(format!("{whole} leads nowhere: the function {} {why} in {}", clip(name), found.path))
}
