//! Rhai scripts made from bytes by the grammar of the tests.
#![no_main]

#[path = "../../scripts/testing/grammar.rs"]
#[allow(dead_code, reason = "each target uses its own language")]
mod grammar;
mod sandbox;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let body = grammar::body(&grammar::rhai(), bytes);
    let (top, variables) = (grammar::RHAI_TOP, grammar::RHAI_VARIABLES);
    sandbox::run(
        "main.rhai",
        format!(
            "{top}\nfn alive() {{ \"alive\" }}\nfn answer(req, ctx) {{\n{variables}\n{body}\n}}\n\
             #{{ apis: #{{ \"GET /x\": Fn(\"answer\"), \"GET /alive\": Fn(\"alive\") }} }}"
        ),
    );
});
