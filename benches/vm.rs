//! What does a VM cost that is made from what was compiled before? The bare language that loads the same is 1; so is, in
//! the second row of each, compiling the source as well.

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

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use replug_scripts::{Handler, Limits, Program, Vm};
use report::Report;

/// Handlers of the script.
const HANDLERS: usize = 20;

fn lua() -> String {
    let mut text = "local apis = {}\n".to_owned();
    for n in 0..HANDLERS {
        let _ = writeln!(
            text,
            "apis['GET /h{n}'] = function(req) local all = {{}} for k, v in pairs(req.query) do all[k] = v end \
             return {{ body = {{ n = {n}, all = all }} }} end"
        );
    }
    text + "return { apis = apis }"
}

fn rhai() -> String {
    let (mut functions, mut apis) = (String::new(), String::new());
    for n in 0..HANDLERS {
        let _ = writeln!(
            functions,
            "fn h{n}(req) {{ let all = #{{}}; for k in req.query.keys() {{ all[k] = req.query[k]; }} #{{ body: #{{ n: {n}, all: all }} }} }}"
        );
        let _ = write!(apis, "\"GET /h{n}\": Fn(\"h{n}\"), ");
    }
    format!("{functions}#{{ apis: #{{ {apis} }} }}")
}

fn program(language: &str, script: &str) -> Arc<dyn Program> {
    replug_scripts::compile(&script::sources(language, script)).expect("it compiles")
}

fn vm(program: &Arc<dyn Program>) -> Box<dyn Vm> {
    program.instantiate(Arc::new(script::NoHost), &Limits::default(), &script::context()).expect("a VM")
}

fn main() {
    let report = Report::from_args();
    for (language, script) in [("lua", lua()), ("rhai", rhai())] {
        let compiled = program(language, &script);
        let answer = vm(&compiled).respond(&Handler::Api("GET /h7".into()), &script::request(), &script::context());
        assert_eq!(&answer.expect("an answer").body[..], br#"{"all":{"page":"2"},"n":7}"#);
        let make = || drop(black_box(vm(&compiled)));
        let name = format!("{language}, a VM from what was compiled");
        if language == "lua" {
            let bytecode =
                mlua::chunk::Compiler::new().set_optimization_level(1).compile(&script).expect("it compiles");
            let bare = || {
                let lua = bare::lua();
                let chunk = lua.load(&bytecode[..]).set_mode(mlua::chunk::ChunkMode::Binary);
                black_box(chunk.eval::<mlua::Table>().expect("a table"));
            };
            pairs::compare(&report, &name, None, bare, make);
        } else {
            let ast = bare::rhai().compile(&script).expect("it compiles");
            let bare = || drop(black_box(bare::rhai().eval_ast::<rhai::Map>(&ast).expect("a map")));
            pairs::compare(&report, &name, None, bare, make);
        }
        let from_source = || drop(black_box(vm(&program(language, &script))));
        pairs::compare(&report, &format!("{name}, against its source"), None, from_source, make);
    }
}
