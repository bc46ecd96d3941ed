//! The tables of functions as a tree of groups.

use std::collections::BTreeMap;

use crate::api::FUNCTIONS;
use crate::exports::Export;
use crate::suite::SUITE;

/// A function as definitions say it.
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) params: Vec<Param>,
    pub(super) returns: Type,
    pub(super) doc: &'static str,
}

/// A parameter.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) optional: bool,
    pub(super) kind: &'static str,
}

/// What a function returns.
pub(super) struct Type {
    /// The word of the table; empty for nothing.
    pub(super) kind: &'static str,
    /// Whether it may be nothing instead.
    pub(super) optional: bool,
}

/// A group of functions, with the groups inside it.
#[derive(Default)]
pub(super) struct Group {
    pub(super) functions: Vec<Described>,
    pub(super) groups: BTreeMap<&'static str, Group>,
}

/// Every group by the name of its global, those of tests included.
pub(super) fn groups() -> BTreeMap<&'static str, Group> {
    let mut groups: BTreeMap<&'static str, Group> = BTreeMap::new();
    for function in FUNCTIONS {
        let described = describe(function.name, function.params, function.returns, function.doc);
        groups.entry(function.group).or_default().functions.push(described);
    }
    for function in SUITE {
        let mut parts = function.path.split('.');
        let (root, name) = (parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default());
        let mut group = groups.entry(root).or_default();
        for part in parts {
            group = group.groups.entry(part).or_default();
        }
        group.functions.push(describe(name, function.params, function.returns, function.doc));
    }
    groups
}

/// What an entry script may return under that key.
pub(super) fn exported<H>(row: &Export<H>) -> Described {
    describe(row.key, row.params, row.returns, row.doc)
}

fn describe(name: &'static str, params: &'static str, returns: &'static str, doc: &'static str) -> Described {
    let params = params.split(',').map(str::trim).filter(|param| !param.is_empty()).map(|param| {
        let (name, kind) = param.split_once(':').unwrap_or((param, "any"));
        let (name, kind) = (name.trim(), kind.trim());
        let optional = name.ends_with('?') || kind.ends_with('?');
        Param { name: name.trim_end_matches('?'), optional, kind: kind.trim_end_matches('?') }
    });
    let returns = Type { kind: returns.trim_end_matches('?'), optional: returns.ends_with('?') };
    Described { name, params: params.collect(), returns, doc }
}
