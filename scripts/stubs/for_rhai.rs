//! Definitions for Rhai's language server.

use std::fmt::Write as _;

use super::tree::{Described, Group, groups};

const HEAD: &str = "\
module static;

// What a module's scripts see of Replug. Generated: change the tables it comes from, not this file.
//
// An entry script returns a map; all of it is optional:
//   init, warmup, shutdown, health: |ctx|      on_config: |next, previous|      upgrade: |state, from_version|
//   apis: #{ \"GET /path\": |req, ctx| … }       pages: #{ Component: |req, ctx| … }
//   services: #{ \"capability.method\": |args, ctx| … }                          cleanup: #{ name: |ctx| … }
// req is #{id, method, path, params, query, headers, body, principal}, ctx is #{module, version, request_id, caller};
// an api answers #{status, headers, body} or a string.
";

/// The definitions of all host functions, as Rhai's language server reads them: each group is a constant of a type of its
/// own, and its functions are that type's methods.
#[must_use]
pub fn rhai() -> String {
    let mut text = HEAD.to_owned();
    for (name, group) in groups() {
        let kind = type_name(name);
        let _ = write!(text, "\ntype {kind};\nconst {name}: {kind};\n");
        methods(&mut text, &kind, &group);
    }
    text
}

fn methods(text: &mut String, kind: &str, group: &Group) {
    for function in &group.functions {
        // those that may be left out make one more form each
        let least = function.params.iter().take_while(|param| !param.optional).count();
        for count in least..=function.params.len() {
            let _ = write!(text, "\n/// {}\nfn {}\n", function.doc, signature(kind, function, count));
        }
    }
    for (name, inner) in &group.groups {
        let kind_inside = format!("{kind}{}", type_name(name));
        let _ = write!(text, "\ntype {kind_inside};\n/// The functions of `{name}`.\n");
        let _ = writeln!(text, "fn get {name}(_: {kind}) -> {kind_inside};");
        methods(text, &kind_inside, inner);
    }
}

fn signature(kind: &str, function: &Described, count: usize) -> String {
    let mut params = vec![format!("_: {kind}")];
    params.extend(function.params.iter().take(count).map(|param| format!("{}: {}", param.name, word(param.kind))));
    let returns = match function.returns.kind {
        "" => "()".to_owned(),
        // the language has no name for "this or nothing"
        _ if function.returns.optional => "?".to_owned(),
        kind => word(kind).to_owned(),
    };
    format!("{}({}) -> {returns};", function.name, params.join(", "))
}

fn type_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
}

fn word(kind: &str) -> &str {
    match kind {
        "map" => "Map",
        "list" => "Array",
        "string" => "String",
        "boolean" => "bool",
        "function" => "FnPtr",
        // a number may be whole or not
        _ => "?",
    }
}
