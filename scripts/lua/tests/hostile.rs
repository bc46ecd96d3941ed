//! Hostile scripts end in time and as they must; the tables are in the folder of this name.

use crate::testing::child::{in_a_process, test_path};
use crate::testing::fuzz::assert_none_does_harm;
use crate::testing::grammar;
use crate::testing::hostile::{Row, assert_harmless, assert_top_levels_harmless, rows};

/// Times its limit that a VM may take, with what crosses to the host and back.
const MEMORY: usize = 2;

fn source(top: &str, body: &str) -> String {
    format!(
        "{top}\nreturn {{ apis = {{ [\"GET /alive\"] = function() return \"alive\" end, \
         [\"GET /x\"] = function(req, ctx)\n{body}\nend }} }}"
    )
}

fn check(test: &str, rows: &[Row]) {
    in_a_process(test, || assert_harmless("main.lua", rows, MEMORY, source));
}

#[test]
fn loops_calls_and_coroutines_end() {
    check(test_path!(loops_calls_and_coroutines_end), &rows(include_str!("hostile/calls.txt")));
}

#[test]
fn texts_patterns_and_buffers_end() {
    check(test_path!(texts_patterns_and_buffers_end), &rows(include_str!("hostile/text.txt")));
}

#[test]
fn tables_and_sorts_end() {
    check(test_path!(tables_and_sorts_end), &rows(include_str!("hostile/tables.txt")));
}

#[test]
fn what_crosses_to_the_host_ends() {
    check(test_path!(what_crosses_to_the_host_ends), &rows(include_str!("hostile/host.txt")));
}

#[test]
fn code_without_a_loop_ends() {
    check(test_path!(code_without_a_loop_ends), &rows(include_str!("hostile/straight.txt")));
}

#[test]
fn made_up_scripts_do_no_harm() {
    let make = |bytes: &[u8]| {
        let body = grammar::body(&grammar::lua(), bytes);
        ("", format!("{}\n{body}", grammar::LUA_VARIABLES))
    };
    in_a_process(test_path!(made_up_scripts_do_no_harm), || assert_none_does_harm("main.lua", MEMORY, make, source));
}

#[test]
fn top_levels_end() {
    let rows = rows(include_str!("hostile/top.txt"));
    in_a_process(test_path!(top_levels_end), || assert_top_levels_harmless("main.lua", &rows));
}
