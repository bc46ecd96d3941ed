use std::path::PathBuf;

use super::{luau, rhai};
use crate::api::FUNCTIONS;
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
