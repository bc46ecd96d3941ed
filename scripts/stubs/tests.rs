use std::path::PathBuf;

use super::{luau, rhai};
use crate::api::FUNCTIONS;
use crate::host::Handler;
use crate::suite::SUITE;

#[test]
fn the_stubs_are_what_the_tables_say() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stubs");
    for (name, text) in [("replug.d.luau", luau()), ("replug.d.rhai", rhai())] {
        let path = dir.join(name);
        if std::env::var_os("REPLUG_WRITE_STUBS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "scripts/stubs/{name} is not what the tables of functions say: run \
             REPLUG_WRITE_STUBS=1 cargo test -p replug-scripts stubs"
        );
    }
}

#[test]
fn every_function_stands_in_both_with_its_sentence() {
    let (luau, rhai) = (luau(), rhai());
    let rows = FUNCTIONS
        .iter()
        .map(|one| (one.name, one.doc))
        .chain(SUITE.iter().map(|one| (one.path.rsplit_once('.').map_or(one.path, |(_, name)| name), one.doc)));
    for (name, doc) in rows {
        assert!(luau.contains(&format!("{name}: (")) && luau.contains(doc), "{name} is missing for Lua");
        assert!(rhai.contains(&format!("fn {name}(")) && rhai.contains(doc), "{name} is missing for Rhai");
    }
}

/// How each handler is to be called; nothing for those of test files, which are called by no name.
fn called(handler: &Handler) -> Option<[&'static str; 2]> {
    Some(match handler {
        Handler::Init => ["\tinit: ((ctx: Context) -> ())?,", "//   init: |ctx|  "],
        Handler::Warmup => ["\twarmup: ((ctx: Context) -> ())?,", "//   warmup: |ctx|  "],
        Handler::Shutdown => ["\tshutdown: ((ctx: Context) -> ())?,", "//   shutdown: |ctx|  "],
        Handler::Health => ["\thealth: ((ctx: Context) -> any)?,", "//   health: |ctx|  "],
        Handler::OnConfig => {
            ["\ton_config: ((next: Map, previous: Map) -> ())?,", "//   on_config: |next, previous|  "]
        }
        Handler::Upgrade => [
            "\tupgrade: ((state: any, from_version: string, actor: string) -> any)?,",
            "//   upgrade: |state, from_version, actor|  ",
        ],
        Handler::Api(_) => [
            "\tapis: { [string]: (req: Request, ctx: Context) -> Response | string }?,",
            "//   apis: #{ \"…\": |req, ctx| }  ",
        ],
        Handler::Page(_) => [
            "\tpages: { [string]: (req: Request, ctx: Context) -> Response | string }?,",
            "//   pages: #{ \"…\": |req, ctx| }  ",
        ],
        Handler::Service(_) => {
            ["\tservices: { [string]: (args: any, ctx: Context) -> any }?,", "//   services: #{ \"…\": |args, ctx| }  "]
        }
        Handler::Cleanup(_) => ["\tcleanup: { [string]: (ctx: Context) -> () }?,", "//   cleanup: #{ \"…\": |ctx| }  "],
        Handler::Event(_) => [
            "\tevents: { [string]: (message: Map, ctx: Context) -> () }?,",
            "//   events: #{ \"…\": |message, ctx| }  ",
        ],
        Handler::Stream(_) => [
            "\tstreams: { [string]: (state: any, ctx: Context) -> Map? }?,",
            "//   streams: #{ \"…\": |state, ctx| }  ",
        ],
        Handler::ActorInit(_) => ["\t\tinit: ((ctx: Context) -> any)?,", "//     init: |ctx|  "],
        Handler::ActorHandle(_) => [
            "\t\thandle: ((state: any, message: any, ctx: Context) -> Map?)?,",
            "//     handle: |state, message, ctx|  ",
        ],
        Handler::Test(_) => return None,
    })
}

#[test]
fn every_handler_stands_in_both_with_its_arguments() {
    let name = || "x".into();
    let all = [
        Handler::Init,
        Handler::Warmup,
        Handler::Shutdown,
        Handler::Health,
        Handler::OnConfig,
        Handler::Upgrade,
        Handler::Api(name()),
        Handler::Page(name()),
        Handler::Service(name()),
        Handler::Cleanup(name()),
        Handler::Test(name()),
        Handler::Event(name()),
        Handler::Stream(name()),
        Handler::ActorInit(name()),
        Handler::ActorHandle(name()),
    ];
    let (luau, rhai) = (luau(), rhai());
    for handler in all {
        let Some([in_luau, in_rhai]) = called(&handler) else { continue };
        assert!(luau.contains(&format!("\n{in_luau}\n")), "{handler}: `{in_luau}` is missing for Lua");
        assert!(rhai.contains(&format!("\n{in_rhai}")), "{handler}: `{in_rhai}` is missing for Rhai");
    }
    // the top level and each table are closed: a key that nothing reads is a mistake
    let exports = luau.split("export type Exports").nth(1).and_then(|text| text.split("\n}\n").next());
    assert!(exports.is_some_and(|text| text.contains("\tactors: { [string]: {\n") && !text.contains("\n\t[string]")));
}
