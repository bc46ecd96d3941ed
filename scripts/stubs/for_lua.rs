//! Definitions for luau-lsp.

use std::fmt::Write as _;

use super::tree::{Described, Group, groups};

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

--- An answer: without a status 200, a table as the body is sent as JSON.
export type Response = { status: number?, headers: Map?, body: any }

--- What a handler's call is about. `caller` names the module that called a service.
export type Context = { module: string, version: string, request_id: string, caller: string? }

--- What a host function throws.
export type HostError = { kind: string, message: string }

--- What an entry script returns; all of it is optional.
export type Exports = {
	init: ((ctx: Context) -> ())?,
	warmup: ((ctx: Context) -> ())?,
	shutdown: ((ctx: Context) -> ())?,
	health: ((ctx: Context) -> any)?,
	on_config: ((next: Map, previous: Map) -> ())?,
	upgrade: ((state: any, from_version: string) -> any)?,
	apis: { [string]: (req: Request, ctx: Context) -> Response | string }?,
	pages: { [string]: (req: Request, ctx: Context) -> Response | string }?,
	services: { [string]: (args: any, ctx: Context) -> any }?,
	cleanup: { [string]: (ctx: Context) -> () }?,
	[string]: any,
}
";

/// The definitions of all host functions and of what handlers take and give, as luau-lsp reads them.
#[must_use]
pub fn luau() -> String {
    let mut text = HEAD.to_owned();
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
        "string" | "number" | "boolean" | "any" => kind,
        _ => "any",
    }
}
