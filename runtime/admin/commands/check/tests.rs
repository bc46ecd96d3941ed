use std::fs;

use replug_scripts::{Exports, Handler};
use tempfile::TempDir;

use super::*;
use crate::integration::contract;

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

/// A manifest with something of each kind that a script must hold, and a script that holds nothing of it.
#[test]
fn all_for_which_the_runtime_refuses_a_script_is_a_fault() {
    let manifest = "id: a\nname: A\nversion: 1.0.0\n\
        components: [{ id: Shown }]\nroutes: [{ path: /a, component: Shown, permissions: [] }]\n\
        apis: [{ path: /api/a, methods: [GET], permissions: [] }]\n\
        capabilities: [{ id: a.b, interfaces: [{ name: I, methods: [m] }] }]\n\
        lifecycle: { deactivation: { cleanup: [sweep] } }\nruntime: { actors: [{ id: counter }] }\n";
    let lua = "return { events = { ['other.x'] = print, ['a.x'] = print }, apis = { ['GET /api/b'] = print } }";
    let report = checked(&[(MANIFEST, manifest.as_bytes()), ("main.lua", lua.as_bytes())]);
    let loaded = manifest::load(FILE_NAME, manifest.as_bytes()).unwrap();
    let handlers = ["other.x", "a.x"].map(|topic| Handler::Event(topic.into())).into();
    let exports = Exports { handlers, ..Exports::default() };
    let refusal = contract::compare(&loaded.manifest, &exports).fault(&loaded.manifest, "main.lua").unwrap();
    let refused: Vec<_> = refusal.lines().skip(1).map(|line| line.split(';').next().unwrap().trim()).collect();
    assert_eq!(refused.len(), 6, "{refusal}");
    for what in refused {
        assert!(report.faults.iter().any(|fault| fault.message.contains(what)), "{what}: {:?}", report.faults);
    }
    assert_eq!(report.faults.len(), 6, "{:?}", report.faults);
    let unheard = report.faults.iter().find(|fault| fault.message.contains("events[\"other.x\"]")).unwrap();
    assert!(unheard.help.as_deref().unwrap().contains("`dependencies: [{ id: other }]`"), "{unheard:?}");
}

#[test]
fn a_health_check_that_nothing_answers_is_a_fault_and_a_slip_of_the_pen_a_warning() {
    let manifest = |check: &str| {
        format!(
            "id: a\nname: A\nversion: 1.0.0\napis: [{{ path: /up, methods: [GET], permissions: [] }}]\n\
             lifecycle: {{ activation: {{ healthChecks: [{{ {check} }}] }} }}\n"
        )
    };
    let lua = "return { KEY = function() end, apis = { ['GET /up'] = function() end } }";
    let rhai = "#{ KEY: || 1, apis: #{ \"GET /up\": || 1 } }";
    for (file, text, line) in
        [("main.lua", lua, "`health = function(ctx) return "), ("main.rhai", rhai, "`health: |ctx| #{ status")]
    {
        for (check, key, faults) in [
            ("endpoint: /health", "health", 0),
            ("endpoint: /health", "heatlh", 1),
            ("custom: well", "Health", 1),
            ("endpoint: /up", "heatlh", 0),
        ] {
            let text = text.replace("KEY", key);
            let report = checked(&[(MANIFEST, manifest(check).as_bytes()), (file, text.as_bytes())]);
            assert_eq!(report.faults.len(), faults, "{file} {check} {key}: {:?}", report.faults);
            for fault in &report.faults {
                assert_eq!((fault.location.file.as_str(), fault.location.line), (MANIFEST, 5));
                assert!(fault.message.contains("never passes") && fault.help.as_deref().unwrap().contains(line));
            }
            let slips: Vec<_> = report.warnings.iter().filter(|it| it.message.contains("no contract knows")).collect();
            assert_eq!(slips.len(), usize::from(key != "health"), "{slips:?}");
            assert!(slips.iter().all(|slip| slip.help.as_deref() == Some("did you mean `health`?")), "{slips:?}");
        }
    }
    let report = checked(&[(MANIFEST, GOOD), ("main.lua", b"return { notes = 1 }")]);
    let slip = report.warnings.iter().find(|it| it.message.contains("`notes`")).unwrap();
    assert!(slip.help.as_deref().unwrap().starts_with("there are init, "), "{slip:?}");
}

#[test]
fn a_top_level_that_does_not_end_is_said_in_words_of_its_own() {
    for (file, text) in [("main.lua", "while true do end"), ("main.rhai", "loop {}")] {
        let report = checked(&[(MANIFEST, GOOD), (file, text.as_bytes())]);
        let said = &report.faults[0];
        assert!(said.message.starts_with("the top level does not end: the limit of "), "{said:?}");
        assert_eq!((report.faults.len(), said.location.file.as_str()), (1, file));
    }
}

#[test]
fn a_rhai_path_that_leads_nowhere_is_a_fault_at_its_place() {
    let files: [(&str, &[u8]); 3] = [
        (MANIFEST, GOOD),
        ("main.rhai", b"#{\n    health: || lib::gone::f(1),\n    init: || lib::none::g(1),\n}"),
        ("lib/none.rhai", b"fn f(x) { x }"),
    ];
    let report = checked(&files);
    assert_eq!(places(&report), [("main.rhai", 2, 16), ("main.rhai", 3, 14)], "{:?}", report.faults);
}

#[test]
fn the_modules_that_ship_in_lua_have_no_faults() {
    for module in ["database", "analytics-advanced"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules").join(module);
        let report = check(&dir).unwrap();
        assert!(report.faults.is_empty() && report.module.is_some(), "{:?}", report.faults);
    }
}
