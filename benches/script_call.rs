//! What does a script call cost, and what do the limits add? The same script without limits is 1.
//!
//! Without limits means: the bare language, set up here without interrupt, operation counter or memory limit, with the
//! request and the context made by the same shape of conversion.

#[path = "support/aims.rs"]
mod aims;
#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/bare.rs"]
mod bare;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/report.rs"]
mod report;
#[path = "support/script.rs"]
mod script;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{CallContext, Handler, Limits, Request, Vm};
use report::Report;

/// A script's body in both languages, and how many times the bare call it may take.
struct Row {
    name: &'static str,
    lua: (&'static str, Option<f64>),
    rhai: (&'static str, Option<f64>),
}

const ROWS: [Row; 3] = [
    Row { name: "no-op", lua: ("return 'x'", None), rhai: ("\"x\"", None) },
    Row {
        name: "request table",
        lua: ("return { body = { name = req.params.name, agent = req.headers['user-agent'] } }", Some(1.2)),
        rhai: ("#{ body: #{ name: req.params.name, agent: req.headers[\"user-agent\"] } }", Some(1.2)),
    },
    Row {
        name: "tight loop",
        lua: ("local n = 0 for i = 1, 100000 do n = n + i % 7 end return tostring(n)", Some(1.15)),
        rhai: ("let n = 0; for i in 1..=100000 { n += i % 7; } n.to_string()", Some(1.1)),
    },
];

/// More than any call takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn limited(language: &str, script: &str) -> Box<dyn Vm> {
    let program = replug_scripts::compile(&script::sources(language, script)).expect("it compiles");
    // a slow machine is to end none of them
    let limits = Limits { cpu_time: PATIENCE, wall_time: PATIENCE, ..Limits::default() };
    program.instantiate(Arc::new(script::NoHost), &limits, &script::context()).expect("a VM")
}

fn lua_table(lua: &mlua::Lua, request: &Request) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    table.raw_set("id", &*request.id)?;
    table.raw_set("method", request.method.as_str())?;
    table.raw_set("path", request.path.as_str())?;
    let pairs = |pairs: &[(String, String)]| lua.create_table_from(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    table.raw_set("params", pairs(&request.params)?)?;
    table.raw_set("query", pairs(&request.query)?)?;
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    table.raw_set("headers", lua.create_table_from(headers)?)?;
    table.raw_set("body", "")?;
    Ok(table)
}

fn lua_context(lua: &mlua::Lua, call: &CallContext) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    table.raw_set("module", &*call.module)?;
    table.raw_set("version", &*call.version)?;
    table.raw_set("request_id", &*call.request_id)?;
    Ok(table)
}

fn rhai_context(call: &CallContext) -> rhai::Map {
    rhai::Map::from([
        ("module".into(), call.module.to_string().into()),
        ("version".into(), call.version.to_string().into()),
        ("request_id".into(), call.request_id.to_string().into()),
    ])
}

fn rhai_map(request: &Request) -> rhai::Map {
    let pairs = |pairs: &[(String, String)]| -> rhai::Map {
        pairs.iter().map(|(k, v)| (k.as_str().into(), v.clone().into())).collect()
    };
    let headers: rhai::Map = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.to_str().unwrap_or_default().to_owned().into()))
        .collect();
    rhai::Map::from([
        ("id".into(), request.id.to_string().into()),
        ("method".into(), request.method.to_string().into()),
        ("path".into(), request.path.clone().into()),
        ("params".into(), pairs(&request.params).into()),
        ("query".into(), pairs(&request.query).into()),
        ("headers".into(), headers.into()),
        ("body".into(), String::new().into()),
    ])
}

/// The bytes of an answer's body.
fn lua_answer(answer: &mlua::Value) -> Vec<u8> {
    match answer {
        mlua::Value::Table(table) => {
            let body: mlua::Value = table.raw_get("body").expect("a body");
            serde_json::to_vec(&body).expect("JSON")
        }
        mlua::Value::String(text) => text.as_bytes().to_vec(),
        other => panic!("no answer: {other:?}"),
    }
}

fn rhai_answer(answer: rhai::Dynamic) -> Vec<u8> {
    match answer.try_cast_result::<rhai::Map>() {
        Ok(map) => serde_json::to_vec(&map["body"]).expect("JSON"),
        Err(text) => text.into_string().expect("a text").into_bytes(),
    }
}

fn main() {
    let report = Report::from_args();
    let (handler, request) = (Handler::Api("GET /hello".into()), script::request());
    for Row { name, lua: (body, aim), .. } in ROWS {
        let function = format!("function(req, ctx)\n{body}\nend");
        let mut vm = limited("lua", &format!("return {{ apis = {{ [\"GET /hello\"] = {function} }} }}"));
        let bare = bare::lua();
        let function: mlua::Function = bare.load(format!("return {function}")).eval().expect("it compiles");
        let without = || {
            let table = lua_table(&bare, &request).expect("a table");
            let context = lua_context(&bare, &script::context()).expect("a table");
            black_box(lua_answer(&function.call((table, context)).expect("an answer")));
        };
        let with = || drop(black_box(vm.respond(&handler, &request, &script::context()).expect("an answer")));
        pairs::compare(&report, &format!("lua, {name}"), aim, without, with);
    }
    for Row { name, rhai: (body, aim), .. } in ROWS {
        let script = format!("fn handle(req, ctx) {{\n{body}\n}}\n#{{ apis: #{{ \"GET /hello\": Fn(\"handle\") }} }}");
        let mut vm = limited("rhai", &script);
        let engine = bare::rhai();
        let ast = engine.compile(&script).expect("it compiles");
        let without = || {
            let (mut scope, options) = (rhai::Scope::new(), rhai::CallFnOptions::new().eval_ast(false));
            let arguments = (rhai_map(&request), rhai_context(&script::context()));
            let answer = engine.call_fn_with_options(options, &mut scope, &ast, "handle", arguments);
            black_box(rhai_answer(answer.expect("an answer")));
        };
        let with = || drop(black_box(vm.respond(&handler, &request, &script::context()).expect("an answer")));
        pairs::compare(&report, &format!("rhai, {name}"), aim, without, with);
    }
}
