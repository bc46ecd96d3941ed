//! Definitions for Rhai's language server.

use std::fmt::Write as _;

use super::tree::{Described, Group, exported, groups};
use crate::host::Handler;

const HEAD: &str = "\
module static;

// What a module's scripts see of Replug. Generated: change the tables it comes from, not this file.
//
// req is #{id, method, path, params, query, headers, body, principal}, ctx is #{module, version, request_id, caller};
// an api or a page answers #{status, headers, body} or a string, an api also #{status, headers, stream, state}.
//
// An entry script returns a map; all of it is optional:
";

/// The definitions of all host functions, as Rhai's language server reads them: each group is a constant of a type of its
/// own, and its functions are that type's methods.
#[must_use]
pub fn rhai() -> String {
    let mut text = HEAD.to_owned();
    exports(&mut text);
    for (name, group) in groups() {
        let kind = type_name(name);
        let _ = write!(text, "\ntype {kind};\nconst {name}: {kind};\n");
        methods(&mut text, &kind, &group);
    }
    text
}

/// What an entry script returns, in comments: the language has no name for the type of a map.
fn exports(text: &mut String) {
    let closure = |of: &Described| {
        let params: Vec<_> = of.params.iter().map(|param| param.name).collect();
        format!("{}: |{}|", of.name, params.join(", "))
    };
    for row in Handler::TOP {
        let of = exported(&row);
        let _ = writeln!(text, "//   {}    {}", closure(&of), of.doc);
    }
    for row in Handler::NAMED {
        let of = exported(&row);
        let inside = closure(&of).replacen(of.name, "\"…\"", 1);
        let _ = writeln!(text, "//   {}: #{{ {inside} }}    {}", of.name, of.doc);
    }
    let _ =
        writeln!(text, "//   {}: #{{ \"…\": #{{ … }} }}    By the id in `runtime.actors`; in each:", Handler::ACTORS);
    for row in Handler::OF_ACTOR {
        let of = exported(&row);
        let _ = writeln!(text, "//     {}    {}", closure(&of), of.doc);
    }
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
