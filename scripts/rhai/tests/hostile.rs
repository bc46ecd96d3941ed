//! Hostile scripts end in time and as they must; the tables are in the folder of this name.

use crate::testing::child::{in_a_process, test_path};
use crate::testing::fuzz::assert_none_does_harm;
use crate::testing::grammar;
use crate::testing::hostile::{Row, assert_harmless, assert_top_levels_harmless, rows};

/// Times its limit that a VM may take, with what crosses to the host and back: more where nothing counts allocations.
const MEMORY: usize = if cfg!(feature = "jemalloc") { 2 } else { 5 };

fn source(top: &str, body: &str) -> String {
    format!(
        "{top}\nfn alive() {{ \"alive\" }}\nfn answer(req, ctx) {{\n{body}\n}}\n\
         #{{ apis: #{{ \"GET /x\": Fn(\"answer\"), \"GET /alive\": Fn(\"alive\") }} }}"
    )
}

fn check(test: &str, rows: &[Row]) {
    in_a_process(test, || assert_harmless("main.rhai", rows, MEMORY, source));
}

#[test]
fn loops_calls_and_tries_end() {
    check(test_path!(loops_calls_and_tries_end), &rows(include_str!("hostile/calls.txt")));
}

#[test]
fn texts_numbers_and_blobs_end() {
    check(test_path!(texts_numbers_and_blobs_end), &rows(include_str!("hostile/text.txt")));
}

#[test]
fn arrays_maps_and_closures_end() {
    check(test_path!(arrays_maps_and_closures_end), &rows(include_str!("hostile/values.txt")));
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
        let body = grammar::body(&grammar::rhai(), bytes);
        (grammar::RHAI_TOP, format!("{}\n{body}", grammar::RHAI_VARIABLES))
    };
    in_a_process(test_path!(made_up_scripts_do_no_harm), || assert_none_does_harm("main.rhai", MEMORY, make, source));
}

#[test]
fn top_levels_end() {
    let rows = rows(include_str!("hostile/top.txt"));
    in_a_process(test_path!(top_levels_end), || assert_top_levels_harmless("main.rhai", &rows));
}
