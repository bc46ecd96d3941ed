//! What does a script call cost, and what do the limits add? The same script without limits is 1.
//!
//! Without limits means: the bare language, set up here without interrupt, operation counter or memory limit, with the
//! request made by the same shape of conversion. The runtime itself has no switch that turns a limit off.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/script.rs"]
mod script;

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use replug_scripts::{Handler, Limits, Request, Vm};

const LUA: [(&str, &str); 3] = [
    ("no-op", "return 'x'"),
    ("request table", "return { body = { name = req.params.name, agent = req.headers['user-agent'] } }"),
    ("loop", "local n = 0 for i = 1, 10000 do n = n + i % 7 end return tostring(n)"),
];

const RHAI: [(&str, &str); 3] = [
    ("no-op", "\"x\""),
    ("request table", "#{ body: #{ name: req.params.name, agent: req.headers[\"user-agent\"] } }"),
    ("loop", "let n = 0; for i in 1..=10000 { n += i % 7; } n.to_string()"),
];

fn limited(language: &str, script: &str) -> Box<dyn Vm> {
    let program = replug_scripts::compile(&script::sources(language, script)).expect("it compiles");
    program.instantiate(Arc::new(script::NoHost), &Limits::default(), &script::context()).expect("a VM")
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

fn lua(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lua");
    let (handler, request) = (Handler::Api("GET /hello".into()), script::request());
    for (name, body) in LUA {
        let mut vm =
            limited("lua", &format!("return {{ apis = {{ [\"GET /hello\"] = function(req)\n{body}\nend }} }}"));
        group.bench_function(format!("{name}, limits"), |bencher| {
            bencher.iter(|| vm.respond(&handler, &request, &script::context()).expect("an answer"));
        });
        let bare = mlua::Lua::new();
        let function: mlua::Function =
            bare.load(format!("return function(req)\n{body}\nend")).eval().expect("it compiles");
        group.bench_function(format!("{name}, bare"), |bencher| {
            bencher.iter(|| {
                let table = lua_table(&bare, &request).expect("a table");
                let answer: mlua::Value = function.call(table).expect("an answer");
                match answer {
                    mlua::Value::Table(table) => {
                        let body: mlua::Value = table.raw_get("body").expect("a body");
                        serde_json::to_vec(&body).expect("JSON")
                    }
                    mlua::Value::String(text) => text.as_bytes().to_vec(),
                    _ => Vec::new(),
                }
            });
        });
    }
    group.finish();
}

fn rhai(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rhai");
    let (handler, request) = (Handler::Api("GET /hello".into()), script::request());
    for (name, body) in RHAI {
        let script = format!("fn handle(req) {{\n{body}\n}}\n#{{ apis: #{{ \"GET /hello\": Fn(\"handle\") }} }}");
        let mut vm = limited("rhai", &script);
        group.bench_function(format!("{name}, limits"), |bencher| {
            bencher.iter(|| vm.respond(&handler, &request, &script::context()).expect("an answer"));
        });
        let engine = rhai::Engine::new();
        let ast = engine.compile(&script).expect("it compiles");
        let options = || rhai::CallFnOptions::new().eval_ast(false);
        group.bench_function(format!("{name}, bare"), |bencher| {
            bencher.iter(|| {
                let mut scope = rhai::Scope::new();
                let answer: rhai::Dynamic = engine
                    .call_fn_with_options(options(), &mut scope, &ast, "handle", (rhai_map(&request),))
                    .expect("an answer");
                match answer.try_cast::<rhai::Map>() {
                    Some(map) => serde_json::to_vec(&map["body"]).expect("JSON"),
                    None => Vec::new(),
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lua, rhai);
criterion_main!(benches);
