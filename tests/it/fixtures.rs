//! The modules under `tests/fixtures/` are whole.

use std::path::Path;

use crate::support::replug;

#[test]
fn every_fixture_passes_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut checked = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let dir = entry.unwrap().path();
        // the specification lies beside the modules
        if !dir.is_dir() {
            continue;
        }
        let ran = replug(&["check", &dir.display().to_string()]);
        assert_eq!(ran.code, 0, "{}: {ran:?}", dir.display());
        checked += 1;
    }
    assert!(checked > 0);
}
