//! Definitions for luau-lsp.

use std::fmt::Write as _;

use super::tree::{Described, Group, exported, groups};
use crate::host::Handler;

const HEAD: &str = "\
-- What a module's scripts see of Replug, for luau-lsp. Generated: change the tables it comes from, not this file.

type Map = { [string]: any }
type List = { any }

--- Who signed in.
export type Principal = { subject: string, permissions: { string } }

--- A request on its way to an api or a page. Header names are in lower case; the body is \"\" when empty.
export type Request = {
	id: string,
	method: string,
	path: string,
	params: { [string]: string },
	query: { [string]: string },
	headers: { [string]: string },
	body: string,
	principal: Principal?,
}

--- An answer: without a status 200, a table as the body is sent as JSON. An api may name one of `streams` instead of a body.
export type Response = { status: number?, headers: Map?, body: any, stream: string?, state: any }

--- What a handler's call is about. `caller` names the module that called a service.
export type Context = { module: string, version: string, request_id: string, caller: string? }

--- What a host function throws.
export type HostError = { kind: string, message: string }
";

/// The definitions of all host functions and of what handlers take and give, as luau-lsp reads them.
#[must_use]
pub fn luau() -> String {
    let mut text = HEAD.to_owned();
    exports(&mut text);
    for (name, group) in groups() {
        let _ = write!(text, "\ndeclare {name}: ");
        // Lua's own `assert` stays callable
        let callable = if name == "assert" { " & (<T>(value: T, message: string?) -> T)" } else { "" };
        table(&mut text, &group, 1);
        text.push_str(callable);
        text.push('\n');
    }
    text
}

/// The type of what an entry script returns.
fn exports(text: &mut String) {
    let line = |text: &mut String, indent: &str, of: &Described, is_named: bool| {
        let (open, close) = if is_named { ("{ [string]: ", " }?") } else { ("(", ")?") };
        let _ = writeln!(text, "{indent}--- {}", of.doc);
        let _ = writeln!(text, "{indent}{}: {open}{}{close},", of.name, signature(of));
    };
    text.push_str("\n--- What an entry script returns; all of it is optional.\nexport type Exports = {\n");
    for row in Handler::TOP {
        line(text, "\t", &exported(&row), false);
    }
    for row in Handler::NAMED {
        line(text, "\t", &exported(&row), true);
    }
    let _ = writeln!(text, "\t--- By the id in `runtime.actors`.\n\t{}: {{ [string]: {{", Handler::ACTORS);
    for row in Handler::OF_ACTOR {
        line(text, "\t\t", &exported(&row), false);
    }
    text.push_str("\t} }?,\n}\n");
}

fn table(text: &mut String, group: &Group, depth: usize) {
    let indent = "\t".repeat(depth);
    text.push_str("{\n");
    for function in &group.functions {
        let _ = writeln!(text, "{indent}--- {}", function.doc);
        let _ = writeln!(text, "{indent}{}: {},", function.name, signature(function));
    }
    for (name, inner) in &group.groups {
        let _ = write!(text, "{indent}{name}: ");
        table(text, inner, depth + 1);
        text.push_str(",\n");
    }
    text.push_str(&"\t".repeat(depth - 1));
    text.push('}');
}

fn signature(function: &Described) -> String {
    let params: Vec<String> = function
        .params
        .iter()
        .map(|param| format!("{}: {}{}", param.name, word(param.kind), if param.optional { "?" } else { "" }))
        .collect();
    let returns = match function.returns.kind {
        "" => "()".to_owned(),
        kind => format!("{}{}", word(kind), if function.returns.optional { "?" } else { "" }),
    };
    format!("({}) -> {returns}", params.join(", "))
}

fn word(kind: &str) -> &str {
    match kind {
        "map" => "Map",
        "list" => "List",
        "function" => "((...any) -> ...any)",
        "request" => "Request",
        "context" => "Context",
        "answer" => "Response | string",
        "string" | "number" | "boolean" | "any" => kind,
        _ => "any",
    }
}
