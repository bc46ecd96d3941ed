use std::fs;

use tempfile::TempDir;

use super::*;

/// Checks a folder of these files; the folder's path is cut from what is reported.
fn checked(files: &[(&str, &[u8])]) -> CheckReport {
    let dir = TempDir::new().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut report = check(dir.path()).unwrap();
    for finding in report.faults.iter_mut().chain(&mut report.warnings) {
        let file = finding.location.file.strip_prefix(&dir.path().display().to_string()).unwrap();
        finding.location.file = file.trim_start_matches('/').to_owned();
    }
    report
}

fn places(report: &CheckReport) -> Vec<(&str, usize, usize)> {
    report.faults.iter().map(|it| (it.location.file.as_str(), it.location.line, it.location.column)).collect()
}

const GOOD: &[u8] = b"id: a\nname: A\nversion: 1.0.0\n";
const MANIFEST: &str = FILE_NAME;

#[test]
fn a_good_folder_has_a_label_and_no_faults() {
    let report = checked(&[(MANIFEST, GOOD), ("main.lua", b"return {}"), ("lib/x.lua", b"return 1")]);
    assert_eq!((report.module.as_deref(), places(&report)), (Some("a@1.0.0"), vec![]));
}

#[test]
fn faults_of_manifest_files_and_scripts_are_each_at_their_place() {
    let twofold = b"id: a\nname: A\nversion: 1.0.0\nruntime: { entry: gone.lua }\n";
    type Case<'a> = (&'a [(&'a str, &'a [u8])], &'a [(&'a str, usize)]);
    let cases: &[Case<'_>] = &[
        (&[(MANIFEST, b"id: A\nversion: x\n"), ("main.lua", b"return {}")], &[(MANIFEST, 1), (MANIFEST, 2)]),
        (&[(MANIFEST, GOOD)], &[(MANIFEST, 1)]),
        (&[(MANIFEST, twofold)], &[(MANIFEST, 4)]),
        (&[(MANIFEST, GOOD), ("main.lua", b"\nreturn {")], &[("main.lua", 2)]),
        (
            &[(MANIFEST, GOOD), ("main.lua", b"return }"), ("lib/x.lua", b"local = 1")],
            &[("lib/x.lua", 1), ("main.lua", 1)],
        ),
        (&[(MANIFEST, GOOD), ("main.lua", b"--\n--\xff\n")], &[("main.lua", 2)]),
        (&[(MANIFEST, b"id: A\nversion: 1.0.0\n"), ("main.lua", b"return }")], &[(MANIFEST, 1), ("main.lua", 1)]),
    ];
    for (files, expected) in cases {
        let report = checked(files);
        let found: Vec<_> = places(&report).into_iter().map(|(file, line, _)| (file, line)).collect();
        for place in *expected {
            assert!(found.contains(place), "{place:?} is missing: {:?}", report.faults);
        }
        assert!(report.faults.iter().all(|it| !it.message.is_empty() && it.location.column > 0), "{:?}", report.faults);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_a_fault_beside_those_of_the_manifest() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(MANIFEST), "id: A\nversion: 1.0.0\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("x.txt")).unwrap();
    let report = check(dir.path()).unwrap();
    let files: Vec<_> = report.faults.iter().map(|it| it.location.file.rsplit('/').next().unwrap()).collect();
    assert!(files.contains(&MANIFEST) && files.contains(&"x.txt"), "{:?}", report.faults);
}

#[test]
fn a_folder_that_is_none_is_an_error() {
    let dir = TempDir::new().unwrap();
    assert_eq!(check(dir.path()).unwrap_err().kind, "bundle");
    assert_eq!(check(&dir.path().join("missing")).unwrap_err().kind, "files");
}

#[test]
fn the_modules_that_ship_in_lua_have_no_faults() {
    for module in ["database", "analytics-advanced"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules").join(module);
        let report = check(&dir).unwrap();
        assert!(report.faults.is_empty() && report.module.is_some(), "{:?}", report.faults);
    }
}
