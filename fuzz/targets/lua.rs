//! Lua scripts made from bytes by the grammar of the tests.
#![no_main]

#[path = "../../scripts/testing/grammar.rs"]
#[allow(dead_code, reason = "each target uses its own language")]
mod grammar;
mod sandbox;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let body = grammar::body(&grammar::lua(), bytes);
    let variables = grammar::LUA_VARIABLES;
    sandbox::run(
        "main.lua",
        format!(
            "return {{ apis = {{ [\"GET /alive\"] = function() return \"alive\" end, [\"GET /x\"] = function(req, ctx)\n\
             {variables}\n{body}\nend }} }}"
        ),
    );
});
